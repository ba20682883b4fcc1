# SPDX-License-Identifier: BSL-1.0
import bench
import gevent
from gevent.queue import Queue

rounds = bench.argument(1, 100_000) // 2
there, back = Queue(1), Queue(1)


def partner():
    for _ in range(rounds):
        back.put(there.get() + 1)


gevent.spawn(partner)
value = 0
watch = bench.Stopwatch()
for _ in range(rounds):
    there.put(value)
    value = back.get()
watch.report(2 * rounds, checked=int(value == rounds))
