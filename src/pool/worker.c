/* SPDX-License-Identifier: MIT */
/*
 * The worker: takes tickets from the queue, claims chunks, runs the user's functions, tells the host
 * when the last chunk of a job has ended; where there is no ticket it looks out for one for a while,
 * and sleeps then.  Runs in a worker process, which it never creates or ends.  It may die at any
 * instruction: what it leaves is its record (the ticket), its bits beside the queue and at most one
 * chunk word that says RUNNING, and the supervisor and its replacement go on from there.
 */
#include "worker.h"

#include <errno.h>

#include "../point.h"

/* ---- serve a ticket -------------------------------------------------------------------------- */

static struct pool_shm *pool_of(const struct worker *worker)
{
    return mp_region_pool(worker->region);
}

/* A task may have closed the bell, and opened a file of its own at that number; or it cannot be
 * rung.  The worker then ends, and a death is always told. */
static void ring(struct worker *worker, int bell, const struct mark *mark)
{
    if (!mp_is_marked(bell, mark) || mp_ring(bell))
        worker->unheard = true;
}

/* Ring for the thread that waits. */
static void ring_bell(struct worker *worker)
{
    if (!worker->region->on_words)
        ring(worker, worker->bell, &worker->bell_mark);
    else if (mp_bell_ring(worker->region))
        worker->unheard = true;
}

/* Ring for the thread that waits, and for the loop: for each if it wants as much.  Sequentially
 * consistent: see who calls. */
static void ring_whoever(struct worker *worker, uint32_t wants)
{
    struct pool_shm *pool = pool_of(worker);

    if (atomic_load_explicit(&pool->host_waits, memory_order_seq_cst) >= wants)
        ring_bell(worker);
    CRASH_POINT("rung, not for the loop");
    if (atomic_load_explicit(&pool->loop_waits, memory_order_seq_cst) >= wants)
        ring(worker, worker->loop, &worker->loop_mark);
}

/* Make the host look at this slot. */
static void announce(struct worker *worker, uint32_t slot)
{
    _Atomic uint64_t *ready = mp_region_ready(worker->region);

    /* Sequentially consistent, both: the host says that it waits and then looks at the ready bits;
     * here the bit is set and then the word is read.  One of the two sees the other's. */
    CRASH_POINT("about to announce");
    atomic_fetch_or_explicit(&ready[slot / 64], (uint64_t)1 << slot % 64, memory_order_seq_cst);
    CRASH_POINT("ready, not rung");
    ring_whoever(worker, HOST_WAITS);
    CRASH_POINT("announced");
}

/* After the pass: is every chunk of the job terminal?  If one is not, its holder will see it, or
 * its holder's death will make the host look. */
static void look_back(struct worker *worker, uint32_t id)
{
    struct job_shm *job = mp_region_job(worker->region, mp_job_slot(id));
    uint64_t chunks;
    chunk_word *words = mp_region_words(worker->region, job, &chunks);

    for (uint64_t i = 0; words && i < chunks; i++) {
        /* Sequentially consistent: pairs with the finishing CAS, see mp_word_finish(). */
        struct chunk_view view =
            mp_word_view(atomic_load_explicit(&words[i], memory_order_seq_cst));

        if (view.id != id || !mp_chunk_is_terminal(view.state))
            return;
    }
    announce(worker, mp_job_slot(id));
}

static void note_claim(struct worker *worker, const chunk_word *word, int64_t deadline)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);

    /* The supervisor reads deadline, claim, word, deadline.  Release, both: a deadline that it sees
     * belongs to the claim that it sees, or it sees the deadline change. */
    atomic_store_explicit(&self->claim, (uintptr_t)word - (uintptr_t)worker->region->memory.base,
                          memory_order_release);
    CRASH_POINT("claim noted, not its deadline");
    atomic_store_explicit(&self->deadline, deadline, memory_order_release);
}

/* The time of a chunk just claimed counts from here. */
static void set_limit(struct worker *worker, const chunk_word *word, int64_t limit)
{
    int64_t now = mp_now();

    note_claim(worker, word, limit < MP_FOREVER - now ? now + limit : MP_FOREVER);
}

/* Where a limit is in force, note which word is about to be claimed: before the claim, so that
 * there is no chunk that hangs and is not watched.  Until when is not known yet. */
static void note_limit(struct worker *worker, const chunk_word *word, int64_t limit)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);

    /* Relaxed: before the claim is overwritten, by the release above. */
    atomic_store_explicit(&self->deadline, 0, memory_order_relaxed);
    if (limit > 0)
        note_claim(worker, word, -limit);
}

