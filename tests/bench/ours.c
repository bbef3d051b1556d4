/* SPDX-License-Identifier: MIT */
/* libmproc, measured: through its public headers alone, as a program would use it. */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include <mproc/mproc.h>

enum { BATCH = 200 };

/* ---- processes ------------------------------------------------------------------------------- */

static int32_t do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void spawn_and_join(void *arg)
{
    mproc_process *process;

    (void)arg;
    must(mproc_spawn(&process, do_nothing, NULL, NULL));
    must(mproc_join(process, -1, NULL));
    mproc_process_free(process);
}

MEASURE(ours_spawn)
{
    (void)contender;
    return 1e6 * median_seconds(seconds, spawn_and_join, NULL);
}

MEASURE(ours_spawn_big)
{
    touched_memory(contender->size);
    return 1e3 * median_seconds(seconds, spawn_and_join, NULL);
}

/* ---- single tasks ---------------------------------------------------------------------------- */

static const mproc_submit_options small = {.size = sizeof small, .output_max = sizeof(int64_t)};

static int32_t square_task(mproc_task *task, void *ctx)
{
    const int64_t *in = mproc_task_input(task, NULL);
    int64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    *out = square_of(*in);
    return 0;
}

static void call_once(mproc_pool *pool)
{
    int64_t in = 3, out = 0;

    must(mproc_pool_call(pool, square_task, NULL, &in, sizeof in, &out, sizeof out, NULL, &small));
    must(out == 9 ? 0 : -EPROTO);
}

static void create_and_destroy(void *arg)
{
    const struct contender *contender = arg;
    mproc_pool *pool;

    must(mproc_pool_create(&pool, contender->workers, NULL));
    call_once(pool);
    mproc_pool_destroy(pool);
}

MEASURE(ours_create)
{
    struct contender copy = *contender;

    return 1e3 * median_seconds(seconds, create_and_destroy, &copy);
}

static void call_batch(void *pool)
{
    for (int i = 0; i < BATCH; i++)
        call_once(pool);
}

MEASURE(ours_round_trip)
{
    mproc_pool *pool;
    double value;

    must(mproc_pool_create(&pool, contender->workers, NULL));
    call_batch(pool);
    value = 1e6 * median_seconds(seconds, call_batch, pool) / BATCH;
    mproc_pool_destroy(pool);
    return value;
}

/* A ring of futures: the oldest is collected, and its place taken by a new one. */
struct flight {
    mproc_pool *pool;
    mproc_future **futures;
    uint64_t window;
};

static void launch(struct flight *flight, uint64_t place)
{
    int64_t in = (int64_t)place;

    must(mproc_pool_submit(flight->pool, &flight->futures[place], square_task, NULL, &in, sizeof in,
                           &small));
}

static void collect(struct flight *flight, uint64_t place)
{
    const void *out;

    must(mproc_future_wait(flight->futures[place], -1));
    must(mproc_future_result(flight->futures[place], &out, NULL));
    must(*(const int64_t *)out == square_of((int64_t)place) ? 0 : -EPROTO);
    mproc_future_free(flight->futures[place]);
}

static void fly(void *arg)
{
    struct flight *flight = arg;

    for (int turn = 0; turn < 10; turn++)
        for (uint64_t i = 0; i < flight->window; i++) {
            collect(flight, i);
            launch(flight, i);
        }
}

static void take_off(struct flight *flight, const struct contender *contender)
{
    flight->window = contender->count;
    flight->futures = touched_memory(flight->window * sizeof *flight->futures);
    must(mproc_pool_create(&flight->pool, contender->workers, NULL));
    for (uint64_t i = 0; i < flight->window; i++)
        launch(flight, i);
    fly(flight);
}

static void land(struct flight *flight)
{
    for (uint64_t i = 0; i < flight->window; i++)
        collect(flight, i);
    mproc_pool_destroy(flight->pool);
}

MEASURE(ours_in_flight)
{
    struct flight flight;
    double value;

    take_off(&flight, contender);
    value = 1e-6 * 10 * (double)flight.window / median_seconds(seconds, fly, &flight);
    land(&flight);
    return value;
}

static double host_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Processor time of the host alone, for each task: to submit it, wait, and collect. */
MEASURE(ours_host_cost)
{
    double begin = seconds_now(), used;
    struct flight flight;
    int turns = 0;

    take_off(&flight, contender);
    used = host_seconds();
    do {
        fly(&flight);
        turns++;
    } while (seconds_now() - begin < seconds);
    used = host_seconds() - used;
    land(&flight);
    return 1e9 * used / (10 * (double)flight.window * turns);
}

/* ---- maps ------------------------------------------------------------------------------------ */

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
    must(mproc_pool_create(&map->pool, contender->workers, NULL));
    if (arena) {
        must(mproc_pool_alloc(map->pool, bytes, &map->in));
        must(mproc_pool_alloc(map->pool, bytes, &map->out));
        memset(map->in, 1, bytes);
        memset(map->out, 1, bytes);
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

enum large { FIRST, LATER };

/* GiB in a second; size is that of an item. */
static double large(const struct contender *contender, enum large which, bool arena, double seconds)
{
    struct map map = {.function = copy_block, .size = contender->size};
    double before, value;

    map.options.ctx_size = sizeof map.size;
    map_begin(&map, contender, arena);
    before = seconds_now();
    map_once(&map);
    value = seconds_now() - before;
    if (which == LATER)
        value = median_seconds(seconds, map_once, &map);
    mproc_pool_destroy(map.pool);
    return (double)map.count * (double)map.size / (1 << 30) / value;
}

MEASURE(ours_large_user)
{
    return large(contender, LATER, false, seconds);
}

MEASURE(ours_large_first)
{
    return large(contender, FIRST, false, seconds);
}

MEASURE(ours_large_arena)
{
    return large(contender, LATER, true, seconds);
}
