/* SPDX-License-Identifier: MIT */
/*
 * The last part of a task's path: the host looks at what the workers left in shared memory, and sees
 * that a job has ended.  Runs in the host, under the pool's lock.
 *
 * What is read from shared memory is copied once, checked against the host's own tables, and then
 * used.
 */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "../point.h"
#include "diary.h"
#include "worker.h"

static struct pool_shm *shared_of(const mproc_pool *pool)
{
    return mp_region_pool(&pool->region);
}

/* ---- one job --------------------------------------------------------------------------------- */

static void job_end(struct job *job)
{
    mproc_pool *pool = job->pool;

    CRASH_POINT("job seen ended");
    job->ended = true;
    pool->ended++;
    pool->news++;
    list_remove(&job->in_open);
    list_remove(&job->in_backlog);
    if (job->limited && --pool->limited == 0)
        atomic_store_explicit(&shared_of(pool)->least_limit_ns, 0, memory_order_relaxed);
    if (job->on_end)
        job->on_end(job);
    else
        pool->bytes_out += job->count * job->out_size; /* of a map; the checks say that it fits */
    mp_pool_shut_if_done(pool);
}

/* End what must not begin, and what must not go on.  Done at each look at a closing job: a retry
 * makes a chunk wait again. */
static void close_pass(struct job *job)
{
    bool stopped = false;

    for (uint64_t i = job->ended_below; i < job->chunks; i++) {
        CRASH_POINT("about to cancel");
        mp_word_cancel(&job->words[i], job->id);
        if (job->stopping)
            /* Acquire: pairs with the release of the claim, and hands it on to the supervisor,
             * which is to find the ticket in the record of the worker. */
            stopped |= mp_word_stop(&job->words[i],
                                    atomic_load_explicit(&job->words[i], memory_order_acquire));
    }
    CRASH_POINT("closed, not poked");
    if (stopped)
        mp_generation_poke(&job->pool->generation);
}

enum {
    WAITING = 1 << CHUNK_WAITING,
    FAILURE = 1 << CHUNK_FAILED | 1 << CHUNK_CRASHED | 1 << CHUNK_TIMED_OUT
};

/* Go past the chunks that have ended, and note whether one has failed.  False: impossible. */
static bool pass_ended(struct job *job)
{
    for (; job->ended_below < job->chunks; job->ended_below++) {
        struct chunk_view view;

        if (mp_word_is_plainly_done(&job->words[job->ended_below], job->id))
            continue;
        view = mp_chunk_view(job, job->ended_below);
        if (!mp_chunk_is_plausible(job, view))
            return false;
        if (!mp_chunk_is_terminal(view.state))
            return true;
        job->failed |= (FAILURE >> view.state & 1) != 0;
    }
    return true;
}

/* Has any chunk from `first` on such a state (1), or none (0)?  -1: impossible.  The others may be so,
 * too: they are looked at when they have ended. */
static int any_chunk(const struct job *job, uint64_t first, uint32_t states)
{
    for (uint64_t i = first; i < job->chunks; i++) {
        /* Acquire, as in mp_chunk_view(); nothing is decided by the order of two of them. */
        struct chunk_view view =
            mp_word_view(atomic_load_explicit(&job->words[i], memory_order_acquire));

        if (view.state < CHUNK_STATE_COUNT && (states >> view.state & 1))
            return mp_chunk_is_plausible(job, view) ? 1 : -1;
    }
    return 0;
}

/* Look at a job's chunk words.  Ends it if all are terminal. */
static void look_at_job(struct job *job)
{
    if (job->closing)
        close_pass(job);
    if (!pass_ended(job))
        goto impossible;
    if (job->stop_at_failure && !job->closing) {
        int failed = job->failed ? 1 : any_chunk(job, job->ended_below, FAILURE);

        if (failed < 0)
            goto impossible;
        if (failed) {
            job->closing = true;
            job->pool->news++;
            close_pass(job);
            if (!pass_ended(job))
                goto impossible;
        }
    }
    if (job->ended_below == job->chunks)
        job_end(job);
    return;

impossible:
    mp_pool_poison(job->pool, "a chunk word has an impossible value");
}

void mp_job_close(struct job *job, bool stop)
{
    job->closing = true;
    job->stopping |= stop && !job->pool->options.in_process; /* who runs it cannot be stopped */
    look_at_job(job);
    if (job->ended) {
        mp_wake_waiters(job->pool);
        mp_loop_ring(job->pool); /* no worker does */
    }
}

/* ---- all jobs -------------------------------------------------------------------------------- */

/* The slots whose ready bit is set. */
static void look_at_ready(mproc_pool *pool)
{
    _Atomic uint64_t *ready = mp_region_ready(&pool->region);

    for (uint32_t base = 0; base < pool->slots_used; base += 64) {
        uint64_t bits;

        /* Sequentially consistent, both: after host_waits, see announce() in worker.c. */
        if (!atomic_load_explicit(&ready[base / 64], memory_order_seq_cst))
            continue;
        bits = atomic_exchange_explicit(&ready[base / 64], 0, memory_order_seq_cst);
        CRASH_POINT("ready bits taken");
        for (uint32_t i = 0; i < 64 && base + i < pool->slots_used; i++) {
            struct job *job = pool->slots[base + i].job;

            if (!(bits >> i & 1) || !job || list_is_empty(&job->in_open))
                continue;
            mp_prefetch(job->outcomes); /* beside the word: a worker has just written there */
            look_at_job(job);
        }
    }
}

