# SPDX-License-Identifier: MIT
"""multiprocessing.Pool over libmproc.

    with Pool(4) as pool:
        print(pool.map(function, items))

The same methods with the same meaning, with pickle on both sides.  What is better than there: when a
worker dies, its task raises WorkerError and all else goes on, where multiprocessing waits for ever.

One closure, made when this module is imported and so before any pool, runs in the workers and there
whatever function arrives.  In the host one thread of each pool does it all, as an event loop: it hands
over tasks, of which a bounded number is with the library, and takes in results.
"""
import collections
import ctypes
import itertools
import os
import pickle
import select
import sys
import tempfile
import threading
import warnings
from multiprocessing import TimeoutError
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE
from multiprocessing.pool import ExceptionWithTraceback, MaybeEncodingError

import mproc

WINDOW = 16  # tasks for each worker that the library has at a time


class WorkerError(RuntimeError):
    """The worker died, or the pool did, before the task had a result."""


# ---- in a worker ---------------------------------------------------------------------------------


@mproc.TaskFunction
def _run(task, _context):
    try:
        outcome = _outcome(mproc.task_input(task))
        sys.stdout.flush()
        sys.stderr.flush()
        if not mproc.task_output(task, b"P" + outcome):
            mproc.task_output(task, b"F" + _spill(outcome))
        return 0
    except BaseException as error:  # it cannot leave a closure
        if not isinstance(error, SystemExit):
            sys.excepthook(*sys.exc_info())
        os._exit(1)


def _outcome(data):
    """(whether it went well, the value or the exception), pickled."""
    try:
        function, arguments, keywords = pickle.loads(data)
        outcome = True, function(*arguments, **keywords)
    except Exception as error:
        outcome = False, ExceptionWithTraceback(error, error.__traceback__)
    try:
        return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps((False, MaybeEncodingError(error, outcome[1])))


def _spill(data):
    """A result that is longer than there is room for in shared memory goes by a file."""
    file, path = tempfile.mkstemp(prefix="mproc-")
    with open(file, "wb") as stream:
        stream.write(data)
    return path.encode()


def _map_chunk(function, items):
    return list(map(function, items))


def _starmap_chunk(function, items):
    return list(itertools.starmap(function, items))


_numbers = itertools.count(1)
_initializers = {}  # of the pools that are being made, by a number; their workers have it


@mproc.InitFunction
def _init(_worker, number):
    function, arguments = _initializers[number]
    try:
        function(*arguments)
        return 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1


@mproc.ExitFunction
def _exit(_worker, _arg):
    sys.stdout.flush()
    sys.stderr.flush()


# ---- in the host: results ------------------------------------------------------------------------


class AsyncResult:
    """Of apply_async(): one task."""

    def __init__(self, callback=None, error_callback=None):
        self._event = threading.Event()
        self._callbacks = error_callback, callback

    def ready(self):
        return self._event.is_set()

    def successful(self):
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._success

    def wait(self, timeout=None):
        self._event.wait(timeout)

    def get(self, timeout=None):
        if not self._event.wait(timeout):
            raise TimeoutError
        if self._success:
            return self._value
        raise self._value

    def _finish(self, success, value):
        self._success, self._value = success, value
        callback, self._callbacks = self._callbacks[success], None
        if callback:
            callback(value)
        self._event.set()

    def _take(self, _index, success, value):
        self._finish(success, value)

    def _end(self, _count):
        pass


class MapResult(AsyncResult):
    """Of map_async(): many tasks, each a chunk of items.  It is ready when all have ended, and of those
    that failed the first one counts."""

    def __init__(self, callback=None, error_callback=None):
        super().__init__(callback, error_callback)
        self._chunks = {}
        self._count = None
        self._failure = None

    def _take(self, index, success, value):
        if not success:
            self._failure = self._failure or (value,)
            value = ()
        self._chunks[index] = value
        self._look()

    def _end(self, count):
        self._count = count
        self._look()

    def _look(self):
        if len(self._chunks) != self._count:
            return
        if self._failure:
            self._finish(False, *self._failure)
        else:
            chunks = (self._chunks[index] for index in range(self._count))
            self._finish(True, list(itertools.chain.from_iterable(chunks)))
        self._chunks = self._failure = None


