#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""gdb_test.py GDB PROGRAM THREADS COIR [--test-case=PATTERN]: what gdb says of PROGRAM, stopped in a fiber, and of THREADS
under `coir run`."""
import fnmatch
import re
import subprocess
import sys
import unittest

gdb, program, threads, coir = sys.argv[1:5]


def say(*commands, program=program):
    """What gdb prints when it has been given these commands."""
    arguments = [gdb, "--nx", "--batch"]
    for command in ("set debuginfod enabled off", "set confirm off", "set width 0", *commands):
        arguments += ["-ex", command]
    # Both in one: "Backtrace stopped" is an error message to gdb.
    return subprocess.run([*arguments, program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=100).stdout


class Backtrace(unittest.TestCase):
    def test_end(self):
        """gdb's backtrace in a fiber ends with the fiber's first frame, without a complaint"""
        said = say("break innermost", "run", "backtrace", "kill")
        frames = [line for line in said.splitlines() if line.startswith("#")]
        self.assertIn("innermost", frames[0], said)
        self.assertIn("middle", frames[1], said)
        self.assertIn("coir_first_frame", frames[-1], said)
        self.assertNotIn("Backtrace stopped", said)
        self.assertNotIn("corrupt stack", said)

    def test_under_coir_run(self):
        """gdb's backtrace under coir run has the frames of main, and of each thread that is a fiber"""
        wrapper = f"set exec-wrapper {coir} run"
        stop = ["continue", "backtrace"]
        for switches, begin in [("--", "start_thread"), ("--threads=fibers --", "thread_shell::begin")]:
            said = say(f"{wrapper} {switches}", "set backtrace past-main on", "break innermost", "run", "backtrace", *stop,
                       *stop, "kill", program=threads)
            traces = re.split(r"^#0 ", said, flags=re.MULTILINE)
            traces = [trace for trace in traces if trace.startswith(" ") and "middle" in trace]
            self.assertEqual(len(traces), 3, said)
            numbers = set()
            for trace, end in zip(traces, [begin, begin, "start_as_fiber"]):
                frames = [line for line in trace.splitlines() if not line or line[0] in " #"]
                self.assertIn("innermost", frames[0], said)
                self.assertIn("middle", frames[1], said)
                self.assertTrue(any(end in frame for frame in frames[2:]), said)
                numbers.add(re.search(r"number(?:=number@entry)?=(\d+)", frames[0]).group(1))
            self.assertEqual(numbers, {"10", "20", "30"}, said)
            self.assertNotIn("Backtrace stopped", said)
            self.assertNotIn("corrupt stack", said)


def main():
    patterns = [pattern for argument in sys.argv[5:] if argument.startswith("--test-case=")
                for pattern in argument.split("=", 1)[1].split(",")]

    def tests(suite):
        for each in suite:
            yield from tests(each) if isinstance(each, unittest.TestSuite) else [each]

    every = list(tests(unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])))
    wanted = [test for test in every if not patterns or any(
        fnmatch.fnmatch((test.shortDescription() or "").lower(), pattern.lower()) for pattern in patterns)]
    result = unittest.TextTestRunner().run(unittest.TestSuite(wanted))
    failed = len({str(test) for test, _ in result.failures + result.errors})
    print(f"[doctest] test cases: {len(wanted)} | {len(wanted) - failed} passed | {failed} failed | "
          f"{len(every) - len(wanted)} skipped")
    return 1 if failed else 0


sys.exit(main())
