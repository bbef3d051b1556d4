/* SPDX-License-Identifier: MIT */
/*
 * The last part of a task's path: the host waits for the bell, looks at what the workers left in
 * shared memory, and sees that a job has ended.  Runs in the host, under the pool's lock but for
 * the sleep and for looking out before it.
 *
 * Of the threads that wait, one looks out for news for a while, sleeps on the bell then (the
 * sleeper), and looks for all; the others wait on a condition each.  When the sleeper has what it
 * waited for, it wakes another to take its place.
 *
 * What is read from shared memory is copied once, checked against the host's own tables, and then
 * used.
 */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "../point.h"
#include "diary.h"
#include "worker.h"

enum {
    LINGER_SLOTS = 4096, /* beyond, to see whether there is news takes too long */
    SLICE_US = 100,
    NS_PER_US = 1000
};

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

/* After a death: every open job.  If a ticket may be lost, one more for each that still has chunks
 * to be begun; a ticket too many does nothing. */
static void look_at_all(mproc_pool *pool, bool ticket_lost)
{
    struct list *link = pool->open.next;

    while (link != &pool->open) {
        struct job *job = LIST_ENTRY(link, struct job, in_open);

        link = link->next;
        if (ticket_lost && !job->closing && job->tickets_due == 0 &&
            any_chunk(job, job->ended_below, WAITING) == 1)
            mp_job_post_tickets(job, 1);
        look_at_job(job); /* last: if that ends it, its memory may be gone */
    }
}

/* Has a worker died since the last look? */
static bool has_news_of_death(const mproc_pool *pool)
{
    /* Relaxed: a guess; look() reads them again. */
    return atomic_load_explicit(&shared_of(pool)->deaths, memory_order_relaxed) !=
           pool->deaths_seen;
}