class IMapIterator:
    """Of imap(): many tasks, each a chunk of items, which are there as soon as it is their turn."""

    def __init__(self, ordered):
        self._ordered = ordered
        self._changed = threading.Condition()
        self._chunks = {}
        self._chunk = iter(())  # the one that next() is at
        self._index = 0  # of the chunk after it
        self._taken = 0
        self._count = None

    def __iter__(self):
        return self

    def next(self, timeout=None):
        for item in self._chunk:
            return item
        with self._changed:
            if not self._changed.wait_for(self._is_due, timeout):
                raise TimeoutError
            if self._index == self._count:
                raise StopIteration
            success, value = self._chunks.pop(self._index)
            self._index += 1
        if not success:
            raise value
        self._chunk = iter(value)
        return next(self._chunk)

    __next__ = next

    def _is_due(self):
        return self._index in self._chunks or self._index == self._count

    def _take(self, index, success, value):
        with self._changed:
            self._chunks[index if self._ordered else self._taken] = success, value
            self._taken += 1
            self._changed.notify_all()

    def _end(self, count):
        with self._changed:
            self._count = count
            self._changed.notify_all()


# ---- in the host: the loop -----------------------------------------------------------------------


class _Source:
    """The tasks of one call, which may come without end."""

    def __init__(self, result, tasks):
        self.result = result
        self.tasks = iter(tasks)
        self.count = 0  # so many were handed over


class _Loop:
    """What the thread of a pool runs.  It does not know its Pool, so that one can be collected."""

    def __init__(self, workers, initializer, initargs, maxtasksperchild):
        self.lock = threading.Lock()
        self.state = RUN
        self.sources = collections.deque()
        self.open = []  # (future, result, index)
        self.window = WINDOW * workers
        options = {"exit": _exit, "tasks_per_worker": maxtasksperchild or 0}
        number = next(_numbers)
        if initializer is not None:
            _initializers[number] = initializer, initargs
            options.update(init=_init, arg=ctypes.c_void_p(number))
        sys.stdout.flush()  # or a worker would print it, too
        sys.stderr.flush()
        try:
            self.pool = mproc.create_pool(workers, **options)
        finally:
            _initializers.pop(number, None)
        self.bell = os.pipe()
        os.set_blocking(self.bell[1], False)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def add(self, result, tasks):
        with self.lock:
            if self.state != RUN:
                raise ValueError("Pool not running")
            self.sources.append(_Source(result, tasks))
            self.ring()

    def leave(self, state):
        with self.lock:
            if self.state != TERMINATE:
                self.state = state
                self.ring()

    def ring(self):
        try:
            os.write(self.bell[1], b"!")
        except BlockingIOError:
            pass  # it has been rung

    def run(self):
        poll = select.poll()
        poll.register(self.bell[0], select.POLLIN)
        poll.register(mproc.pool_fd(self.pool), select.POLLIN)
        while self.is_wanted():
            if any(fd == self.bell[0] for fd, _ in poll.poll()):
                os.read(self.bell[0], 4096)
            try:
                mproc.pool_step(self.pool)
            except mproc.Error:
                self.leave(TERMINATE)  # it is broken
            self.take_in()
        self.end()

    def is_wanted(self):
        while len(self.open) < self.window and self.state != TERMINATE and self.sources:
            self.hand_over(self.sources[0])
        return self.state == RUN or (self.state == CLOSE and self.open)

    def hand_over(self, source):
        """One task more.  Without one, or with an error of the caller's iterable, the source is done."""
        try:
            task = next(source.tasks, None)
        except Exception as error:
            self.take(source.result, source.count, (False, error))
            source.count += 1
            task = None
        if task is None:
            self.sources.popleft()
            self.call(source.result._end, source.count)
            return
        try:
            data = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
            future = mproc.submit(self.pool, _run, data)
        except mproc.Error as error:
            self.take(source.result, source.count, (False, WorkerError(error.strerror)))
        except Exception as error:  # it cannot be pickled
            self.take(source.result, source.count, (False, error))
        else:
            self.open.append((future, source.result, source.count))
        source.count += 1

    def take_in(self):
        entries, self.open = self.open, []
        for future, result, index in entries:
            if mproc.future_is_done(future):
                self.take(result, index, _outcome_of(future))
            else:
                self.open.append((future, result, index))

    def take(self, result, index, outcome):
        self.call(result._take, index, *outcome)

    def call(self, function, *arguments):
        """What the user's callbacks raise is shown, and is not the end of the loop."""
        try:
            function(*arguments)
        except Exception:
            sys.excepthook(*sys.exc_info())

    def end(self):
        if self.state == TERMINATE:
            mproc.pool_terminate(self.pool)
        else:
            mproc.pool_close(self.pool)
        mproc.pool_join(self.pool, -1)
        self.take_in()
        for source in self.sources:
            self.take(source.result, source.count, (False, WorkerError("the pool is terminated")))
            self.call(source.result._end, source.count + 1)
        self.sources.clear()
        mproc.pool_destroy(self.pool)
        with self.lock:
            self.state = TERMINATE  # nobody rings any more
            for fd in self.bell:
                os.close(fd)


