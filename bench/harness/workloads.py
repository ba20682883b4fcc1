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
    arguments: list = field(default_factory=list)    # before the number of operations
    operations: int = 0                              # 0: the program's own number
    kind: str = "program"                            # program, server, http or fetch: see measure.py
    load: str = "load-echo"                          # what drives a server
    metric: tuple = ("cpu_ns", "operations")         # numerator, and denominator or None
    scale: float = 1.0                               # the metric is divided by it
    target: str = ""                                 # DESIGN's goal for coir
    extras: tuple = ()                               # (title, numerator, denominator or None, divisor)
    touches: int = 0                                 # bytes of memory to have touched before
    quick: bool = True                               # part of --quick
    quick_peers: list = None                         # only these in --quick
    rounds_max: int = 1000                           # no more rounds than that: it takes long
    scalable: bool = True                            # --quick may have fewer operations
    countable: bool = True                           # more operations do more of the same
    counted: bool = False                            # part of --counts, which takes long
    slow: dict = field(default_factory=dict)         # peer: by how much fewer operations it gets
    programs: dict = field(default_factory=dict)     # peer: its program, if it is not WORKLOAD-PEER
    cores: str = ""                                  # for all, as taskset takes them; not one for each of CORES
    environment: dict = field(default_factory=dict)
    curve: str = ""                                  # the curve that it is a point of
    at: int = 0                                      # and where on it


def program(name, title, unit, peers, **more):
    return Workload(name, title, unit, peers[0], peers, **more)


MICRO = ["floor", "fcontext", "coir", "boost_fiber", "state_threads", "asio_coroutine", "asio_spawn", "go", "gevent",
         "thread"]
SLOW = {"thread": 50, "asio_coroutine": 4, "asio_spawn": 8, "gevent": 100, "state_threads": 8}
MIB = 1 << 20
MEMORY = (
    ("RSS B/fiber", "rss", "operations", 1),
    ("page tables B/fiber", "page_tables", "operations", 1),
    ("mappings", "mappings", None, 1),
    ("guarded %", "guarded_percent", None, 1),
    ("create ms", "create_ns", None, 1e6),
    ("wake ms", "wake_ns", None, 1e6),
)
LATENCY = (("kreq/s", "operations", "wall_ns", 1e-6), ("p50 us", "latency_p50_ns", None, 1e3),
           ("p99 us", "latency_p99_ns", None, 1e3))
ECHO = ["epoll", "coir", "coir_net", "coir_asio", "preloaded", "asio_callback", "asio_coroutine", "asio_spawn", "libuv",
        "state_threads", "go", "gevent", "thread"]
QUICK_ECHO = ["epoll", "coir", "coir_net", "preloaded", "asio_callback", "asio_coroutine", "libuv", "go"]


def without(peers, *names):
    return [peer for peer in peers if peer not in names]


def parked(count, label, target, peers, **more):
    return program(f"parked-{label}", f"{label} parked fibers: memory", "B RSS each", peers, program="parked",
                   countable=False, scalable=False, operations=count,
                   metric=("rss", "operations"), extras=MEMORY, target=target, **more)


def server(name, title, peers, arguments, unit="ns per echo", program="echo", **more):
    return Workload(name, title, unit, peers[0], peers, program, arguments, kind="server",
                    **{"operations": 20_000, "extras": LATENCY} | more,
                    programs={"preloaded": "echo-thread"} if program == "echo" else
                    {"go": "echo-go", "thread": "echo-thread"} if program == "echo_hubs" else {})


LATE = (("wake-ups/s", "operations", "wall_ns", 1e-9), ("late p50 us", "late_p50_ns", None, 1e3),
        ("late p99 us", "late_p99_ns", None, 1e3))


def sleep(count, label, target):
    return program(f"sleep-{label}", f"{label} fibers sleep for 1 to 100 ms each", "ns per wake-up",
                   ["floor", "coir", "coir_asio", "boost_fiber", "state_threads", "asio_coroutine", "asio_spawn",
                    "libuv", "go", "gevent"], program="sleep", arguments=[count],
                   quick_peers=["floor", "coir", "boost_fiber", "asio_coroutine", "libuv", "go"],
                   operations=1000, extras=LATE, target=target, countable=False, scalable=False)


def cross_hub(name, title, how, peers):
    return program(name, title, "ns per message", peers, program="cross_hub", arguments=[how], cores="0,1",
                   operations=200_000, extras=(("wall ns", "wall_ns", "operations", 1),))


def call(name, title, count=1_000_000):
    return Workload(f"call-{name}", title, "ns per operation", "libc", ["libc", "outside", "inside"], "calls",
                    arguments=[name], operations=count, counted=True, target="+4 / +10 ns")


