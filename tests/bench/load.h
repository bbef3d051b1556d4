/* SPDX-License-Identifier: MIT */
/*
 * Tasks of very unequal length: a few are long, most are short, as a Pareto distribution has them.
 * The same in every run, and in peer_python.py.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_LOAD = 1024 };

/* Fill units[0..count) with the lengths of the tasks. */
void load_fill(uint32_t *units, size_t count);
/* Work for so many units, about a microsecond each.  The value is of no meaning, but of use: it
 * keeps the work from being optimised away. */
uint64_t load_work(uint32_t units);

enum load_order { AS_GIVEN, LONGEST_FIRST };

/* How many times as fast as one worker so many are that lose no time at all: each takes the next
 * task of the list when it has ended one. */
double load_speed_up(size_t count, int32_t workers, enum load_order order);

#endif
