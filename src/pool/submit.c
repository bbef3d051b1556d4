/* SPDX-License-Identifier: MIT */
/*
 * The first part of a task's path: a job gets a slot, memory, a descriptor, chunk words and
 * tickets, which lie in a queue in shared memory.  Runs in the host, under the pool's lock but where
 * it copies.  All that it reads from shared memory is who takes tickets: how far the queue is empty,
 * and how many workers to wake.  Whatever stands there, no more comes of it than a ticket that is
 * lost or a byte too many.
 */
#include "pool.h"

#include <errno.h>
#include <string.h>

#include "../point.h"

/* ---- slots ----------------------------------------------------------------------------------- */

void mp_publish_slots(mproc_pool *pool)
{
    /* Release / the supervisor's acquire: their pages are there. */
    atomic_store_explicit(&mp_region_pool(&pool->region)->slots, pool->slots_committed,
                          memory_order_release);
}

static int take_slot(mproc_pool *pool, uint32_t *slot)
{
    if (pool->first_free != MP_SLOTS) {
        *slot = pool->first_free; /* the one freed last: few slots are used, and they are warm */
        pool->first_free = pool->slots[*slot].next_free;
        return 0;
    }
    if (pool->slots_used == MP_SLOTS)
        return -EAGAIN;
    if (pool->slots_used == pool->slots_committed) {
        uint32_t more = MP_SLOTS - pool->slots_used;
        int r;

        if (more > SLOTS_PER_COMMIT)
            more = SLOTS_PER_COMMIT;
        r = mp_memory_commit(&pool->region.memory,
                             pool->region.jobs_offset + pool->slots_used * sizeof(struct job_shm),
                             more * sizeof(struct job_shm));
        if (r)
            return r;
        pool->slots_committed += more;
        mp_publish_slots(pool);
        mp_generation_poke(&pool->generation);
    }
    *slot = pool->slots_used++;
    return 0;
}

static void take_id(mproc_pool *pool, struct job *job, uint32_t slot)
{
    /* Never 0, so that no ticket is 0. */
    pool->slots[slot].tag = (uint16_t)((pool->slots[slot].tag + 1) & ((1U << MP_TAG_BITS) - 1));
    if (pool->slots[slot].tag == 0)
        pool->slots[slot].tag = 1;
    pool->slots[slot].job = job;
    job->id = mp_job_id(slot, pool->slots[slot].tag);
    job->shared = mp_region_job(&pool->region, slot);
}

