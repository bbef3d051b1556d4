/* SPDX-License-Identifier: MIT */
/*
 * Many items as jobs: scatter, wait, gather in the order of the inputs.  Runs in the host.  Order
 * costs nothing: each result has its place from the start.
 *
 * A map is one job, unless much is to be copied: then it is cut into sections, a job each, of which
 * a few are open at a time.  So the host copies while the workers work, the shared memory that it
 * copies through stays small and warm, and a map may be larger than the arena.
 */
#include "map.h"

#include <mproc/process.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../options.h"

enum {
    /* So long a map is left to as many workers as there are CPUs: to wake more takes longer than
     * a short one, and is of use only where they sleep or wait. */
    FEW_HANDS_MS = 4,
    LEAVE_MS = 1000 /* for the workers of a one-shot map to leave in peace */
};

#define SECTION_BYTES ((size_t)2 << 20) /* of what is copied, about: what a CPU keeps near */

/* ---- what is to be done ---------------------------------------------------------------------- */

/* Check what the caller gave, and describe the whole but for its chunks.  The pool may not be there
 * yet. */
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
    if (!call->deadline) /* that of the first time: a one-shot map makes a pool in between */
        call->deadline =
            call->options.timeout_ms ? mp_deadline(call->options.timeout_ms) : MP_FOREVER;
    return mp_resolve_limits(call->pool, call->options.time_limit_ms, call->options.retries, spec);
}

/* Into how many chunks a section is cut. */
static uint64_t count_chunks(const mproc_pool *pool)
{
    uint64_t workers = pool->region.workers;
    uint64_t chunks = CHUNKS_PER_HAND * least(workers, (uint64_t)pool->cpus);

    return chunks > LEAST_PER_WORKER * workers ? chunks : LEAST_PER_WORKER * workers;
}

/* How many items are in a section, and in a chunk.  With the lock held. */
static int cut(struct map_call *call)
{
    struct job_spec *spec = &call->spec;
    uint64_t workers = call->pool->region.workers;
    uint64_t section = spec->count, chunk = call->options.chunk_size;
    size_t size;
    int r = mp_job_copies(call->pool, spec, &size);

    if (r)
        return r;
    /* One item for each worker at least.  Results that are larger than the inputs, and take their
     * place, would lie on inputs that are not copied yet. */
    if (size && (spec->in != spec->out || spec->out_size <= spec->in_size))
        section = least(section, SECTION_BYTES / size > workers ? SECTION_BYTES / size : workers);
    if (!chunk)
        chunk = section / count_chunks(call->pool);
    /* What happens to one item must not happen to its neighbours. */
    if (!chunk || (spec->kind == JOB_MAP &&
                   (call->options.statuses || spec->limit_ns > 0 || spec->retries > 0)))
        chunk = 1;
    spec->chunk_items = least(chunk, spec->count);
    call->section_items = spec->count;
    if (section < spec->count) /* whole chunks */
        call->section_items = ((section - 1) / chunk + 1) * chunk;
    return 0;
}

/* Copy the context, once for all sections. */
static int copy_context(struct map_call *call)
{
    struct arena *heap = &call->pool->heap;
    size_t size = call->options.ctx_size;
    int r;

    if (!size)
        return 0;
    r = mp_arena_alloc(heap, size, &call->context);
    if (!r)
        r = mp_arena_commit(heap, call->context, size);
    if (r)
        return r;
    memcpy(mp_block_address(heap, call->context), call->spec.context, size);
    call->spec.context = mp_block_address(heap, call->context);
    return 0;
}

/* A map of no items: none has failed. */
static int find_nothing(const struct map_call *call)
{
    const mproc_failure none = {.size = sizeof none, .worker = -1};

    if (call->options.failure)
        mp_failure_give(call->options.failure, &none);
    return 0;
}

/* Nothing was begun: what the caller may want to know of it. */
static int refuse(const struct map_call *call, int error)
{
    if (error == MPROC_EBROKEN && call->options.failure)
        mp_failure_broken(call->pool, call->options.failure);
    return error;
}

/* ---- a call ---------------------------------------------------------------------------------- */

/* What the call returns. */
static int conclude(struct map_call *call)
{
    const struct tally *tally = &call->tally;
    int never = call->why && call->why != -ETIMEDOUT ? call->why : -ECANCELED;

    if (call->posted == 0)
        return refuse(call, call->why);
    mp_give_up_items(call, call->begun, call->spec.count, never);
    if (call->options.failure)
        mp_failure_give(call->options.failure, &tally->failure);
    if (call->why && tally->unfinished)
        return call->why;
    if (call->options.statuses && !tally->unfinished)
        return tally->failed < INT_MAX ? (int)tally->failed : INT_MAX;
    return call->options.statuses ? tally->unfinished : tally->failure.error;
}

static int run_map(struct map_call *call, const mproc_map_options *options)
{
    mproc_pool *pool = call->pool;
    int r = mp_pool_check(pool);

    if (!r)
        r = describe(call, options);
    if (r)
        return r;
    if (call->spec.count == 0)
        return find_nothing(call);
    call->tally.failure = (mproc_failure){.size = sizeof call->tally.failure, .worker = -1};
    mp_progress_begin(&call->progress, pool, &call->options, call->spec.count);
    call->all_hands =
        pool->cpus < (int32_t)pool->region.workers ? mp_deadline(FEW_HANDS_MS) : MP_FOREVER;
    mp_pool_lock(pool);
    pool->maps++;
    r = cut(call);
    if (!r)
        r = copy_context(call);
    if (!r)
        mp_run_sections(call);
    mp_arena_free(&pool->heap, call->context, call->options.ctx_size);
    pool->maps--;
    mp_pool_shut_if_done(pool);
    mp_pool_unlock(pool);
    return r ? r : conclude(call);
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

    if (r)
        return r;
    if (count == 0)
        return find_nothing(&call);
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
