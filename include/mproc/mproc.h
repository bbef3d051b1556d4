/* SPDX-License-Identifier: MIT */
/*
 * libmproc: processes, and pools of worker processes, for C.
 *
 * This header includes all the others.  One header for each concept:
 *
 *   error.h    what the calls return
 *   process.h  start one process and join it
 *   pool.h     a pool of workers: map, submit, close, join
 *   future.h   a submitted task, seen by who submitted it
 *   task.h     a task, seen by the function that runs it in a worker
 *   stats.h    what a pool has done so far, in numbers
 *   ffi.h      for bindings from other languages
 *
 * Rules that hold for every function:
 *
 * - It returns 0 or a count, or a negative error: -errno or one of the codes in error.h.
 *   mproc_strerror() gives a text for both.  errno is not part of the contract.
 * - An output argument is written only on success, unless the function says otherwise.  Every _free
 *   and _destroy accepts NULL; elsewhere a NULL handle is -EINVAL, or NULL or 0 where the answer is a
 *   pointer, a size or an index.
 * - Structs of options begin with `size`: { .size = sizeof options } and everything else 0 is every
 *   default, and so is NULL.  A smaller `size`, of a program built against an older header, is
 *   accepted; 0, or a larger one with something in it that this library does not know, is -EINVAL.
 * - A timeout is in milliseconds: -1 for ever, as all below 0, and 0 do not wait.  It counts from
 *   the entry of the call.  In options 0 is none, because it is the default, and less is -EINVAL.
 * - A handle of a pool, a future or a process belongs to the process that made it.  In any other (a
 *   fork, a worker) a call with it returns MPROC_EFOREIGN and does nothing; _free and _destroy leave
 *   alone what it stands for.  A process that was made around the C library's fork() (vfork, clone,
 *   _Fork) is not recognised: it must not use a handle.
 * - Any thread may call; where two threads may not use the same handle at once, it is said.  A thread
 *   that may be cancelled (pthread_cancel) disables that around each call, but for those that wait
 *   for tasks, which do it themselves.
 */
#ifndef MPROC_MPROC_H
#define MPROC_MPROC_H

#include <mproc/error.h>
#include <mproc/ffi.h>
#include <mproc/future.h>
#include <mproc/pool.h>
#include <mproc/process.h>
#include <mproc/stats.h>
#include <mproc/task.h>

#endif
