/* SPDX-License-Identifier: MIT */
/* The table of every public function and what it answers when it is called as it should not be. */
#ifndef TEST_MISUSE_H
#define TEST_MISUSE_H

#include <mproc/mproc.h>

enum { WRONG = 99 }; /* no call answers that */

/* What the calls are made with. */
struct handles {
    mproc_pool *pool;
    mproc_future *future;
    mproc_process *process;
    mproc_results *results;
    mproc_task *task;
    void *memory; /* of the pool */
};

/* Which handle a call is about: those of a task are to be had in a worker alone. */
enum about { ABOUT_NONE, ABOUT_HANDLE, ABOUT_TASK };

struct row {
    const char *name;
    int64_t (*call)(struct handles *on, int null);
    enum about about;
    int closed; /* the handle's life is over: the pool closed and joined, or (of a future) destroyed;
                    the process joined; the task's pool closed */
    int foreign; /* a fork of the handle's process */
    int worker;  /* a worker that has the handle from its host */
    int pointers;
    int nulls[7]; /* for each pointer argument, when that is NULL */
};

extern const struct row misuse_rows[];
extern const size_t misuse_row_count;

/* A task with an output of three bytes, "yes". */
int32_t misuse_reply(mproc_task *task, void *ctx);

#endif