def calls_of_a_plain_program():
    """One that knows nothing of coir and never makes a fiber: natively, and with the patch preloaded."""
    for each in [workload for workload in ALL if workload.program == "calls"]:
        yield Workload(f"{each.name}-preloaded", f"{each.title}; a plain program", each.unit, "native",
                       ["native", "preload"], "calls", arguments=each.arguments, operations=each.operations,
                       target="+4 ns, no system call", quick=False)


def idle(count, label, peers, **more):
    return server(f"idle-{label}", f"{label} idle TCP connections that have each had an echo: memory", peers, [count],
                  "B RSS each", load="load-idle", metric=("rss", "operations"), countable=False, rounds_max=1,
                  extras=(("reached", "connections", None, 1), ("page tables B", "page_tables", "operations", 1),
                          ("CPU ns to open", "cpu_ns", "operations", 1)), **more)


def curve(name, points):
    """The same at several sizes."""
    for label, count in (("100", 100), ("1k", 1_000), ("10k", 10_000), ("100k", 100_000)):
        point = points(count)
        point.name, point.title = f"scale-{name}-{label}", f"{point.title}, {label} of them"
        point.curve, point.at, point.quick, point.rounds_max, point.target = f"scale-{name}", count, False, 3, ""
        yield point


ALL = [
    program("yield-2", "two fibers yield in turn", "ns per switch", MICRO, program="yield", arguments=[2],
            operations=4_000_000, slow=SLOW, counted=True, target="12 ns"),
    program("yield-10k", "10,000 fibers yield in turn", "ns per switch", without(MICRO, "thread"), program="yield",
            arguments=[10_000], operations=4_000_000, slow=SLOW | {"gevent": 40}, target="20 ns"),
    program("spawn", "start, run and join, 1,000 at a time", "ns per fiber", MICRO, program="spawn",
            arguments=[1000], operations=2_000_000, slow=SLOW | {"thread": 200, "asio_spawn": 20},
            counted=True, target="40 ns"),
    program("ping-pong", "channels of capacity 1, there and back", "ns per message",
            ["floor", "coir", "boost_fiber", "asio_coroutine", "go", "gevent"], program="ping_pong",
            operations=2_000_000, slow=SLOW, counted=True, target="30 ns"),
    program("stream", "a channel of capacity 128", "ns per message",
            ["floor", "coir", "boost_fiber", "asio_coroutine", "go", "gevent"], program="stream",
            operations=10_000_000, slow={"asio_coroutine": 20, "go": 4, "gevent": 50}, counted=True, target="6 ns"),
    program("mutex", "hand-off by mutex and condition variable", "ns per hand-off",
            ["floor", "coir", "patched", "boost_fiber", "state_threads", "go", "gevent", "thread"], program="mutex",
            operations=2_000_000, slow=SLOW | {"gevent": 200}, counted=True, target="40 ns"),
    cross_hub("cross-hub", "channels between two threads, there and back", 0,
              ["thread", "coir", "asio_callback", "go"]),
    cross_hub("cross-hub-mutex", "hand-off by mutex and condition variable between two threads", 1,
              ["thread", "coir", "go"]),
    parked(10_000, "10k", "4300 B", ["floor", "fcontext", "coir", "boost_fiber", "state_threads", "asio_coroutine",
                                     "asio_spawn", "go", "gevent"]),
    parked(100_000, "100k", "4300 B", ["floor", "fcontext", "coir", "boost_fiber", "state_threads", "asio_coroutine",
                                       "asio_spawn", "go", "gevent"], touches=1_600 * MIB, rounds_max=2, quick=False),
    parked(1_000_000, "1M", "4300 B, 3 s, < 100 mappings",
           ["floor", "fcontext", "coir", "boost_fiber", "state_threads", "asio_coroutine", "go"],
           touches=12_000 * MIB, rounds_max=1, quick_peers=["floor", "coir", "go"]),
    program("skynet", "skynet, 1,000,000 leaves, cold (gevent: 10,000, Boost.Fiber: 100,000)", "ms per million leaves",
            ["floor", "coir", "boost_fiber", "asio_coroutine", "go", "gevent"], program="skynet",
            countable=False, scalable=False, operations=1_000_000, slow={"gevent": 100, "boost_fiber": 10},
            target="250 ms", touches=6_000 * MIB, rounds_max=3, extras=(("peak MiB", "peak_rss", None, MIB),)),
    sleep(10_000, "10k", "1600 ns"),
    sleep(100_000, "100k", "700 ns"),
    program("sleep-10k-slack", "10k fibers sleep for 1 to 100 ms each, 1 ms of timer slack", "ns per wake-up",
            ["floor", "coir"], program="sleep", arguments=[10_000, 1000], operations=1000, extras=LATE,
            target="700 ns", countable=False, scalable=False),
    server("echo-100", "TCP echo, 64 bytes, 100 connections", ECHO, [100, 1], target="1.02 x", counted=True,
           quick_peers=QUICK_ECHO),
    server("echo-1000", "TCP echo, 1,000 connections", ECHO, [1000, 1], target="1.02 x", quick_peers=QUICK_ECHO),
    server("echo-pipelined", "TCP echo, 100 connections, 16 outstanding", ECHO, [100, 16], quick=False),
    server("echo-1", "TCP echo, one connection", ECHO, [1, 1], quick=False),
    server("echo-hubs", "TCP echo, 1,000 connections, two hubs on two cores that the load shares",
           ["epoll", "coir", "coir_net", "go", "thread"], [1000, 1], program="echo_hubs", quick=False,
           cores="0,1", environment={"GOMAXPROCS": "2"}),
    server("connect", "connect, one echo, close; 100 at a time", without(ECHO, "coir_asio", "gevent"), [100],
           "ns per connection", load="load-connect", quick=False, counted=True, operations=5_000,
           extras=(("connections/s", "operations", "wall_ns", 1e-9),)),
    idle(10_000, "10k", ECHO, quick=False),
    idle(100_000, "100k", ["epoll", "coir", "coir_net", "asio_coroutine", "libuv", "go"], quick=False),
    server("tls", "TLS 1.3 echo, 64 bytes, 100 connections", ["asio_coroutine", "coir", "go"], [100, 1], program="tls",
           load="load-tls", quick=False, counted=True),
    Workload("http", "HTTP hello, keep-alive, wrk with 100 connections", "ns per request", "nginx",
             ["nginx", "coir", "coir_patched", "coir_beast", "beast", "go"], "http", kind="http", countable=False,
             extras=(("kreq/s", "operations", "wall_ns", 1e-6), ("p50 us", "latency_p50_ns", None, 1e3),
                     ("p99 us", "latency_p99_ns", None, 1e3)), quick=False),
    Workload("fetch", "1,000 GETs of 50 ms with a blocking client", "us per GET", "curl_multi",
             ["curl_multi", "one_by_one", "coir", "thread", "go", "gevent"], "fetch", operations=1000, kind="fetch", scale=1e3,
             scalable=False, target="1.2 x, also wall",
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
    call("sem", "sem_wait and sem_post", 5_000_000),
    call("resolve", "getaddrinfo of an address", 100_000),
    *curve("yield", lambda count: program(
        "", "fibers yield in turn", "ns per switch", ["floor", "coir", "boost_fiber", "asio_coroutine", "go"],
        program="yield", arguments=[count], operations=2_000_000, slow={"asio_coroutine": 4})),
    *curve("spawn", lambda count: program(
        "", "fibers started, run and joined", "ns per fiber", ["floor", "coir", "boost_fiber", "asio_coroutine", "go"],
        program="spawn", arguments=[count], operations=1_000_000)),
    *curve("echo", lambda count: server(
        "", "TCP echo, connections", ["epoll", "coir", "coir_net", "asio_coroutine", "go"], [count, 1],
        extras=(*LATENCY, ("reached", "connections", None, 1)))),
]
ALL += calls_of_a_plain_program()

# Debian's package for what may be missing.
PACKAGES = {"go": "golang-go", "boost_fiber": "libboost-fiber1.81-dev", "fetch": "libcurl4-openssl-dev",
            "gevent": "python3-gevent", "state_threads": "libst-dev", "libuv": "libuv1-dev", "nginx": "nginx",
            "http": "wrk"}

# Not libraries, but what can be had at all; a libc call alone; an interface of another kind.
LIMITS = {"floor", "fcontext", "epoll", "libc", "curl_multi"}


def named(*beginnings):
    return [w.name for w in ALL if w.name.startswith(beginnings)]


# Sections of a report: what they are about, and which workloads are in them.
GROUPS = {
    "switch": ("switching", named("yield")),
    "spawn": ("starting and joining", named("spawn", "skynet")),
    "hand-off": ("channels and locks", named("ping-pong", "stream", "mutex")),
    "hubs": ("between threads", named("cross-hub", "echo-hubs")),
    "parked": ("waiting fibers", named("parked")),
    "sleep": ("sleeping", named("sleep")),
    "echo": ("TCP echo", [name for name in named("echo") if name != "echo-hubs"]),
    "connections": ("connections", named("connect", "idle")),
    "http-and-tls": ("HTTP and TLS", named("http", "tls")),
    "fetch": ("blocking clients", named("fetch")),
    "calls": ("a patched call", named("call")),
    "scale": ("scale", named("scale")),
}