/* After a death: every open job.  Where tickets may be lost, as many more for each that still has
 * chunks to be begun; a ticket too many does nothing. */
static void look_at_all(mproc_pool *pool, uint64_t lost)
{
    struct list *link = pool->open.next;

    while (link != &pool->open) {
        struct job *job = LIST_ENTRY(link, struct job, in_open);

        link = link->next;
        if (lost > 0 && !job->closing && job->tickets_due == 0 &&
            any_chunk(job, job->ended_below, WAITING) == 1)
            mp_job_post_tickets(job, lost);
        look_at_job(job); /* last: if that ends it, its memory may be gone */
    }
}

/* Look at whatever there may be to see.  True: some job has ended, or is closed for a failure. */
bool mp_look(mproc_pool *pool)
{
    uint64_t news_before = pool->news;
    uint64_t deaths, lost;

    look_at_ready(pool);
    /* Sequentially consistent: after host_waits, see announce_death() in supervisor.c. */
    deaths = atomic_load_explicit(&shared_of(pool)->deaths, memory_order_seq_cst);
    lost = atomic_load_explicit(&shared_of(pool)->lost, memory_order_seq_cst);
    if (deaths != pool->deaths_seen || lost != pool->lost_seen) {
        uint64_t more = lost - pool->lost_seen; /* whatever somebody scribbled: a number */

        pool->deaths_seen = deaths;
        pool->lost_seen = lost;
        CRASH_POINT("death heard");
        look_at_all(pool, more);
    }
    return pool->news != news_before;
}

/* ---- the end of a generation ----------------------------------------------------------------- */

/* Why the workers are gone, in words, unless that is known already. */
static void explain(mproc_pool *pool, int status)
{
    uint32_t reason = atomic_load_explicit(&shared_of(pool)->broken_reason, memory_order_relaxed);
    int32_t value = atomic_load_explicit(&shared_of(pool)->broken_value, memory_order_relaxed);
    const char *what = reason == BROKEN_INIT ? "the init function failed in every worker"
                                             : "every worker died as it started";
    size_t room = sizeof pool->why_broken;
    char text[WORKER_TEXT_MAX];

    if (pool->why_broken[0])
        return;
    memcpy(text, shared_of(pool)->init_text, sizeof text);
    text[sizeof text - 1] = '\0';
    if (reason == BROKEN_FORK)
        snprintf(pool->why_broken, room, "no worker could be started: %s", mproc_strerror(value));
    else if ((reason == BROKEN_INIT || reason == BROKEN_START) && value < 0)
        snprintf(pool->why_broken, room, "%s: killed by signal %d", what, (int)-(int64_t)value);
    else if (reason == BROKEN_INIT || reason == BROKEN_START)
        snprintf(pool->why_broken, room, "%s: exit status %d%s%.120s", what, (int)value,
                 text[0] ? ": " : "", text);
    else if (status != -1 && WIFSIGNALED(status))
        snprintf(pool->why_broken, room, "the supervisor was killed by signal %d",
                 WTERMSIG(status));
    else
        snprintf(pool->why_broken, room, "the supervisor is gone");
}

/* Whatever else is seen of it, that is the cause. */
static void note_torn(mproc_pool *pool)
{
    if (!pool->why_broken[0] && mp_generation_is_torn(&pool->generation))
        snprintf(pool->why_broken, sizeof pool->why_broken,
                 "the program closed a descriptor of the pool");
}

/* Of the workers whose end no supervisor noted, because it was to kill them all or died itself. */
static void bury_records(const mproc_pool *pool)
{
    for (uint32_t i = 0; i < pool->region.workers && !pool->options.in_process; i++) {
        struct worker_shm *record = mp_region_worker(&pool->region, i);

        /* Relaxed: for people to read, and nobody else writes it any more. */
        if (atomic_load_explicit(&record->pid, memory_order_relaxed))
            mp_meter_bury(record, 0);
    }
}

/* No process of the generation is left, or none that could be helped: end every open job. */
void mp_generation_died(mproc_pool *pool)
{
    struct list *link = pool->open.next;

    CRASH_POINT("bell has ended");
    note_torn(pool);
    explain(pool, mp_generation_finish(&pool->generation));
    bury_records(pool);
    if (!pool->closed && !pool->restarting)
        mp_diary_broken(pool->why_broken);
    while (link != &pool->open) {
        struct job *job = LIST_ENTRY(link, struct job, in_open);

        link = link->next; /* its end takes the job out of the list */
        job->unfinished = pool->terminated ? -ECANCELED : MPROC_EBROKEN;
        job->distrusted = pool->poisoned;
        job_end(job);
    }
}

void mp_pool_poison(mproc_pool *pool, const char *what)
{
    note_torn(pool);
    if (!pool->why_broken[0])
        snprintf(pool->why_broken, sizeof pool->why_broken, "%s", what);
    pool->poisoned = true;
    mp_generation_kill(&pool->generation, SHORT_GRACE_MS);
}
