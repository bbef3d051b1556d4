#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libmproc from Python, by ctypes.

    tour.py [LIBMPROC [LIBTASKS]]

Python functions run in the workers if they are made into callbacks before the pool.  The pool is
created through PyDLL, which keeps the interpreter's lock, and with Python's own three hooks for a
fork, so that it does not matter which threads there are; everything that waits goes through CDLL,
which lets other threads run.
"""
import ctypes as c
import sys

libmproc = sys.argv[1] if len(sys.argv) > 1 else "libmproc.so.0"
libtasks = sys.argv[2] if len(sys.argv) > 2 else "./libtasks.so"
mproc = c.CDLL(libmproc)
pointer = c.POINTER(c.c_void_p)

for name, *arguments in [
    ("mproc_function_load", c.c_char_p, c.c_char_p, pointer),
    ("mproc_struct_new", c.c_char_p, pointer),
    ("mproc_struct_set", c.c_void_p, c.c_char_p, c.c_int64),
    ("mproc_struct_get", c.c_void_p, c.c_char_p, c.POINTER(c.c_int64)),
    ("mproc_struct_set_pointer", c.c_void_p, c.c_char_p, c.c_void_p),
    ("mproc_struct_free", c.c_void_p),
    ("mproc_pool_map", c.c_void_p, c.c_void_p, c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p,
     c.c_size_t, c.c_size_t, c.c_void_p),
    ("mproc_pool_map_bytes", c.c_void_p, c.c_void_p, c.c_void_p, c.c_void_p, c.c_size_t, pointer,
     c.c_void_p),
    ("mproc_pool_call", c.c_void_p, c.c_void_p, c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p,
     c.c_size_t, c.c_void_p, c.c_void_p),
    ("mproc_pool_destroy", c.c_void_p),
    ("mproc_results_get", c.c_void_p, c.c_size_t, pointer, c.POINTER(c.c_size_t)),
    ("mproc_results_free", c.c_void_p),
    ("mproc_strerror", c.c_int),
]:
    getattr(mproc, name).argtypes = arguments
mproc.mproc_strerror.restype = c.c_char_p


def words(error):
    return mproc.mproc_strerror(error).decode()


def check(result):
    if result < 0:
        raise OSError(result, words(result))
    return result


def load(symbol):
    function = c.c_void_p()
    check(mproc.mproc_function_load(libtasks.encode(), symbol, c.byref(function)))
    return function


def struct(name, **members):
    made = c.c_void_p()
    check(mproc.mproc_struct_new(name, c.byref(made)))
    for member, value in members.items():
        if isinstance(value, int):
            check(mproc.mproc_struct_set(made, member.encode(), value))
        else:
            value = c.cast(value, c.c_void_p)
            check(mproc.mproc_struct_set_pointer(made, member.encode(), value))
    return made


def member(made, name):
    value = c.c_int64()
    check(mproc.mproc_struct_get(made, name, c.byref(value)))
    return value.value


class iovec(c.Structure):
    _fields_ = [("base", c.c_char_p), ("length", c.c_size_t)]


@c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_int64), c.POINTER(c.c_int64), c.c_void_p)
def square(given, result, _):
    result[0] = given[0] * given[0]
    return 0


repeat, inverse, hang = load(b"repeat"), load(b"inverse"), load(b"hang")
options = struct(
    b"mproc_pool_options",
    before_fork=c.pythonapi.PyOS_BeforeFork,
    parent_fork=c.pythonapi.PyOS_AfterFork_Parent,
    child_fork=c.pythonapi.PyOS_AfterFork_Child,
)
pool = c.c_void_p()
check(c.PyDLL(libmproc).mproc_pool_create(c.byref(pool), 2, options))

numbers, squares = (c.c_int64 * 5)(1, 2, 3, 4, 5), (c.c_int64 * 5)()
check(mproc.mproc_pool_map(pool, square, None, numbers, 8, squares, 8, 5, None))
print("squares:", *squares)

strings = [b"a", b"bc", b"def"]
inputs = (iovec * 3)(*((string, len(string)) for string in strings))
results, data, length = c.c_void_p(), c.c_void_p(), c.c_size_t()
check(mproc.mproc_pool_map_bytes(pool, repeat, None, inputs, 3, c.byref(results), None))
print("strings:", end="")
for i in range(3):
    check(mproc.mproc_results_get(results, i, c.byref(data), c.byref(length)))
    print("", c.string_at(data, length.value).decode(), end="")
print()
mproc.mproc_results_free(results)

numbers, inverses, statuses = (c.c_int64 * 3)(4, 0, 2), (c.c_int64 * 3)(), (c.c_int32 * 3)()
failure = struct(b"mproc_failure")
options = struct(b"mproc_map_options", statuses=statuses, failure=failure)
check(mproc.mproc_pool_map(pool, inverse, None, numbers, 8, inverses, 8, 3, options))
print("inverses:", *(inverses[i] if statuses[i] == 0 else "?" for i in range(3)))
print(f"item {member(failure, b'index')}: {words(member(failure, b'error'))}"
      f" (signal {member(failure, b'signal')})")

options = struct(b"mproc_submit_options", time_limit_ms=100)
print("hang:", words(mproc.mproc_pool_call(pool, hang, None, None, 0, None, 0, None, options)))
mproc.mproc_pool_destroy(pool)
