/* SPDX-License-Identifier: MIT */
/*
 * One task as a job of one chunk, and the future that stands for it.  Runs in the host.  What the
 * worker left is copied and checked at the moment the job is seen to have ended; from then on a
 * future reads shared memory only for the bytes of its result.
 */
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"

enum {
    DEFAULT_OUTPUT_MAX = 1 << 20,
    SMALL = 1 << 14 /* bytes that are copied faster than the lock is let go of and taken again */
};

struct mproc_future {
    mproc_pool *pool; /* set once */
    struct job job;
    _Atomic bool done; /* set with the lock held; what was written before stands from then on */
    bool abandoned;    /* freed before it was done */
    uint64_t index;
    mproc_failure failure;
    size_t length;
};

/* ---- submit ---------------------------------------------------------------------------------- */

/* Called with the lock held, when the task's job has ended. */
static void future_end(struct job *job)
{
    mproc_future *future = LIST_ENTRY(job, mproc_future, job);

    if (mp_job_status(job, 0, &future->failure) == 0) {
        /* Copied once, then checked; volatile, or a compiler might read it twice. */
        uint64_t length = *(volatile uint64_t *)&job->outcomes[0].length;
        int r;

        if (length > job->out_size) {
            mp_pool_poison(job->pool, "a result is longer than it can be");
            future->failure.error = MPROC_EBROKEN;
            length = 0;
        }
        r = length ? mp_job_commit_output(job, (size_t)length) : 0;
        if (r) {
            future->failure.error = r;
            length = 0;
        }
        future->length = (size_t)length;
        job->pool->bytes_out += length;
        job->touched += (size_t)length;
    }
    future->failure.index = future->index;
    mp_job_release_slot(job);
    /* Release: pairs with is_done(), which may be asked without the lock. */
    atomic_store_explicit(&future->done, true, memory_order_release);
    if (future->abandoned) {
        job->pool->references--; /* not the last: whoever looks holds one */
        mp_job_finish(job);
        free(future);
    }
}

static int submit(mproc_pool *pool, mproc_future *future, const struct job_spec *spec)
{
    struct job *job = &future->job;
    int r;

    mp_pool_lock(pool);
    r = mp_job_create(pool, job, spec);
    if (r) {
        mp_pool_unlock(pool);
        return r;
    }
    job->on_end = future_end;
    if (spec->context_size <= SMALL && spec->in_size <= SMALL) {
        mp_job_fill(job, spec);
    } else {
        pool->maps++; /* no restart until it is posted: that would clear the descriptor */
        mp_pool_unlock(pool);
        mp_job_fill(job, spec);
        mp_pool_lock(pool);
        pool->maps--;
    }
    r = mp_job_post(job, spec->limit_ns);
    if (r) {
        mp_job_finish(job);
        mp_pool_shut_if_done(pool); /* closed meanwhile, it waited for this */
    } else {
        pool->references++;
    }
    mp_pool_unlock(pool);
    return r;
}

int mp_submit(mproc_pool *pool, mproc_future **future, mproc_task_fn fn, void *ctx, const void *in,
              size_t in_size, uint64_t index, const mproc_submit_options *options)
{
    struct job_spec spec = {.kind = JOB_TASK,
                            .function = (uintptr_t)fn,
                            .context = ctx,
                            .context_size = options->ctx_size,
                            .in = in_size ? in : NULL,
                            .in_size = in_size,
                            .out_size =
                                options->output_max ? options->output_max : DEFAULT_OUTPUT_MAX,
                            .count = 1,
                            .chunk_items = 1,
                            .index = index,
                            .goes_on = index > 0};
    mproc_future *made;
    int r = mp_resolve_limits(pool, options->time_limit_ms, options->retries, &spec);

    if (r)
        return r;
    made = malloc(sizeof *made);
    if (!made)
        return -ENOMEM;
    made->pool = pool; /* `job` and `failure` are written whole when it is their time */
    made->index = index;
    made->length = 0;
    made->abandoned = false;
    atomic_init(&made->done, false);
    r = submit(pool, made, &spec);
    if (r)
        free(made);
    else
        *future = made;
    return r;
}

int mproc_pool_submit(mproc_pool *pool, mproc_future **future, mproc_task_fn fn, void *ctx,
                      const void *in, size_t in_size, const mproc_submit_options *options)
{
    mproc_submit_options checked;
    int r = mp_pool_check(pool);

    if (!r)
        r = mp_options_copy(&checked, sizeof checked, options);
    if (!r &&
        (!future || !fn || (in_size && !in) || (checked.ctx_size && !ctx) || checked.reserved))
        r = -EINVAL;
    return r ? r : mp_submit(pool, future, fn, ctx, in, in_size, 0, &checked);
}

/* ---- wait ------------------------------------------------------------------------------------ */

static int check_future(const mproc_future *future)
{
    return future ? mp_pool_check(future->pool) : -EINVAL;
}

static bool is_done(const void *arg)
{
    /* Acquire: pairs with future_end(). */
    return atomic_load_explicit(&((const mproc_future *)arg)->done, memory_order_acquire);
}

/* mp_wait() with the lock taken around it. */
static int wait_until(mproc_pool *pool, bool (*done)(const void *arg), const void *arg,
                      int64_t timeout_ms)
{
    int64_t deadline = mp_deadline(timeout_ms);
    int r;

    mp_pool_lock(pool);
    r = mp_wait(pool, done, arg, deadline);
    mp_pool_unlock(pool);
    return r;
}

