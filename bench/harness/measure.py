# SPDX-License-Identifier: BSL-1.0
"""Running one workload for one peer, in three ways: for time, under strace, under callgrind."""

import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from harness.workloads import CORES

SOURCES = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's gevent
TIME_LIMIT = 120


class Failed(Exception):
    """The program ended badly, or said that its own result is wrong."""


def has_module(name):
    return subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True).returncode == 0


@functools.cache
def why_missing(peer):
    """For what is not built: whether it is there."""
    if peer == "gevent":
        return not os.path.exists(PYTHON) or not has_module("gevent")
    return peer == "nginx" and not shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def program_of(workload, peer, build):
    """The command of a peer without its number of operations; None if it is not there."""
    script = SOURCES / workload.program / f"{peer}.py"
    if workload.program == "calls":
        command = [build / "calls", peer]
        if peer in ("native", "preload"):
            command = [build / "calls-plain"]
        if peer == "preload":
            command = ["env", f"LD_PRELOAD={next(build.parent.glob('net/patch/libcoir-patch.so'), '')}", *command]
    elif script.exists():
        command = [PYTHON, "-P", script]
    else:
        command = [build / workload.programs.get(peer, f"{workload.program}-{peer}")]
    if peer == "preloaded":
        command = [build.parent / "tools/launcher/coir", "run", "--threads=fibers", *command]
    if workload.kind == "program":
        command += workload.arguments
    there = all(part.exists() for part in command if isinstance(part, Path)) and not why_missing(peer)
    if workload.kind == "http" and not shutil.which("wrk"):
        there = False
    return [str(part) for part in command] if there else None


@functools.cache
def directory():
    """For files of the programs: it goes when the harness ends."""
    made = tempfile.TemporaryDirectory(prefix="coir-bench-")
    atexit.register(made.cleanup)
    here = Path(made.name)
    if shutil.which("openssl"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-keyout", here / "key.pem",
                        "-out", here / "certificate.pem"], capture_output=True, check=True)
    return here


def environment(workload):
    return os.environ | {"GOMAXPROCS": "1", "LC_ALL": "C", "PYTHONPATH": str(SOURCES / "support"),
                         "PYTHONDONTWRITEBYTECODE": "1", "BENCH_DIRECTORY": str(directory())} | workload.environment


def start(command, core, workload, **more):
    return subprocess.Popen(["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL,
                            env=environment(workload), text=True, **more)


def run(command, core, workload):
    process = start(command, core, workload, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
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
def server(command, core, workload):
    """A server that has announced its port; yields (pid, port)."""
    process = start(command, core, workload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pid = process.pid
    try:
        line = process.stdout.readline()
        if not line:
            raise Failed("the server did not start")
        # Under strace and perf, the server is a child of what was started.
        if command[0] in ("strace", "perf"):
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


def run_wrk(workload, pid, port, milliseconds):
    """wrk drives the server for whole seconds; what it spent is taken from its process's clock."""
    url = f"http://127.0.0.1:{port}/"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        if answer.read() != b"hello, fiber\n":
            raise Failed("another answer than the others'")
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
    begin, wall = time.clock_gettime_ns(clock), time.monotonic_ns()
    out = run(["wrk", "-t1", "-c100", "--latency", f"-d{max(1, round(milliseconds / 1000))}s", url],
              workload.cores or CORES["load"], workload)
    cpu, wall = time.clock_gettime_ns(clock) - begin, time.monotonic_ns() - wall
    if "Socket errors" in out or "Non-2xx" in out:
        raise Failed("wrk: " + re.search(r".*(Socket errors|Non-2xx).*", out)[0].strip())
    nanoseconds = {"us": 1e3, "ms": 1e6, "s": 1e9}
    latency = {int(percent): float(value) * nanoseconds[unit]
               for percent, value, unit in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)$", out, re.MULTILINE)}
    return {"operations": int(re.search(r"(\d+) requests in", out)[1]), "cpu_ns": cpu, "wall_ns": wall,
            "latency_p50_ns": latency[50], "latency_p99_ns": latency[99]}


def run_once(workload, peer, build, milliseconds, wrap=(), operations=None, shorten=1):
    """One run. `wrap` comes before the subject's command; `operations` makes it a count instead of a measurement."""
    command = [*wrap, *program_of(workload, peer, build)]
    subject, load = workload.cores or CORES["subject"], workload.cores or CORES["load"]
    count = operations or workload.operations // workload.slow.get(peer, 1) // (shorten if workload.scalable else 1)
    if workload.kind in ("server", "http"):
        with server(command, subject, workload) as (pid, port):
            if workload.kind == "http":
                return result_of(json.dumps(run_wrk(workload, pid, port, milliseconds)))
            arguments = [build / workload.load, port, pid, *workload.arguments, milliseconds, operations or 0]
            result = result_of(run([str(part) for part in arguments], load, workload))
            if not any(title == "reached" for title, *_ in workload.extras):
                if result.get("connections", 0) not in (0, workload.arguments[0]):
                    raise Failed(f"no more than {result['connections']} connections")
            return result
    if workload.kind == "fetch":
        with server([str(build / "fetch-server")], load, workload) as (_, port):
            return result_of(run([*command, str(port), str(count)], subject, workload))
    return result_of(run([*command, str(count)], subject, workload))


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


def samples(workload, peer, build):
    """What `perf script` says of some seconds of one."""
    with tempfile.TemporaryDirectory() as scratch:
        data = f"{scratch}/perf.data"
        wrap = ["perf", "record", "-q", "-o", data, "-e", "cpu-clock", "-F", "1500", "--call-graph", "dwarf,8192", "--"]
        if workload.kind == "program":
            run_once(workload, peer, build, 0, wrap, operations=10 * workload.operations)
        else:
            run_once(workload, peer, build, 3000, wrap)
        return subprocess.run(["perf", "script", "--no-inline", "-i", data, "-F", "comm,ip,sym"], capture_output=True,
                              text=True, check=True).stdout


def touch_memory(size):
    """The first touch of a page since the machine was started may cost a virtual machine five times a later one."""
    import mmap

    try:
        free = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
        mmap.mmap(-1, min(size, free // 2), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()
    except (OSError, AttributeError) as error:
        print(f"memory could not be touched beforehand: {error}", file=sys.stderr)
