/* SPDX-License-Identifier: MIT */
/*
 * The life of a pool: create, close, join, terminate, restart, destroy, and the memory it shares
 * with its workers.  Runs in the host.  In any other process a handle is foreign, and nothing of it
 * is touched but the number that says so.
 */
#include "pool.h"

#include <mproc/process.h>

#include <errno.h>
#include <stdlib.h>

#include "../options.h"
#include "../point.h"

enum { SPIN_US_MAX = 1000000 };
enum { WORKERS_MAX = 4096, RETRIES_MAX = 254, NS_PER_MS = 1000000 };
_Static_assert((int)WORKERS_MAX <= (int)WORD_WORKER_MAX, "a worker's number fits a word");
_Static_assert((int)RETRIES_MAX < (int)WORD_ATTEMPTS_MAX, "so do the attempts");
/* Or a ticket that is posted again after a death might find no room, and wake nobody.  (A build for
 * tests has few slots, and pools of few workers.) */
_Static_assert(MP_SLOTS < 65536 || MP_QUEUE_SIZE >= (int)WORKERS_MAX, "a ticket for each worker");

/* ---- helpers --------------------------------------------------------------------------------- */

int mp_pool_check(const mproc_pool *pool)
{
    if (!pool)
        return -EINVAL;
    return pool->epoch == mp_epoch() && !mp_inline_serves(pool) ? 0 : MPROC_EFOREIGN;
}

void mp_pool_lock(mproc_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
}

void mp_pool_unlock(mproc_pool *pool)
{
    mp_inline_work(pool);
    pthread_mutex_unlock(&pool->lock);
}

int mp_pool_accepts(const mproc_pool *pool, bool goes_on)
{
    if (pool->terminated || (pool->closed && !goes_on))
        return MPROC_ECLOSED;
    if (pool->restarting)
        return -EBUSY;
    return pool->generation.alive && !pool->poisoned ? 0 : MPROC_EBROKEN;
}

void mp_pool_shut_if_done(mproc_pool *pool)
{
    if (pool->closed && !pool->restarting && pool->maps == 0 && list_is_empty(&pool->open))
        mp_generation_shut(&pool->generation);
}

int mp_resolve_limits(const mproc_pool *pool, int64_t time_limit_ms, int32_t retries,
                      struct job_spec *spec)
{
    if (time_limit_ms < -1 || retries < -1 || retries > RETRIES_MAX)
        return -EINVAL;
    if (time_limit_ms == 0 && pool)
        time_limit_ms = pool->options.time_limit_ms;
    if (retries == 0 && pool)
        retries = pool->options.retries;
    spec->retries = retries > 0 ? (uint32_t)retries : 0;
    spec->limit_ns = 0;
    if (time_limit_ms > 0) /* a limit beyond 100 years is none */
        spec->limit_ns = time_limit_ms < INT64_MAX / NS_PER_MS / 2 ? time_limit_ms * NS_PER_MS : 0;
    return 0;
}

/* ---- create ---------------------------------------------------------------------------------- */

static int check_options(const mproc_pool_options *options)
{
    struct job_spec ignored;

    if (options->time_limit_ms < 0 || options->retries < 0 || options->arena_size > SIZE_MAX / 4 ||
        options->spin_us < -1 || options->spin_us > SPIN_US_MAX || options->reserved)
        return -EINVAL;
    return mp_resolve_limits(NULL, options->time_limit_ms, options->retries, &ignored);
}

/* The memory that is shared, and the allocators over it. */
static int open_memory(mproc_pool *pool, uint32_t workers)
{
    struct region *region = &pool->region;
    int r = mp_guard_lock();

    if (r)
        return r;
    /* It may open a file, which no fork of another thread is to have. */
    pool->cpus = mp_cpu_allowed();
    r = mp_region_open(region, workers, pool->options.arena_size);
    pool->memory_guard = (struct guard){.fds = &region->memory.fd, .count = 1};
    if (!r)
        mp_guard_add(&pool->memory_guard);
    mp_guard_unlock();
    if (r)
        return r;
    r = mp_memory_commit(&region->memory, 0,
                         region->jobs_offset + SLOTS_PER_COMMIT * sizeof(struct job_shm));
    pool->slots_committed = SLOTS_PER_COMMIT;
    if (!r)
        r = mp_arena_init(&pool->words, &region->memory, region->words_offset, region->words_size);
    if (!r)
        r = mp_arena_init(&pool->heap, &region->memory, region->heap_offset, region->heap_size);
    if (!r && pool->options.keep_bytes)
        pool->heap.warm_limit = pool->options.keep_bytes < region->heap_size
                                    ? (size_t)pool->options.keep_bytes
                                    : region->heap_size;
    return r;
}

