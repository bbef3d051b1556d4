/* SPDX-License-Identifier: MIT */
/* Processes that share events, and a pool whose workers are held at a gate. */
#ifndef TEST_GATES_H
#define TEST_GATES_H

#include <mproc/mproc.h>

#include <semaphore.h>
#include <stdbool.h>
#include <sys/types.h>

enum { WORKERS = 2, PIDS = 64 };

/* What is waited for. */
enum event {
    BEGUN,       /* a task runs */
    GO,          /* it may end */
    ENDED,       /* it is about to */
    INTERRUPTED, /* the host has handled a signal */
    STOPPED,     /* the shell has seen the host stop */
    RESUME,      /* the shell may bring it back */
    CONTINUED,   /* the shell has seen it go on */
    EVENTS
};

struct stage {
    sem_t events[EVENTS];
    _Atomic int pids[PIDS];
    _Atomic int pid_count;
    _Atomic int handlers; /* atexit functions that ran */
    _Atomic int answer;
};

/* Shared by all processes of a test. */
extern struct stage *stage;

void set_stage(void);
void clear_stage(void);

void take(enum event event);
void post(enum event event);
void note(pid_t pid); /* a process that is to be gone at the end */
/* Every process that was noted ends, within the time that is promised. */
void assert_all_gone(void);
int end_of(pid_t pid); /* of a child: its exit code, or 128 and the signal */

/* A task: it notes its worker and the supervisor, says BEGUN, waits for GO and says ENDED. */
int32_t pass_gate(mproc_task *task, void *ctx);
void await_gates(void); /* until each worker is at one */
void open_gates(void);

bool is_usable(mproc_pool *pool);

/* For a host, which is a child of the test.  A pool whose workers are all at a gate. */
mproc_pool *make_gates(mproc_future *futures[WORKERS]);
/* Wait for the gates to be opened: each task must have ended well, and the pool go on, until it is
 * destroyed.  0, or an exit code. */
int finish_gates(mproc_pool *pool, mproc_future *futures[WORKERS]);

#endif