/* True when the worker has run its number of items. */
static bool count_items(struct worker *worker, uint64_t count)
{
    if (worker->items_left == 0)
        return false;
    if (count < worker->items_left) {
        worker->items_left -= (uint32_t)count;
        return false;
    }
    return true;
}

enum service { SERVED, SERVICE_DOOMED, SERVICE_RETIRED };

/* Claim one chunk if it waits, run it, end it. */
static enum service try_chunk(struct worker *worker, const struct job_shm *job, chunk_word *word,
                              uint32_t id)
{
    struct holding held = {.job = job, .word = word};
    int64_t limit = atomic_load_explicit(&job->limit_ns, memory_order_relaxed);
    enum chunk_state ended;

    if (!mp_word_is_waiting(word, id))
        return SERVED;
    note_limit(worker, word, limit);
    CRASH_POINT("about to claim");
    if (!mp_word_claim(word, id, worker->number, &held.claimed))
        return SERVED;
    CRASH_POINT("claimed");
    /* From here the job stands still.  If the slot was reused since the descriptor was looked at,
     * and the tag has come round, this is a chunk of another job, with a limit of its own. */
    limit = atomic_load_explicit(&job->limit_ns, memory_order_relaxed);
    if (limit > 0)
        set_limit(worker, word, limit);
    mp_meter_claim(worker);
    CRASH_POINT("about to run");
    ended = mp_run_chunk(worker, &held);
    mp_meter_end(worker, held.shown, held.count, ended == CHUNK_FAILED);
    CRASH_POINT("ran, not finished");
    if (!mp_word_finish(word, held.claimed, ended))
        return SERVICE_DOOMED;
    CRASH_POINT("finished");
    if (ended == CHUNK_FAILED)
        announce(worker, mp_job_slot(id)); /* the host may want to cancel the rest */
    if (!count_items(worker, held.count))
        return SERVED;
    look_back(worker, id); /* the replacement would, but the exit function may take its time */
    CRASH_POINT("retiring");
    return SERVICE_RETIRED;
}

/* One pass over the job's chunks, from a place of the worker's own, so that workers seldom meet. */
static enum service serve(struct worker *worker, uint32_t id)
{
    struct job_shm *job;
    chunk_word *words;
    uint64_t chunks, at;

