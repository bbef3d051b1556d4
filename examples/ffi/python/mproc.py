# SPDX-License-Identifier: MIT
"""libmproc for Python, by ctypes: the calls that pool.py makes, and little more.

MPROC_LIBRARY in the environment says which library; else it is found as any other.  A call that fails
raises Error, which has the library's words for it.  Every call lets other threads run, but for
create_pool(), which must not: it forks.
"""
import ctypes as c
import os

_path = os.environ.get("MPROC_LIBRARY", "libmproc.so.0")
_lib = c.CDLL(_path)
_lib.mproc_strerror.argtypes = [c.c_int]
_lib.mproc_strerror.restype = c.c_char_p

TaskFunction = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_void_p)
InitFunction = c.CFUNCTYPE(c.c_int32, c.c_int32, c.c_void_p)
ExitFunction = c.CFUNCTYPE(None, c.c_int32, c.c_void_p)


class Error(OSError):
    """What a call of the library returned: `errno` is its code, `strerror` its words."""

    def __init__(self, code, words=None):
        super().__init__(code, words or _lib.mproc_strerror(code).decode())


def _check(result, _function, _arguments):
    if result < 0:
        raise Error(result)
    return result


def _declare(name, *arguments, lib=_lib):
    function = getattr(lib, name)
    function.argtypes = arguments
    function.errcheck = _check
    return function


_out = c.POINTER(c.c_void_p)
_constant = _declare("mproc_constant", c.c_char_p, c.POINTER(c.c_int64))
_struct_new = _declare("mproc_struct_new", c.c_char_p, _out)
_struct_set = _declare("mproc_struct_set", c.c_void_p, c.c_char_p, c.c_int64)
_struct_get = _declare("mproc_struct_get", c.c_void_p, c.c_char_p, c.POINTER(c.c_int64))
_struct_set_pointer = _declare("mproc_struct_set_pointer", c.c_void_p, c.c_char_p, c.c_void_p)
_struct_get_pointer = _declare("mproc_struct_get_pointer", c.c_void_p, c.c_char_p, _out)
_pool_create = _declare("mproc_pool_create", _out, c.c_int32, c.c_void_p, lib=c.PyDLL(_path))
_pool_submit = _declare("mproc_pool_submit", c.c_void_p, _out, c.c_void_p, c.c_void_p, c.c_char_p,
                        c.c_size_t, c.c_void_p)
_future_result = _declare("mproc_future_result", c.c_void_p, _out, c.POINTER(c.c_size_t))
_future_failure = _declare("mproc_future_failure", c.c_void_p, c.c_void_p)

cpu_count = _declare("mproc_cpu_count")
pool_fd = _declare("mproc_pool_fd", c.c_void_p)
pool_step = _declare("mproc_pool_step", c.c_void_p)
pool_close = _declare("mproc_pool_close", c.c_void_p)
pool_terminate = _declare("mproc_pool_terminate", c.c_void_p)
pool_join = _declare("mproc_pool_join", c.c_void_p, c.c_int64)
future_is_done = _declare("mproc_future_is_done", c.c_void_p)

pool_destroy = _lib.mproc_pool_destroy
future_free = _lib.mproc_future_free
struct_free = _lib.mproc_struct_free
for _free in pool_destroy, future_free, struct_free:
    _free.argtypes, _free.restype = [c.c_void_p], None

_task_input = _lib.mproc_task_input
_task_input.argtypes, _task_input.restype = [c.c_void_p, c.POINTER(c.c_size_t)], c.c_void_p
_task_output = _lib.mproc_task_output
_task_output.argtypes, _task_output.restype = [c.c_void_p, c.c_size_t], c.c_void_p


def constant(name):
    value = c.c_int64()
    _constant(name.encode(), c.byref(value))
    return value.value


def struct(type, **members):
    """A struct of the headers with these members set, for struct_free() to give back."""
    made = c.c_void_p()
    _struct_new(type.encode(), c.byref(made))
    for name, value in members.items():
        if isinstance(value, int):
            _struct_set(made, name.encode(), value)
        else:
            _struct_set_pointer(made, name.encode(), c.cast(value, c.c_void_p))
    return made


def member(made, name):
    value = c.c_int64()
    _struct_get(made, name.encode(), c.byref(value))
    return value.value


def text(made, name):
    place = c.c_void_p()
    _struct_get_pointer(made, name.encode(), c.byref(place))
    return c.string_at(place.value).decode(errors="replace")


def create_pool(workers, **options):
    """The workers go on as forks of the calling thread, of whatever threads there are."""
    given = struct(
        "mproc_pool_options",
        before_fork=c.pythonapi.PyOS_BeforeFork,
        parent_fork=c.pythonapi.PyOS_AfterFork_Parent,
        child_fork=c.pythonapi.PyOS_AfterFork_Child,
        **options,
    )
    pool = c.c_void_p()
    try:
        _pool_create(c.byref(pool), workers, given)
    finally:
        struct_free(given)
    return pool.value


def submit(pool, function, data, options=None):
    """`function`, a TaskFunction that was made before the pool, is to run on these bytes."""
    future = c.c_void_p()
    _pool_submit(pool, c.byref(future), function, None, data, len(data), options)
    return future.value


def result(future):
    """The bytes of the output of a task that is done, or an Error that says how it failed."""
    data, length = c.c_void_p(), c.c_size_t()
    try:
        _future_result(future, c.byref(data), c.byref(length))
    except Error as error:
        raise Error(error.errno, error.strerror + _details(future)) from None
    return c.string_at(data.value, length.value)


def _details(future):
    failure = struct("mproc_failure")
    try:
        _future_failure(future, failure)
        told = [f"process {member(failure, 'pid')}"] if member(failure, "pid") else []
        told += [f"signal {member(failure, 'signal')}"] if member(failure, "signal") else []
        told += [text(failure, "text")] if text(failure, "text") else []
        return f" ({', '.join(told)})" if told else ""
    finally:
        struct_free(failure)


def task_input(task):
    length = c.c_size_t()
    return c.string_at(_task_input(task, c.byref(length)), length.value)


def task_output(task, data):
    """False: there is no room for so much."""
    place = _task_output(task, len(data))
    if place:
        c.memmove(place, data, len(data))
    return bool(place)