static void close_memory(mproc_pool *pool)
{
    mp_arena_finish(&pool->words);
    mp_arena_finish(&pool->heap);
    if (mp_guard_lock() == 0) {
        mp_guard_remove(&pool->memory_guard);
        mp_region_close(&pool->region);
        mp_guard_unlock();
    }
}

static int open_tables(mproc_pool *pool)
{
    pool->slots = mp_pages(MP_SLOTS * sizeof pool->slots[0]);
    pool->first_free = MP_SLOTS;
    list_init(&pool->open);
    list_init(&pool->backlog);
    list_init(&pool->waiters);
    return pool->slots ? 0 : -ENOMEM;
}

static int open_locks(mproc_pool *pool)
{
    int r = pthread_condattr_init(&pool->monotonic);

    if (r)
        return -r;
    r = pthread_condattr_setclock(&pool->monotonic, CLOCK_MONOTONIC);
    if (r)
        goto destroy_attributes;
    r = pthread_cond_init(&pool->spare, &pool->monotonic);
    if (r)
        goto destroy_attributes;
    r = pthread_mutex_init(&pool->lock, NULL);
    if (r)
        goto destroy_condition;
    return 0;

destroy_condition:
    pthread_cond_destroy(&pool->spare);
destroy_attributes:
    pthread_condattr_destroy(&pool->monotonic);
    return -r;
}

/* Everything but the processes, of a pool whose locks stand. */
static void pool_free(mproc_pool *pool)
{
    close_memory(pool);
    free(pool->shared);
    mp_pages_free(pool->slots, MP_SLOTS * sizeof pool->slots[0]);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->spare);
    pthread_condattr_destroy(&pool->monotonic);
    free(pool);
}

int mproc_pool_create(mproc_pool **pool, int32_t workers, const mproc_pool_options *options)
{
    mproc_pool *made;
    mproc_pool_options checked;
    int r = mp_options_copy(&checked, sizeof checked, options);

    if (!r)
        r = check_options(&checked);
    if (r)
        return r;
    if (!pool || workers < 0 || workers > WORKERS_MAX)
        return -EINVAL;
    if (workers == 0)
        workers = mproc_cpu_count();
    if (workers > WORKERS_MAX)
        workers = WORKERS_MAX;
    if (checked.in_process)
        workers = 1;
    made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->epoch = mp_epoch();
    made->references = 1;
    made->options = checked;
    made->patience.spin_us = made->options.spin_us;
    made->generation = GENERATION_NONE;
    made->region.memory = MEMORY_NONE;
    made->loop.fd = -1;
    made->born = mp_now();
    made->shows_progress = mp_progress_from_environment();
    r = open_locks(made);
    if (r) {
        free(made);
        return r;
    }
    r = open_tables(made);
    if (!r)
        r = open_memory(made, (uint32_t)workers);
    CRASH_POINT("memory open, no process");
    if (!r) {
        mp_publish_slots(made);
        r = mp_generation_start(&made->generation, &made->region, &made->options);
    }
    if (r) {
        pool_free(made);
        return r;
    }
    mp_inline_begin(made);
    *pool = made;
    return r;
}

int32_t mproc_pool_workers(const mproc_pool *pool)
{
    int r = mp_pool_check(pool);

    return r ? r : (int32_t)pool->region.workers;
}

/* ---- the end --------------------------------------------------------------------------------- */

void mp_pool_unref(mproc_pool *pool)
{
    bool last = --pool->references == 0;

    pthread_mutex_unlock(&pool->lock); /* nothing is left to be served, nor perhaps the pool */
    if (last)
        pool_free(pool);
}

int mproc_pool_close(mproc_pool *pool)
{
    int r = mp_pool_check(pool);

    if (r)
        return r;
    mp_pool_lock(pool);
    pool->closed = true;
    mp_pool_shut_if_done(pool); /* else when the last open job ends */
    mp_pool_unlock(pool);
    return 0;
}

