/* SPDX-License-Identifier: MIT */
/* What the calls of libmproc return, and how a task failed. */
#ifndef MPROC_ERROR_H
#define MPROC_ERROR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's own errors, beside -errno. */
enum {
    MPROC_ETASK = -10001,    /* the task function returned non-zero */
    MPROC_ECRASHED = -10002, /* the worker died while it ran the task */
    MPROC_ELIMIT = -10003,   /* the task was killed at its time limit */
    MPROC_EBROKEN = -10004, /* the pool has no processes left and will not replace them by itself */
    MPROC_EFUNC = -10005, /* the workers cannot know the function: it is younger than their fork */
    MPROC_EFOREIGN = -10006, /* the handle belongs to another process */
    MPROC_ECLOSED = -10007,  /* the pool was closed or terminated: it takes no more tasks */
    MPROC_ELOST = -10008,    /* the process has ended, but somebody else took its exit code */
    MPROC_ELOAD = -10009,    /* the shared object cannot be loaded */
    MPROC_ESYMBOL = -10010   /* the shared object has no such symbol */
};

/* Room for the text of a failure, its terminating zero included. */
enum { MPROC_TEXT_MAX = 200 };

/*
 * How one item of a map, or one submitted task, failed.  The caller sets `size` to
 * sizeof(mproc_failure); the rest is written by the library.
 */
typedef struct mproc_failure {
    size_t size;
    uint64_t index;            /* the item; 0 for a submitted task */
    int32_t error;             /* the error of this item, as the call returned it */
    int32_t code;              /* MPROC_ETASK: what the function returned; MPROC_ECRASHED without a
                                  signal: the worker's exit status */
    int32_t signal;            /* MPROC_ECRASHED, MPROC_ELIMIT: what ended the worker, or 0 */
    int32_t pid;               /* MPROC_ETASK, _ECRASHED, _ELIMIT: of the worker that ran it last */
    int32_t attempts;          /* how often the item was begun */
    char text[MPROC_TEXT_MAX]; /* what the task left with mproc_fail(), or why the pool broke */
    int32_t worker;            /* where there is a pid: the number of that worker; else -1 */
    int64_t ran_ms;            /* and how long it had run the item (or its chunk), in
                                  milliseconds, as exactly as a clock of some milliseconds tells */
} mproc_failure;

/*
 * A text for an error that a call of this library returned, or for a plain errno; never NULL.  It
 * is constant: never freed, good for ever, the same for all threads.
 */
const char *mproc_strerror(int error);

/*
 * The failure in words, one line without its end: "item 17: worker 3 (pid 4242) killed by SIGSEGV
 * after 0.8 s".  At most size - 1 bytes and a zero are written at `text` (NULL only with 0).
 * Returns how long the whole line is, or -EINVAL.  Any process and thread may call.
 */
int mproc_failure_describe(const mproc_failure *failure, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
