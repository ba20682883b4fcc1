# SPDX-License-Identifier: BSL-1.0
"""Running one workload for one peer, in three ways: for time, under strace, under callgrind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.workloads import CORES

TIME_LIMIT = 120


class Failed(Exception):
    """The program ended badly, or said that its own result is wrong."""


def program_of(workload, peer, build):
    """The command of a peer without its number of operations; None if it was not built."""
    if workload.program == "calls":
        command = [build / "calls", peer, *workload.arguments]
    else:
        command = [build / f"{workload.program}-{peer}"]
        if workload.kind == "program":
            command += workload.arguments
    return [str(part) for part in command] if command[0].exists() else None


def environment():
    return os.environ | {"GOMAXPROCS": "1", "LC_ALL": "C"}


def start(command, core, **more):
    return subprocess.Popen(["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL, env=environment(),
                            text=True, **more)


def run(command, core):
    process = start(command, core, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, errors = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"longer than {TIME_LIMIT} s") from None
    if process.returncode != 0:
        reason = errors.strip().splitlines()[-1] if errors.strip() else "no message"
        raise Failed(f"exit status {process.returncode}: {reason}")
    return out


def result_of(text):
    lines = text.strip().splitlines()
    result = json.loads(lines[-1]) if lines else {}
    if result.get("checked") == 0:
        raise Failed("computed a wrong result")
    if result.get("operations") == 0:
        raise Failed("did nothing in the time that it had")
    return result


@contextlib.contextmanager
def server(command, core):
    """A server that has announced its port; yields (pid, port)."""
    process = start(command, core, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pid = process.pid
    try:
        line = process.stdout.readline()
        if not line:
            raise Failed("the server did not start")
        # Under strace, the server is a child of what was started.
        if "strace" in command:
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        yield pid, json.loads(line)["port"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
        process.stdout.close()


def run_once(workload, peer, build, milliseconds, wrap=(), operations=None, shorten=1):
    """One run. `wrap` comes before the subject's command; `operations` makes it a count instead of a measurement."""
    command = [*wrap, *program_of(workload, peer, build)]
    load = str(build / "echo-load")
    count = operations or workload.operations // workload.slow.get(peer, 1) // (shorten if workload.scalable else 1)
    if workload.kind == "echo":
        with server(command, CORES["subject"]) as (pid, port):
            arguments = [load, port, pid, *workload.arguments, milliseconds, operations or 0]
            return result_of(run([str(part) for part in arguments], CORES["load"]))
    if workload.kind == "fetch":
        with server([str(build / "fetch-server")], CORES["load"]) as (_, port):
            return result_of(run([*command, str(port), str(count)], CORES["subject"]))
    return result_of(run([*command, str(count)], workload.cores or CORES["subject"]))


def per_operation(workload, measure):
    """What one more operation costs: the difference of two runs, so that starting and ending do not count."""
    base = max(workload.operations // 100, 1000)
    less, more = measure(base), measure(3 * base)
    return {key: (more[key] - less.get(key, 0)) / (2 * base) for key in more}


def system_calls(workload, peer, build):
    def measure(operations):
        with tempfile.NamedTemporaryFile() as log:
            run_once(workload, peer, build, 0, ["strace", "-f", "-c", "-o", log.name], operations)
            counts = {}
            for line in Path(log.name).read_text().splitlines():
                fields = line.split()
                if len(fields) >= 5 and fields[0][0].isdigit() and fields[-1] != "total":
                    counts[fields[-1]] = int(fields[3])
            return counts

    return {name: count for name, count in per_operation(workload, measure).items() if count >= 0.005}


def instructions(workload, peer, build):
    """User-space instructions per operation, by function, most expensive first."""

    def measure(operations):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "callgrind"
            wrap = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
            run_once(workload, peer, build, 0, wrap, operations)
            listing = subprocess.run(["callgrind_annotate", "--threshold=100", "--show-percs=no", str(out)],
                                     capture_output=True, text=True, check=True).stdout
        counts = {}
        for line in listing.splitlines():
            match = re.match(r"\s*([\d,]+)\s+(\S.*)$", line)
            if not match:
                continue
            name = re.sub(r"^[^:]*:", "", re.sub(r" \[.*\]$", "", match[2]), count=1)
            name = "(all)" if "PROGRAM TOTALS" in name else re.sub(r"'\d+$", "", name)
            counts[name] = counts.get(name, 0) + int(match[1].replace(",", ""))
        return counts

    costs = per_operation(workload, measure)
    return dict(sorted(((name, cost) for name, cost in costs.items() if cost >= 0.5), key=lambda item: -item[1]))


def touch_memory(size):
    """The first touch of a page since the machine was started may cost a virtual machine five times a later one."""
    import mmap

    try:
        free = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
        mmap.mmap(-1, min(size, free // 2), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()
    except (OSError, AttributeError) as error:
        print(f"memory could not be touched beforehand: {error}", file=sys.stderr)
