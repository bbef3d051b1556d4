/* SPDX-License-Identifier: MIT */
/*
 * A submitted task, seen by who submitted it.
 *
 *   1. mproc_pool_submit() makes it.
 *   2. mproc_future_wait(), _wait_any() or _wait_all() until it is done; mproc_future_cancel() to
 *      end it.
 *   3. mproc_future_result() gives its output, or says how it failed.
 *   4. mproc_future_free() gives back its memory.
 *
 * Any thread may use any future, several at once too, except that nobody may use one during or
 * after its mproc_future_free().  A future outlives mproc_pool_destroy(): it is then done, and its
 * result stays good until it is freed.
 */
#ifndef MPROC_FUTURE_H
#define MPROC_FUTURE_H

#include <stddef.h>
#include <stdint.h>

#include <mproc/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mproc_future mproc_future;

/* Wait until the task is done, however it ended.  Blocks up to timeout_ms.  Returns 0 or
 * -ETIMEDOUT. */
int mproc_future_wait(mproc_future *future, int64_t timeout_ms);

/*
 * The same until at least one is done; returns the least index of one that is, or -ETIMEDOUT.  NULL
 * entries are passed over: set an entry to NULL to wait for the next one.  -EINVAL if there is none
 * but NULL, or if they are not all of one pool.
 */
int mproc_future_wait_any(mproc_future *const *futures, size_t count, int64_t timeout_ms);

/* The same until each is done.  NULL entries are passed over.  Returns 0, also if there is none at
 * all, -ETIMEDOUT, or -EINVAL if they are not all of one pool. */
int mproc_future_wait_all(mproc_future *const *futures, size_t count, int64_t timeout_ms);

/* 1 if the task is done, 0 if not, or an error for what is no future of this process: test for > 0.
 * Does not block. */
int mproc_future_is_done(mproc_future *future);

/*
 * The outcome.  Does not block.  Returns 0 and, in *data and *length (each may be NULL), the
 * output, a view that is good until mproc_future_free(); or MPROC_ETASK, MPROC_ECRASHED,
 * MPROC_ELIMIT, MPROC_EBROKEN, -ECANCELED for how it failed; or -EAGAIN if it is not done.
 */
int mproc_future_result(mproc_future *future, const void **data, size_t *length);

/* How the task failed, in full.  Returns 0 (failure->error is 0 if it did not fail), or -EAGAIN if
 * it is not done. */
int mproc_future_failure(mproc_future *future, mproc_failure *failure);

/*
 * End the task: it is not begun if it was not, and its worker is killed and replaced if it runs.
 * Does not block; wait for the future to see it done.  Returns 0, or -EALREADY if it was done
 * before.  A task that ends in the same moment may still give its result.
 */
int mproc_future_cancel(mproc_future *future);

/* Give the future back.  Its task is not cancelled; if it is not done it runs on, and its result is
 * dropped.  Accepts NULL. */
void mproc_future_free(mproc_future *future);

#ifdef __cplusplus
}
#endif

#endif
