/* SPDX-License-Identifier: MIT */
/* worker.h: the loop of a worker, apart from the process that it runs in. */
#ifndef MP_WORKER_H
#define MP_WORKER_H

#include "../shm/bell.h"
#include "../shm/queue.h"

struct worker {
    const struct region *region;
    uint32_t number;
    int wake;            /* read end of the wake pipe; -1: there is none */
    int bell;            /* write end of the bell pipe */
    int loop;            /* write end of the loop's bell */
    uint32_t items_left; /* until it is to be replaced; 0: no end */
    bool one_ticket;     /* it serves that in its record, and no other */
    struct patience patience;
    /* By mp_worker_run(). */
    uint32_t era; /* of the queue */
    struct mark wake_mark;
    struct mark bell_mark;
    struct mark loop_mark;
    bool unheard;    /* it should have rung, and the bell is not there */
    pid_t pool;      /* the supervisor's process id, for the diary */
    int64_t traced;  /* mp_now() when that was begun, where there is a timeline */
    int64_t began;   /* mp_now_coarse() when the chunk that it runs was begun */
    int64_t slow_ns; /* an item that takes longer is among the slowest */
};

/* A chunk that a worker holds.  The first three are known when it is claimed. */
struct holding {
    const struct job_shm *job;
    chunk_word *word;
    uint64_t claimed;
    uint64_t chunk;
    uint64_t first; /* item */
    uint64_t count; /* items */
    uint64_t shown; /* the index of the first, for people */
};

enum worker_end {
    WORKER_LEFT,    /* the pool closes: nobody is to take its place */
    WORKER_RETIRED, /* it has run its number of items */
    WORKER_CUT_OFF, /* its pipes are gone: a task closed them */
    WORKER_DOOMED   /* somebody decided to kill it, or it has outlived its supervisor: it must touch
                       nothing more */
};

enum worker_end mp_worker_run(struct worker *worker);
/* meter.c.  A ticket was taken; a chunk was claimed; it has been run, and is of `count` items from
 * `first` on, but who looks does not know of its end yet; the ticket is given up. */
void mp_meter_ticket(struct worker *worker);
void mp_meter_claim(struct worker *worker);
void mp_meter_end(struct worker *worker, uint64_t first, uint64_t count, bool failed);
void mp_meter_rest(struct worker *worker);
/* How long the present chunk has been run, in nanoseconds. */
int64_t mp_meter_ran(const struct worker *worker);
/* Supervisor, host: the worker is dead, and `peak` more than any before has had, or 0. */
void mp_meter_bury(struct worker_shm *record, uint64_t peak);

/* run.c.  Run a chunk that was just claimed: CHUNK_DONE or CHUNK_FAILED, with its outcome written. */
enum chunk_state mp_run_chunk(struct worker *worker, struct holding *held);
/* What was left with mproc_fail() since the last task, if anything: WORKER_TEXT_MAX bytes. */
const char *mp_worker_fail_text(void);

#endif
