#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPython's own tests of multiprocessing.Pool, run against the Pool of examples/ffi/python.

    pool_tests.py [TEST...]

They come with Python, in test._test_multiprocessing; exit code 77 where that is not installed.  Every
test of a process pool is run, but those of NOT_RUN, each with its reason; a test that is in neither
list, of a Python that is newer than this file, is run, too.
"""
import itertools
import os
import sys
import unittest
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/ffi/python"))

warnings.simplefilter("ignore", DeprecationWarning)
try:
    import test._test_multiprocessing as cpython
except (ImportError, unittest.SkipTest) as error:
    print("CPython's tests are not to be had:", error)
    sys.exit(77)

import multiprocessing

import pool

INTERNALS = "looks at the processes in Pool._pool, where ours has none: its supervisor replaces them"
NOT_RUN = {
    "test_make_pool": INTERNALS + "; asked again below",
    "test_pool_worker_lifetime": INTERNALS + "; asked again below",
    "test_worker_finalization_via_atexit_handler_of_multiprocessing":
        "starts a program that imports multiprocessing.Pool; asked again below",
}


class Processes(cpython.ProcessesMixin):
    Pool = staticmethod(pool.Pool)


def count_before(_, seen=[]):
    seen.append(1)
    return len(seen), os.getpid()


def kill(number):
    if number == 3:
        os.kill(os.getpid(), 9)
    return number


class Ours(unittest.TestCase):
    """In place of those that are not run, and what multiprocessing.Pool does not do."""

    def test_there_must_be_a_process(self):
        self.assertRaises(ValueError, pool.Pool, -1)
        self.assertRaises(ValueError, pool.Pool, 0)

    def test_workers_are_replaced_after_maxtasksperchild(self):
        with pool.Pool(3, maxtasksperchild=10) as p:
            told = p.map(count_before, range(100), chunksize=1)
        self.assertEqual(max(count for count, _ in told), 10)
        self.assertGreaterEqual(len({pid for _, pid in told}), 10)

    def test_a_program_may_end_with_its_pool_open(self):
        program = f"import sys; sys.path[:0] = {sys.path!r}\n" \
            "import pool\n" \
            "p = pool.Pool(1)\n" \
            "assert p.map(float, range(10)) == [float(i) for i in range(10)]\n"
        cpython.test.support.script_helper.assert_python_ok("-W", "ignore", "-c", program)

    def test_a_worker_that_dies_is_an_error_and_not_the_end(self):
        with pool.Pool(2) as p:
            results = [p.apply_async(kill, (i,)) for i in range(6)]
            for i, result in enumerate(results):
                if i == 3:
                    with self.assertRaisesRegex(pool.WorkerError, "signal 9"):
                        result.get(60)
                else:
                    self.assertEqual(result.get(60), i)

    def test_an_endless_iterable_is_taken_as_far_as_it_is_needed(self):
        with pool.Pool(2) as p:
            squares = p.imap(cpython.sqr, itertools.count())
            self.assertEqual([next(squares) for _ in range(200)], [i * i for i in range(200)])


def gather():
    """The tests to run, and a line for each that is not."""
    suite, skipped = unittest.TestSuite(), []
    for name in "_TestPool", "_TestPoolWorkerErrors", "_TestPoolWorkerLifetime":
        base = getattr(cpython, name)
        case = type(name.lstrip("_"), (base, Processes, unittest.TestCase), {})
        globals()[case.__name__] = case  # pickle looks for it here
        for test in unittest.defaultTestLoader.getTestCaseNames(case):
            if test in NOT_RUN:
                skipped.append(f"not run: {test}: {NOT_RUN[test]}")
            else:
                suite.addTest(case(test))
    suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(Ours))
    return suite, skipped


def select(suite, wanted):
    return unittest.TestSuite(test for test in suite if not wanted or test._testMethodName in wanted)


if __name__ == "__main__":
    multiprocessing.Pool = pool.Pool  # some of them name it so
    suite, skipped = gather()
    outcome = unittest.TextTestRunner(verbosity=2).run(select(suite, sys.argv[1:]))
    print("\n".join(skipped))
    # Fewer would mean that the tests have moved to where this does not find them.
    if not sys.argv[1:] and outcome.testsRun < 30:
        sys.exit(f"only {outcome.testsRun} tests were found")
    sys.exit(not outcome.wasSuccessful())
