# SPDX-License-Identifier: BSL-1.0
import bench
import gevent

batch = bench.argument(1, 1000)
batches = max(1, bench.argument(2, 50_000) // batch)
ran = 0


def body():
    global ran
    ran += 1


def run_batch():
    gevent.joinall([gevent.spawn(body) for _ in range(batch)])


run_batch()
watch = bench.Stopwatch()
for _ in range(batches):
    run_batch()
watch.report(batch * batches, checked=int(ran == batch * (batches + 1)))
