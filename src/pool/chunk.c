/* SPDX-License-Identifier: MIT */
/*
 * What the host reads of a chunk: its word, and how it ended; and the failure that it makes of that
 * for the caller.  It lies in memory that others write, so it is copied once, checked, and then used.
 */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NS_PER_MS = 1000000 };
_Static_assert((int)WORKER_TEXT_MAX == (int)MPROC_TEXT_MAX, "a text is copied whole");

bool mp_chunk_is_plausible(const struct job *job, struct chunk_view view)
{
    if (view.id != job->id || view.state == CHUNK_NONE || view.state >= CHUNK_STATE_COUNT)
        return false;
    return view.state == CHUNK_RUNNING || view.state == CHUNK_STOPPING
               ? view.worker < job->pool->region.workers
               : view.worker == 0;
}

struct chunk_view mp_chunk_view(const struct job *job, uint64_t chunk)
{
    /* Acquire: pairs with the release of the finishing CAS, or of the supervisor's burial.
     * Sequentially consistent, as mp_word_cancel() before it and the look back of a worker: of host
     * and worker that end the last two chunks at once, at least one sees both ended. */
    return mp_word_view(atomic_load_explicit(&job->words[chunk], memory_order_seq_cst));
}

/* ---- how a chunk ended ----------------------------------------------------------------------- */

static int error_of(const struct job *job, struct chunk_view view)
{
    if (job->distrusted || !mp_chunk_is_plausible(job, view))
        return MPROC_EBROKEN;
    switch (view.state) {
    case CHUNK_DONE:
        return 0;
    case CHUNK_FAILED:
        return MPROC_ETASK;
    case CHUNK_CRASHED:
        return MPROC_ECRASHED;
    case CHUNK_TIMED_OUT:
        return MPROC_ELIMIT;
    case CHUNK_STOPPED:
    case CHUNK_CANCELLED:
        return -ECANCELED;
    default:
        return job->unfinished;
    }
}

/* The outcomes of many chunks have no pages until one is written, and where the machine has none to
 * give, nobody wrote it; to read it then would be a SIGBUS. */
static bool outcome_is_there(const struct job *job, uint64_t chunk)
{
    const char *outcome = (const char *)&job->outcomes[chunk];
    const struct memory *memory = &job->pool->region.memory;

    return job->chunks == 1 || mp_memory_commit(memory, (size_t)(outcome - memory->base),
                                                sizeof job->outcomes[chunk]) == 0;
}

/* What the worker or the supervisor left beside the word. */
static void copy_outcome(const struct job *job, uint64_t chunk, mproc_failure *failure)
{
    struct outcome_shm outcome;
    uint64_t first = chunk * job->chunk_items;
    uint64_t item;

    if (!outcome_is_there(job, chunk)) {
        snprintf(failure->text, sizeof failure->text, "no memory to say more");
        return;
    }
    memcpy(&outcome, &job->outcomes[chunk], sizeof outcome);
    /* Volatile: read once, whatever a compiler makes of the check and the use. */
    item = *(volatile uint64_t *)&job->outcomes[chunk].item;
    failure->code = outcome.code;
    failure->signal = outcome.signal;
    failure->pid = outcome.pid;
    failure->worker = outcome.worker < job->pool->region.workers ? (int32_t)outcome.worker : -1;
    failure->ran_ms = outcome.ran_ns > 0 ? outcome.ran_ns / NS_PER_MS : 0;
    if (item >= first && item - first < job->chunk_items && item < job->count)
        failure->index = item;
    outcome.text[sizeof outcome.text - 1] = '\0';
    memcpy(failure->text, outcome.text, sizeof failure->text);
}

uint64_t mp_job_pass_done(const struct job *job, uint64_t chunk)
{
    while (!job->distrusted && chunk < job->chunks &&
           mp_word_is_plainly_done(&job->words[chunk], job->id))
        chunk++;
    return chunk;
}

int mp_job_error(const struct job *job, uint64_t chunk)
{
    return error_of(job, mp_chunk_view(job, chunk));
}

int mp_job_status(const struct job *job, uint64_t chunk, mproc_failure *failure)
{
    struct chunk_view view = mp_chunk_view(job, chunk);

    *failure = (mproc_failure){.size = sizeof *failure,
                               .index = chunk * job->chunk_items,
                               .error = error_of(job, view),
                               .attempts = view.attempts,
                               .worker = -1};
    if (failure->error == MPROC_ETASK || failure->error == MPROC_ECRASHED ||
        failure->error == MPROC_ELIMIT)
        copy_outcome(job, chunk, failure);
    if (failure->error == MPROC_EBROKEN)
        memcpy(failure->text, job->pool->why_broken, sizeof failure->text);
    return failure->error;
}

int mp_failure_give(mproc_failure *to, const mproc_failure *from)
{
    size_t size = to ? to->size : 0;

    if (size <= sizeof size)
        return -EINVAL;
    memcpy(to, from, size < sizeof *from ? size : sizeof *from);
    to->size = size;
    return 0;
}

void mp_failure_broken(mproc_pool *pool, mproc_failure *to)
{
    mproc_failure failure = {.size = sizeof failure, .error = MPROC_EBROKEN, .worker = -1};

    mp_pool_lock(pool);
    memcpy(failure.text, pool->why_broken, sizeof failure.text);
    mp_pool_unlock(pool);
    mp_failure_give(to, &failure);
}
