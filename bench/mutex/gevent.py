# SPDX-License-Identifier: BSL-1.0
"""threading's Condition, with its locks made gevent's."""
from gevent import monkey

monkey.patch_all()

import threading  # noqa: E402

import bench  # noqa: E402
import gevent  # noqa: E402

turns = bench.argument(1, 50_000) // 2
changed = threading.Condition(threading.Lock())
turn = True


def play(mine):
    global turn
    for _ in range(turns):
        with changed:
            while turn != mine:
                changed.wait()
            turn = not mine
            changed.notify()


watch = bench.Stopwatch()
gevent.joinall([gevent.spawn(play, False), gevent.spawn(play, True)])
watch.report(2 * turns)
