/* SPDX-License-Identifier: MIT */
/*
 * diary.h: what the environment may ask a pool's processes to write down as they go: MPROC_LOG, lines
 * on the standard error, and MPROC_TRACE, a timeline for a file.  Nobody else pays for it.
 */
#ifndef MP_DIARY_H
#define MP_DIARY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Host, before the first fork: see what is asked for.  Its children know it by that. */
void mp_diary_open(void);
/* The descriptor that supervisor and workers are to keep; -1: none.  Child. */
int mp_diary_fd(void);
/* Is there a timeline?  Who asks may then have to look at a better clock.  Child. */
bool mp_diary_traces(void);

/* All below: one line each, written at once; async-signal-safe.  `pool` is the supervisor's process
 * id, by which the timeline tells generations apart. */

void mp_diary_generation(pid_t pool, pid_t host);
void mp_diary_started(pid_t pool, uint32_t worker, pid_t pid);
/* How a worker ended: its wait status; `left`: because the pool closes; `expired`: it was killed for a
 * time limit. */
void mp_diary_ended(pid_t pool, uint32_t worker, pid_t pid, int status, bool left, bool expired);
/* A fork failed: -errno. */
void mp_diary_not_started(uint32_t worker, int error);

/* A chunk of `count` items from `first` on, from `began` until now; mp_now(). */
void mp_diary_chunk(pid_t pool, uint32_t worker, uint64_t first, uint64_t count, int64_t began,
                    bool failed);
/* The same of one whose worker died. */
void mp_diary_lost_chunk(pid_t pool, uint32_t worker, uint64_t item, int64_t began);

/* Host: the pool has lost its processes. */
void mp_diary_broken(const char *why);

#endif
