/* SPDX-License-Identifier: MIT */
/*
 * The supervisor is killed at random instants: while tasks run, while workers crash, while the pool
 * is restarted, closed or terminated.  Every open task ends within a second, what the tasks started
 * is gone by then, too, and a restart gives a pool that works.
 *
 * All of a generation, and what its tasks start, has the write end of a pipe: its end of file says
 * that they are gone.
 */
#include "support.h"

#include "pool/pool.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 3, TASKS = 24, PROMISE_MS = 1000, NS_PER_MS = 1000000 };

enum task_kind { QUICK, CRASHES, HANGS, LEAVES_CHILD, WAITS_FOR_PROGRAM, TASK_KINDS };

enum round_kind {
    WHILE_TASKS_RUN,
    WHILE_WORKERS_CRASH,
    IN_RESTART,
    IN_CLOSE,
    IN_TERMINATE,
    ROUNDS
};

static mproc_pool *pool;
/* What a worker left that has died is told, too.  Not by the fallback, whose bond runs in the worker:
 * there who crashes leaves nothing. */
static bool with_group;
static _Atomic uint32_t *runs; /* by task; shared with the workers */
static int alive[2];
static uint64_t kills;
static int64_t slowest_end, slowest_gone; /* ns from the kill */

/* ---- tasks ----------------------------------------------------------------------------------- */

static uint64_t answer(uint64_t number)
{
    return number * 0x9e3779b97f4a7c15U + 1;
}

static int32_t meet_kind(mproc_task *task, void *ctx)
{
    const uint64_t *in = mproc_task_input(task, NULL); /* number, kind */
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    atomic_fetch_add(&runs[in[0]], 1);
    switch (in[1]) {
    case CRASHES:
        raise(SIGKILL);
        break;
    case LEAVES_CHILD:
        if (fork() == 0)
            for (;;)
                pause();
        break;
    case WAITS_FOR_PROGRAM:
        return system("sleep 1000") + 1;
    case HANGS:
        for (;;)
            pause();
    default:
        break;
    }
    *out = answer(in[0]);
    return 0;
}

static uint64_t pick_kind(enum round_kind round, uint64_t *seed)
{
    uint64_t r = test_random(seed);

    if (r % 2)
        return QUICK;
    if (round == WHILE_WORKERS_CRASH)
        return with_group && (r >> 32) % 2 ? LEAVES_CHILD : CRASHES;
    if (!with_group)
        return HANGS + (r >> 32) % (TASK_KINDS - HANGS);
    return CRASHES + (r >> 32) % (TASK_KINDS - CRASHES);
}

/* ---- the killer ------------------------------------------------------------------------------ */

struct killer {
    pthread_t thread;
    int64_t delay;
    atomic_bool stop;
    int64_t killed_at; /* 0: nobody was there any more */
};

/* Kill the supervisor that the pool has at this moment; false: it has none. */
static bool kill_supervisor(int64_t *when)
{
    pid_t pid = *(volatile pid_t *)&pool->generation.supervisor;
    siginfo_t info;

    if (pid <= 1 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT))
        return false;
    *when = mp_now();
    return kill(pid, SIGKILL) == 0;
}

static void *kill_after_delay(void *arg)
{
    struct killer *killer = arg;
    struct timespec delay = {0, (long)killer->delay};

    nanosleep(&delay, NULL); /* the instants are what is under test */
    while (!kill_supervisor(&killer->killed_at) && !atomic_load(&killer->stop))
        sched_yield();
    return NULL;
}

static void start_killer(struct killer *killer, uint64_t *seed)
{
    killer->delay = (int64_t)(test_random(seed) % (4 * NS_PER_MS));
    killer->killed_at = 0;
    atomic_store(&killer->stop, false);
    assert_int_equal(pthread_create(&killer->thread, NULL, kill_after_delay, killer), 0);
}

static void end_killer(struct killer *killer)
{
    atomic_store(&killer->stop, true);
    assert_int_equal(pthread_join(killer->thread, NULL), 0);
    kills += killer->killed_at != 0;
}

/* ---- a round --------------------------------------------------------------------------------- */

static void make_pool(void)
{
    mproc_pool_options options = {.size = sizeof options, .keep_descriptors = 1};

    assert_int_equal(mproc_pool_create(&pool, WORKERS, &options), 0);
}

static void assert_works(void)
{
    uint64_t in[2] = {0, QUICK}, out = 0;

    assert_int_equal(
        mproc_pool_call(pool, meet_kind, NULL, in, sizeof in, &out, sizeof out, NULL, NULL), 0);
    assert_int_equal(out, answer(0));
}

