# SPDX-License-Identifier: BSL-1.0
import time
from array import array

import bench
import gevent

fibers = bench.argument(1, 10_000)
length = bench.argument(2, 1000) * 1_000_000
late = array("q")
watch = bench.Stopwatch()
begin = end = 0
stopped = False


def body(i):
    global begin, end, stopped
    if end == 0:
        begin = time.monotonic_ns() + 500_000_000
        end = begin + length
    random = (i * 2654435761 + 1) & 0xFFFFFFFF
    now = time.monotonic_ns()
    while now < end:
        random = (random * 1664525 + 1013904223) & 0xFFFFFFFF
        nanoseconds = 1_000_000 + random % 99_000_000
        gevent.sleep(nanoseconds / 1e9)
        woken = time.monotonic_ns()
        if woken >= begin and not stopped:  # as in sleeps.hpp
            if not late:
                watch.restart()
            late.append(woken - now - nanoseconds)
            if woken >= end:
                watch.stop()
                stopped = True
        now = woken


gevent.joinall([gevent.spawn(body, i) for i in range(fibers)])
late = sorted(late)
watch.show(len(late), late_p50_ns=late[len(late) // 2], late_p99_ns=late[len(late) * 99 // 100])
