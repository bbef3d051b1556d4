/* SPDX-License-Identifier: MIT */
/*
 * A task, seen by the function that runs it.  These calls are for task functions, in a worker,
 * while they run; the pointers they give are good until the function returns.  A fork that the
 * function makes may call them too, but the length of an output it cannot change.
 *
 * A task function runs in a worker process: what it changes in memory stays there, except its
 * output and memory from mproc_pool_alloc().  It may crash, exit, leak or hang: the worker goes,
 * the task is reported, the other tasks are not touched.  If it calls exit(), the atexit functions
 * that the worker has from its host run in the worker; a worker that ends otherwise runs none.
 */
#ifndef MPROC_TASK_H
#define MPROC_TASK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mproc_task mproc_task;

/* Returns 0, or anything else for a failure, which the submitter sees as MPROC_ETASK with this
 * code. */
typedef int32_t (*mproc_task_fn)(mproc_task *task, void *ctx);

/* The input: its bytes, and how many in *length (may be NULL).  Never NULL; aligned to 64 bytes
 * when it was copied into the pool's memory. */
const void *mproc_task_input(const mproc_task *task, size_t *length);

/*
 * Room for an output of `length` bytes, which becomes the length of the result; aligned to 64
 * bytes, not cleared.  Called again it gives the same place with another length.  A task that never
 * calls it has a result of 0 bytes.  NULL: more than the option output_max allows.
 */
void *mproc_task_output(mproc_task *task, size_t length);

/* The index of the item in mproc_pool_map_bytes(); 0 for a submitted task. */
uint64_t mproc_task_index(const mproc_task *task);

/* The number of the worker that runs it, from 0 up; -EINVAL for NULL. */
int32_t mproc_task_worker(const mproc_task *task);

/* 1 when the task is cancelled or over its limit: this process is about to be killed; else 0, or
 * -EINVAL for NULL. */
int mproc_task_is_cancelled(const mproc_task *task);

/*
 * Say why a task, or an item of a map, fails: `return mproc_fail(3, "no such city");`.  The text
 * (NULL: none) is cut at MPROC_TEXT_MAX - 1 bytes and reaches mproc_failure.  Returns `code`, or -1
 * for 0.
 */
int32_t mproc_fail(int32_t code, const char *text);

#ifdef __cplusplus
}
#endif

#endif
