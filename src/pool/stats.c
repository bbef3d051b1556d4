/* SPDX-License-Identifier: MIT */
/*
 * What a pool has done, in numbers, and as a table.  Runs in the host.  What workers noted (meter.c)
 * is copied once and brought within bounds; nothing but the numbers that people see comes of it.
 */
#include "pool.h"

#include <mproc/stats.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../line.h"

enum { NS_PER_MS = 1000000 };

/* Relaxed: numbers that nothing is ordered by. */
#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

static int64_t within(int64_t value, int64_t least, int64_t most)
{
    if (value < least)
        return least;
    return value < most ? value : most;
}

/* Copy what was found to a caller's struct of any release. */
static int give(void *to, const void *from, size_t room)
{
    size_t size;

    memcpy(&size, to, sizeof size);
    if (size <= sizeof size)
        return -EINVAL;
    memcpy((char *)to + sizeof size, (const char *)from + sizeof size,
           (size < room ? size : room) - sizeof size);
    return 0;
}

/* ---- one worker ------------------------------------------------------------------------------ */

static uint64_t peak_of(const mproc_pool *pool, const struct worker_shm *record, int32_t pid)
{
    uint64_t dead = GET(record->peak);
    uint64_t now = 0;

    if (pool->options.in_process)
        now = mp_peak_of_self();
    else if (pid > 1)
        now = mp_peak_of(pid);
    return now > dead ? now : dead;
}

/* `now` is the same for all workers that are seen together. */
static mproc_worker_stats worker_stats(const mproc_pool *pool, uint32_t number, int64_t now)
{
    const struct worker_shm *record = mp_region_worker(&pool->region, number);
    int64_t elapsed = now - pool->born;
    int64_t began = GET(record->began);
    int64_t busy = within(GET(record->busy_ns), 0, elapsed);
    mproc_worker_stats stats = {.size = sizeof stats,
                                .items = GET(record->items),
                                .failed = GET(record->failed),
                                .deaths = GET(record->deaths),
                                .pid = GET(record->pid)};

    if (began > 0) /* and what it runs now */
        busy = within(busy + within(mp_now_coarse() - began, 0, elapsed), 0, elapsed);
    stats.busy_ms = busy / NS_PER_MS;
    stats.idle_ms = elapsed / NS_PER_MS - stats.busy_ms;
    stats.peak_memory = peak_of(pool, record, stats.pid);
    return stats;
}

