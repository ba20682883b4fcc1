# SPDX-License-Identifier: BSL-1.0
"""What a greenlet has on the C stack is copied to the heap while it waits; there is no stack to touch from Python."""
import time

import bench
import gevent
from gevent.event import Event

fibers = bench.argument(1, 10_000)
wake = Event()
all_fibers = [None] * fibers
rss, tables = bench.status_bytes("VmRSS"), bench.status_bytes("VmPTE")
watch = bench.Stopwatch()
for i in range(fibers):
    all_fibers[i] = gevent.spawn(wake.wait)
gevent.sleep(0)
watch.stop()
rss, tables = bench.status_bytes("VmRSS") - rss, bench.status_bytes("VmPTE") - tables
begin = time.monotonic_ns()
wake.set()
gevent.joinall(all_fibers)
watch.show(fibers, create_ns=watch.wall, wake_ns=time.monotonic_ns() - begin, rss=rss, page_tables=tables)
