-- SPDX-License-Identifier: MIT
--
-- closures.lua LIBMPROC: what the README says of LuaJIT's callbacks.
--
-- - One that was made before the pool runs in the workers, however often the call that creates the pool
--   has run, as it is not compiled.
-- - One that was made later is refused, if there was none before; until a restart.
-- - If there was one, its page has the code of all to come, and nobody can see that it is late: it ends
--   its workers, and the pool reports that.
local ffi = require("ffi")

ffi.cdef [[
typedef int32_t (*map_fn)(const int64_t *in, int64_t *out, void *ctx);
int mproc_pool_create(void **pool, int32_t workers, const void *options);
int mproc_pool_restart(void *pool);
int mproc_pool_map(void *pool, map_fn fn, void *ctx, const void *in, size_t in_size, void *out,
                   size_t out_size, size_t count, const void *options);
void mproc_pool_destroy(void *pool);
int mproc_constant(const char *name, int64_t *value);
]]
local mproc = ffi.load(arg[1])

local function constant(name)
    local value = ffi.new("int64_t[1]")
    assert(mproc.mproc_constant(name, value) == 0)
    return tonumber(value[0])
end

local function create_pool()
    local pool = ffi.new("void *[1]")
    assert(mproc.mproc_pool_create(pool, 2, nil) == 0)
    return pool[0]
end
jit.off(create_pool)

local function restart_pool(pool)
    assert(mproc.mproc_pool_restart(pool) == 0)
end
jit.off(restart_pool)

local function power(exponent)
    return ffi.cast("map_fn", function(given, result)
        result[0] = tonumber(given[0]) ^ exponent
        return 0
    end)
end

-- The results for 1, 2 and 3, or the error.
local function map_numbers(pool, fn)
    local numbers, results = ffi.new("int64_t[3]", 1, 2, 3), ffi.new("int64_t[3]")
    local result = mproc.mproc_pool_map(pool, fn, nil, numbers, 8, results, 8, 3, nil)
    if result < 0 then
        return result
    end
    return ("%d %d %d"):format(tonumber(results[0]), tonumber(results[1]), tonumber(results[2]))
end

local function expect(what, got, due)
    if got ~= due then
        error(("%s: %s instead of %s"):format(what, got, due))
    end
end

local pool = create_pool()
local square = power(2)
expect("a late callback", map_numbers(pool, square), constant("MPROC_EFUNC"))
restart_pool(pool)
expect("after a restart", map_numbers(pool, square), "1 4 9")
local cube = power(3)
expect("a late callback that cannot be told", map_numbers(pool, cube), constant("MPROC_ECRASHED"))
expect("the early one still", map_numbers(pool, square), "1 4 9")
mproc.mproc_pool_destroy(pool)

for _ = 1, 100 do -- more than what is compiled has run
    pool = create_pool()
    expect("an early callback", map_numbers(pool, cube), "1 8 27")
    mproc.mproc_pool_destroy(pool)
end
