/* SPDX-License-Identifier: MIT */
/*
 * map over inputs and outputs of any length: a window of single tasks, gathered in the order of the
 * inputs, so that however many items there are the shared memory in use is bounded.  Runs in the
 * host.
 */
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"

enum {
    WINDOW_PER_WORKER = 16, /* tasks in flight: enough that no worker waits for the host */
    WINDOW_MAX = 1024,
    RESULT_ALIGN = 16
};

struct piece {
    size_t offset;
    size_t length;
};

struct mproc_results {
    size_t count;
    char *bytes;
    size_t used;
    size_t room;
    struct piece pieces[];
};

/* ---- results --------------------------------------------------------------------------------- */

size_t mproc_results_count(const mproc_results *results)
{
    return results ? results->count : 0;
}

int mproc_results_get(const mproc_results *results, size_t index, const void **data, size_t *length)
{
    static const uint64_t nothing;

    if (!results || index >= results->count)
        return -EINVAL;
    if (data)
        *data = results->pieces[index].length
                    ? (const void *)(results->bytes + results->pieces[index].offset)
                    : &nothing;
    if (length)
        *length = results->pieces[index].length;
    return 0;
}

void mproc_results_free(mproc_results *results)
{
    if (results)
        free(results->bytes);
    free(results);
}

static mproc_results *results_create(size_t count)
{
    mproc_results *results;

    if (count > (SIZE_MAX - sizeof *results) / sizeof(struct piece))
        return NULL;
    results = calloc(1, sizeof *results + count * sizeof(struct piece));
    if (results)
        results->count = count;
    return results;
}

static int results_add(mproc_results *results, size_t index, const void *data, size_t length)
{
    size_t offset = (results->used + RESULT_ALIGN - 1) / RESULT_ALIGN * RESULT_ALIGN;

    if (length == 0)
        return 0;
    if (length > results->room || offset > results->room - length) {
        size_t room = results->room * 2 > offset + length ? results->room * 2 : offset + length;
        char *grown;

        if (length > SIZE_MAX / 4 || offset > SIZE_MAX / 4)
            return -ENOMEM;
        grown = realloc(results->bytes, room);
        if (!grown)
            return -ENOMEM;
        results->bytes = grown;
        results->room = room;
    }
    memcpy(results->bytes + offset, data, length);
    results->pieces[index] = (struct piece){offset, length};
    results->used = offset + length;
    return 0;
}

/* ---- the window ------------------------------------------------------------------------------ */

/* One call of map_bytes. */
struct bytes_call {
    mproc_pool *pool;
    mproc_task_fn fn;
    void *ctx;
    const struct iovec *inputs;
    size_t count;
    mproc_map_options options;
    mproc_submit_options submit;
    int64_t deadline;
    int64_t stop_by; /* it has passed: until when what runs may take to stop; else MP_FOREVER */
    mproc_results *results;
    size_t window;          /* tasks in flight, at most */
    mproc_future **futures; /* of items [gathered, submitted), at index % window */
    size_t submitted;
    size_t gathered;
    size_t failed;
    bool closing;          /* nothing more is submitted */
    int stopped_by;        /* what ended the call early; 0: nothing did */
    mproc_failure failure; /* of the first item that failed */
    struct progress progress;
};

/* Nothing more is to be begun; with `stop`, what runs is killed. */
static void close_window(struct bytes_call *call, int error, bool stop)
{
    if (!call->stopped_by)
        call->stopped_by = error;
    call->closing = true;
    for (size_t i = call->gathered; i < call->submitted; i++)
        mp_future_close(call->futures[i % call->window], stop);
}

/* A host that is slower than its workers finds each task done, and never waits until then. */
static bool is_late(const struct bytes_call *call)
{
    return call->submitted < call->count && !call->closing && call->deadline != MP_FOREVER &&
           mp_now() >= call->deadline;
}

