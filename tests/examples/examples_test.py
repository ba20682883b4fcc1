#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""examples_test.py DIRECTORY [--test-case=PATTERN]: runs the examples that are in DIRECTORY."""
import http.server
import os
import pathlib
import pty
import random
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
from postgres import Postgres
from servers import Servers, body_of
from tls_servers import TlsServers

MODES = ["sequential", "threads", "fibers"]
patience = 60  # seconds until a program that hangs is ended; nothing is measured with it

programs = pathlib.Path()
servers = None


def run(name, *arguments, **options):
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    return subprocess.run(
        [programs / name, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=patience, env=servers.environment, **options)


def fetch(*arguments, **options):
    return run("fetch", *arguments, **options)


def rows(result):
    """The table's lines by mode, each a dictionary by column."""
    lines = result.stdout.splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("mode "))
    columns = re.split(r"  +", lines[heading])
    found = {}
    for line in lines[heading + 1:]:
        cells = re.split(r"  +", line.replace(" *", "  ", 1) if line.startswith("sequential *") else line)
        if len(cells) != len(columns):
            break
        found[cells[0]] = dict(zip(columns, cells))
    return found


def complaints(result):
    """What the standard error says of each URL."""
    found = {}
    for line in result.stderr.splitlines():
        url, reason = re.fullmatch(r"fetch: (.+?): ((?! ).*)", line).groups()
        found.setdefault(url, []).append(reason)
    return found


