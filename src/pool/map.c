/* SPDX-License-Identifier: MIT */
/*
 * Many items as one job: scatter, wait, gather in the order of the inputs.  Runs in the host.
 * Order costs nothing: each result has its place from the start.
 */
#include "pool.h"

#include <mproc/process.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../options.h"

/* Chunks for each worker where the caller does not choose: enough that a worker which is late holds
 * up the others by a quarter of its share at most, few enough that a chunk is worth its claim. */
enum { CHUNKS_PER_WORKER = 4 };

enum { LEAVE_MS = 1000 }; /* for the workers of a one-shot map to leave in peace */

/* One call of map. */
struct map_call {
    mproc_pool *pool;
    mproc_map_options options;
    struct job_spec spec;
    struct job job;
};

/* ---- scatter --------------------------------------------------------------------------------- */

/* Check what the caller gave, and describe the job but for its chunks.  The pool may not
 * be there yet. */
static int describe(struct map_call *call, const mproc_map_options *options)
{
    struct job_spec *spec = &call->spec;
    int r = mp_options_copy(&call->options, sizeof call->options, options);

    if (r)
        return r;
    if (!spec->function || (spec->out_size && !spec->out && spec->count) ||
        call->options.timeout_ms < 0 || call->options.reserved ||
        (call->options.ctx_size && !spec->context) ||
        (call->options.failure && call->options.failure->size <= sizeof(size_t)))
        return -EINVAL;
    if (!spec->in && spec->in_size != 0 && spec->in_size != sizeof(uint64_t))
        return -EINVAL;
    if (!spec->in)
        spec->in_size = 0;
    if (!spec->out_size)
        spec->out = NULL;
    spec->context_size = call->options.ctx_size;
    return mp_resolve_limits(call->pool, call->options.time_limit_ms, call->options.retries, spec);
}

static uint64_t chunk_items(const struct map_call *call)
{
    const struct job_spec *spec = &call->spec;
    uint64_t chunks = (uint64_t)CHUNKS_PER_WORKER * call->pool->region.workers;

    /* What happens to one item must not happen to its neighbours. */
    if (spec->kind == JOB_MAP &&
        (call->options.statuses || spec->limit_ns > 0 || spec->retries > 0))
        return 1;
    if (call->options.chunk_size)
        return call->options.chunk_size < spec->count ? call->options.chunk_size : spec->count;
    return (spec->count - 1) / chunks + 1;
}

/* Create, fill and post the job; on an error nothing is left. */
static int scatter(struct map_call *call)
{
    mproc_pool *pool = call->pool;
    int r;

    mp_pool_lock(pool);
    r = mp_job_create(pool, &call->job, &call->spec);
    mp_pool_unlock(pool);
    if (r)
        return r;
    call->job.stop_at_failure = !call->options.statuses;
    mp_job_fill(&call->job, &call->spec);
    mp_pool_lock(pool);
    r = mp_job_post(&call->job, call->spec.limit_ns);
    if (r)
        mp_job_finish(&call->job);
    mp_pool_unlock(pool);
    return r;
}

/* Nothing was begun: what the caller may want to know of it. */
static int refuse(const struct map_call *call, int error)
{
    if (error == MPROC_EBROKEN && call->options.failure)
        mp_failure_broken(call->pool, call->options.failure);
    return error;
}

/* ---- gather ---------------------------------------------------------------------------------- */

/* Copy the results of items [from, to), which are done, to where the caller wants them. */
static void copy_results(const struct map_call *call, uint64_t from, uint64_t to)
{
    const struct job *job = &call->job;
    size_t size = (size_t)job->out_size;

    if (from < to && job->out && job->out != call->spec.out)
        memcpy((char *)call->spec.out + (size_t)from * size, job->out + (size_t)from * size,
               (size_t)(to - from) * size);
}

static void set_statuses(const struct map_call *call, uint64_t chunk, int error)
{
    const struct job *job = &call->job;
    uint64_t first = chunk * job->chunk_items;

    for (uint64_t i = first; i - first < job->chunk_items && i < job->count; i++)
        call->options.statuses[i] = error;
}

/* What a map comes to. */
struct tally {
    uint64_t failed; /* items */
    uint64_t first;  /* chunk that failed; valid if `error` */
    int error;       /* of it */
    int unfinished;  /* of a chunk that did not end by itself; 0: there is none */
};

static bool is_own_failure(int error)
{
    return error == MPROC_ETASK || error == MPROC_ECRASHED || error == MPROC_ELIMIT;
}

/* The first item of a failed chunk that was not done: of a map, that which failed. */
static uint64_t first_not_done(const struct map_call *call, uint64_t chunk, int error)
{
    mproc_failure failure;

    if (call->spec.kind != JOB_MAP || !is_own_failure(error))
        return chunk * call->job.chunk_items;
    mp_job_status(&call->job, chunk, &failure);
    return failure.index;
}

/* Go through the chunks in order: results, statuses, the first that failed. */
static struct tally gather(const struct map_call *call)
{
    const struct job *job = &call->job;
    struct tally tally = {0};
    uint64_t copied = 0; /* items, or passed over */

