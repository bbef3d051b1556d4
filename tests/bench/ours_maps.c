/* SPDX-License-Identifier: MIT */
/* libmproc's maps, measured: through its public headers alone, as a program uses it. */
#include "bench.h"
#include "load.h"
#include "timing.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include <mproc/mproc.h>

static int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(int64_t *)out = square_of(*(const int64_t *)in);
    return 0;
}

static int32_t square_batch(const void *in, void *out, size_t count, void *ctx)
{
    const int64_t *from = in;
    int64_t *to = out;

    (void)ctx;
    for (size_t i = 0; i < count; i++)
        to[i] = square_of(from[i]);
    return 0;
}

static int32_t copy_block(const void *in, void *out, void *ctx)
{
    memcpy(out, in, *(const size_t *)ctx);
    return 0;
}

struct map {
    mproc_pool *pool;
    mproc_map_fn function; /* NULL: square_batch */
    mproc_map_options options;
    void *in;
    void *out;
    uint64_t count;
    size_t size; /* of an item, and of a result */
};

static void map_once(void *arg)
{
    struct map *map = arg;

    if (map->function)
        must(mproc_pool_map(map->pool, map->function, &map->size, map->in, map->size, map->out,
                            map->size, map->count, &map->options));
    else
        must(mproc_pool_map_batch(map->pool, square_batch, NULL, map->in, map->size, map->out,
                                  map->size, map->count, &map->options));
}

static void map_begin(struct map *map, const struct contender *contender, bool arena)
{
    size_t bytes;

    map->count = contender->count;
    map->options.size = sizeof map->options;
    bytes = map->count * map->size;
    map->pool = open_pool(contender);
    if (arena) {
        must(mproc_pool_alloc(map->pool, bytes, &map->in));
        must(mproc_pool_alloc(map->pool, bytes, &map->out));
        memset(map->in, 0, bytes);
        memset(map->out, 0, bytes);
    } else {
        map->in = touched_memory(bytes);
        map->out = touched_memory(bytes);
    }
}

/* Millions of items in a second; the contender's size is the chunk. */
static double squares(const struct contender *contender, mproc_map_fn function, bool arena,
                      double seconds)
{
    struct map map = {.function = function, .size = sizeof(int64_t)};
    double value;

    map.options.chunk_size = contender->size;
    map_begin(&map, contender, arena);
    map_once(&map);
    value = 1e-6 * (double)map.count / median_seconds(seconds, map_once, &map);
    mproc_pool_destroy(map.pool);
    return value;
}

/* Is there so much memory on this machine, and twice that for all others? */
static bool is_there(size_t size)
{
    long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages < 0 || (uint64_t)pages * (uint64_t)page / 3 >= size;
}

MEASURE(ours_map_item_ns)
{
    if (!is_there(2 * contender->count * sizeof(int64_t)))
        return NAN;
    return 1e3 / squares(contender, square, true, seconds);
}

MEASURE(ours_map_user)
{
    return squares(contender, square, false, seconds);
}

MEASURE(ours_map_arena)
{
    return squares(contender, square, true, seconds);
}

MEASURE(ours_batch_user)
{
    return squares(contender, NULL, false, seconds);
}

MEASURE(ours_batch_arena)
{
    return squares(contender, NULL, true, seconds);
}

/* ---- large items: size is that of an item -------------------------------------------------------- */

/* Seconds of the first map of a pool, or of a later one. */
static double large(const struct contender *contender, bool first, bool arena, double seconds)
{
    struct map map = {.function = copy_block, .size = contender->size};
    double before, value;

    map.options.ctx_size = sizeof map.size;
    map_begin(&map, contender, arena);
    before = seconds_now();
    map_once(&map);
    value = seconds_now() - before;
    if (!first)
        value = median_seconds(seconds, map_once, &map);
    mproc_pool_destroy(map.pool);
    return value;
}

/* GiB in a second: in or out, not both. */
static double gibibytes(const struct contender *contender, bool arena, double seconds)
{
    return (double)contender->count * (double)contender->size / (1 << 30) /
           large(contender, false, arena, seconds);
}

MEASURE(ours_large_user)
{
    return gibibytes(contender, false, seconds);
}

MEASURE(ours_large_arena)
{
    return gibibytes(contender, true, seconds);
}

MEASURE(ours_large_first_ms)
{
    return 1e3 * large(contender, true, false, seconds);
}

MEASURE(ours_large_later_ms)
{
    return 1e3 * large(contender, false, false, seconds);
}

/* ---- tasks of unequal length: size is the chunk --------------------------------------------------- */

static int32_t work(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = load_work(*(const uint32_t *)in);
    return 0;
}

struct skewed {
    mproc_pool *pool;
    mproc_map_options options;
    uint32_t units[MAX_LOAD];
    uint64_t results[MAX_LOAD];
    size_t count;
};

static void work_alone(void *arg)
{
    struct skewed *skewed = arg;

    for (size_t i = 0; i < skewed->count; i++)
        skewed->results[i] = load_work(skewed->units[i]);
}

static void work_together(void *arg)
{
    struct skewed *skewed = arg;

    must(mproc_pool_map(skewed->pool, work, NULL, skewed->units, sizeof *skewed->units,
                        skewed->results, sizeof *skewed->results, skewed->count, &skewed->options));
}

MEASURE(ours_pareto)
{
    static struct skewed skewed;
    double alone;

    skewed.count = (size_t)contender->count;
    skewed.options.size = sizeof skewed.options;
    skewed.options.chunk_size = contender->size;
    load_fill(skewed.units, skewed.count);
    skewed.pool = open_pool(contender);
    work_together(&skewed);
    alone = median_seconds(seconds, work_alone, &skewed);
    alone /= median_seconds(seconds, work_together, &skewed);
    mproc_pool_destroy(skewed.pool);
    return alone;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What a map from and to the arena takes besides its items and results, in hundredths of them: the
 * pages that it needed are still there when it has ended. */
MEASURE(ours_map_percent)
{
    struct map map = {.function = square, .size = sizeof(int64_t)};
    double bytes = 2 * (double)contender->count * (double)map.size, taken;

    (void)seconds;
    map_begin(&map, contender, true);
    map_once(&map);
    taken = 1024 * arena_kib();
    mproc_pool_destroy(map.pool);
    return 100 * (taken - bytes) / bytes;
}

/* What the pool keeps when a map from the user's memory has ended. */
MEASURE(ours_kept_mib)
{
    struct map map = {.function = copy_block, .size = contender->size};
    double kept;

    (void)seconds;
    map.options.ctx_size = sizeof map.size;
    map_begin(&map, contender, false);
    map_once(&map);
    kept = arena_kib() / 1024;
    mproc_pool_destroy(map.pool);
    return kept;
}
