# SPDX-License-Identifier: BSL-1.0
"""The same as bench.hpp, for Python. The harness puts this directory into PYTHONPATH."""

import json
import resource
import sys
import time


def argument(index, otherwise):
    return int(sys.argv[index]) if index < len(sys.argv) else otherwise


def status_bytes(name):
    """A line of /proc/self/status, such as VmRSS or VmPTE."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":")), 0)


def raise_descriptor_limit():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def show(**fields):
    print(json.dumps(fields), flush=True)


class Stopwatch:
    """CPU time of the whole process and wall time, from construction or `restart` to `stop`."""

    def __init__(self):
        self.restart()

    def restart(self):
        self.wall = -time.monotonic_ns()
        self.cpu = -time.process_time_ns()

    def stop(self):
        self.cpu += time.process_time_ns()
        self.wall += time.monotonic_ns()
        return self

    def show(self, operations, **more):
        show(operations=operations, cpu_ns=self.cpu, wall_ns=self.wall, peak_rss=status_bytes("VmHWM"), **more)

    def report(self, operations, **more):
        self.stop().show(operations, **more)