/* Submit tasks until one is refused; how many were not. */
static size_t submit_all(mproc_future *futures[TASKS], uint64_t kinds[TASKS], enum round_kind round,
                         uint64_t *seed)
{
    size_t count = 0;

    for (; count < TASKS; count++) {
        uint64_t in[2] = {count, pick_kind(round, seed)};
        int r;

        kinds[count] = in[1];
        atomic_store(&runs[count], 0);
        r = mproc_pool_submit(pool, &futures[count], meet_kind, NULL, in, sizeof in, NULL);
        if (r == 0)
            continue;
        assert_int_equal(r, MPROC_EBROKEN);
        break;
    }
    return count;
}

static void assert_outcome(mproc_future *future, size_t number, uint64_t kind,
                           enum round_kind round)
{
    mproc_failure failure = {.size = sizeof failure};
    const void *data;
    size_t length;
    int r = mproc_future_result(future, &data, &length);

    assert_true(atomic_load(&runs[number]) <= 1);
    if (r == 0) {
        assert_true(kind == QUICK || kind == LEAVES_CHILD);
        assert_int_equal(length, sizeof(uint64_t));
        assert_int_equal(*(const uint64_t *)data, answer(number));
        assert_int_equal(atomic_load(&runs[number]), 1);
    } else if (r == MPROC_ECRASHED) {
        assert_int_equal(mproc_future_failure(future, &failure), 0);
        assert_int_equal(kind, CRASHES);
        assert_int_equal(failure.signal, SIGKILL);
    } else {
        assert_int_equal(r, round == IN_TERMINATE ? -ECANCELED : MPROC_EBROKEN);
    }
    mproc_future_free(future);
}

/* No process of the generation, nor what one of its tasks started, is left. */
static void assert_gone(const struct killer *killer)
{
    struct pollfd end = {alive[0], POLLIN, 0};

    assert_int_equal(poll(&end, 1, PROMISE_MS * test_slowness()), 1);
    close(alive[0]);
    if (killer->killed_at && mp_now() - killer->killed_at > slowest_gone)
        slowest_gone = mp_now() - killer->killed_at;
}

/* The round's generation, with a pipe of its own. */
static void renew(enum round_kind round, uint64_t *seed)
{
    struct killer killer;

    if (!pool)
        make_pool();
    assert_int_equal(pipe(alive), 0);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_works();
    if (round == IN_RESTART) { /* of the old supervisor or of the new one */
        start_killer(&killer, seed);
        assert_int_equal(mproc_pool_restart(pool), 0);
        end_killer(&killer);
    }
    close(alive[1]);
}

static void run_round(enum round_kind round, uint64_t *seed)
{
    int64_t limit = (int64_t)PROMISE_MS * test_slowness();
    mproc_future *futures[TASKS];
    uint64_t kinds[TASKS];
    struct killer killer;
    int64_t ended;
    size_t count;

    renew(round, seed);
    start_killer(&killer, seed);
    count = submit_all(futures, kinds, round, seed);
    if (round == IN_CLOSE)
        assert_int_equal(mproc_pool_close(pool), 0);
    if (round == IN_TERMINATE)
        assert_int_equal(mproc_pool_terminate(pool), 0);
    if (round == IN_CLOSE || round == IN_TERMINATE)
        assert_int_equal(mproc_pool_join(pool, limit), 0);
    assert_int_equal(mproc_future_wait_all(futures, count, limit), 0);
    ended = mp_now();
    end_killer(&killer);
    if (killer.killed_at && ended - killer.killed_at > slowest_end)
        slowest_end = ended - killer.killed_at;
    for (size_t i = 0; i < count; i++)
        assert_outcome(futures[i], i, kinds[i], round);
    assert_gone(&killer);
    if (round == IN_CLOSE || round == IN_TERMINATE) {
        mproc_pool_destroy(pool);
        pool = NULL;
    }
}

static void the_death_of_the_supervisor_ends_all_tasks_and_restart_helps(void **state)
{
    uint64_t seed = test_seed();
    uint64_t count = test_count(300, 500);

    (void)state;
    with_group = mp_pidfd_open(getpid()) != -EBADF; /* the fallback has none */
    runs = test_share(TASKS * sizeof *runs);
    for (uint64_t i = 0; kills < count; i++)
        run_round((enum round_kind)(i % ROUNDS), &seed);
    print_message("all tasks ended %lld us, and all processes %lld us after the kill, at most\n",
                  (long long)slowest_end / 1000, (long long)slowest_gone / 1000);
    assert_true(slowest_end <= (int64_t)PROMISE_MS * NS_PER_MS * test_slowness());
    assert_true(slowest_gone <= (int64_t)PROMISE_MS * NS_PER_MS * test_slowness());
    mproc_pool_destroy(pool);
    test_unshare(runs, TASKS * sizeof *runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_death_of_the_supervisor_ends_all_tasks_and_restart_helps),
    };

    return TEST_MAIN(tests);
}