/* Look at whatever there may be to see.  True: some job has ended. */
static bool look(mproc_pool *pool)
{
    uint64_t ended_before = pool->ended;
    uint64_t deaths, lost;

    look_at_ready(pool);
    /* Sequentially consistent: after host_waits, see worker_gone() in supervisor.c. */
    deaths = atomic_load_explicit(&shared_of(pool)->deaths, memory_order_seq_cst);
    lost = atomic_load_explicit(&shared_of(pool)->lost, memory_order_seq_cst);
    if (deaths != pool->deaths_seen || lost != pool->lost_seen) {
        bool ticket_lost = lost != pool->lost_seen;

        pool->deaths_seen = deaths;
        pool->lost_seen = lost;
        CRASH_POINT("death heard");
        look_at_all(pool, ticket_lost);
    }
    return pool->ended != ended_before;
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
static void generation_died(mproc_pool *pool)
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

/* ---- waiting --------------------------------------------------------------------------------- */

void mp_wake_waiters(mproc_pool *pool)
{
    for (struct list *link = pool->waiters.next; link != &pool->waiters; link = link->next) {
        struct waiter *waiter = LIST_ENTRY(link, struct waiter, link);

        if (!waiter->done(waiter->arg))
            continue;
        if (waiter == pool->sleeper)
            mp_generation_nudge(&pool->generation);
        else
            pthread_cond_broadcast(waiter->wake);
    }
}

bool mp_pool_look(mproc_pool *pool, bool only_deaths)
{
    if (!pool->generation.alive || (only_deaths && !has_news_of_death(pool)) || !look(pool))
        return false;
    mp_wake_waiters(pool);
    return true;
}

void mp_hand_over(mproc_pool *pool)
{
    if (!pool->sleeper && !list_is_empty(&pool->waiters))
        pthread_cond_broadcast(LIST_ENTRY(pool->waiters.next, struct waiter, link)->wake);
}

/* Sleep on the bell, without the lock, until it rings or the deadline has passed. */
static int sleep_on_bell(mproc_pool *pool, int64_t deadline)
{
    struct generation *generation = &pool->generation;
    bool told_to_end = generation->grace != MP_FOREVER;
    bool grace_first = generation->grace < deadline;
    int64_t until = grace_first ? generation->grace : deadline;
    enum awakening awakening;

    mp_pool_unlock(pool);
    awakening = mp_generation_sleep(generation, until, !told_to_end);
    mp_pool_lock(pool);
    if (awakening == AWAKE_LATE && !grace_first)
        return -ETIMEDOUT;
    switch (awakening) {
    case AWAKE_LATE:
    case AWAKE_RUNG: /* a bell that never falls silent does not make the grace longer */
        if (mp_now() >= generation->grace && mp_generation_grace_over(generation))
            generation_died(pool);
        return 0;
    case AWAKE_UNSUPERVISED:
        mp_generation_kill(generation, GRACE_MS);
        return 0;
    case AWAKE_FAILED:
        mp_pool_poison(pool, "the bell pipe cannot be read");
        break;
    case AWAKE_BELL_ENDED:
        break;
    }
    generation_died(pool);
    return 0;
}

/* What there is to look for, for who does not hold the lock. */
struct outlook {
    _Atomic uint64_t *ready;
    uint32_t slots;
    _Atomic uint64_t *deaths;
    uint64_t deaths_seen;
};

/* Has a worker left anything to see? */
static bool has_news(const void *arg)
{
    const struct outlook *outlook = arg;

    /* Relaxed, both: a guess; look() reads them again. */
    for (uint32_t base = 0; base < outlook->slots; base += 64)
        if (atomic_load_explicit(&outlook->ready[base / 64], memory_order_relaxed))
            return true;
    return atomic_load_explicit(outlook->deaths, memory_order_relaxed) != outlook->deaths_seen;
}

/* As has_news(), for who holds the lock: now, or else in a while, looking for it without the lock. */
static bool has_news_soon(mproc_pool *pool, struct patience *patience, int64_t deadline)
{
    const struct outlook outlook = {mp_region_ready(&pool->region), pool->slots_used,
                                    &shared_of(pool)->deaths, pool->deaths_seen};
    bool news = has_news(&outlook);

    if (news || pool->slots_used > LINGER_SLOTS)
        return news;
    pthread_mutex_unlock(&pool->lock);
    news = mp_linger(patience, has_news, &outlook, deadline);
    pthread_mutex_lock(&pool->lock);
    return news;
}

/* Look out for news before it comes to sleeping.  True: it need not: some job has ended, or all is
 * there that is waited for. */
static bool linger(mproc_pool *pool, const struct waiter *self, int64_t deadline)
{
    struct patience slice = pool->patience, *patience = &pool->patience;
    int64_t until = 0;

    if (deadline != MP_FOREVER && mp_now() >= deadline)
        return false;
    /* A long one in slices: other threads may see what this one waits for, or post more than it looks
     * at.  Not where the generation is to end: whatever is written there, the grace is to be over in
     * time. */
    if (slice.spin_us > SLICE_US) {
        slice.spin_us = SLICE_US;
        patience = &slice;
    }
    while (pool->generation.grace == MP_FOREVER && !self->done(self->arg)) {
        int64_t now;

        if (has_news_soon(pool, patience, deadline))
            return look(pool);
        if (patience != &slice || pool->slots_used > LINGER_SLOTS)
            break;
        now = mp_now();
        if (until == 0) /* a slice is over already */
            until = now + (int64_t)(pool->patience.spin_us - SLICE_US) * NS_PER_US;
        if (now >= until || now >= deadline)
            break;
    }
    /* Another thread may have seen it, and not everything that is waited for is the end of a job. */
    return self->done(self->arg);
}

static int sleep_till_rung(mproc_pool *pool, int64_t deadline)
{
    _Atomic uint32_t *host_waits = &shared_of(pool)->host_waits;
    int r = 0;

    /* Sequentially consistent, before the look: pairs with announce() in worker.c and worker_gone()
     * in supervisor.c, which first leave what there is to see and then read this or ring. */
    atomic_store_explicit(host_waits, HOST_WAITS, memory_order_seq_cst);
    CRASH_POINT("host waits, has not looked");
    if (!mp_queue_is_plausible(&pool->region, &pool->queue))
        mp_pool_poison(pool, "the ticket queue has an impossible value");
    mp_backlog_flush(pool);
    mp_wake_stranded(pool);
    if (!look(pool))
        r = sleep_on_bell(pool, deadline);
    CRASH_POINT("host awake, has not looked");
    /* Relaxed: a byte too many in the bell does no harm. */
    atomic_store_explicit(host_waits, HOST_AWAKE, memory_order_relaxed);
    return r;
}

/* Say that the host waits, look a last time, sleep, look again. */
static int wait_for_bell(mproc_pool *pool, struct waiter *self, int64_t deadline)
{
    int r = 0;

    if (!pool->generation.alive)
        return MPROC_EBROKEN; /* cannot be: with the generation every job ended */
    pool->sleeper = self;
    if (!linger(pool, self, deadline))
        r = sleep_till_rung(pool, deadline);
    pool->sleeper = NULL;
    if (pool->generation.alive) {
        look(pool);
        mp_backlog_flush(pool);
    }
    mp_wake_waiters(pool);
    if (r == 0 && deadline != MP_FOREVER && mp_now() >= deadline)
        return -ETIMEDOUT; /* also where a bell that never falls silent would keep it here */
    return r;
}

/* Wait until the sleeper says that something has changed for this waiter, or has left. */
static int wait_for_sleeper(mproc_pool *pool, struct waiter *self, int64_t deadline)
{
    struct timespec until = {.tv_sec = (time_t)(deadline / 1000000000),
                             .tv_nsec = (long)(deadline % 1000000000)};

    if (deadline == MP_FOREVER)
        return -pthread_cond_wait(self->wake, &pool->lock);
    return -pthread_cond_timedwait(self->wake, &pool->lock, &until);
}

int mp_wait(mproc_pool *pool, bool (*done)(const void *arg), const void *arg, int64_t deadline)
{
    struct waiter self = {.done = done, .arg = arg};
    pthread_cond_t own;
    int r = 0, cancel_state;

    if (done(arg))
        return 0;
    self.wake = pthread_cond_init(&own, &pool->monotonic) ? &pool->spare : &own;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* the others count on it */
    list_append(&pool->waiters, &self.link);
    while (r == 0 && !done(arg)) {
        if (mp_inline_work(pool))
            continue; /* it let go of the lock: look again */
        r = pool->sleeper ? wait_for_sleeper(pool, &self, deadline)
                          : wait_for_bell(pool, &self, deadline);
    }
    if (done(arg))
        r = 0;
    list_remove(&self.link);
    mp_hand_over(pool);
    if (self.wake == &own)
        pthread_cond_destroy(&own);
    pthread_setcancelstate(cancel_state, NULL);
    return r;
}

static bool job_has_ended(const void *job)
{
    return ((const struct job *)job)->ended;
}

void mp_job_wait_stopped(struct job *job, int64_t deadline)
{
    if (job->pool->options.in_process)
        deadline = MP_FOREVER;
    if (mp_wait(job->pool, job_has_ended, job, deadline) == 0)
        return;
    mp_pool_poison(job->pool, "a task could not be stopped");
    mp_wait(job->pool, job_has_ended, job, MP_FOREVER); /* the grace of the kill bounds it */
}

int mp_job_wait(struct job *job, int64_t deadline)
{
    int r = mp_wait(job->pool, job_has_ended, job, deadline);

    if (r != -ETIMEDOUT)
        return r;
    mp_job_close(job, true);
    mp_job_wait_stopped(job, mp_deadline(STOP_MS));
    return r;
}
