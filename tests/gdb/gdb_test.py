#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""gdb_test.py GDB PROGRAM [--test-case=PATTERN]: what gdb says of PROGRAM, stopped in a fiber."""
import fnmatch
import subprocess
import sys
import unittest

gdb, program = sys.argv[1:3]


def say(*commands):
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


def main():
    patterns = [pattern for argument in sys.argv[3:] if argument.startswith("--test-case=")
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
