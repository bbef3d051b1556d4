/* SPDX-License-Identifier: MIT */
/* What future.h, task.h and the part of pool.h on single tasks promise. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, UNTOUCHED = 12345 };

/* ---- helpers --------------------------------------------------------------------------------- */

/* What the workers and the test share. */
struct stage {
    _Atomic int32_t begun;
    _Atomic int32_t runs;
    _Atomic int32_t gate; /* closed while 0 */
    _Atomic int32_t pid;
    _Atomic int32_t supervisor;
    _Atomic int32_t seen;
};

static struct stage *stage;

/* Before the pool is made, so that its workers have it. */
static void set_stage(void)
{
    stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(stage != MAP_FAILED);
}

static void clear_stage(void)
{
    assert_int_equal(munmap(stage, sizeof *stage), 0);
    stage = NULL;
}

/* Look until it is there; the test's limit bounds it.  Returns the value. */
static int32_t await(_Atomic int32_t *value, int32_t least)
{
    int32_t now;

    while ((now = atomic_load(value)) < least)
        poll(NULL, 0, 1);
    return now;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The build for the race detector has threads for workers: nobody can be killed there. */
static void need_processes(void)
{
#ifdef __SANITIZE_THREAD__
    skip();
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    skip();
#endif
#endif
}

static mproc_pool *make_pool(int32_t workers, const mproc_pool_options *options)
{
    mproc_pool *pool = NULL;

    assert_int_equal(mproc_pool_create(&pool, workers, options), 0);
    assert_non_null(pool);
    return pool;
}

static mproc_future *submit(mproc_pool *pool, mproc_task_fn fn, uint64_t number)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 4096};
    mproc_future *future = NULL;

    assert_int_equal(mproc_pool_submit(pool, &future, fn, NULL, &number, sizeof number, &options),
                     0);
    assert_non_null(future);
    return future;
}

static int result_of(mproc_future *future)
{
    assert_int_equal(mproc_future_wait(future, -1), 0);
    return mproc_future_result(future, NULL, NULL);
}

static void assert_number(mproc_future *future, uint64_t expected)
{
    const void *data = NULL;
    size_t length = 0;
    uint64_t number;

    assert_int_equal(result_of(future), 0);
    assert_int_equal(mproc_future_result(future, &data, &length), 0);
    assert_int_equal(length, sizeof number);
    assert_non_null(data);
    memcpy(&number, data, sizeof number);
    assert_int_equal(number, expected);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t double_number(mproc_task *task, void *ctx)
{
    const uint64_t *in = mproc_task_input(task, NULL);
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    if (!out)
        return 1;
    *out = 2 * *in;
    return 0;
}

/* Says that it has begun, and goes on when the gate is open. */
static int32_t double_behind_gate(mproc_task *task, void *ctx)
{
    atomic_store(&stage->pid, (int32_t)getpid());
    atomic_store(&stage->supervisor, (int32_t)getppid());
    atomic_fetch_add(&stage->begun, 1);
    await(&stage->gate, 1);
    atomic_fetch_add(&stage->runs, 1);
    return double_number(task, ctx);
}

static int32_t count_run(mproc_task *task, void *ctx)
{
    atomic_fetch_add(&stage->runs, 1);
    return double_number(task, ctx);
}

static int32_t tell_pid(mproc_task *task, void *ctx)
{
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    *out = (uint64_t)getpid();
    return 0;
}

static int32_t fail_with_text(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_store(&stage->pid, (int32_t)getpid());
    return mproc_fail(42, "no such city");
}

static int32_t hang(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_store(&stage->pid, (int32_t)getpid());
    atomic_fetch_add(&stage->begun, 1);
    for (;;)
        pause();
    return 0;
}

static int32_t kill_self(mproc_task *task, void *ctx)
{
    atomic_fetch_add(&stage->runs, 1);
    raise(SIGKILL);
    return double_number(task, ctx);
}

/* ---- submit, wait, result -------------------------------------------------------------------- */

static void a_task_gives_its_output(void **state)
{
    mproc_pool *pool = make_pool(WORKERS, NULL);
    mproc_future *future;

    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        future = submit(pool, double_number, i);
        assert_number(future, 2 * i);
        assert_int_equal(mproc_future_is_done(future), 1);
        assert_number(future, 2 * i);
        mproc_future_free(future);
    }
    mproc_pool_destroy(pool);
}

