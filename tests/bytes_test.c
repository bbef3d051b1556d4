/* SPDX-License-Identifier: MIT */
/* What pool.h promises of map_bytes and its results. */
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
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool.h"

enum { WORKERS = 4, TRACKED = 1024, UNTOUCHED = 12345 };

/* ---- helpers --------------------------------------------------------------------------------- */

/* What the workers and the test share. */
struct stage {
    _Atomic int32_t begun;
    _Atomic int32_t gate;
    _Atomic int32_t runs[TRACKED];
    _Atomic int32_t pids[TRACKED];
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

static mproc_pool *make_pool(int32_t workers, const mproc_pool_options *options)
{
    mproc_pool *pool = NULL;

    assert_int_equal(mproc_pool_create(&pool, workers, options), 0);
    assert_non_null(pool);
    return pool;
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

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* An input whose bytes are its own. */
static struct iovec make_input(size_t index, size_t length)
{
    unsigned char *bytes = length ? malloc(length) : NULL;

    if (length)
        assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)(i * 7 + index * 13);
    return (struct iovec){bytes, length};
}

static void free_inputs(struct iovec *inputs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(inputs[i].iov_base);
}

/* The index of the item, then its input backwards. */
static int32_t turn_round(mproc_task *task, void *ctx)
{
    size_t length;
    const unsigned char *in = mproc_task_input(task, &length);
    uint64_t index = mproc_task_index(task);
    unsigned char *out = mproc_task_output(task, sizeof index + length);

    (void)ctx;
    if (!out)
        return mproc_fail(1, "no room");
    memcpy(out, &index, sizeof index);
    for (size_t i = 0; i < length; i++)
        out[sizeof index + i] = in[length - 1 - i];
    return 0;
}

static void assert_turned_round(const mproc_results *results, size_t index,
                                const struct iovec *input)
{
    const unsigned char *bytes = input->iov_base;
    const unsigned char *out;
    const void *data = NULL;
    size_t length = 0, wrong = 0;
    uint64_t told;

    assert_int_equal(mproc_results_get(results, index, &data, &length), 0);
    assert_int_equal(length, sizeof told + input->iov_len);
    memcpy(&told, data, sizeof told);
    assert_int_equal(told, index);
    out = data;
    for (size_t i = 0; i < input->iov_len; i++)
        wrong += out[sizeof told + i] != bytes[input->iov_len - 1 - i];
    assert_int_equal(wrong, 0);
}

static void assert_empty(const mproc_results *results, size_t index)
{
    const void *data = NULL;
    size_t length = UNTOUCHED;

    assert_int_equal(mproc_results_get(results, index, &data, &length), 0);
    assert_int_equal(length, 0);
    assert_non_null(data);
}

static void assert_usable(mproc_pool *pool)
{
    char text[] = "usable";
    struct iovec input = {text, 6};
    mproc_results *results = NULL;

    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, &input, 1, &results, NULL), 0);
    assert_turned_round(results, 0, &input);
    mproc_results_free(results);
}

/* ---- outputs --------------------------------------------------------------------------------- */

static void inputs_of_any_length_give_outputs_in_their_order(void **state)
{
    const size_t lengths[] = {0, 1, 4095, 4096, 4097, 1 << 20, 63, 0, 65};
    enum { COUNT = 90 };
    struct iovec inputs[COUNT];
    size_t count = test_under_valgrind() ? 18 : COUNT;
    mproc_map_options options = {.size = sizeof options, .output_max = (1 << 20) + 8};
    mproc_results *results = NULL;
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (size_t i = 0; i < count; i++)
        inputs[i] = make_input(i, lengths[i % (sizeof lengths / sizeof lengths[0])]);
    assert_int_equal(
        mproc_pool_map_bytes(pool, turn_round, NULL, inputs, count, &results, &options), 0);
    mproc_pool_destroy(pool); /* they are the process's own memory */
    assert_non_null(results);
    assert_int_equal(mproc_results_count(results), count);
    for (size_t i = 0; i < count; i++)
        assert_turned_round(results, i, &inputs[i]);
    assert_int_equal(mproc_results_get(results, count, NULL, NULL), -EINVAL);
    assert_int_equal(mproc_results_get(results, SIZE_MAX, NULL, NULL), -EINVAL);
    mproc_results_free(results);
    free_inputs(inputs, count);
}