static bool generation_is_gone(const void *pool)
{
    return !((const mproc_pool *)pool)->starting && !((const mproc_pool *)pool)->generation.alive;
}

int mproc_pool_join(mproc_pool *pool, int64_t timeout_ms)
{
    int64_t deadline = mp_deadline(timeout_ms);
    int r = mp_pool_check(pool);

    if (r)
        return r;
    mp_pool_lock(pool);
    r = pool->closed ? mp_wait(pool, generation_is_gone, pool, deadline) : -EINVAL;
    mp_pool_unlock(pool);
    return r;
}

/* With the lock held. */
static void terminate(mproc_pool *pool)
{
    pool->closed = true;
    pool->terminated = true;
    if (!pool->starting) /* else it is seen when that is over */
        mp_generation_kill(&pool->generation, GRACE_MS);
}

int mproc_pool_terminate(mproc_pool *pool)
{
    int r = mp_pool_check(pool);

    if (r)
        return r;
    mp_pool_lock(pool);
    terminate(pool);
    mp_pool_unlock(pool);
    return 0;
}

void mproc_pool_destroy(mproc_pool *pool)
{
    if (mp_pool_check(pool))
        return;
    mp_pool_lock(pool);
    terminate(pool);
    mp_wait(pool, generation_is_gone, pool, MP_FOREVER); /* the grace of a kill bounds it */
    mp_loop_close(pool);
    CRASH_POINT("about to give back");
    mp_pool_unref(pool);
}

/* ---- restart --------------------------------------------------------------------------------- */

/* No job is open: the descriptors are as if there had never been one, so that what somebody scribbled
 * on them does not lead the new supervisor astray. */
static void clear_descriptors(const mproc_pool *pool)
{
    for (uint32_t slot = 0; slot < pool->slots_committed; slot++)
        /* Relaxed: whoever else looks is forked afterwards. */
        atomic_store_explicit(&mp_region_job(&pool->region, slot)->chunks, 0, memory_order_relaxed);
}

/* Start a generation without the lock: the fork hooks may want locks of their own, which another
 * thread may hold while it waits for this one.  Whoever waits meanwhile does so as if this thread
 * slept on the bell. */
static int start_unlocked(mproc_pool *pool)
{
    struct waiter busy = {0};
    int r;

    pool->starting = true;
    pool->sleeper = &busy;
    clear_descriptors(pool);
    mp_publish_slots(pool);
    mp_pool_unlock(pool);
    r = mp_generation_start(&pool->generation, &pool->region, &pool->options);
    if (!r)
        mp_inline_begin(pool);
    mp_pool_lock(pool);
    pool->sleeper = NULL;
    pool->starting = false;
    mp_hand_over(pool);
    return r;
}

/* End the generation and start another.  Lets go of the lock while it waits. */
static int renew(mproc_pool *pool)
{
    int r;

    mp_generation_shut(&pool->generation);
    r = mp_wait(pool, generation_is_gone, pool, MP_FOREVER);
    if (!r && pool->closed)
        r = MPROC_ECLOSED;
    CRASH_POINT("old generation gone");
    if (!r)
        r = start_unlocked(pool);
    if (r)
        return r;
    pool->deaths_seen = 0;
    pool->lost_seen = 0;
    pool->queue = (struct queue_end){0};
    pool->poisoned = false;
    pool->why_broken[0] = '\0';
    mp_loop_renew(pool);
    pool->restarts++;
    if (!pool->closed)
        return 0;
    mp_generation_kill(&pool->generation, GRACE_MS); /* closed or terminated while it started */
    return MPROC_ECLOSED;
}

int mproc_pool_restart(mproc_pool *pool)
{
    int r = mp_pool_check(pool);

    if (r)
        return r;
    mp_pool_lock(pool);
    /* Is it gone, and nobody looked?  That lets go of the lock, so before anything is decided. */
    if (!pool->restarting)
        mp_wait(pool, generation_is_gone, pool, mp_now());
    if (pool->closed)
        r = MPROC_ECLOSED;
    else if (pool->restarting || !list_is_empty(&pool->open) || pool->maps > 0)
        r = -EBUSY;
    if (!r) {
        pool->restarting = true;
        r = renew(pool);
        pool->restarting = false;
    }
    mp_pool_unlock(pool);
    return r;
}