static void before_it_is_done_a_task_has_no_result(void **state)
{
    mproc_failure failure = {.size = sizeof failure, .code = UNTOUCHED};
    const void *data = &failure;
    size_t length = UNTOUCHED;
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    future = submit(pool, double_behind_gate, 4);
    await(&stage->begun, 1);
    assert_int_equal(mproc_future_is_done(future), 0);
    assert_int_equal(mproc_future_result(future, &data, &length), -EAGAIN);
    assert_int_equal(mproc_future_failure(future, &failure), -EAGAIN);
    assert_ptr_equal(data, &failure);
    assert_int_equal(length, UNTOUCHED);
    assert_int_equal(failure.code, UNTOUCHED);
    atomic_store(&stage->gate, 1);
    assert_number(future, 8);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* The second task is begun by the worker that has ended the first; and nobody has looked yet. */
static void what_has_ended_is_there_without_a_wait(void **state)
{
    mproc_pool *pool;
    mproc_future *first, *second;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    first = submit(pool, double_number, 4);
    second = submit(pool, double_behind_gate, 5);
    await(&stage->begun, 1);
    assert_int_equal(mproc_future_wait(first, 0), 0);
    atomic_store(&stage->gate, 1);
    assert_number(first, 8);
    assert_number(second, 10);
    mproc_future_free(first);
    mproc_future_free(second);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_wait_takes_as_long_as_it_may(void **state)
{
    mproc_pool *pool;
    mproc_future *future;
    int64_t begin;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    future = submit(pool, double_behind_gate, 4);
    await(&stage->begun, 1);
    begin = now_ms();
    assert_int_equal(mproc_future_wait(future, 0), -ETIMEDOUT);
    assert_in_range(now_ms() - begin, 0, 20 * test_slowness());
    begin = now_ms();
    assert_int_equal(mproc_future_wait(future, 20), -ETIMEDOUT);
    assert_in_range(now_ms() - begin, 20, 20 + 100 * test_slowness());
    begin = now_ms();
    assert_int_equal(mproc_future_wait_any(&future, 1, 20), -ETIMEDOUT);
    assert_int_equal(mproc_future_wait_all(&future, 1, 20), -ETIMEDOUT);
    assert_in_range(now_ms() - begin, 40, 40 + 200 * test_slowness());
    atomic_store(&stage->gate, 1);
    assert_int_equal(mproc_future_wait(future, 60000), 0);
    assert_int_equal(mproc_future_wait(future, 0), 0);
    assert_int_equal(mproc_future_wait(future, INT64_MAX), 0);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void bad_arguments_are_refused(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *none[2] = {NULL, NULL};
    mproc_future *future = none[0];
    uint64_t number = 1;
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_future_wait(NULL, -1), -EINVAL);
    assert_int_equal(mproc_future_is_done(NULL), -EINVAL);
    assert_int_equal(mproc_future_result(NULL, NULL, NULL), -EINVAL);
    assert_int_equal(mproc_future_failure(NULL, &failure), -EINVAL);
    assert_int_equal(mproc_future_cancel(NULL), -EINVAL);
    mproc_future_free(NULL);
    assert_int_equal(mproc_pool_submit(NULL, &future, double_number, NULL, NULL, 0, NULL), -EINVAL);
    assert_int_equal(mproc_pool_submit(pool, NULL, double_number, NULL, NULL, 0, NULL), -EINVAL);
    assert_int_equal(mproc_pool_submit(pool, &future, NULL, NULL, NULL, 0, NULL), -EINVAL);
    assert_int_equal(mproc_pool_submit(pool, &future, double_number, NULL, NULL, 8, NULL), -EINVAL);
    assert_int_equal(mproc_pool_call(pool, double_number, NULL, &number, 8, NULL, 8, NULL, NULL),
                     -EINVAL);
    assert_null(future);
    future = submit(pool, double_number, 1);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_failure(future, NULL), -EINVAL);
    failure.size = 0;
    assert_int_equal(mproc_future_failure(future, &failure), -EINVAL);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
}

static int submit_with(mproc_pool *pool, void *ctx, const void *options)
{
    uint64_t number = 1;
    mproc_future *future = NULL;
    int r = mproc_pool_submit(pool, &future, double_number, ctx, &number, 8, options);

    if (r)
        assert_null(future);
    mproc_future_free(future);
    return r;
}

static void options_of_any_release_are_taken_and_bad_ones_refused(void **state)
{
    struct {
        mproc_submit_options options;
        char tail[64];
    } later = {.options = {.size = sizeof later}};
    mproc_submit_options options = {.size = 0};
    mproc_pool *pool = make_pool(2, NULL);

    (void)state;
    assert_int_equal(submit_with(pool, NULL, &later), 0);
    later.tail[0] = 1;
    assert_int_equal(submit_with(pool, NULL, &later), -EINVAL);
    assert_int_equal(submit_with(pool, NULL, &options), -EINVAL);
    options.size = sizeof(size_t);
    options.reserved = 1; /* beyond the size: not looked at */
    assert_int_equal(submit_with(pool, NULL, &options), 0);
    options.size = sizeof options;
    assert_int_equal(submit_with(pool, NULL, &options), -EINVAL);
    options = (mproc_submit_options){.size = sizeof options, .time_limit_ms = -2};
    assert_int_equal(submit_with(pool, NULL, &options), -EINVAL);
    options = (mproc_submit_options){.size = sizeof options, .retries = 255};
    assert_int_equal(submit_with(pool, NULL, &options), -EINVAL);
    options = (mproc_submit_options){.size = sizeof options, .retries = -2};
    assert_int_equal(submit_with(pool, NULL, &options), -EINVAL);
    options = (mproc_submit_options){.size = sizeof options, .ctx_size = 8};
    assert_int_equal(submit_with(pool, NULL, &options), -EINVAL);
    options = (mproc_submit_options){.size = sizeof options, .output_max = SIZE_MAX};
    assert_true(submit_with(pool, NULL, &options) < 0);
    options = (mproc_submit_options){.size = sizeof options, .ctx_size = SIZE_MAX};
    assert_true(submit_with(pool, &options, &options) < 0);
    assert_int_equal(submit_with(pool, NULL, NULL), 0);
    mproc_pool_destroy(pool);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void a_failure_says_all_that_is_known(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    future = submit(pool, fail_with_text, 1);
    assert_int_equal(result_of(future), MPROC_ETASK);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.index, 0);
    assert_int_equal(failure.error, MPROC_ETASK);
    assert_int_equal(failure.code, 42);
    assert_int_equal(failure.signal, 0);
    assert_int_equal(failure.pid, atomic_load(&stage->pid));
    assert_int_equal(failure.attempts, 1);
    assert_string_equal(failure.text, "no such city");
    mproc_future_free(future);
    future = submit(pool, double_number, 1);
    assert_number(future, 2);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, 0);
    assert_string_equal(failure.text, "");
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_crash_is_reported_and_a_retry_counted(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .retries = 4};
    mproc_failure failure = {.size = sizeof failure};
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(2, NULL);
    future = submit(pool, kill_self, 1);
    assert_int_equal(result_of(future), MPROC_ECRASHED);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.signal, SIGKILL);
    assert_int_equal(failure.attempts, 1);
    assert_int_equal(atomic_load(&stage->runs), 1);
    mproc_future_free(future);
    assert_int_equal(mproc_pool_submit(pool, &future, kill_self, NULL, NULL, 0, &options), 0);
    assert_int_equal(result_of(future), MPROC_ECRASHED);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.attempts, 5);
    assert_int_equal(atomic_load(&stage->runs), 6);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_task_ends_at_its_limit(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .time_limit_ms = 100 * test_slowness()};
    mproc_failure failure = {.size = sizeof failure};
    int64_t begin, took;
    mproc_pool *pool;
    mproc_future *future, *other;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(2, NULL);
    other = submit(pool, double_behind_gate, 3); /* it has no limit */
    await(&stage->begun, 1);
    begin = now_ms();
    assert_int_equal(mproc_pool_submit(pool, &future, hang, NULL, NULL, 0, &options), 0);
    assert_int_equal(result_of(future), MPROC_ELIMIT);
    took = now_ms() - begin;
    assert_in_range(took, options.time_limit_ms, options.time_limit_ms + 1000 * test_slowness());
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, MPROC_ELIMIT);
    assert_int_equal(failure.pid, atomic_load(&stage->pid));
    assert_true(test_process_gone(failure.pid, 0));
    mproc_future_free(future);
    atomic_store(&stage->gate, 1);
    assert_number(other, 6);
    mproc_future_free(other);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- cancel ---------------------------------------------------------------------------------- */

