/* SPDX-License-Identifier: MIT */
/*
 * A pool of forks that is no more than fast: bytes in a pipe wake the workers, one counter in shared
 * memory hands out chunks, another tells who was the last.  If a worker dies, it hangs.
 */
#include "bench.h"
#include "pipes.h"
#include "timing.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <mproc/pool.h>

struct warm;
typedef void (*range_fn)(const struct warm *warm, uint64_t first, uint64_t end);

struct counters {
    _Alignas(64) _Atomic uint64_t next;
    _Alignas(64) _Atomic uint64_t left;
};

struct warm {
    struct counters *counters;
    range_fn work;
    uint64_t count;
    uint64_t chunk;
    size_t size; /* of an item, and of a result */
    char *in;    /* both shared */
    char *out;
    const char *user_in; /* copied from and to; NULL: in place */
    char *user_out;
    int32_t workers;
    int tickets[2];
    int bell[2];
    pid_t pids[64];
};

static void square_range(const struct warm *warm, uint64_t first, uint64_t end)
{
    const int64_t *in = (const int64_t *)(const void *)warm->in;
    int64_t *out = (int64_t *)(void *)warm->out;

    for (uint64_t i = first; i < end; i++)
        out[i] = square_of(in[i]);
}

/* As a pool must that is given its function: a call for each item. */
static int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(int64_t *)out = square_of(*(const int64_t *)in);
    return 0;
}

static mproc_map_fn volatile function = square; /* so that it is not inlined */

static void call_range(const struct warm *warm, uint64_t first, uint64_t end)
{
    mproc_map_fn call = function;

    for (uint64_t i = first; i < end; i++)
        if (call(warm->in + i * warm->size, warm->out + i * warm->size, NULL))
            _exit(1);
}

static void copy_range(const struct warm *warm, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++)
        memcpy(warm->out + i * warm->size, warm->in + i * warm->size, warm->size);
}

static uint64_t warm_serve(const struct warm *warm)
{
    uint64_t done = 0;

    for (;;) {
        uint64_t first =
            atomic_fetch_add_explicit(&warm->counters->next, warm->chunk, memory_order_acquire);
        uint64_t end = first + warm->chunk < warm->count ? first + warm->chunk : warm->count;

        if (first >= warm->count)
            return done;
        warm->work(warm, first, end);
        done += end - first;
    }
}

static _Noreturn void warm_work(const struct warm *warm)
{
    char ticket;

    close(warm->tickets[1]);
    while (receive_bytes(warm->tickets[0], &ticket, 1)) {
        uint64_t done = warm_serve(warm);

        if (done &&
            atomic_fetch_sub_explicit(&warm->counters->left, done, memory_order_acq_rel) == done)
            send_bytes(warm->bell[1], "", 1);
    }
    _exit(0);
}

static void warm_begin(struct warm *warm, const struct contender *contender, uint64_t chunk)
{
    warm->count = contender->count;
    warm->workers = contender->workers;
    warm->chunk = chunk ? chunk : (warm->count - 1) / (4 * (uint64_t)warm->workers) + 1;
    warm->counters = shared_memory(sizeof *warm->counters);
    warm->in = shared_memory(warm->count * warm->size);
    warm->out = shared_memory(warm->count * warm->size);
    make_pipe(warm->tickets);
    make_pipe(warm->bell);
    atomic_store(&warm->counters->next, warm->count);
    for (int32_t i = 0; i < warm->workers; i++) {
        warm->pids[i] = fork_one();
        if (warm->pids[i] == 0)
            warm_work(warm);
    }
    close(warm->tickets[0]);
}

static void warm_map(void *arg)
{
    static const char tickets[64];
    struct warm *warm = arg;
    char rung;

    if (warm->user_in)
        memcpy(warm->in, warm->user_in, warm->count * warm->size);
    atomic_store_explicit(&warm->counters->left, warm->count, memory_order_relaxed);
    atomic_store_explicit(&warm->counters->next, 0, memory_order_release);
    send_bytes(warm->tickets[1], tickets, (size_t)warm->workers);
    must(receive_bytes(warm->bell[0], &rung, 1) ? 0 : -EPROTO);
    if (warm->user_out)
        memcpy(warm->user_out, warm->out, warm->count * warm->size);
}

static void warm_end(struct warm *warm)
{
    close(warm->tickets[1]);
    for (int32_t i = 0; i < warm->workers; i++)
        wait_for(warm->pids[i]);
}

/* The median seconds of one map. */
static double warm_measure(struct warm *warm, const struct contender *contender, bool copies,
                           uint64_t chunk, double seconds)
{
    double value;

    if (copies) {
        warm->user_in = touched_memory(contender->count * warm->size);
        warm->user_out = touched_memory(contender->count * warm->size);
    }
    warm_begin(warm, contender, chunk);
    warm_map(warm);
    value = median_seconds(seconds, warm_map, warm);
    warm_end(warm);
    return value;
}

/* Millions of items in a second; size is the chunk. */
static double warm_squares(const struct contender *contender, range_fn work, bool copies,
                           double seconds)
{
    struct warm warm = {.work = work, .size = sizeof(int64_t)};

    return 1e-6 * (double)contender->count /
           warm_measure(&warm, contender, copies, contender->size, seconds);
}

MEASURE(limit_pool_copies)
{
    return warm_squares(contender, square_range, true, seconds);
}

MEASURE(limit_pool_in_place)
{
    return warm_squares(contender, square_range, false, seconds);
}

MEASURE(limit_pool_calls)
{
    return warm_squares(contender, call_range, false, seconds);
}

MEASURE(limit_pool_item_ns)
{
    return 1e3 / warm_squares(contender, call_range, false, seconds);
}

/* GiB in a second: in or out, not both; size is that of an item. */
static double warm_large(const struct contender *contender, bool copies, double seconds)
{
    struct warm warm = {.work = copy_range, .size = contender->size};
    double bytes = (double)contender->count * (double)contender->size;

    return bytes / (1 << 30) / warm_measure(&warm, contender, copies, 1, seconds);
}

MEASURE(limit_large_copies)
{
    return warm_large(contender, true, seconds);
}

MEASURE(limit_large_in_place)
{
    return warm_large(contender, false, seconds);
}
