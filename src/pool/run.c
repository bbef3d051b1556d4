/* SPDX-License-Identifier: MIT */
/*
 * A chunk that a worker holds: its items are run, and what became of them is written beside its word;
 * and what a task function can call while it runs.  Runs in a worker; of shared memory it writes the
 * outcome and the results of that chunk, and the number of the item in the worker's own record.
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

/* The items of a chunk just claimed.  False: the descriptor is nonsense (somebody scribbled on
 * it). */
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

enum chunk_state mp_run_chunk(struct worker *worker, struct holding *held)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);
    enum chunk_state ended;

    if (!find_items(worker->region, held))
        return CHUNK_FAILED;
    atomic_store_explicit(&self->item, held->first, memory_order_relaxed);
    item_now = &self->item;
    if (held->job->kind != JOB_TASK) /* of a task, how long its output will be is not known yet */
        mp_memory_touch(address(held->job->out, held->job->out_size, held->first),
                        (size_t)(held->count * held->job->out_size));
    fail_text[0] = '\0';
    ended = run_items(worker, held);
    item_now = NULL; /* a thread that serves a pool without processes outlives that */
    return ended;
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
    mp_memory_touch(address(task->job->out, 0, 0), length);
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