static void a_queued_task_that_is_cancelled_is_never_begun(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_pool *pool;
    mproc_future *first, *queued[10];

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    first = submit(pool, double_behind_gate, 1);
    await(&stage->begun, 1);
    for (uint64_t i = 0; i < 10; i++)
        queued[i] = submit(pool, count_run, i);
    for (uint64_t i = 0; i < 10; i += 2) {
        assert_int_equal(mproc_future_cancel(queued[i]), 0);
        assert_int_equal(result_of(queued[i]), -ECANCELED); /* while the worker is busy */
        assert_int_equal(mproc_future_cancel(queued[i]), -EALREADY);
        assert_int_equal(mproc_future_failure(queued[i], &failure), 0);
        assert_int_equal(failure.error, -ECANCELED);
        assert_int_equal(failure.attempts, 0);
        assert_int_equal(failure.pid, 0);
    }
    atomic_store(&stage->gate, 1);
    assert_number(first, 2);
    for (uint64_t i = 1; i < 10; i += 2)
        assert_number(queued[i], 2 * i);
    assert_int_equal(atomic_load(&stage->runs), 1 + 5);
    mproc_future_free(first);
    for (uint64_t i = 0; i < 10; i++)
        mproc_future_free(queued[i]);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_running_task_that_is_cancelled_takes_its_worker_along(void **state)
{
    mproc_pool *pool;
    mproc_future *future;
    uint64_t old, new;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, NULL);
    for (int32_t round = 1; round <= 5; round++) {
        future = submit(pool, hang, 0);
        await(&stage->begun, round);
        assert_int_equal(mproc_future_cancel(future), 0);
        assert_int_equal(result_of(future), -ECANCELED);
        mproc_future_free(future);
        old = (uint64_t)atomic_load(&stage->pid);
        assert_true(test_process_gone((pid_t)old, 0));
        assert_int_equal(
            mproc_pool_call(pool, tell_pid, NULL, NULL, 0, &new, sizeof new, NULL, NULL), 0);
        assert_int_not_equal(new, old);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_cancel_does_not_wait(void **state)
{
    mproc_pool *pool;
    mproc_future *future;
    pid_t supervisor;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, NULL);
    future = submit(pool, double_behind_gate, 1);
    await(&stage->begun, 1);
    supervisor = (pid_t)atomic_load(&stage->supervisor);
    assert_int_equal(kill(supervisor, SIGSTOP), 0); /* nobody is there to act on it */
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(mproc_future_is_done(future), 0);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(kill(supervisor, SIGCONT), 0);
    assert_int_equal(result_of(future), -ECANCELED);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Goes on until it is told that it is cancelled, and tells. */
static int32_t watch_for_cancel(mproc_task *task, void *ctx)
{
    (void)ctx;
    if (mproc_task_is_cancelled(task))
        return 1;
    atomic_store(&stage->supervisor, (int32_t)getppid());
    atomic_fetch_add(&stage->begun, 1);
    while (!mproc_task_is_cancelled(task))
        poll(NULL, 0, 1);
    atomic_store(&stage->seen, 1);
    for (;;)
        pause();
}

static void a_task_can_see_that_it_is_cancelled(void **state)
{
    mproc_pool *pool;
    mproc_future *future;
    pid_t supervisor;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, NULL);
    future = submit(pool, watch_for_cancel, 1);
    await(&stage->begun, 1);
    supervisor = (pid_t)atomic_load(&stage->supervisor);
    assert_int_equal(kill(supervisor, SIGSTOP), 0); /* it would be killed before it sees it */
    assert_int_equal(mproc_future_cancel(future), 0);
    await(&stage->seen, 1);
    assert_int_equal(kill(supervisor, SIGCONT), 0);
    assert_int_equal(result_of(future), -ECANCELED);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t tell_cancelled(mproc_task *task, void *ctx)
{
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    *out = (uint64_t)mproc_task_is_cancelled(task);
    return 0;
}

static void a_task_that_is_not_cancelled_is_not_told_so(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .time_limit_ms = 50000};
    mproc_pool *pool = make_pool(1, NULL);
    uint64_t cancelled = UNTOUCHED;

    (void)state;
    assert_int_equal(
        mproc_pool_call(pool, tell_cancelled, NULL, NULL, 0, &cancelled, 8, NULL, NULL), 0);
    assert_int_equal(cancelled, 0);
    cancelled = UNTOUCHED;
    assert_int_equal(
        mproc_pool_call(pool, tell_cancelled, NULL, NULL, 0, &cancelled, 8, NULL, &options), 0);
    assert_int_equal(cancelled, 0);
    assert_int_equal(mproc_task_is_cancelled(NULL), -EINVAL);
    mproc_pool_destroy(pool);
}

static void a_done_task_cannot_be_cancelled(void **state)
{
    mproc_pool *pool;
    mproc_future *done, *failed;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    done = submit(pool, double_number, 5);
    failed = submit(pool, fail_with_text, 5);
    assert_number(done, 10);
    assert_int_equal(result_of(failed), MPROC_ETASK);
    assert_int_equal(mproc_future_cancel(done), -EALREADY);
    assert_int_equal(mproc_future_cancel(failed), -EALREADY);
    assert_number(done, 10);
    assert_int_equal(result_of(failed), MPROC_ETASK);
    mproc_future_free(done);
    mproc_future_free(failed);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_cancel_harms_no_other_task(void **state)
{
    enum { COUNT = 200 };
    mproc_pool *pool;
    mproc_future *futures[COUNT];
    uint64_t seed = test_seed();
    int cancelled = 0;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (uint64_t i = 0; i < COUNT; i++)
        futures[i] = submit(pool, count_run, i);
    for (uint64_t i = 0; i < COUNT; i += 1 + test_random(&seed) % 5) {
        int r = mproc_future_cancel(futures[i]);

        assert_true(r == 0 || r == -EALREADY);
        cancelled += r == 0;
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        int r = result_of(futures[i]);

        assert_true(r == 0 || r == -ECANCELED);
        if (r == -ECANCELED)
            cancelled--;
        else
            assert_number(futures[i], 2 * i);
        mproc_future_free(futures[i]);
    }
    assert_true(cancelled >= 0); /* one that ended in the same moment may give its result */
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- free ------------------------------------------------------------------------------------ */

static void a_task_whose_future_was_freed_still_runs(void **state)
{
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    mproc_future_free(submit(pool, double_behind_gate, 1));
    await(&stage->begun, 1);
    for (uint64_t i = 0; i < 20; i++)
        mproc_future_free(submit(pool, count_run, i));
    future = submit(pool, count_run, 100);
    atomic_store(&stage->gate, 1);
    assert_number(future, 200);
    assert_int_equal(atomic_load(&stage->runs), 22);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_cancelled_task_can_be_freed_at_once(void **state)
{
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(2, NULL);
    for (int32_t i = 1; i <= 10; i++) {
        mproc_future *future = submit(pool, hang, 1);

        await(&stage->begun, i);
        assert_int_equal(mproc_future_cancel(future), 0);
        mproc_future_free(future);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 10000 * test_slowness()), 0);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Only tasks that are open count against what a pool can hold, and done ones do not. */
static void tasks_that_nobody_waits_for_make_room_when_they_are_done(void **state)
{
    const int32_t total = test_under_valgrind() ? 3000 : 150000;
    mproc_pool_options pool_options = {.size = sizeof pool_options, .arena_size = 4 << 20};
    mproc_submit_options options = {.size = sizeof options, .output_max = 512};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, &pool_options);
    for (int32_t i = 0; i < total; i++) {
        mproc_future *future = NULL;
        uint64_t number = (uint64_t)i;

        assert_int_equal(mproc_pool_submit(pool, &future, count_run, NULL, &number, 8, &options),
                         0);
        mproc_future_free(future);
        if (i % 1000 == 999)
            await(&stage->runs, i + 1);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- many ------------------------------------------------------------------------------------ */

static void of_many_futures_the_least_that_is_done_is_found(void **state)
{
    mproc_pool *pool;
    mproc_future *futures[5] = {NULL};

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    futures[1] = submit(pool, double_behind_gate, 1);
    await(&stage->begun, 1);
    futures[3] = submit(pool, double_number, 3);
    assert_int_equal(mproc_future_wait_any(futures, 5, -1), 3);
    assert_int_equal(mproc_future_wait_any(futures, 3, 0), -ETIMEDOUT);
    assert_int_equal(mproc_future_wait_all(futures, 5, 20), -ETIMEDOUT);
    futures[4] = submit(pool, double_number, 4);
    assert_number(futures[4], 8);
    assert_int_equal(mproc_future_wait_any(futures, 5, -1), 3);
    assert_int_equal(mproc_future_wait_all(futures + 2, 3, 0), 0);
    atomic_store(&stage->gate, 1);
    assert_int_equal(mproc_future_wait_all(futures, 5, -1), 0);
    assert_int_equal(mproc_future_wait_any(futures, 5, -1), 1);
    for (size_t i = 0; i < 5; i++)
        mproc_future_free(futures[i]);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void of_no_futures_all_are_done_and_none_is_any(void **state)
{
    mproc_future *none[3] = {NULL, NULL, NULL};

    (void)state;
    assert_int_equal(mproc_future_wait_all(none, 3, -1), 0);
    assert_int_equal(mproc_future_wait_all(none, 0, -1), 0);
    assert_int_equal(mproc_future_wait_all(NULL, 0, -1), 0);
    assert_int_equal(mproc_future_wait_any(none, 3, -1), -EINVAL);
    assert_int_equal(mproc_future_wait_any(none, 0, -1), -EINVAL);
    assert_int_equal(mproc_future_wait_any(NULL, 0, -1), -EINVAL);
    assert_int_equal(mproc_future_wait_any(NULL, 1, -1), -EINVAL);
    assert_int_equal(mproc_future_wait_all(NULL, 1, -1), -EINVAL);
}

static void futures_of_two_pools_cannot_be_waited_for_at_once(void **state)
{
    mproc_pool *one = make_pool(1, NULL);
    mproc_pool *two = make_pool(1, NULL);
    mproc_future *futures[3] = {submit(one, double_number, 1), NULL, submit(two, double_number, 2)};

    (void)state;
    assert_int_equal(mproc_future_wait_any(futures, 3, -1), -EINVAL);
    assert_int_equal(mproc_future_wait_all(futures, 3, -1), -EINVAL);
    assert_int_equal(mproc_future_wait_all(futures, 2, -1), 0);
    assert_number(futures[0], 2);
    assert_number(futures[2], 4);
    mproc_future_free(futures[0]);
    mproc_future_free(futures[2]);
    mproc_pool_destroy(one);
    mproc_pool_destroy(two);
}

static void a_thousand_tasks_may_be_in_flight(void **state)
{
    enum { COUNT = 1000 };
    static mproc_future *futures[COUNT];
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (uint64_t i = 0; i < COUNT; i++)
        futures[i] = submit(pool, count_run, i);
    assert_int_equal(mproc_future_wait_all(futures, COUNT, -1), 0);
    assert_int_equal(atomic_load(&stage->runs), COUNT);
    for (uint64_t i = COUNT; i-- > 0;) {
        assert_number(futures[i], 2 * i);
        mproc_future_free(futures[i]);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* More than the ticket queue has room for; nobody takes any before all are submitted. */
static void more_tasks_may_be_open_than_the_queue_holds(void **state)
{
    const uint64_t count = test_under_valgrind() ? 9000 : 30000;
    mproc_submit_options options = {.size = sizeof options, .output_max = 64};
    mproc_future **futures = calloc(count, sizeof(mproc_future *));
    mproc_future *first;
    mproc_pool *pool;

    (void)state;
    assert_non_null(futures);
    set_stage();
    pool = make_pool(1, NULL);
    first = submit(pool, double_behind_gate, 1);
    await(&stage->begun, 1);
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], count_run, NULL, &i, sizeof i, &options), 0);
    atomic_store(&stage->gate, 1);
    for (uint64_t i = 0; i < count; i++) {
        assert_number(futures[i], 2 * i);
        mproc_future_free(futures[i]);
    }
    assert_int_equal(atomic_load(&stage->runs), count + 1);
    mproc_future_free(first);
    mproc_pool_destroy(pool);
    free(futures);
    clear_stage();
}

static void the_65537th_open_task_is_refused_and_the_pool_goes_on(void **state)
{
    enum { MOST = 65536 };
    mproc_submit_options options = {.size = sizeof options, .output_max = 64};
    mproc_future **futures;
    mproc_future *future = NULL;
    mproc_pool *pool;

    (void)state;
    if (test_under_valgrind())
        skip();
    futures = calloc(MOST, sizeof(mproc_future *));
    assert_non_null(futures);
    set_stage();
    pool = make_pool(1, NULL);
    futures[0] = submit(pool, double_behind_gate, 0);
    await(&stage->begun, 1);
    for (uint64_t i = 1; i < MOST; i++)
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], count_run, NULL, &i, sizeof i, &options), 0);
    assert_int_equal(mproc_pool_submit(pool, &future, count_run, NULL, NULL, 0, &options), -EAGAIN);
    assert_null(future);
    atomic_store(&stage->gate, 1);
    for (uint64_t i = 0; i < MOST; i++) {
        assert_number(futures[i], 2 * i);
        mproc_future_free(futures[i]);
    }
    future = submit(pool, double_number, 7);
    assert_number(future, 14);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    free(futures);
    clear_stage();
}

/* ---- the end of the pool --------------------------------------------------------------------- */

static void results_outlive_the_pool(void **state)
{
    enum { COUNT = 50 };
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *done[COUNT], *failed, *running, *queued, *cleared;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, NULL);
    for (uint64_t i = 0; i < COUNT; i++)
        done[i] = submit(pool, double_number, i);
    failed = submit(pool, fail_with_text, 1);
    assert_int_equal(mproc_future_wait_all(done, COUNT, -1), 0);
    assert_int_equal(result_of(failed), MPROC_ETASK);
    running = submit(pool, hang, 1);
    queued = submit(pool, count_run, 1);
    cleared = submit(pool, count_run, 1);
    await(&stage->begun, 1);
    mproc_future_free(cleared); /* nobody is left to tell */
    mproc_pool_destroy(pool);
    assert_int_equal(mproc_future_wait(running, 0), 0);
    assert_int_equal(mproc_future_is_done(queued), 1);
    assert_int_equal(mproc_future_result(running, NULL, NULL), -ECANCELED);
    assert_int_equal(mproc_future_result(queued, NULL, NULL), -ECANCELED);
    assert_int_equal(mproc_future_cancel(queued), -EALREADY);
    assert_int_equal(mproc_future_failure(failed, &failure), 0);
    assert_int_equal(failure.code, 42);
    assert_string_equal(failure.text, "no such city");
    assert_int_equal(mproc_future_wait_any(done, COUNT, 0), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_number(done[i], 2 * i);
        mproc_future_free(done[i]);
    }
    assert_int_equal(atomic_load(&stage->runs), 0);
    mproc_future_free(failed);
    mproc_future_free(queued);
    mproc_future_free(running);
    clear_stage();
}

/* ---- call ------------------------------------------------------------------------------------ */

static int32_t repeat_input(mproc_task *task, void *ctx)
{
    size_t length;
    const char *in = mproc_task_input(task, &length);
    char *out = mproc_task_output(task, 2 * length);

    (void)ctx;
    if (!out)
        return 1;
    memcpy(out, in, length);
    memcpy(out + length, in, length);
    return 0;
}

static void a_call_copies_as_much_as_fits(void **state)
{
    mproc_pool *pool = make_pool(2, NULL);
    char out[12];
    size_t length = UNTOUCHED;

    (void)state;
    memset(out, '.', sizeof out);
    assert_int_equal(mproc_pool_call(pool, repeat_input, NULL, "abc", 3, out, 8, &length, NULL), 0);
    assert_int_equal(length, 6);
    assert_memory_equal(out, "abcabc......", 12);
    memset(out, '.', sizeof out);
    assert_int_equal(mproc_pool_call(pool, repeat_input, NULL, "abc", 3, out, 6, NULL, NULL), 0);
    assert_memory_equal(out, "abcabc......", 12);
    memset(out, '.', sizeof out);
    length = UNTOUCHED;
    assert_int_equal(mproc_pool_call(pool, repeat_input, NULL, "abcde", 5, out, 8, &length, NULL),
                     -EMSGSIZE);
    assert_int_equal(length, 10);
    assert_memory_equal(out, "abcdeabc....", 12);
    length = UNTOUCHED;
    assert_int_equal(mproc_pool_call(pool, repeat_input, NULL, "a", 1, NULL, 0, &length, NULL),
                     -EMSGSIZE);
    assert_int_equal(length, 2);
    assert_int_equal(mproc_pool_call(pool, repeat_input, NULL, NULL, 0, NULL, 0, &length, NULL), 0);
    assert_int_equal(length, 0);
    mproc_pool_destroy(pool);
}

static void a_call_that_fails_writes_nothing(void **state)
{
    char out[4] = "....";
    size_t length = UNTOUCHED;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    assert_int_equal(
        mproc_pool_call(pool, fail_with_text, NULL, NULL, 0, out, sizeof out, &length, NULL),
        MPROC_ETASK);
    assert_int_equal(length, UNTOUCHED);
    assert_memory_equal(out, "....", 4);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- seen by the task ------------------------------------------------------------------------ */

struct view {
    uint64_t input_length;
    uint64_t input_aligned;
    uint64_t output_aligned;
    uint64_t same_place;
    uint64_t index;
    int64_t worker;
    uint64_t beyond_refused;
};

static int32_t look_around(mproc_task *task, void *ctx)
{
    size_t length = UNTOUCHED;
    const void *in = mproc_task_input(task, &length);
    char *large = mproc_task_output(task, 4000);
    struct view *view = mproc_task_output(task, sizeof *view);

    (void)ctx;
    if (!in || !view || mproc_task_input(task, NULL) != in)
        return 1;
    *view = (struct view){.input_length = length,
                          .input_aligned = (uintptr_t)in % 64 == 0,
                          .output_aligned = (uintptr_t)view % 64 == 0,
                          .same_place = (void *)large == (void *)view,
                          .index = mproc_task_index(task),
                          .worker = mproc_task_worker(task),
                          .beyond_refused = mproc_task_output(task, 4097) == NULL};
    return 0;
}

static void a_task_sees_its_input_and_has_room_for_an_output(void **state)
{
    static const char input[5000];
    const size_t lengths[] = {0, 1, 63, 64, 65, 5000};
    mproc_submit_options options = {.size = sizeof options, .output_max = 4096};
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct view view;
        size_t length = 0;

        assert_int_equal(mproc_pool_call(pool, look_around, NULL, lengths[i] ? input : NULL,
                                         lengths[i], &view, sizeof view, &length, &options),
                         0);
        assert_int_equal(length, sizeof view); /* as it was asked for last, and was to be had */
        assert_int_equal(view.input_length, lengths[i]);
        if (lengths[i])
            assert_true(view.input_aligned);
        assert_true(view.output_aligned);
        assert_true(view.same_place);
        assert_int_equal(view.index, 0);
        assert_in_range(view.worker, 0, WORKERS - 1);
        assert_true(view.beyond_refused);
    }
    mproc_pool_destroy(pool);
}

/* As long as the input says. */
static int32_t give_bytes(mproc_task *task, void *ctx)
{
    const uint64_t *length = mproc_task_input(task, NULL);
    char *out = mproc_task_output(task, (size_t)*length);

    (void)ctx;
    if (!out)
        return mproc_fail(1, "too long");
    memset(out, 'x', (size_t)*length);
    return 0;
}

static void outputs_may_be_as_long_as_allowed(void **state)
{
    const uint64_t lengths[] = {0, 1, 4096, (1 << 20) - 1, 1 << 20};
    mproc_pool *pool = make_pool(2, NULL);
    char *out = malloc(1 << 20);
    uint64_t too_long = (1 << 20) + 1;

    (void)state;
    assert_non_null(out);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t length = UNTOUCHED;

        memset(out, 0, 1 << 20);
        assert_int_equal(
            mproc_pool_call(pool, give_bytes, NULL, &lengths[i], 8, out, 1 << 20, &length, NULL),
            0);
        assert_int_equal(length, lengths[i]);
        for (size_t k = 0; k < 1 << 20; k += 509)
            assert_int_equal(out[k], k < length ? 'x' : 0);
    }
    assert_int_equal(
        mproc_pool_call(pool, give_bytes, NULL, &too_long, 8, out, 1 << 20, NULL, NULL),
        MPROC_ETASK);
    mproc_pool_destroy(pool);
    free(out);
}

