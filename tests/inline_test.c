/* SPDX-License-Identifier: MIT */
/* A pool without processes: the same answers as any other, from the calling thread. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { COUNT = 100 };

static mproc_pool_options in_process(void)
{
    return (mproc_pool_options){.size = sizeof(mproc_pool_options), .in_process = 1};
}

static mproc_pool *make_pool(const mproc_pool_options *options)
{
    mproc_pool *pool = NULL;

    assert_int_equal(mproc_pool_create(&pool, 4, options), 0);
    return pool;
}

static mproc_pool *make_inline_pool(void)
{
    const mproc_pool_options options = in_process();

    return make_pool(&options);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t square(const void *in, void *out, void *ctx)
{
    uint64_t n = *(const uint64_t *)in;

    if (ctx && n % *(const uint64_t *)ctx == 1)
        return mproc_fail((int32_t)n, "one too many");
    *(uint64_t *)out = n * n;
    return 0;
}

static int32_t squares(const void *in, void *out, size_t count, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        square((const uint64_t *)in + i, (uint64_t *)out + i, NULL);
    return 0;
}

static int32_t double_text(mproc_task *task, void *ctx)
{
    size_t length;
    const char *in = mproc_task_input(task, &length);
    char *out = mproc_task_output(task, 2 * length);

    (void)ctx;
    if (length == 3)
        return 3;
    memcpy(out, in, length);
    memcpy(out + length, in, length);
    return 0;
}

/* The same program for both kinds of pool: all that it was told, to be compared. */
struct told {
    int returned[6];
    uint64_t out[4][COUNT];
    int32_t statuses[COUNT];
    mproc_failure failures[3];
    char text[COUNT][16];
    size_t lengths[COUNT];
};

static void forget_who(mproc_failure *failure)
{
    failure->pid = 0;
    failure->worker = 0;
    failure->ran_ms = 0;
    for (size_t i = strlen(failure->text); i < sizeof failure->text; i++)
        failure->text[i] = '\0';
}

static void tell_maps(mproc_pool *pool, struct told *told)
{
    uint64_t each = 10;
    mproc_map_options options = {.size = sizeof options, .ctx_size = sizeof each, .chunk_size = 1};

    told->returned[0] = mproc_pool_map(pool, square, NULL, NULL, 0, told->out[0], 8, COUNT, NULL);
    told->returned[1] =
        mproc_pool_map_batch(pool, squares, NULL, NULL, 0, told->out[1], 8, COUNT, NULL);
    options.failure = &told->failures[0];
    options.statuses = told->statuses;
    told->returned[2] =
        mproc_pool_map(pool, square, &each, NULL, 0, told->out[2], 8, COUNT, &options);
    options.failure = &told->failures[1];
    options.statuses = NULL;
    each = 1000; /* item 1 is the one that fails, whatever runs first */
    told->returned[3] =
        mproc_pool_map(pool, square, &each, NULL, 0, told->out[3], 8, COUNT, &options);
    memset(told->out[3], 0, sizeof told->out[3]); /* how far others came is a matter of chance */
}

static void tell_texts(mproc_pool *pool, struct told *told)
{
    mproc_map_options options = {.size = sizeof options, .failure = &told->failures[2]};
    static char letters[] = "abcdefgh";
    struct iovec inputs[COUNT];
    mproc_results *results;
    int32_t statuses[COUNT];

    options.statuses = statuses;
    for (size_t i = 0; i < COUNT; i++)
        inputs[i] = (struct iovec){letters, i % 8};
    told->returned[4] =
        mproc_pool_map_bytes(pool, double_text, NULL, inputs, COUNT, &results, &options);
    for (size_t i = 0; i < COUNT; i++) {
        const void *data;

        assert_int_equal(mproc_results_get(results, i, &data, &told->lengths[i]), 0);
        memcpy(told->text[i], data, told->lengths[i]);
    }
    mproc_results_free(results);
}

