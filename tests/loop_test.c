/* SPDX-License-Identifier: MIT */
/* What pool.h promises of event loops.  Nothing here waits but poll(), where it is said. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool.h"

/* ---- helpers --------------------------------------------------------------------------------- */

/* What the workers and the test share. */
struct stage {
    _Atomic int32_t begun;
    _Atomic int32_t gate; /* closed while 0 */
    _Atomic int32_t supervisor;
    _Atomic int32_t pids[2]; /* of workers */
    _Atomic int32_t held;    /* so often one stood still, and so often was let go on */
    _Atomic int32_t let_go;
};

static struct stage *stage;

static void set_stage(void)
{
    stage = test_share(sizeof *stage);
    assert_non_null(stage);
}

static void clear_stage(void)
{
    test_unshare(stage, sizeof *stage);
    stage = NULL;
}

static void await(_Atomic int32_t *value)
{
    while (atomic_load(value) == 0)
        poll(NULL, 0, 1);
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
    return pool;
}

static mproc_future *submit(mproc_pool *pool, mproc_task_fn fn)
{
    const mproc_submit_options options = {.size = sizeof options, .output_max = 64};
    mproc_future *future = NULL;

    assert_int_equal(mproc_pool_submit(pool, &future, fn, NULL, NULL, 0, &options), 0);
    return future;
}

static int fd_of(mproc_pool *pool)
{
    int fd = mproc_pool_fd(pool);

    assert_true(fd > 2);
    return fd;
}

/* Sleep until the descriptor is readable; the test's limit bounds it. */
static void sleep_on(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    int r;

    do
        r = poll(&polled, 1, -1);
    while (r < 0 && errno == EINTR);
    assert_int_equal(r, 1);
    assert_int_equal(polled.revents & POLLNVAL, 0);
}

/* An event loop until so many tasks have ended, or to the first error, which is returned. */
static int loop_until(mproc_pool *pool, int count)
{
    int fd = fd_of(pool);
    int ended = 0;

    while (ended < count) {
        int r;

        sleep_on(fd);
        r = mproc_pool_step(pool);
        if (r < 0)
            return r;
        ended += r;
    }
    assert_int_equal(ended, count);
    return 0;
}

/* An event loop to the end of everything: how many tasks ended until then, and why it was over. */
static int loop_to_the_end(mproc_pool *pool, int *why)
{
    int fd = fd_of(pool);
    int ended = 0, r;

    for (;;) {
        sleep_on(fd);
        r = mproc_pool_step(pool);
        if (r < 0)
            break;
        ended += r;
    }
    *why = r;
    return ended;
}

/* What the future came to, without a wait. */
static int outcome(mproc_future *future)
{
    int r = mproc_future_result(future, NULL, NULL);

    mproc_future_free(future);
    return r;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t do_nothing(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    return 0;
}

static int32_t wait_at_gate(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_store(&stage->supervisor, (int32_t)getppid());
    atomic_fetch_add(&stage->begun, 1);
    await(&stage->gate);
    return 0;
}

static int32_t crash(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    raise(SIGKILL);
    return 0;
}

static int32_t refuse_to_start(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return 1;
}

/* ---- tasks that end -------------------------------------------------------------------------- */

static void a_loop_hears_of_every_task(void **state)
{
    enum { ROUNDS = 20, TASKS = 50 };
    mproc_pool *pool = make_pool(3, NULL);
    mproc_future *futures[TASKS];

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < TASKS; i++)
            futures[i] = submit(pool, do_nothing);
        assert_int_equal(loop_until(pool, TASKS), 0);
        for (int i = 0; i < TASKS; i++)
            assert_int_equal(outcome(futures[i]), 0);
    }
    mproc_pool_destroy(pool);
}

static void one_task_at_a_time_wakes_the_loop_each_time(void **state)
{
    mproc_pool *pool = make_pool(2, NULL);
    uint64_t rounds = test_count(2000, 200000);

    (void)state;
    fd_of(pool);
    for (uint64_t i = 0; i < rounds; i++) {
        mproc_future *future = submit(pool, do_nothing);

        assert_int_equal(loop_until(pool, 1), 0);
        assert_int_equal(outcome(future), 0);
    }
    mproc_pool_destroy(pool);
}

