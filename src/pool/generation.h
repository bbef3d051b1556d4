/* SPDX-License-Identifier: MIT */
/*
 * generation.h: one supervisor, its workers and its pipes, as the host holds them.  A pool has one
 * at a time.
 *
 *     bell pipe     all others -> host    a byte that means "look"; end of file: they are all gone
 *     loop pipe     all others -> host    the same for an event loop of the program, see loop.c
 *     control pipe  host -> supervisor    a byte that means "look"; end of file: kill all and go
 *
 * Where a process can sleep on a word, no byte goes through the bell pipe, and workers and the host are
 * woken as queue.h and bell.h say.  Where it cannot, there are two pipes more:
 *
 *     wake pipe     host -> workers       a byte that means "look", at the ticket queue; end of file:
 *                                         the pool closes
 *     nudge pipe    host -> host          a byte for the thread that sleeps on the bell; end of
 *                                         file: the program closed a descriptor of these
 *
 * The host keeps the reading ends of the wake and the control pipe, too, so that writing there
 * never raises SIGPIPE.
 */
#ifndef MP_GENERATION_H
#define MP_GENERATION_H

#include "supervisor.h"

/* Twice the first is less than two seconds, and so is STOP_MS with twice the second. */
enum { GRACE_MS = 900, SHORT_GRACE_MS = 400 };
/* Without processes nobody can be killed. */
#define NO_HURRY_MS ((int64_t)365 * 86400 * 1000)

struct generation {
    int fds[GENERATION_FDS];
    struct guard guard;
    const struct region *region;
    pid_t supervisor;
    uint32_t owner;           /* of the bell as a word, once it has one: the supervisor */
    int64_t looked;           /* when the sleeper looked at the pipes, and not only at the word */
    bool shut;                /* the workers leave when they are done */
    _Atomic bool torn;        /* the program closed a descriptor of these */
    _Atomic bool bells_ended; /* without processes: nobody will ring any more */
    struct code_map *code;    /* what the workers can call */
    bool in_process;          /* there are no processes: see inline.c */
    bool alive;               /* from a start until the end of file on the bell was seen */
    int64_t grace;    /* told to end: until when that may take; MP_FOREVER: it was not told */
    int64_t grace_ms; /* how long it was */
    bool killed;      /* it did not end in its grace, and the supervisor was sent a SIGKILL */
};

_Static_assert((int)GENERATION_FDS == (int)GUARD_FDS, "GENERATION_NONE has so many");
#define GENERATION_NONE                                                                            \
    (struct generation)                                                                            \
    {                                                                                              \
        .fds = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, .grace = MP_FOREVER               \
    }

/* Open the pipes and fork the supervisor.  On an error nothing is left behind. */
int mp_generation_start(struct generation *generation, const struct region *region,
                        const mproc_pool_options *options);

/* Wake up to `count` workers that sleep.  0 or an error. */
int mp_generation_wake(struct generation *generation, uint32_t count);
void mp_generation_poke(struct generation *generation); /* make the supervisor look */
void mp_generation_nudge(
    struct generation *generation); /* wake the thread that sleeps on the bell */
/* Without processes: the bells end, as they do when all processes are gone. */
void mp_generation_end_bells(struct generation *generation);
void mp_generation_shut(struct generation *generation); /* the workers leave when they are done */
/* Everything ends, now: in its grace, or in as much time again when the supervisor was killed. */
void mp_generation_kill(struct generation *generation, int64_t grace_ms);

/* How a sleep on the bell ended. */
enum awakening {
    AWAKE_RUNG,         /* or nudged; the bell is empty now, or rings again */
    AWAKE_LATE,         /* the deadline has passed */
    AWAKE_BELL_ENDED,   /* every process of the generation is gone */
    AWAKE_UNSUPERVISED, /* the supervisor is gone, and somebody holds on to the bell or rings it */
    AWAKE_FAILED        /* the program has closed a descriptor that is ours */
};

/* Sleep until something happens.  Only one thread at a time.  `supervised`: the supervisor's end is
 * to be told, too. */
enum awakening mp_generation_sleep(struct generation *generation, int64_t deadline,
                                   bool supervised);
/* Its grace is over: kill the supervisor, or at the second time give it up for dead (true). */
bool mp_generation_grace_over(struct generation *generation);
/* Has the program closed a descriptor that is ours? */
bool mp_generation_is_torn(const struct generation *generation);
/* After the end of file: reap the supervisor and close everything.  Its wait status, or -1. */
int mp_generation_finish(struct generation *generation);

/* ---- crew.c: the processes; a build for tests has them as threads instead -------------------- */

/* Start the supervisor, which starts the workers.  The bell's writing end goes over to them. */
int mp_crew_start(struct generation *generation, struct supervisor *sup);
void mp_crew_kill(struct generation *generation); /* the supervisor, by SIGKILL */
/* The bell has ended: wait until the supervisor has, too.  Its wait status, or -1. */
int mp_crew_wait(struct generation *generation, int64_t deadline);

#endif
