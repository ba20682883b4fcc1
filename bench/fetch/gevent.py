# SPDX-License-Identifier: BSL-1.0
"""urllib, with its sockets made gevent's."""
from gevent import monkey

monkey.patch_all()

import urllib.request  # noqa: E402

import bench  # noqa: E402
import gevent  # noqa: E402

bench.raise_descriptor_limit()
url = f"http://127.0.0.1:{bench.argument(1, 0)}/"
requests = bench.argument(2, 1000)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
failures = 0


def get():
    global failures
    try:
        with opener.open(url) as answer:
            failures += len(answer.read()) != 13
    except OSError:
        failures += 1


watch = bench.Stopwatch()
gevent.joinall([gevent.spawn(get) for _ in range(requests)])
watch.report(requests, failures=failures)
