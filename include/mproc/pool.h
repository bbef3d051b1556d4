/* SPDX-License-Identifier: MIT */
/*
 * A pool of worker processes.
 *
 *   1. mproc_pool_create() forks the workers.
 *   2. mproc_pool_map() and its kin run a function over many items and wait; mproc_pool_submit()
 *      hands over one task and returns at once.
 *   3. mproc_pool_close() and mproc_pool_join() let what is queued finish, or
 *      mproc_pool_terminate() ends it now.
 *   4. mproc_pool_destroy() gives everything back.
 *
 * The workers have the memory of the moment of mproc_pool_create(), as a copy.  A function they
 * run, and what it reaches through `ctx` or globals, must have been there by then.
 *
 * When a worker dies, whatever killed it, the item that it ran is reported as MPROC_ECRASHED with
 * the signal, the worker is replaced, and everything else goes on.  An item is never run twice
 * unless `retries` asks for it.
 *
 * A program that closes the descriptors of a pool, as code that daemonises closes all, breaks it:
 * calls end with MPROC_EBROKEN, at the latest a second later, or with -EBADF where more shared
 * memory is needed, whose descriptor a restart does not bring back.  A file that the program has at
 * such a number is left alone.  Close, join and destroy work as ever.
 *
 * Whatever a worker writes into what it shares with its pool, the caller's process does not read or
 * write out of bounds for it and does not abort, and a call returns within two seconds of its
 * timeout.  What such a pool returns is another matter: results may be wrong, tasks lost or run
 * twice, limits of tasks not kept, and a result that is seen in place may change while it is looked
 * at.  The README says more under "What it promises".
 *
 * Any thread may use a pool, several at once too, except that nobody may use it during or after
 * mproc_pool_destroy().  In a worker or any other fork the handle is foreign: MPROC_EFOREIGN.
 */
#ifndef MPROC_POOL_H
#define MPROC_POOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <mproc/error.h>
#include <mproc/future.h>
#include <mproc/task.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mproc_pool mproc_pool;
typedef struct mproc_results mproc_results;

/* Read one item at `in`, write its result at `out`.  Returns 0, or anything else for a failure. */
typedef int32_t (*mproc_map_fn)(const void *in, void *out, void *ctx);
/* The same for `count` items that lie side by side, and as many results. */
typedef int32_t (*mproc_batch_fn)(const void *in, void *out, size_t count, void *ctx);

/* Run once in each worker before its first task; non-zero: the worker cannot work, and mproc_fail()
 * may say why.  Workers are numbered from 0; a replacement has the number of the one it replaces. */
typedef int32_t (*mproc_init_fn)(int32_t worker, void *arg);
/* Run in a worker that leaves because the pool was closed or restarted, or after tasks_per_worker.
 * Not after a crash; and when a pool is terminated, or destroyed without having been joined, it may
 * or may not run.  What tasks printed is flushed in the same cases. */
typedef void (*mproc_exit_fn)(int32_t worker, void *arg);
typedef void (*mproc_hook_fn)(void);

typedef struct mproc_pool_options {
    size_t size;
    mproc_init_fn init;
    mproc_exit_fn exit;
    void *arg;                 /* for both */
    mproc_hook_fn before_fork; /* in the caller, just before its one fork */
    mproc_hook_fn parent_fork; /* in the caller, just after it, on failure too */
    mproc_hook_fn child_fork;  /* once in each worker, before init */
    /* Bytes of shared memory for inputs and outputs, at most; it is taken only as it is used.
     * 0: twice the machine's memory, or less as RLIMIT_AS and RLIMIT_FSIZE allow.  All of it counts
     * for RLIMIT_AS (take RLIMIT_DATA to limit what tasks allocate), and valgrind's search for leaks
     * reads it: keep it small there. */
    uint64_t arena_size;
    /* Shared memory that was used and is free keeps its pages up to so many bytes, and goes back to
     * the system beyond.  0: 64 MiB; UINT64_MAX: all of it is kept. */
    uint64_t keep_bytes;
    int64_t time_limit_ms; /* for each item or task, unless its call says otherwise; 0: none */
    /* The same: how often an item is begun again after MPROC_ECRASHED, 254 times at most.  Not
     * after MPROC_ETASK, MPROC_ELIMIT or a cancel. */
    int32_t retries;
    uint32_t tasks_per_worker; /* a worker is replaced after this many items; 0: never */
    /* Non-zero: workers keep the descriptors they inherit; else all but 0, 1 and 2 are closed in
     * them.  Their standard input is /dev/null always. */
    int32_t keep_descriptors;
    int32_t nice; /* added to the workers' nice value */
    /* How many microseconds an idle worker, and a thread that waits, look for news before they
     * sleep: a task then needs no system call.  They keep a CPU busy meanwhile, and a pool that is
     * closed may take so much longer to end.  0: some, as long as it pays, giving way to whoever
     * wants the CPU; -1: not at all; 1,000,000 at most. */
    int32_t spin_us;
    /* Non-zero: no processes.  Each task is run, as worker 0 of 1, by the calling thread in the call
     * that hands it over (or by another thread that is at it already: one runs at a time), so that a
     * debugger sees it.  Results, their order, statuses and failures are the same; but a crash or an
     * exit is the program's own, time limits are not enforced, what runs is not cancelled, a call takes
     * as long as there is something to run, the hooks are not called and `nice` does nothing. */
    int32_t in_process;
    int32_t reserved; /* 0 */
} mproc_pool_options;

