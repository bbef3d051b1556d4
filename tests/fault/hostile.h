/* SPDX-License-Identifier: MIT */
/* hostile.h: the tasks of hostile workers; hostile.c has the host that they run under. */
#ifndef TEST_HOSTILE_H
#define TEST_HOSTILE_H

#include <stdatomic.h>
#include <stdint.h>

#include <mproc/mproc.h>

/* Each goes further than the one before. */
enum hostility { HOSTILE_TO_MEMORY, HOSTILE_TO_PIPES, HOSTILE_TO_ALL };

enum { HOSTILE_WORKERS = 3, HOSTILE_STRAYS = 1024 };

/* What the hostile tasks of the call are to do.  Not the context of the tasks: that would lie where
 * they write. */
struct enemy {
    const mproc_pool *pool; /* as it was when the worker was forked; NULL: it is to be found */
    uint64_t seed;
    enum hostility hostility;
};

/* What hosts, workers and the test share, in memory that is not a pool's. */
struct stage {
    struct enemy enemy;
    _Atomic uint64_t writes;
    _Atomic uint64_t calls;
    _Atomic uint64_t broken; /* pools */
    _Atomic int64_t latest_ns;
    _Atomic int32_t pids[HOSTILE_WORKERS];
    _Atomic uint32_t stray_count;
    _Atomic int32_t strays[HOSTILE_STRAYS]; /* whom nobody else is going to end */
};

extern struct stage *stage; /* set before any pool is made */

/* The init function of a hostile worker. */
int32_t hostile_init(int32_t worker, void *arg);
int32_t hostile_item(const void *in, void *out, void *ctx);
int32_t hostile_batch(const void *in, void *out, size_t count, void *ctx);
int32_t hostile_task(mproc_task *task, void *ctx);

/* A task that tries to shrink the pool's shared memory (ctx: where the host's pid is).  Output: how
 * many ways it tried in vain.  Returns 1 if there was none; exits if it succeeds. */
int32_t shrink_memory(mproc_task *task, void *ctx);

#endif
