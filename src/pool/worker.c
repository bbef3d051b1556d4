/* SPDX-License-Identifier: MIT */
/*
 * The worker: takes tickets from the queue, claims chunks, runs the user's functions, tells the host
 * when the last chunk of a job has ended; where there is no ticket it looks out for one for a while,
 * and sleeps then.  Runs in a worker process, which it never creates or ends.  It may die at any
 * instruction: what it leaves is its record (the ticket), its bits beside the queue and at most one
 * chunk word that says RUNNING, and the supervisor and its replacement go on from there.
 */
#include "worker.h"

#include <mproc/pool.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "../point.h"

/* A task while its function runs; private to the worker. */
struct mproc_task {
    struct worker *worker;
    const chunk_word *word;
    uint64_t claimed;
    const struct job_shm *job;
    size_t length; /* of the output */
};

/* What a function left with mproc_fail(), and for which item.  Emptied for each chunk and not for each
 * item: what one left and did not fail for says nothing of the next. */
static _Thread_local char fail_text[WORKER_TEXT_MAX];
static _Thread_local uint64_t fail_item;
static _Thread_local const _Atomic uint64_t *item_now; /* NULL: none is run */

const char *mp_worker_fail_text(void)
{
    return fail_text;
}

/* One chunk that this worker holds. */
struct holding {
    const struct job_shm *job;
    chunk_word *word;
    uint64_t claimed;
    uint64_t chunk;
    uint64_t first; /* item */
    uint64_t count; /* items */
    uint64_t shown; /* the index of the first, for people */
};

/* ---- run a chunk ----------------------------------------------------------------------------- */

static void write_failure(struct worker *worker, const struct holding *held, int32_t code,
                          uint64_t item)
{
    struct outcome_shm *outcome = mp_region_outcome(worker->region, held->job, held->chunk);

    if (!outcome)
        return;
    outcome->code = code;
    outcome->signal = 0;
    outcome->pid = (int32_t)getpid();
    outcome->worker = worker->number;
    outcome->item = item;
    outcome->length = 0;
    outcome->ran_ns = mp_meter_ran(worker);
    if (fail_item == item)
        memcpy(outcome->text, fail_text, sizeof outcome->text);
    else
        outcome->text[0] = '\0';
    CRASH_POINT("failure written");
}

static void *address(uint64_t base, uint64_t size, uint64_t index)
{
    return (void *)(uintptr_t)(base + size * index);
}

static enum chunk_state run_map(struct worker *worker, const struct holding *held)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);
    const struct job_shm *job = held->job;
    mproc_map_fn function = (mproc_map_fn)(uintptr_t)job->function;
    void *context = (void *)(uintptr_t)job->context;
    const size_t in_size = job->in ? (size_t)job->in_size : 0, out_size = (size_t)job->out_size;
    const uint64_t end = held->first + held->count;
    /* Numbers, because there may be no results: a null pointer goes nowhere, not even by 0. */
    uintptr_t in = (uintptr_t)address(job->in, job->in_size, held->first);
    uintptr_t out = (uintptr_t)address(job->out, out_size, held->first);
    uint64_t index = job->index + held->first;

    if (!job->in)
        in = (uintptr_t)&index;
    for (uint64_t item = held->first; item < end; item++) {
        int32_t code;

        /* Relaxed: read only when this process is dead. */
        atomic_store_explicit(&self->item, item, memory_order_relaxed);
        code = function((const void *)in, (void *)out, context);
        if (code) {
            write_failure(worker, held, code, item);
            return CHUNK_FAILED;
        }
        in += in_size;
        out += out_size;
        index++;
    }
    return CHUNK_DONE;
}

static enum chunk_state run_batch(struct worker *worker, const struct holding *held)
{
    enum { INDEXES = 512 };
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);
    const struct job_shm *job = held->job;
    mproc_batch_fn function = (mproc_batch_fn)(uintptr_t)job->function;
    uint64_t end = held->first + held->count;
    uint64_t indexes[INDEXES];

    for (uint64_t item = held->first; item < end;) {
        uint64_t count = end - item;
        const void *in = indexes;
        int32_t code;

        if (job->in)
            in = address(job->in, job->in_size, item);
        else if (count > INDEXES)
            count = INDEXES;
        for (uint64_t i = 0; !job->in && i < count; i++)
            indexes[i] = job->index + item + i;
        atomic_store_explicit(&self->item, item, memory_order_relaxed);
        code = function(in, address(job->out, job->out_size, item), count,
                        (void *)(uintptr_t)job->context);
        if (code) {
            write_failure(worker, held, code, item);
            return CHUNK_FAILED;
        }
        item += count;
    }
    return CHUNK_DONE;
}

static enum chunk_state run_task(struct worker *worker, const struct holding *held)
{
    const struct job_shm *job = held->job;
    mproc_task_fn function = (mproc_task_fn)(uintptr_t)job->function;
    mproc_task task = {worker, held->word, held->claimed, job, 0};
    int32_t code = function(&task, (void *)(uintptr_t)job->context);
    struct outcome_shm *outcome;

    if (code) {
        write_failure(worker, held, code, 0);
        return CHUNK_FAILED;
    }
    outcome = mp_region_outcome(worker->region, job, held->chunk);
    if (outcome)
        outcome->length = task.length;
    return CHUNK_DONE;
}

/* The items of a chunk just claimed.  False: the descriptor is nonsense (somebody scribbled on it).
 */