/* How far a map has come. */
typedef struct mproc_progress {
    size_t size;
    uint64_t done;      /* items that have ended by themselves, those that failed too */
    uint64_t failed;    /* of these */
    uint64_t total;     /* items of the map */
    int64_t elapsed_ms; /* since the call began */
    int32_t over;       /* 1: the last call for this map; else 0 */
    int32_t reserved;   /* 0 */
} mproc_progress;

/* Called by the thread that waits in a map, ten times a second at most, and once at the end of a map
 * that was begun.  It may use the pool.  A map of many chunks is counted less often. */
typedef void (*mproc_progress_fn)(const mproc_progress *progress, void *arg);

typedef struct mproc_map_options {
    size_t size;
    size_t chunk_size;      /* items that a worker takes at a time; 0: chosen by the library */
    size_t ctx_size;        /* non-zero: *ctx, of so many bytes, is copied for this call */
    int64_t timeout_ms;     /* for the whole call; 0: none.  What runs then is killed */
    int64_t time_limit_ms;  /* for each item; 0: the pool's, -1: none */
    int32_t retries;        /* 0: the pool's, -1: none */
    int32_t reserved;       /* 0 */
    size_t output_max;      /* map_bytes: as mproc_submit_options has it */
    int32_t *statuses;      /* `count` of them, or NULL: see mproc_pool_map() */
    mproc_failure *failure; /* or NULL: how the first failing item (the lowest index) failed */
    /* Or NULL; mproc_progress_bar() is one, and is the default if the environment had
     * MPROC_PROGRESS=1 when the pool was made (not in a set-uid program). */
    mproc_progress_fn progress;
    void *progress_arg; /* handed to it */
} mproc_map_options;

typedef struct mproc_submit_options {
    size_t size;
    size_t ctx_size;       /* non-zero: *ctx, of so many bytes, is copied for this task */
    size_t output_max;     /* the longest output; 0: 1 MiB.  So much of the arena is set aside until
                              the future is freed, and taken only as it is used */
    int64_t time_limit_ms; /* 0: the pool's, -1: none */
    int32_t retries;       /* 0: the pool's, -1: none */
    int32_t reserved;      /* 0 */
} mproc_submit_options;

/* ---- life ------------------------------------------------------------------------------------ */

/*
 * Make a pool of `workers` processes, 1 to 4096, or mproc_cpu_count() for 0 (which heeds
 * MPROC_WORKERS).  Forks once: a supervisor, which forks the workers, sees them die, replaces them
 * and enforces limits; stdout and stderr are flushed before.  It all ends with the caller's process,
 * even by SIGKILL.
 *
 * Of a program with more threads the workers have only the calling one, and what a lock of another
 * thread guarded at that moment stays locked in them: make the pool before the threads.
 *
 * Does not wait for the workers.  If none can be started, or `init` fails time after time, the
 * calls that wait for a task return MPROC_EBROKEN, and its mproc_failure says why.
 *
 * Returns 0 and the new handle, or -EINVAL (NULL, bad options), -ENOMEM (no memory, or a limit is in
 * the way of arena_size), -ENOSPC (no shared memory), -EAGAIN (no process), -EMFILE or -ENFILE (no
 * descriptor to be had).
 */
int mproc_pool_create(mproc_pool **pool, int32_t workers, const mproc_pool_options *options);

/* How many workers it has, or an error.  Does not block. */
int32_t mproc_pool_workers(const mproc_pool *pool);

/* No more tasks are taken: MPROC_ECLOSED.  What is queued is finished, and memory of the pool is to
 * be had as before.  Does not block.  Returns 0, also if it was closed before. */
int mproc_pool_close(mproc_pool *pool);

/*
 * After close or terminate: wait until every task is done and every process has ended.  Blocks up
 * to timeout_ms.  Returns 0, -ETIMEDOUT, or -EINVAL if the pool is neither closed nor terminated.
 */
int mproc_pool_join(mproc_pool *pool, int64_t timeout_ms);

/* No more tasks are taken, and the workers and what they started are killed; every open task ends
 * with -ECANCELED.  Does not block: wait for a task, or join, to see it done.  Returns 0. */
