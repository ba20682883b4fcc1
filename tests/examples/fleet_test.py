#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""fleet_test.py DIRECTORY [--test-case=PATTERN]: examples/fleet with real Redis and real HTTP."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
from fleet_site import PAGES, Site, body_of
from redis_server import Redis, unused_port

patience = 100  # seconds until a program that hangs is ended; nothing is measured with it

programs = pathlib.Path(sys.argv[1]).resolve()
environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}


def start(*arguments):
    return subprocess.Popen([programs / "fleet", *map(str, arguments)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def end(process):
    """Status, output and errors."""
    try:
        out, err = process.communicate(timeout=patience)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, err


def fleet(*arguments):
    return end(start(*arguments))


class Fleet(unittest.TestCase):
    def crawled(self, ended):
        """The pages of the report, by URL."""
        status, out, err = ended
        self.assertEqual((status, err), (0, ""))
        report = json.loads(out)
        pages = {page["url"]: page for page in report["pages"]}
        self.assertEqual(len(pages), len(report["pages"]), "a page has two results")
        return pages, report

    def check_whole_site(self, pages, site):
        self.assertEqual(sorted(pages), sorted(f"{site.url}/page/{number}" for number in range(PAGES)))
        for number in range(PAGES):
            page = pages[f"{site.url}/page/{number}"]
            self.assertEqual((page["status"], page["bytes"], page["error"]), (200, len(body_of(number)), ""))

    def shared(self, site, redis, name, *more, claim_after="500ms"):
        return start("--seed", site.url + "/page/0", "--queue", redis.url, "--name", name, "--workers", 3, "--depth", 10,
                     "--claim-after", claim_after, "--idle-exit", "--json", *more)


class Alone(Fleet):
    def test_alone(self):
        """fleet alone fetches every page that links lead to, once"""
        with Site() as site:
            pages, report = self.crawled(fleet("--seed", site.url + "/page/0", "--depth", 10, "--json"))
            self.check_whole_site(pages, site)
            self.assertEqual((report["done"], report["claimed"], report["done_twice"]), (PAGES, 0, 0))
            self.assertEqual(len(site.requests), PAGES)

    def test_depth(self):
        """fleet follows as many links as it is told to"""
        with Site() as site:
            for depth, expected in [(0, 1), (1, 3), (2, 7)]:
                pages, _ = self.crawled(fleet("--seed", site.url + "/page/0", "--depth", depth, "--json"))
                self.assertEqual(len(pages), expected)
                self.assertEqual(max(page["depth"] for page in pages.values()), depth)

    def test_bad_pages(self):
        """fleet reports pages that fail, follows redirections as links, and is not caught in a circle"""
        with Site() as site:
            refused = f"http://127.0.0.1:{unused_port()}/"
            pages, _ = self.crawled(fleet("--seed", site.url + "/moved", "--seed", site.url + "/loop", "--seed", refused,
                                          "--depth", 1, "--json"))
            self.assertEqual(sorted(pages), sorted([
                site.url + "/moved", site.url + "/page/0", site.url + "/loop", site.url + "/missing?a=1&b=2", refused]))
            self.assertEqual(pages[site.url + "/missing?a=1&b=2"]["error"], "HTTP status 404")
            self.assertIn("Couldn't connect to server", pages[refused]["error"])
            self.assertEqual(pages[refused]["status"], 0)

    def test_table(self):
        """fleet prints a table"""
        with Site() as site:
            status, out, err = fleet("--seed", site.url + "/page/29", "--name", "one", "--depth", 0)
            self.assertEqual((status, err), (0, ""))
            self.assertRegex(out, rf"^URL +depth  status +bytes  worker  error\n{site.url}/page/29 +0 +200 +\d+  one")
            self.assertIn("1 pages, 0 failed; 1 by one, 0 of them taken over; 0 fetched twice\n", out)

    def test_signal(self):
        """fleet finishes what it has begun when it is told to end"""
        with Site() as site:
            site.hold("/page/0")
            process = start("--seed", site.url + "/page/0", "--json")
            site.holding("/page/0")
            process.send_signal(signal.SIGTERM)
            site.let_go("/page/0")
            pages, report = self.crawled(end(process))
            self.assertIn(site.url + "/page/0", pages)

    def test_usage(self):
        """fleet says what is wrong with its command line"""
        for arguments, complaint in [
            ([], "nothing to do"),
            (["--seed", "ftp://127.0.0.1/"], "is not an http or https URL"),
            (["--seed", "not a url"], "is not an http or https URL"),
            (["--queue", "http://127.0.0.1"], "is not like redis://"),
            (["--queue", "redis://127.0.0.1:port"], "is no port"),
            (["--queue", "redis://127.0.0.1:99999"], "is no port"),
            (["--queue", "redis://127.0.0.1/x"], "is no number of a database"),
            (["--queue", "redis://"], "there is no host"),
            (["--queue", "redis://127.0.0.1", "--claim-after", "soon"], "claim-after"),
            (["--queue", "redis://127.0.0.1", "--workers", "0"], "workers"),
        ]:
            with self.subTest(arguments):
                status, out, err = fleet(*arguments)
                self.assertEqual((status, out), (2, ""))
                self.assertIn(complaint, err)
        self.assertEqual(fleet("--help")[0], 0)


class Together(Fleet):
    def test_same_result(self):
        """fleet with Redis gives what it gives alone, and in another process the same again"""
        with Site() as site, Redis() as redis:
            pages, report = self.crawled(end(self.shared(site, redis, "one")))
            self.check_whole_site(pages, site)
            self.assertEqual((report["done"], report["claimed"], report["done_twice"]), (PAGES, 0, 0))
            again, report = self.crawled(end(self.shared(site, redis, "two")))
            self.assertEqual(again, pages)
            self.assertEqual(report["done"], 0)
            self.assertEqual(len(site.requests), PAGES)
            self.assertEqual(redis.command("XLEN", "fleet:queue"), "0")

    def test_database(self):
        """fleet uses the database that it is told to"""
        with Site() as site, Redis() as redis:
            status, _, err = fleet("--seed", site.url + "/page/29", "--queue", redis.url + "/3", "--depth", 0,
                                   "--idle-exit")
            self.assertEqual((status, err), (0, ""))
            self.assertEqual(redis.command("DBSIZE"), "0")
            self.assertEqual(redis.command("-n", 3, "HLEN", "fleet:results"), "1")

    def test_killed(self):
        """three processes of fleet, one killed midway: its page is claimed by another, and every page has one result"""
        held = "/page/0"
        with Site() as site, Redis() as redis:
            # Everything comes after the first page: so it is known where the victim is, and that others are waiting.
            site.hold(held)
            processes = {name: self.shared(site, redis, name) for name in ["one", "two", "three"]}
            victim = site.holding(held)
            processes[victim].kill()
            processes[victim].communicate()
            site.let_go(held)
            done = 0
            claimed = 0
            for name, process in processes.items():
                if name == victim:
                    continue
                pages, report = self.crawled(end(process))
                self.check_whole_site(pages, site)
                done += report["done"]
                claimed += report["claimed"]
            self.assertEqual(done, PAGES)
            self.assertGreaterEqual(claimed, 1)
            self.assertNotEqual(pages[site.url + held]["worker"], victim)
            self.assertNotIn(victim, [page["worker"] for page in pages.values()])
            self.assertGreaterEqual(len(site.who_asked(held)), 2)
            self.assertEqual(redis.command("XPENDING", "fleet:queue", "fleet").splitlines()[0], "0")
            self.assertEqual(redis.command("XLEN", "fleet:queue"), "0")

    def test_killed_in_the_middle(self):
        """a worker of fleet killed with several pages begun loses none of them"""
        held = [f"/page/{number}" for number in (3, 4, 5)]
        with Site() as site, Redis() as redis:
            for path in held:
                site.hold(path)
            victim = self.shared(site, redis, "victim")
            for path in held:
                site.holding(path)  # three workers, three pages
            others = [self.shared(site, redis, name) for name in ["one", "two"]]
            victim.kill()
            victim.communicate()
            for path in held:
                site.let_go(path)
            for each in others:
                pages, _ = self.crawled(end(each))
                self.check_whole_site(pages, site)
            for path in held:
                self.assertIn(pages[site.url + path]["worker"], ["one", "two"])

    def test_slow_page(self):
        """a page that takes longer than others wait is not claimed while its worker lives"""
        held = "/page/0"
        with Site() as site, Redis() as redis:
            site.hold(held)
            slow = self.shared(site, redis, "slow", claim_after="3s")
            site.holding(held)
            other = self.shared(site, redis, "other", claim_after="3s")

            # It looks for what it may claim four times in that time, and each renewal looks once too.
            def looks():
                stats = redis.command("INFO", "commandstats")
                return int(stats.split("cmdstat_xpending:calls=")[1].split(",")[0]) if "xpending" in stats else 0
            while looks() < 16:
                self.assertIsNone(other.poll())
            site.let_go(held)
            pages, report = self.crawled(end(slow))
            self.assertEqual(pages[site.url + held]["worker"], "slow")
            self.assertEqual(site.who_asked(held), ["slow"])
            self.crawled(end(other))

    def test_done_twice(self):
        """a worker that was thought dead and comes back is told that its page has a result already"""
        held = "/page/0"
        with Site() as site, Redis() as redis:
            site.hold(held)
            stopped = self.shared(site, redis, "stopped")
            site.holding(held)
            stopped.send_signal(signal.SIGSTOP)
            other = self.shared(site, redis, "other")
            while "other" not in site.who_asked(held):
                self.assertIsNone(other.poll())
                time.sleep(0.01)
            site.let_go(held)
            pages, report = self.crawled(end(other))
            self.check_whole_site(pages, site)
            self.assertEqual((pages[site.url + held]["worker"], report["done"]), ("other", PAGES))
            stopped.send_signal(signal.SIGCONT)
            again, report = self.crawled(end(stopped))
            self.assertEqual(again, pages)
            self.assertEqual(report["done"], 0)
            self.assertGreaterEqual(report["done_twice"], 1)

    def test_given_up(self):
        """a page that kills its workers is given up after a while"""
        held = "/page/29"
        with Site() as site, Redis() as redis:
            def worker(name):
                return start("--seed", site.url + held, "--queue", redis.url, "--name", name, "--workers", 1,
                             "--claim-after", "100ms", "--idle-exit", "--json", "--deliveries", 2)
            site.hold(held)
            for name in ["one", "two"]:
                process = worker(name)
                while name not in site.who_asked(held):
                    self.assertIsNone(process.poll())
                    time.sleep(0.01)
                process.kill()
                process.communicate()
            pages, _ = self.crawled(end(worker("three")))
            self.assertIn("given up: 2 workers have died of it", pages[site.url + held]["error"])

    def test_redis_killed(self):
        """fleet goes on when Redis has been killed and is back, and loses nothing"""
        held = "/page/1"
        with Site() as site, Redis() as redis:
            site.hold(held)
            processes = [self.shared(site, redis, name) for name in ["one", "two"]]
            site.holding(held)
            while not {"one", "two"} <= set(redis.command("XINFO", "CONSUMERS", "fleet:queue", "fleet").splitlines()):
                time.sleep(0.01)  # until both have reached it once: before that they have no patience
            redis.kill()
            site.let_go(held)  # its result cannot be recorded now
            redis.start()
            for each in processes:
                pages, _ = self.crawled(end(each))
                self.check_whole_site(pages, site)

    def test_redis_gone(self):
        """fleet says when Redis cannot be reached, at the start or for good"""
        status, out, err = fleet("--queue", f"redis://127.0.0.1:{unused_port()}", "--seed", "http://127.0.0.1/")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("Connection refused", err)
        with Site() as site:
            with Redis() as redis:
                site.hold("/page/0")
                process = self.shared(site, redis, "one", "--patience", "100ms")
                site.holding("/page/0")
            site.let_go("/page/0")
            status, out, err = end(process)
            self.assertEqual((status, out), (1, ""))
            self.assertRegex(err, "fleet: Redis: ")

    def test_not_redis(self):
        """fleet says when what it has been led to is not Redis"""
        with Site() as site:
            status, out, err = fleet("--queue", site.url.replace("http", "redis"), "--seed", site.url)
            self.assertEqual((status, out), (1, ""))
            self.assertRegex(err, "^fleet: ")


sys.exit(harness.run(sys.modules[__name__], sys.argv[2:]))
