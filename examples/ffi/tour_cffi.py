#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libmproc from Python, by cffi.

    tour_cffi.py [LIBMPROC [LIBTASKS]]

What the program needs of the headers is given to cdef as it stands there.  Python functions run in the
workers if they are made into callbacks before the pool.  cffi lets other threads run during each call,
so a program that has some creates its pool as tour.py does.
"""
import sys

from cffi import FFI

ffi = FFI()
ffi.cdef("""
typedef struct mproc_pool mproc_pool;
typedef struct mproc_results mproc_results;
typedef struct mproc_task mproc_task;
typedef struct mproc_pool_options mproc_pool_options;
typedef int32_t (*mproc_map_fn)(const void *in, void *out, void *ctx);
typedef int32_t (*mproc_task_fn)(mproc_task *task, void *ctx);
struct iovec { void *iov_base; size_t iov_len; };
typedef struct mproc_failure {
    size_t size;
    uint64_t index;
    int32_t error;
    int32_t code;
    int32_t signal;
    int32_t pid;
    int32_t attempts;
    char text[200];
} mproc_failure;
typedef struct mproc_map_options {
    size_t size;
    size_t chunk_size;
    size_t ctx_size;
    int64_t timeout_ms;
    int64_t time_limit_ms;
    int32_t retries;
    int32_t reserved;
    size_t output_max;
    int32_t *statuses;
    mproc_failure *failure;
} mproc_map_options;
typedef struct mproc_submit_options {
    size_t size;
    size_t ctx_size;
    size_t output_max;
    int64_t time_limit_ms;
    int32_t retries;
    int32_t reserved;
} mproc_submit_options;
int mproc_function_load(const char *path, const char *symbol, void **function);
int mproc_pool_create(mproc_pool **pool, int32_t workers, const mproc_pool_options *options);
int mproc_pool_map(mproc_pool *pool, mproc_map_fn fn, void *ctx, const void *in, size_t in_size,
                   void *out, size_t out_size, size_t count, const mproc_map_options *options);
int mproc_pool_map_bytes(mproc_pool *pool, mproc_task_fn fn, void *ctx, const struct iovec *inputs,
                         size_t count, mproc_results **results, const mproc_map_options *options);
int mproc_pool_call(mproc_pool *pool, mproc_task_fn fn, void *ctx, const void *in, size_t in_size,
                    void *out, size_t out_size, size_t *length,
                    const mproc_submit_options *options);
void mproc_pool_destroy(mproc_pool *pool);
int mproc_results_get(const mproc_results *results, size_t index, const void **data,
                      size_t *length);
void mproc_results_free(mproc_results *results);
const char *mproc_strerror(int error);
""")
mproc = ffi.dlopen(sys.argv[1] if len(sys.argv) > 1 else "libmproc.so.0")
libtasks = sys.argv[2] if len(sys.argv) > 2 else "./libtasks.so"


def words(error):
    return ffi.string(mproc.mproc_strerror(error)).decode()


def check(result):
    if result < 0:
        raise OSError(result, words(result))
    return result


def load(type, symbol):
    function = ffi.new("void **")
    check(mproc.mproc_function_load(libtasks.encode(), symbol, function))
    return ffi.cast(type, function[0])


def options(type, **members):
    return ffi.new(type + " *", {"size": ffi.sizeof(type), **members})


@ffi.callback("mproc_map_fn")
def square(given, result, _):
    ffi.cast("int64_t *", result)[0] = ffi.cast("int64_t *", given)[0] ** 2
    return 0


repeat, hang = load("mproc_task_fn", b"repeat"), load("mproc_task_fn", b"hang")
inverse = load("mproc_map_fn", b"inverse")
pool = ffi.new("mproc_pool **")
check(mproc.mproc_pool_create(pool, 2, ffi.NULL))
pool = ffi.gc(pool[0], mproc.mproc_pool_destroy)

squares = ffi.new("int64_t[5]")
numbers = ffi.new("int64_t[]", [1, 2, 3, 4, 5])
check(mproc.mproc_pool_map(pool, square, ffi.NULL, numbers, 8, squares, 8, 5, ffi.NULL))
print("squares:", *squares)

strings = [ffi.from_buffer(string) for string in (b"a", b"bc", b"def")]
inputs = ffi.new("struct iovec[]", [(string, len(string)) for string in strings])
results, data, length = ffi.new("mproc_results **"), ffi.new("void **"), ffi.new("size_t *")
check(mproc.mproc_pool_map_bytes(pool, repeat, ffi.NULL, inputs, 3, results, ffi.NULL))
print("strings:", end="")
for i in range(3):
    check(mproc.mproc_results_get(results[0], i, ffi.cast("const void **", data), length))
    print("", ffi.buffer(data[0], length[0])[:].decode(), end="")
print()
mproc.mproc_results_free(results[0])

inverses, statuses = ffi.new("int64_t[3]"), ffi.new("int32_t[3]")
failure = options("mproc_failure")
wanted = options("mproc_map_options", statuses=statuses, failure=failure)
numbers = ffi.new("int64_t[]", [4, 0, 2])
check(mproc.mproc_pool_map(pool, inverse, ffi.NULL, numbers, 8, inverses, 8, 3, wanted))
print("inverses:", *(inverses[i] if statuses[i] == 0 else "?" for i in range(3)))
print(f"item {failure.index}: {words(failure.error)} (signal {failure.signal})")

limit = options("mproc_submit_options", time_limit_ms=100)
nothing = ffi.NULL
print("hang:", words(mproc.mproc_pool_call(pool, hang, nothing, nothing, 0, nothing, 0, nothing, limit)))