def _outcome_of(future):
    """Whether it went well, and the value or the exception."""
    try:
        data = mproc.result(future)
    except mproc.Error as error:
        return False, WorkerError(error.strerror)
    finally:
        mproc.future_free(future)
    try:
        if data[:1] == b"P":
            return pickle.loads(memoryview(data)[1:])
        path = data[1:]
        try:
            with open(path, "rb") as stream:
                return pickle.load(stream)
        finally:
            os.unlink(path)
    except Exception as error:  # it cannot be unpickled
        return False, error


# ---- the pool ------------------------------------------------------------------------------------


def _chunks(kind, function, iterable, size):
    """A task for each `size` items.  What the iterable raises comes when its turn does."""
    iterator = iter(iterable)
    for items in iter(lambda: tuple(itertools.islice(iterator, size)), ()):
        yield kind, (function, items), {}


class Pool:
    def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
        self._state = INIT
        if processes is None:
            processes = mproc.cpu_count()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None:
            if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
                raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._processes = processes
        self._loop = _Loop(processes, initializer, initargs, maxtasksperchild)
        self._state = RUN

    def apply(self, func, args=(), kwds={}):
        return self.apply_async(func, args, kwds).get()

    def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):
        result = AsyncResult(callback, error_callback)
        self._loop.add(result, [(func, args, kwds)])
        return result

    def map(self, func, iterable, chunksize=None):
        return self.map_async(func, iterable, chunksize).get()

    def starmap(self, func, iterable, chunksize=None):
        return self.starmap_async(func, iterable, chunksize).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        return self._map(_map_chunk, func, iterable, chunksize, callback, error_callback)

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        return self._map(_starmap_chunk, func, iterable, chunksize, callback, error_callback)

    def _map(self, kind, func, iterable, chunksize, callback, error_callback):
        result = MapResult(callback, error_callback)
        if not hasattr(iterable, "__len__"):
            iterable = list(iterable)
        if chunksize is None:
            chunksize = max(1, -(-len(iterable) // (self._processes * 4)))
        self._loop.add(result, _chunks(kind, func, iterable, chunksize))
        return result

    def imap(self, func, iterable, chunksize=1):
        return self._imap(func, iterable, chunksize, True)

    def imap_unordered(self, func, iterable, chunksize=1):
        return self._imap(func, iterable, chunksize, False)

    def _imap(self, func, iterable, chunksize, ordered):
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        result = IMapIterator(ordered)
        self._loop.add(result, _chunks(_map_chunk, func, iterable, chunksize))
        return result

    def close(self):
        if self._state == RUN:
            self._state = CLOSE
            self._loop.leave(CLOSE)

    def terminate(self):
        self._state = TERMINATE
        self._loop.leave(TERMINATE)

    def join(self):
        if self._state == RUN:
            raise ValueError("Pool is still running")
        self._loop.thread.join()

    def __enter__(self):
        if self._state != RUN:
            raise ValueError("Pool not running")
        return self

    def __exit__(self, *_):
        self.terminate()

    def __reduce__(self):
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __del__(self, _warn=warnings.warn):
        if self._state == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
            self._loop.leave(TERMINATE)
