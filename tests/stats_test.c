/* SPDX-License-Identifier: MIT */
/* What stats.h promises: the numbers, and the table made of them. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool.h"

enum { WORKERS = 2, SLOW_MS = 80, COARSE_MS = 20, MUCH = 64 << 20 };

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

static mproc_stats stats_of(mproc_pool *pool)
{
    mproc_stats stats = {.size = sizeof stats};

    assert_int_equal(mproc_pool_stats(pool, &stats), 0);
    return stats;
}

static mproc_worker_stats worker_of(mproc_pool *pool, int32_t worker)
{
    mproc_worker_stats stats = {.size = sizeof stats};

    assert_int_equal(mproc_pool_worker_stats(pool, worker, &stats), 0);
    return stats;
}

static void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t copy(const void *in, void *out, void *ctx)
{
    (void)ctx;
    memcpy(out, in, 8);
    return 0;
}

/* Items 3 and 7 are slow, 7 more so. */
static int32_t some_are_slow(const void *in, void *out, void *ctx)
{
    uint64_t item = *(const uint64_t *)in;

    (void)out;
    (void)ctx;
    if (item == 3 || item == 7)
        sleep_ms(item == 3 ? SLOW_MS : 2 * SLOW_MS);
    return item == 9;
}

static int32_t answer(mproc_task *task, void *ctx)
{
    (void)ctx;
    memset(mproc_task_output(task, 10), 0, 10);
    return 0;
}

static int32_t be_slow(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    sleep_ms(SLOW_MS);
    return 0;
}

static int32_t crash(mproc_task *task, void *ctx)
{
    if (ctx)
        be_slow(task, NULL);
    raise(SIGKILL);
    return 0;
}

/* Volatile: or the compiler would leave out what nobody reads. */
static int32_t use_memory(mproc_task *task, void *ctx)
{
    char *memory = malloc(MUCH);

    (void)task;
    (void)ctx;
    for (size_t i = 0; memory && i < MUCH; i += 1024)
        ((volatile char *)memory)[i] = 1;
    raise(SIGKILL);
    free(memory);
    return 0;
}

static int call(mproc_pool *pool, mproc_task_fn fn, void *ctx)
{
    char out[16];

    return mproc_pool_call(pool, fn, ctx, "input", 5, out, sizeof out, NULL, NULL);
}

/* ---- counts ---------------------------------------------------------------------------------- */

static void items_failures_and_bytes_are_counted(void **state)
{
    enum { COUNT = 1000 };
    mproc_pool *pool = make_pool(WORKERS, NULL);
    static uint64_t in[COUNT], out[COUNT];
    int32_t statuses[10];
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    mproc_stats stats = stats_of(pool);

    (void)state;
    assert_int_equal(stats.items, 0);
    assert_int_equal(stats.bytes_in, 0);
    assert_int_equal(mproc_pool_map(pool, copy, NULL, in, 8, out, 8, COUNT, NULL), 0);
    stats = stats_of(pool);
    assert_int_equal(stats.items, COUNT);
    assert_int_equal(stats.failed, 0);
    assert_int_equal(stats.bytes_in, 8 * COUNT);
    assert_int_equal(stats.bytes_out, 8 * COUNT);
    assert_int_equal(worker_of(pool, 0).items + worker_of(pool, 1).items, COUNT);
    assert_int_equal(call(pool, answer, NULL), 0);
    stats = stats_of(pool);
    assert_int_equal(stats.items, COUNT + 1);
    assert_int_equal(stats.bytes_in, 8 * COUNT + 5);
    assert_int_equal(stats.bytes_out, 8 * COUNT + 10);
    assert_int_equal(mproc_pool_map(pool, some_are_slow, NULL, NULL, 0, NULL, 0, 10, &options), 1);
    assert_int_equal(stats_of(pool).failed, 1);
    mproc_pool_destroy(pool);
}

