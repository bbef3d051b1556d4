/* SPDX-License-Identifier: MIT */
/*
 * The kill storm: workers are killed at random instants while tasks run.  No task may be lost, run
 * twice unless retries ask for it, or give a wrong result, and every death must have been a real
 * one.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, IN_FLIGHT = 500 };

/* What the workers and the killer share with the test. */
struct stage {
    _Atomic int32_t pids[WORKERS];
    _Atomic uint64_t starts; /* of workers */
    _Atomic int stop;
    _Atomic uint32_t runs[]; /* by task: how often it was begun */
};

static struct stage *stage;
static size_t stage_size;

static void set_stage(size_t tasks)
{
    stage_size = sizeof *stage + tasks * sizeof stage->runs[0];
    stage = test_share(stage_size);
}

static void clear_stage(void)
{
    test_unshare(stage, stage_size);
}

static int32_t note_pid(int32_t worker, void *arg)
{
    (void)arg;
    atomic_store(&stage->pids[worker], (int32_t)getpid());
    atomic_fetch_add(&stage->starts, 1);
    return 0;
}

/* A process that kills a random worker every 0 to 2 ms: the instants are what is under test. */
static pid_t start_killer(uint64_t seed)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid)
        return pid;
    while (!atomic_load(&stage->stop)) {
        uint64_t r = test_random(&seed);
        struct timespec pause = {0, (long)(r % 2000000)};
        int32_t victim = atomic_exchange(&stage->pids[(r >> 32) % WORKERS], 0);

        if (victim > 1)
            kill(victim, SIGKILL);
        nanosleep(&pause, NULL);
    }
    _exit(0);
}

static void stop_killer(pid_t killer)
{
    int status;

    atomic_store(&stage->stop, 1);
    assert_int_equal(waitpid(killer, &status, 0), killer);
    assert_int_equal(status, 0);
}

static uint64_t answer(uint64_t index)
{
    return index * 0x9e3779b97f4a7c15U + 1;
}

static int32_t count_and_answer(mproc_task *task, void *ctx)
{
    const uint64_t *index = mproc_task_input(task, NULL);
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    atomic_fetch_add(&stage->runs[*index], 1);
    *out = answer(*index);
    return 0;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* 20 to 200 us of work, so that a kill mostly hits a task that runs. */
static int32_t work_and_answer(mproc_task *task, void *ctx)
{
    uint64_t seed = *(const uint64_t *)ctx ^ *(const uint64_t *)mproc_task_input(task, NULL);
    int64_t end = cpu_ns() + 20000 + (int64_t)(test_random(&seed) % 180001);

    while (cpu_ns() < end)
        ;
    return count_and_answer(task, NULL);
}

/* How the tasks ended, all in all. */
struct tally {
    uint64_t done;
    uint64_t crashed;
    uint64_t wrong;
};

static void take_in(struct tally *tally, mproc_future *future, uint64_t index, int32_t attempts)
{
    const void *data;
    size_t length;
    int r;

    assert_int_equal(mproc_future_wait(future, 60000), 0);
    r = mproc_future_result(future, &data, &length);
    if (r == 0) {
        tally->done++;
        if (length != sizeof(uint64_t) || *(const uint64_t *)data != answer(index) ||
            atomic_load(&stage->runs[index]) == 0)
            tally->wrong++;
    } else {
        mproc_failure failure = {.size = sizeof failure};

        assert_int_equal(r, MPROC_ECRASHED);
        assert_int_equal(mproc_future_failure(future, &failure), 0);
        assert_int_equal(failure.signal, SIGKILL);
        assert_int_equal(failure.attempts, attempts);
        tally->crashed++;
    }
    assert_true((int32_t)atomic_load(&stage->runs[index]) <= attempts);
    mproc_future_free(future);
}

static struct tally submit_all(mproc_pool *pool, mproc_task_fn fn, uint64_t tasks, int32_t retries,
                               uint64_t seed)
{
    mproc_submit_options options = {
        .size = sizeof options, .retries = retries, .output_max = 64, .ctx_size = sizeof seed};
    mproc_future *futures[IN_FLIGHT];
    struct tally tally = {0};

    for (uint64_t i = 0; i < tasks + IN_FLIGHT; i++) {
        if (i >= IN_FLIGHT)
            take_in(&tally, futures[i % IN_FLIGHT], i - IN_FLIGHT, 1 + retries);
        if (i < tasks)
            assert_int_equal(
                mproc_pool_submit(pool, &futures[i % IN_FLIGHT], fn, &seed, &i, sizeof i, &options),
                0);
    }
    return tally;
}

/* Adds to the kills and to the crashes. */
static void storm_of_tasks(mproc_task_fn fn, uint64_t tasks, int32_t retries, uint64_t *kills,
                           uint64_t *crashes)
{
    uint64_t seed = test_seed(), replaced;
    mproc_pool_options options = {.size = sizeof options, .init = note_pid};
    mproc_pool *pool;
    struct tally tally;
    pid_t killer;

    set_stage(tasks);
    assert_int_equal(mproc_pool_create(&pool, WORKERS, &options), 0);
    killer = start_killer(seed);
    tally = submit_all(pool, fn, tasks, retries, seed);
    stop_killer(killer);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 10000), 0);
    mproc_pool_destroy(pool);
    replaced = atomic_load(&stage->starts) - WORKERS;
    *kills += replaced;
    *crashes += tally.crashed;
    print_message("%llu tasks: %llu done, %llu crashed, %llu workers replaced\n",
                  (unsigned long long)tasks, (unsigned long long)tally.done,
                  (unsigned long long)tally.crashed, (unsigned long long)replaced);
    assert_int_equal(tally.done + tally.crashed, tasks);
    assert_int_equal(tally.wrong, 0);
    assert_true(tally.crashed <= replaced);
    if (retries >= 3)
        assert_true(tally.crashed <= tasks / 1000);
    clear_stage();
}