    for (uint64_t chunk = 0; chunk < job->chunks; chunk++) {
        uint64_t first = chunk * job->chunk_items;
        uint64_t end = chunk + 1 < job->chunks ? first + job->chunk_items : job->count;
        int error = mp_job_error(job, chunk);

        if (call->options.statuses)
            set_statuses(call, chunk, error);
        if (!error)
            continue;
        copy_results(call, copied, first_not_done(call, chunk, error));
        copied = end;
        tally.failed += end - first;
        if (!is_own_failure(error))
            tally.unfinished = error;
        /* The first that failed by itself counts, before those that were only cancelled. */
        if (!tally.error || (is_own_failure(error) && !is_own_failure(tally.error))) {
            tally.error = error;
            tally.first = chunk;
        }
    }
    copy_results(call, copied, job->count);
    return tally;
}

/* What the call returns.  `waited`: what waiting for the job came to. */
static int conclude(const struct map_call *call, const struct tally *tally, int waited)
{
    mproc_failure failure = {.size = sizeof failure, .worker = -1};

    if (tally->error)
        mp_job_status(&call->job, tally->first, &failure);
    if (call->options.failure)
        mp_failure_give(call->options.failure, &failure);
    if (waited && tally->unfinished)
        return waited;
    if (call->options.statuses && !tally->unfinished)
        return tally->failed < INT_MAX ? (int)tally->failed : INT_MAX;
    return call->options.statuses ? tally->unfinished : tally->error;
}

static int run_map(struct map_call *call, const mproc_map_options *options)
{
    int64_t deadline = MP_FOREVER;
    struct tally tally;
    int full;
    int r = mp_pool_check(call->pool);

    if (!r)
        r = describe(call, options);
    if (r || call->spec.count == 0)
        return r;
    if (call->options.timeout_ms)
        deadline = mp_deadline(call->options.timeout_ms);
    call->spec.chunk_items = chunk_items(call);
    r = scatter(call);
    if (r)
        return refuse(call, r);
    mp_pool_lock(call->pool);
    r = mp_job_wait(&call->job, deadline);
    full = mp_job_commit_output(&call->job, (size_t)(call->job.count * call->job.out_size));
    mp_pool_unlock(call->pool);
    if (!full)
        tally = gather(call); /* without the lock: an ended job stands still */
    mp_pool_lock(call->pool);
    r = full ? full : conclude(call, &tally, r);
    mp_job_finish(&call->job);
    mp_pool_unlock(call->pool);
    return r;
}

/* ---- public ---------------------------------------------------------------------------------- */

int mproc_pool_map(mproc_pool *pool, mproc_map_fn fn, void *ctx, const void *in, size_t in_size,
                   void *out, size_t out_size, size_t count, const mproc_map_options *options)
{
    struct map_call call = {.pool = pool,
                            .spec = {.kind = JOB_MAP,
                                     .function = (uintptr_t)fn,
                                     .context = ctx,
                                     .in = in,
                                     .in_size = in_size,
                                     .out = out,
                                     .out_size = out_size,
                                     .count = count}};

    return run_map(&call, options);
}

int mproc_pool_map_batch(mproc_pool *pool, mproc_batch_fn fn, void *ctx, const void *in,
                         size_t in_size, void *out, size_t out_size, size_t count,
                         const mproc_map_options *options)
{
    struct map_call call = {.pool = pool,
                            .spec = {.kind = JOB_BATCH,
                                     .function = (uintptr_t)fn,
                                     .context = ctx,
                                     .in = in,
                                     .in_size = in_size,
                                     .out = out,
                                     .out_size = out_size,
                                     .count = count}};

    return run_map(&call, options);
}

int mproc_map(mproc_map_fn fn, void *ctx, const void *in, size_t in_size, void *out,
              size_t out_size, size_t count, int32_t workers, const mproc_map_options *options)
{
    struct map_call call = {.spec = {.kind = JOB_MAP,
                                     .function = (uintptr_t)fn,
                                     .context = ctx,
                                     .in = in,
                                     .in_size = in_size,
                                     .in_place = true,
                                     .out = out,
                                     .out_size = out_size,
                                     .count = count}};
    int r = workers < 0 ? -EINVAL : describe(&call, options); /* before anything is forked */

    if (r || count == 0)
        return r;
    if (workers == 0)
        workers = mproc_cpu_count();
    if ((size_t)workers > count)
        workers = (int32_t)count;
    r = mproc_pool_create(&call.pool, workers, NULL);
    if (r)
        return r;
    r = run_map(&call, options);
    /* Not destroyed at once: the workers print what is to be printed.  That, or what it took to stop
     * a task, and then the short graces are less than two seconds. */
    mproc_pool_close(call.pool);
    mproc_pool_join(call.pool, r == -ETIMEDOUT ? 0 : LEAVE_MS);
    mp_pool_lock(call.pool);
    mp_generation_kill(&call.pool->generation, SHORT_GRACE_MS);
    mp_pool_unlock(call.pool);
    mproc_pool_destroy(call.pool);
    return r;
}