static void tell(const mproc_pool_options *options, struct told *told)
{
    mproc_pool *pool = make_pool(options);

    memset(told, 0, sizeof *told);
    for (size_t i = 0; i < 3; i++)
        told->failures[i].size = sizeof told->failures[i];
    tell_maps(pool, told);
    tell_texts(pool, told);
    assert_int_equal(mproc_pool_close(pool), 0);
    told->returned[5] = mproc_pool_map(pool, square, NULL, NULL, 0, told->out[3], 8, 1, NULL);
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    mproc_pool_destroy(pool);
    for (size_t i = 0; i < 3; i++)
        forget_who(&told->failures[i]);
}

static void it_answers_as_a_pool_of_processes_does(void **state)
{
    const mproc_pool_options options = in_process();
    static struct told with, without;

    (void)state;
    tell(NULL, &with);
    tell(&options, &without);
    assert_memory_equal(&with, &without, sizeof with);
    assert_int_equal(without.returned[0], 0);
    assert_int_equal(without.out[0][9], 81);
    assert_int_equal(without.returned[2], 10);
    assert_int_equal(without.returned[3], MPROC_ETASK);
    assert_int_equal(without.failures[1].index, 1);
    assert_string_equal(without.failures[1].text, "one too many");
    assert_int_equal(without.returned[5], MPROC_ECLOSED);
}

/* ---- who runs it ----------------------------------------------------------------------------- */

static pthread_t ran_in;
static int runs;
static int begun;
static int left;

static int32_t note_thread(mproc_task *task, void *ctx)
{
    (void)ctx;
    ran_in = pthread_self();
    runs++;
    return mproc_task_worker(task);
}

static mproc_future *submit(mproc_pool *pool, mproc_task_fn fn, void *ctx)
{
    mproc_future *future = NULL;

    assert_int_equal(mproc_pool_submit(pool, &future, fn, ctx, NULL, 0, NULL), 0);
    return future;
}

static void a_task_runs_in_the_call_that_hands_it_over(void **state)
{
    mproc_pool *pool = make_inline_pool();
    mproc_future *future;

    (void)state;
    runs = 0;
    assert_int_equal(mproc_pool_workers(pool), 1);
    future = submit(pool, note_thread, NULL);
    assert_int_equal(runs, 1);
    assert_true(pthread_equal(ran_in, pthread_self()));
    assert_int_equal(mproc_future_is_done(future), 1);
    assert_int_equal(mproc_future_result(future, NULL, NULL), 0);
    assert_int_equal(mproc_future_cancel(future), -EALREADY);
    mproc_future_free(future);
    mproc_future_free(submit(pool, note_thread, NULL));
    assert_int_equal(runs, 2);
    mproc_pool_destroy(pool);
}

static int32_t use_the_pool(mproc_task *task, void *ctx)
{
    void *memory;
    int r = mproc_pool_alloc(ctx, 64, &memory);

    (void)task;
    mproc_pool_destroy(ctx);
    return r == MPROC_EFOREIGN ? 0 : 1;
}

static void within_a_task_the_handle_is_foreign(void **state)
{
    mproc_pool *pool = make_inline_pool();
    mproc_future *future = submit(pool, use_the_pool, pool);

    (void)state;
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), 0);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
}

static int32_t use_another(mproc_task *task, void *ctx)
{
    uint64_t out[3];
    int r = mproc_pool_map(ctx, square, NULL, NULL, 0, out, 8, 3, NULL);

    (void)task;
    return r == 0 && out[2] == 4 ? 0 : 1;
}

static void a_task_may_use_another_pool(void **state)
{
    mproc_pool *outer = make_inline_pool(), *inner = make_inline_pool();

    (void)state;
    assert_int_equal(mproc_pool_call(outer, use_another, inner, NULL, 0, NULL, 0, NULL, NULL), 0);
    assert_int_equal(mproc_pool_call(outer, use_the_pool, outer, NULL, 0, NULL, 0, NULL, NULL), 0);
    mproc_pool_destroy(outer);
    mproc_pool_destroy(inner);
}