/* As many bytes as the index says, times ten. */
static int32_t by_index(mproc_task *task, void *ctx)
{
    size_t length = 10 * (size_t)mproc_task_index(task);
    char *out = length ? mproc_task_output(task, length) : NULL;

    (void)ctx;
    if (length)
        memset(out, 'a' + (int)(length / 10 % 26), length);
    return 0;
}

static void outputs_need_not_be_as_long_as_their_inputs(void **state)
{
    enum { COUNT = 300 };
    struct iovec inputs[COUNT] = {{NULL, 0}};
    mproc_results *results = NULL;
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map_bytes(pool, by_index, NULL, inputs, COUNT, &results, NULL), 0);
    assert_empty(results, 0);
    for (size_t i = 1; i < COUNT; i++) {
        const void *data;
        size_t length;

        assert_int_equal(mproc_results_get(results, i, &data, &length), 0);
        assert_int_equal(length, 10 * i);
        assert_int_equal(((const char *)data)[0], 'a' + (int)(i % 26));
        assert_int_equal(((const char *)data)[length - 1], 'a' + (int)(i % 26));
    }
    mproc_results_free(results);
    mproc_pool_destroy(pool);
}

static void an_output_beyond_the_most_has_no_room(void **state)
{
    struct iovec inputs[3] = {make_input(0, 92), make_input(1, 93), make_input(2, 10)};
    int32_t statuses[3] = {UNTOUCHED, UNTOUCHED, UNTOUCHED};
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {
        .size = sizeof options, .output_max = 100, .statuses = statuses, .failure = &failure};
    mproc_results *results = NULL;
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, inputs, 3, &results, &options),
                     1);
    assert_turned_round(results, 0, &inputs[0]);
    assert_empty(results, 1);
    assert_turned_round(results, 2, &inputs[2]);
    assert_int_equal(statuses[0], 0);
    assert_int_equal(statuses[1], MPROC_ETASK);
    assert_int_equal(statuses[2], 0);
    assert_int_equal(failure.index, 1);
    assert_string_equal(failure.text, "no room");
    mproc_results_free(results);
    mproc_pool_destroy(pool);
    free_inputs(inputs, 3);
}

static void by_default_an_output_may_have_a_mebibyte(void **state)
{
    struct iovec inputs[2] = {make_input(0, (1 << 20) - 8), make_input(1, (1 << 20) - 7)};
    int32_t statuses[2] = {UNTOUCHED, UNTOUCHED};
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    mproc_results *results = NULL;
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, inputs, 2, &results, &options),
                     1);
    assert_turned_round(results, 0, &inputs[0]);
    assert_int_equal(statuses[0], 0);
    assert_int_equal(statuses[1], MPROC_ETASK);
    mproc_results_free(results);
    mproc_pool_destroy(pool);
    free_inputs(inputs, 2);
}

static void many_items_pass_through_a_small_arena(void **state)
{
    enum { COUNT = 10000, DISTINCT = 100 };
    mproc_pool_options pool_options = {.size = sizeof pool_options, .arena_size = 4 << 20};
    mproc_map_options options = {.size = sizeof options, .output_max = 64 << 10};
    struct iovec distinct[DISTINCT];
    struct iovec *inputs = calloc(COUNT, sizeof *inputs);
    size_t count = test_under_valgrind() ? 500 : COUNT;
    mproc_results *results = NULL;
    mproc_pool *pool = make_pool(WORKERS, &pool_options);

    (void)state;
    assert_non_null(inputs);
    for (size_t i = 0; i < DISTINCT; i++)
        distinct[i] = make_input(i, i * 81);
    for (size_t i = 0; i < count; i++)
        inputs[i] = distinct[i * 37 % DISTINCT];
    assert_int_equal(
        mproc_pool_map_bytes(pool, turn_round, NULL, inputs, count, &results, &options), 0);
    for (size_t i = 0; i < count; i++)
        assert_turned_round(results, i, &inputs[i]);
    mproc_results_free(results);
    /* An item that can never fit, behind others that do. */
    inputs[50] = make_input(50, 8 << 20);
    results = NULL;
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, inputs, 100, &results, &options),
                     -ENOMEM);
    assert_null(results);
    assert_usable(pool);
    mproc_pool_destroy(pool);
    free(inputs[50].iov_base);
    free_inputs(distinct, DISTINCT);
    free(inputs);
}

