/* SPDX-License-Identifier: MIT */
/*
 * Many items as jobs: scatter, wait, gather in the order of the inputs.  Runs in the host.  Order
 * costs nothing: each result has its place from the start.
 *
 * A map is one job, unless much is to be copied: then it is cut into sections, a job each, of which
 * a few are open at a time.  So the host copies while the workers work, the shared memory that it
 * copies through stays small and warm, and a map may be larger than the arena.
 */
#include "pool.h"

#include <mproc/process.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../options.h"

enum {
    /* Chunks for each worker where the caller does not choose.  A claim costs some 50 ns, which is
     * lost in the rest with so few; and a worker that is late holds up the others by a 32nd of its
     * share, or by one item. */
    CHUNKS_PER_WORKER = 32,
    SECTIONS = 4, /* open at a time: one is filled, one is gathered, two are worked on */
    /* So long a map is left to as many workers as there are CPUs: to wake more takes longer than
     * a short one, and is of use only where they sleep or wait. */
    FEW_HANDS_MS = 4,
    LEAVE_MS = 1000 /* for the workers of a one-shot map to leave in peace */
};

#define SECTION_BYTES ((size_t)2 << 20) /* of what is copied, about: what a CPU keeps near */

/* A run of items, as a job. */
struct section {
    struct job job;
    uint64_t first; /* item */
};

/* What a map comes to. */
struct tally {
    uint64_t failed;       /* items */
    mproc_failure failure; /* the first that failed; of its error 0 means none */
    int unfinished;        /* of a chunk that did not end by itself; 0: there is none */
};

/* One call of map. */
struct map_call {
    mproc_pool *pool;
    mproc_map_options options;
    struct job_spec spec; /* of all items */
    int64_t deadline;
    struct block *context; /* what ctx_size asks to copy */
    uint64_t section_items;
    struct section sections[SECTIONS]; /* number i in place i % SECTIONS */
    uint64_t posted;                   /* sections */
    uint64_t gathered;
    uint64_t begun;    /* items, in the sections posted */
    bool closing;      /* what is not begun is not to be */
    int64_t all_hands; /* when every worker is to help; MP_FOREVER: they were asked to */
    int why;           /* 0, or what kept the map from its end */
    struct tally tally;
    struct progress progress;
    struct count counted; /* in the sections gathered */
};

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
    return mp_resolve_limits(call->pool, call->options.time_limit_ms, call->options.retries, spec);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
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
        chunk = (section - 1) / (CHUNKS_PER_WORKER * workers) + 1;
    /* What happens to one item must not happen to its neighbours. */
    if (spec->kind == JOB_MAP &&
        (call->options.statuses || spec->limit_ns > 0 || spec->retries > 0))
        chunk = 1;
    spec->chunk_items = least(chunk, spec->count);
    call->section_items = spec->count;
    if (section < spec->count) /* whole chunks */
        call->section_items = ((section - 1) / spec->chunk_items + 1) * spec->chunk_items;
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

/* Nothing was begun: what the caller may want to know of it. */
static int refuse(const struct map_call *call, int error)
{
    if (error == MPROC_EBROKEN && call->options.failure)
        mp_failure_broken(call->pool, call->options.failure);
    return error;
}

/* ---- scatter --------------------------------------------------------------------------------- */

static struct section *section_at(struct map_call *call, uint64_t number)
{
    return &call->sections[number % SECTIONS];
}

/* The next items, as many as a section has. */
static struct job_spec next_spec(const struct map_call *call)
{
    struct job_spec spec = call->spec;

    spec.index = call->begun;
    spec.goes_on = call->begun > 0;
    spec.count = least(call->section_items, spec.count - call->begun);
    if (spec.in)
        spec.in = (const char *)spec.in + (size_t)call->begun * spec.in_size;
    if (spec.out)
        spec.out = (char *)spec.out + (size_t)call->begun * spec.out_size;
    return spec;
}

/* Create, fill and post the job of a section.  Lets go of the lock while it copies.  On an error
 * nothing is left. */
static int post_section(struct map_call *call)
{
    struct section *section = section_at(call, call->posted);
    struct job_spec spec = next_spec(call);
    int r = mp_job_create(call->pool, &section->job, &spec);

    if (r)
        return r;
    section->first = call->begun;
    section->job.stop_at_failure = !call->options.statuses;
    if (call->all_hands != MP_FOREVER)
        section->job.first_tickets =
            (uint32_t)least(section->job.chunks, (uint64_t)call->pool->cpus);
    mp_pool_unlock(call->pool);
    mp_job_fill(&section->job, &spec);
    mp_pool_lock(call->pool);
    r = mp_job_post(&section->job, spec.limit_ns);
    if (r) {
        mp_job_finish(&section->job);
        return r;
    }
    call->posted++;
    call->begun += spec.count;
    return 0;
}