static int32_t use_the_outer(mproc_task *task, void *ctx)
{
    mproc_pool *const *pools = ctx;

    (void)task;
    return mproc_pool_call(pools[1], use_the_pool, pools[0], NULL, 0, NULL, 0, NULL, NULL);
}

static void within_a_task_of_a_task_both_handles_are_foreign(void **state)
{
    mproc_pool *pools[] = {make_inline_pool(), make_inline_pool()};

    (void)state;
    assert_int_equal(mproc_pool_call(pools[0], use_the_outer, pools, NULL, 0, NULL, 0, NULL, NULL),
                     0);
    mproc_pool_destroy(pools[0]);
    mproc_pool_destroy(pools[1]);
}

/* ---- init and exit --------------------------------------------------------------------------- */

static int32_t count_begin(int32_t worker, void *arg)
{
    (void)arg;
    begun++;
    return worker; /* 0 */
}

static void count_exit(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    left++;
}

static void init_and_exit_are_called_as_for_a_worker(void **state)
{
    mproc_pool_options options = in_process();
    uint64_t out[10];
    mproc_pool *pool;

    (void)state;
    begun = left = 0;
    options.init = count_begin;
    options.exit = count_exit;
    options.tasks_per_worker = 3;
    pool = make_pool(&options);
    assert_int_equal(begun, 1);
    assert_int_equal(
        mproc_pool_map(pool, square, NULL, NULL, 0, out, 8, 10,
                       &(mproc_map_options){.size = sizeof(mproc_map_options), .chunk_size = 1}),
        0);
    assert_int_equal(out[9], 81);
    assert_int_equal(begun, 4);
    assert_int_equal(left, 3);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(begun, 5);
    assert_int_equal(left, 4);
    mproc_pool_destroy(pool);
    assert_int_equal(left, 5);
}

static int32_t refuse(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return begun++ < 1 ? mproc_fail(7, "not today") : 0;
}

static void an_init_that_fails_breaks_the_pool_until_a_restart(void **state)
{
    mproc_pool_options options = in_process();
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options map = {.size = sizeof map, .failure = &failure};
    uint64_t out = 0;
    mproc_pool *pool;

    (void)state;
    begun = 0;
    options.init = refuse;
    pool = make_pool(&options);
    assert_int_equal(mproc_pool_map(pool, square, NULL, NULL, 0, &out, 8, 1, &map), MPROC_EBROKEN);
    assert_non_null(strstr(failure.text, "exit status 7: not today"));
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(mproc_pool_map(pool, square, NULL, NULL, 0, &out, 8, 1, &map), 0);
    mproc_pool_destroy(pool);
}

/* ---- limits, ends, loops --------------------------------------------------------------------- */

static int32_t be_slow(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    poll(NULL, 0, 30);
    return 0;
}

static void a_limit_is_not_enforced(void **state)
{
    mproc_pool *pool = make_inline_pool();
    mproc_submit_options options = {.size = sizeof options, .time_limit_ms = 1};

    (void)state;
    assert_int_equal(mproc_pool_call(pool, be_slow, NULL, NULL, 0, NULL, 0, NULL, &options), 0);
    mproc_pool_destroy(pool);
}

static void terminate_ends_it(void **state)
{
    mproc_pool *pool = make_inline_pool();

    (void)state;
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    mproc_pool_destroy(pool);
}