/* Submit as far as the window goes. */
static void fill_window(struct bytes_call *call)
{
    while (!call->closing && call->submitted < call->count &&
           call->submitted - call->gathered < call->window) {
        const struct iovec *input = &call->inputs[call->submitted];
        int r;

        if (call->submitted > call->gathered && is_late(call))
            return;
        r = mp_submit(call->pool, &call->futures[call->submitted % call->window], call->fn,
                      call->ctx, input->iov_base, input->iov_len, call->submitted, &call->submit);
        if ((r == -ENOMEM || r == -EAGAIN || r == -ENOSPC) && call->submitted > call->gathered)
            return; /* there will be room when those in flight have ended */
        if (r == MPROC_ECLOSED && call->submitted)
            r = -ECANCELED; /* terminated meanwhile: a pool that is only closed goes on with it */
        if (r) {
            close_window(call, r, false);
            return;
        }
        call->submitted++;
    }
}

static void note_failure(struct bytes_call *call, size_t index, const mproc_failure *failure)
{
    if (call->options.statuses)
        call->options.statuses[index] = failure->error;
    if (!failure->error)
        return;
    call->failed++;
    if (!call->failure.error || (call->failure.error == -ECANCELED && failure->error != -ECANCELED))
        call->failure = *failure;
}

/* Take in the oldest of the window, which is done. */
static void gather_one(struct bytes_call *call)
{
    size_t index = call->gathered;
    mproc_future *future = call->futures[index % call->window];
    mproc_failure failure = {.size = sizeof failure, .index = index, .worker = -1};
    const void *data;
    size_t length;
    int r = mproc_future_result(future, &data, &length);

    if (r == 0)
        failure.error = results_add(call->results, index, data, length);
    else
        mproc_future_failure(future, &failure);
    note_failure(call, index, &failure);
    mproc_future_free(future);
    call->gathered++;
    /* Without memory for a result the call is over; after a failure, if nobody asked for each. */
    if (failure.error && (!r || (!call->options.statuses && !call->closing)))
        close_window(call, failure.error, false);
}

static void tell_progress(struct bytes_call *call, bool over)
{
    const struct count count = {call->gathered, call->failed};

    mp_progress_tell(&call->progress, &count, over);
}

/* 0 or -ETIMEDOUT.  The caller is told how far the map has come. */
static int wait_till_done(struct bytes_call *call, mproc_future *future)
{
    for (;;) {
        bool told_first = call->progress.next < call->deadline;
        int r = mp_future_wait_until(future, told_first ? call->progress.next : call->deadline);

        if (mp_progress_is_due(&call->progress))
            tell_progress(call, false);
        if (r != -ETIMEDOUT || !told_first)
            return r;
    }
}

/* Wait for the oldest of the window.  At the deadline all are told to stop, and have the same time
 * for it: else each could take its own. */
static void wait_for_oldest(struct bytes_call *call)
{
    mproc_future *oldest = call->futures[call->gathered % call->window];

    if (call->stop_by == MP_FOREVER &&
        (wait_till_done(call, oldest) == -ETIMEDOUT || is_late(call))) {
        close_window(call, -ETIMEDOUT, true);
        call->stop_by = mp_deadline(STOP_MS);
    }
    if (call->stop_by != MP_FOREVER)
        mp_future_wait_stopped(oldest, call->stop_by);
}

static void run_window(struct bytes_call *call)
{
    mproc_pool *pool = call->pool;

    mp_pool_lock(pool);
    pool->maps++;
    mp_pool_unlock(pool);
    for (;;) {
        fill_window(call);
        if (call->gathered == call->submitted)
            break;
        wait_for_oldest(call);
        gather_one(call);
    }
    mp_pool_lock(pool);
    pool->maps--;
    mp_pool_shut_if_done(pool);
    mp_pool_unlock(pool);
}

/* ---- public ---------------------------------------------------------------------------------- */

