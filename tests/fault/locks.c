/* SPDX-License-Identifier: MIT */
/*
 * Forks while other threads hold the locks of the C library.  Replacements of workers come from the
 * supervisor, which never had those threads: whatever a task calls, none hangs.  A pool that is made
 * meanwhile does come from the host, as does a spawned process, and a lock that was held then stays
 * held there; but the library itself takes none of them before it calls the user's function.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <dlfcn.h>
#include <locale.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef MPROC_TEST_PLUGIN
#define MPROC_TEST_PLUGIN "a wholly static build loads nothing"
#endif

enum { WORKERS = 4, HAMMERS = 4 };

/* ---- what is hammered ------------------------------------------------------------------------ */

static const char variable[] = "MPROC_TEST_HAMMER";

/* setenv replaces what is there: a new name would move the environment under those who read it. */
static void hammer_time_and_environment(void)
{
    const time_t now = 1000000000;
    struct tm broken_down;

    setenv(variable, "1", 1);
    localtime_r(&now, &broken_down);
    tzset();
}

static void hammer_random_and_loader(void)
{
    void *object = dlopen(MPROC_TEST_PLUGIN, RTLD_NOW | RTLD_LOCAL);

    (void)random();
    if (object)
        dlclose(object);
}

static void hammer_users_and_heap(void)
{
    free(malloc(100000));
    getpwnam("root");
    free(malloc(100));
}

static void hammer_locale_and_streams(void)
{
    FILE *null = fopen("/dev/null", "we");

    setlocale(LC_ALL, "C.UTF-8");
    if (null) {
        fprintf(null, "%d", 1);
        fclose(null);
    }
    fflush(stdout);
    setlocale(LC_ALL, "C");
}

static void (*const hammers[HAMMERS])(void) = {hammer_time_and_environment,
                                               hammer_random_and_loader, hammer_users_and_heap,
                                               hammer_locale_and_streams};

/* ---- the threads ----------------------------------------------------------------------------- */

static _Atomic int stop;
static _Atomic uint64_t strokes[HAMMERS];

static void *run_hammer(void *arg)
{
    size_t which = (size_t)(uintptr_t)arg;

    while (!atomic_load(&stop)) {
        hammers[which]();
        atomic_fetch_add(&strokes[which], 1);
    }
    return NULL;
}

static pthread_t threads[HAMMERS];

static void start_hammers(void)
{
    atomic_store(&stop, 0);
    for (size_t i = 0; i < HAMMERS; i++) {
        atomic_store(&strokes[i], 0);
        assert_int_equal(pthread_create(&threads[i], NULL, run_hammer, (void *)(uintptr_t)i), 0);
    }
}

/* All of them were at work. */
static void stop_hammers(void)
{
    atomic_store(&stop, 1);
    for (size_t i = 0; i < HAMMERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(atomic_load(&strokes[i]) > 0);
    }
}

/* ---- replacements ---------------------------------------------------------------------------- */

struct stage {
    _Atomic uint64_t starts; /* of workers */
};

static struct stage *stage; /* shared with them */

static void take_every_lock(void)
{
    for (size_t i = 0; i < HAMMERS; i++)
        hammers[i]();
}

static int32_t count_start(int32_t worker, void *arg)
{
    (void)worker, (void)arg;
    take_every_lock();
    atomic_fetch_add(&stage->starts, 1);
    return 0;
}

/* Every second task dies; the worker of each other retires, by tasks_per_worker. */
static int32_t take_every_lock_and_end(mproc_task *task, void *ctx)
{
    uint64_t index = *(const uint64_t *)mproc_task_input(task, NULL);

    (void)ctx;
    take_every_lock();
    if (index % 2)
        raise(SIGKILL);
    return 0;
}

static void no_replacement_hangs_whatever_locks_threads_of_the_host_hold(void **state)
{
    enum { IN_FLIGHT = 32 };
    const uint64_t tasks = test_count(500, 15000);
    mproc_pool_options options = {
        .size = sizeof options, .init = count_start, .tasks_per_worker = 1};
    mproc_submit_options submit = {.size = sizeof submit, .output_max = 1};
    mproc_future *futures[IN_FLIGHT];
    mproc_pool *pool;

    (void)state;
    stage = test_share(sizeof *stage);
    assert_int_equal(mproc_pool_create(&pool, WORKERS, &options), 0);
    start_hammers();
    for (uint64_t i = 0; i < tasks + IN_FLIGHT; i++) {
        if (i >= IN_FLIGHT) {
            assert_int_equal(mproc_future_wait(futures[i % IN_FLIGHT], -1), 0);
            assert_int_equal(mproc_future_result(futures[i % IN_FLIGHT], NULL, NULL),
                             i % 2 ? MPROC_ECRASHED : 0);
            mproc_future_free(futures[i % IN_FLIGHT]);
        }
        if (i < tasks)
            assert_int_equal(mproc_pool_submit(pool, &futures[i % IN_FLIGHT],
                                               take_every_lock_and_end, NULL, &i, sizeof i,
                                               &submit),
                             0);
    }
    stop_hammers();
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    mproc_pool_destroy(pool);
    assert_true(atomic_load(&stage->starts) >= tasks);
    test_unshare(stage, sizeof *stage);
}

/* ---- forks of the host ----------------------------------------------------------------------- */

static int32_t increment(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in + 1;
    return 0;
}

static void pools_made_meanwhile_work(void **state)
{
    const uint64_t rounds = test_count(50, 2000);

    (void)state;
    start_hammers();
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t out[8];
        mproc_pool *pool;

        assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
        assert_int_equal(mproc_pool_map(pool, increment, NULL, NULL, 0, out, 8, 8, NULL), 0);
        assert_int_equal(mproc_pool_restart(pool), 0);
        assert_int_equal(mproc_pool_map(pool, increment, NULL, NULL, 0, out, 8, 8, NULL), 0);
        for (uint64_t i = 0; i < 8; i++)
            assert_int_equal(out[i], i + 1);
        assert_int_equal(mproc_pool_close(pool),
                         0); /* and the workers flush and leave by themselves */
        assert_int_equal(mproc_pool_join(pool, -1), 0);
        mproc_pool_destroy(pool);
    }
    stop_hammers();
}

static int32_t give_seven(void *arg)
{
    (void)arg;
    return 7;
}

static void processes_spawned_meanwhile_end(void **state)
{
    mproc_spawn_options options = {
        .size = sizeof options, .name = "seven", .daemon = 1, .new_group = 1, .stdin_null = 1};
    const uint64_t rounds = test_count(200, 10000);

    (void)state;
    start_hammers();
    for (uint64_t round = 0; round < rounds; round++) {
        mproc_process *process;
        int32_t code;

        assert_int_equal(mproc_spawn(&process, give_seven, NULL, round % 2 ? &options : NULL), 0);
        assert_int_equal(mproc_join(process, -1, &code), 0);
        assert_int_equal(code, 7);
        mproc_process_free(process);
    }
    stop_hammers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_replacement_hangs_whatever_locks_threads_of_the_host_hold),
        TEST(pools_made_meanwhile_work),
        TEST(processes_spawned_meanwhile_end),
    };

    take_every_lock(); /* what the C library loads and maps for it is there before the first census */
    return TEST_MAIN(tests);
}
