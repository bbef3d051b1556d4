/* SPDX-License-Identifier: MIT */
/*
 * lives.h: what the processes of calls.c live through while a call fails.  A life that finds
 * something wrong says so on stderr and ends the process with LIFE_WRONG.
 */
#ifndef LIVES_H
#define LIVES_H

#include <stdbool.h>

enum { LIFE_WRONG = 1, LIFE_SECONDS = 30 }; /* the longest that a life may take */

extern int life_prints_to; /* a file, for life_of_a_one_shot_map() */

void life_check(bool holds, const char *what, long value);

void life_of_a_pool(void);
void life_where_tasks_die(void);
void life_of_a_process(void);
void life_of_a_one_shot_map(void);
void life_without_standard_streams(void);

#endif