class Directory(unittest.TestCase):
    """Tests that want a directory of their own."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)
        self.out = self.directory / "out"

    def bodies(self):
        return {int(file.name.split("-")[0]): file.read_bytes() for file in self.out.iterdir()}


class Experiment(Directory):
    def test_all_modes(self):
        """fetch without a URL compares the modes, and each receives the same bytes"""
        result = fetch("--requests", 60, "--sample", 5, "--concurrency", 60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        table = rows(result)
        self.assertEqual(list(table), MODES)
        self.assertEqual([table[mode]["requests"] for mode in MODES], ["5", "60", "60"])
        self.assertEqual([table[mode]["failed"] for mode in MODES], ["0"] * 3)
        self.assertEqual(table["threads"]["bytes"], table["fibers"]["bytes"])
        self.assertIn("Each URL gave the same number of bytes in every mode.", result.stdout)
        self.assertIn("measured on 5 requests only", result.stdout)

    def test_threads(self):
        """fetch in fibers has one OS thread, and in threads many"""
        table = rows(fetch("--requests", 50, "--sample", 1))
        self.assertEqual(table["fibers"]["threads"], "1")
        self.assertEqual(table["sequential"]["threads"], "1")
        self.assertGreater(int(table["threads"]["threads"]), 1)

    def test_sequential_alone(self):
        """fetch in sequential mode alone makes every request"""
        self.assertEqual(rows(fetch("--mode", "sequential", "--requests", 3))["sequential"]["requests"], "3")

    def test_few_descriptors(self):
        """fetch makes do with the descriptors it may have, and says so"""
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        result = fetch("--mode", "fibers", "--requests", 20, preexec_fn=limit)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"^fetch: \d+ at once instead of 20: the limit of open files is 64")
        self.assertEqual(rows(result)["fibers"]["failed"], "0")

    def test_plot(self):
        """fetch draws its figures as SVG"""
        plot = self.directory / "plot.svg"
        result = fetch("--requests", 5, "--sample", 1, "--plot", plot)
        self.assertEqual(result.returncode, 0, result.stderr)
        svg = xml.etree.ElementTree.parse(plot).getroot()
        bars = [bar.get("class") for bar in svg.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class")]
        self.assertEqual(bars, MODES * 4)

    def test_plot_fails(self):
        """fetch says when the plot cannot be written"""
        plot = self.directory / "missing" / "plot.svg"
        result = fetch("--mode", "fibers", "--requests", 1, "--plot", plot)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"fetch: cannot write {plot}: No such file or directory", result.stderr)
        result = fetch("--mode", "fibers", "--requests", 1, "--plot", "/dev/full")
        self.assertEqual(result.returncode, 1)
        self.assertIn("fetch: cannot write /dev/full: No space left on device", result.stderr)


class Urls(Directory):
    def test_content(self):
        """fetch writes what the server sent, in every mode"""
        paths = [f"/{size}/page" for size in [0, 1, 100, 5_000, 300_000, 3_000_000]]
        for mode in MODES + ["all"]:
            with self.subTest(mode):
                result = fetch("--mode", mode, "--out", self.out, *[servers.good + path for path in paths])
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertEqual(self.bodies(), {i + 1: body_of(path) for i, path in enumerate(paths)})
                for row in rows(result).values():
                    self.assertEqual(row["bytes"], f"{sum(len(body_of(path)) for path in paths):,}")

    def test_more_than_workers(self):
        """fetch comes to every URL of a list longer than its concurrency"""
        paths = [f"/{100 + number}/x" for number in range(50)]
        for mode in MODES:
            with self.subTest(mode):
                result = fetch("-m", mode, "-c", 3, "-o", self.out, *[servers.good + path for path in paths])
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertEqual(self.bodies(), {i + 1: body_of(path) for i, path in enumerate(paths)})

    def test_bad(self):
        """fetch gives each bad URL one line with the reason, and goes on with the others"""
        reasons = {
            servers.refused + "/": "Connection refused",
            "http://no-such-host.invalid/": "Could not resolve host: no-such-host.invalid",
            "http://[bad/": "URL using bad/illegal format",
            "not a url": "URL using bad/illegal format",
            "http://127.0.0.1:99999/": "URL using bad/illegal format",
            "file:///etc/hostname": 'Protocol "file" not supported',
            servers.silent + "/": "timed out",
            servers.good + "/hangup": "transfer closed with 900 bytes remaining to read",
            servers.good + "/reset": "reset by peer|Empty reply",
            servers.good + "/missing": "404",
            servers.good + "/broken": "500",
            servers.good + "/circle": "Maximum .* redirects followed",
            "http://255.255.255.255/": "unreachable|Permission denied|Couldn't connect",
        }
        good = [servers.good + "/1000/first", servers.good + "/2000/last"]
        for mode in MODES:
            with self.subTest(mode):
                result = fetch("-m", mode, "-t", "500ms", "-o", self.out, good[0], *reasons, good[1])
                self.assertEqual(result.returncode, 1)
                said = complaints(result)
                self.assertEqual(sorted(said), sorted(reasons))
                for url, reason in reasons.items():
                    self.assertEqual(len(said[url]), 1)
                    self.assertRegex(said[url][0], reason)
                self.assertEqual(self.bodies(), {1: body_of("/1000/first"), len(reasons) + 2: body_of("/2000/last")})
                self.assertEqual(rows(result)[mode]["failed"], str(len(reasons)))

    def test_bad_in_all_modes(self):
        """fetch says in which mode a URL failed where it runs several"""
        result = fetch("-m", "all", servers.refused)
        self.assertEqual(result.returncode, 1)
        for mode in MODES:
            self.assertRegex(result.stderr, rf"fetch: {servers.refused}: .*Connection refused\) \({mode}\)")

    def test_many_silent(self):
        """fetch ends many transfers that time out at once"""
        result = fetch("-t", "300ms", *[f"{servers.silent}/{n}" for n in range(40)], f"{servers.good}/10/x")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.count("timed out"), 40)
        self.assertEqual(rows(result)["fibers"]["failed"], "40")

    def test_redirect(self):
        """fetch follows redirections"""
        result = fetch("-o", self.out, servers.good + "/redirect")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.bodies(), {1: body_of("/100/moved")})

    def test_file(self):
        """fetch reads lists of URLs, without blank lines and comments"""
        text = f"# pages\n\n  {servers.good}/10/a  \r\n\t\n{servers.good}/20/b\n   # more\n{servers.good}/30/c"
        expected = {i + 1: body_of(path) for i, path in enumerate(["/10/a", "/20/b", "/30/c"])}
        list_file = self.directory / "urls"
        list_file.write_bytes(text.encode())
        result = fetch("-f", list_file, "-o", self.out)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.bodies(), expected)
        result = fetch("-f", "-", "-o", self.out, input=text)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.bodies(), expected)

    def test_names(self):
        """fetch keeps files inside of the directory, whatever the URL, and apart for the same URL"""
        urls = [servers.good + "/10/?escape=../../../a&b=/c", servers.good + "/10/x", servers.good + "/10/x",
                servers.good + "/10/" + "long" * 200]
        result = fetch("-o", self.out, "--", *urls)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(sorted(self.bodies()), [1, 2, 3, 4])
        self.assertEqual([each.name for each in self.directory.iterdir()], ["out"])
        for each in self.out.iterdir():
            self.assertRegex(each.name, r"^[A-Za-z0-9._-]{1,140}$")

    def test_control_characters(self):
        """fetch does not pass on control characters of a URL"""
        result = fetch("http://\x1b[31mred\x07/")
        self.assertEqual(result.returncode, 1)
        self.assertNotRegex(result.stdout + result.stderr, r"[\x00-\x09\x0b-\x1f]")

    def test_directory_fails(self):
        """fetch says when it cannot make its directory"""
        obstacle = self.directory / "file"
        obstacle.touch()
        result = fetch("-o", obstacle / "out", servers.good + "/10/x")
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"fetch: cannot create {obstacle}/out: Not a directory", result.stderr)

    def test_write_fails(self):
        """fetch reports a body that could not be written, and removes what there is of it"""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        for mode in MODES:
            with self.subTest(mode):
                urls = [servers.good + path for path in ["/9000/small", "/200000/large", "/10/tiny"]]
                result = fetch("-m", mode, "-o", self.out, *urls, preexec_fn=limit, restore_signals=False)
                self.assertEqual(result.returncode, 1)
                self.assertEqual(list(complaints(result)), [urls[1]])
                self.assertRegex(complaints(result)[urls[1]][0], "cannot write .*/0002-.*: File too large")
                self.assertEqual(sorted(self.bodies()), [1, 3])

    def test_create_fails(self):
        """fetch reports a file that could not be created"""
        fetch("-o", self.out, servers.good + "/10/x")
        (file,) = self.out.iterdir()
        file.unlink()
        file.mkdir()
        result = fetch("-o", self.out, servers.good + "/10/x")
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"cannot create {file}: Is a directory", result.stderr)
        self.assertEqual(list(self.out.iterdir()), [file])

    def test_killed(self):
        """fetch reports every URL that is left when the process that fetches dies"""
        urls = [servers.good + "/10/x", servers.silent + "/1", servers.silent + "/2"]
        with subprocess.Popen([programs / "fetch", *urls], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=servers.environment) as parent:
            os.kill(self.wait_for_child(parent.pid), signal.SIGKILL)
            _, errors = parent.communicate(timeout=patience)
            self.assertEqual(parent.returncode, 1)
            for url in urls[1:]:
                self.assertIn(f"fetch: {url}: the process that fetches ended early (Killed)", errors)

    def wait_for_child(self, parent):
        while True:
            for child in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
                if "--measure" in pathlib.Path(f"/proc/{child}/cmdline").read_text():
                    return int(child)
            time.sleep(0.005)

    def test_orphan(self):
        """fetch leaves no process behind when it is killed"""
        with subprocess.Popen([programs / "fetch", "-m", "fibers", "--requests", "100", "-c", "1"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=servers.environment) as parent:
            self.wait_for_child(parent.pid)
            parent.kill()
            # The server and the child that fetches share these; the end of file comes when they have ended, too.
            parent.stdout.read()


class CommandLine(Directory):
    def test_usage(self):
        """fetch refuses a command line that makes no sense, with a message and status 2"""
        empty = self.directory / "empty"
        empty.write_text("# nothing\n\n")
        for arguments, message in [
            (["--mode", "magic"], "magic not in {all,fibers,sequential,threads}"),
            (["--timeout", "10"], "'10' is not a duration like 10s, 500ms or 2m"),
            (["--timeout", "soon"], "'soon' is not a duration"),
            (["--timeout", "1.2.3s"], "'1.2.3s' is not a duration"),
            (["--timeout", "-1s"], "'-1s' is not a duration"),
            (["--timeout", "0s"], "'0s' is not between 1ms and a day"),
            (["--concurrency", "0"], "Value 0 not in range"),
            (["--concurrency", "many"], "many"),
            (["--requests", "-5"], "--requests"),
            (["--requests", "5", "http://127.0.0.1/"], "--requests is for the experiment"),
            (["--frobnicate"], "--frobnicate"),
            (["-f", self.directory / "none"], "No such file or directory"),
            (["-f", self.directory], "Is a directory"),
            (["-f", empty], "there is no URL in"),
            (["-f"], "-f"),
        ]:
            with self.subTest(arguments):
                result = fetch(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(message, result.stderr)
                self.assertEqual(result.stdout, "")

    def test_help(self):
        """fetch explains itself"""
        result = fetch("--help")
        self.assertEqual(result.returncode, 0)
        for option in ["--mode", "--concurrency", "--timeout", "--out", "--plot", "--file", "Exit status"]:
            self.assertIn(option, result.stdout)

    def test_durations(self):
        """fetch takes durations in milliseconds, seconds and minutes"""
        for text in ["500ms", "10s", "0.5s", "2m"]:
            self.assertEqual(fetch("-t", text, servers.good + "/10/x").returncode, 0)

    def test_pipe(self):
        """fetch writes plain lines where its output is not a terminal"""
        result = fetch("--requests", 20, "--sample", 2)
        self.assertNotRegex(result.stdout + result.stderr, r"[^\n\x20-\x7e]")

    def test_terminal(self):
        """fetch shows progress on a terminal, and wipes it out at the end"""
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen([programs / "fetch", "-m", "fibers", "--requests", "20", "-c", "4"],
                                       stdout=subprocess.DEVNULL, stderr=theirs, env=servers.environment | {"TERM": "xterm"})
            os.close(theirs)
            shown = b""
            while select.select([ours], [], [], patience)[0]:
                try:
                    data = os.read(ours, 4096)
                except OSError:  # nobody has the other side open any more
                    break
                shown += data
            self.assertEqual(process.wait(patience), 0)
        finally:
            os.close(ours)
        self.assertIn("of 20".encode(), shown)
        self.assertIn("\u2591".encode(), shown)
        self.assertTrue(shown.endswith(b"\r\x1b[K"), shown)

    def test_output_fails(self):
        """fetch says when its table cannot be written"""
        with open("/dev/full", "w") as full:
            result = subprocess.run([programs / "fetch", servers.good + "/10/x"], stdout=full, stderr=subprocess.PIPE,
                                    text=True, timeout=patience, env=servers.environment)
        self.assertEqual(result.returncode, 1)
        self.assertIn("No space left on device", result.stderr)


class Listening:
    """A program that says where it listens, started by `with`."""

    def __init__(self, name, *arguments):
        self.command = [programs / name, *map(str, arguments)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                        env=servers.environment)
        self.port = int(re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", self.process.stdout.readline()).group(1))
        return self

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=patience)

    def end(self):
        """Its status, and what it has said since."""
        out = self.process.communicate(timeout=patience)[0]
        return self.process.returncode, out

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def received(connection, size):
    """So many bytes."""
    data = b""
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return data


def listen_apart(count):
    """Two listeners, the first and the last of so many ports. Nobody is given one of these unless he asks for it, so what
    else this machine does has no part in them."""
    end = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        first = random.randrange(1024, end - count)
        try:
            one = socket.create_server(("127.0.0.1", first))
        except OSError:
            continue
        try:
            return one, socket.create_server(("127.0.0.1", first + count - 1))
        except OSError:
            one.close()


class Full:
    """A listener whose backlog is full: the kernel drops what comes, as a firewall does."""

    def __enter__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.clients = []
        while True:
            client = socket.socket()
            client.settimeout(0.2)
            self.clients.append(client)
            try:
                client.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return self

    def __exit__(self, *_):
        for each in [self.listener, *self.clients]:
            each.close()


class Chat:
    """Somebody in the chat."""

    def __init__(self, server, name):
        self.socket = server.connect()
        self.lines = self.socket.makefile("rw", encoding="utf-8", newline="\n")
        self.socket.sendall(name.encode() + b"\n")

    def say(self, text):
        self.socket.sendall(text.encode())

    def heard(self):
        """The next line, without the question at the beginning; empty at the end."""
        return self.lines.readline().removeprefix("your name? ")

    def close(self):
        self.lines.close()
        self.socket.close()


class ChatServer(unittest.TestCase):
    """The second page of the tutorial, step by step."""

    def test_echo(self):
        """the tutorial's first server echoes one client after the other"""
        with Listening("05_echo", 0) as server:
            with server.connect() as first, server.connect() as second:
                for text in [b"hello", b"x" * 100_000]:
                    first.sendall(text)
                    self.assertEqual(received(first, len(text)), text)
                second.sendall(b"me too")
                first.close()
                self.assertEqual(received(second, 6), b"me too")

    def test_many_clients(self):
        """the tutorial's second server does not keep one client waiting for another"""
        with Listening("06_many_clients", 0) as server:
            clients = [server.connect() for _ in range(50)]
            for number, each in enumerate(reversed(clients)):
                each.sendall(b"%4d" % number)
                self.assertEqual(received(each, 4), b"%4d" % number)
            for each in clients:
                each.close()

    def test_chat(self):
        """in the tutorial's chat everybody hears the others"""
        for name in ["07_chat", "08_graceful"]:
            with self.subTest(name), Listening(name, 0) as server:
                ann = Chat(server, "ann")
                bob = Chat(server, "bob")
                self.assertEqual(ann.heard(), "* bob is here\n")
                ann.say("hel")
                ann.say("lo\r\nand again\n")
                self.assertEqual([bob.heard(), bob.heard()], ["ann: hello\n", "ann: and again\n"])
                bob.say("hi\n")
                self.assertEqual(ann.heard(), "bob: hi\n")
                with server.connect():  # has no name, and says nothing
                    bob.close()
                    self.assertEqual(ann.heard(), "* bob has left\n")
                ann.close()

    def test_slow(self):
        """who does not listen in the tutorial's chat is put out, and the others chat on"""
        with Listening("07_chat", 0) as server:
            ann, bob, slow = (Chat(server, name) for name in ["ann", "bob", "slow"])
            while ann.heard() != "* slow is here\n":
                pass
            heard = ""
            for number in range(2000):
                bob.say("x" * 4000 + "\n")
                heard = ann.heard()
                if heard == "* slow has left\n":
                    break
            self.assertEqual(heard, "* slow has left\n")
            for each in [ann, bob, slow]:
                each.close()

    def test_graceful(self):
        """the tutorial's last server says goodbye when a signal ends it"""
        with Listening("08_graceful", 0) as server:
            ann, bob = (Chat(server, name) for name in ["ann", "bob"])
            self.assertEqual(ann.heard(), "* bob is here\n")
            server.process.send_signal(signal.SIGTERM)
            for each in [ann, bob]:
                self.assertEqual([each.heard(), each.heard()], ["* the server ends\n", ""])
                each.close()
            self.assertEqual(server.end(), (0, "bye\n"))


