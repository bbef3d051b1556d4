/* SPDX-License-Identifier: MIT */
/*
 * The other children of a host, and the pools of its tasks: those end with what is above them;
 * these have nothing of a pool, whenever and however they are made, do it no harm, and do not keep
 * it alive.
 */
#include "support.h"

#include "gates.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DESCRIPTORS = 256 };

extern char **environ;

/* ---- pools in tasks -------------------------------------------------------------------------- */

enum { DEPTH = 3, LEAVES = 4 }; /* WORKERS to the power of DEPTH - 1 */

/* With `ctx`, leaves wait at the gate.  The output is the number of leaves below. */
static int32_t nest(mproc_task *task, void *ctx)
{
    int level = *(const int *)mproc_task_input(task, NULL);
    int *leaves = mproc_task_output(task, sizeof *leaves);
    int below = level + 1, parts[WORKERS] = {0};
    mproc_future *futures[WORKERS];
    mproc_pool *pool;

    if (level == DEPTH) {
        *leaves = 1;
        return ctx ? pass_gate(task, NULL) : 0;
    }
    note(getpid());
    if (mproc_pool_create(&pool, WORKERS, NULL))
        return mproc_fail(1, "no pool");
    *leaves = 0;
    for (int i = 0; i < WORKERS; i++)
        if (mproc_pool_submit(pool, &futures[i], nest, ctx, &below, sizeof below, NULL))
            return mproc_fail(2, "no task");
    for (int i = 0; i < WORKERS; i++) {
        const void *data;
        size_t length;

        if (mproc_future_wait(futures[i], -1) || mproc_future_result(futures[i], &data, &length) ||
            length != sizeof parts[i])
            return mproc_fail(3, "no result");
        memcpy(&parts[i], data, length);
        *leaves += parts[i];
        mproc_future_free(futures[i]);
    }
    mproc_pool_destroy(pool);
    return 0;
}

static int run_nested(void *wait)
{
    const int top = 1;
    int leaves = 0;
    mproc_pool *pool;

    if (mproc_pool_create(&pool, 1, NULL) ||
        mproc_pool_call(pool, nest, wait, &top, sizeof top, &leaves, sizeof leaves, NULL, NULL))
        return 50;
    mproc_pool_destroy(pool);
    return leaves == LEAVES ? 0 : 51;
}

static void pools_in_tasks_work_to_depth_3(void **state)
{
    uint64_t rounds = test_count(5, 500);

    (void)state;
    for (uint64_t round = 0; round < rounds; round++) {
        set_stage();
        assert_int_equal(run_nested(NULL), 0);
        assert_all_gone();
        clear_stage();
    }
}

/* Whoever of them is killed: the host, or a worker in the middle. */
static void pools_in_tasks_end_with_what_is_above_them(void **state)
{
    static int anything;

    (void)state;
    for (int victim = 0; victim < 2; victim++) {
        pid_t host;

        set_stage();
        fflush(NULL);
        host = fork();
        assert_true(host >= 0);
        if (host == 0)
            _exit(run_nested(&anything));
        for (int i = 0; i < LEAVES; i++)
            take(BEGUN);
        /* The first to note itself is the one worker of the host's own pool. */
        assert_int_equal(kill(victim ? atomic_load(&stage->pids[0]) : host, SIGKILL), 0);
        assert_int_equal(end_of(host), victim ? 50 : 128 + SIGKILL);
        assert_all_gone();
        clear_stage();
    }
}

/* ---- children of the host's own -------------------------------------------------------------- */