static int32_t no_output(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    return 0;
}

static void a_task_that_asks_for_no_output_has_none(void **state)
{
    const void *data;
    size_t length = UNTOUCHED;
    mproc_pool *pool = make_pool(2, NULL);
    mproc_future *future = submit(pool, no_output, 1);

    (void)state;
    assert_int_equal(result_of(future), 0);
    assert_int_equal(mproc_future_result(future, &data, &length), 0);
    assert_int_equal(length, 0);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
}

static int32_t copy_context(mproc_task *task, void *ctx)
{
    uint64_t *out = mproc_task_output(task, sizeof *out);

    await(&stage->gate, 1);
    *out = ctx ? *(const uint64_t *)ctx : UNTOUCHED;
    return 0;
}

static void input_and_context_are_copied_at_the_submit(void **state)
{
    uint64_t number = 5, context = 100;
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof context};
    mproc_pool *pool;
    mproc_future *in, *ctx, *none;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_submit(pool, &in, double_behind_gate, NULL, &number, 8, NULL), 0);
    assert_int_equal(mproc_pool_submit(pool, &ctx, copy_context, &context, NULL, 0, &options), 0);
    assert_int_equal(mproc_pool_submit(pool, &none, copy_context, NULL, NULL, 0, NULL), 0);
    number = 6;
    context = 101;
    atomic_store(&stage->gate, 1);
    assert_number(in, 10);
    assert_number(ctx, 100);
    assert_number(none, UNTOUCHED);
    mproc_future_free(in);
    mproc_future_free(ctx);
    mproc_future_free(none);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void the_result_of_a_task_can_be_the_input_of_another(void **state)
{
    mproc_pool *pool = make_pool(1, NULL);
    mproc_future *first, *second = NULL;
    const void *data;
    size_t length;

    (void)state;
    first = submit(pool, double_number, 21);
    assert_int_equal(result_of(first), 0);
    assert_int_equal(mproc_future_result(first, &data, &length), 0);
    assert_int_equal(mproc_pool_submit(pool, &second, double_number, NULL, data, length, NULL), 0);
    mproc_future_free(first); /* the other has a copy */
    assert_number(second, 84);
    mproc_future_free(second);
    mproc_pool_destroy(pool);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 8 };