    if (mp_job_slot(id) >= MP_SLOTS)
        return SERVED;
    job = mp_region_job(worker->region, mp_job_slot(id));
    mp_prefetch(&job->out_size); /* all of them at once: the host has just written there */
    mp_prefetch(&job->word);
    words = mp_region_words(worker->region, job, &chunks);
    /* Relaxed: a guess.  A ticket may be older than the job that the slot has now, which may have
     * many chunks; those of one job have one id. */
    if (!words || mp_word_view(atomic_load_explicit(words, memory_order_relaxed)).id != id)
        return SERVED;
    at = chunks / worker->region->workers * worker->number;
    for (uint64_t tried = 0; tried < chunks; tried++) {
        enum service r = try_chunk(worker, job, &words[at], id);

        if (r != SERVED)
            return r;
        at = at + 1 < chunks ? at + 1 : 0;
    }
    CRASH_POINT("about to look back");
    look_back(worker, id);
    note_limit(worker, NULL, 0);
    CRASH_POINT("served");
    return SERVED;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Has this worker outlived its generation?  Its number, its record and its bits are another's then. */
static bool is_outlived(const struct worker *worker)
{
    return (mp_queue_era(worker->region) | 1) != (worker->era | 1);
}

/* Idle: sleep in the pipe.  False, and how the worker ends: it has ended, or is not there. */
static bool sleep_on_pipe(const struct worker *worker, enum worker_end *end)
{
    char byte;
    /* A task may have closed it, and opened a file of its own at that number. */
    ssize_t got =
        mp_is_marked(worker->wake, &worker->wake_mark) ? mp_read(worker->wake, &byte, 1) : -EBADF;

    *end = got == 0 ? WORKER_LEFT : WORKER_CUT_OFF;
    return got > 0;
}

/* Idle: sleep on the word `wakes`.  False, and how the worker ends: the queue is shut, or there is no
 * sleeping any more. */
static bool sleep_on_word(const struct worker *worker, uint32_t wakes, enum worker_end *end)
{
    bool shut = mp_queue_era(worker->region) % 2;

    *end = shut ? WORKER_LEFT : WORKER_CUT_OFF;
    return !shut && mp_queue_sleep(worker->region, wakes) == 0;
}

/* Sleep until there may be a ticket.  False, and how the worker ends: there will be none. */
static bool sleep_till_woken(struct worker *worker, struct worker_shm *self, enum worker_end *end)
{
    uint32_t wakes = mp_queue_wakes(worker->region);
    bool woken;

    if (!mp_queue_go_idle(worker->region, worker->number))
        return true;
    CRASH_POINT("idle, not asleep");
    woken =
        worker->region->on_words ? sleep_on_word(worker, wakes, end) : sleep_on_pipe(worker, end);
    CRASH_POINT("woken, still idle");
    if (is_outlived(worker))
        return true; /* it will see that at once */
    mp_queue_leave_idle(worker->region, worker->number);
    if (!woken && *end == WORKER_LEFT)
        atomic_store_explicit(&self->left, 1, memory_order_release);
    return woken;
}

static bool has_ticket(const void *region)
{
    return !mp_queue_is_empty(region);
}

/* Is there a ticket, now or soon? */
static bool look_out(struct worker *worker)
{
    bool news;

    mp_queue_look_out(worker->region, worker->number);
    CRASH_POINT("looking out");
    news = mp_linger(&worker->patience, has_ticket, worker->region, MP_FOREVER);
    mp_queue_look_away(worker->region, worker->number);
    CRASH_POINT("looked away");
    return news;
}

/* False: nobody was told of it, and the replacement has the ticket. */
static bool note_ticket(struct worker *worker, struct worker_shm *self, uint32_t id,
                        uint64_t *ticket)
{
    CRASH_POINT("ticket popped");
    *ticket = id;
    /* A death before this loses the ticket: the supervisor finds none in the record, and
     * says so. */
    atomic_store_explicit(&self->ticket, id, memory_order_release);
    CRASH_POINT("ticket noted");
    /* Sequentially consistent: the host says that it has a backlog, then tries the queue once more
     * and finds it full; so this ticket was popped after that, and sees it. */
    ring_whoever(worker, HOST_HAS_BACKLOG);
    return !worker->unheard;
}

/* Take a ticket from the queue and note it.  False, and how the worker ends: there is none. */
static bool take_ticket(struct worker *worker, struct worker_shm *self, uint64_t *ticket,
                        enum worker_end *end)
{
    bool slept = false;
    uint32_t id;

    *end = WORKER_CUT_OFF;
    if (worker->unheard || worker->one_ticket)
        return false;
    /* Whoever was woken for nothing sleeps on at once: there may be many bytes too many. */
    while (!is_outlived(worker)) {
        if (mp_queue_pop(worker->region, &id))
            return note_ticket(worker, self, id, ticket);
        if (!slept && look_out(worker))
            continue;
        if (!sleep_till_woken(worker, self, end))
            return false;
        slept = true;
    }
    *end = WORKER_DOOMED;
    return false;
}

enum worker_end mp_worker_run(struct worker *worker)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);
    /* What a predecessor left; relaxed: this process was forked after the predecessor was
     * reaped. */
    uint64_t ticket = atomic_load_explicit(&self->ticket, memory_order_relaxed);
    enum worker_end end;
    bool served = false;

    worker->era = mp_queue_era(worker->region);
    worker->wake_mark = mp_mark(worker->wake);
    mp_queue_leave_idle(worker->region, worker->number); /* a predecessor died asleep */
    worker->bell_mark = mp_mark(worker->bell);
    worker->loop_mark = mp_mark(worker->loop);
    for (;;) {
        if (!ticket && !take_ticket(worker, self, &ticket, &end)) {
            /* As good as not started: the next may be no better off, and should not come at once. */
            if (end == WORKER_CUT_OFF && !served)
                atomic_store_explicit(&self->up, 0, memory_order_release);
            return end;
        }
        served = true;
        mp_meter_ticket(worker);
        switch (serve(worker, (uint32_t)ticket)) {
        case SERVICE_DOOMED:
            return WORKER_DOOMED;
        case SERVICE_RETIRED:
            return WORKER_RETIRED; /* with the ticket noted, for its replacement to look back */
        case SERVED:
            break;
        }
        if (is_outlived(worker))
            return WORKER_DOOMED;
        ticket = 0;
        mp_meter_rest(worker);
        atomic_store_explicit(&self->ticket, 0, memory_order_release);
        CRASH_POINT("ticket given up");
    }
}
