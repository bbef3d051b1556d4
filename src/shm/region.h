/* SPDX-License-Identifier: MIT */
/*
 * region.h: the one mapping of a pool and what lies where in it.  Made by the host before the fork;
 * supervisor and workers have the same mapping at the same address, and this struct as a private
 * copy.
 *
 *     pool | workers | ready, idle, looking bits | queue | jobs | words | heap
 *
 * `words` never holds anything but chunk words; `heap` is for inputs, outputs and everything else.
 */
#ifndef MP_REGION_H
#define MP_REGION_H

#include "../os/os.h"
#include "records.h"

struct region {
    struct memory memory;
    uint32_t workers;
    bool on_words; /* who waits sleeps on words of it; else in pipes */
    size_t workers_offset;
    size_t ready_offset;
    size_t idle_offset;
    size_t looking_offset;
    size_t queue_offset;
    size_t jobs_offset;
    size_t words_offset;
    size_t words_size;
    size_t heap_offset;
    size_t heap_size;
};

/* heap_size 0: as much address space as seems good for this machine; else -ENOMEM if it cannot
 * be. */
int mp_region_open(struct region *region, uint32_t workers, uint64_t heap_size);
void mp_region_close(struct region *region);
/* Before the processes are started, for the first time or again: the words of the pool, the records
 * of the workers, the bits and the queue as if nobody had ever written there. */
void mp_region_reset(const struct region *region);

/* Each is a plain address computation; the index must be in range. */

static inline struct pool_shm *mp_region_pool(const struct region *region)
{
    return (struct pool_shm *)(void *)region->memory.base;
}

static inline struct worker_shm *mp_region_worker(const struct region *region, uint32_t worker)
{
    return (struct worker_shm *)(void *)(region->memory.base + region->workers_offset) + worker;
}

static inline struct job_shm *mp_region_job(const struct region *region, uint32_t slot)
{
    return (struct job_shm *)(void *)(region->memory.base + region->jobs_offset) + slot;
}

/* Bit slot % 64 of element slot / 64: a worker saw every chunk of the slot's job ended.  Set by
 * workers, exchanged to 0 by the host before it looks. */
static inline _Atomic uint64_t *mp_region_ready(const struct region *region)
{
    return (_Atomic uint64_t *)(void *)(region->memory.base + region->ready_offset);
}

/* Bit worker % 64 of element worker / 64: it sleeps or is about to.  Set and cleared by that worker;
 * it stays as it is when the worker dies, until its replacement looks for tickets. */
static inline _Atomic uint64_t *mp_region_idle(const struct region *region)
{
    return (_Atomic uint64_t *)(void *)(region->memory.base + region->idle_offset);
}

/* The same: it looks for tickets.  Cleared by the supervisor, too, when the worker is dead. */
static inline _Atomic uint64_t *mp_region_looking(const struct region *region)
{
    return (_Atomic uint64_t *)(void *)(region->memory.base + region->looking_offset);
}

static inline struct queue_shm *mp_region_queue(const struct region *region)
{
    return (struct queue_shm *)(void *)(region->memory.base + region->queue_offset);
}

/* The chunk words of a job as its descriptor tells them at this moment, or NULL when that cannot be
 * true; for who holds none of its chunks the answer may be that of another job. */
chunk_word *mp_region_words(const struct region *region, const struct job_shm *job,
                            uint64_t *chunks);
/* The word at an offset that came from shared memory, or NULL. */
chunk_word *mp_region_word(const struct region *region, uint64_t offset);
/* The outcome of a chunk, for who holds that chunk or buries its holder; NULL: the descriptor is
 * nonsense. */
struct outcome_shm *mp_region_outcome(const struct region *region, const struct job_shm *job,
                                      uint64_t chunk);

/* The id's parts. */
static inline uint32_t mp_job_id(uint32_t slot, uint32_t tag)
{
    return slot << MP_TAG_BITS | tag;
}

/* May be MP_SLOTS or more if the id came from shared memory. */
static inline uint32_t mp_job_slot(uint32_t id)
{
    return id >> MP_TAG_BITS;
}

#endif
