/* SPDX-License-Identifier: MIT */
/* Tasks of very unequal length, and what a list schedule makes of them. */
#include "load.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS_PER_UNIT = 700, UNITS_PER_TASK = 1000, MAX_WORKERS = 64 };

static uint64_t next_random(uint64_t state)
{
    return state * 6364136223846793005U + 1442695040888963407U;
}

void load_fill(uint32_t *units, size_t count)
{
    const double alpha = 1.16; /* a fifth of the tasks has four fifths of the work */
    double total = 0, lengths[MAX_LOAD];
    uint64_t state = 1;

    for (size_t i = 0; i < count; i++) {
        state = next_random(state);
        lengths[i] = pow(1 - (double)(state >> 11) / (double)((uint64_t)1 << 53), -1 / alpha);
        total += lengths[i];
    }
    for (size_t i = 0; i < count; i++)
        units[i] = (uint32_t)(lengths[i] / total * (double)count * UNITS_PER_TASK);
}

uint64_t load_work(uint32_t units)
{
    uint64_t state = units;

    for (uint64_t i = 0; i < (uint64_t)units * ROUNDS_PER_UNIT; i++)
        state = next_random(state);
    return state;
}

static int longer_first(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? 1 : -(x > y);
}

double load_speed_up(size_t count, int32_t workers, enum load_order order)
{
    uint32_t units[MAX_LOAD];
    double ends[MAX_WORKERS] = {0}, total = 0, last = 0;

    load_fill(units, count);
    if (order == LONGEST_FIRST)
        qsort(units, count, sizeof *units, longer_first);
    for (size_t i = 0; i < count; i++) {
        int32_t first = 0;

        for (int32_t worker = 1; worker < workers; worker++)
            if (ends[worker] < ends[first])
                first = worker;
        ends[first] += units[i];
        total += units[i];
    }
    for (int32_t worker = 0; worker < workers; worker++)
        last = fmax(last, ends[worker]);
    return total / last;
}