static void a_map_of_nothing_gives_no_results(void **state)
{
    mproc_results *results = NULL;
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, NULL, 0, &results, NULL), 0);
    assert_non_null(results);
    assert_int_equal(mproc_results_count(results), 0);
    assert_int_equal(mproc_results_get(results, 0, NULL, NULL), -EINVAL);
    mproc_results_free(results);
    mproc_pool_destroy(pool);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int32_t fail_each_seventh(mproc_task *task, void *ctx)
{
    uint64_t index = mproc_task_index(task);

    atomic_fetch_add(&stage->runs[index], 1);
    return index % 7 == 3 ? mproc_fail(70 + (int32_t)index, "a seventh") : turn_round(task, ctx);
}

static void the_first_failure_ends_the_map_and_is_reported(void **state)
{
    enum { COUNT = 1000 };
    struct iovec inputs[COUNT] = {{NULL, 0}};
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .failure = &failure};
    mproc_results *results = NULL;
    mproc_pool *pool;
    int runs = 0;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(
        mproc_pool_map_bytes(pool, fail_each_seventh, NULL, inputs, COUNT, &results, &options),
        MPROC_ETASK);
    assert_null(results); /* written on success alone */
    assert_int_equal(failure.index, 3);
    assert_int_equal(failure.error, MPROC_ETASK);
    assert_int_equal(failure.code, 73);
    assert_string_equal(failure.text, "a seventh");
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(atomic_load(&stage->runs[i]) <= 1);
        runs += atomic_load(&stage->runs[i]);
    }
    assert_true(runs >= 4);
    assert_true(runs < COUNT / 2);
    assert_usable(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Item 1 fails when item 0 has begun, and item 0 only after that. */
static int32_t fail_in_reverse(mproc_task *task, void *ctx)
{
    uint64_t index = mproc_task_index(task);

    (void)ctx;
    atomic_fetch_add(&stage->begun, 1);
    while (index == 1 && atomic_load(&stage->begun) < 2)
        poll(NULL, 0, 1);
    while (index == 0 && !atomic_load(&stage->gate))
        poll(NULL, 0, 1);
    atomic_store(&stage->gate, 1);
    return (int32_t)index + 1;
}

static void of_two_that_fail_at_once_the_lower_is_reported(void **state)
{
    struct iovec inputs[2] = {{NULL, 0}, {NULL, 0}};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    for (int round = 0; round < 20; round++) {
        mproc_failure failure = {.size = sizeof failure};
        mproc_map_options options = {.size = sizeof options, .failure = &failure};
        mproc_results *results;

        atomic_store(&stage->begun, 0);
        atomic_store(&stage->gate, 0);
        assert_int_equal(
            mproc_pool_map_bytes(pool, fail_in_reverse, NULL, inputs, 2, &results, &options),
            MPROC_ETASK);
        assert_int_equal(failure.index, 0);
        assert_int_equal(failure.code, 1);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* One of each: done, failed, killed, exited with 0 and with 3. */
static int32_t meet_a_fate(mproc_task *task, void *ctx)
{
    uint64_t index = mproc_task_index(task);

    atomic_fetch_add(&stage->runs[index], 1);
    if (index % 10 == 2)
        return mproc_fail(2, "two");
    if (index % 10 == 4)
        raise(SIGKILL);
    if (index % 10 == 6)
        _exit(3);
    if (index % 10 == 8)
        exit(0);
    return turn_round(task, ctx);
}

static void with_statuses_each_item_has_its_own_fate(void **state)
{
    enum { COUNT = 100 };
    struct iovec inputs[COUNT];
    int32_t statuses[COUNT];
    size_t count = test_under_valgrind() ? 30 : COUNT;
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .statuses = statuses, .failure = &failure};
    mproc_results *results = NULL;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < count; i++)
        inputs[i] = make_input(i, 3 * i);
    memset(statuses, 0x55, sizeof statuses);
    assert_int_equal(
        mproc_pool_map_bytes(pool, meet_a_fate, NULL, inputs, count, &results, &options),
        count / 10 * 4);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
        if (i % 10 == 2) {
            assert_int_equal(statuses[i], MPROC_ETASK);
            assert_empty(results, i);
        } else if (i % 10 == 4 || i % 10 == 6 || i % 10 == 8) {
            assert_int_equal(statuses[i], MPROC_ECRASHED);
            assert_empty(results, i);
        } else {
            assert_int_equal(statuses[i], 0);
            assert_turned_round(results, i, &inputs[i]);
        }
    }
    assert_int_equal(failure.index, 2);
    assert_string_equal(failure.text, "two");
    mproc_results_free(results);
    assert_usable(pool);
    mproc_pool_destroy(pool);
    free_inputs(inputs, count);
    clear_stage();
}