void mp_job_release_slot(struct job *job)
{
    uint32_t slot = mp_job_slot(job->id);
    mproc_pool *pool = job->pool;

    if (!job->shared)
        return;
    list_remove(&job->in_backlog);
    list_remove(&job->in_open);
    pool->slots[slot].job = NULL;
    pool->slots[slot].next_free = pool->first_free;
    pool->first_free = slot;
    job->shared = NULL;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* *total += a x b, rounded up to a cache line; false when that overflows. */
static bool add_part(size_t *total, uint64_t a, uint64_t b)
{
    size_t part;

    if (b && a > (SIZE_MAX - CACHE_LINE) / b)
        return false;
    part = (size_t)(a * b + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    if (part > SIZE_MAX - *total)
        return false;
    *total += part;
    return true;
}

/* Where the parts of a job's block lie. */
struct plan {
    bool copy_in;
    bool copy_out;
    size_t in; /* offsets in the block */
    size_t out;
    size_t outcomes;
    size_t size;
    size_t written; /* by the host: context and inputs */
};

/* Which of inputs and outputs are to be copied. */
static int plan_copies(const mproc_pool *pool, const struct job_spec *spec, struct plan *plan)
{
    uint64_t ins = spec->kind == JOB_TASK ? 1 : spec->count;
    int in_owned = 0, out_owned = 0;

    if (spec->in && spec->in_size && ins > SIZE_MAX / spec->in_size)
        return -EOVERFLOW;
    if (spec->out_size && spec->count > SIZE_MAX / spec->out_size)
        return -EOVERFLOW;
    if (spec->in && !spec->in_place)
        in_owned = mp_pool_owns(pool, spec->in, (size_t)(ins * spec->in_size));
    if (spec->out)
        out_owned = mp_pool_owns(pool, spec->out, (size_t)(spec->count * spec->out_size));
    if (in_owned == -EINVAL || out_owned < 0)
        return -EINVAL;
    plan->copy_in = spec->in && spec->in_size && !spec->in_place && in_owned != 1;
    plan->copy_out = !out_owned;
    return 0;
}

int mp_job_copies(const mproc_pool *pool, const struct job_spec *spec, size_t *size)
{
    struct plan plan;
    int r = plan_copies(pool, spec, &plan);

    if (r)
        return r;
    *size = plan.copy_in ? (size_t)spec->in_size : 0;
    if (plan.copy_out) {
        if (spec->out_size > SIZE_MAX - *size)
            return -EOVERFLOW;
        *size += (size_t)spec->out_size;
    }
    return 0;
}

static int make_plan(const mproc_pool *pool, const struct job_spec *spec, uint64_t chunks,
                     struct plan *plan)
{
    uint64_t ins = spec->kind == JOB_TASK ? 1 : spec->count;
    size_t size = 0;
    int r = plan_copies(pool, spec, plan);

    if (r)
        return r;
    if (!add_part(&size, spec->context_size, 1))
        return -EOVERFLOW;
    plan->in = size;
    if (plan->copy_in && !add_part(&size, ins, spec->in_size))
        return -EOVERFLOW;
    plan->written = size;
    plan->out = size;
    if (plan->copy_out && !add_part(&size, spec->count, spec->out_size))
        return -EOVERFLOW;
    plan->outcomes = size;
    if (chunks > 1 && !add_part(&size, chunks, sizeof(struct outcome_shm)))
        return -EOVERFLOW;
    plan->size = size;
    return 0;
}

static uint64_t offset_of(const struct job *job, const void *address)
{
    return (uint64_t)((const char *)address - job->pool->region.memory.base);
}

/* Take the memory that the plan asks for. */
static int take_memory(struct job *job, const struct plan *plan)
{
    mproc_pool *pool = job->pool;
    size_t words = (size_t)job->chunks * sizeof(chunk_word);
    int r = 0;

    if (job->chunks > 1) {
        if (job->chunks > SIZE_MAX / sizeof(chunk_word))
            return -ENOMEM;
        r = mp_arena_alloc(&pool->words, words, &job->words_block);
        if (!r)
            r = mp_arena_commit(&pool->words, job->words_block, words);
    }
    if (!r && plan->size) {
        r = mp_arena_alloc(&pool->heap, plan->size, &job->block);
        if (!r)
            r = mp_arena_commit(&pool->heap, job->block, plan->written);
    }
    return r;
}

static void place(struct job *job, const struct job_spec *spec, const struct plan *plan)
{
    char *block = job->block ? mp_block_address(&job->pool->heap, job->block) : NULL;

    job->words = &job->shared->word;
    job->outcomes = &job->shared->outcome;
    if (job->chunks > 1) {
        job->words = mp_block_address(&job->pool->words, job->words_block);
        job->outcomes = (struct outcome_shm *)(void *)(block + plan->outcomes);
    }
    /* What a worker of an earlier generation held when all of it died is not that of its successor.
     * Relaxed: the descriptor does not lead here yet. */
    for (uint64_t i = 0; job->pool->restarts && i < job->chunks; i++)
        atomic_store_explicit(&job->words[i], 0, memory_order_relaxed);
    job->in = plan->copy_in ? block + plan->in : NULL;
    job->out = NULL;
    if (spec->out_size)
        job->out = plan->copy_out ? block + plan->out : spec->out;
    job->touched = plan->written;
    if (plan->copy_out && spec->kind != JOB_TASK) /* of a task, as much as its output is long */
        job->touched += (size_t)(spec->count * spec->out_size);
}

/* ---- the job --------------------------------------------------------------------------------- */

static void describe(const struct job *job, const struct job_spec *spec)
{
    struct job_shm *shared = job->shared;
    const void *in = job->in ? job->in : spec->in;
    const void *context = spec->context;

    if (spec->context_size)
        context = mp_block_address(&job->pool->heap, job->block);
    /* Relaxed: a worker that slept may read these now; what it makes of them is only a
     * guess. */
    atomic_store_explicit(&shared->words, offset_of(job, job->words), memory_order_relaxed);
    atomic_store_explicit(&shared->chunks, job->chunks, memory_order_relaxed);
    atomic_store_explicit(&shared->limit_ns, spec->limit_ns, memory_order_relaxed);
    atomic_store_explicit(&shared->retries, spec->retries, memory_order_relaxed);
    /* Plain: nobody reads these but with a chunk in hand, and none is to be had. */
    shared->function = spec->function;
    shared->context = (uintptr_t)context;
    shared->in = (uintptr_t)in;
    shared->out = (uintptr_t)job->out;
    shared->in_size = spec->in_size;
    shared->out_size = spec->out_size;
    shared->count = spec->count;
    shared->chunk_items = spec->chunk_items;
    shared->outcomes = offset_of(job, job->outcomes);
    shared->index = spec->index;
    shared->kind = spec->kind;
}

static int create(mproc_pool *pool, struct job *job, const struct job_spec *spec)
{
    uint64_t chunks = (spec->count - 1) / spec->chunk_items + 1;
    struct plan plan;
    uint32_t slot;
    int r = make_plan(pool, spec, chunks, &plan);

    if (r)
        return r;
    *job = (struct job){.pool = pool,
                        .chunks = chunks,
                        .count = spec->count,
                        .chunk_items = spec->chunk_items,
                        .out_size = spec->out_size,
                        .in_bytes = (spec->kind == JOB_TASK ? 1 : spec->count) * spec->in_size,
                        .limited = spec->limit_ns > 0,
                        .goes_on = spec->goes_on,
                        .unfinished = -ECANCELED};
    list_init(&job->in_open);
    list_init(&job->in_backlog);
    r = take_memory(job, &plan);
    if (!r)
        r = take_slot(pool, &slot);
    if (r) {
        mp_job_finish(job);
        return r;
    }
    take_id(pool, job, slot);
    CRASH_POINT("slot taken");
    place(job, spec, &plan);
    describe(job, spec);
    return 0;
}

int mp_job_create(mproc_pool *pool, struct job *job, const struct job_spec *spec)
{
    int r = mp_pool_accepts(pool, spec->goes_on);

    if (!r && !mp_code_map_knows(pool->generation.code, spec->function))
        r = MPROC_EFUNC;
    if (r)
        return r;
    /* A program that submits and never waits: it is here that the host sees what has ended. */
    mp_pool_look(pool, true);
    r = create(pool, job, spec);
    if ((r == -EAGAIN || r == -ENOMEM) && mp_pool_look(pool, false))
        r = create(pool, job, spec);
    return r;
}

void mp_job_fill(struct job *job, const struct job_spec *spec)
{
    if (spec->context_size)
        memcpy(mp_block_address(&job->pool->heap, job->block), spec->context, spec->context_size);
    if (job->in) {
        uint64_t ins = spec->kind == JOB_TASK ? 1 : spec->count;

        memcpy(job->in, spec->in, (size_t)(ins * spec->in_size));
    }
}

/* The supervisor is to look in time for the shortest limit there is. */
static void announce_limit(struct job *job, int64_t limit)
{
    mproc_pool *pool = job->pool;

    if (!job->limited)
        return;
    if (pool->limited++ > 0 && pool->least_limit_ns <= limit)
        return;
    pool->least_limit_ns = limit;
    /* Release / the supervisor's acquire; the poke is what makes it look now. */
    atomic_store_explicit(&mp_region_pool(&pool->region)->least_limit_ns, limit,
                          memory_order_release);
    mp_generation_poke(&pool->generation);
}

int mp_job_post(struct job *job, int64_t limit_ns)
{
    mproc_pool *pool = job->pool;
    int r = mp_pool_accepts(pool, job->goes_on);

    if (r)
        return r;
    for (uint64_t i = 0; i < job->chunks; i++)
        mp_word_publish(&job->words[i], job->id);
    CRASH_POINT("words published");
    pool->bytes_in += job->in_bytes;
    list_append(&pool->open, &job->in_open);
    announce_limit(job, limit_ns);
    CRASH_POINT("limit announced");
    mp_job_post_tickets(job, job->first_tickets ? job->first_tickets : job->chunks);
    CRASH_POINT("tickets posted");
    return 0;
}

int mp_job_commit_output(struct job *job, size_t length)
{
    struct arena *heap = &job->pool->heap;
    const char *block = job->block ? mp_block_address(heap, job->block) : NULL;

    if (!block || !job->out || job->out < block || job->out >= block + job->block->size)
        return 0; /* the caller's own memory, which has its pages */
    return mp_arena_commit(heap, job->block, (size_t)(job->out - block) + length);
}

void mp_job_finish(struct job *job)
{
    mp_job_release_slot(job);
    mp_arena_free(&job->pool->words, job->words_block, (size_t)job->chunks * sizeof(chunk_word));
    mp_arena_free(&job->pool->heap, job->block, job->touched);
    job->words_block = NULL;
    job->block = NULL;
}

/* ---- tickets --------------------------------------------------------------------------------- */

/* Push what is due, in order, as far as the queue has room; how many. */
static uint32_t push_tickets(mproc_pool *pool)
{
    uint32_t pushed = 0;

    while (!list_is_empty(&pool->backlog)) {
        struct job *job = LIST_ENTRY(pool->backlog.next, struct job, in_backlog);

        for (; job->tickets_due > 0; job->tickets_due--, pushed++)
            if (!mp_queue_push(&pool->region, &pool->queue, job->id))
                return pushed;
        list_remove(&job->in_backlog);
    }
    return pushed;
}

static void wake(mproc_pool *pool, uint32_t sleepers)
{
    if (sleepers && mp_generation_wake(&pool->generation, sleepers))
        mp_pool_poison(pool, "the wake pipe cannot be written");
}

/* For all tickets that are there.  With a job open the pipe is not shut but by what ends the
 * generation. */
static void wake_for_all(mproc_pool *pool)
{
    pool->counted_on = false;
    if (!list_is_empty(&pool->open) && pool->generation.grace == MP_FOREVER)
        wake(pool, mp_queue_stranded(&pool->region, &pool->queue));
}

void mp_wake_stranded(mproc_pool *pool)
{
    if (pool->counted_on)
        wake_for_all(pool);
}

static void flush_once(mproc_pool *pool)
{
    uint32_t pushed, sleepers;

    if (pool->generation.grace != MP_FOREVER)
        return; /* told to end, it takes no more tickets: the open jobs end with it */
    pushed = push_tickets(pool);
    CRASH_POINT("tickets pushed, nobody woken");
    if (!pushed)
        return;
    /* Neither a thread that sleeps nor the program's event loop looks whether they were taken.  Relaxed:
     * a guess, where a worker has scribbled on it. */
    if (pool->loop.on || atomic_load_explicit(&mp_region_pool(&pool->region)->host_waits,
                                              memory_order_relaxed) != HOST_AWAKE) {
        wake_for_all(pool);
        return;
    }
    sleepers = mp_queue_sleepers(&pool->region, &pool->queue, pushed);
    wake(pool, sleepers);
    pool->counted_on |= sleepers == 0;
}

void mp_backlog_flush(mproc_pool *pool)
{
    if (list_is_empty(&pool->backlog))
        return;
    flush_once(pool);
    if (list_is_empty(&pool->backlog) || !(pool->sleeper || pool->loop.on))
        return;
    /* A thread sleeps, or is about to: whoever takes a ticket from the full queue is to wake it.
     * Sequentially consistent, and the queue tried once more after it: if it is full still, each
     * ticket in it will be popped by a worker that sees this. */
    if (pool->sleeper)
        atomic_store_explicit(&mp_region_pool(&pool->region)->host_waits, HOST_HAS_BACKLOG,
                              memory_order_seq_cst);
    mp_loop_wants(pool, HOST_HAS_BACKLOG); /* the same for the program's event loop */
    flush_once(pool);
}

void mp_job_post_tickets(struct job *job, uint64_t count)
{
    mproc_pool *pool = job->pool;

    if (count > pool->region.workers)
        count = pool->region.workers;
    if (job->tickets_due < count)
        job->tickets_due = (uint32_t)count;
    if (list_is_empty(&job->in_backlog))
        list_append(&pool->backlog, &job->in_backlog);
    mp_backlog_flush(pool);
}