int mproc_future_wait(mproc_future *future, int64_t timeout_ms)
{
    int r = check_future(future);

    if (r || is_done(future))
        return r;
    return wait_until(future->pool, is_done, future, timeout_ms);
}

struct several {
    mproc_future *const *futures;
    size_t count;
};

/* The least index of one that is done (or, with done false, is not); -1: there is none. */
static int find(const struct several *several, bool done)
{
    for (size_t i = 0; i < several->count; i++)
        if (several->futures[i] && is_done(several->futures[i]) == done)
            return (int)i;
    return -1;
}

static bool any_is_done(const void *several)
{
    return find(several, true) >= 0;
}

static bool all_are_done(const void *several)
{
    return find(several, false) < 0;
}

/* 0 and the pool they have in common (NULL: there is none but NULL), or an error. */
static int check_several(const struct several *several, mproc_pool **pool)
{
    *pool = NULL;
    if ((several->count && !several->futures) || several->count > INT_MAX)
        return -EINVAL;
    for (size_t i = 0; i < several->count; i++) {
        int r = several->futures[i] ? check_future(several->futures[i]) : 0;

        if (r)
            return r;
        if (!several->futures[i])
            continue;
        if (*pool && *pool != several->futures[i]->pool)
            return -EINVAL;
        *pool = several->futures[i]->pool;
    }
    return 0;
}

int mproc_future_wait_any(mproc_future *const *futures, size_t count, int64_t timeout_ms)
{
    struct several several = {futures, count};
    int64_t deadline = mp_deadline(timeout_ms);
    mproc_pool *pool;
    int r = check_several(&several, &pool);

    if (r)
        return r;
    if (!pool)
        return -EINVAL;
    mp_pool_lock(pool);
    r = mp_wait(pool, any_is_done, &several, deadline);
    if (!r)
        r = find(&several, true);
    mp_pool_unlock(pool);
    return r;
}

int mproc_future_wait_all(mproc_future *const *futures, size_t count, int64_t timeout_ms)
{
    struct several several = {futures, count};
    mproc_pool *pool;
    int r = check_several(&several, &pool);

    if (r || !pool)
        return r;
    return wait_until(pool, all_are_done, &several, timeout_ms);
}

int mproc_future_is_done(mproc_future *future)
{
    int r = mproc_future_wait(future, 0);

    if (r == -ETIMEDOUT)
        return 0;
    return r ? r : 1;
}

/* ---- the outcome ----------------------------------------------------------------------------- */

int mproc_future_result(mproc_future *future, const void **data, size_t *length)
{
    static const uint64_t nothing;
    int r = mproc_future_is_done(future);

    if (r <= 0)
        return r ? r : -EAGAIN;
    if (future->failure.error) /* a future that is done does not change */
        return future->failure.error;
    if (data)
        *data = future->length ? (const void *)future->job.out : &nothing;
    if (length)
        *length = future->length;
    return 0;
}

int mproc_future_failure(mproc_future *future, mproc_failure *failure)
{
    int r = mproc_future_is_done(future);

    if (r <= 0)
        return r ? r : -EAGAIN;
    return mp_failure_give(failure, &future->failure);
}

int mp_future_wait_until(mproc_future *future, int64_t deadline)
{
    int r;

    mp_pool_lock(future->pool);
    r = mp_wait(future->pool, is_done, future, deadline);
    mp_pool_unlock(future->pool);
    return r;
}

void mp_future_wait_stopped(mproc_future *future, int64_t deadline)
{
    mp_pool_lock(future->pool);
    if (!is_done(future))
        mp_job_wait_stopped(&future->job, deadline);
    mp_pool_unlock(future->pool);
}

void mp_future_close(mproc_future *future, bool stop)
{
    mp_pool_lock(future->pool);
    if (!is_done(future))
        mp_job_close(&future->job, stop);
    mp_pool_unlock(future->pool);
}

int mproc_future_cancel(mproc_future *future)
{
    int r = mproc_future_is_done(future);

    if (r)
        return r < 0 ? r : -EALREADY;
    mp_future_close(future, true);
    return 0;
}

void mproc_future_free(mproc_future *future)
{
    mproc_pool *pool;

    if (check_future(future))
        return;
    pool = future->pool;
    mp_pool_lock(pool);
    if (!is_done(future)) {
        future->abandoned = true;
        mp_pool_unlock(pool);
        return;
    }
    mp_job_finish(&future->job);
    free(future);
    mp_pool_unref(pool);
}

int mproc_pool_call(mproc_pool *pool, mproc_task_fn fn, void *ctx, const void *in, size_t in_size,
                    void *out, size_t out_size, size_t *length, const mproc_submit_options *options)
{
    mproc_future *future;
    const void *data;
    size_t got;
    int r = out_size && !out ? -EINVAL : 0;

    if (!r)
        r = mproc_pool_submit(pool, &future, fn, ctx, in, in_size, options);
    if (r)
        return r;
    r = mproc_future_wait(future, -1);
    if (!r)
        r = mproc_future_result(future, &data, &got);
    if (!r) {
        if (out_size)
            memcpy(out, data, got < out_size ? got : out_size);
        if (length)
            *length = got;
        if (got > out_size)
            r = -EMSGSIZE;
    }
    mproc_future_free(future);
    return r;
}