static int32_t crash_twice(mproc_task *task, void *ctx)
{
    uint64_t index = mproc_task_index(task);

    if (atomic_fetch_add(&stage->runs[index], 1) < 2 && index % 5 == 0)
        raise(SIGKILL);
    return turn_round(task, ctx);
}

static void an_item_that_crashes_is_begun_again_as_often_as_asked(void **state)
{
    enum { COUNT = 20 };
    struct iovec inputs[COUNT];
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .retries = 2, .failure = &failure};
    mproc_results *results = NULL;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < COUNT; i++)
        inputs[i] = make_input(i, 100);
    assert_int_equal(
        mproc_pool_map_bytes(pool, crash_twice, NULL, inputs, COUNT, &results, &options), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_turned_round(results, i, &inputs[i]);
        assert_int_equal(atomic_load(&stage->runs[i]), i % 5 == 0 ? 3 : 1);
    }
    mproc_results_free(results);
    memset(stage, 0, sizeof *stage);
    options.retries = 1;
    assert_int_equal(
        mproc_pool_map_bytes(pool, crash_twice, NULL, inputs, COUNT, &results, &options),
        MPROC_ECRASHED);
    assert_int_equal(failure.index, 0);
    assert_int_equal(failure.attempts, 2);
    mproc_pool_destroy(pool);
    free_inputs(inputs, COUNT);
    clear_stage();
}

/* ---- time ------------------------------------------------------------------------------------ */

static int32_t hang_at_some(mproc_task *task, void *ctx)
{
    uint64_t index = mproc_task_index(task);

    atomic_store(&stage->pids[index], (int32_t)getpid());
    while (index % 10 == 4)
        pause();
    return turn_round(task, ctx);
}

static void a_time_limit_ends_the_items_that_hang_and_no_others(void **state)
{
    enum { COUNT = 40 };
    struct iovec inputs[COUNT];
    int32_t statuses[COUNT];
    mproc_map_options options = {
        .size = sizeof options, .time_limit_ms = 200 * test_slowness(), .statuses = statuses};
    mproc_results *results = NULL;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < COUNT; i++)
        inputs[i] = make_input(i, i);
    assert_int_equal(
        mproc_pool_map_bytes(pool, hang_at_some, NULL, inputs, COUNT, &results, &options), 4);
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 10 == 4) {
            assert_int_equal(statuses[i], MPROC_ELIMIT);
            assert_empty(results, i);
            assert_true(test_process_gone(atomic_load(&stage->pids[i]), 0));
        } else {
            assert_int_equal(statuses[i], 0);
            assert_turned_round(results, i, &inputs[i]);
        }
    }
    mproc_results_free(results);
    mproc_pool_destroy(pool);
    free_inputs(inputs, COUNT);
    clear_stage();
}

