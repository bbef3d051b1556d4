/* SPDX-License-Identifier: MIT */
/* The same work by OpenMP: peer_openmp ROW WORKERS COUNT SIZE SECONDS prints the value of the row. */
#include "load.h"
#include "timing.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
    long count;
    size_t size;
    int64_t *in;
    int64_t *out;
    uint32_t units[MAX_LOAD];
};

static void squares_dynamic(void *arg)
{
    const struct work *work = arg;

#pragma omp parallel for schedule(dynamic, 1)
    for (long i = 0; i < work->count; i++)
        work->out[i] = square_of(work->in[i]);
}

static void squares_static(void *arg)
{
    const struct work *work = arg;

#pragma omp parallel for schedule(static)
    for (long i = 0; i < work->count; i++)
        work->out[i] = square_of(work->in[i]);
}

static void copies(void *arg)
{
    const struct work *work = arg;

#pragma omp parallel for schedule(dynamic, 1)
    for (long i = 0; i < work->count; i++)
        memcpy((char *)work->out + (size_t)i * work->size,
               (const char *)work->in + (size_t)i * work->size, work->size);
}

static void skewed_alone(void *arg)
{
    const struct work *work = arg;

    for (long i = 0; i < work->count; i++)
        work->out[i] = (int64_t)load_work(work->units[i]);
}

static void skewed(void *arg)
{
    const struct work *work = arg;

#pragma omp parallel for schedule(dynamic, 1)
    for (long i = 0; i < work->count; i++)
        work->out[i] = (int64_t)load_work(work->units[i]);
}

static double items_per_us(struct work *work, void (*body)(void *), double seconds)
{
    body(work);
    return 1e-6 * (double)work->count / median_seconds(seconds, body, work);
}

int main(int argc, char **argv)
{
    struct work work = {.size = sizeof(int64_t)};
    double seconds, value;
    const char *row;

    if (argc != 6)
        return 2;
    row = argv[1];
    omp_set_num_threads(atoi(argv[2]));
    work.count = atol(argv[3]);
    seconds = strtod(argv[5], NULL);
    if (strcmp(row, "large") == 0)
        work.size = (size_t)atol(argv[4]);
    work.in = touched_memory((size_t)work.count * work.size);
    work.out = touched_memory((size_t)work.count * work.size);
    if (strcmp(row, "large") == 0) {
        copies(&work);
        value = (double)work.count * (double)work.size / (1 << 30) /
                median_seconds(seconds, copies, &work);
    } else if (strcmp(row, "pareto") == 0) {
        load_fill(work.units, (size_t)work.count);
        skewed(&work);
        value = median_seconds(seconds, skewed_alone, &work);
        value /= median_seconds(seconds, skewed, &work);
    } else {
        value = items_per_us(
            &work, strcmp(row, "map_chunk1") == 0 ? squares_dynamic : squares_static, seconds);
    }
    printf("%.9g\n", value);
    return 0;
}