class Others(unittest.TestCase):
    def test_tutorial(self):
        """the programs of the tutorial print what it says"""
        for name, expected in [
            ("01_first_fibers", "this runs in a fiber\nand so does this, 100 ms later\n"),
            ("02_spawn_and_join", "tea: on\neggs: on\ntea: done\neggs: done\nbreakfast\n"),
            ("04_channel", "fibers\ntalk\nthrough\nchannels\n"),
        ]:
            with self.subTest(name):
                result = run(name)
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, expected, ""))

    def test_guide(self):
        """the programs of the guide print what it says"""
        for name, expected in [
            ("asio", "echo: hello\nnothing more within 10 ms\nrefused: 1\nrefused: 1\nthe timer has rung\n"
                     "the fiber says 42\na handler as ever\na fiber beside it\n"),
            ("hubs", "25188 primes\n3 visitors\nstill there: stubborn, waits for event\n"),
            ("waiting", "3 fetches, the sum is 14\n"),
            ("locks", "tea, milk and tea: 7\n3 parts are ready\nafter 100 steps the bar holds 100\n"
                      "the jobs come to 10\nthe cache is busy\n"),
            ("values", "the sum is 15\nhello from a thread\nthe nearest answers after 1 ms\nreceived 6 in all\n"
                       "the squares make 14\nsource 2 has 7\nthe most urgent is 9\n2 jobs are done\n"),
            ("structured", "600 bytes together\n1300 bytes, two at a time\nlongest short a (in their order)\n"
                           "a short longest (as they came)\nthe others were cancelled: no page of that name\n"
                           "the search was given up\nno answer within 10 ms\nrequest 42: in a fiber of its own\n"
                           "request 42: on a helper thread\n"),
            ("processes", "exit status 0: 1\n9\n10\n2, and says something: yes\n"
                          "coir::net::process: no-such-program: No such file or directory\n"
                          "took too long, and is gone\none has 3\nthree has 5\neleven has 6\nexit status 0\n"
                          "received SIGHUP\ntold to end, and ending\n"),
            ("generators", "1 3 5 9 \n0 1 1 2 3 5 8 13 21 34 \ntick 1\ntick 2\ntick 3\nyou said hello\n"
                           "you said who is there?\nbye, then\ndone\nping 1\npong 2\nping 3\npong has it\n"),
        ]:
            with self.subTest(name):
                result = run(name)
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, expected, ""))

    def test_names(self):
        """the guide's program of names resolves, shares answers and connects"""
        result = run("names")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (
            0, "localhost is 127.0.0.1, https is 443\n127.0.0.1 is localhost, 80 is http\nthere is no such service\n"
            "10 questions, most of them answered by the way\nconnected to 127.0.0.1\n"
            "refused, and so has every other address\n", ""))

    def test_connect(self):
        """the tutorial's client connects by name, and says what it could not connect to"""
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,)).start()
            result = run("09_connect", f"localhost:{server.server_port}")
            server.shutdown()
        self.assertEqual(result.stdout, "HTTP/1.0 200 OK\n")
        target = servers.refused.rpartition("/")[2]
        result = run("09_connect", target)
        self.assertEqual(result.stdout, f"coir::net::connect: {target} ({target}: Connection refused): "
                         "Connection refused\n")

    def test_two_pages(self):
        """the tutorial's pages are fetched at once, in any order"""
        result = run("03_two_pages", servers.good + "/1000/a", servers.good + "/2000/b", servers.refused)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(sorted(result.stdout.splitlines()), sorted([
            f"{servers.good}/1000/a: 1000 bytes", f"{servers.good}/2000/b: 2000 bytes",
            f"{servers.refused}: Couldn't connect to server"]))

    def test_pool(self):
        """a thousand fibers share ninety connections to a PostgreSQL as it comes, on one thread"""
        with Postgres() as database:
            result = run("pool", database.address)
            self.assertEqual((result.returncode, result.stdout),
                             (0, "1000 fibers, 90 connections, 1 OS thread: 1000 right answers\n"), result.stderr)
            result = run("pool", database.address, "--connections", 3, "--fibers", 10)
            self.assertEqual((result.returncode, result.stdout),
                             (0, "10 fibers, 3 connections, 1 OS thread: 10 right answers\n"), result.stderr)
            result = run("pool", database.address, "--connections", 150)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn("too many clients already", result.stderr)
        result = run("pool", database.address)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("Is the server running", result.stderr)
        self.assertNotEqual(run("pool").returncode, 0)

    def test_port_scanner(self):
        """port_scanner finds the ports of loopback that accept, among others"""
        one, two = listen_apart(2000)
        with one, two:
            open_ports = [each.getsockname()[1] for each in (one, two)]
            closed = servers.refused_socket.getsockname()[1]
            for at_once in (1, 7, 1000):
                result = run("port_scanner", "127.0.0.1", "--ports", f"{open_ports[0]}-{open_ports[1]}",
                             "--at-once", at_once, "--timeout-ms", 60_000)
                self.assertEqual(result.returncode, 0, result.stderr)
                found = [int(line) for line in result.stdout.splitlines()]
                self.assertEqual(found, sorted(found))
                self.assertLessEqual(set(open_ports), set(found))
                self.assertNotIn(closed, found)
                self.assertIn(", 0 silent, 0 failed", result.stderr)
            result = run("port_scanner", "localhost", "--ports", closed)
            self.assertEqual((result.returncode, result.stdout), (0, ""))
            self.assertIn("0 open, 1 refused, 0 silent", result.stderr)
        with Full() as full:
            result = run("port_scanner", "127.0.0.1", "--ports", full.port, "--timeout-ms", 50)
            self.assertEqual((result.returncode, result.stdout), (0, ""))
            self.assertIn("0 open, 0 refused, 1 silent", result.stderr)
        for wrong in ["0", "x", "1-", "70000", "-"]:
            self.assertEqual(run("port_scanner", "127.0.0.1", f"--ports={wrong}").returncode, 2)
        result = run("port_scanner", "no-such-host.invalid")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("no-such-host.invalid", result.stderr)

    def test_websocket_echo(self):
        """websocket_echo answers its own client, several at once, and ends when it is told to"""
        with Listening("websocket_echo", "serve", 0) as server:
            address = f"127.0.0.1:{server.port}"
            with socket.create_connection(("127.0.0.1", server.port)):  # says nothing
                result = run("websocket_echo", "ask", address, "hello", "", "x" * 100_000, "grüße")
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertEqual(result.stdout, "hello\n\n" + "x" * 100_000 + "\ngrüße\n")
                asking = [subprocess.Popen([programs / "websocket_echo", "ask", address, str(n)], text=True,
                                           stdout=subprocess.PIPE) for n in range(8)]
                self.assertEqual([each.communicate(timeout=patience)[0] for each in asking], [f"{n}\n" for n in range(8)])
                server.process.send_signal(signal.SIGINT)
                self.assertEqual(server.end(), (0, ""))
        result = run("websocket_echo", "ask", servers.good.removeprefix("http://"), "hello")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("websocket_echo: ", result.stderr)
        for wrong in [[], ["serve"], ["serve", "x"], ["other", "1"]]:
            self.assertEqual(run("websocket_echo", *wrong).returncode, 2)

    def test_cpu_bound(self):
        """cpu_bound compares five ways to compute, which all give the same"""
        result = run("cpu_bound", "--work", 1, "--tasks", 3)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for name in ["sequential", "fibers", "threads", "fibers, coir::offload", "processes"]:
            self.assertRegex(result.stdout, rf"(?m)^{name} +\d+\.\d+ s +\d+\.\d+x")
        self.assertEqual(run("cpu_bound", "--work", "much").returncode, 2)