static void what_ended_before_the_descriptor_was_asked_for_is_told(void **state)
{
    mproc_pool *pool = make_pool(1, NULL);
    mproc_future *first = submit(pool, do_nothing), *second;

    (void)state;
    second = submit(pool, do_nothing);
    /* The second was begun when the first had ended; nobody rang for it, because nobody waits. */
    assert_int_equal(mproc_future_wait(second, -1), 0);
    assert_int_equal(mproc_future_is_done(first), 1);
    assert_int_equal(mproc_pool_step(pool), 2);
    assert_int_equal(mproc_pool_step(pool), 0);
    sleep_on(fd_of(pool)); /* once at first */
    assert_int_equal(mproc_pool_step(pool), 0);
    assert_int_equal(outcome(first), 0);
    assert_int_equal(outcome(second), 0);
    mproc_pool_destroy(pool);
}

/* The ticket queue takes some thousands; nobody but the step hands on the others. */
static void more_tasks_than_the_pipe_takes_go_on_by_steps_alone(void **state)
{
    enum { TASKS = 20000 };
    mproc_future **futures = calloc(TASKS, sizeof(mproc_future *));
    mproc_pool *pool;

    (void)state;
    assert_non_null(futures);
    set_stage();
    pool = make_pool(1, NULL);
    fd_of(pool);
    futures[0] = submit(pool, wait_at_gate);
    for (int i = 1; i < TASKS; i++)
        futures[i] = submit(pool, do_nothing);
    assert_false(list_is_empty(&pool->backlog));
    /* Whoever takes a ticket is to say so: it may be one that leads to no end of a task. */
    assert_int_equal(atomic_load(&mp_region_pool(&pool->region)->loop_waits), HOST_HAS_BACKLOG);
    atomic_store(&stage->gate, 1);
    assert_int_equal(loop_until(pool, TASKS), 0);
    assert_int_equal(mproc_pool_step(pool), 0);
    assert_int_equal(atomic_load(&mp_region_pool(&pool->region)->loop_waits), HOST_WAITS);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(outcome(futures[i]), 0);
    free(futures);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- other threads --------------------------------------------------------------------------- */

static void *wait_for(void *future)
{
    return mproc_future_wait(future, -1) ? future : NULL;
}

static void another_thread_that_waits_does_not_take_the_wake_up(void **state)
{
    mproc_pool *pool = make_pool(2, NULL);
    int fd = fd_of(pool);

    (void)state;
    sleep_on(fd);
    mproc_pool_step(pool);
    for (int i = 0; i < 200; i++) {
        mproc_future *future = submit(pool, do_nothing);
        pthread_t thread;
        void *failed;

        assert_int_equal(pthread_create(&thread, NULL, wait_for, future), 0);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        /* It is done, and who saw that was not the loop. */
        assert_int_equal(loop_until(pool, 1), 0);
        assert_int_equal(outcome(future), 0);
    }
    mproc_pool_destroy(pool);
}

static void a_loop_beside_a_thread_that_sleeps_takes_in_for_both(void **state)
{
    mproc_future *held, *future;
    pthread_t thread;
    mproc_pool *pool;
    void *failed;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    held = submit(pool, wait_at_gate);
    assert_int_equal(pthread_create(&thread, NULL, wait_for, held), 0);
    for (int i = 0; i < 100; i++) {
        future = submit(pool, do_nothing);
        assert_int_equal(loop_until(pool, 1), 0);
        assert_int_equal(outcome(future), 0);
    }
    atomic_store(&stage->gate, 1);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_int_equal(outcome(held), 0);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* No worker tells of that. */
static void a_task_cancelled_before_it_began_wakes_the_loop(void **state)
{
    mproc_future *held, *future;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    held = submit(pool, wait_at_gate);
    sleep_on(fd_of(pool));
    assert_int_equal(mproc_pool_step(pool), 0);
    await(&stage->begun);
    future = submit(pool, do_nothing);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(outcome(future), -ECANCELED);
    atomic_store(&stage->gate, 1);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(outcome(held), 0);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- a worker that is stopped ---------------------------------------------------------------- */

/* Not by SIGSTOP: of that only the parent hears when it has taken effect. */
static void stand_still(int signal)
{
    int32_t held = atomic_fetch_add(&stage->held, 1);

    (void)signal;
    while (atomic_load(&stage->let_go) <= held)
        poll(NULL, 0, 1);
}

static int32_t heed_signal(int32_t worker, void *arg)
{
    struct sigaction action = {.sa_handler = stand_still, .sa_flags = SA_RESTART};

    (void)arg;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, NULL))
        return 1;
    atomic_store(&stage->pids[worker], (int32_t)getpid());
    return 0;
}

/* Make one of two workers stand still while it looks out for tickets; its bit.  Whoever had a task
 * looks out after it. */
static uint64_t hold_who_looks_out(mproc_pool *pool)
{
    for (;;) {
        int32_t held = atomic_load(&stage->held);
        uint64_t looking;

        assert_int_equal(mproc_pool_call(pool, do_nothing, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
        looking = atomic_load(mp_region_looking(&pool->region));
        looking &= ~looking + 1; /* of one of them */
        if (!looking)
            continue;
        assert_int_equal(kill((pid_t)atomic_load(&stage->pids[looking >> 1]), SIGUSR1), 0);
        while (atomic_load(&stage->held) == held)
            poll(NULL, 0, 1);
        if (atomic_load(mp_region_looking(&pool->region)) & looking)
            return looking;
        atomic_store(&stage->let_go, held + 1); /* it looked away before that */
    }
}

/* The other one sleeps, and nobody looks again whether the ticket was taken. */
static void a_loop_counts_on_nobody_who_looked_out_when_he_was_stopped(void **state)
{
    const mproc_pool_options options = {
        .size = sizeof options, .spin_us = 200000, .init = heed_signal};
    mproc_future *future;
    mproc_pool *pool;
    uint64_t looking;
    int fd;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(2, &options);
    fd = fd_of(pool);
    sleep_on(fd); /* once at first */
    await(&stage->pids[0]);
    await(&stage->pids[1]);
    looking = hold_who_looks_out(pool);
    while (atomic_load(mp_region_idle(&pool->region)) != (looking ^ 3))
        poll(NULL, 0, 1);
    mproc_pool_step(pool); /* nobody rings any more */
    future = submit(pool, do_nothing);
    assert_int_equal(atomic_load(mp_region_looking(&pool->region)) & looking, looking);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(outcome(future), 0);
    atomic_store(&stage->let_go, INT32_MAX);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void a_death_wakes_the_loop(void **state)
{
    mproc_pool *pool;

    (void)state;
    need_processes();
    pool = make_pool(2, NULL);
    fd_of(pool);
    for (int i = 0; i < 50; i++) {
        mproc_future *future = submit(pool, crash);

        assert_int_equal(loop_until(pool, 1), 0);
        assert_int_equal(outcome(future), MPROC_ECRASHED);
    }
    mproc_pool_destroy(pool);
}

static int32_t start_behind_gate_but_the_first_time(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    if (atomic_fetch_add(&stage->begun, 1) > 0)
        await(&stage->gate);
    return 0;
}

/* The replacement would, too, when it looks back. */
static void a_death_wakes_the_loop_before_the_replacement_has_started(void **state)
{
    mproc_pool_options options = {.size = sizeof options,
                                  .init = start_behind_gate_but_the_first_time};
    mproc_future *future;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, &options);
    fd_of(pool);
    future = submit(pool, crash);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(outcome(future), MPROC_ECRASHED);
    atomic_store(&stage->gate, 1);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_cancelled_task_that_runs_wakes_the_loop(void **state)
{
    mproc_future *future;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, NULL);
    future = submit(pool, wait_at_gate);
    fd_of(pool);
    await(&stage->begun);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(outcome(future), -ECANCELED);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_broken_pool_wakes_the_loop_and_a_restart_mends_it(void **state)
{
    mproc_future *future;
    mproc_pool *pool;
    int fd, why;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(2, NULL);
    fd = fd_of(pool);
    future = submit(pool, wait_at_gate);
    await(&stage->begun);
    assert_int_equal(kill((pid_t)atomic_load(&stage->supervisor), SIGKILL), 0);
    assert_int_equal(loop_to_the_end(pool, &why), 1); /* the task first, then why */
    assert_int_equal(why, MPROC_EBROKEN);
    assert_int_equal(outcome(future), MPROC_EBROKEN);
    assert_int_equal(mproc_pool_step(pool), MPROC_EBROKEN);
    assert_int_equal(mproc_pool_fd(pool), fd);

    atomic_store(&stage->gate, 1);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(mproc_pool_fd(pool), fd);
    future = submit(pool, wait_at_gate);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(outcome(future), 0);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void workers_that_cannot_start_wake_the_loop(void **state)
{
    const mproc_pool_options options = {.size = sizeof options, .init = refuse_to_start};
    mproc_pool *pool;
    int why;

    (void)state;
    need_processes();
    pool = make_pool(1, &options);
    assert_int_equal(loop_to_the_end(pool, &why), 0);
    assert_int_equal(why, MPROC_EBROKEN);
    mproc_pool_destroy(pool);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void a_closed_pool_wakes_the_loop_when_all_is_over(void **state)
{
    mproc_pool *pool = make_pool(2, NULL);
    mproc_future *futures[10];
    int why;

    (void)state;
    fd_of(pool);
    for (int i = 0; i < 10; i++)
        futures[i] = submit(pool, do_nothing);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(loop_to_the_end(pool, &why), 10);
    assert_int_equal(why, MPROC_ECLOSED);
    assert_int_equal(mproc_pool_join(pool, 0), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(outcome(futures[i]), 0);
    mproc_pool_destroy(pool);
}

static void a_terminated_pool_wakes_the_loop(void **state)
{
    mproc_future *future;
    mproc_pool *pool;
    int why;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, NULL);
    fd_of(pool);
    future = submit(pool, wait_at_gate);
    await(&stage->begun);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(loop_to_the_end(pool, &why), 1);
    assert_int_equal(why, MPROC_ECLOSED);
    mproc_pool_destroy(pool);
    assert_int_equal(outcome(future), -ECANCELED); /* also after the descriptor is gone */
    clear_stage();
}

/* Nothing becomes readable for that, but a step that comes later sees to it. */
static void a_step_after_the_grace_gives_up_a_supervisor_that_stands_still(void **state)
{
    mproc_future *future;
    mproc_pool *pool;
    pid_t supervisor;
    int r;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(1, NULL);
    fd_of(pool);
    future = submit(pool, wait_at_gate);
    await(&stage->begun);
    supervisor = (pid_t)atomic_load(&stage->supervisor);
    assert_int_equal(kill(supervisor, SIGSTOP), 0);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    do {
        poll(NULL, 0, 10);
        r = mproc_pool_step(pool);
    } while (r == 0);
    assert_int_equal(r, 1);
    assert_int_equal(outcome(future), -ECANCELED);
    mproc_pool_destroy(pool);
    assert_true(test_process_gone(supervisor, 10000));
    clear_stage();
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static void the_descriptor_is_the_same_until_the_program_closes_it(void **state)
{
    mproc_pool *pool = make_pool(1, NULL);
    mproc_future *future;
    int fd = fd_of(pool);
    int stranger;

    (void)state;
    assert_int_equal(mproc_pool_fd(pool), fd);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(mproc_pool_fd(pool), fd);
    assert_int_equal(close(fd), 0);
    stranger = dup(0);
    assert_true(stranger >= 0);
    fd_of(pool);
    assert_int_equal(mproc_pool_restart(pool), 0); /* which leaves the stranger alone */
    future = submit(pool, do_nothing);
    assert_int_equal(loop_until(pool, 1), 0);
    assert_int_equal(outcome(future), 0);
    assert_int_equal(fcntl(stranger, F_GETFD), 0);
    assert_int_equal(close(stranger), 0);
    mproc_pool_destroy(pool);
}

static void a_pool_that_is_over_has_no_descriptor_to_give(void **state)
{
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    assert_int_equal(mproc_pool_fd(pool), MPROC_ECLOSED);
    assert_int_equal(mproc_pool_step(pool), MPROC_ECLOSED);
    mproc_pool_destroy(pool);
}

static void null_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mproc_pool_fd(NULL), -EINVAL);
    assert_int_equal(mproc_pool_step(NULL), -EINVAL);
}

static const struct CMUnitTest tests[] = {
    TEST(a_loop_hears_of_every_task),
    TEST(one_task_at_a_time_wakes_the_loop_each_time),
    TEST(what_ended_before_the_descriptor_was_asked_for_is_told),
    TEST(more_tasks_than_the_pipe_takes_go_on_by_steps_alone),
    TEST(another_thread_that_waits_does_not_take_the_wake_up),
    TEST(a_loop_beside_a_thread_that_sleeps_takes_in_for_both),
    TEST(a_task_cancelled_before_it_began_wakes_the_loop),
    TEST(a_loop_counts_on_nobody_who_looked_out_when_he_was_stopped),
    TEST(a_death_wakes_the_loop),
    TEST(a_death_wakes_the_loop_before_the_replacement_has_started),
    TEST(a_cancelled_task_that_runs_wakes_the_loop),
    TEST(a_broken_pool_wakes_the_loop_and_a_restart_mends_it),
    TEST(workers_that_cannot_start_wake_the_loop),
    TEST(a_closed_pool_wakes_the_loop_when_all_is_over),
    TEST(a_terminated_pool_wakes_the_loop),
    TEST(a_step_after_the_grace_gives_up_a_supervisor_that_stands_still),
    TEST(the_descriptor_is_the_same_until_the_program_closes_it),
    TEST(a_pool_that_is_over_has_no_descriptor_to_give),
    TEST(null_is_refused),
};

int main(void)
{
    return TEST_MAIN(tests);
}
