# SPDX-License-Identifier: BSL-1.0
import bench
import gevent
from gevent.queue import Queue


def skynet(result, first, size):
    if size == 1:
        result.put(first)
        return
    parts = Queue(10)
    for i in range(10):
        gevent.spawn(skynet, parts, first + i * (size // 10), size // 10)
    result.put(sum(parts.get() for _ in range(10)))


leaves = bench.argument(1, 10_000)
answer = Queue(1)
watch = bench.Stopwatch()
gevent.spawn(skynet, answer, 0, leaves)
total = answer.get()
watch.report(leaves, checked=int(total == leaves * (leaves - 1) // 2))