static void a_call_ends_at_its_timeout_and_kills_what_runs(void **state)
{
    enum { COUNT = 400 }; /* more than are in flight at a time */
    struct iovec inputs[COUNT];
    int32_t statuses[COUNT];
    mproc_map_options options = {.size = sizeof options, .timeout_ms = 300 * test_slowness()};
    mproc_results *results = NULL;
    int64_t begin, took;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < COUNT; i++)
        inputs[i] = make_input(i, 10);
    begin = now_ms();
    assert_int_equal(
        mproc_pool_map_bytes(pool, hang_at_some, NULL, inputs, COUNT, &results, &options),
        -ETIMEDOUT);
    took = now_ms() - begin;
    assert_in_range(took, options.timeout_ms, options.timeout_ms + 1000 * test_slowness());
    assert_null(results);
    assert_true(test_process_gone(atomic_load(&stage->pids[4]), 0));
    /* With statuses there are results, as far as it came. */
    options.statuses = statuses;
    memset(statuses, 0x55, sizeof statuses);
    assert_int_equal(
        mproc_pool_map_bytes(pool, hang_at_some, NULL, inputs, COUNT, &results, &options),
        -ETIMEDOUT);
    assert_non_null(results);
    assert_int_equal(mproc_results_count(results), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 10 == 4)
            assert_true(statuses[i] < 0);
        if (statuses[i] == 0)
            assert_turned_round(results, i, &inputs[i]);
        else
            assert_empty(results, i);
    }
    assert_int_equal(statuses[0], 0);
    assert_true(statuses[COUNT - 1] < 0);
    mproc_results_free(results);
    assert_usable(pool);
    mproc_pool_destroy(pool);
    free_inputs(inputs, COUNT);
    clear_stage();
}

static int32_t wait_for_host(mproc_task *task, void *ctx)
{
    atomic_fetch_add(&stage->begun, 1);
    while (!atomic_load(&stage->gate))
        poll(NULL, 0, 1);
    return turn_round(task, ctx);
}

struct delay {
    mproc_pool *pool;
    int64_t timeout_ms;
};

/* Let the items go on, and keep the host until all that is open has ended and the time is over. */
static void come_back_late(const mproc_progress *progress, void *arg)
{
    const struct delay *delay = arg;

    if (progress->over)
        return;
    atomic_store(&stage->gate, 1);
    mp_pool_lock(delay->pool);
    while (!list_is_empty(&delay->pool->open)) {
        mp_pool_unlock(delay->pool);
        poll(NULL, 0, 1);
        mp_pool_lock(delay->pool);
        mp_pool_look(delay->pool, false);
    }
    mp_pool_unlock(delay->pool);
    mp_poll(NULL, 0, mp_deadline(delay->timeout_ms)); /* more than what is left of it */
}