struct submitter {
    mproc_pool *pool;
    uint64_t number;
    uint64_t rounds;
    int wrong;
};

static int is_double(mproc_future *future, uint64_t number)
{
    const void *data;
    size_t length;

    return mproc_future_result(future, &data, &length) == 0 && length == sizeof number &&
           *(const uint64_t *)data == 2 * number;
}

static void *submit_again_and_again(void *arg)
{
    struct submitter *self = arg;
    mproc_submit_options options = {.size = sizeof options, .output_max = 64};

    for (uint64_t round = 0; round < self->rounds; round++) {
        mproc_future *futures[8] = {NULL};
        uint64_t base = self->number * 1000000 + round * 8;

        for (uint64_t i = 0; i < 8; i++) {
            uint64_t number = base + i;

            self->wrong += mproc_pool_submit(self->pool, &futures[i], double_number, NULL, &number,
                                             sizeof number, &options) != 0;
        }
        self->wrong += mproc_future_wait_any(futures, 8, -1) < 0;
        self->wrong += mproc_future_wait(futures[round % 8], -1) != 0;
        self->wrong += mproc_future_wait_all(futures, 8, -1) != 0;
        for (uint64_t i = 0; i < 8; i++) {
            self->wrong += !is_double(futures[i], base + i);
            mproc_future_free(futures[i]);
        }
    }
    return NULL;
}

