/* SPDX-License-Identifier: MIT */
/*
 * The host waits.  Runs in the host, under the pool's lock but for the sleep and while it looks out
 * for news before that.
 *
 * Of the threads that wait, one looks out for news for a while, sleeps on the bell then (the
 * sleeper), and looks for all; the others wait on a condition each.  When the sleeper has what it
 * waited for, it wakes another to take its place.
 */
#include "pool.h"

#include <errno.h>
#include <time.h>

#include "../point.h"

enum {
    LINGER_SLOTS = 4096, /* beyond, to see whether there is news takes too long */
    SLICE_US = 100,
    NS_PER_US = 1000
};

static struct pool_shm *shared_of(const mproc_pool *pool)
{
    return mp_region_pool(&pool->region);
}

/* Has a worker died since the last look? */
static bool has_news_of_death(const mproc_pool *pool)
{
    /* Relaxed: a guess; mp_look() reads them again. */
    return atomic_load_explicit(&shared_of(pool)->deaths, memory_order_relaxed) !=
           pool->deaths_seen;
}

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
    if (!pool->generation.alive || (only_deaths && !has_news_of_death(pool)) || !mp_look(pool))
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
            mp_generation_died(pool);
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
    if (pool->crew.serving) { /* without processes: a task still runs, and what it has is its own */
        mp_pool_unlock(pool);
        mp_pause();
        mp_pool_lock(pool);
        return 0;
    }
    mp_generation_died(pool);
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

    /* Relaxed, both: a guess; mp_look() reads them again. */
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
            return mp_look(pool);
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

    /* Sequentially consistent, before the look: pairs with announce() in worker.c and
     * announce_death() in supervisor.c, which first leave what there is to see and then read this or
     * ring. */
    atomic_store_explicit(host_waits, HOST_WAITS, memory_order_seq_cst);
    CRASH_POINT("host waits, has not looked");
    if (!mp_queue_is_plausible(&pool->region, &pool->queue))
        mp_pool_poison(pool, "the ticket queue has an impossible value");
    mp_backlog_flush(pool);
    mp_wake_stranded(pool);
    if (!mp_look(pool))
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
        mp_look(pool);
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
