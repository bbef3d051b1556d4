/* SPDX-License-Identifier: MIT */
/*
 * The host is killed at random instants, from before it has a pool on, while its tasks start
 * processes, crash and reach their limits: every process that came of it is gone within 100 ms.
 *
 * All of them have the write end of a pipe, whose end of file says that they are gone.  Those that
 * have closed it are told of by the system: where there is such a thing, the test adopts the
 * orphans and waits until it has no child.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 2, IN_FLIGHT = 8, PROMISE_MS = 100, LATEST_KILL_MS = 25, NS_PER_MS = 1000000 };

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the host -------------------------------------------------------------------------------- */

static _Noreturn void wait_for_kill(void)
{
    for (;;)
        pause();
}

static int32_t do_as_told(mproc_task *task, void *ctx)
{
    (void)ctx;
    switch (*(const uint64_t *)mproc_task_input(task, NULL)) {
    case 0: /* leaves a process that outlives the task */
        if (fork() == 0)
            wait_for_kill();
        break;
    case 1: /* dies, and leaves one */
        if (fork() == 0)
            wait_for_kill();
        raise(SIGKILL);
        break;
    case 2: /* starts a program, and is killed at its limit */
        return system("sleep 1000");
    case 3: /* closes all that it has from the pool, and so does its child */
        for (int fd = 0; fd < 64; fd++)
            close(fd);
        fork();
        wait_for_kill();
    case 4: /* a process whose parent has ended */
        if (fork() == 0) {
            if (fork() == 0)
                wait_for_kill();
            _exit(0);
        }
        break;
    default:
        break;
    }
    return 0;
}

static void *make_pool(void *pool)
{
    mproc_pool_options options = {.size = sizeof options, .keep_descriptors = 1};

    if (mproc_pool_create(pool, WORKERS, &options))
        _exit(1);
    return NULL;
}

/* Submits random tasks for ever.  `by_thread`: the thread that made the pool has ended. */
static _Noreturn void run_host(uint64_t seed, bool by_thread)
{
    mproc_submit_options options = {.size = sizeof options, .time_limit_ms = 4};
    mproc_future *futures[IN_FLIGHT] = {NULL};
    mproc_pool *pool = NULL;
    pthread_t thread;

    if (!by_thread)
        make_pool(&pool);
    else if (pthread_create(&thread, NULL, make_pool, &pool) || pthread_join(thread, NULL))
        _exit(1);
    for (uint64_t i = 0;; i++) {
        uint64_t what = test_random(&seed) % 8;
        mproc_future **future = &futures[i % IN_FLIGHT];

        if (*future && mproc_future_wait(*future, -1))
            _exit(1);
        mproc_future_free(*future);
        if (mproc_pool_submit(pool, future, do_as_told, NULL, &what, sizeof what, &options))
            _exit(1);
    }
}

/* ---- the test -------------------------------------------------------------------------------- */

static void adopt_orphans(bool adopt)
{
#ifdef PR_SET_CHILD_SUBREAPER
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, adopt ? 1 : 0), 0);
#else
    (void)adopt;
#endif
}

static uint64_t reaped;

/* Wait until there is no child; the host is one, and was killed. */
static void reap_all(pid_t host)
{
    bool seen = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, 0)) > 0) {
        if (pid != host) {
            reaped++;
            continue;
        }
        seen = true;
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
    assert_true(seen);
}

/* From the kill of a host to the end of all that came of it. */
static int64_t time_of_end(uint64_t *seed, bool by_thread)
{
    struct timespec delay = {0, (long)(test_random(seed) % (LATEST_KILL_MS * NS_PER_MS))};
    uint64_t host_seed = test_random(seed);
    struct pollfd end = {.events = POLLIN};
    int alive[2];
    int64_t begin;
    char byte;
    pid_t host;

    assert_int_equal(pipe(alive), 0);
    host = fork();
    assert_true(host >= 0);
    if (host == 0) {
        close(alive[0]);
        run_host(host_seed, by_thread);
    }
    close(alive[1]);
    end.fd = alive[0];
    nanosleep(&delay, NULL); /* the instants are what is under test */
    begin = now_ns();
    assert_int_equal(kill(host, SIGKILL), 0);
    assert_int_equal(poll(&end, 1, 100 * PROMISE_MS * test_slowness()), 1);
    assert_int_equal(read(alive[0], &byte, 1), 0);
    reap_all(host);
    close(alive[0]);
    return now_ns() - begin;
}

static void kill_hosts(bool by_thread)
{
    uint64_t seed = test_seed(), rounds = test_count(50, 500);
    int64_t slowest = 0, sum = 0;

    adopt_orphans(true);
    reaped = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        int64_t time = time_of_end(&seed, by_thread);

        sum += time;
        if (time > slowest)
            slowest = time;
    }
    adopt_orphans(false);
    print_message("%llu hosts, %llu orphans: all gone after %lld us, %lld us at most\n",
                  (unsigned long long)rounds, (unsigned long long)reaped,
                  (long long)sum / 1000 / (long long)rounds, (long long)slowest / 1000);
    assert_true(slowest <= (int64_t)PROMISE_MS * NS_PER_MS * test_slowness());
#ifdef PR_SET_CHILD_SUBREAPER
    assert_true(reaped > rounds); /* there was something to be left */
#endif
}

static void nothing_outlives_a_killed_host(void **state)
{
    (void)state;
    kill_hosts(false);
}

static void nothing_outlives_a_killed_host_whose_creating_thread_had_ended(void **state)
{
    (void)state;
    kill_hosts(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_outlives_a_killed_host),
        TEST(nothing_outlives_a_killed_host_whose_creating_thread_had_ended),
    };

    return TEST_MAIN(tests);
}
