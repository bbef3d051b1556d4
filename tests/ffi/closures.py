# SPDX-License-Identifier: MIT
"""closures.py LIBMPROC: what the README says of Python's closures, by ctypes.

- One that was made before the pool runs in the workers; one that was made later is refused, also when
  it lies beside an earlier one, until a restart.
- With other threads running, a pool that is created through PyDLL with the three hooks works each time.
"""
import ctypes as c
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/ffi/python"))
os.environ["MPROC_LIBRARY"] = sys.argv[1]

import mproc

lib = c.CDLL(sys.argv[1])
MapFunction = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_int64), c.POINTER(c.c_int64), c.c_void_p)


def power(exponent):
    @MapFunction
    def function(given, result, _):
        result[0] = given[0] ** exponent
        return 0

    return function


def map_numbers(pool, function):
    """The results for 1, 2 and 3, or the error."""
    numbers, results = (c.c_int64 * 3)(1, 2, 3), (c.c_int64 * 3)()
    size = c.c_size_t(8)
    error = lib.mproc_pool_map(c.c_void_p(pool), function, None, numbers, size, results, size,
                               c.c_size_t(3), None)
    return error or list(results)


def expect(what, got, due):
    if got != due:
        sys.exit(f"{what}: {got} instead of {due}")


def closures():
    early = power(2)
    pool = mproc.create_pool(2)
    late = power(3)
    expect("an early closure", map_numbers(pool, early), [1, 4, 9])
    expect("a late closure", map_numbers(pool, late), mproc.constant("MPROC_EFUNC"))
    many = [power(3) for _ in range(300)]  # pages full
    expect("the last of many", map_numbers(pool, many[-1]), mproc.constant("MPROC_EFUNC"))
    c.PyDLL(sys.argv[1]).mproc_pool_restart(c.c_void_p(pool))
    expect("after a restart", map_numbers(pool, many[-1]), [1, 8, 27])
    expect("the early one still", map_numbers(pool, early), [1, 4, 9])
    mproc.pool_destroy(pool)


def threads():
    """Locks are taken and memory is obtained all the time, and pools are used from two threads."""
    stop = threading.Event()
    lock = threading.Lock()

    def work():
        while not stop.is_set():
            with lock:
                str(list(range(100)))

    busy = [threading.Thread(target=work) for _ in range(3)]
    for thread in busy:
        thread.start()
    square = power(2)
    try:
        for _ in range(20):
            pool = mproc.create_pool(2)
            answers = []
            users = [threading.Thread(target=lambda: answers.append(map_numbers(pool, square)))
                     for _ in range(2)]
            for thread in users:
                thread.start()
            for thread in users:
                thread.join()
            expect("with threads", answers, [[1, 4, 9]] * 2)
            mproc.pool_destroy(pool)
    finally:
        stop.set()
        for thread in busy:
            thread.join()


closures()
threads()
