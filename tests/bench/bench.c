/* SPDX-License-Identifier: MIT */
/*
 * The rounds.  Each measurement is made in a fork of this small process, so that none finds the
 * heap, the threads or the children of another; the contenders of a row take turns, so that what
 * the machine does meanwhile hits all alike.
 */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mproc/mproc.h>

enum { MAX_SAMPLES = 100000, LEAST_SAMPLES = 5 };

struct plan {
    int rounds;
    double seconds; /* for each measurement */
};

static const struct plan whole = {5, 0.3}, quick = {3, 0.05}, smoke = {1, 0.0};

/* ---- for the measurements ---------------------------------------------------------------------- */

double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double median_seconds(double seconds, void (*body)(void *), void *arg)
{
    static double samples[MAX_SAMPLES];
    double begin = seconds_now(), before = begin;
    int count = 0;

    while (count < MAX_SAMPLES && (count < LEAST_SAMPLES || before - begin < seconds)) {
        double after;

        body(arg);
        after = seconds_now();
        samples[count++] = after - before;
        before = after;
    }
    return median(samples, count);
}

void must(int r)
{
    if (r >= 0)
        return;
    fprintf(stderr, "bench: %s\n", mproc_strerror(r));
    _exit(1);
}

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    must(memory == MAP_FAILED ? -errno : 0);
    memset(memory, 0, size);
    return memory;
}

void *touched_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    must(memory == MAP_FAILED ? -errno : 0);
    memset(memory, 1, size);
    return memory;
}

/* ---- one measurement ------------------------------------------------------------------------- */

static double measure_here(const struct contender *contender, double seconds)
{
    return contender->measure ? contender->measure(contender, seconds) : NAN;
}

/* NAN if it failed. */
static double measure(const struct contender *contender, double seconds)
{
    double value = NAN;
    int answer[2], status;
    pid_t pid;

    must(pipe(answer) ? -errno : 0);
    fflush(NULL);
    pid = fork();
    must(pid < 0 ? -errno : 0);
    if (pid == 0) {
        close(answer[0]);
        value = measure_here(contender, seconds);
        _exit(write(answer[1], &value, sizeof value) != (ssize_t)sizeof value);
    }
    close(answer[1]);
    if (read(answer[0], &value, sizeof value) != (ssize_t)sizeof value)
        value = NAN;
    close(answer[0]);
    waitpid(pid, &status, 0);
    return status ? NAN : value;
}

static void run_row(const struct row *row, const struct plan *plan)
{
    static struct result result;

    result.row = row;
    result.rounds = plan->rounds;
    for (int round = 0; round < plan->rounds; round++)
        for (int i = 0; i < MAX_CONTENDERS && row->contenders[i].name; i++)
            result.values[i][round] = measure(&row->contenders[i], plan->seconds);
    for (int i = 0; i < MAX_CONTENDERS && row->contenders[i].name; i++) {
        double sorted[MAX_ROUNDS];
        int count = 0;

        for (int round = 0; round < plan->rounds; round++)
            if (!isnan(result.values[i][round]))
                sorted[count++] = result.values[i][round];
        result.medians[i] = count ? median(sorted, count) : NAN;
    }
    report_row(&result);
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool is_wanted(const struct row *row, int names, char **name)
{
    for (int i = 0; i < names; i++)
        if (strcmp(name[i], row->name) == 0)
            return true;
    return names == 0;
}

int main(int argc, char **argv)
{
    const struct plan *plan = &whole;
    int first = 1;

    if (argc > 1 && strcmp(argv[1], "--quick") == 0)
        plan = &quick, first = 2;
    else if (argc > 1 && strcmp(argv[1], "--smoke") == 0)
        plan = &smoke, first = 2;
    printf("%d cores, %d rounds\n", (int)sysconf(_SC_NPROCESSORS_ONLN), plan->rounds);
    for (size_t i = 0; i < row_count; i++)
        if (is_wanted(&rows[i], argc - first, argv + first))
            run_row(&rows[i], plan);
    return 0;
}