int mproc_pool_terminate(mproc_pool *pool);

/*
 * New workers with the memory of this moment; forks once.  For a function that was loaded after the
 * pool was made, and for a pool that returned MPROC_EBROKEN.  Blocks until the old workers have
 * left.  Returns 0, -EBUSY while tasks are open or handed over or a map is under way, MPROC_ECLOSED,
 * or an error of mproc_pool_create(); after one of these last the pool has no workers until another
 * restart succeeds.
 */
int mproc_pool_restart(mproc_pool *pool);

/* Terminate, join, and give everything back: open tasks end with -ECANCELED, so close and join
 * first to let them finish.  Blocks for two seconds at most (with `in_process`, until the task that
 * runs has ended).  Accepts NULL; a foreign handle is left alone. */
void mproc_pool_destroy(mproc_pool *pool);

/* ---- map ------------------------------------------------------------------------------------- */

/*
 * Run fn over `count` items of `in_size` bytes at `in`; the result of item i, `out_size` bytes,
 * goes to place i of `out`, whatever order they finish in.  Blocks until all have ended.
 *
 * - `in` NULL: each item is its own index, as a uint64_t; in_size must be 0 or 8.  `out` may be
 *   NULL with an out_size of 0.  Items and results in memory of mproc_pool_alloc() are used in
 *   place; other memory is copied.  `out` may be `in` (of mproc_pool_alloc(): if results are as large
 *   as items); they must not overlap otherwise.
 * - `ctx` reaches fn as it is: it must point to memory that stood when the pool was made, or to
 *   memory of mproc_pool_alloc(); or ctx_size has it copied.  In the first case fn sees what that
 *   memory held when the pool was made.
 * - The first failure cancels the items that are not begun; when those that run have ended, the
 *   error of the lowest item that failed is returned.  Results of items that were done are in
 *   `out`; the places of others are as they were, or whatever fn left there.
 * - With `statuses` every item is run.  statuses[i] becomes 0 or the error of item i, and the call
 *   returns how many failed.  An item may crash or exit, or hang under a time limit: the others are
 *   not touched.
 * - With statuses, a time limit or retries each item is a chunk of its own: what happens to one
 *   does not happen to its neighbours.
 * - What is copied goes through the arena in sections of 2 MiB or so, so a map may be larger than
 *   that.  A map that copies nothing is one section; each chunk of a section takes about 250 bytes
 *   of the arena.
 * - For its first milliseconds a map is left to as many workers as there are CPUs.
 * - At timeout_ms the call returns -ETIMEDOUT; items that did not end have -ECANCELED.
 * - `failure` (its size set) tells of the first item that failed; its error is 0 if none did.
 *
 * Returns 0 (or a count, with statuses), MPROC_ETASK, MPROC_ECRASHED, MPROC_ELIMIT, MPROC_EBROKEN,
 * -ECANCELED (terminated meanwhile), -ETIMEDOUT; or, with nothing begun, -EINVAL (also for memory
 * that is the pool's in part), -EOVERFLOW (a size is too large), -EBUSY (a restart is under way),
 * MPROC_ECLOSED, MPROC_EBROKEN, MPROC_EFUNC; or -ENOMEM (the arena has no room for a section),
 * -ENOSPC (the machine has no memory for it), -EAGAIN (65,536 tasks are open).  Where one of these
 * last ends a map that was begun, it is the status of the items that were not.  A map of 0 items
 * succeeds.
 */
int mproc_pool_map(mproc_pool *pool, mproc_map_fn fn, void *ctx, const void *in, size_t in_size,
                   void *out, size_t out_size, size_t count, const mproc_map_options *options);

/* The same with a function that is given a whole chunk of items at once.  The chunk is the unit:
 * its status is that of each of its items, a limit or a retry is for all of it.  With `in` NULL it
 * is given at most 512 indexes at a time. */
int mproc_pool_map_batch(mproc_pool *pool, mproc_batch_fn fn, void *ctx, const void *in,
                         size_t in_size, void *out, size_t out_size, size_t count,
                         const mproc_map_options *options);

/*
 * The same for inputs and outputs of any length, with a task function (task.h).  On success, and
 * with statuses after an error too, *results has the outputs in the order of the inputs, to be
 * freed; an item that failed has an output of 0 bytes.  Set it to NULL before: an error with nothing
 * begun leaves it alone, as it does the statuses.  A failure is seen when the items before it have
 * ended; some hundreds that were handed out by then are run.  chunk_size is not used.
 */
int mproc_pool_map_bytes(mproc_pool *pool, mproc_task_fn fn, void *ctx, const struct iovec *inputs,
                         size_t count, mproc_results **results, const mproc_map_options *options);

