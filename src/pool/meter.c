/* SPDX-License-Identifier: MIT */
/*
 * What a worker notes of its own doings, for people to read: nothing else depends on it.  Runs in the
 * worker, once for each chunk, so it is cheap: one look at a clock that costs no system call, and
 * plain stores into the worker's own record.  The clock goes in steps of some milliseconds; where
 * chunks are shorter than that, one in so many is charged with a whole step, and the sum is right.
 * The record of a dead worker is the supervisor's, or the host's when there is none any more.
 */
#include "worker.h"

#include "diary.h"

/* Relaxed, all in this file: numbers that nothing is ordered by, each with one writer. */
#define GET(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define SET(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static struct worker_shm *record_of(const struct worker *worker)
{
    return mp_region_worker(worker->region, worker->number);
}

/* Without an overflow, whatever somebody scribbled there. */
static int64_t sum(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

int64_t mp_meter_ran(const struct worker *worker)
{
    return mp_now_coarse() - worker->began;
}

/* ---- the slowest items ----------------------------------------------------------------------- */

static struct slow_shm *fastest_of(struct worker_shm *record)
{
    struct slow_shm *fastest = &record->slow[0];

    for (int i = 1; i < SLOW_ITEMS; i++)
        if (GET(record->slow[i].ran_ns) < GET(fastest->ran_ns))
            fastest = &record->slow[i];
    return fastest;
}

/* In place of the fastest of those that are noted. */
static void note_slow(struct worker *worker, uint64_t first, uint64_t count, int64_t ran_ns)
{
    struct slow_shm *fastest = fastest_of(record_of(worker));

    if (GET(fastest->ran_ns) < ran_ns) {
        SET(fastest->index, first);
        SET(fastest->count, count);
        SET(fastest->ran_ns, ran_ns);
    }
    worker->slow_ns = GET(fastest_of(record_of(worker))->ran_ns);
}

/* ---- the worker ------------------------------------------------------------------------------ */

void mp_meter_ticket(struct worker *worker)
{
    worker->began = mp_now_coarse();
}

void mp_meter_claim(struct worker *worker)
{
    /* The coarse clock is as good for who counts; a timeline shows the difference. */
    worker->traced = mp_diary_traces() ? mp_now() : worker->began;
    SET(record_of(worker)->began, worker->traced);
}

void mp_meter_end(struct worker *worker, uint64_t first, uint64_t count, bool failed)
{
    struct worker_shm *self = record_of(worker);
    int64_t now = mp_now_coarse();
    int64_t ran = now - worker->began;

    if (mp_diary_traces())
        mp_diary_chunk(worker->pool, worker->number, first, count, worker->traced, failed);
    SET(self->items, GET(self->items) + count);
    if (failed)
        SET(self->failed, GET(self->failed) + 1);
    if (ran > 0) {
        SET(self->busy_ns, sum(GET(self->busy_ns), ran));
        if (ran > worker->slow_ns)
            note_slow(worker, first, count, ran);
    }
    worker->began = now; /* the next chunk's time counts from here */
}

void mp_meter_rest(struct worker *worker)
{
    SET(record_of(worker)->began, 0);
}

/* ---- supervisor, host ------------------------------------------------------------------------ */

void mp_meter_bury(struct worker_shm *record, uint64_t peak)
{
    int64_t began = GET(record->began);
    int64_t now = mp_now_coarse();

    if (began > 0 && began < now)
        SET(record->busy_ns, sum(GET(record->busy_ns), now - began));
    SET(record->began, 0);
    SET(record->deaths, GET(record->deaths) + 1);
    SET(record->pid, 0);
    if (peak)
        SET(record->peak, peak);
}
