/* SPDX-License-Identifier: MIT */
/*
 * montecarlo_pi [WORKERS]: pi from ten million random points, the same to the last digit for
 * any number of workers.
 *
 * A generator that hands out one number after the other (rand(), say) would give each worker a row
 * of its own, or all of them the same one, and an answer that depends on who did what.  Here the
 * number is a function of its place: the point i is the same whoever computes it.
 */
#include <mproc/mproc.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITEMS = 1000, POINTS = 10000 }; /* so many points in each item */

/* SplitMix64: the number at place `counter`, 64 bits that look random. */
static uint64_t random_at(uint64_t counter)
{
    uint64_t z = (counter + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* One item: of its points in the square of side 1, how many are in the circle of radius 1?  In whole
 * numbers of 31 bits, so that nothing is rounded. */
static int32_t count_hits(const void *in, void *out, void *ctx)
{
    const uint64_t *item = in;
    uint32_t hits = 0;

    (void)ctx;
    for (uint64_t i = 0; i < POINTS; i++) {
        uint64_t point = random_at(*item * POINTS + i);
        uint64_t x = point >> 33, y = point & 0x7fffffff;

        hits += x * x + y * y < UINT64_C(1) << 62;
    }
    *(uint32_t *)out = hits;
    return 0;
}

int main(int argc, char **argv)
{
    static uint32_t hits[ITEMS];
    uint64_t sum = 0;
    mproc_pool *pool;
    int error = mproc_pool_create(&pool, argc > 1 ? atoi(argv[1]) : 0, NULL);

    /* `in` is NULL: the items are the numbers from 0 to ITEMS - 1. */
    if (!error) {
        error = mproc_pool_map(pool, count_hits, NULL, NULL, 0, hits, sizeof hits[0], ITEMS, NULL);
        mproc_pool_destroy(pool);
    }
    if (error) {
        fprintf(stderr, "montecarlo_pi: %s\n", mproc_strerror(error));
        return EXIT_FAILURE;
    }
    for (int i = 0; i < ITEMS; i++)
        sum += hits[i];
    printf("%" PRIu64 " of %d points: pi is about %.6f\n", sum, ITEMS * POINTS,
           4.0 * (double)sum / ITEMS / POINTS);
    return EXIT_SUCCESS;
}