static bool find_items(const struct region *region, struct holding *held)
{
    const struct job_shm *job = held->job;
    uint64_t chunks;
    chunk_word *words = mp_region_words(region, job, &chunks);

    if (!words || held->word < words || held->word >= words + chunks)
        return false;
    held->chunk = (uint64_t)(held->word - words);
    held->first = held->chunk * job->chunk_items;
    if (held->first >= job->count)
        return false;
    held->count = job->count - held->first;
    if (held->count > job->chunk_items)
        held->count = job->chunk_items;
    held->shown = job->index + held->first;
    return true;
}

static enum chunk_state run_items(struct worker *worker, const struct holding *held)
{
    switch (held->job->kind) {
    case JOB_MAP:
        return run_map(worker, held);
    case JOB_BATCH:
        return run_batch(worker, held);
    case JOB_TASK:
        return run_task(worker, held);
    default:
        return CHUNK_FAILED;
    }
}

static enum chunk_state run_chunk(struct worker *worker, struct holding *held)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);
    enum chunk_state ended;

    if (!find_items(worker->region, held))
        return CHUNK_FAILED;
    atomic_store_explicit(&self->item, held->first, memory_order_relaxed);
    item_now = &self->item;
    fail_text[0] = '\0';
    ended = run_items(worker, held);
    item_now = NULL; /* a thread that serves a pool without processes outlives that */
    return ended;
}

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

/* Ring for the thread that waits, and for the loop: for each if it wants as much.  Sequentially
 * consistent: see who calls. */
static void ring_whoever(struct worker *worker, uint32_t wants)
{
    struct pool_shm *pool = pool_of(worker);

    if (atomic_load_explicit(&pool->host_waits, memory_order_seq_cst) >= wants)
        ring(worker, worker->bell, &worker->bell_mark);
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
    ended = run_chunk(worker, &held);
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
    if (!words)
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

/* Sleep until there may be a ticket.  False, and how the worker ends: there will be none. */
static bool sleep_till_woken(struct worker *worker, struct worker_shm *self, enum worker_end *end)
{
    char byte;
    ssize_t got;

    if (!mp_queue_go_idle(worker->region, worker->number))
        return true;
    CRASH_POINT("idle, not asleep");
    /* A task may have closed it, and opened a file of its own at that number. */
    got = mp_is_marked(worker->wake, &worker->wake_mark) ? mp_read(worker->wake, &byte, 1) : -EBADF;
    CRASH_POINT("woken, still idle");
    mp_queue_leave_idle(worker->region, worker->number);
    if (got > 0)
        return true;
    *end = WORKER_CUT_OFF;
    if (got == 0) {
        atomic_store_explicit(&self->left, 1, memory_order_release);
        *end = WORKER_LEFT;
    }
    return false;
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
    while (!mp_queue_pop(worker->region, &id)) {
        if (!slept && look_out(worker))
            continue;
        if (!sleep_till_woken(worker, self, end))
            return false;
        slept = true;
    }
    CRASH_POINT("ticket popped");
    *ticket = id;
    /* A death before this loses the ticket: the supervisor finds none in the record, and says so.
     */
    atomic_store_explicit(&self->ticket, id, memory_order_release);
    CRASH_POINT("ticket noted");
    /* Sequentially consistent: the host says that it has a backlog, then tries the queue once more
     * and finds it full; so this ticket was popped after that, and sees it. */
    ring_whoever(worker, HOST_HAS_BACKLOG);
    return !worker->unheard; /* else its replacement has the ticket */
}

enum worker_end mp_worker_run(struct worker *worker)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);
    /* What a predecessor left; relaxed: this process was forked after the predecessor was reaped.
     */
    uint64_t ticket = atomic_load_explicit(&self->ticket, memory_order_relaxed);
    enum worker_end end;
    bool served = false;

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
        ticket = 0;
        mp_meter_rest(worker);
        atomic_store_explicit(&self->ticket, 0, memory_order_release);
        CRASH_POINT("ticket given up");
    }
}

/* ---- for the function that runs -------------------------------------------------------------- */

const void *mproc_task_input(const mproc_task *task, size_t *length)
{
    static const uint64_t nothing;

    if (!task)
        return NULL;
    if (length)
        *length = (size_t)task->job->in_size;
    return task->job->in ? address(task->job->in, 0, 0) : &nothing;
}

void *mproc_task_output(mproc_task *task, size_t length)
{
    if (!task || length > task->job->out_size)
        return NULL;
    task->length = length;
    return address(task->job->out, 0, 0);
}

uint64_t mproc_task_index(const mproc_task *task)
{
    return task ? task->job->index : 0;
}

int32_t mproc_task_worker(const mproc_task *task)
{
    return task ? (int32_t)task->worker->number : -EINVAL;
}

int mproc_task_is_cancelled(const mproc_task *task)
{
    /* Relaxed: it only tells that the end is near. */
    return task ? atomic_load_explicit(task->word, memory_order_relaxed) != task->claimed : -EINVAL;
}

int32_t mproc_fail(int32_t code, const char *text)
{
    size_t length = text ? strlen(text) : 0;

    if (length >= sizeof fail_text)
        length = sizeof fail_text - 1;
    if (length)
        memcpy(fail_text, text, length);
    fail_text[length] = '\0';
    /* Relaxed: this thread wrote it. */
    fail_item = item_now ? atomic_load_explicit(item_now, memory_order_relaxed) : 0;
    return code ? code : -1;
}