static void a_host_that_finds_each_item_ended_looks_at_the_time_all_the_same(void **state)
{
    enum { COUNT = 400, IN_FLIGHT = 16 * WORKERS };
    char word[] = "word";
    struct iovec inputs[COUNT];
    int32_t statuses[COUNT];
    struct delay delay = {.timeout_ms = 500 * test_slowness()}; /* it is told of it after 100 */
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options,
                                 .timeout_ms = delay.timeout_ms,
                                 .statuses = statuses,
                                 .failure = &failure,
                                 .progress = come_back_late,
                                 .progress_arg = &delay};
    mproc_results *results = NULL;
    mproc_stats stats = {.size = sizeof stats};

    (void)state;
    set_stage();
    delay.pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < COUNT; i++)
        inputs[i] = (struct iovec){word, sizeof word};
    memset(statuses, 0x55, sizeof statuses);
    assert_int_equal(
        mproc_pool_map_bytes(delay.pool, wait_for_host, NULL, inputs, COUNT, &results, &options),
        -ETIMEDOUT);
    assert_int_equal(mproc_pool_stats(delay.pool, &stats), 0);
    assert_int_equal(stats.bytes_in, IN_FLIGHT * sizeof word); /* and no more */
    assert_int_equal(atomic_load(&stage->begun), IN_FLIGHT);
    assert_int_equal(mproc_results_count(results), COUNT);
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        assert_int_equal(statuses[i], 0);
        assert_turned_round(results, i, &inputs[i]);
    }
    for (size_t i = IN_FLIGHT; i < COUNT; i++) {
        assert_int_equal(statuses[i], -ECANCELED);
        assert_empty(results, i);
    }
    assert_int_equal(failure.error, -ECANCELED);
    assert_int_equal(failure.index, IN_FLIGHT);
    mproc_results_free(results);
    assert_usable(delay.pool);
    mproc_pool_destroy(delay.pool);
    clear_stage();
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int32_t give_context(mproc_task *task, void *ctx)
{
    uint64_t *out = mproc_task_output(task, sizeof *out);

    *out = ctx ? *(const uint64_t *)ctx : UNTOUCHED;
    return 0;
}

static void a_context_with_a_size_is_copied_at_the_call(void **state)
{
    struct iovec inputs[50] = {{NULL, 0}};
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (uint64_t round = 0; round < 3; round++) {
        uint64_t number = 1000 + round;
        mproc_map_options options = {.size = sizeof options, .ctx_size = sizeof number};
        mproc_results *results = NULL;

        assert_int_equal(
            mproc_pool_map_bytes(pool, give_context, &number, inputs, 50, &results, &options), 0);
        for (size_t i = 0; i < 50; i++) {
            const void *data;

            assert_int_equal(mproc_results_get(results, i, &data, NULL), 0);
            assert_int_equal(*(const uint64_t *)data, number);
        }
        mproc_results_free(results);
    }
    mproc_pool_destroy(pool);
}

static void bad_arguments_are_refused(void **state)
{
    char byte = 0;
    struct iovec good = {&byte, 1}, bad = {NULL, 1};
    struct iovec some[2] = {good, bad};
    mproc_results *results = NULL;
    mproc_map_options options = {.size = sizeof options, .reserved = 1};
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map_bytes(NULL, turn_round, NULL, &good, 1, &results, NULL),
                     -EINVAL);
    assert_int_equal(mproc_pool_map_bytes(pool, NULL, NULL, &good, 1, &results, NULL), -EINVAL);
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, NULL, 1, &results, NULL),
                     -EINVAL);
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, &good, 1, NULL, NULL), -EINVAL);
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, some, 2, &results, NULL),
                     -EINVAL);
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, &good, 1, &results, &options),
                     -EINVAL);
    options = (mproc_map_options){.size = sizeof options, .timeout_ms = -1};
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, &good, 1, &results, &options),
                     -EINVAL);
    options = (mproc_map_options){.size = 1};
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, &good, 1, &results, &options),
                     -EINVAL);
    options = (mproc_map_options){.size = sizeof options, .ctx_size = 8};
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, &good, 1, &results, &options),
                     -EINVAL);
    assert_null(results);
    assert_int_equal(mproc_results_count(NULL), 0);
    assert_int_equal(mproc_results_get(NULL, 0, NULL, NULL), -EINVAL);
    mproc_results_free(NULL);
    assert_usable(pool);
    mproc_pool_destroy(pool);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 8, ITEMS = 60 };

struct mapper {
    mproc_pool *pool;
    size_t number;
    int rounds;
    int wrong;
};