static int count_descriptors(void *arg)
{
    int count = 0;

    (void)arg;
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static char shell[] = "/bin/sh", minus_c[] = "-c", list[] = "exit $(ls /dev/fd | wc -l)",
            wait_long[] = "exec sleep 10000"; /* it is killed */

static int run_by_posix_spawn(char *command, bool wait)
{
    char *arguments[] = {shell, minus_c, command, NULL};
    int status;
    pid_t pid;

    if (posix_spawn(&pid, shell, NULL, NULL, arguments, environ))
        return -1;
    if (!wait)
        return (int)pid;
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

static int run_by_popen(const char *command)
{
    FILE *stream = popen(command, "r");

    return stream ? pclose(stream) : -1;
}

static int exec_shell(void *arg)
{
    execl(shell, shell, minus_c, (char *)arg, (char *)NULL);
    return 127;
}

/* How many descriptors a child of each kind has. */
static void look_into_children(int counts[5])
{
    counts[0] = test_run_child(count_descriptors, NULL);
    counts[1] = test_run_child(exec_shell, list);
    counts[2] = run_by_posix_spawn(list, true);
    counts[3] = system(list);
    counts[4] = run_by_popen(list);
}

static mproc_pool *pool_of_host;

/* Everything that a forked child could do to the pool with its copy of the handles. */
static int misuse_copies(void *arg)
{
    mproc_future **futures = arg;

    for (int i = 0; i < WORKERS; i++) {
        if (mproc_future_cancel(futures[i]) != MPROC_EFOREIGN)
            return 60;
        mproc_future_free(futures[i]);
    }
    if (mproc_pool_terminate(pool_of_host) != MPROC_EFOREIGN)
        return 61;
    mproc_pool_destroy(pool_of_host);
    return is_usable(pool_of_host) ? 62 : 0;
}

static void children_of_the_host_have_nothing_of_a_pool_and_do_it_no_harm(void **state)
{
    mproc_future *futures[WORKERS];
    int before[5], during[5], status;
    pid_t forked, spawned;

    (void)state;
    set_stage();
    look_into_children(before);
    pool_of_host = make_gates(futures);
    await_gates();
    look_into_children(during);
    for (int i = 0; i < 5; i++)
        assert_int_equal(during[i], before[i]);
    assert_int_equal(test_run_child(misuse_copies, futures), 0);
    forked = fork();
    if (forked == 0)
        for (;;)
            pause();
    assert_true(forked > 0);
    spawned = (pid_t)run_by_posix_spawn(wait_long, false);
    assert_true(spawned > 0);
    open_gates();
    assert_int_equal(finish_gates(pool_of_host, futures), 0); /* though both children live on */
    assert_all_gone();
    assert_int_equal(kill(forked, SIGKILL), 0);
    assert_int_equal(kill(spawned, SIGKILL), 0);
    assert_int_equal(waitpid(forked, &status, 0), forked);
    assert_int_equal(waitpid(spawned, &status, 0), spawned);
    clear_stage();
}

static _Atomic int stop;
static int descriptors_of_host;

static void *fork_and_count(void *arg)
{
    uint64_t forks = 0;

    (void)arg;
    while (!atomic_load(&stop)) {
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
            _exit(count_descriptors(NULL) == descriptors_of_host ? 0 : 1);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
            atomic_store(&stage->answer, 70);
        forks++;
    }
    return forks ? arg : NULL;
}

/* Whatever the instant: a pool is made, used and destroyed while two threads fork. */
static void a_fork_at_any_instant_has_nothing_of_a_pool(void **state)
{
    enum { THREADS = 2 };
    const uint64_t rounds = test_count(50, 3000);
    pthread_t threads[THREADS];

    (void)state;
    set_stage();
    atomic_store(&stop, 0);
    descriptors_of_host = count_descriptors(NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fork_and_count, stage), 0);
    for (uint64_t round = 0; round < rounds; round++) {
        mproc_pool *pool;

        assert_int_equal(mproc_pool_create(&pool, WORKERS, NULL), 0);
        assert_true(is_usable(pool));
        assert_int_equal(mproc_pool_restart(pool), 0);
        assert_true(is_usable(pool));
        mproc_pool_destroy(pool);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) {
        void *forked;

        assert_int_equal(pthread_join(threads[i], &forked), 0);
        assert_non_null(forked);
    }
    assert_int_equal(atomic_load(&stage->answer), 0);
    clear_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pools_in_tasks_work_to_depth_3),
        TEST(pools_in_tasks_end_with_what_is_above_them),
        TEST(children_of_the_host_have_nothing_of_a_pool_and_do_it_no_harm),
        TEST(a_fork_at_any_instant_has_nothing_of_a_pool),
    };

    return TEST_MAIN(tests);
}
