# SPDX-License-Identifier: BSL-1.0
"""Becomes nginx: one process, no log, an answer that is in its configuration. A child announces the port once it can be
connected to."""
import os
import shutil
import socket
import sys
import time

import bench

nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
if not nginx:
    sys.exit("nginx is missing")
bench.raise_descriptor_limit()
with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))
    port = unused.getsockname()[1]
here = os.environ.get("BENCH_DIRECTORY", ".")
configuration = os.path.join(here, "nginx.conf")
with open(configuration, "w", encoding="ascii") as file:
    file.write(f"""daemon off;
master_process off;
pid {here}/nginx.pid;
error_log stderr emerg;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type text/plain; return 200 "hello, fiber\\n"; }}
    }}
}}
""")
if os.fork() > 0:
    os.execv(nginx, [nginx, "-p", here, "-c", configuration, "-e", "stderr"])
for _ in range(500):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        bench.show(port=port)
        break
    except OSError:
        time.sleep(0.01)