static void *map_again_and_again(void *arg)
{
    struct mapper *self = arg;
    uint64_t numbers[ITEMS];
    struct iovec inputs[ITEMS];

    for (int round = 0; round < self->rounds; round++) {
        mproc_results *results = NULL;

        for (size_t i = 0; i < ITEMS; i++) {
            numbers[i] = self->number * 10000 + (uint64_t)round * 100 + i;
            inputs[i] = (struct iovec){&numbers[i], sizeof numbers[i]};
        }
        if (mproc_pool_map_bytes(self->pool, turn_round, NULL, inputs, ITEMS, &results, NULL)) {
            self->wrong++;
            continue;
        }
        for (size_t i = 0; i < ITEMS; i++) {
            const void *data;
            const unsigned char *out, *in = (const unsigned char *)&numbers[i];

            mproc_results_get(results, i, &data, NULL);
            out = data;
            for (size_t k = 0; k < sizeof numbers[i]; k++)
                self->wrong += out[sizeof(uint64_t) + k] != in[sizeof numbers[i] - 1 - k];
        }
        mproc_results_free(results);
    }
    return NULL;
}

static void eight_threads_may_map_at_once(void **state)
{
    pthread_t threads[THREADS];
    struct mapper mappers[THREADS];
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        mappers[i] = (struct mapper){pool, i, test_slowness() > 1 ? 5 : 50, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, map_again_and_again, &mappers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(mappers[i].wrong, 0);
    }
    mproc_pool_destroy(pool);
}

/* ---- the end of the pool meanwhile ----------------------------------------------------------- */

enum { LONG = 500 }; /* more than are in flight at a time */

static int32_t hold_the_first(mproc_task *task, void *ctx)
{
    (void)ctx;
    if (mproc_task_index(task) > 0)
        return 0;
    atomic_store(&stage->begun, 1);
    while (!atomic_load(&stage->gate))
        poll(NULL, 0, 1);
    return 0;
}

static void *map_long(void *arg)
{
    static const struct iovec inputs[LONG];
    struct mapper *mapper = arg;
    mproc_results *results = NULL;

    mapper->wrong =
        mproc_pool_map_bytes(mapper->pool, hold_the_first, NULL, inputs, LONG, &results, NULL);
    mproc_results_free(results);
    return NULL;
}

/* What the map returns when that is done while its first item runs. */
static int map_and_meanwhile(int (*meanwhile)(mproc_pool *pool))
{
    struct mapper mapper = {0};
    pthread_t thread;

    set_stage();
    mapper.pool = make_pool(WORKERS, NULL);
    assert_int_equal(pthread_create(&thread, NULL, map_long, &mapper), 0);
    while (!atomic_load(&stage->begun))
        poll(NULL, 0, 1);
    assert_int_equal(meanwhile(mapper.pool), 0);
    atomic_store(&stage->gate, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mproc_pool_join(mapper.pool, -1), 0);
    mproc_pool_destroy(mapper.pool);
    clear_stage();
    return mapper.wrong;
}

static void a_pool_that_is_closed_meanwhile_finishes_the_map(void **state)
{
    (void)state;
    assert_int_equal(map_and_meanwhile(mproc_pool_close), 0);
}

static void a_pool_that_is_terminated_meanwhile_cancels_the_map(void **state)
{
    (void)state;
    need_processes();
    assert_int_equal(map_and_meanwhile(mproc_pool_terminate), -ECANCELED);
}

/* How far a map and who asks for restarts meanwhile have come: stage->begun. */
enum { NOT_BEGUN, FIRST_BEGUN, ASKING, LAST_BEGUN, ASKED_ENOUGH };

/* The first item says that the map is under way and the last that it will end, and both wait until
 * that is heard. */
static int32_t hold_first_and_last(mproc_task *task, void *ctx)
{
    if (mproc_task_index(task) == 0) {
        atomic_store(&stage->begun, FIRST_BEGUN);
        while (atomic_load(&stage->begun) == FIRST_BEGUN)
            poll(NULL, 0, 1);
    }
    if (mproc_task_index(task) == LONG - 1) {
        atomic_store(&stage->begun, LAST_BEGUN);
        while (atomic_load(&stage->begun) != ASKED_ENOUGH)
            poll(NULL, 0, 1);
    }
    return turn_round(task, ctx);
}

struct asker {
    mproc_pool *pool;
    int granted; /* restarts that were not refused */
};