static void eight_threads_may_submit_and_wait_at_once(void **state)
{
    pthread_t threads[THREADS];
    struct submitter submitters[THREADS];
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){pool, i, test_slowness() > 1 ? 20 : 200, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_again_and_again, &submitters[i]),
                         0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(submitters[i].wrong, 0);
    }
    mproc_pool_destroy(pool);
}

struct waiting {
    mproc_future *future;
    _Atomic int32_t *entered;
    int result;
};

static void *wait_for_ever(void *arg)
{
    struct waiting *self = arg;

    atomic_fetch_add(self->entered, 1);
    self->result = mproc_future_wait(self->future, -1);
    return NULL;
}

/* One of them sleeps on the bell for all; whichever it is, a cancel from outside wakes all. */
static void all_who_wait_for_a_task_are_woken_by_its_cancel(void **state)
{
    pthread_t threads[THREADS];
    struct waiting waiting[THREADS];
    _Atomic int32_t entered = 0;
    mproc_pool *pool;
    mproc_future *busy, *queued;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    busy = submit(pool, double_behind_gate, 1);
    await(&stage->begun, 1);
    queued = submit(pool, count_run, 1);
    for (size_t i = 0; i < THREADS; i++) {
        waiting[i] = (struct waiting){queued, &entered, UNTOUCHED};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_ever, &waiting[i]), 0);
    }
    await(&entered, THREADS);
    assert_int_equal(mproc_future_cancel(queued), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(waiting[i].result, 0);
    }
    assert_int_equal(mproc_future_result(queued, NULL, NULL), -ECANCELED);
    atomic_store(&stage->gate, 1);
    assert_number(busy, 2);
    mproc_future_free(busy);
    mproc_future_free(queued);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void threads_that_wait_for_different_tasks_each_get_theirs(void **state)
{
    pthread_t threads[THREADS];
    struct waiting waiting[THREADS];
    _Atomic int32_t entered = 0;
    mproc_pool *pool;
    mproc_future *first, *futures[THREADS];

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    first = submit(pool, double_behind_gate, 1);
    for (size_t i = 0; i < THREADS; i++) {
        futures[i] = submit(pool, count_run, i);
        waiting[i] = (struct waiting){futures[i], &entered, UNTOUCHED};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_ever, &waiting[i]), 0);
    }
    await(&entered, THREADS);
    atomic_store(&stage->gate, 1);
    for (size_t i = THREADS; i-- > 0;) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(waiting[i].result, 0);
        assert_number(futures[i], 2 * i);
        mproc_future_free(futures[i]);
    }
    mproc_future_free(first);
    mproc_pool_destroy(pool);
    clear_stage();
}

