/* SPDX-License-Identifier: MIT */
/*
 * The benchmark: rows of contenders, which are measured in turn (A B C, A B C, ...), and goals that
 * say how the medians should compare.
 *
 *   bench.c      the rounds; each measurement is made by a process of its own
 *   rows.c       the table: every row, its contenders and its goals
 *   ours.c       libmproc, measured; ours_maps.c its maps
 *   limits.c     the raw limits: what forks, pipes and memory give by themselves; warm_pool.c a pool
 *                of forks that is no more than fast
 *   pss.c        how much memory processes take
 *   peer_*       other libraries: programs that print one number
 *   report.c     the tables and the JSON; chart.c the chart
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct contender;

/* Measure it for about so many seconds.  The value is in the unit of the row; NAN: it failed. */
typedef double (*measure_fn)(const struct contender *contender, double seconds);

enum maker { OURS, LIMIT, OPENMP, OPEN_MPI, PYTHON_PROCESS, PYTHON_POOL, PYTHON_EXECUTOR };

struct contender {
    const char *name;
    measure_fn measure; /* NULL: a peer does */
    int32_t workers;
    uint64_t count; /* items of a map, or tasks in flight */
    size_t size;    /* bytes of each item, or items in a chunk: as the row has it */
    enum maker by;
    int32_t spin_us; /* ours: the pool's option */
};

enum relation { AT_MOST = 1, AT_LEAST };

/* "ours at most 1.1 x against": both are names of contenders of the row. */
struct goal {
    const char *ours;
    enum relation relation;
    double factor;
    const char *against; /* NULL: the factor alone is the bound, in the unit of the row */
};

enum { MAX_CONTENDERS = 12, MAX_GOALS = 10, MAX_ROUNDS = 32 };

struct row {
    const char *name; /* on the command line */
    const char *title;
    const char *unit;
    bool more_is_better;
    bool charted;
    /* So many times as many rounds, each as much shorter: where it matters on which processors the
     * system happens to put the processes. */
    int often;                                       /* 0: once */
    struct contender contenders[MAX_CONTENDERS + 1]; /* one without a name ends them */
    struct goal goals[MAX_GOALS + 1];                /* one without a name ends them */
};

extern const struct row rows[];
extern const size_t row_count;

/* What a row came to. */
struct result {
    const struct row *row;
    int rounds;                                /* 0: the row was not asked for */
    double values[MAX_CONTENDERS][MAX_ROUNDS]; /* NAN: not measured */
    double medians[MAX_CONTENDERS];            /* NAN: none was */
};

/* ---- report.c, chart.c ----------------------------------------------------------------------- */

void report_row(const struct result *result);
/* Of all goals: how many were measured, and how many of these are met. */
void report_goals(const struct result *results);
/* The goals, for the README. */
void report_markdown(const struct result *results, int cores, FILE *file);
void report_json(const struct result *results, int cores, FILE *file);
void draw_chart(const struct result *results, int cores, FILE *file);

/* ---- for the measurements ---------------------------------------------------------------------- */

/* Ends this measurement, unless r is a success. */
void must(int r);

/* ours.c: a pool as the contender has it. */
struct mproc_pool *open_pool(const struct contender *contender);

/* pss.c: of a process and all that descend from it, in KiB; what they share with each other counts
 * once. */
double tree_kib(void);
/* KiB that the pool's shared memory takes; only one pool may be there. */
double arena_kib(void);

#define MEASURE(name) double name(const struct contender *contender, double seconds)

MEASURE(ours_spawn);
MEASURE(ours_spawn_big);
MEASURE(ours_create);
MEASURE(ours_round_trip);
MEASURE(ours_round_trip_ns);
MEASURE(ours_in_flight);
MEASURE(ours_host_cost);
MEASURE(ours_idle_kib);

MEASURE(ours_map_user);
MEASURE(ours_map_arena);
MEASURE(ours_map_item_ns);
MEASURE(ours_batch_user);
MEASURE(ours_batch_arena);
MEASURE(ours_large_user);
MEASURE(ours_large_arena);
MEASURE(ours_large_first_ms);
MEASURE(ours_large_later_ms);
MEASURE(ours_pareto);
MEASURE(ours_map_percent);
MEASURE(ours_kept_mib);

MEASURE(limit_fork);
MEASURE(limit_fork_big);
MEASURE(limit_create);
MEASURE(limit_pipe_ping_pong);
MEASURE(limit_spin_ping_pong);
MEASURE(limit_pipe_tasks);
MEASURE(limit_memcpy);
MEASURE(limit_schedule_as_given);
MEASURE(limit_schedule_longest_first);
MEASURE(limit_idle_kib);

MEASURE(limit_pool_copies);
MEASURE(limit_pool_in_place);
MEASURE(limit_pool_calls);
MEASURE(limit_pool_item_ns);
MEASURE(limit_large_copies);
MEASURE(limit_large_in_place);

#endif