/* From the first item to the last: before and after that a restart may be had. */
static void *ask_for_restarts(void *arg)
{
    struct asker *self = arg;
    int32_t heard = FIRST_BEGUN;

    while (atomic_load(&stage->begun) == NOT_BEGUN)
        poll(NULL, 0, 1);
    atomic_compare_exchange_strong(&stage->begun, &heard, ASKING);
    do
        self->granted += mproc_pool_restart(self->pool) != -EBUSY;
    while (atomic_load(&stage->begun) == ASKING);
    atomic_store(&stage->begun, ASKED_ENOUGH);
    return NULL;
}

/* Nor may who asks keep it from its next item, not even for the moment in which he is refused. */
static void a_map_goes_on_however_often_a_restart_is_refused(void **state)
{
    static struct iovec inputs[LONG];
    struct asker asker = {0};

    (void)state;
    set_stage();
    asker.pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < LONG; i++)
        inputs[i] = make_input(i, i % 7);
    for (uint64_t rounds = test_count(3, 300); rounds > 0; rounds--) {
        mproc_results *results = NULL;
        pthread_t thread;
        int r;

        atomic_store(&stage->begun, NOT_BEGUN);
        assert_int_equal(pthread_create(&thread, NULL, ask_for_restarts, &asker), 0);
        r = mproc_pool_map_bytes(asker.pool, hold_first_and_last, NULL, inputs, LONG, &results,
                                 NULL);
        if (r) /* there may have been no last item */
            atomic_store(&stage->begun, LAST_BEGUN);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(r, 0);
        assert_int_equal(asker.granted, 0);
        for (size_t i = 0; i < LONG; i++)
            assert_turned_round(results, i, &inputs[i]);
        mproc_results_free(results);
    }
    free_inputs(inputs, LONG);
    mproc_pool_destroy(asker.pool);
    clear_stage();
}

/* As a map of items of one size does it. */
static void a_map_that_cannot_begin_leaves_all_as_it_was(void **state)
{
    char word[] = "word";
    const struct iovec input = {.iov_base = word, .iov_len = 4};
    int32_t status = UNTOUCHED;
    mproc_failure failure = {.size = sizeof failure, .error = UNTOUCHED};
    mproc_map_options options = {.size = sizeof options, .statuses = &status, .failure = &failure};
    mproc_results *results = NULL;
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_map_bytes(pool, turn_round, NULL, &input, 1, &results, &options),
                     MPROC_ECLOSED);
    assert_null(results);
    assert_int_equal(status, UNTOUCHED);
    assert_int_equal(failure.error, UNTOUCHED);
    mproc_pool_destroy(pool);
}

static const struct CMUnitTest tests[] = {
    TEST(inputs_of_any_length_give_outputs_in_their_order),
    TEST(outputs_need_not_be_as_long_as_their_inputs),
    TEST(an_output_beyond_the_most_has_no_room),
    TEST(by_default_an_output_may_have_a_mebibyte),
    TEST(many_items_pass_through_a_small_arena),
    TEST(a_map_of_nothing_gives_no_results),
    TEST(the_first_failure_ends_the_map_and_is_reported),
    TEST(of_two_that_fail_at_once_the_lower_is_reported),
    TEST(with_statuses_each_item_has_its_own_fate),
    TEST(an_item_that_crashes_is_begun_again_as_often_as_asked),
    TEST(a_time_limit_ends_the_items_that_hang_and_no_others),
    TEST(a_call_ends_at_its_timeout_and_kills_what_runs),
    TEST(a_host_that_finds_each_item_ended_looks_at_the_time_all_the_same),
    TEST(a_context_with_a_size_is_copied_at_the_call),
    TEST(bad_arguments_are_refused),
    TEST(eight_threads_may_map_at_once),
    TEST(a_pool_that_is_closed_meanwhile_finishes_the_map),
    TEST(a_pool_that_is_terminated_meanwhile_cancels_the_map),
    TEST(a_map_goes_on_however_often_a_restart_is_refused),
    TEST(a_map_that_cannot_begin_leaves_all_as_it_was),
};

int main(void)
{
    return TEST_MAIN(tests);
}