class Sockets(unittest.TestCase):
    """The servers that are written with coir's own sockets, and peers that are not."""

    def start(self, name, *arguments):
        process = subprocess.Popen([programs / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process, int(re.fullmatch(r"listening on port (\d+)\n", process.stdout.readline()).group(1))

    def connect(self, port):
        connection = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self.addCleanup(connection.close)
        return connection

    def test_echo(self):
        """echo_client sends lines, echo_server sends them back, and Ctrl-C lets who talks finish"""
        server, port = self.start("echo_server")
        talking = self.connect(port)
        talking.sendall(b"first")
        self.assertEqual(talking.recv(5), b"first")
        result = run("echo_client", f"localhost:{port}", input="one\ntwo\n")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "one\ntwo\n", ""))
        server.send_signal(signal.SIGINT)
        talking.sendall(b"last")
        self.assertEqual(talking.recv(4), b"last")
        talking.close()
        self.assertEqual(server.wait(patience), 0)
        self.assertEqual(server.stdout.read(), "2 connections\n")
        result = run("echo_client", f"localhost:{port}")
        self.assertEqual(result.returncode, 1)
        self.assertIn("Connection refused", result.stderr)

    def test_chat(self):
        """chat_server lets everybody hear what the others say"""
        _, port = self.start("chat_server")
        people = {}
        for name in ["ann", "bob"]:
            people[name] = self.connect(port).makefile("rwb", buffering=0)
            self.assertEqual(people[name].read(11), b"your name? ")
            people[name].write(name.encode() + b"\n")
            if name == "bob":
                self.assertEqual(people["ann"].readline(), b"* bob is here\n")
        people["ann"].write(b"hello\n")
        self.assertEqual(people["bob"].readline(), b"ann: hello\n")
        people["bob"].write(b"hello, ann\n")
        self.assertEqual(people["ann"].readline(), b"bob: hello, ann\n")

    def test_proxy(self):
        """tcp_proxy passes curl's requests on to a server, large answers too"""
        target = servers.good.rpartition("/")[2]
        _, port = self.start("tcp_proxy", target)
        for path in ["/100/page", "/3000000/page"]:
            result = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE,
                                    timeout=patience, check=True)
            self.assertEqual(result.stdout, body_of(path))

    def test_guide(self):
        """the guide's program of sockets talks to itself"""
        result = run("sockets")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (
            0, "you said hello\nnothing more within 10 ms\nand that was all\n10 bytes of 28\n", ""))


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.servers = TlsServers()
        cls.addClassCleanup(cls.servers.close)

    def client(self, server, *options):
        return run("tls_client", f"{server.host}:{server.port}", "/", "--ca", self.servers.authority, *options)

    def test_good(self):
        """tls_client says what the certificate says, and what the server answers"""
        result = self.client(self.servers.good)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"^TLSv1\.3, TLS_\w+\n")
        self.assertIn("\nsubject    CN=localhost\nissuer     CN=Test Root\nvalid      20", result.stdout)
        self.assertIn("\nfor        localhost\n", result.stdout)
        self.assertIn("\nanswer     HTTP/1.0 200 ok\nbody       ", result.stdout)

    def test_refused(self):
        """tls_client names the certificate that it does not trust, and the reason"""
        for name, reason, subject, issuer in [
            ("expired", "certificate has expired", "CN=localhost", "CN=Test Root"),
            ("self_signed", "self-signed certificate", "CN=localhost", "CN=localhost"),
            ("other_host", "hostname mismatch", "CN=elsewhere", "CN=Test Root"),
        ]:
            with self.subTest(name):
                server = getattr(self.servers, name)
                result = self.client(server)
                self.assertEqual((result.returncode, result.stdout), (1, ""))
                self.assertEqual(
                    result.stderr,
                    f"tls_client: localhost:{server.port}: do not trust it: {reason}\n"
                    f"  subject  {subject}\n  issuer   {issuer}\n  depth    0\n")
        result = run("tls_client", f"localhost:{self.servers.good.port}")  # the system does not know our authority
        self.assertIn("do not trust it: unable to get local issuer certificate", result.stderr)

    def test_no_tls(self):
        """tls_client says what else goes wrong"""
        plain = servers.good.rpartition("/")[2]
        self.assertRegex(run("tls_client", plain).stderr, "wrong version number")
        self.assertRegex(run("tls_client", servers.refused.rpartition("/")[2]).stderr, "Connection refused")
        silent = servers.silent.rpartition("/")[2]
        self.assertEqual(run("tls_client", silent, "--seconds", 1).stderr,
                         f"tls_client: {silent}: no answer within 1 s\n")
        self.assertRegex(run("tls_client", "localhost").stderr, "is no HOST:PORT")
        self.assertRegex(run("tls_client", "localhost:1", "--ca", "/nowhere").stderr, "/nowhere: No such file")
        self.assertEqual(run("tls_client").returncode, 2)

    def test_tutorial(self):
        """the tutorial's TLS client talks to whom it trusts, and to nobody else"""
        good = self.servers.good
        result = run("10_tls_client", f"localhost:{good.port}", self.servers.authority)
        self.assertEqual(result.stdout, "talking TLSv1.3 with CN=localhost\nHTTP/1.0 200 ok\n")
        result = run("10_tls_client", f"localhost:{self.servers.expired.port}", self.servers.authority)
        self.assertEqual(result.stdout, "coir::net: TLS handshake: the certificate of 'CN=localhost', issued by "
                         "'CN=Test Root', at depth 0: certificate has expired\n")

    def test_guide(self):
        """the guide's program of TLS talks to itself, resumes, and does not trust everybody"""
        server = self.servers.self_signed
        result = run("tls", server.certificate, server.key)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (
            0, "you said hello\nyou said hello\nand we have met before\n"
            "CN=localhost has signed its certificate itself\n", ""))


programs = pathlib.Path(sys.argv[1]).resolve()
with Servers() as servers:
    sys.exit(harness.run(sys.modules[__name__], sys.argv[2:]))
