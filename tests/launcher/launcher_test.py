#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""launcher_test.py BUILD [--test-case=PATTERN]: `coir run` with ordinary programs. Equal means: as without coir."""
import contextlib
import ctypes
import os
import pathlib
import pwd
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

tests = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(tests / "support"), str(tests / "examples")]
import harness
from servers import Handler, Server, Servers, body_of

PR_SET_PDEATHSIG = 1  # prctl(2)
patience = 60  # seconds until a program that hangs is ended; nothing is measured with it
build = pathlib.Path(sys.argv[1]).resolve()
launcher = build / "tools/launcher/coir"
ordinary = build / "tests/launcher/ordinary"
threads = build / "tests/launcher/threads"
cancels = build / "tests/launcher/cancels"
differences = build / "tests/launcher/differences"
python = "/usr/bin/python3"  # Debian's, and not what a version manager puts in its place
servers = None


def path_of(program, package):
    """Where Debian's package has put a program. A test fails where it is missing."""
    for directory in ["/usr/bin", "/usr/sbin", *sorted(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin")))]:
        if os.access(f"{directory}/{program}", os.X_OK):
            return f"{directory}/{program}"
    raise AssertionError(f"{program} is not installed; it is in Debian's package {package}")


def run(*command, **options):
    options.setdefault("env", servers.environment)
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=patience,
                          **options)


def coir(*command, **options):
    return run(launcher, "run", *command, **options)


class Test(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)
        self.directory.chmod(0o755)

    def equal(self, *command, switches=(), before=lambda: None, **options):
        """Runs it without coir and with; returns what came, which was the same."""
        before()
        native = run(*command, **options)
        before()
        launched = coir(*switches, "--", *command, **options)
        for result in [native, launched]:  # how long it took is nobody's business
            result.stderr = re.sub(rb"after \d+ ms", b"after a while", result.stderr)
        for each in ["returncode", "stdout", "stderr"]:
            self.assertEqual(getattr(launched, each), getattr(native, each), f"{each} of {command}")
        return native

    def both(self, *command, **options):
        """The same at the same time, for what waits long; stderr may speak of the time it took."""
        results = [None, None]

        def at(i, how):
            results[i] = how(*command, **options)
        threads = [threading.Thread(target=at, args=each) for each in enumerate([run, coir])]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertEqual(results[1].returncode, results[0].returncode, results[1].stderr)
        self.assertEqual(results[1].stdout, results[0].stdout)
        return results[1]

    def killed_midway(self, *command, switches=(), certificate=None, before=lambda: None, **options):
        """Runs it without coir and with, with a server that is killed once it has sent half of its answer. PORT in
        `command` is replaced."""
        port = free_port()
        script = f"""
import socket, ssl, time
with socket.create_server(("127.0.0.1", {port})) as listener:
    print("listening", flush=True)
    connection = listener.accept()[0]
    if {certificate is not None}:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain({certificate and str(certificate[0])!r}, {certificate and str(certificate[1])!r})
        connection = context.wrap_socket(connection, server_side=True)
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nhalf")
    print("sent", flush=True)
    time.sleep(600)
"""
        results = []
        for how in [lambda *c, **o: run(*c, **o), lambda *c, **o: coir(*switches, "--", *c, **o)]:
            before()
            (self.directory / "log").write_bytes(b"")
            server = self.serve(python, "-c", script)
            says = lambda word: self.wait_until(lambda: word in (self.directory / "log").read_bytes(), f"no {word}")
            says(b"listening")

            def kill():
                says(b"sent")
                server.kill()
            killer = threading.Thread(target=kill)
            killer.start()
            results.append(how(*[str(each).replace("PORT", str(port)) for each in command], **options))
            killer.join()
            server.wait()
        for each in ["returncode", "stdout", "stderr"]:
            self.assertEqual(getattr(results[1], each), getattr(results[0], each), f"{each} of {command}")
        return results[1]

    def wait_until(self, condition, what):
        for _ in range(6000):
            if condition():
                return
            time.sleep(0.01)
        self.fail(what)

    def serve(self, *command, **options):
        log = open(self.directory / "log", "ab")
        self.addCleanup(log.close)
        end_with_us = lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        server = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  preexec_fn=end_with_us, **options)

        def stop():
            server.send_signal(signal.SIGQUIT)
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        self.addCleanup(stop)
        return server


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def accepts(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


class Launcher(Test):
    def test_arguments(self):
        """coir run passes arguments on as they are"""
        result = self.equal(ordinary, "arguments", "", "--", "--only", "-x", "two words", "$HOME", "--help")
        self.assertIn(b"<--only>", result.stdout)

    def test_environment(self):
        """coir run leaves the environment as it was, in its order"""
        self.equal(ordinary, "environment")
        self.equal(ordinary, "environment", switches=["--only=socket"])
        # There is such a library, though it has been empty for years.
        environment = {"A": "1", "LD_PRELOAD": "libpthread.so.0", "B": "2", "LD_PRELOAD_TOO": "3"}
        result = self.equal(ordinary, "environment", env=environment)
        self.assertEqual(result.stdout.decode().splitlines()[:4], [f"<{k}={v}>" for k, v in environment.items()])
        self.equal(ordinary, "environment", env={"LD_PRELOAD": ""})

    def test_ends(self):
        """a program under coir run ends as it does without, by whatever way"""
        for way, status in [("return", 9), ("exit", 3), ("_exit", 4), ("abort", -signal.SIGABRT),
                            ("terminated", -signal.SIGTERM), ("overflow", -signal.SIGSEGV), ("exit in handler", 6),
                            ("exit in thread", 8), ("pthread_exit", 0)]:
            with self.subTest(way):
                self.assertEqual(self.equal(ordinary, way).returncode, status)

    def test_stack(self):
        """main under coir run is on the thread's own stack, all of it"""
        self.assertEqual(self.equal(ordinary, "stack").stdout.splitlines()[0], b"on main's own stack: 1")

    def test_first_fiber(self):
        """main under coir run is a fiber that can start others"""
        result = coir(build / "tests/launcher/spawns")
        self.assertEqual((result.returncode, result.stdout), (0, b"main\nfast\nslow\n"), result.stderr)

    def test_main_thread(self):
        """coir run --main=thread leaves main to itself"""
        runs_exist = "import ctypes; print(ctypes.CDLL(None)._ZN4coir14runtimes_existEv() & 1)"
        self.assertEqual(coir(python, "-c", runs_exist).stdout, b"1\n")
        self.assertEqual(coir("--main=thread", python, "-c", runs_exist).stdout, b"0\n")

    def test_children(self):
        """the programs that a program runs are not patched, unless --children says so"""
        loaded = ["sh", "-c", "grep -c coir-run /proc/self/maps; exit 5"]
        self.assertEqual(coir(*loaded).stdout, b"0\n")
        result = coir("--children", *loaded)
        self.assertEqual(result.returncode, 5)
        self.assertGreater(int(result.stdout), 0)

    def test_only(self):
        """coir run --only leaves the other calls to libc"""
        # A fiber that sleeps by libc keeps the thread from the other.
        result = coir("--only=socket,dns", build / "tests/launcher/spawns")
        self.assertEqual((result.returncode, result.stdout), (0, b"main\nslow\nfast\n"), result.stderr)
        self.assertEqual(self.equal(ordinary, "children", switches=["--only=socket,poll"]).returncode, 0)

    def test_refused(self):
        """coir run says why it does not run a program, with env's exit status"""
        file = self.directory / "file"
        file.write_text("#!/usr/bin/env python3\n")
        script = self.directory / "script"
        shutil.copy(file, script)
        script.chmod(0o755)
        cases = [
            (125, ["--frobnicate", "true"], "--frobnicate"),
            (125, ["--only=socket,soup", "true"], "'socket,soup' is not a list of these"),
            (125, ["--main=loop", "true"], "loop"),
            (125, ["--threads=4", "true"], "--threads: 4 not in {os,fibers}"),
            (125, ["--threads=fibers", "--main=thread", "true"], "--main=thread"),
            (125, ["--threads=fibers", "--only=socket,dns", "true"], "--only=thread"),
            (125, [], "PROGRAM"),
            (127, ["no-such-program"], "no-such-program: No such file or directory"),
            (127, ["./no/such"], "./no/such: No such file or directory"),
            (126, [file], f"{file}: Permission denied"),
            (126, ["/"], "/: Permission denied"),
            (126, [script], "run by env"),
            (126, [build / "tests/launcher/static"], "statically linked"),
        ]
        if os.geteuid() == 0:
            other = self.directory / "other"
            shutil.copy(ordinary, other)
            os.chown(other, pwd.getpwnam("nobody").pw_uid, -1)
            other.chmod(0o4755)
            cases.append((126, [other], "rights that you do not have"))
        for status, arguments, message in cases:
            with self.subTest(arguments):
                result = coir(*arguments)
                self.assertEqual((result.returncode, result.stdout), (status, b""))
                self.assertIn(message, result.stderr.decode())

    def test_help(self):
        """coir explains itself"""
        self.assertIn(b"run", run(launcher, "--help").stdout)
        result = coir("--help")
        self.assertEqual(result.returncode, 0)
        for word in [b"--only", b"--main", b"--threads", b"--children", b"Exit status", b"PROGRAM"]:
            self.assertIn(word, result.stdout)


class Ordinary(Test):
    def test_processes(self):
        """fork, vfork, exec, popen and system from the first fiber"""
        self.assertEqual(self.equal(ordinary, "children").returncode, 0)

    def test_handlers(self):
        """handlers of signals that call patched functions, while main waits and while it does not"""
        self.assertEqual(self.equal(ordinary, "handlers").returncode, 0)

    def test_interruption(self):
        """handlers end calls that wait with EINTR, or do not, as without coir; and may wait themselves"""
        for switches in [[], ["--threads=fibers"]]:
            result = self.equal(build / "tests/launcher/signals", switches=switches)
            self.assertEqual(result.returncode, 0)
            self.assertIn(b"handlers waited", result.stdout)

    def test_close_all(self):
        """a program that closes every descriptor it does not know goes on"""
        self.assertEqual(self.equal(ordinary, "close_all").stdout.splitlines()[-2], b"the next is 3")

    def test_few_descriptors(self):
        """a program that runs out of descriptors has as many as without coir, and can wait"""
        self.assertEqual(self.equal(ordinary, "few_descriptors").returncode, 0)


class Threads(Test):
    fibers = ["--threads=fibers"]

    def test_everything(self):
        """what C++, C and POSIX have of threads, with threads that are fibers, and with those that are not"""
        for switches in [self.fibers, []]:
            self.assertEqual(self.equal(threads, switches=switches).returncode, 0)

    def test_many(self):
        """2,000 threads under coir run --threads=fibers are one kernel thread"""
        native, launched, fibers = run(threads, "many"), coir(threads, "many"), coir(*self.fibers, threads, "many")
        for each in [native, launched, fibers]:
            self.assertEqual((each.returncode, each.stdout), (0, b"2000 waited\n"))
        self.assertEqual([each.stderr for each in [native, launched, fibers]], [b"2001\n", b"2001\n", b"1\n"])

    def test_ends(self):
        """a program whose threads are fibers ends as it does with others"""
        for way, status in [("exit", 8), ("return", 0), ("main", 0), ("terminate", -signal.SIGABRT),
                            ("overflow", -signal.SIGSEGV)]:
            with self.subTest(way):
                self.assertEqual(self.equal(threads, "end", way, switches=self.fibers).returncode, status)
        for way, status in [("exit in thread", 8), ("pthread_exit", 0)]:
            with self.subTest(way):
                self.assertEqual(self.equal(ordinary, way, switches=self.fibers).returncode, status)

    def test_audit(self):
        """COIR_AUDIT names main, or the thread that is a fiber, whichever blocks the others"""
        for audit in ["exact,5", "sample,5"]:
            with self.subTest(audit), subprocess.Popen(
                    [launcher, "run", *self.fibers, threads, "block"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, env={**servers.environment, "COIR_AUDIT": audit}, bufsize=0) as program:
                self.addCleanup(program.kill)
                for who, name in [(b"main", rb"1 \(main\)"), (b"first", rb"2 \(thread\)"), (b"second", rb"3 \(thread\)"),
                                  (b"main", rb"1 \(main\)")]:
                    self.assertEqual(program.stdout.readline(), who + b" blocks\n")
                    told = b""
                    while b"still does: read of descriptor 0 " not in told:  # a busy machine may have more to tell
                        told = program.stderr.readline()
                        self.assertNotEqual(told, b"")
                    self.assertRegex(told, rb"fiber " + name + rb" has blocked hub 0 ")
                    program.stdin.write(b"x")
                self.assertEqual(program.wait(patience), 0)

    def test_audit_of_starts(self):
        """the exact audit has nothing to tell of a thread that is started as a fiber"""
        result = coir(*self.fibers, threads, "thread_local", env={**servers.environment, "COIR_AUDIT": "exact,0"})
        self.assertEqual((result.returncode, result.stdout), (0, b"thread_local\n0 failures\n"))
        self.assertIn(b"coir: audit: ", result.stderr)
        self.assertNotIn(b"pthread_create", result.stderr)

    def test_cancels(self):
        """pthread_cancel, pthread_exit and pthread_kill do the same to threads that are fibers"""
        for what in ["waits", "states", "kills", "main"]:
            with self.subTest(what):
                self.assertEqual(self.equal(cancels, what, switches=self.fibers).returncode, 0)

    def test_joins_main(self):
        """main can be joined by a thread that is a fiber, however it ends"""
        for how, end in [("exits", b"join 0: 7\n"), ("c11", b"join 0: -7\n"), ("cancelled", b"join 0: -1\n"),
                         ("detached", b"join EINVAL\n")]:
            with self.subTest(how):
                result = self.equal(cancels, "joins", how, switches=self.fibers)
                self.assertEqual(result.returncode, 0)
                self.assertIn(end, result.stdout)

    def test_differences(self):
        """what is said to be different about threads that are fibers is so"""
        for what, expected in [("cancellation", """\
in msgrcv
  received 1
  cancelled
before msgrcv
  cancelled
at any time, in what is no point
  has the mutex
  cancelled
what is no point, or need not wait
  pread 1, tcdrain 0, fgets 1
  cancelled
"""), ("kernel", """\
name: a worker, outside 0
same kernel thread: 1
affinity: 0, as before 1
SCHED_OTHER: 0
SCHED_FIFO: EOPNOTSUPP
"""), ("signals", """\
handled, while a thread blocks all
pthread_sigqueue: 5
what main blocks: handled 0
sigwait: 1
main has the signal stack of a thread: 1
"""), ("joins", """\
main: EDEADLK
other: EDEADLK
one: 0
"""), ("robust", """\
another process: EBUSY
another thread: EBUSY
""")]:
            with self.subTest(what):
                result = coir(*self.fibers, differences, what)
                self.assertEqual((result.returncode, result.stdout.decode(), result.stderr), (0, expected, b""))

    def test_cancels_under_coir(self):
        """where threads are threads, none is cancelled in a wait for a condition, and main must not be cancelled"""
        result = coir(differences, "threads")
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (0, b"a condition\n  woken\n  cancelled\n", b""))
        result = coir(differences, "main")
        self.assertEqual((result.returncode, result.stdout), (-signal.SIGABRT, b""))
        self.assertIn(b"terminate called", result.stderr)

    def test_blocked(self):
        """a FILE on a regular file that is locked, and a library that waits in dlopen, block all threads that are fibers"""
        for what in [["file"], ["dlopen", build / "tests/launcher/slow_to_load.so"]]:
            with self.subTest(what[0]), subprocess.Popen([launcher, "run", *self.fibers, differences, *what],
                                                         stdout=subprocess.PIPE) as program:
                self.addCleanup(program.kill)
                self.assertEqual(program.stdout.readline(), b"uses it\n")
                in_kernel = pathlib.Path(f"/proc/{program.pid}/syscall")
                futex = [b"202", b"98"]  # of x86-64 and aarch64; who waits for an event is in another call
                self.wait_until(lambda: in_kernel.read_bytes().split()[0] in futex, "nothing is blocked")
                program.kill()
                self.assertEqual(program.stdout.read(), b"")

    def test_server(self):
        """a server with a thread for each connection has 1,000 at once under coir run, on one kernel thread"""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limit[1]), limit[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        server = subprocess.Popen([launcher, "run", *self.fibers, build / "tests/programs/serve"], stdout=subprocess.PIPE)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.addCleanup(server.stdout.close)
        port = int(server.stdout.readline())
        with contextlib.ExitStack() as opened:
            clients = [opened.enter_context(socket.create_connection(("127.0.0.1", port), patience)) for _ in range(1000)]
            files = [opened.enter_context(client.makefile("rwb")) for client in clients]
            for round in range(3):
                for i, file in enumerate(files):
                    file.write(b"line %d of %d\n" % (round, i))
                    file.flush()
                for i, file in enumerate(files):
                    self.assertEqual(file.readline(), b"LINE %d OF %d\n" % (round, i))
            files[0].write(b"threads\n")
            files[0].flush()
            self.assertEqual(files[0].readline(), b"1\n")
        with socket.create_connection(("127.0.0.1", port), patience) as client:
            client.sendall(b"end\n")
            self.assertEqual(client.recv(1), b"")
        self.assertEqual(server.wait(patience), 0)


class Shell(Test):
    def test_jobs(self):
        """bash under coir run: pipelines, jobs in the background, descriptors by number, traps"""
        bash = [path_of("bash", "bash"), "-c"]
        self.equal(*bash, "seq 100000 | sort -rn | head -3; (exit 3) & wait $!; echo $?; x=$(echo inner); echo $x")
        self.equal(*bash, "exec 3>&1; (echo through three >&3; exec 3>&-; exec 4<<<here; cat <&4) | cat; echo last >&3")
        trapped = 'trap "echo trapped; exit 9" TERM; kill -TERM $$ & read line < <(exec sleep 0.3 2>&-)'
        self.assertEqual(self.equal(*bash, trapped).returncode, 9)

    def test_terminal(self):
        """bash under coir run on a terminal"""
        for how in [[], [launcher, "run"]]:
            ours, theirs = os.openpty()
            self.addCleanup(os.close, ours)
            os.write(ours, b"echo $((6 * 7)); sleep 0.05 & wait; exit 4\n")
            shell = subprocess.run([*how, path_of("bash", "bash"), "--norc", "-i"], stdin=theirs, stdout=theirs,
                                   stderr=theirs, timeout=patience, env=servers.environment)
            os.close(theirs)
            self.assertEqual(shell.returncode, 4)
            self.assertIn(b"\r42\r\n", os.read(ours, 65536))


class Curl(Test):
    def setUp(self):
        super().setUp()
        self.curl = [path_of("curl", "curl"), "-sS"]

    def test_pages(self):
        """curl under coir run fetches what it fetches without"""
        for path in ["/0/empty", "/100/small", "/3000000/large"]:
            self.assertEqual(self.equal(*self.curl, servers.good + path).stdout, body_of(path))
        by_name = servers.good.replace("127.0.0.1", "localhost")
        together = self.equal(*self.curl, "-L", by_name + "/redirect", by_name + "/100/x")
        self.assertEqual(together.stdout, body_of("/100/moved") + body_of("/100/x"))

    def test_parallel(self):
        """curl under coir run fetches many pages at once"""
        files = [self.directory / str(size) for size in range(1000, 1030)]
        outputs = [each for file in files for each in ["-o", file, f"{servers.good}/{file.name}/x"]]

        def remove():
            for file in files:
                file.unlink(missing_ok=True)
        self.equal(*self.curl, "--no-progress-meter", "--parallel", "--fail", *outputs, before=remove)
        for file in files:
            self.assertEqual(file.read_bytes(), body_of(f"/{file.name}/x"))

    def test_failures(self):
        """curl under coir run fails as it does without"""
        for arguments, status in [
            ([servers.good + "/hangup"], 18),
            (["--fail", servers.good + "/missing"], 22),
            ([servers.good + "/reset"], None),
            ([servers.refused], 7),
            (["http://no-such-host.invalid/"], 6),
        ]:
            with self.subTest(arguments):
                result = self.equal(*self.curl, *arguments)
                self.assertNotEqual(result.returncode, 0)
                if status:
                    self.assertEqual(result.returncode, status)

    def test_timeout(self):
        """curl under coir run gives up at its time limit"""
        native, launched = [how(*self.curl, "-m", "0.3", servers.silent) for how in [run, coir]]
        self.assertEqual((native.returncode, launched.returncode), (28, 28))
        self.assertIn(b"timed out", launched.stderr)

    def test_killed(self):
        """curl under coir run sees that the server was killed"""
        result = self.killed_midway(*self.curl, "http://127.0.0.1:PORT/")
        self.assertEqual((result.returncode, result.stdout), (18, b"half"))


class Tls(Test):
    def setUp(self):
        super().setUp()
        self.certificate, self.key = self.directory / "certificate.pem", self.directory / "key.pem"
        made = run(path_of("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                   "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.key, "-out", self.certificate)
        self.assertEqual(made.returncode, 0, made.stderr)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        server = Server(("127.0.0.1", 0), Handler)
        # Each connection shakes hands on its own thread.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.url = "https://localhost:%d" % server.server_port

    def test_curl(self):
        """curl under coir run speaks TLS, and refuses a certificate that nobody vouches for"""
        curl = [path_of("curl", "curl"), "-sS"]
        good = self.equal(*curl, "--cacert", self.certificate, self.url + "/300000/x")
        self.assertEqual(good.stdout, body_of("/300000/x"))
        self.assertEqual(self.equal(*curl, self.url).returncode, 60)

    def test_wget(self):
        """wget under coir run speaks HTTP and TLS, and fails as it does without"""
        wget = [path_of("wget", "wget"), "-q", "-O", "-", "--tries=1"]
        self.assertEqual(self.equal(*wget, servers.good + "/300000/x").stdout, body_of("/300000/x"))
        good = self.equal(*wget, "--ca-certificate", self.certificate, self.url + "/300000/x")
        self.assertEqual(good.stdout, body_of("/300000/x"))
        self.assertEqual(self.equal(*wget, self.url).returncode, 5)
        self.assertEqual(self.equal(*wget, servers.good + "/missing").returncode, 8)
        self.assertEqual(self.equal(*wget, servers.refused).returncode, 4)
        self.assertEqual(self.equal(*wget, "--timeout=0.3", servers.silent).returncode, 4)
        killed = self.killed_midway(*wget, "http://127.0.0.1:PORT/")
        self.assertEqual((killed.returncode, killed.stdout), (4, b"half"))

    def test_python(self):
        """python3's ssl under coir run"""
        script = """
import ssl, sys, urllib.request
trusting = ssl.create_default_context(cafile=sys.argv[2])
print(len(urllib.request.urlopen(sys.argv[1] + "/300000/x", context=trusting).read()))
try:
    urllib.request.urlopen(sys.argv[1] + "/1/x")
except OSError as failure:
    print(failure)
"""
        result = self.equal(python, "-c", script, self.url, self.certificate)
        self.assertIn(b"300000", result.stdout, result.stderr)

    def test_python_threads(self):
        """python3's ssl under coir run: a time limit, many at once on threads, and a server that is killed"""
        script = """
import concurrent.futures, socket, ssl, sys, urllib.request
trusting = ssl.create_default_context(cafile=sys.argv[2])
fetch = lambda n: len(urllib.request.urlopen(f"{sys.argv[1]}/{n}/x", context=trusting).read())
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(fetch, range(50))))
silent = socket.create_connection(("127.0.0.1", int(sys.argv[3].rpartition(":")[2])), timeout=0.2)
try:
    trusting.wrap_socket(silent, server_hostname="localhost")
except TimeoutError as failure:
    print(failure)
"""
        result = self.equal(python, "-c", script, self.url, self.certificate, servers.silent)
        self.assertIn(b"1225", result.stdout, result.stderr)
        script = """
import http.client, ssl, sys, urllib.request
trusting = ssl.create_default_context(cafile=sys.argv[2])
try:
    urllib.request.urlopen(sys.argv[1], context=trusting).read()
except (OSError, http.client.HTTPException) as failure:
    print(repr(failure))
"""
        killed = self.killed_midway(python, "-c", script, "https://localhost:PORT/", self.certificate,
                                    certificate=(self.certificate, self.key))
        self.assertIn(b"IncompleteRead(4 bytes read", killed.stdout)

    def test_killed(self):
        """curl and wget under coir run see that a server was killed that spoke TLS"""
        both = dict(certificate=(self.certificate, self.key))
        curl = [path_of("curl", "curl"), "-sS", "--cacert", self.certificate, "https://localhost:PORT/"]
        self.assertNotEqual(self.killed_midway(*curl, **both).returncode, 0)
        wget = [path_of("wget", "wget"), "-q", "-O", "-", "--tries=1", "--ca-certificate", self.certificate]
        self.assertNotEqual(self.killed_midway(*wget, "https://localhost:PORT/", **both).returncode, 0)


class Git(Test):
    def test_clone(self):
        """git clone over HTTP under coir run --children, with all that git runs"""
        git = path_of("git", "git")
        source, served = self.directory / "source", self.directory / "served"
        environment = servers.environment | {
            "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
            "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z", "HOME": str(self.directory)}

        def prepare(*arguments):
            done = run(git, *arguments, env=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
        prepare("init", "-q", "-b", "main", source)
        for i in range(50):
            (source / f"file{i}").write_bytes(body_of(f"/{i * 1000}/x"))
        prepare("-C", source, "add", ".")
        prepare("-C", source, "commit", "-q", "-m", "everything")
        prepare("clone", "-q", "--bare", source, served / "repository.git")
        prepare("-C", served / "repository.git", "update-server-info")

        port = free_port()
        self.serve(python, "-m", "http.server", "-b", "127.0.0.1", "-d", served, port)
        self.wait_until(lambda: accepts(port), "the server does not start")
        clone = self.directory / "clone"
        for switches in [["--children"], []]:
            result = self.equal(git, "clone", f"http://127.0.0.1:{port}/repository.git", clone, switches=switches,
                                before=lambda: shutil.rmtree(clone, ignore_errors=True), env=environment)
            self.assertEqual(result.returncode, 0, result.stderr)
            for i in range(50):
                self.assertEqual((clone / f"file{i}").read_bytes(), body_of(f"/{i * 1000}/x"))
        missing = self.equal(git, "clone", "-q", f"http://127.0.0.1:{port}/none.git", clone, switches=["--children"],
                             before=lambda: shutil.rmtree(clone, ignore_errors=True), env=environment)
        self.assertEqual(missing.returncode, 128)

        target = self.directory / "half"
        remove = lambda: shutil.rmtree(target, ignore_errors=True)
        killed = self.killed_midway(git, "clone", "-q", "http://127.0.0.1:PORT/half.git", target,
                                    switches=["--children"], before=remove, env=environment)
        self.assertEqual(killed.returncode, 128)
        # At least a second, which is what git takes for a time limit.
        limit = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=1"]
        late = self.both(git, *limit, "ls-remote", servers.silent + "/late.git", env=environment)
        self.assertEqual(late.returncode, 128)


class Redis(Test):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.client = [path_of("redis-cli", "redis-tools"), "-p", self.port]

    def start(self):
        server = self.serve(path_of("redis-server", "redis-server"), "--port", self.port, "--bind", "127.0.0.1", "--save",
                            "", "--dir", self.directory)
        self.wait_until(lambda: run(*self.client, "ping").stdout == b"PONG\n", "redis does not start")
        return server

    def test_commands(self):
        """redis-cli under coir run, with arguments, from a pipe, and waiting"""
        self.start()
        self.equal(*self.client, "set", "a", "b")
        self.assertEqual(self.equal(*self.client, "get", "a").stdout, b"b\n")
        self.equal(*self.client, "no-such-command")
        self.assertEqual(self.equal(*self.client, "blpop", "nothing", "0.1").stdout, b"\n")
        text = b"".join(b"set key%d %d\nget key%d\n" % (i, i, i) for i in range(500))
        self.assertEqual(self.equal(*self.client, input=text).stdout.count(b"OK"), 500)

        subscribe = ["timeout", "-s", "INT", "0.3", *self.client, "subscribe", "news"]
        self.assertEqual(self.equal(*subscribe, switches=["--children"]).stdout, b"subscribe\nnews\n1\n")

    def test_killed(self):
        """redis-cli under coir run sees that the server was killed"""
        results = []
        for how in [run, coir]:
            server = self.start()

            def kill():
                clients = [*self.client, "client", "list"]
                self.wait_until(lambda: b"cmd=blpop" in run(*clients).stdout, "nobody waits")
                server.kill()
            killer = threading.Thread(target=kill)
            killer.start()
            results.append(how(*self.client, "blpop", "nothing", "0"))
            killer.join()
            server.wait()
        for each in ["returncode", "stdout", "stderr"]:
            self.assertEqual(getattr(results[0], each), getattr(results[1], each))
        self.assertIn(b"closed the connection", results[1].stdout + results[1].stderr)


class Psql(Test):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if user:
            os.chown(self.directory, pwd.getpwnam("postgres").pw_uid, -1)
        data = self.directory / "data"
        made = run(path_of("initdb", "postgresql"), "-A", "trust", "-U", "me", "--no-sync", "-D", data, cwd="/", **user)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.serve(path_of("postgres", "postgresql"), "-D", data, "-p", self.port, "-k", self.directory, "-F", cwd="/",
                   **user)
        self.client = [path_of("psql", "postgresql-client"), "-X", "-h", "127.0.0.1", "-p", self.port, "-U", "me",
                       "postgres"]
        self.wait_until(lambda: run(*self.client, "-c", "select 1").returncode == 0, "PostgreSQL does not start")

    def test_queries(self):
        """psql under coir run: queries, errors, a script, a socket in the file system, and a server process killed"""
        self.assertIn(b"499500", self.equal(*self.client, "-c", "select sum(i) from generate_series(0, 999) i").stdout)
        self.equal(*self.client, "-c", "select repeat(i::text, 100) from generate_series(1, 20000) i")
        self.equal(*self.client, "-c", "select pg_sleep(0.05)")
        self.assertEqual(self.equal(*self.client, "-c", "select nonsense").returncode, 1)
        script = b"create temp table t (i int);\ncopy t from stdin;\n1\n2\n\\.\nselect * from t;\n\\! echo shell\n"
        self.assertIn(b"shell", self.equal(*self.client, input=script).stdout)
        self.equal(*self.client, "-h", self.directory, "-c", "select 1")
        late = self.equal(*self.client, "-c", "set statement_timeout = 50", "-c", "select pg_sleep(60)")
        self.assertIn(b"statement timeout", late.stderr)
        killed = self.equal(*self.client, "-c", "select pg_terminate_backend(pg_backend_pid())")
        self.assertEqual(killed.returncode, 2)
        refused = [*self.client[:-1], "no-such-database", "-c", "select 1"]
        self.assertEqual(self.equal(*refused).returncode, 2)

        silent = servers.silent.rpartition(":")[2]
        late = self.both(path_of("psql", "postgresql-client"), f"host=127.0.0.1 port={silent} connect_timeout=2")
        self.assertIn(b"timeout expired", late.stderr)

    def test_killed(self):
        """psql under coir run sees that its server process was killed"""
        results = []
        for starts, how in enumerate([run, coir], 1):
            # SIGKILL to one makes PostgreSQL restart the others.
            log = self.directory / "log"
            ready = lambda: log.read_bytes().count(b"ready to accept connections") >= starts
            self.wait_until(ready, "PostgreSQL does not come back")

            def kill():
                found = []

                def asleep():
                    sql = "select pid from pg_stat_activity where wait_event = 'PgSleep'"
                    found[:] = run(*self.client, "-A", "-t", "-c", sql).stdout.split()
                    return found
                self.wait_until(asleep, "nobody sleeps")
                os.kill(int(found[0]), signal.SIGKILL)
            killer = threading.Thread(target=kill)
            killer.start()
            results.append(how(*self.client, "-c", "select pg_sleep(60)"))
            killer.join()
        for each in ["returncode", "stdout", "stderr"]:
            self.assertEqual(getattr(results[1], each), getattr(results[0], each))
        self.assertIn(b"server closed the connection unexpectedly", results[1].stderr)


class Python(Test):
    def equal_script(self, script, *arguments, switches=()):
        path_of("python3", "python3")
        result = self.equal(python, "-c", script, *arguments, switches=switches)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return result.stdout

    def test_urllib(self):
        """python3's urllib under coir run, on its main thread and on others"""
        script = """
import concurrent.futures, sys, urllib.error, urllib.request
fetch = lambda path: urllib.request.urlopen(sys.argv[1] + path, timeout=30).read()
print([len(fetch(f"/{n}/x")) for n in [0, 1, 100000]])
try:
    fetch("/missing")
except urllib.error.HTTPError as failure:
    print(failure.code)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum(map(len, pool.map(fetch, [f"/{n}/y" for n in range(100)]))))
try:
    urllib.request.urlopen(sys.argv[2], timeout=0.2)
except TimeoutError as failure:
    print(failure)
"""
        self.assertIn(b"4950", self.equal_script(script, servers.good, servers.silent))
        script = """
import http.client, sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1]).read()
except http.client.IncompleteRead as failure:
    print(failure)
"""
        killed = self.killed_midway(python, "-c", script, "http://127.0.0.1:PORT/")
        self.assertIn(b"IncompleteRead(4 bytes read", killed.stdout)

    def test_subprocess(self):
        """python3's subprocess under coir run"""
        script = """
import os, subprocess, sys
print(subprocess.check_output(["echo", "one"]))
print(subprocess.run("cat; exit 3", shell=True, input=b"x" * 300000, stdout=subprocess.PIPE).returncode)
print(subprocess.run([sys.executable, "-c", "import os; print(sorted(os.environ))"], stdout=subprocess.PIPE).stdout)
many = [subprocess.Popen(["sh", "-c", f"exit {n}"]) for n in range(20)]
print([each.wait() for each in many])
try:
    subprocess.run(["sleep", "60"], timeout=0.1)
except subprocess.TimeoutExpired as failure:
    print(type(failure))
print(os.popen("echo four").read(), os.system("exit 5"))
killed = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
killed.kill()
print(killed.communicate(), killed.returncode)
child = os.fork()
if child == 0:
    os._exit(7 if subprocess.call(["true"]) == 0 else 1)
print(os.waitpid(child, 0)[1])
"""
        self.equal_script(script)

    def test_asyncio(self):
        """python3's asyncio under coir run: a server, clients, time, a process and a thread"""
        script = """
import asyncio, time
async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
async def ask(port, text):
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(text.encode() + b"\\n")
    answer = await reader.readline()
    writer.close()
    return answer
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*[ask(port, f"question {n}") for n in range(20)]))
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.05)
    except asyncio.TimeoutError:
        print("timed out")
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print(await process.communicate(b"through cat"))
    print(await asyncio.to_thread(time.sleep, 0.01))
    server.close()
asyncio.run(main())
"""
        self.assertIn(b"QUESTION 19", self.equal_script(script.replace("\\\\", "\\")))

    def test_interrupted(self):
        """python3 under coir run is interrupted by Ctrl-C in whatever it waits, and ended where it does not mind"""
        script = """
import os, select, signal, socket, subprocess, sys, threading, time
ours, theirs = os.pipe()
a, b = socket.socketpair()
listener = socket.create_server(("127.0.0.1", 0))
child = subprocess.Popen(["sleep", "3600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
waits = {
    "read": lambda: os.read(ours, 1), "recv": lambda: a.recv(1), "accept": listener.accept,
    "sleep": lambda: time.sleep(3600), "poll": lambda: select.poll().poll(), "select": lambda: select.select([a], [], []),
    "wait": child.wait, "lock": lambda: [threading.Lock().acquire(), threading.Event().wait(3600)], "pause": signal.pause,
    "join": lambda: sleeper.join(),
}
sleeper = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
sleeper.start()
for name, wait in waits.items():
    sender = subprocess.Popen(["sh", "-c", f"read line; sleep 0.02; kill -INT {os.getpid()}"], stdin=subprocess.PIPE)
    try:
        sender.stdin.close()
        wait()
        print(name, "went on")
    except KeyboardInterrupt:
        print(name, "interrupted")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sender.wait()
    signal.signal(signal.SIGINT, signal.default_int_handler)
child.kill()
child.wait()
sys.stdout.flush()
signal.signal(signal.SIGINT, signal.SIG_DFL)
subprocess.Popen(["sh", "-c", f"sleep 0.02; kill -INT {os.getpid()}"])
a.recv(1)
"""
        for switches in [[], ["--threads=fibers"]]:
            result = self.equal(python, "-c", script, switches=switches)
            self.assertEqual((result.returncode, result.stdout.count(b"interrupted")), (-signal.SIGINT, 10))

    def test_threading(self):
        """python3's threading under coir run --threads=fibers: what it has to wait with, and a pool"""
        script = """
import queue, threading, time
from concurrent.futures import ThreadPoolExecutor
numbers, local, ended = queue.Queue(5), threading.local(), []
def produce(i):
    local.number = i
    time.sleep(0.01)
    numbers.put(i)
    assert local.number == i
def join(threads):
    for each in threads:
        each.join()
threads = [threading.Thread(target=produce, args=(i,)) for i in range(200)]
for each in threads:
    each.start()
print(sum(numbers.get() for _ in threads))
join(threads)
together, go, few, again = threading.Barrier(6), threading.Event(), threading.Semaphore(2), threading.RLock()
def meet(i):
    together.wait()
    go.wait()
    with few:
        time.sleep(0.001)
    with again, again:
        ended.append(i)
threads = [threading.Thread(target=meet, args=(i,), name=f"thread {i}", daemon=True) for i in range(5)]
for each in threads:
    each.start()
together.wait()
assert len({each.ident for each in threads}) == 5
go.set()
join(threads)
print(sorted(ended))
with ThreadPoolExecutor(50) as pool:
    print(sum(pool.map(lambda n: (time.sleep(0.002), n)[1], range(500))))
    try:
        pool.submit(lambda: 1 / 0).result()
    except ZeroDivisionError as failure:
        print(failure)
condition = threading.Condition()
with condition:
    print(condition.wait(0.005))
threading.Timer(0.005, lambda: print("late")).run()
threading.Thread(target=lambda: time.sleep(3600), daemon=True).start()
"""
        self.assertIn(b"124750", self.equal_script(script, switches=["--threads=fibers"]))

    def test_servers(self):
        """python3's servers with a thread for each connection under coir run --threads=fibers, and clients in threads"""
        script = """
import http.server, os, socket, socketserver, sys, threading, urllib.request
class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode() * 1000)
    def log_message(self, *_):
        pass
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1000
class HttpServer(http.server.ThreadingHTTPServer):
    request_queue_size = 1000
def serving(kind, handler):
    server = kind(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    return server, thread
def ended(server, thread):
    server.shutdown()
    thread.join()
    server.server_close()
server, thread = serving(HttpServer, Pages)
sizes = [0] * 100
def fetch(i):
    sizes[i] = len(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{i}").read())
clients = [threading.Thread(target=fetch, args=(i,)) for i in range(100)]
for each in clients:
    each.start()
for each in clients:
    each.join()
print(sum(sizes))
ended(server, thread)
server, thread = serving(Server, Lines)
clients = [socket.create_connection(server.server_address) for _ in range(300)]
for i, each in enumerate(clients):
    each.sendall(b"line %d\\n" % i)
files = [each.makefile("rb") for each in clients]
print(sum(len(each.readline()) for each in files), threading.active_count())
tasks = len(os.listdir("/proc/self/task"))  # one for the fibers, and a helper that has looked for a name
print(tasks < 10 if sys.argv[1] == "fibers" else tasks > 300, file=sys.stderr)
for each in files + clients:
    each.close()
ended(server, thread)
""".replace("\\\\", "\\")
        native = run(python, "-c", script, "os")
        launched = coir("--threads=fibers", python, "-c", script, "fibers")
        for each in [native, launched]:
            self.assertEqual((each.returncode, each.stdout, each.stderr), (0, b"290000\n2590 302\n", b"True\n"))

    def test_asyncio_failures(self):
        """python3's asyncio under coir run: time limits, a server that is killed, TLS that is not, a child that is killed"""
        script = """
import asyncio, ssl, sys
async def read(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    try:
        return await reader.readexactly(1000)
    finally:
        writer.close()
async def main():
    silent, killed = [int(each.rpartition(":")[2].strip("/")) for each in sys.argv[1:3]]
    results = await asyncio.gather(*[asyncio.wait_for(read(silent), 0.2) for _ in range(20)], return_exceptions=True)
    print(results)
    try:
        await read(killed)
    except asyncio.IncompleteReadError as failure:
        print(failure.partial.endswith(b"half"))
    try:
        await asyncio.open_connection("127.0.0.1", silent, ssl=True, ssl_handshake_timeout=0.2)
    except ConnectionError as failure:
        print(failure)
    process = await asyncio.create_subprocess_exec("sleep", "60")
    process.kill()
    print(await process.wait())
asyncio.run(main())
"""
        result = self.killed_midway(python, "-c", script, servers.silent, "http://127.0.0.1:PORT/")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertIn(b"True", result.stdout)
        self.assertTrue(result.stdout.endswith(b"-9\n"), result.stdout)

    def test_signals(self):
        """python3 under coir run runs its handlers of signals"""
        script = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.02)
signal.pause()
"""
        self.assertEqual(self.equal_script(script), b"handled\nalarm\n")


harness_arguments = sys.argv[2:]
with Servers() as servers:
    sys.exit(harness.run(sys.modules[__name__], harness_arguments))