/* Plain memory: good until freed, also after the pool is gone; a fork has a copy that it may use. */
size_t mproc_results_count(const mproc_results *results);
/* Output `index`: never NULL, *length (may be NULL) bytes.  Returns 0 or -EINVAL. */
int mproc_results_get(const mproc_results *results, size_t index, const void **data,
                      size_t *length);
void mproc_results_free(mproc_results *results);

/*
 * mproc_pool_map() with workers of its own (0: mproc_cpu_count(), never more than items), forked at
 * the call and gone when it returns: fn sees all memory that the caller sees, and inputs are not
 * copied at all.  Forks.  Returns as mproc_pool_create() or mproc_pool_map(); where an option says
 * "the pool's", that is none.
 */
int mproc_map(mproc_map_fn fn, void *ctx, const void *in, size_t in_size, void *out,
              size_t out_size, size_t count, int32_t workers, const mproc_map_options *options);

/*
 * Draw a bar on the standard error if that is a terminal: how much is done, how fast, how many failed,
 * how long it may take; at the end it leaves the line.  `arg` is not used.  For any pool and any
 * process; NULL is passed over.
 */
void mproc_progress_bar(const mproc_progress *progress, void *arg);

/* ---- single tasks ---------------------------------------------------------------------------- */

/*
 * Hand over one task: fn will be called with a copy of the in_size bytes at `in` (NULL only with 0;
 * memory of mproc_pool_alloc() is used in place).  For `ctx` see mproc_pool_map().  Does not block
 * (with `in_process` it runs the task).
 *
 * The workers go on by themselves with the first 8,192 tasks that wait; beyond those, and after a
 * death, the library needs to be called now and then: any wait will do.
 *
 * Returns 0 and the future, or an error of mproc_pool_map() with nothing begun.
 */
int mproc_pool_submit(mproc_pool *pool, mproc_future **future, mproc_task_fn fn, void *ctx,
                      const void *in, size_t in_size, const mproc_submit_options *options);

/*
 * Submit and wait; blocks until the task is done.  The output is copied to the out_size bytes at
 * `out`, and *length (may be NULL) says how long it is.  Returns 0; -EMSGSIZE if it did not fit
 * (what fits is there, and *length is set); or an error of mproc_pool_submit() or mproc_future_result().
 */
int mproc_pool_call(mproc_pool *pool, mproc_task_fn fn, void *ctx, const void *in, size_t in_size,
                    void *out, size_t out_size, size_t *length,
                    const mproc_submit_options *options);

/* ---- event loops ----------------------------------------------------------------------------- */

/*
 * A descriptor for poll() and its like that becomes readable (POLLIN or POLLHUP) when there is
 * something for mproc_pool_step() to take in: a task has ended, a worker has died, the pool is
 * broken or has closed down.  It may also do so for nothing, and does so once at first.
 *
 * It is the pool's: only to be polled, good until mproc_pool_destroy() closes it, and the same at
 * each call.  After mproc_pool_restart() it is the same number still, but stands for another pipe: a
 * registration with epoll or kqueue is to be made again.  A program that closed it is given another.
 *
 * Returns the descriptor, or -EMFILE, MPROC_ECLOSED or MPROC_EBROKEN (the pool has no processes any
 * more, and none was asked for before), -EBUSY (a restart is under way).
 */
int mproc_pool_fd(mproc_pool *pool);

/*
 * Take in what there is, without waiting, and hand on what waits for room.  Call it when the
 * descriptor is readable, then see which futures are done.  Other threads may wait at the same time.
 *
 * Returns how many tasks (a map counts as one or some) have ended since the last step, whoever took
 * them in; MPROC_EBROKEN or MPROC_ECLOSED when there are none and the pool's processes are gone: the
 * descriptor stays readable then, so stop polling it (until a restart).  After
 * mproc_pool_terminate() a system that does not end its processes is given up by mproc_pool_join()
 * or a step a second later; nothing becomes readable for that.
 */
int mproc_pool_step(mproc_pool *pool);

/* ---- shared memory --------------------------------------------------------------------------- */

/*
 * Memory that the caller and all workers of the pool share, at the same address in each, aligned to
 * 64 bytes and not cleared.  It is good until deallocated or until the pool is destroyed, over a
 * restart, too; a task that may still use it has to have ended by then.  Nothing guards it: who
 * writes when is the program's affair.  Neither call waits for anybody; the memory is taken from the
 * machine at once, which for gigabytes takes its time.
 *
 * Returns 0; -ENOMEM: no room in the arena; -ENOSPC: none in the machine; -EBADF: the program closed
 * the descriptor of the arena; -EINVAL: 0 bytes or, from dealloc, memory that is none of the pool's.
 * dealloc accepts NULL.
 */
int mproc_pool_alloc(mproc_pool *pool, size_t size, void **memory);
int mproc_pool_dealloc(mproc_pool *pool, void *memory);

#ifdef __cplusplus
}
#endif

#endif
