/* SPDX-License-Identifier: MIT */
/* The clock, medians, and memory whose pages are there before the clock runs. */
#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MAX_SAMPLES = 100000, LEAST_SAMPLES = 5 };

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

double median(double *values, int count)
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

static void *touch(size_t size, int sharing)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    memset(memory, 0, size);
    return memory;
}

void *touched_memory(size_t size)
{
    return touch(size, MAP_PRIVATE);
}

void *shared_memory(size_t size)
{
    return touch(size, MAP_SHARED);
}