static void deaths_and_restarts_are_counted_and_counts_go_on_over_both(void **state)
{
    mproc_worker_stats before, after;
    mproc_pool *pool;

    (void)state;
    need_processes();
    pool = make_pool(1, NULL);
    assert_int_equal(call(pool, answer, NULL), 0);
    before = worker_of(pool, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(call(pool, crash, NULL), MPROC_ECRASHED);
    assert_int_equal(call(pool, answer, NULL), 0);
    after = worker_of(pool, 0);
    assert_true(before.pid > 1);
    assert_true(after.pid > 1);
    assert_int_not_equal(before.pid, after.pid);
    assert_int_equal(after.deaths, 3);
    assert_int_equal(after.items, 2);
    assert_int_equal(stats_of(pool).restarts, 0);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(call(pool, answer, NULL), 0);
    assert_int_equal(stats_of(pool).restarts, 1);
    assert_int_equal(worker_of(pool, 0).items, 3);
    assert_int_equal(worker_of(pool, 0).deaths, 4); /* the one that left */
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    assert_int_equal(stats_of(pool).items, 3);
    assert_int_equal(worker_of(pool, 0).pid, 0);
    mproc_pool_destroy(pool);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void busy_and_idle_add_up_to_the_time_that_has_passed(void **state)
{
    mproc_pool *pool = make_pool(WORKERS, NULL);
    mproc_stats stats;

    (void)state;
    assert_int_equal(call(pool, be_slow, NULL), 0);
    sleep_ms(SLOW_MS);
    stats = stats_of(pool);
    assert_true(stats.busy_ms >= SLOW_MS - COARSE_MS);
    assert_true(stats.idle_ms >= 2 * SLOW_MS); /* one all the time, the other half of it */
    assert_true(stats.busy_ms + stats.idle_ms <= WORKERS * (stats.elapsed_ms + 1));
    assert_true(stats.busy_ms + stats.idle_ms >= WORKERS * (stats.elapsed_ms - 1));
    mproc_pool_destroy(pool);
}

static void what_runs_now_counts_as_busy(void **state)
{
    mproc_pool *pool = make_pool(1, NULL);
    mproc_future *future;

    (void)state;
    assert_int_equal(mproc_pool_submit(pool, &future, be_slow, NULL, NULL, 0, NULL), 0);
    while (worker_of(pool, 0).busy_ms == 0)
        sleep_ms(1);
    assert_int_equal(mproc_future_is_done(future), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
}

static void the_time_of_a_task_that_crashed_counts(void **state)
{
    mproc_pool *pool;

    (void)state;
    need_processes();
    pool = make_pool(1, NULL);
    assert_int_equal(call(pool, crash, pool), MPROC_ECRASHED);
    assert_true(worker_of(pool, 0).busy_ms >= SLOW_MS - COARSE_MS);
    mproc_pool_destroy(pool);
}

static int32_t hang(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    while (pause())
        ;
    return 0;
}

static void who_is_killed_with_the_pool_has_died_and_is_busy_no_more(void **state)
{
    mproc_pool *pool = make_pool(WORKERS, NULL);
    mproc_worker_stats first, second;
    mproc_future *futures[WORKERS];

    (void)state;
    if (pool->generation.supervisor <= 0) { /* workers are threads: none can be killed */
        mproc_pool_destroy(pool);
        skip();
    }
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(mproc_pool_submit(pool, &futures[i], hang, NULL, NULL, 0, NULL), 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        while (atomic_load(&mp_region_worker(&pool->region, i)->began) == 0)
            sleep_ms(1);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    sleep_ms(SLOW_MS); /* nobody was busy for longer than there was a pool, by any clock */
    first = worker_of(pool, 0);
    assert_int_equal(first.pid, 0);
    assert_int_equal(first.deaths, 1);
    sleep_ms(SLOW_MS);
    second = worker_of(pool, 0);
    assert_int_equal(second.busy_ms, first.busy_ms);
    assert_int_equal(stats_of(pool).deaths, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        mproc_future_free(futures[i]);
    mproc_pool_destroy(pool);
}

/* Before it has noted when it began, or after somebody wrote that. */
static int32_t die_with_record(mproc_task *task, void *ctx)
{
    mproc_pool *const *pool = (mproc_pool *const *)ctx;
    int64_t began;

    memcpy(&began, mproc_task_input(task, NULL), sizeof began);
    atomic_store(&mp_region_worker(&(*pool)->region, 0)->began, began);
    raise(SIGKILL);
    return 0;
}

static void a_worker_that_did_not_say_when_it_began_ran_for_no_time(void **state)
{
    static mproc_pool *pool;
    const int64_t begins[] = {0, -1, INT64_MIN, INT64_MAX};
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *future;

    (void)state;
    need_processes();
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_restart(pool), 0); /* so that the worker knows `pool` */
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        assert_int_equal(mproc_pool_submit(pool, &future, die_with_record, &pool, &begins[i],
                                           sizeof begins[i], NULL),
                         0);
        assert_int_equal(mproc_future_wait(future, -1), 0);
        assert_int_equal(mproc_future_failure(future, &failure), 0);
        assert_int_equal(failure.error, MPROC_ECRASHED);
        assert_int_equal(failure.ran_ms, 0);
        mproc_future_free(future);
    }
    mproc_pool_destroy(pool);
}

static void the_slowest_items_come_first(void **state)
{
    mproc_map_options options = {.size = sizeof options, .chunk_size = 1};
    mproc_slow_item first = {.size = sizeof first}, second = {.size = sizeof second}, item = first;
    mproc_pool *pool = make_pool(WORKERS, NULL);
    size_t count = 2;

    (void)state;
    assert_int_equal(mproc_pool_slowest(pool, 0, &first), -ENOENT);
    assert_int_equal(mproc_pool_map(pool, some_are_slow, NULL, NULL, 0, NULL, 0, 9, &options), 0);
    assert_int_equal(mproc_pool_slowest(pool, 0, &first), 0);
    assert_int_equal(mproc_pool_slowest(pool, 1, &second), 0);
    assert_int_equal(first.index, 7);
    assert_int_equal(second.index, 3);
    assert_int_equal(first.count, 1);
    assert_true(first.ran_ms >= 2 * SLOW_MS - COARSE_MS);
    assert_in_range(first.worker, 0, WORKERS - 1);
    while (mproc_pool_slowest(pool, count, &item) == 0) {
        assert_true(item.ran_ms <= second.ran_ms);
        count++;
    }
    assert_true(count <= WORKERS * SLOW_ITEMS);
    mproc_pool_destroy(pool);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void the_most_memory_of_a_worker_is_known_also_when_it_is_dead(void **state)
{
    mproc_pool *pool;

    (void)state;
    need_processes();
    pool = make_pool(1, NULL);
    assert_int_equal(call(pool, use_memory, NULL), MPROC_ECRASHED);
    assert_int_equal(call(pool, answer, NULL), 0);
    assert_true(worker_of(pool, 0).peak_memory >= MUCH);
    assert_true(worker_of(pool, 0).peak_memory < (uint64_t)64 * MUCH);
    assert_int_equal(stats_of(pool).peak_memory, worker_of(pool, 0).peak_memory);
    mproc_pool_destroy(pool);
}

static void without_processes_there_are_the_same_numbers(void **state)
{
    const mproc_pool_options options = {.size = sizeof options, .in_process = 1};
    mproc_pool *pool = make_pool(1, &options);

    (void)state;
    assert_int_equal(call(pool, be_slow, NULL), 0);
    assert_int_equal(stats_of(pool).items, 1);
    assert_int_equal(worker_of(pool, 0).pid, getpid());
    assert_true(stats_of(pool).busy_ms >= SLOW_MS - COARSE_MS);
    assert_true(stats_of(pool).peak_memory > 0);
    mproc_pool_destroy(pool);
}

/* ---- nonsense -------------------------------------------------------------------------------- */

/* Whatever somebody writes into the records, there are numbers, within the bounds that there are. */
static void records_that_somebody_scribbled_on_make_no_more_than_wrong_numbers(void **state)
{
    mproc_pool *pool = make_pool(WORKERS, NULL);
    mproc_slow_item item = {.size = sizeof item};
    uint64_t seed = test_seed();
    char text[4096];

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct worker_shm *record = mp_region_worker(&pool->region, (uint32_t)round % WORKERS);
        uint64_t random = test_random(&seed);
        mproc_worker_stats stats;

        /* All but the first line, and the time in that: the pool is to go on. */
        for (size_t i = CACHE_LINE; i < sizeof *record; i += sizeof random) {
            random = round < 3 ? UINT64_MAX >> round : test_random(&seed);
            memcpy((char *)record + i, &random, sizeof random);
        }
        atomic_store(&record->began, (int64_t)random);
        stats = worker_of(pool, round % WORKERS);
        assert_true(stats.busy_ms >= 0 && stats.busy_ms < 3600000);
        assert_true(stats.idle_ms >= 0 && stats.idle_ms < 3600000);
        stats_of(pool);
        mproc_pool_slowest(pool, 0, &item);
        assert_true(mproc_pool_report(pool, text, sizeof text) > 0);
        assert_int_equal(call(pool, answer, NULL), 0);
    }
    mproc_pool_destroy(pool);
}

static void misuse_is_refused(void **state)
{
    mproc_pool *pool = make_pool(1, NULL);
    mproc_worker_stats stats = {.size = sizeof stats};
    mproc_stats all = {0};

    (void)state;
    assert_int_equal(mproc_pool_stats(pool, &all), -EINVAL);
    assert_int_equal(mproc_pool_worker_stats(pool, -1, &stats), -EINVAL);
    assert_int_equal(mproc_pool_worker_stats(pool, 1, &stats), -EINVAL);
    assert_int_equal(mproc_pool_worker_stats(pool, INT32_MAX, &stats), -EINVAL);
    /* A struct of an older release is filled as far as it goes. */
    assert_int_equal(call(pool, answer, NULL), 0);
    all = (mproc_stats){.size = offsetof(mproc_stats, failed), .failed = 77};
    assert_int_equal(mproc_pool_stats(pool, &all), 0);
    assert_int_equal(all.items, 1);
    assert_int_equal(all.failed, 77);
    assert_int_equal(all.size, offsetof(mproc_stats, failed));
    mproc_pool_destroy(pool);
}

/* ---- the table ------------------------------------------------------------------------------- */

static void the_table_has_a_line_for_each_worker_and_is_cut_where_its_room_ends(void **state)
{
    mproc_map_options options = {.size = sizeof options, .chunk_size = 1};
    mproc_pool *pool = make_pool(WORKERS, NULL);
    char text[4096], cut[4096];
    int length;

    (void)state;
    assert_int_equal(mproc_pool_map(pool, some_are_slow, NULL, NULL, 0, NULL, 0, 9, &options), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    length = mproc_pool_report(pool, text, sizeof text);
    assert_int_equal(length, strlen(text));
    assert_memory_equal(text, "worker ", 7);
    assert_non_null(strstr(text, "\n0 "));
    assert_non_null(strstr(text, "\n1 "));
    assert_null(strstr(text, "\n2 "));
    assert_non_null(strstr(text, "\nall "));
    assert_non_null(strstr(text, "\nslowest item 7: 0."));
    for (size_t size = 0; size < 200; size += 7) {
        memset(cut, '#', sizeof cut);
        assert_in_range(mproc_pool_report(pool, cut, size), length - 8, length + 8);
        assert_int_equal(cut[size], '#');
        assert_true(size == 0 || strlen(cut) == size - 1);
    }
    mproc_pool_destroy(pool);
}

static const struct CMUnitTest tests[] = {
    TEST(items_failures_and_bytes_are_counted),
    TEST(deaths_and_restarts_are_counted_and_counts_go_on_over_both),
    TEST(busy_and_idle_add_up_to_the_time_that_has_passed),
    TEST(what_runs_now_counts_as_busy),
    TEST(the_time_of_a_task_that_crashed_counts),
    TEST(who_is_killed_with_the_pool_has_died_and_is_busy_no_more),
    TEST(a_worker_that_did_not_say_when_it_began_ran_for_no_time),
    TEST(the_slowest_items_come_first),
    TEST(the_most_memory_of_a_worker_is_known_also_when_it_is_dead),
    TEST(without_processes_there_are_the_same_numbers),
    TEST(records_that_somebody_scribbled_on_make_no_more_than_wrong_numbers),
    TEST(misuse_is_refused),
    TEST(the_table_has_a_line_for_each_worker_and_is_cut_where_its_room_ends),
};

int main(void)
{
    return TEST_MAIN(tests);
}
