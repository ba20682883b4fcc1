# SPDX-License-Identifier: BSL-1.0
import bench
import gevent

fibers = bench.argument(1, 2)
rounds = bench.argument(2, 100_000) // fibers
watch = bench.Stopwatch()


def body(i):
    gevent.sleep(0)  # until all have started
    if i == 0:
        watch.restart()
    for _ in range(rounds):
        gevent.sleep(0)


gevent.joinall([gevent.spawn(body, i) for i in range(fibers)])
watch.report(fibers * rounds)
