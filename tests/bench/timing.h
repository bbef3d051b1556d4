/* SPDX-License-Identifier: MIT */
/* How time is measured, here and in the peers that are written in C: the same way for all. */
#ifndef TIMING_H
#define TIMING_H

#include <stddef.h>
#include <stdint.h>

/* The monotonic clock, in seconds. */
double seconds_now(void);
/* Of the values, which are sorted by it. */
double median(double *values, int count);
/* The median time of a call of body(arg), called for so many seconds and five times at least. */
double median_seconds(double seconds, void (*body)(void *), void *arg);
/* Zeroed memory whose pages are there, of this process or shared with its forks.  Ends the process
 * where there is none. */
void *touched_memory(size_t size);
void *shared_memory(size_t size);

/* The function of most rows. */
static inline int64_t square_of(int64_t x)
{
    return (int64_t)((uint64_t)x * (uint64_t)x);
}

#endif
