-- SPDX-License-Identifier: MIT
--
-- libmproc from LuaJIT.
--
--     luajit tour.lua [LIBMPROC [LIBTASKS]]
--
-- What the program needs of the headers is given to ffi.cdef as it stands there.  A Lua function runs in
-- the workers if it is made into a callback before the pool.  The workers come out of
-- mproc_pool_create(): that call must not be compiled, because compiled code cannot be called back.
local ffi = require("ffi")

ffi.cdef [[
typedef struct mproc_pool mproc_pool;
typedef struct mproc_results mproc_results;
typedef struct mproc_pool_options mproc_pool_options;
typedef int32_t (*mproc_map_fn)(const void *in, void *out, void *ctx);
typedef void *mproc_task_fn; /* for want of a task function in Lua here */
struct iovec { const char *iov_base; size_t iov_len; };
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
]]

local mproc = ffi.load(arg[1] or "libmproc.so.0")
local libtasks = arg[2] or "./libtasks.so"

local function words(code)
    return ffi.string(mproc.mproc_strerror(code))
end

local function check(result)
    if result < 0 then
        error(words(result), 2)
    end
    return result
end

local function load_function(symbol)
    local found = ffi.new("void *[1]")
    check(mproc.mproc_function_load(libtasks, symbol, found))
    return found[0]
end

local function create_pool(workers)
    local made = ffi.new("mproc_pool *[1]")
    check(mproc.mproc_pool_create(made, workers, nil))
    return ffi.gc(made[0], mproc.mproc_pool_destroy)
end
jit.off(create_pool)

local square = ffi.cast("mproc_map_fn", function(given, result)
    local number = ffi.cast("const int64_t *", given)[0]
    ffi.cast("int64_t *", result)[0] = number * number
    return 0
end)
local repeat_string, inverse, hang = load_function("repeat"), load_function("inverse"), load_function("hang")
local pool = create_pool(2)

local numbers, squares = ffi.new("int64_t[5]", 1, 2, 3, 4, 5), ffi.new("int64_t[5]")
check(mproc.mproc_pool_map(pool, square, nil, numbers, 8, squares, 8, 5, nil))
io.write("squares:")
for i = 0, 4 do
    io.write(" ", tonumber(squares[i]))
end
print()

local strings = { "a", "bc", "def" }
local inputs, results = ffi.new("struct iovec[3]"), ffi.new("mproc_results *[1]")
for i, string in ipairs(strings) do
    inputs[i - 1].iov_base, inputs[i - 1].iov_len = string, #string
end
check(mproc.mproc_pool_map_bytes(pool, repeat_string, nil, inputs, 3, results, nil))
local data, length = ffi.new("const void *[1]"), ffi.new("size_t[1]")
io.write("strings:")
for i = 0, 2 do
    check(mproc.mproc_results_get(results[0], i, data, length))
    io.write(" ", ffi.string(data[0], length[0]))
end
print()
mproc.mproc_results_free(results[0])

local numbers, inverses, statuses = ffi.new("int64_t[3]", 4, 0, 2), ffi.new("int64_t[3]"), ffi.new("int32_t[3]")
local failure = ffi.new("mproc_failure", { size = ffi.sizeof("mproc_failure") })
local options = ffi.new("mproc_map_options",
    { size = ffi.sizeof("mproc_map_options"), statuses = statuses, failure = failure })
check(mproc.mproc_pool_map(pool, ffi.cast("mproc_map_fn", inverse), nil, numbers, 8, inverses, 8, 3, options))
io.write("inverses:")
for i = 0, 2 do
    io.write(" ", statuses[i] == 0 and tonumber(inverses[i]) or "?")
end
print()
print(("item %d: %s (signal %d)"):format(tonumber(failure.index), words(failure.error), failure.signal))

options = ffi.new("mproc_submit_options", { size = ffi.sizeof("mproc_submit_options"), time_limit_ms = 100 })
print("hang: " .. words(mproc.mproc_pool_call(pool, hang, nil, nil, 0, nil, 0, nil, options)))
