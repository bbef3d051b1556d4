/* SPDX-License-Identifier: MIT */
/*
 * The sections of a map: scatter, wait, gather, with a few of them open at a time.  Runs in the host,
 * under the pool's lock but where it copies and where it tells the caller how far it has come.
 */
#include "map.h"

#include <errno.h>
#include <string.h>

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
    /* Not where there are many small chunks: each worker begins at a place of its own, and a few
     * would soon meet where the others are missing. */
    if (call->all_hands != MP_FOREVER &&
        section->job.chunks <= (uint64_t)2 * CHUNKS_PER_HAND * call->pool->region.workers)
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

/* A host that is slower than its workers has news whenever it looks, and never waits until then. */
static bool is_late(const struct map_call *call)
{
    return call->begun < call->spec.count && !call->closing && call->deadline != MP_FOREVER &&
           mp_now() >= call->deadline;
}

/* Post as many sections as may be open.  One that finds no room has it when another is gathered. */
static void scatter(struct map_call *call)
{
    while (!call->closing && call->begun < call->spec.count &&
           call->posted - call->gathered < SECTIONS) {
        int r;

        if (call->gathered < call->posted && is_late(call))
            return;
        r = post_section(call);
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
void mp_give_up_items(struct map_call *call, uint64_t from, uint64_t to, int error)
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
        mp_give_up_items(call, section->first, section->first + job->count, r);
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
void mp_run_sections(struct map_call *call)
{
    for (;;) {
        scatter(call);
        if (call->gathered == call->posted)
            break;
        if (wait_for_news(call) == -ETIMEDOUT || is_late(call))
            stop_map(call);
        if (!call->closing && has_failed(call))
            close_map(call, false);
        if (section_at(call, call->gathered)->job.ended)
            gather_oldest(call);
    }
    if (call->posted)
        tell_progress(call, true);
}
