/* SPDX-License-Identifier: MIT */
/*
 * What a pool has done so far, in numbers.  They go on from a worker to its replacement and over
 * mproc_pool_restart(), are good until mproc_pool_destroy(), and cost next to nothing: times are
 * those of a clock that goes in steps of some milliseconds, right in the sum.  Workers note them, so
 * a worker that scribbles over its memory makes them wrong.  No call here blocks.
 *
 * The caller sets `size` of a struct to its sizeof; the rest is written by the library.
 */
#ifndef MPROC_STATS_H
#define MPROC_STATS_H

#include <stddef.h>
#include <stdint.h>

#include <mproc/pool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mproc_stats {
    size_t size;
    uint64_t items;       /* items and tasks that were run, to an end of theirs */
    uint64_t failed;      /* of these, or of their chunks, those that returned non-zero */
    uint64_t deaths;      /* workers that ended, by whatever cause */
    uint64_t restarts;    /* calls of mproc_pool_restart() that succeeded */
    uint64_t bytes_in;    /* inputs handed over */
    uint64_t bytes_out;   /* outputs of tasks, and room for those of maps */
    int64_t elapsed_ms;   /* since the pool was made */
    int64_t busy_ms;      /* of all workers together */
    int64_t idle_ms;      /* the same */
    uint64_t peak_memory; /* bytes that a worker had in use, at most; 0: not known */
} mproc_stats;

typedef struct mproc_worker_stats {
    size_t size;
    uint64_t items;
    uint64_t failed;
    uint64_t deaths;
    int64_t busy_ms;
    int64_t idle_ms;
    /* Of the present one, or of a dead one that had more; of those that died only the largest of the
     * pool is known.  0: not known. */
    uint64_t peak_memory;
    int32_t pid;      /* of the present one; 0: there is none */
    int32_t reserved; /* 0 */
} mproc_worker_stats;

typedef struct mproc_slow_item {
    size_t size;
    uint64_t index; /* of the item; 0 for a submitted task */
    uint64_t count; /* how many items its chunk had: the time is that of all of them */
    int64_t ran_ms;
    int32_t worker;
    int32_t reserved; /* 0 */
} mproc_slow_item;

/* Returns 0, or -EINVAL (a NULL, no size). */
int mproc_pool_stats(mproc_pool *pool, mproc_stats *stats);

/* Of worker 0 to mproc_pool_workers() - 1.  Returns 0, or -EINVAL (no such worker, too). */
int mproc_pool_worker_stats(mproc_pool *pool, int32_t worker, mproc_worker_stats *stats);

/* The item that took longest (rank 0), and those after it, 64 at most: each worker remembers five that
 * took it longer than a step of the clock.  Returns 0, -ENOENT when there are no more, -EINVAL. */
int mproc_pool_slowest(mproc_pool *pool, size_t rank, mproc_slow_item *item);

/*
 * All of this as a table, in lines.  At most size - 1 bytes and a zero are written at `text` (NULL
 * only with 0).  Returns how long the whole is, or -EINVAL.
 */
int mproc_pool_report(mproc_pool *pool, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
