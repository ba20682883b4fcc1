# SPDX-License-Identifier: BSL-1.0
"""The workloads: what each measures, against what, and which program runs for each peer."""

from dataclasses import dataclass, field

CORES = {"subject": 0, "load": 1}


@dataclass
class Workload:
    name: str
    title: str
    unit: str
    reference: str
    peers: list
    program: str                                     # WORKLOAD of the programs WORKLOAD-PEER
    cores: str = ""                                  # not the subject's one: as taskset takes them
    arguments: list = field(default_factory=list)    # before the number of operations
    operations: int = 0                              # 0: the program's own number
    kind: str = "program"                            # program, echo or fetch: see measure.py
    metric: tuple = ("cpu_ns", "operations")         # numerator, and denominator or None
    scale: float = 1.0                               # the metric is divided by it
    target: str = ""                                 # DESIGN's goal for coir
    extras: tuple = ()                               # (title, numerator, denominator or None, divisor)
    touches: int = 0                                 # bytes of memory to have touched before
    quick: bool = True                               # part of --quick
    scalable: bool = True                            # --quick may have fewer operations
    countable: bool = True                           # more operations do more of the same
    slow: dict = field(default_factory=dict)         # peer: by how much fewer operations it gets


def program(name, title, unit, peers, **more):
    return Workload(name, title, unit, peers[0], peers, **more)


MICRO = ["floor", "coir", "boost_fiber", "asio_coroutine", "go", "thread"]
SLOW = {"thread": 50, "asio_coroutine": 4}
MIB = 1 << 20
MEMORY = (
    ("RSS B/fiber", "rss", "operations", 1),
    ("page tables B/fiber", "page_tables", "operations", 1),
    ("mappings", "mappings", None, 1),
    ("guarded %", "guarded_percent", None, 1),
    ("create ms", "create_ns", None, 1e6),
    ("wake ms", "wake_ns", None, 1e6),
)


def parked(count, label, target, **more):
    peers = ["floor", "coir", "boost_fiber", "go"]
    return program(f"parked-{label}", f"{label} parked fibers: memory", "B RSS each", peers, program="parked",
                   countable=False, scalable=False, operations=count,
                   metric=("rss", "operations"), extras=MEMORY, target=target, **more)


def echo(name, title, connections, outstanding, target="", **more):
    peers = ["epoll", "coir", "coir_net", "coir_asio", "asio_callback", "asio_coroutine", "go", "thread"]
    extras = (("kreq/s", "operations", "wall_ns", 1e-6), ("p50 us", "latency_p50_ns", None, 1e3),
              ("p99 us", "latency_p99_ns", None, 1e3))
    return program(name, title, "ns per echo", peers, program="echo", kind="echo", extras=extras, target=target,
                   arguments=[connections, outstanding], operations=20_000, **more)


def sleep(count, label, target):
    extras = (("wake-ups/s", "operations", "wall_ns", 1e-9), ("late p50 us", "late_p50_ns", None, 1e3),
              ("late p99 us", "late_p99_ns", None, 1e3))
    return program(f"sleep-{label}", f"{label} fibers sleep for 1 to 100 ms each", "ns per wake-up",
                   ["floor", "coir", "coir_asio", "boost_fiber", "asio_coroutine", "go"], program="sleep", arguments=[count],
                   operations=1000, extras=extras, target=target, countable=False, scalable=False)


def cross_hub(name, title, how, peers):
    return program(name, title, "ns per message", peers, program="cross_hub", arguments=[how], cores="0,1",
                   operations=200_000, extras=(("wall ns", "wall_ns", "operations", 1),))


def call(name, title, count=1_000_000):
    return Workload(f"call-{name}", title, "ns per operation", "libc", ["libc", "outside", "inside"], "calls",
                    arguments=[name], operations=count, target="+4 / +10 ns")


ALL = [
    program("yield-2", "two fibers yield in turn", "ns per switch", MICRO, program="yield", arguments=[2],
            operations=4_000_000, slow=SLOW, target="12 ns"),
    program("yield-10k", "10,000 fibers yield in turn", "ns per switch", MICRO[:-1], program="yield",
            arguments=[10_000], operations=4_000_000, slow=SLOW, target="20 ns"),
    program("spawn", "start, run and join, 1,000 at a time", "ns per fiber", MICRO, program="spawn",
            arguments=[1000], operations=2_000_000, slow=SLOW | {"thread": 200}, target="40 ns"),
    program("ping-pong", "channels of capacity 1, there and back", "ns per message", MICRO[:-1], program="ping_pong",
            operations=2_000_000, slow=SLOW, target="30 ns"),
    program("stream", "a channel of capacity 128", "ns per message", MICRO[:-1], program="stream",
            operations=10_000_000, slow={"asio_coroutine": 20, "go": 4}, target="6 ns"),
    program("mutex", "hand-off by mutex and condition variable", "ns per hand-off",
            ["floor", "coir", "patched", "boost_fiber", "go", "thread"], program="mutex", operations=2_000_000,
            slow=SLOW, target="40 ns"),
    cross_hub("cross-hub", "channels between two threads, there and back", 0,
              ["thread", "coir", "asio_callback", "go"]),
    cross_hub("cross-hub-mutex", "hand-off by mutex and condition variable between two threads", 1,
              ["thread", "coir", "go"]),
    parked(10_000, "10k", "4300 B"),
    parked(100_000, "100k", "4300 B", touches=1_600 * MIB),
    parked(1_000_000, "1M", "4300 B, 3 s, < 100 mappings", touches=12_000 * MIB, quick=False),
    program("skynet", "skynet, 1,000,000 leaves, cold", "ms", ["floor", "coir", "go"], program="skynet",
            countable=False, scalable=False, operations=1_000_000, metric=("cpu_ns", None), scale=1e6,
            target="250 ms", touches=6_000 * MIB, extras=(("peak MiB", "peak_rss", None, MIB),)),
    sleep(10_000, "10k", "1600 ns"),
    sleep(100_000, "100k", "700 ns"),
    echo("echo-100", "TCP echo, 64 bytes, 100 connections", 100, 1, "1.02 x"),
    echo("echo-1000", "TCP echo, 1,000 connections", 1000, 1, "1.02 x"),
    echo("echo-pipelined", "TCP echo, 100 connections, 16 outstanding", 100, 16),
    echo("echo-1", "TCP echo, one connection", 1, 1, quick=False),
    Workload("fetch", "1,000 GETs of 50 ms with libcurl", "us per GET", "curl_multi",
             ["curl_multi", "coir", "thread", "go"], "fetch", operations=1000, kind="fetch", scale=1e3, scalable=False,
             target="1.2 x, also wall",
             extras=(("wall ms", "wall_ns", None, 1e6), ("peak MiB", "peak_rss", None, MIB),
                     ("failures", "failures", None, 1))),
    call("getppid", "getppid(), which is not patched"),
    call("write-null", "write to /dev/null"),
    call("pipe", "write and read, pipe"),
    call("socket", "write and read, socket pair"),
    call("send-recv", "send and recv, socket pair"),
    call("recv-eagain", "recv, O_NONBLOCK, EAGAIN"),
    call("recv-dontwait", "recv with MSG_DONTWAIT, EAGAIN"),
    call("poll-ready", "poll of a ready socket"),
    call("dup-close", "dup and close"),
    call("mutex", "pthread_mutex lock and unlock", 5_000_000),
]

# Debian's package for what may be missing.
PACKAGES = {"go": "golang-go", "boost_fiber": "libboost-fiber1.81-dev", "fetch": "libcurl4-openssl-dev"}