static int check_call(struct bytes_call *call, const mproc_map_options *options)
{
    mproc_map_options *o = &call->options;
    struct job_spec limits;
    int r = mp_pool_check(call->pool);

    if (!r)
        r = mp_options_copy(o, sizeof *o, options);
    if (r)
        return r;
    if (!call->fn || (call->count && !call->inputs) || o->timeout_ms < 0 || o->reserved ||
        (o->ctx_size && !call->ctx) || (o->failure && o->failure->size <= sizeof(size_t)))
        return -EINVAL;
    if (call->count > SIZE_MAX / sizeof(struct iovec))
        return -EOVERFLOW; /* there cannot be so many */
    for (size_t i = 0; i < call->count; i++)
        if (call->inputs[i].iov_len && !call->inputs[i].iov_base)
            return -EINVAL;
    call->submit = (mproc_submit_options){.size = sizeof call->submit,
                                          .ctx_size = o->ctx_size,
                                          .output_max = o->output_max,
                                          .time_limit_ms = o->time_limit_ms,
                                          .retries = o->retries};
    call->deadline = o->timeout_ms ? mp_deadline(o->timeout_ms) : MP_FOREVER;
    call->stop_by = MP_FOREVER;
    return mp_resolve_limits(call->pool, o->time_limit_ms, o->retries, &limits);
}

/* Nothing was begun: what the caller may want to know of it. */
static int refuse(const struct bytes_call *call)
{
    if (call->stopped_by == MPROC_EBROKEN && call->options.failure)
        mp_failure_broken(call->pool, call->options.failure);
    return call->stopped_by;
}

/* Items that have no outcome of their own. */
static void give_up_items(struct bytes_call *call)
{
    int never = call->stopped_by == -ETIMEDOUT ? -ECANCELED : call->stopped_by;

    if (call->submitted == call->count)
        return;
    for (size_t i = call->submitted; call->options.statuses && i < call->count; i++)
        call->options.statuses[i] = never;
    if (!call->failure.error)
        call->failure = (mproc_failure){
            .size = sizeof call->failure, .index = call->submitted, .error = never, .worker = -1};
}

static int conclude(struct bytes_call *call)
{
    bool refused = call->stopped_by == MPROC_EBROKEN && !call->failure.error;

    give_up_items(call);
    if (call->options.failure && refused)
        mp_failure_broken(call->pool, call->options.failure);
    else if (call->options.failure)
        mp_failure_give(call->options.failure, &call->failure);
    if (call->stopped_by)
        return call->stopped_by;
    return call->failed < INT_MAX ? (int)call->failed : INT_MAX;
}

int mproc_pool_map_bytes(mproc_pool *pool, mproc_task_fn fn, void *ctx, const struct iovec *inputs,
                         size_t count, mproc_results **results, const mproc_map_options *options)
{
    struct bytes_call call = {.pool = pool, .fn = fn, .ctx = ctx, .inputs = inputs, .count = count};
    int r = check_call(&call, options);

    if (!r && !results)
        r = -EINVAL;
    if (r)
        return r;
    call.failure.size = sizeof call.failure;
    call.failure.worker = -1;
    call.window = (size_t)WINDOW_PER_WORKER * pool->region.workers;
    if (call.window > WINDOW_MAX)
        call.window = WINDOW_MAX;
    call.results = results_create(count);
    call.futures = calloc(call.window, sizeof(mproc_future *));
    if (!call.results || !call.futures) {
        mproc_results_free(call.results);
        free(call.futures);
        return -ENOMEM;
    }
    mp_progress_begin(&call.progress, pool, &call.options, count);
    run_window(&call);
    if (call.submitted)
        tell_progress(&call, true);
    r = call.stopped_by && !call.submitted ? refuse(&call) : conclude(&call);
    free(call.futures);
    if (r < 0 && (!call.options.statuses || !call.submitted)) {
        mproc_results_free(call.results);
        return r;
    }
    *results = call.results;
    return r;
}