/* Begin no more items; with `stop`, kill what runs. */
static void close_map(struct map_call *call, bool stop)
{
    call->closing = true;
    for (uint64_t i = call->gathered; i < call->posted; i++)
        if (!section_at(call, i)->job.ended)
            mp_job_close(&section_at(call, i)->job, stop);
}

/* Post as many sections as may be open.  One that finds no room has it when another is gathered. */
static void scatter(struct map_call *call)
{
    while (!call->closing && call->begun < call->spec.count &&
           call->posted - call->gathered < SECTIONS) {
        int r = post_section(call);

        if (r && call->gathered < call->posted && (r == -ENOMEM || r == -ENOSPC || r == -EAGAIN))
            return;
        if (r) {
            call->why = call->pool->terminated && call->posted ? -ECANCELED : r;
            close_map(call, false);
        }
    }
}

/* ---- gather ---------------------------------------------------------------------------------- */

/* The item with which a chunk begins, or where the last ends. */
static uint64_t first_item(const struct job *job, uint64_t chunk)
{
    return chunk < job->chunks ? chunk * job->chunk_items : job->count;
}

/* Copy the results of items [from, to) of a section, which are done, to where the caller wants
 * them. */
static void copy_results(const struct map_call *call, const struct section *section, uint64_t from,
                         uint64_t to)
{
    size_t size = (size_t)section->job.out_size;
    char *out;

    if (from >= to || !section->job.out)
        return;
    out = (char *)call->spec.out + (size_t)section->first * size;
    if (section->job.out != out)
        memcpy(out + (size_t)from * size, section->job.out + (size_t)from * size,
               (size_t)(to - from) * size);
}

/* The status of the items of chunks [from, to). */
static void set_statuses(const struct map_call *call, const struct section *section, uint64_t from,
                         uint64_t to, int error)
{
    uint64_t end = first_item(&section->job, to);

    for (uint64_t i = first_item(&section->job, from); call->options.statuses && i < end; i++)
        call->options.statuses[section->first + i] = error;
}

static bool is_own_failure(int error)
{
    return error == MPROC_ETASK || error == MPROC_ECRASHED || error == MPROC_ELIMIT;
}

/* A chunk that was not done; which of its items is the first without a result. */
static uint64_t count_failed(struct map_call *call, const struct section *section, uint64_t chunk)
{
    struct tally *tally = &call->tally;
    uint64_t first = first_item(&section->job, chunk);
    mproc_failure failure;
    bool own = is_own_failure(mp_job_status(&section->job, chunk, &failure));
    uint64_t not_done = own && call->spec.kind == JOB_MAP ? failure.index : first;

    tally->failed += first_item(&section->job, chunk + 1) - first;
    if (!own)
        tally->unfinished = failure.error;
    failure.index += section->first;
    /* The first that failed by itself counts, before those that were only cancelled. */
    if (!tally->failure.error || (own && !is_own_failure(tally->failure.error)))
        tally->failure = failure;
    return not_done;
}

/* Go through the chunks in order: results, statuses, the first that failed.  Without the lock: an
 * ended job stands still. */
static void gather(struct map_call *call, const struct section *section)
{
    const struct job *job = &section->job;
    uint64_t copied = 0; /* items, or passed over */

    for (uint64_t chunk = 0;; chunk++) {
        uint64_t done = mp_job_pass_done(job, chunk);
        int error;

        set_statuses(call, section, chunk, done, 0);
        chunk = done;
        if (chunk == job->chunks)
            break;
        error = mp_job_error(job, chunk);
        set_statuses(call, section, chunk, chunk + 1, error);
        if (!error)
            continue;
        copy_results(call, section, copied, count_failed(call, section, chunk));
        copied = first_item(job, chunk + 1);
    }
    copy_results(call, section, copied, job->count);
}

