/* SPDX-License-Identifier: MIT */
/*
 * The benchmark: rows of contenders, which are measured in turn (A B C, A B C, ...), and goals that
 * say how the medians should compare.
 *
 *   bench.c      the rounds; each measurement is made in a process of its own
 *   rows.c       the table: every row, its contenders and goals
 *   ours.c       libmproc, measured
 *   limits.c     what pipes, forks and memory give by themselves: the raw limits
 *   report.c     the tables, the JSON and the chart
 *   peer_*       other libraries: programs that print one number
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct contender;

/* Measure it for about so many seconds.  The value is in the unit of the row; NAN: not here. */
typedef double (*measure_fn)(const struct contender *contender, double seconds);

/* Other programs, which measure themselves and print the value. */
enum peer { NO_PEER, OPENMP, OPEN_MPI, PYTHON_POOL, PYTHON_EXECUTOR };

struct contender {
    const char *name;
    measure_fn measure; /* NULL: a peer */
    int32_t workers;
    uint64_t count; /* items of a map, tasks in flight */
    size_t size;    /* bytes of each, or items in a chunk: as the row has it */
    enum peer peer;
};

enum relation { AT_MOST, AT_LEAST };

/* `ours` against `factor` times another contender, or against the bare factor. */
struct goal {
    int ours; /* both are places among the contenders */
    enum relation relation;
    double factor;
    int against; /* ABSOLUTE: the factor is the goal */
};

enum { ABSOLUTE = -1, MAX_CONTENDERS = 12, MAX_GOALS = 12, MAX_ROUNDS = 32 };

struct row {
    const char *name; /* on the command line */
    const char *title;
    const char *unit;
    bool more_is_better;
    struct contender contenders[MAX_CONTENDERS]; /* the first without a name ends them */
    struct goal goals[MAX_GOALS];                /* the first with a factor of 0 ends them */
};

extern const struct row rows[];
extern const size_t row_count;

/* What a row came to. */
struct result {
    const struct row *row;
    double values[MAX_CONTENDERS][MAX_ROUNDS]; /* NAN: not measured */
    double medians[MAX_CONTENDERS];            /* NAN: none was */
    int rounds;
};

/* ---- for the measurements ---------------------------------------------------------------------- */

/* The monotonic clock, in seconds. */
double seconds_now(void);
/* The median time of a call of body(arg), called for so many seconds and five times at least. */
double median_seconds(double seconds, void (*body)(void *), void *arg);
/* Ends this measurement, unless r is a success. */
void must(int r);
/* Memory that forks share; it is there, and cleared. */
void *shared_memory(size_t size);
/* Memory of this process; it is there. */
void *touched_memory(size_t size);

/* The function of most rows. */
static inline int64_t square_of(int64_t x)
{
    return (int64_t)((uint64_t)x * (uint64_t)x);
}

#define MEASURE(name) double name(const struct contender *contender, double seconds)

MEASURE(ours_spawn);
MEASURE(ours_spawn_big);
MEASURE(ours_create);
MEASURE(ours_round_trip);
MEASURE(ours_in_flight);
MEASURE(ours_host_cost);
MEASURE(ours_map_user);
MEASURE(ours_map_arena);
MEASURE(ours_batch_user);
MEASURE(ours_batch_arena);
MEASURE(ours_large_user);
MEASURE(ours_large_first);
MEASURE(ours_large_arena);

MEASURE(limit_fork);
MEASURE(limit_fork_big);
MEASURE(limit_create);
MEASURE(limit_pipe_ping_pong);
MEASURE(limit_spin_ping_pong);
MEASURE(limit_pipe_tasks);
MEASURE(limit_pool_copies);
MEASURE(limit_pool_in_place);
MEASURE(limit_large_copies);
MEASURE(limit_large_in_place);
MEASURE(limit_memcpy);

/* ---- report.c -------------------------------------------------------------------------------- */

void report_row(const struct result *result);

#endif
