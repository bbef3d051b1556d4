/* SPDX-License-Identifier: MIT */
/*
 * A pool without processes, for debuggers: the crew is the calling thread.  Runs in the host.
 *
 * The pipes, the tickets and the words are those of any pool, and the host's side of it does not know
 * the difference; but the host keeps the workers' ends, too, and whoever lets go of the pool's lock
 * first serves the tickets that were posted under it, as worker 0, with the worker's own code.  One
 * thread serves at a time; what another posts meanwhile is served by that one.  Nobody watches over
 * it: a crash is the program's own, no limit is enforced, and what runs is not stopped.
 */
#include "pool.h"

#include <string.h>
#include <unistd.h>

#include "diary.h"
#include "worker.h"

/* The pools whose tasks this thread runs, one within the other: for these tasks the handle is foreign,
 * as it is in a worker. */
struct service {
    const mproc_pool *pool;
    const struct service *outer;
};

static _Thread_local const struct service *serves;

bool mp_inline_serves(const mproc_pool *pool)
{
    const struct service *service = serves;

    while (service && service->pool != pool)
        service = service->outer;
    return service;
}

/* ---- begin and end --------------------------------------------------------------------------- */

/* As child.c does it, and the supervisor when it gives up. */
static void call_init(mproc_pool *pool)
{
    const mproc_pool_options *options = &pool->options;
    struct pool_shm *shared = mp_region_pool(&pool->region);
    int32_t r = options->init ? options->init(0, options->arg) : 0;

    pool->crew.items_left = options->tasks_per_worker;
    pool->crew.is_up = r == 0;
    if (r == 0)
        return;
    memcpy(shared->init_text, mp_worker_fail_text(), WORKER_TEXT_MAX);
    /* Relaxed, both: read by this process alone. */
    atomic_store_explicit(&shared->broken_value, (r & 0xff) ? r & 0xff : EXIT_CANNOT_START,
                          memory_order_relaxed);
    atomic_store_explicit(&shared->broken_reason, BROKEN_INIT, memory_order_relaxed);
    mp_generation_end_bells(&pool->generation);
}

static void call_exit(mproc_pool *pool)
{
    if (pool->crew.is_up && pool->options.exit)
        pool->options.exit(0, pool->options.arg);
    pool->crew.is_up = false;
}

void mp_inline_begin(mproc_pool *pool)
{
    const struct service service = {pool, serves};

    if (!pool->options.in_process)
        return;
    atomic_store_explicit(&mp_region_worker(&pool->region, 0)->pid, (int32_t)getpid(),
                          memory_order_relaxed);
    mp_diary_generation(getpid(), getpid());
    mp_diary_started(getpid(), 0, getpid());
    serves = &service;
    call_init(pool);
    serves = service.outer;
}

/* ---- serve ----------------------------------------------------------------------------------- */

/* One ticket.  It is put where a worker finds what its predecessor left, and there are no others. */
static void serve(mproc_pool *pool, uint32_t ticket)
{
    struct worker worker = {.region = &pool->region,
                            .wake = -1,
                            .one_ticket = true,
                            .pool = getpid(),
                            .bell = pool->crew.bell,
                            .loop = pool->crew.loop,
                            .items_left = pool->crew.items_left};
    struct worker_shm *record = mp_region_worker(&pool->region, 0);

    /* Relaxed, both: this thread reads it. */
    atomic_store_explicit(&record->ticket, ticket, memory_order_relaxed);
    while (mp_worker_run(&worker) == WORKER_RETIRED) { /* its replacement goes on with the ticket */
        call_exit(pool);
        call_init(pool);
        if (!pool->crew.is_up)
            return;
        worker.items_left = pool->crew.items_left;
    }
    pool->crew.items_left = worker.items_left;
}

enum errand { NOTHING, TICKET, LEAVE };

/* What is to be done now, with the lock held. */
static enum errand next_errand(mproc_pool *pool, uint32_t *ticket)
{
    struct generation *generation = &pool->generation;
    const struct guard *guard = &generation->guard;

    if (pool->starting || !generation->alive || !pool->crew.is_up)
        return NOTHING;
    if (atomic_exchange_explicit(&mp_region_pool(&pool->region)->loop_asks, 0,
                                 memory_order_relaxed))
        mp_ring(mp_guard_fd(guard, LOOP_WRITE));
    if (generation->grace != MP_FOREVER)
        return LEAVE;
    pool->crew.bell = mp_guard_fd(guard, BELL_WRITE);
    pool->crew.loop = mp_guard_fd(guard, LOOP_WRITE);
    if (mp_queue_pop(&pool->region, ticket))
        return TICKET;
    return generation->shut ? LEAVE : NOTHING;
}

bool mp_inline_work(mproc_pool *pool)
{
    const struct service service = {pool, serves};
    bool worked = false;
    enum errand errand;
    uint32_t ticket;

    if (!pool->options.in_process || pool->crew.serving)
        return false;
    pool->crew.serving = true;
    while ((errand = next_errand(pool, &ticket)) != NOTHING) {
        worked = true;
        serves = &service;
        pthread_mutex_unlock(&pool->lock);
        if (errand == TICKET)
            serve(pool, ticket);
        else
            call_exit(pool);
        pthread_mutex_lock(&pool->lock);
        serves = service.outer;
        if (errand == LEAVE)
            mp_generation_end_bells(&pool->generation);
    }
    pool->crew.serving = false;
    return worked;
}