int mproc_pool_worker_stats(mproc_pool *pool, int32_t worker, mproc_worker_stats *stats)
{
    mproc_worker_stats found;
    int r = mp_pool_check(pool);

    if (r)
        return r;
    if (worker < 0 || (uint32_t)worker >= pool->region.workers || !stats)
        return -EINVAL;
    found = worker_stats(pool, (uint32_t)worker, mp_now());
    return give(stats, &found, sizeof found);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static mproc_stats pool_stats(mproc_pool *pool, int64_t now)
{
    mproc_stats all = {.size = sizeof all, .elapsed_ms = (now - pool->born) / NS_PER_MS};

    mp_pool_lock(pool);
    all.restarts = pool->restarts;
    all.bytes_in = pool->bytes_in;
    all.bytes_out = pool->bytes_out;
    mp_pool_unlock(pool);
    for (uint32_t i = 0; i < pool->region.workers; i++) {
        mproc_worker_stats one = worker_stats(pool, i, now);

        all.items += one.items;
        all.failed += one.failed;
        all.deaths += one.deaths;
        all.busy_ms += one.busy_ms; /* bounded by the time that has passed: no overflow */
        all.idle_ms += one.idle_ms;
        if (one.peak_memory > all.peak_memory)
            all.peak_memory = one.peak_memory;
    }
    return all;
}

int mproc_pool_stats(mproc_pool *pool, mproc_stats *stats)
{
    mproc_stats found;
    int r = mp_pool_check(pool);

    if (r)
        return r;
    if (!stats)
        return -EINVAL;
    found = pool_stats(pool, mp_now());
    return give(stats, &found, sizeof found);
}

/* ---- the slowest items ----------------------------------------------------------------------- */

enum { SLOWEST_MAX = 64 }; /* that are put in order; each worker has some of its own */

struct ranking {
    mproc_slow_item items[SLOWEST_MAX];
    size_t count;
};

/* Put it in its place, after those as slow. */
static void rank(struct ranking *ranking, const mproc_slow_item *item)
{
    size_t at = ranking->count;

    if (at == SLOWEST_MAX && ranking->items[--at].ran_ms >= item->ran_ms)
        return;
    for (; at > 0 && ranking->items[at - 1].ran_ms < item->ran_ms; at--)
        ranking->items[at] = ranking->items[at - 1];
    ranking->items[at] = *item;
    if (ranking->count < SLOWEST_MAX)
        ranking->count++;
}

static void rank_all(const mproc_pool *pool, struct ranking *ranking)
{
    *ranking = (struct ranking){.count = 0};
    for (uint32_t number = 0; number < pool->region.workers; number++)
        for (int i = 0; i < SLOW_ITEMS; i++) {
            const struct slow_shm *slow = &mp_region_worker(&pool->region, number)->slow[i];
            mproc_slow_item item = {.size = sizeof item,
                                    .index = GET(slow->index),
                                    .count = GET(slow->count),
                                    .ran_ms = GET(slow->ran_ns) / NS_PER_MS,
                                    .worker = (int32_t)number};

            if (item.ran_ms > 0)
                rank(ranking, &item);
        }
}

int mproc_pool_slowest(mproc_pool *pool, size_t rank, mproc_slow_item *item)
{
    struct ranking ranking;
    int r = mp_pool_check(pool);

    if (r)
        return r;
    if (!item || item->size <= sizeof item->size)
        return -EINVAL;
    rank_all(pool, &ranking);
    return rank < ranking.count ? give(item, &ranking.items[rank], sizeof *item) : -ENOENT;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* A number of bytes in three or four characters. */
static void add_size(struct line *line, uint64_t bytes)
{
    static const char units[] = "BKMGTPE";
    size_t unit = 0;

    while (bytes >= 10000 && units[unit + 1]) {
        bytes /= 1024;
        unit++;
    }
    mp_line_add(line, "%6" PRIu64 "%c", bytes, units[unit]);
}

static void add_row(struct line *line, const char *name, const mproc_worker_stats *stats)
{
    int64_t whole = stats->busy_ms + stats->idle_ms;

    mp_line_add(line, "%-8s%10" PRIu64 "%8" PRIu64 "%8" PRIu64 "%9" PRId64 ".%03d s%5d%% ", name,
                stats->items, stats->failed, stats->deaths, stats->busy_ms / 1000,
                (int)(stats->busy_ms % 1000), whole ? (int)(stats->busy_ms * 100 / whole) : 0);
    add_size(line, stats->peak_memory);
    mp_line_add(line, "\n");
}

static void add_totals(struct line *line, const mproc_stats *all)
{
    mproc_worker_stats row = {.items = all->items,
                              .failed = all->failed,
                              .deaths = all->deaths,
                              .busy_ms = all->busy_ms,
                              .idle_ms = all->idle_ms,
                              .peak_memory = all->peak_memory};

    add_row(line, "all", &row);
    mp_line_add(line, "%" PRId64 ".%03d s, %" PRIu64 " restarts, in ", all->elapsed_ms / 1000,
                (int)(all->elapsed_ms % 1000), all->restarts);
    add_size(line, all->bytes_in);
    mp_line_add(line, ", out ");
    add_size(line, all->bytes_out);
    mp_line_add(line, "\n");
}

static void add_slowest(struct line *line, const mproc_pool *pool)
{
    enum { SHOWN = 5 };
    struct ranking ranking;

    rank_all(pool, &ranking);
    for (size_t i = 0; i < ranking.count && i < SHOWN; i++) {
        const mproc_slow_item *item = &ranking.items[i];

        mp_line_add(line, "%s item %" PRIu64, i ? "       " : "slowest", item->index);
        if (item->count > 1)
            mp_line_add(line, " and %" PRIu64 " after it", item->count - 1);
        mp_line_add(line, ": %" PRId64 ".%03d s, worker %" PRId32 "\n", item->ran_ms / 1000,
                    (int)(item->ran_ms % 1000), item->worker);
    }
}

int mproc_pool_report(mproc_pool *pool, char *text, size_t size)
{
    struct line line = {text, size, 0};
    int64_t now = mp_now();
    mproc_stats all;
    int r = mp_pool_check(pool);

    if (r)
        return r;
    if (size && !text)
        return -EINVAL;
    mp_line_add(&line, "%-8s%10s%8s%8s%15s%6s %7s\n", "worker", "items", "failed", "deaths", "busy",
                "", "memory");
    for (uint32_t i = 0; i < pool->region.workers; i++) {
        mproc_worker_stats stats = worker_stats(pool, i, now);
        char name[16];

        snprintf(name, sizeof name, "%" PRIu32, i);
        add_row(&line, name, &stats);
    }
    all = pool_stats(pool, now);
    add_totals(&line, &all);
    add_slowest(&line, pool);
    return (int)line.length; /* far below INT_MAX: 4096 lines at most */
}
