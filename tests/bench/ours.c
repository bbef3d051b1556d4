/* SPDX-License-Identifier: MIT */
/* libmproc, measured: through its public headers alone, as a program uses it. */
#include "bench.h"
#include "timing.h"

#include <errno.h>
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

mproc_pool *open_pool(const struct contender *contender)
{
    mproc_pool_options options = {.size = sizeof options, .spin_us = contender->spin_us};
    mproc_pool *pool;

    must(mproc_pool_create(&pool, contender->workers, &options));
    return pool;
}

static void call_once(mproc_pool *pool)
{
    int64_t in = 3, out = 0;

    must(mproc_pool_call(pool, square_task, NULL, &in, sizeof in, &out, sizeof out, NULL, &small));
    must(out == 9 ? 0 : -EPROTO);
}

static void create_and_destroy(void *arg)
{
    mproc_pool *pool = open_pool(arg);

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
    mproc_pool *pool = open_pool(contender);
    double value;

    call_batch(pool);
    value = 1e6 * median_seconds(seconds, call_batch, pool) / BATCH;
    mproc_pool_destroy(pool);
    return value;
}

MEASURE(ours_round_trip_ns)
{
    return 1e3 * ours_round_trip(contender, seconds);
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
    flight->pool = open_pool(contender);
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
    double begin, used;
    struct flight flight;
    int turns = 0;

    take_off(&flight, contender);
    begin = seconds_now();
    used = host_seconds();
    do {
        fly(&flight);
        turns++;
    } while (seconds_now() - begin < seconds);
    used = host_seconds() - used;
    land(&flight);
    return 1e9 * used / (10 * (double)flight.window * turns);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What a pool that has served and now idles takes beyond what the host took before. */
MEASURE(ours_idle_kib)
{
    double before = tree_kib(), value;
    mproc_pool *pool = open_pool(contender);

    (void)seconds;
    call_batch(pool);
    value = tree_kib() - before;
    mproc_pool_destroy(pool);
    return value;
}
