/* SPDX-License-Identifier: MIT */
/* The layout of a pool's shared memory.  Nothing here changes after mp_region_open(). */
#include "region.h"

#include <errno.h>
#include <unistd.h>

enum {
    LINE_PAIR = 2 * CACHE_LINE,
    REGION_PAGE = 65536 /* words and heap begin on a boundary of this: no page size is larger */
};

#define LEAST_HEAP  ((size_t)1 << 20)
#define LEAST_WORDS ((size_t)1 << 16)

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Twice the machine's memory, at least 1 GiB, at most 128 GiB (256 MiB of a small address space): it
 * costs nothing until it is used, and nobody should have to think of it. */
static uint64_t default_heap_size(void)
{
    const uint64_t least = (uint64_t)1 << 30;
    const uint64_t most = sizeof(void *) > 4 ? (uint64_t)1 << 37 : (uint64_t)1 << 28;
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    uint64_t size = pages > 0 && page > 0 ? 2 * (uint64_t)pages * (uint64_t)page : least;

    if (size < least)
        size = least;
    return size < most ? size : most;
}

/* Lay the parts out for this heap; false if they do not fit the address space. */
static bool lay_out(struct region *region, uint64_t heap_size, size_t *total)
{
    size_t worker_bits = (region->workers + 63) / 64 * sizeof(uint64_t);

    if (heap_size > SIZE_MAX / 4)
        return false;
    region->workers_offset = round_up(sizeof(struct pool_shm), LINE_PAIR);
    region->ready_offset = region->workers_offset + region->workers * sizeof(struct worker_shm);
    region->idle_offset =
        round_up(region->ready_offset + (MP_SLOTS + 63) / 64 * sizeof(uint64_t), LINE_PAIR);
    region->looking_offset = round_up(region->idle_offset + worker_bits, LINE_PAIR);
    region->queue_offset = round_up(region->looking_offset + worker_bits, LINE_PAIR);
    region->jobs_offset = round_up(region->queue_offset + sizeof(struct queue_shm), LINE_PAIR);
    region->words_offset =
        round_up(region->jobs_offset + MP_SLOTS * sizeof(struct job_shm), REGION_PAGE);
    region->words_size = round_up((size_t)heap_size / 8, REGION_PAGE);
    if (region->words_size < LEAST_WORDS)
        region->words_size = LEAST_WORDS;
    region->heap_offset = region->words_offset + region->words_size;
    region->heap_size = round_up((size_t)heap_size, REGION_PAGE);
    *total = region->heap_offset + region->heap_size;
    return true;
}

int mp_region_open(struct region *region, uint32_t workers, uint64_t heap_size)
{
    uint64_t wanted = heap_size ? heap_size : default_heap_size();

    *region = (struct region){
        .memory = MEMORY_NONE, .workers = workers, .on_words = mp_can_sleep_on_words()};
    for (;;) {
        size_t total;
        int r;

        if (!lay_out(region, wanted, &total))
            return -ENOMEM;
        r = mp_memory_open(&region->memory, total);
        if (r != -ENOMEM || heap_size || wanted <= LEAST_HEAP)
            return r;
        wanted /= 2; /* a limit on address space: take what there is */
    }
}

void mp_region_close(struct region *region)
{
    mp_memory_close(&region->memory);
}

void mp_region_reset(const struct region *region)
{
    struct pool_shm *pool = mp_region_pool(region);
    struct queue_shm *queue = mp_region_queue(region);
    _Atomic uint64_t *ready = mp_region_ready(region);
    _Atomic uint64_t *idle = mp_region_idle(region);
    _Atomic uint64_t *looking = mp_region_looking(region);

    /* Relaxed, all: whoever else looks is forked afterwards. */
    atomic_store_explicit(&pool->host_waits, HOST_AWAKE, memory_order_relaxed);
    atomic_store_explicit(&pool->loop_waits, HOST_AWAKE, memory_order_relaxed);
    atomic_store_explicit(&pool->loop_asks, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->bell, MP_OWNED, memory_order_relaxed);
    atomic_store_explicit(&pool->least_limit_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->deaths, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->lost, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->broken_reason, BROKEN_NOT, memory_order_relaxed);
    pool->init_text[0] = '\0';
    for (uint32_t i = 0; i < region->workers; i++) {
        struct worker_shm *worker = mp_region_worker(region, i);

        atomic_store_explicit(&worker->ticket, 0, memory_order_relaxed);
        atomic_store_explicit(&worker->deadline, 0, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < (MP_SLOTS + 63) / 64; i++)
        atomic_store_explicit(&ready[i], 0, memory_order_relaxed);
    for (uint32_t i = 0; i < (region->workers + 63) / 64; i++) {
        atomic_store_explicit(&idle[i], 0, memory_order_relaxed);
        atomic_store_explicit(&looking[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&queue->head, 0, memory_order_relaxed);
    atomic_store_explicit(&queue->tail, 0, memory_order_relaxed);
    /* Whoever is left of an earlier generation is to leave when it sees that. */
    atomic_store_explicit(&queue->era,
                          (atomic_load_explicit(&queue->era, memory_order_relaxed) | 1) + 1,
                          memory_order_relaxed);
}

chunk_word *mp_region_word(const struct region *region, uint64_t offset)
{
    uint64_t end = region->words_offset + region->words_size;

    /* The word inside a job lies in the table of jobs, all others in the memory of words. */
    if (offset >= region->jobs_offset && offset < region->words_offset) {
        if ((offset - region->jobs_offset) % sizeof(struct job_shm) !=
                offsetof(struct job_shm, word) ||
            offset >= region->jobs_offset + MP_SLOTS * sizeof(struct job_shm))
            return NULL;
    } else if (offset < region->words_offset || offset >= end || offset % sizeof(chunk_word)) {
        return NULL;
    }
    return (chunk_word *)(void *)(region->memory.base + offset);
}

chunk_word *mp_region_words(const struct region *region, const struct job_shm *job,
                            uint64_t *chunks)
{
    /* Relaxed: a guess, for all who hold no chunk of the job; see struct job_shm. */
    uint64_t offset = atomic_load_explicit(&job->words, memory_order_relaxed);
    uint64_t count = atomic_load_explicit(&job->chunks, memory_order_relaxed);
    uint64_t end = region->words_offset + region->words_size;
    chunk_word *words = mp_region_word(region, offset);

    if (!words || !count)
        return NULL;
    if (offset < region->words_offset ? count != 1 : count > (end - offset) / sizeof(chunk_word))
        return NULL;
    *chunks = count;
    return words;
}

struct outcome_shm *mp_region_outcome(const struct region *region, const struct job_shm *job,
                                      uint64_t chunk)
{
    uint64_t end = region->heap_offset + region->heap_size;
    uint64_t offset = job->outcomes;

    if (offset < region->jobs_offset || offset >= end || offset % _Alignof(struct outcome_shm) ||
        chunk >= (end - offset) / sizeof(struct outcome_shm))
        return NULL;
    return (struct outcome_shm *)(void *)(region->memory.base + offset) + chunk;
}