static const struct CMUnitTest tests[] = {
    TEST(a_task_gives_its_output),
    TEST(before_it_is_done_a_task_has_no_result),
    TEST(what_has_ended_is_there_without_a_wait),
    TEST(a_wait_takes_as_long_as_it_may),
    TEST(bad_arguments_are_refused),
    TEST(options_of_any_release_are_taken_and_bad_ones_refused),
    TEST(a_failure_says_all_that_is_known),
    TEST(a_crash_is_reported_and_a_retry_counted),
    TEST(a_task_ends_at_its_limit),
    TEST(a_queued_task_that_is_cancelled_is_never_begun),
    TEST(a_running_task_that_is_cancelled_takes_its_worker_along),
    TEST(a_cancel_does_not_wait),
    TEST(a_task_can_see_that_it_is_cancelled),
    TEST(a_task_that_is_not_cancelled_is_not_told_so),
    TEST(a_done_task_cannot_be_cancelled),
    TEST(a_cancel_harms_no_other_task),
    TEST(a_task_whose_future_was_freed_still_runs),
    TEST(a_cancelled_task_can_be_freed_at_once),
    TEST(tasks_that_nobody_waits_for_make_room_when_they_are_done),
    TEST(of_many_futures_the_least_that_is_done_is_found),
    TEST(of_no_futures_all_are_done_and_none_is_any),
    TEST(futures_of_two_pools_cannot_be_waited_for_at_once),
    TEST(a_thousand_tasks_may_be_in_flight),
    TEST(more_tasks_may_be_open_than_the_queue_holds),
    TEST(the_65537th_open_task_is_refused_and_the_pool_goes_on),
    TEST(results_outlive_the_pool),
    TEST(a_call_copies_as_much_as_fits),
    TEST(a_call_that_fails_writes_nothing),
    TEST(a_task_sees_its_input_and_has_room_for_an_output),
    TEST(outputs_may_be_as_long_as_allowed),
    TEST(a_task_that_asks_for_no_output_has_none),
    TEST(input_and_context_are_copied_at_the_submit),
    TEST(the_result_of_a_task_can_be_the_input_of_another),
    TEST(eight_threads_may_submit_and_wait_at_once),
    TEST(all_who_wait_for_a_task_are_woken_by_its_cancel),
    TEST(threads_that_wait_for_different_tasks_each_get_theirs),
};

int main(void)
{
    return TEST_MAIN(tests);
}
