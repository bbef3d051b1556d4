/* SPDX-License-Identifier: MIT */
/* supervisor.h: what the host hands to the process that keeps the workers alive. */
#ifndef MP_SUPERVISOR_H
#define MP_SUPERVISOR_H

#include <mproc/pool.h>

#include "../shm/bell.h"
#include "../shm/queue.h"
#include "../shm/region.h"

/* The descriptors of a generation.  Pipes: the reading end first. */
enum generation_fd {
    WAKE_READ,
    WAKE_WRITE,
    BELL_READ,
    BELL_WRITE,
    LOOP_READ,
    LOOP_WRITE,
    CONTROL_READ,
    CONTROL_WRITE,
    NUDGE_READ, /* the host's own: one thread wakes another */
    NUDGE_WRITE,
    WATCH, /* two, for mp_watch_*() */
    WATCH_CHILD,
    GENERATION_FDS
};

/* What the supervisor keeps of each worker, in private memory that the host allocates for it. */
struct seat {
    pid_t pid;      /* 0: nobody */
    int bond[2];    /* the worker's life depends on it */
    bool expired;   /* it is being killed for a time limit */
    uint64_t claim; /* a chunk that it runs and has not said since when, and its word: */
    uint64_t seen;
    int64_t since;    /* when that was first seen */
    int64_t start_at; /* with nobody there: when to start a worker; MP_FOREVER: never again */
};

struct supervisor {
    const struct region *region;
    const mproc_pool_options *options;
    int *fds; /* GENERATION_FDS of them */
    struct seat *seats;
    pid_t self;
    int reaper[2];          /* the SIGCHLD handler writes, the loop reads */
    uint32_t failed_starts; /* in a row */
    int64_t stopped_at;     /* when to look again for workers that somebody has stopped */
    uint32_t slots;         /* the descriptors below this one have pages */
    uint64_t peak;          /* bytes of memory that a dead worker had in use, at most */
};

enum { EXIT_CANNOT_START = 125 };

/* In the process just forked, with every signal blocked. */
_Noreturn void mp_supervisor_run(struct supervisor *supervisor);

void mp_close_bond(struct seat *seat);
/* Kill a worker, and all if that cannot be done. */
void mp_must_kill(struct supervisor *sup, uint32_t number);

/* limit.c: enforce limits, where there are any; when to look again. */
int64_t mp_expire_all(struct supervisor *sup);

/* child.c: in the worker just forked, with every signal blocked. */
_Noreturn void mp_worker_main(struct supervisor *sup, uint32_t number);

/* bury.c: end the chunk that the dead worker held, if it held one; what became of it. */
enum chunk_state mp_bury(const struct supervisor *sup, uint32_t number, pid_t pid, int status);
/* The same where nobody will hear of it any more: only the diary does. */
void mp_bury_untold(const struct supervisor *sup, uint32_t number);
/* Does the worker hold a chunk in this state? */
bool mp_holds_chunk(const struct supervisor *sup, uint32_t number, enum chunk_state state);

#endif