/* Items that have no outcome of their own, because of `error`. */
static void give_up_items(struct map_call *call, uint64_t from, uint64_t to, int error)
{
    struct tally *tally = &call->tally;

    if (from == to)
        return;
    tally->failed += to - from;
    tally->unfinished = error;
    if (!tally->failure.error)
        tally->failure = (mproc_failure){
            .size = sizeof tally->failure, .index = from, .error = error, .worker = -1};
    for (uint64_t i = from; call->options.statuses && i < to; i++)
        call->options.statuses[i] = error;
}

/* Take in the oldest section, which has ended.  Lets go of the lock meanwhile. */
static void gather_oldest(struct map_call *call)
{
    struct section *section = section_at(call, call->gathered);
    struct job *job = &section->job;
    int r = mp_job_commit_output(job, (size_t)(job->count * job->out_size));

    if (r) {
        call->why = call->why ? call->why : r;
        close_map(call, false);
        give_up_items(call, section->first, section->first + job->count, r);
    } else {
        mp_pool_unlock(call->pool);
        gather(call, section);
        mp_pool_lock(call->pool);
    }
    mp_progress_count(&call->progress, job, &call->counted);
    mp_job_finish(job);
    call->gathered++;
}

/* ---- wait ------------------------------------------------------------------------------------ */

/* Has an item failed for which the others are not to begin? */
static bool has_failed(const struct map_call *call)
{
    for (uint64_t i = call->gathered; i < call->posted; i++)
        if (call->sections[i % SECTIONS].job.closing)
            return true;
    return false;
}

static bool has_news(const void *arg)
{
    const struct map_call *call = arg;

    return call->sections[call->gathered % SECTIONS].job.ended ||
           (!call->closing && has_failed(call));
}

static void stop_map(struct map_call *call)
{
    int64_t deadline = mp_deadline(STOP_MS);

    call->why = -ETIMEDOUT;
    call->deadline = MP_FOREVER;
    close_map(call, true);
    for (uint64_t i = call->gathered; i < call->posted; i++)
        mp_job_wait_stopped(&section_at(call, i)->job, deadline);
}

/* Lets go of the lock while the caller is told. */
static void tell_progress(struct map_call *call, bool over)
{
    struct count count = call->counted;

    for (uint64_t i = call->gathered; i < call->posted; i++)
        mp_progress_count(&call->progress, &section_at(call, i)->job, &count);
    mp_pool_unlock(call->pool);
    mp_progress_tell(&call->progress, &count, over);
    mp_pool_lock(call->pool);
}

static void ask_all_hands(struct map_call *call)
{
    call->all_hands = MP_FOREVER;
    for (uint64_t i = call->gathered; i < call->posted; i++) {
        struct job *job = &section_at(call, i)->job;

        if (!job->ended)
            mp_job_post_tickets(job, job->chunks);
    }
}

static int64_t earliest(int64_t a, int64_t b, int64_t c)
{
    int64_t earlier = a < b ? a : b;

    return earlier < c ? earlier : c;
}

/* 0 or -ETIMEDOUT.  The caller is told how far the map has come. */
static int wait_for_news(struct map_call *call)
{
    for (;;) {
        int64_t until = earliest(call->progress.next, call->all_hands, call->deadline);
        int r = mp_wait(call->pool, has_news, call, until);

        if (r == -ETIMEDOUT && until == call->all_hands)
            ask_all_hands(call);
        if (mp_progress_is_due(&call->progress))
            tell_progress(call, false);
        if (r != -ETIMEDOUT || until == call->deadline)
            return r;
    }
}

/* Until every section that is to be has ended and is gathered.  With the lock held. */
static void run_sections(struct map_call *call)
{
    for (;;) {
        scatter(call);
        if (call->gathered == call->posted)
            return;
        if (wait_for_news(call) == -ETIMEDOUT)
            stop_map(call);
        if (!call->closing && has_failed(call))
            close_map(call, false);
        if (section_at(call, call->gathered)->job.ended)
            gather_oldest(call);
    }
}

/* ---- a call ---------------------------------------------------------------------------------- */

/* What the call returns. */
static int conclude(struct map_call *call)
{
    const struct tally *tally = &call->tally;
    int never = call->why && call->why != -ETIMEDOUT ? call->why : -ECANCELED;

    if (call->posted == 0)
        return refuse(call, call->why);
    give_up_items(call, call->begun, call->spec.count, never);
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
    if (r || call->spec.count == 0)
        return r;
    call->deadline = call->options.timeout_ms ? mp_deadline(call->options.timeout_ms) : MP_FOREVER;
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
        run_sections(call);
    if (call->posted)
        tell_progress(call, true);
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