static void an_event_loop_works(void **state)
{
    mproc_pool *pool = make_inline_pool();
    struct pollfd polled = {.fd = mproc_pool_fd(pool), .events = POLLIN};
    int r;

    (void)state;
    for (int i = 0; i < 100; i++) {
        mproc_future *future = submit(pool, note_thread, NULL);

        do {
            assert_int_equal(poll(&polled, 1, -1), 1);
            r = mproc_pool_step(pool);
        } while (r == 0);
        assert_int_equal(r, 1);
        assert_int_equal(mproc_future_result(future, NULL, NULL), 0);
        mproc_future_free(future);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    do {
        assert_int_equal(poll(&polled, 1, -1), 1);
        r = mproc_pool_step(pool);
    } while (r == 0);
    assert_int_equal(r, MPROC_ECLOSED);
    mproc_pool_destroy(pool);
}

/* ---- threads --------------------------------------------------------------------------------- */

static _Atomic int inside;

static int32_t be_alone(const void *in, void *out, void *ctx)
{
    int32_t others = atomic_fetch_add(&inside, 1);

    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in;
    atomic_fetch_sub(&inside, 1);
    return others;
}

static void *map_often(void *pool)
{
    for (int round = 0; round < 50; round++) {
        uint64_t out[COUNT];

        if (mproc_pool_map(pool, be_alone, NULL, NULL, 0, out, 8, COUNT, NULL) ||
            out[COUNT - 1] != COUNT - 1)
            return pool;
    }
    return NULL;
}

static void threads_share_it_and_one_serves_at_a_time(void **state)
{
    enum { THREADS = 4 };
    mproc_pool *pool = make_inline_pool();
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, map_often, pool), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;

        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    mproc_pool_destroy(pool);
}

static _Atomic int gate;
static _Atomic int waiting;

static int32_t wait_at_gate(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_store(&waiting, 1);
    while (!atomic_load(&gate))
        poll(NULL, 0, 1);
    return 0;
}

static void *call_at_gate(void *pool)
{
    return mproc_pool_call(pool, wait_at_gate, NULL, NULL, 0, NULL, 0, NULL, NULL) ? pool : NULL;
}

/* What another thread handed over while the first serves is the first one's to run; it can be
 * cancelled until then. */
static void a_task_that_waits_for_another_thread_can_be_cancelled(void **state)
{
    mproc_pool *pool = make_inline_pool();
    mproc_future *dropped, *kept;
    pthread_t thread;
    void *failed;

    (void)state;
    runs = 0;
    atomic_store(&gate, 0);
    atomic_store(&waiting, 0);
    assert_int_equal(pthread_create(&thread, NULL, call_at_gate, pool), 0);
    while (!atomic_load(&waiting))
        poll(NULL, 0, 1);
    dropped = submit(pool, note_thread, NULL);
    kept = submit(pool, note_thread, NULL);
    assert_int_equal(mproc_future_wait(kept, 0), -ETIMEDOUT);
    assert_int_equal(mproc_future_cancel(dropped), 0);
    assert_int_equal(mproc_future_result(dropped, NULL, NULL), -ECANCELED);
    atomic_store(&gate, 1);
    assert_int_equal(mproc_future_wait(kept, -1), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_int_equal(runs, 1);
    mproc_future_free(dropped);
    mproc_future_free(kept);
    mproc_pool_destroy(pool);
}

static void a_reserved_member_is_refused(void **state)
{
    mproc_pool_options options = in_process();
    mproc_pool *pool;

    (void)state;
    options.reserved = 1;
    assert_int_equal(mproc_pool_create(&pool, 1, &options), -EINVAL);
}

static void its_end_is_not_waited_for(void **state)
{
    enum { POOLS = 30, ALL_S = 10 };
    struct timespec begin, end;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < POOLS; i++)
        mproc_pool_destroy(make_inline_pool());
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < ALL_S * test_slowness());
}

static const struct CMUnitTest tests[] = {
    TEST(it_answers_as_a_pool_of_processes_does),
    TEST(a_task_runs_in_the_call_that_hands_it_over),
    TEST(within_a_task_the_handle_is_foreign),
    TEST(a_task_may_use_another_pool),
    TEST(within_a_task_of_a_task_both_handles_are_foreign),
    TEST(init_and_exit_are_called_as_for_a_worker),
    TEST(an_init_that_fails_breaks_the_pool_until_a_restart),
    TEST(a_limit_is_not_enforced),
    TEST(terminate_ends_it),
    TEST(an_event_loop_works),
    TEST(threads_share_it_and_one_serves_at_a_time),
    TEST(a_task_that_waits_for_another_thread_can_be_cancelled),
    TEST(its_end_is_not_waited_for),
    TEST(a_reserved_member_is_refused),
};

int main(void)
{
    return TEST_MAIN(tests);
}
