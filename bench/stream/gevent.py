# SPDX-License-Identifier: BSL-1.0
import bench
import gevent
from gevent.queue import Queue

count = bench.argument(1, 200_000)
numbers = Queue(128)


def produce():
    for i in range(1, count + 1):
        numbers.put(i)


gevent.spawn(produce)
total = 0
watch = bench.Stopwatch()
for _ in range(count):
    total += numbers.get()
watch.report(count, checked=int(total == count * (count + 1) // 2))