/* Rounds until `deaths` workers were killed and replaced. */
static void storm(uint64_t deaths, uint64_t tasks, int32_t retries)
{
    uint64_t kills = 0, crashes = 0, run = 0;

    for (; kills < deaths || run < tasks; run += 50000)
        storm_of_tasks(count_and_answer, 50000, retries, &kills, &crashes);
}

static void no_task_is_lost_doubled_or_wrong_in_a_kill_storm(void **state)
{
    (void)state;
    if (test_under_valgrind())
        storm(20, 1, 0);
    else
        storm(1000, 200000, 0);
}

static void with_retries_nearly_every_task_is_done_in_a_kill_storm(void **state)
{
    (void)state;
    storm(test_under_valgrind() ? 20 : 300, 1, 3);
}

static void each_task_that_a_kill_hits_crashes_once_and_no_other(void **state)
{
    uint64_t deaths = test_under_valgrind() ? 20 : 300, kills = 0, crashes = 0;

    (void)state;
    while (kills < deaths)
        storm_of_tasks(work_and_answer, test_under_valgrind() ? 1000 : 10000, 0, &kills, &crashes);
    assert_true(crashes > deaths / 3);
}

/* ---- maps ------------------------------------------------------------------------------------ */

static int32_t count_and_square(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    (void)ctx;
    atomic_fetch_add(&stage->runs[index], 1);
    *(uint64_t *)out = answer(index);
    return 0;
}

static void each_item_of_a_map_has_its_own_fate_in_a_kill_storm(void **state)
{
    enum { ITEMS = 100000 };
    static uint64_t out[ITEMS];
    static int32_t statuses[ITEMS];
    mproc_pool_options options = {.size = sizeof options, .init = note_pid};
    mproc_map_options map = {.size = sizeof map, .statuses = statuses};
    mproc_pool *pool;
    pid_t killer;
    uint64_t seed = test_seed();
    int rounds = test_under_valgrind() ? 1 : 10;

    (void)state;
    set_stage(ITEMS);
    assert_int_equal(mproc_pool_create(&pool, WORKERS, &options), 0);
    killer = start_killer(seed);
    for (int round = 0; round < rounds; round++) {
        int failed, crashed = 0;

        memset(stage->runs, 0, ITEMS * sizeof stage->runs[0]);
        memset(out, 0, sizeof out);
        failed =
            mproc_pool_map(pool, count_and_square, NULL, NULL, 0, out, sizeof out[0], ITEMS, &map);
        assert_true(failed >= 0);
        for (uint64_t i = 0; i < ITEMS; i++) {
            if (statuses[i] == 0) {
                assert_int_equal(out[i], answer(i));
                assert_int_equal(atomic_load(&stage->runs[i]), 1);
            } else {
                assert_int_equal(statuses[i], MPROC_ECRASHED);
                assert_true(atomic_load(&stage->runs[i]) <= 1);
                crashed++;
            }
        }
        assert_int_equal(failed, crashed);
    }
    stop_killer(killer);
    mproc_pool_destroy(pool);
    clear_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_task_is_lost_doubled_or_wrong_in_a_kill_storm),
        TEST(with_retries_nearly_every_task_is_done_in_a_kill_storm),
        TEST(each_task_that_a_kill_hits_crashes_once_and_no_other),
        TEST(each_item_of_a_map_has_its_own_fate_in_a_kill_storm),
    };

    return TEST_MAIN(tests);
}
