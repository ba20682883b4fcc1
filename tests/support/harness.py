# SPDX-License-Identifier: BSL-1.0
"""Runs the unittest cases of a module and speaks as doctest does, so that ./dev counts and filters them."""
import fnmatch
import unittest


def tests(suite):
    for each in suite:
        yield from tests(each) if isinstance(each, unittest.TestSuite) else [each]


def run(module, arguments):
    """Returns the exit status. `--test-case=PATTERN,...` chooses tests by their descriptions."""
    patterns = [pattern for argument in arguments if argument.startswith("--test-case=")
                for pattern in argument.split("=", 1)[1].split(",")]
    every = list(tests(unittest.defaultTestLoader.loadTestsFromModule(module)))
    wanted = [test for test in every if not patterns or any(
        fnmatch.fnmatch((test.shortDescription() or "").lower(), pattern.lower()) for pattern in patterns)]
    result = unittest.TextTestRunner().run(unittest.TestSuite(wanted))
    failed = len({str(getattr(test, "test_case", test)) for test, _ in result.failures + result.errors})
    print(f"[doctest] test cases: {len(wanted)} | {len(wanted) - failed} passed | {failed} failed | "
          f"{len(every) - len(wanted)} skipped")
    return 1 if failed else 0
