/* SPDX-License-Identifier: MIT */
/*
 * The kill storm, for the programs that are held to it: a pool whose workers leave marks of what
 * they begin and end, and a process that kills them at random instants, from their fork on.
 *
 * The marks make the count exact.  A task that was begun and not ended was hit, and must be
 * reported; each report needs a death of its own; and each kill is one death that was reaped.
 */
#ifndef TEST_STORM_H
#define TEST_STORM_H

#include "support.h"

#include <mproc/mproc.h>

struct storm_plan {
    uint64_t seed;
    long pause_us; /* between two kills, at most */
    int32_t retries;
    uint64_t work_ns; /* of a task, at most */
};

/* How tasks ended, all in all. */
struct tally {
    uint64_t done;
    uint64_t crashed;
    uint64_t cut; /* runs that were begun and not ended */
};

/* A pool of four workers, with a storm over it; `tasks`: how many there will be marks for. */
mproc_pool *storm_begin(const struct storm_plan *plan, size_t tasks);
/* The same storm for another pool, whose options must be storm_options(). */
void storm_over(const struct storm_plan *plan, size_t tasks);
mproc_pool_options storm_options(void);
/* Stop killing.  How many were killed. */
uint64_t storm_still(void);
/* After storm_still(): close and join the pool and check that each kill was one death that was
 * reaped.  How many there were. */
uint64_t storm_end(mproc_pool *pool);
void storm_clear(void);

void storm_forget_marks(size_t tasks);
/* After the end of a pool that may have killed workers itself: they are no victims any more. */
void storm_forget_workers(void);

uint64_t storm_answer(uint64_t index);
/* A task: its input is its index, its context the plan, its output the answer. */
int32_t storm_task(mproc_task *task, void *plan);
/* The same for a map without inputs. */
int32_t storm_item(const void *in, void *out, void *plan);

/* Check how a task of the storm ended, and count it; `output` is only read where it is done. */
void storm_check(struct tally *tally, uint64_t index, int error, uint64_t output, int32_t retries);
/* The same of a future, which is freed. */
void storm_take_in(struct tally *tally, mproc_future *future, uint64_t index, int32_t retries);
/* A crash must have a death of its own. */
void storm_check_failure(const mproc_failure *failure, int32_t retries);

/* `tasks` submitted tasks, with at most `in_flight` open. */
struct tally storm_submit(mproc_pool *pool, const struct storm_plan *plan, uint64_t tasks,
                          size_t in_flight);
/* One map over so many items, a chunk each. */
struct tally storm_map(mproc_pool *pool, const struct storm_plan *plan, size_t items);
struct tally storm_map_bytes(mproc_pool *pool, const struct storm_plan *plan, size_t items);

#endif
