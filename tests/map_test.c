/* SPDX-License-Identifier: MIT */
/* What pool.h promises of map, map_batch and the one-shot mproc_map. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, TRACKED = 4096, UNTOUCHED = 12345 };

/* ---- helpers --------------------------------------------------------------------------------- */

/* What the workers and the test share; by item where it is an array. */
struct stage {
    _Atomic uint64_t begun;
    _Atomic uint64_t calls;
    _Atomic int32_t flag;
    _Atomic int32_t runs[TRACKED];
    _Atomic int32_t finished[TRACKED];
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

static uint64_t answer(uint64_t question)
{
    return question * 0x9e3779b97f4a7c15U + 1;
}

static int32_t map_answer(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = answer(*(const uint64_t *)in);
    return 0;
}

static void assert_usable(mproc_pool *pool)
{
    uint64_t out[10] = {0};

    assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, sizeof out[0], 10, NULL),
                     0);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(out[i], answer(i));
}

static _Noreturn void hang(void)
{
    for (;;)
        pause();
}

/* ---- order ----------------------------------------------------------------------------------- */

static void results_are_in_the_order_of_the_inputs(void **state)
{
    const size_t counts[] = {0, 1, 2, 3, WORKERS - 1, WORKERS, WORKERS + 1, 1000, 100003};
    const size_t sizes[] = {0, 1, 7, 1000000, SIZE_MAX};
    const size_t last = counts[sizeof counts / sizeof counts[0] - 1];
    uint64_t *in = malloc(last * sizeof *in);
    uint64_t *out = malloc((last + 1) * sizeof *out);
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    assert_non_null(in);
    assert_non_null(out);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            mproc_map_options options = {.size = sizeof options, .chunk_size = sizes[s]};
            size_t count = counts[c], wrong = 0;

            if (test_under_valgrind() && count > 5003)
                count = 5003;
            for (size_t i = 0; i < count; i++)
                in[i] = i + 31 * c + 17 * s;
            memset(out, 0xa5, (count + 1) * sizeof *out);
            assert_int_equal(mproc_pool_map(pool, map_answer, NULL, in, sizeof *in, out,
                                            sizeof *out, count, &options),
                             0);
            for (size_t i = 0; i < count; i++)
                wrong += out[i] != answer(in[i]);
            assert_int_equal(wrong, 0);
            assert_int_equal(out[count], 0xa5a5a5a5a5a5a5a5U);
        }
    }
    mproc_pool_destroy(pool);
    free(in);
    free(out);
}

struct big {
    uint64_t number;
    char rest[1003];
};

static int32_t fill_big(const void *in, void *out, void *ctx)
{
    const struct big *from = in;
    unsigned char *to = out;

    (void)ctx;
    for (size_t i = 0; i < 77; i++)
        to[i] = (unsigned char)(from->number + i + (unsigned char)from->rest[1002]);
    return 0;
}

static void items_and_results_may_have_any_size(void **state)
{
    enum { COUNT = 201 };
    static struct big in[COUNT];
    static unsigned char out[COUNT][77];
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (uint64_t i = 0; i < COUNT; i++) {
        in[i].number = i;
        in[i].rest[1002] = (char)(i % 50);
    }
    assert_int_equal(
        mproc_pool_map(pool, fill_big, NULL, in, sizeof in[0], out, sizeof out[0], COUNT, NULL), 0);
    for (uint64_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < 77; k++)
            assert_int_equal(out[i][k], (unsigned char)(i + k + i % 50));
    mproc_pool_destroy(pool);
}

static void without_inputs_each_item_is_its_index(void **state)
{
    uint64_t out[1000];
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (size_t in_size = 0; in_size <= 8; in_size++) {
        int r;

        memset(out, 0, sizeof out);
        r = mproc_pool_map(pool, map_answer, NULL, NULL, in_size, out, sizeof out[0], 1000, NULL);
        assert_int_equal(r, in_size == 0 || in_size == 8 ? 0 : -EINVAL);
        for (uint64_t i = 0; i < 1000; i++)
            assert_int_equal(out[i], r ? 0 : answer(i));
    }
    mproc_pool_destroy(pool);
}

static int32_t add_up(const void *in, void *out, void *ctx)
{
    (void)out;
    (void)ctx;
    atomic_fetch_add(&stage->begun, *(const uint64_t *)in);
    atomic_fetch_add(&stage->calls, 1);
    return 0;
}

static void a_map_needs_no_outputs(void **state)
{
    mproc_pool *pool;
    uint64_t place = UNTOUCHED;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(mproc_pool_map(pool, add_up, NULL, NULL, 0, NULL, 0, 1000, NULL), 0);
    assert_int_equal(atomic_load(&stage->begun), 499500);
    assert_int_equal(mproc_pool_map(pool, add_up, NULL, NULL, 0, &place, 0, 1000, NULL), 0);
    assert_int_equal(atomic_load(&stage->begun), 2 * 499500);
    assert_int_equal(place, UNTOUCHED);
    assert_int_equal(atomic_load(&stage->calls), 2000);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t count_call(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint32_t *)out = in ? 7 : 8;
    atomic_fetch_add(&stage->calls, 1);
    return 0;
}

static void items_may_have_no_bytes(void **state)
{
    uint64_t nothing = 0;
    uint32_t out[100] = {0};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(
        mproc_pool_map(pool, count_call, NULL, &nothing, 0, out, sizeof out[0], 100, NULL), 0);
    assert_int_equal(atomic_load(&stage->calls), 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(out[i], 7);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_map_of_nothing_succeeds(void **state)
{
    mproc_failure failure = {.size = sizeof failure, .error = UNTOUCHED};
    int32_t status = UNTOUCHED;
    mproc_map_options options = {.size = sizeof options, .statuses = &status, .failure = &failure};
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, NULL, 0, 0, NULL), 0);
    assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, NULL, 8, 0, &options), 0);
    assert_int_equal(failure.error, 0);
    failure.error = UNTOUCHED;
    assert_int_equal(mproc_map(map_answer, NULL, NULL, 0, NULL, 8, 0, 3, &options), 0);
    assert_int_equal(failure.error, 0);
    assert_int_equal(mproc_pool_map_batch(pool, NULL, NULL, NULL, 0, NULL, 8, 0, NULL), -EINVAL);
    assert_int_equal(mproc_map(map_answer, NULL, NULL, 0, NULL, 8, 0, 3, NULL), 0);
    assert_int_equal(status, UNTOUCHED);
    mproc_pool_destroy(pool);
}

/* ---- memory of the pool ---------------------------------------------------------------------- */

struct places {
    uintptr_t in;
    uintptr_t out;
};

static int32_t tell_places(const void *in, void *out, void *ctx)
{
    struct places *places = out;

    (void)ctx;
    places->in = (uintptr_t)in;
    places->out = (uintptr_t)out;
    return 0;
}

static void memory_of_the_pool_is_used_in_place(void **state)
{
    enum { COUNT = 500 };
    mproc_pool *pool = make_pool(WORKERS, NULL);
    struct places own[COUNT];
    struct places *out;
    uint32_t *in;
    uint32_t own_in[COUNT] = {0};
    void *memory;

    (void)state;
    assert_int_equal(mproc_pool_alloc(pool, COUNT * sizeof *in, &memory), 0);
    in = memory;
    assert_int_equal(mproc_pool_alloc(pool, COUNT * sizeof *out, &memory), 0);
    out = memory;
    memset(in, 0, COUNT * sizeof *in);
    memset(out, 0, COUNT * sizeof *out);
    assert_int_equal(
        mproc_pool_map(pool, tell_places, NULL, in, sizeof *in, out, sizeof *out, COUNT, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(out[i].in, (uintptr_t)&in[i]);
        assert_int_equal(out[i].out, (uintptr_t)&out[i]);
    }
    /* One of the two, and a part of a block. */
    memset(out, 0, COUNT * sizeof *out);
    assert_int_equal(mproc_pool_map(pool, tell_places, NULL, own_in, sizeof *in, out + 3,
                                    sizeof *out, COUNT - 3, NULL),
                     0);
    assert_int_equal(out[2].out, 0);
    for (size_t i = 3; i < COUNT; i++)
        assert_int_equal(out[i].out, (uintptr_t)&out[i]);
    memset(own, 0, sizeof own);
    assert_int_equal(mproc_pool_map(pool, tell_places, NULL, in + 5, sizeof *in, own, sizeof *own,
                                    COUNT - 5, NULL),
                     0);
    for (size_t i = 0; i < COUNT - 5; i++)
        assert_int_equal(own[i].in, (uintptr_t)&in[i + 5]);
    mproc_pool_destroy(pool);
}

static void memory_that_is_partly_the_pools_is_refused(void **state)
{
    mproc_pool *pool;
    uint64_t out[64] = {0};
    char *block, *hole;
    void *memory;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(mproc_pool_alloc(pool, 256, &memory), 0);
    block = memory;
    assert_int_equal(mproc_pool_alloc(pool, 256, &memory), 0);
    hole = memory;
    assert_int_equal(mproc_pool_dealloc(pool, hole), 0);
    /* It begins inside and ends outside. */
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, block, 8, out, 8, 33, NULL), -EINVAL);
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, block + 200, 8, out, 8, 8, NULL),
                     -EINVAL);
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, NULL, 0, block, 8, 33, NULL), -EINVAL);
    /* The pool's memory, but nobody's allocation: to read from, as a result is, but not to write. */
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, NULL, 0, hole, 8, 4, NULL), -EINVAL);
    assert_int_equal(atomic_load(&stage->calls), 0);
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, hole, 8, out, 8, 4, NULL), 0);
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, block, 8, out, 8, 32, NULL), 0);
    assert_int_equal(atomic_load(&stage->calls), 36);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- context --------------------------------------------------------------------------------- */

static uint64_t standing[3]; /* what a worker sees here is of the moment the pool was made */

static int32_t add_context(const void *in, void *out, void *ctx)
{
    const uint64_t *numbers = ctx;

    *(uint64_t *)out = *(const uint64_t *)in + (numbers ? numbers[2] : 0);
    return 0;
}

static void assert_context_is(mproc_pool *pool, void *ctx, size_t ctx_size, uint64_t number)
{
    mproc_map_options options = {.size = sizeof options, .ctx_size = ctx_size};
    uint64_t out[20] = {0};

    assert_int_equal(mproc_pool_map(pool, add_context, ctx, NULL, 0, out, 8, 20, &options), 0);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(out[i], i + number);
}

static void a_context_reaches_the_function_as_it_is(void **state)
{
    mproc_pool *pool;
    uint64_t *numbers;
    void *memory;

    (void)state;
    need_processes();
    standing[2] = 1000;
    pool = make_pool(WORKERS, NULL);
    standing[2] = 2000;
    assert_context_is(pool, NULL, 0, 0);
    assert_context_is(pool, standing, 0, 1000);
    assert_int_equal(mproc_pool_alloc(pool, sizeof standing, &memory), 0);
    numbers = memory;
    numbers[2] = 3000;
    assert_context_is(pool, numbers, 0, 3000);
    numbers[2] = 4000;
    assert_context_is(pool, numbers, 0, 4000);
    mproc_pool_destroy(pool);
}

static void a_context_with_a_size_is_copied_at_the_call(void **state)
{
    mproc_pool *pool;

    (void)state;
    standing[2] = 1000;
    pool = make_pool(WORKERS, NULL);
    for (uint64_t n = 2000; n < 2010; n++) {
        uint64_t local[3] = {0, 0, n};

        standing[2] = n;
        assert_context_is(pool, standing, sizeof standing, n);
        assert_context_is(pool, local, sizeof local, n);
    }
    mproc_pool_destroy(pool);
}

static int32_t spoil_context(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    ((uint64_t *)ctx)[1] = 1;
    return 0;
}

static void a_copied_context_is_not_copied_back(void **state)
{
    uint64_t numbers[3] = {0};
    mproc_map_options options = {.size = sizeof options, .ctx_size = sizeof numbers};
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map(pool, spoil_context, numbers, NULL, 0, NULL, 0, 5, &options),
                     0);
    assert_int_equal(numbers[1], 0);
    mproc_pool_destroy(pool);
}

/* ---- the first failure ----------------------------------------------------------------------- */

/* Of two items, the first fails only when the second is about to. */
static int32_t fail_in_reverse(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    (void)out;
    (void)ctx;
    if (index == 0)
        while (!atomic_load(&stage->flag))
            poll(NULL, 0, 1);
    atomic_store(&stage->flag, 1);
    return mproc_fail(100 + (int32_t)index, index == 0 ? "the lower" : "the higher");
}

static void the_lowest_failing_item_is_reported_whichever_fails_first(void **state)
{
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    for (int round = 0; round < 20; round++) {
        mproc_failure failure = {.size = sizeof failure};
        mproc_map_options options = {.size = sizeof options, .chunk_size = 1, .failure = &failure};

        atomic_store(&stage->flag, 0);
        assert_int_equal(mproc_pool_map(pool, fail_in_reverse, NULL, NULL, 0, NULL, 0, 2, &options),
                         MPROC_ETASK);
        /* A failure closes the map: the first may never have been begun. */
        if (failure.index == 0) {
            assert_int_equal(failure.code, 100);
            assert_string_equal(failure.text, "the lower");
        } else {
            assert_int_equal(failure.index, 1);
            assert_int_equal(failure.code, 101);
            assert_string_equal(failure.text, "the higher");
        }
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Both are running before either fails. */
static int32_t meet_and_fail(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    atomic_fetch_add(&stage->begun, 1);
    while (atomic_load(&stage->begun) < 2)
        poll(NULL, 0, 1);
    return fail_in_reverse(&index, out, ctx);
}

static void of_two_that_fail_at_once_the_lower_is_reported(void **state)
{
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    for (int round = 0; round < 20; round++) {
        mproc_failure failure = {.size = sizeof failure};
        mproc_map_options options = {.size = sizeof options, .chunk_size = 1, .failure = &failure};

        atomic_store(&stage->flag, 0);
        atomic_store(&stage->begun, 0);
        assert_int_equal(mproc_pool_map(pool, meet_and_fail, NULL, NULL, 0, NULL, 0, 2, &options),
                         MPROC_ETASK);
        assert_int_equal(failure.index, 0);
        assert_int_equal(failure.error, MPROC_ETASK);
        assert_int_equal(failure.code, 100);
        assert_string_equal(failure.text, "the lower");
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

enum { MANY_ITEMS = 100, HALF = MANY_ITEMS / 2 };

/* The second of two workers begins in the middle.  The first waits for it, and takes its time then. */
static int32_t fail_in_the_middle(const void *in, void *out, void *ctx)
{
    const struct timespec moment = {0, 20000000};
    uint64_t index = *(const uint64_t *)in;

    (void)out;
    (void)ctx;
    if (index >= HALF) {
        atomic_store(&stage->flag, 1);
        return mproc_fail(9, "in the middle");
    }
    while (!atomic_load(&stage->flag))
        sched_yield();
    nanosleep(&moment, NULL);
    return 0;
}

static void a_failure_is_told_though_items_before_it_were_cancelled(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .chunk_size = 1, .failure = &failure};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    assert_int_equal(
        mproc_pool_map(pool, fail_in_the_middle, NULL, NULL, 0, NULL, 0, MANY_ITEMS, &options),
        MPROC_ETASK);
    assert_in_range(failure.index, HALF, MANY_ITEMS - 1);
    assert_int_equal(failure.error, MPROC_ETASK);
    assert_string_equal(failure.text, "in the middle");
    mproc_pool_destroy(pool);
    clear_stage();
}

enum { BAD_ITEM = 25 };

static int32_t answer_until_bad(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    atomic_fetch_add(&stage->runs[index], 1);
    if (index == BAD_ITEM && ctx)
        raise(SIGKILL);
    if (index == BAD_ITEM)
        return mproc_fail(3, NULL);
    map_answer(in, out, NULL);
    atomic_fetch_add(&stage->finished[index], 1);
    return 0;
}

/* With each chunk size, results of items that were done are in `out`. */
static void assert_done_items_have_results(void *ctx, int expected)
{
    const size_t sizes[] = {1, 10, 0, 1000};
    mproc_pool *pool;

    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        mproc_map_options options = {.size = sizeof options, .chunk_size = sizes[s]};
        uint64_t out[200];
        int done = 0;

        for (int i = 0; i < 200; i++)
            out[i] = UNTOUCHED;
        memset(stage, 0, sizeof *stage);
        assert_int_equal(
            mproc_pool_map(pool, answer_until_bad, ctx, NULL, 0, out, 8, 200, &options), expected);
        assert_int_equal(atomic_load(&stage->runs[BAD_ITEM]), 1);
        for (uint64_t i = 0; i < 200; i++) {
            assert_true(atomic_load(&stage->runs[i]) <= 1);
            if (!atomic_load(&stage->finished[i])) {
                assert_int_equal(out[i], UNTOUCHED);
                continue;
            }
            assert_int_equal(out[i], answer(i));
            done++;
        }
        assert_true(done < 200);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

static void results_of_items_done_before_a_failure_are_there(void **state)
{
    (void)state;
    assert_done_items_have_results(NULL, MPROC_ETASK);
}

static void results_of_items_done_before_a_crash_are_there(void **state)
{
    (void)state;
    need_processes();
    assert_done_items_have_results(standing, MPROC_ECRASHED);
}

/* Work that takes a millisecond, but for the first item, which fails, or crashes with a context. */
static int32_t fail_first(const void *in, void *out, void *ctx)
{
    (void)out;
    atomic_fetch_add(&stage->begun, 1);
    if (*(const uint64_t *)in == 0 && ctx)
        _exit(1);
    if (*(const uint64_t *)in == 0)
        return 1;
    poll(NULL, 0, 1);
    return 0;
}

static void assert_no_more_are_begun(void *ctx, int error)
{
    enum { COUNT = 4000 };
    mproc_map_options options = {.size = sizeof options, .chunk_size = 1};
    uint64_t begun;
    mproc_pool *pool;

    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(mproc_pool_map(pool, fail_first, ctx, NULL, 0, NULL, 0, COUNT, &options),
                     error);
    begun = atomic_load(&stage->begun);
    assert_true(begun >= 1);
    assert_true(begun < COUNT / 2);
    assert_usable(pool);
    assert_int_equal(atomic_load(&stage->begun), begun);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void after_a_failure_no_more_items_are_begun(void **state)
{
    (void)state;
    assert_no_more_are_begun(NULL, MPROC_ETASK);
}

static void after_a_crash_no_more_items_are_begun(void **state)
{
    (void)state;
    need_processes();
    assert_no_more_are_begun(standing, MPROC_ECRASHED);
}

/* ---- statuses -------------------------------------------------------------------------------- */

static int32_t fail_each_third(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    atomic_fetch_add(&stage->runs[index], 1);
    return index % 3 == 2 ? 5 : map_answer(in, out, ctx);
}

static void with_statuses_every_item_is_run_once(void **state)
{
    enum { COUNT = 1000 };
    uint64_t out[COUNT];
    int32_t statuses[COUNT];
    mproc_failure failure = {.size = sizeof failure};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t chunk = 0; chunk < 20; chunk += 7) {
        mproc_map_options options = {
            .size = sizeof options, .chunk_size = chunk, .statuses = statuses, .failure = &failure};

        memset(stage, 0, sizeof *stage);
        memset(out, 0, sizeof out);
        memset(statuses, 0x55, sizeof statuses);
        assert_int_equal(
            mproc_pool_map(pool, fail_each_third, NULL, NULL, 0, out, 8, COUNT, &options), 333);
        for (uint64_t i = 0; i < COUNT; i++) {
            assert_int_equal(atomic_load(&stage->runs[i]), 1);
            assert_int_equal(statuses[i], i % 3 == 2 ? MPROC_ETASK : 0);
            if (i % 3 != 2)
                assert_int_equal(out[i], answer(i));
        }
        assert_int_equal(failure.index, 2);
        assert_int_equal(failure.error, MPROC_ETASK);
        assert_int_equal(failure.code, 5);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

static void with_statuses_and_no_failure_the_count_is_0(void **state)
{
    int32_t statuses[50];
    uint64_t out[50];
    mproc_failure failure = {.size = sizeof failure, .error = UNTOUCHED};
    mproc_map_options options = {.size = sizeof options, .statuses = statuses, .failure = &failure};
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    memset(statuses, 0x55, sizeof statuses);
    assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 50, &options), 0);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(statuses[i], 0);
    assert_int_equal(failure.error, 0);
    mproc_pool_destroy(pool);
}

/* One of each: done, failed, killed, aborted, exited with 0 and with 3. */
static int32_t meet_a_fate(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    atomic_fetch_add(&stage->runs[index], 1);
    switch (index % 10) {
    case 1:
        return 1;
    case 3:
        raise(SIGKILL);
        break;
    case 5:
        abort();
    case 7:
        _exit(3);
    case 9:
        exit(0);
    default:
        break;
    }
    return map_answer(in, out, ctx);
}

static void what_happens_to_an_item_does_not_happen_to_its_neighbours(void **state)
{
    enum { COUNT = 200 };
    uint64_t out[COUNT] = {0};
    int32_t statuses[COUNT];
    mproc_map_options options = {.size = sizeof options, .chunk_size = 50, .statuses = statuses};
    size_t count = test_under_valgrind() ? 40 : COUNT;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    memset(statuses, 0x55, sizeof statuses);
    assert_int_equal(mproc_pool_map(pool, meet_a_fate, NULL, NULL, 0, out, 8, count, &options),
                     count / 2);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
        if (i % 2 == 0)
            assert_int_equal(out[i], answer(i));
        assert_int_equal(statuses[i], i % 2 == 0 ? 0 : i % 10 == 1 ? MPROC_ETASK : MPROC_ECRASHED);
    }
    assert_usable(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- failures in full ------------------------------------------------------------------------ */

enum fate { FATE_FAIL, FATE_KILL, FATE_SEGV, FATE_EXIT_0, FATE_EXIT_3, FATE_HANG };

static const char long_text[] = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrs"
                                "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrs"
                                "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrs"
                                "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrs";

/* Item 7 meets its fate, the others are answered. */
static int32_t one_fate(const void *in, void *out, void *ctx)
{
    if (*(const uint64_t *)in != 7)
        return map_answer(in, out, NULL);
    atomic_store(&stage->pids[7], (int32_t)getpid());
    switch (*(const enum fate *)ctx) {
    case FATE_FAIL:
        return mproc_fail(-77, long_text);
    case FATE_KILL:
        raise(SIGKILL);
        break;
    case FATE_SEGV:
        raise(SIGSEGV);
        break;
    case FATE_EXIT_0:
        exit(0);
    case FATE_EXIT_3:
        _exit(3);
    case FATE_HANG:
        hang();
    }
    return 0;
}

static mproc_failure failure_of(mproc_pool *pool, enum fate fate, int expected)
{
    mproc_failure failure = {.size = sizeof failure};
    uint64_t out[20];
    mproc_map_options options = {.size = sizeof options,
                                 .ctx_size = sizeof fate,
                                 .time_limit_ms = fate == FATE_HANG ? 100 * test_slowness() : 0,
                                 .failure = &failure};

    assert_int_equal(mproc_pool_map(pool, one_fate, &fate, NULL, 0, out, 8, 20, &options),
                     expected);
    assert_int_equal(failure.size, sizeof failure);
    assert_int_equal(failure.index, 7);
    assert_int_equal(failure.error, expected);
    assert_int_equal(failure.pid, atomic_load(&stage->pids[7]));
    assert_int_equal(failure.attempts, 1);
    return failure;
}

static void a_failure_says_code_and_text(void **state)
{
    mproc_failure failure;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    failure = failure_of(pool, FATE_FAIL, MPROC_ETASK);
    assert_int_equal(failure.code, -77);
    assert_int_equal(failure.signal, 0);
    assert_int_equal(strlen(failure.text), MPROC_TEXT_MAX - 1);
    assert_memory_equal(failure.text, long_text, MPROC_TEXT_MAX - 1);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_failure_says_signal_or_exit_status(void **state)
{
    mproc_failure failure;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    failure = failure_of(pool, FATE_KILL, MPROC_ECRASHED);
    assert_int_equal(failure.signal, SIGKILL);
    assert_int_equal(failure.code, 0);
    assert_string_equal(failure.text, "");
    failure = failure_of(pool, FATE_SEGV, MPROC_ECRASHED);
    assert_int_equal(failure.signal, SIGSEGV);
    failure = failure_of(pool, FATE_EXIT_0, MPROC_ECRASHED);
    assert_int_equal(failure.signal, 0);
    assert_int_equal(failure.code, 0);
    failure = failure_of(pool, FATE_EXIT_3, MPROC_ECRASHED);
    assert_int_equal(failure.signal, 0);
    assert_int_equal(failure.code, 3);
    failure = failure_of(pool, FATE_HANG, MPROC_ELIMIT);
    assert_int_equal(failure.signal, SIGKILL);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t fail_without_text(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    (void)out;
    (void)ctx;
    if (index == 0) {
        mproc_fail(1, "a failure that was not returned");
        return 0;
    }
    return index == 1 ? mproc_fail(0, NULL) : 0;
}

static void a_text_is_that_of_its_own_item(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .chunk_size = 10, .failure = &failure};
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map(pool, fail_without_text, NULL, NULL, 0, NULL, 0, 10, &options),
                     MPROC_ETASK);
    assert_int_equal(failure.index, 1);
    assert_int_equal(failure.code, -1);
    assert_string_equal(failure.text, "");
    mproc_pool_destroy(pool);
}

static void a_failure_of_an_older_release_is_filled_as_far_as_it_goes(void **state)
{
    union {
        mproc_failure failure;
        unsigned char bytes[sizeof(mproc_failure)];
    } place;
    mproc_map_options options = {.size = sizeof options, .failure = &place.failure};
    const size_t size = offsetof(mproc_failure, pid);
    mproc_pool *pool = make_pool(1, NULL);

    (void)state;
    memset(&place, 0x55, sizeof place);
    place.failure.size = size;
    assert_int_equal(mproc_pool_map(pool, fail_without_text, NULL, NULL, 0, NULL, 0, 10, &options),
                     MPROC_ETASK);
    assert_int_equal(place.failure.size, size);
    assert_int_equal(place.failure.index, 1);
    assert_int_equal(place.failure.code, -1);
    for (size_t i = size; i < sizeof place; i++)
        assert_int_equal(place.bytes[i], 0x55);
    place.failure.size = 0;
    assert_int_equal(mproc_pool_map(pool, fail_without_text, NULL, NULL, 0, NULL, 0, 10, &options),
                     -EINVAL);
    mproc_pool_destroy(pool);
}

/* ---- retries --------------------------------------------------------------------------------- */

/* Each fifth item crashes on its first attempts, as many as the context says. */
static int32_t crash_at_first(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;
    int32_t before = atomic_fetch_add(&stage->runs[index], 1);

    if (index % 5 == 0 && before < *(const int32_t *)ctx)
        raise(SIGKILL);
    return map_answer(in, out, NULL);
}

static void an_item_that_crashes_is_begun_again_as_often_as_asked(void **state)
{
    enum { COUNT = 300 }; /* enough for chunks of several, which it must not be cut into */
    int32_t crashes = 3;
    uint64_t out[COUNT] = {0};
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options,
                                 .ctx_size = sizeof crashes,
                                 .retries = crashes,
                                 .failure = &failure};
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(
        mproc_pool_map(pool, crash_at_first, &crashes, NULL, 0, out, 8, COUNT, &options), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(out[i], answer(i));
        assert_int_equal(atomic_load(&stage->runs[i]), i % 5 == 0 ? crashes + 1 : 1);
    }
    /* One attempt too few. */
    memset(stage, 0, sizeof *stage);
    options.retries = crashes - 1;
    assert_int_equal(
        mproc_pool_map(pool, crash_at_first, &crashes, NULL, 0, out, 8, COUNT, &options),
        MPROC_ECRASHED);
    assert_int_equal(failure.index % 5, 0);
    assert_int_equal(failure.attempts, crashes);
    assert_int_equal(failure.signal, SIGKILL);
    assert_int_equal(atomic_load(&stage->runs[failure.index]), crashes);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void the_retries_of_the_pool_hold_unless_the_call_says_otherwise(void **state)
{
    enum { COUNT = 20 };
    int32_t crashes = 2;
    mproc_pool_options pool_options = {.size = sizeof pool_options, .retries = 2};
    mproc_map_options options = {.size = sizeof options, .ctx_size = sizeof crashes};
    uint64_t out[COUNT];
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, &pool_options);
    assert_int_equal(
        mproc_pool_map(pool, crash_at_first, &crashes, NULL, 0, out, 8, COUNT, &options), 0);
    memset(stage, 0, sizeof *stage);
    options.retries = -1;
    assert_int_equal(
        mproc_pool_map(pool, crash_at_first, &crashes, NULL, 0, out, 8, COUNT, &options),
        MPROC_ECRASHED);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_true(atomic_load(&stage->runs[i]) <= 1);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void an_item_that_fails_in_peace_is_not_begun_again(void **state)
{
    enum { COUNT = 30 };
    int32_t statuses[COUNT];
    uint64_t out[COUNT];
    mproc_map_options options = {.size = sizeof options, .retries = 5, .statuses = statuses};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(mproc_pool_map(pool, fail_each_third, NULL, NULL, 0, out, 8, COUNT, &options),
                     10);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int32_t hang_at_some(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    atomic_fetch_add(&stage->runs[index], 1);
    atomic_store(&stage->pids[index], (int32_t)getpid());
    if (index % 10 == 4)
        hang();
    return map_answer(in, out, ctx);
}

static void assert_only_the_hanging_are_killed(mproc_pool *pool, const mproc_map_options *options)
{
    enum { COUNT = 60 };
    uint64_t out[COUNT] = {0};

    memset(stage, 0, sizeof *stage);
    memset(options->statuses, 0x55, COUNT * sizeof(int32_t));
    assert_int_equal(mproc_pool_map(pool, hang_at_some, NULL, NULL, 0, out, 8, COUNT, options), 6);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
        assert_int_equal(options->statuses[i], i % 10 == 4 ? MPROC_ELIMIT : 0);
        if (i % 10 == 4)
            assert_true(test_process_gone(atomic_load(&stage->pids[i]), 0));
        else
            assert_int_equal(out[i], answer(i));
    }
}

static void a_time_limit_ends_the_items_that_hang_and_no_others(void **state)
{
    int32_t statuses[60];
    int64_t limit = 200 * test_slowness();
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    mproc_pool_options pool_options = {.size = sizeof pool_options, .time_limit_ms = limit};
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    options.time_limit_ms = limit;
    assert_only_the_hanging_are_killed(pool, &options);
    /* A killed item is never begun again. */
    options.retries = 3;
    assert_only_the_hanging_are_killed(pool, &options);
    mproc_pool_destroy(pool);
    /* The pool's own. */
    pool = make_pool(WORKERS, &pool_options);
    options.time_limit_ms = 0;
    options.retries = 0;
    assert_only_the_hanging_are_killed(pool, &options);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t take_150_ms(const void *in, void *out, void *ctx)
{
    poll(NULL, 0, 150);
    return map_answer(in, out, ctx);
}

static void a_call_can_do_without_the_limit_of_the_pool(void **state)
{
    mproc_pool_options pool_options = {.size = sizeof pool_options, .time_limit_ms = 20};
    mproc_map_options options = {.size = sizeof options, .time_limit_ms = -1};
    uint64_t out = 0;
    mproc_pool *pool;

    (void)state;
    need_processes();
    pool = make_pool(1, &pool_options);
    assert_int_equal(mproc_pool_map(pool, take_150_ms, NULL, NULL, 0, &out, 8, 1, &options), 0);
    assert_int_equal(out, answer(0));
    assert_int_equal(mproc_pool_map(pool, take_150_ms, NULL, NULL, 0, &out, 8, 1, NULL),
                     MPROC_ELIMIT);
    mproc_pool_destroy(pool);
}

static void a_call_ends_at_its_timeout_and_kills_what_runs(void **state)
{
    enum { COUNT = 20 };
    uint64_t out[COUNT] = {0};
    int32_t statuses[COUNT];
    mproc_map_options options = {
        .size = sizeof options, .timeout_ms = 300 * test_slowness(), .statuses = statuses};
    int64_t begin, took;
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    begin = now_ms();
    assert_int_equal(mproc_pool_map(pool, hang_at_some, NULL, NULL, 0, out, 8, COUNT, &options),
                     -ETIMEDOUT);
    took = now_ms() - begin;
    assert_in_range(took, options.timeout_ms, options.timeout_ms + 1000 * test_slowness());
    for (uint64_t i = 0; i < COUNT; i++) {
        if (i % 10 == 4) {
            assert_true(statuses[i] < 0);
            assert_true(test_process_gone(atomic_load(&stage->pids[i]), 0));
        } else {
            assert_int_equal(statuses[i], 0);
            assert_int_equal(out[i], answer(i));
        }
    }
    options.statuses = NULL;
    assert_int_equal(mproc_pool_map(pool, hang_at_some, NULL, NULL, 0, out, 8, COUNT, &options),
                     -ETIMEDOUT);
    assert_usable(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_timeout_that_is_not_reached_changes_nothing(void **state)
{
    uint64_t out[1000];
    mproc_map_options options = {.size = sizeof options, .timeout_ms = INT64_MAX};
    mproc_pool *pool = make_pool(WORKERS, NULL);

    (void)state;
    for (int round = 0; round < 2; round++) {
        memset(out, 0, sizeof out);
        assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 1000, &options),
                         0);
        for (uint64_t i = 0; i < 1000; i++)
            assert_int_equal(out[i], answer(i));
        options.timeout_ms = 50000;
    }
    mproc_pool_destroy(pool);
}

/* ---- map_batch ------------------------------------------------------------------------------- */

static int32_t batch_answer(const void *in, void *out, size_t count, void *ctx)
{
    const uint64_t *questions = in;
    uint64_t *answers = out;

    (void)ctx;
    atomic_fetch_add(&stage->calls, 1);
    atomic_fetch_add(&stage->begun, count);
    for (size_t i = 0; i < count; i++)
        answers[i] = answer(questions[i]);
    return 0;
}

static void a_batch_function_is_given_each_item_once(void **state)
{
    enum { COUNT = 5000 };
    const size_t sizes[] = {0, 1, 7, 511, 512, 513, 2000, SIZE_MAX};
    static uint64_t in[COUNT], out[COUNT];
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (uint64_t i = 0; i < COUNT; i++)
        in[i] = i;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        mproc_map_options options = {.size = sizeof options, .chunk_size = sizes[s]};

        for (int indexed = 0; indexed < 2; indexed++) {
            memset(stage, 0, sizeof *stage);
            memset(out, 0, sizeof out);
            assert_int_equal(mproc_pool_map_batch(pool, batch_answer, NULL, indexed ? NULL : in, 8,
                                                  out, 8, COUNT, &options),
                             0);
            for (uint64_t i = 0; i < COUNT; i++)
                assert_int_equal(out[i], answer(i));
            assert_int_equal(atomic_load(&stage->begun), COUNT);
            if (sizes[s] == 1)
                assert_int_equal(atomic_load(&stage->calls), COUNT);
            else
                assert_true(atomic_load(&stage->calls) < COUNT);
            if (sizes[s] == 7 || (sizes[s] == 2000 && !indexed))
                assert_int_equal(atomic_load(&stage->calls), (COUNT - 1) / sizes[s] + 1);
        }
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* The chunks that begin with 30 and with 90 fail, the latter by a crash. */
static int32_t batch_fate(const void *in, void *out, size_t count, void *ctx)
{
    uint64_t first = *(const uint64_t *)in;

    (void)ctx;
    for (size_t i = 0; i < count; i++)
        atomic_fetch_add(&stage->runs[first + i], 1);
    if (first == 30)
        return mproc_fail(9, "thirty");
    if (first == 90)
        raise(SIGKILL);
    return batch_answer(in, out, count, NULL);
}

static void the_status_of_a_batch_is_that_of_each_of_its_items(void **state)
{
    enum { COUNT = 95 };
    uint64_t out[COUNT] = {0};
    int32_t statuses[COUNT];
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {
        .size = sizeof options, .chunk_size = 10, .statuses = statuses, .failure = &failure};
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    memset(statuses, 0x55, sizeof statuses);
    assert_int_equal(mproc_pool_map_batch(pool, batch_fate, NULL, NULL, 0, out, 8, COUNT, &options),
                     15);
    for (uint64_t i = 0; i < COUNT; i++) {
        int32_t expected = i / 10 == 3 ? MPROC_ETASK : i / 10 == 9 ? MPROC_ECRASHED : 0;

        assert_int_equal(statuses[i], expected);
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
        if (!expected)
            assert_int_equal(out[i], answer(i));
    }
    assert_int_equal(failure.index, 30);
    assert_int_equal(failure.code, 9);
    assert_string_equal(failure.text, "thirty");
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t batch_crash_once(const void *in, void *out, size_t count, void *ctx)
{
    uint64_t first = *(const uint64_t *)in;

    (void)ctx;
    if (atomic_fetch_add(&stage->runs[first], 1) == 0)
        raise(SIGKILL);
    return batch_answer(in, out, count, NULL);
}

static void a_retry_is_for_the_whole_batch(void **state)
{
    uint64_t out[40] = {0};
    mproc_map_options options = {.size = sizeof options, .chunk_size = 10, .retries = 1};
    mproc_pool *pool;

    (void)state;
    need_processes();
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(
        mproc_pool_map_batch(pool, batch_crash_once, NULL, NULL, 0, out, 8, 40, &options), 0);
    assert_int_equal(atomic_load(&stage->begun), 40);
    for (uint64_t i = 0; i < 40; i++) {
        assert_int_equal(atomic_load(&stage->runs[i]), i % 10 == 0 ? 2 : 0);
        assert_int_equal(out[i], answer(i));
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- mproc_map ------------------------------------------------------------------------------- */

struct closure {
    const char *const *words;
    const size_t *bonus;
    pid_t host;
};

static int32_t length_of_word(const void *in, void *out, void *ctx)
{
    const struct closure *closure = ctx;
    const size_t *which = in;

    if (getpid() == closure->host)
        return 1;
    *(size_t *)out = strlen(closure->words[*which]) + *closure->bonus;
    return 0;
}

static void one_shot_map_sees_all_memory_of_its_caller(void **state)
{
    enum { COUNT = 300 };
    size_t bonus = 5;
    char **words = malloc(COUNT * sizeof *words);
    size_t *in = malloc(COUNT * sizeof *in);
    size_t *out = malloc(COUNT * sizeof *out);
    struct closure closure = {(const char *const *)words, &bonus, getpid()};

    (void)state;
    need_processes();
    assert_non_null(words);
    assert_non_null(in);
    assert_non_null(out);
    for (size_t i = 0; i < COUNT; i++) {
        words[i] = malloc(i + 1);
        assert_non_null(words[i]);
        memset(words[i], 'x', i);
        words[i][i] = '\0';
        in[i] = COUNT - 1 - i;
        out[i] = 0;
    }
    assert_int_equal(
        mproc_map(length_of_word, &closure, in, sizeof *in, out, sizeof *out, COUNT, 3, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(out[i], COUNT - 1 - i + 5);
        free(words[i]);
    }
    free(words);
    free(in);
    free(out);
}

static void one_shot_map_copies_no_inputs(void **state)
{
    struct places out[50] = {{0, 0}};
    uint32_t in[50] = {0};

    (void)state;
    assert_int_equal(
        mproc_map(tell_places, NULL, in, sizeof in[0], out, sizeof out[0], 50, 2, NULL), 0);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(out[i].in, (uintptr_t)&in[i]);
}

static int32_t note_pid(const void *in, void *out, void *ctx)
{
    (void)ctx;
    atomic_store(&stage->pids[*(const uint64_t *)in], (int32_t)getpid());
    *(uint64_t *)out = answer(*(const uint64_t *)in);
    return 0;
}

static void one_shot_map_takes_any_number_of_workers(void **state)
{
    const int32_t workers[] = {0, 1, 2, 7, 100, 4096, INT32_MAX};
    const size_t counts[] = {1, 2, 3, 50};
    uint64_t out[50];

    (void)state;
    need_processes();
    set_stage();
    for (size_t w = 0; w < sizeof workers / sizeof workers[0]; w++) {
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            if (test_under_valgrind() && workers[w] > 7 && counts[c] > 3)
                continue;
            memset(out, 0, sizeof out);
            memset(stage, 0, sizeof *stage);
            assert_int_equal(
                mproc_map(note_pid, NULL, NULL, 0, out, 8, counts[c], workers[w], NULL), 0);
            for (uint64_t i = 0; i < counts[c]; i++) {
                assert_int_equal(out[i], answer(i));
                assert_int_not_equal(atomic_load(&stage->pids[i]), (int32_t)getpid());
                assert_true(test_process_gone(atomic_load(&stage->pids[i]), 0));
            }
        }
    }
    assert_int_equal(mproc_map(note_pid, NULL, NULL, 0, out, 8, 5, -1, NULL), -EINVAL);
    clear_stage();
}

static void one_shot_map_reports_failures_like_a_pool(void **state)
{
    enum { COUNT = 40 };
    uint64_t out[COUNT] = {0};
    int32_t statuses[COUNT];
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .statuses = statuses, .failure = &failure};

    (void)state;
    need_processes();
    set_stage();
    assert_int_equal(mproc_map(meet_a_fate, NULL, NULL, 0, out, 8, COUNT, 4, &options), COUNT / 2);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(statuses[i], i % 2 == 0 ? 0 : i % 10 == 1 ? MPROC_ETASK : MPROC_ECRASHED);
    assert_int_equal(failure.index, 1);
    assert_int_equal(mproc_map(meet_a_fate, NULL, NULL, 0, out, 8, 2, 4, NULL), MPROC_ETASK);
    clear_stage();
}

static int32_t fail_to_start(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return 3;
}

static void a_map_on_a_broken_pool_says_why(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = fail_to_start};
    mproc_pool *pool;

    (void)state;
    need_processes();
    pool = make_pool(1, &options);
    for (int round = 0; round < 2; round++) { /* one waits until it breaks, one finds it broken */
        mproc_failure failure = {.size = sizeof failure, .text = "untouched"};
        mproc_map_options map = {.size = sizeof map, .failure = &failure};
        uint64_t out[2];

        assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 2, &map),
                         MPROC_EBROKEN);
        assert_int_equal(failure.error, MPROC_EBROKEN);
        assert_non_null(strstr(failure.text, "init function"));
    }
    mproc_pool_destroy(pool);
}

enum { PRINTED = 4 };

static int32_t print_item(const void *in, void *out, void *ctx)
{
    (void)out;
    (void)ctx;
    printf("item %d.\n", (int)*(const uint64_t *)in);
    return 0;
}

/* With its standard output a pipe. */
static int print_from_map(void *arg)
{
    static char buffer[BUFSIZ]; /* whatever buffer the stream had */

    if (dup2(*(const int *)arg, 1) < 0 || setvbuf(stdout, buffer, _IOFBF, sizeof buffer))
        return 1;
    printf("before.\n"); /* and with this flushed the C library uses the whole buffer */
    return mproc_map(print_item, NULL, NULL, 0, NULL, 0, PRINTED, 2, NULL) ? 2 : 0;
}

static void what_the_items_of_a_one_shot_map_print_is_not_lost(void **state)
{
    (void)state;
    need_processes();
    for (int round = 0; round < 20; round++) {
        char text[256], line[32];
        size_t length = 0;
        ssize_t n;
        int ends[2];

        assert_int_equal(pipe(ends), 0);
        assert_int_equal(test_run_child(print_from_map, &ends[1]), 0);
        close(ends[1]);
        while ((n = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
            length += (size_t)n;
        close(ends[0]);
        text[length] = '\0';
        assert_int_equal(length, strlen("before.\n") + PRINTED * strlen("item 0.\n"));
        for (int i = 0; i < PRINTED; i++) {
            snprintf(line, sizeof line, "item %d.\n", i);
            assert_non_null(strstr(text, line));
        }
    }
}

enum { PRINTED_BYTES = 200000 }; /* more than a pipe holds */

static int32_t print_much(const void *in, void *out, void *ctx)
{
    static char buffer[2 * PRINTED_BYTES];

    (void)in;
    (void)out;
    (void)ctx;
    if (setvbuf(stdout, buffer, _IOFBF, sizeof buffer))
        return 1;
    for (int i = 0; i < PRINTED_BYTES; i++)
        putchar('x');
    return 0;
}

static int print_much_from_map(void *arg)
{
    if (dup2(*(const int *)arg, 1) < 0)
        return 1;
    return mproc_map(print_much, NULL, NULL, 0, NULL, 0, 1, 1, NULL) ? 2 : 0;
}

/* Counts what comes; but begins when its writer waits for it. */
static void *read_late(void *arg)
{
    const struct timespec moment = {0, 50000000};
    struct pollfd end = {*(const int *)arg, POLLIN, 0};
    static size_t total;
    static char bytes[65536];
    ssize_t n;

    total = 0;
    poll(&end, 1, -1);
    nanosleep(&moment, NULL); /* for the map to come to its end, and not to wait for this */
    while ((n = read(end.fd, bytes, sizeof bytes)) > 0)
        total += (size_t)n;
    return &total;
}

static void a_worker_of_a_one_shot_map_may_print_until_its_reader_comes(void **state)
{
    pthread_t reader;
    void *total;
    int ends[2];

    (void)state;
    need_processes();
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pthread_create(&reader, NULL, read_late, &ends[0]), 0);
    assert_int_equal(test_run_child(print_much_from_map, &ends[1]), 0);
    close(ends[1]);
    assert_int_equal(pthread_join(reader, &total), 0);
    close(ends[0]);
    assert_int_equal(*(const size_t *)total, PRINTED_BYTES);
}

static _Atomic int forks;

static void count_fork(void)
{
    atomic_fetch_add(&forks, 1);
}

static int map_badly_in_child(void *arg)
{
    struct {
        mproc_map_options options;
        char tail[64];
    } later = {.options = {.size = sizeof later}, .tail = {1}};
    mproc_map_options limit = {.size = sizeof limit, .time_limit_ms = -5};
    mproc_map_options retries = {.size = sizeof retries, .retries = 255};
    uint64_t out[4];

    (void)arg;
    if (pthread_atfork(count_fork, NULL, NULL))
        return 1;
    if (mproc_map(NULL, NULL, NULL, 0, out, 8, 4, 2, NULL) != -EINVAL ||
        mproc_map(map_answer, NULL, NULL, 3, out, 8, 4, 2, NULL) != -EINVAL ||
        mproc_map(map_answer, NULL, NULL, 0, NULL, 8, 4, 2, NULL) != -EINVAL ||
        mproc_map(map_answer, NULL, NULL, 0, out, 8, 4, -1, NULL) != -EINVAL ||
        mproc_map(map_answer, NULL, NULL, 0, out, 8, 4, 2, &later.options) != -EINVAL ||
        mproc_map(map_answer, NULL, NULL, 0, out, 8, 4, 2, &limit) != -EINVAL ||
        mproc_map(map_answer, NULL, NULL, 0, out, 8, 4, 2, &retries) != -EINVAL)
        return 2;
    if (atomic_load(&forks))
        return 3;
    if (mproc_map(map_answer, NULL, NULL, 0, out, 8, 4, 2, NULL) || !atomic_load(&forks))
        return 4; /* the count counts */
    return 0;
}

static void a_one_shot_map_with_bad_arguments_forks_nothing(void **state)
{
    (void)state;
    need_processes();
    assert_int_equal(test_run_child(map_badly_in_child, NULL), 0);
}

/* ---- too much -------------------------------------------------------------------------------- */

static void count_times_size_beyond_memory_is_an_overflow(void **state)
{
    uint64_t in = 0, out = UNTOUCHED;
    mproc_map_options by_one = {.size = sizeof by_one, .chunk_size = 1};
    mproc_pool *pool;
    int r;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, &in, SIZE_MAX / 2, &out, 8, 3, NULL),
                     -EOVERFLOW);
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, &in, 8, &out, SIZE_MAX / 2, 3, NULL),
                     -EOVERFLOW);
    assert_int_equal(mproc_pool_map(pool, count_call, NULL, NULL, 0, &out, 8, SIZE_MAX, NULL),
                     -EOVERFLOW);
    assert_int_equal(
        mproc_pool_map(pool, count_call, NULL, NULL, 0, &out, SIZE_MAX, SIZE_MAX, NULL),
        -EOVERFLOW);
    assert_int_equal(
        mproc_pool_map_batch(pool, batch_answer, NULL, &in, 16, &out, 8, SIZE_MAX / 8, NULL),
        -EOVERFLOW);
    assert_int_equal(mproc_map(count_call, NULL, &in, 8, &out, 8, SIZE_MAX / 4, 2, NULL),
                     -EOVERFLOW);
    /* No memory, but more chunks than can be counted. */
    r = mproc_pool_map(pool, add_up, NULL, NULL, 0, NULL, 0, SIZE_MAX, &by_one);
    assert_true(r == -EOVERFLOW || r == -ENOMEM);
    assert_int_equal(atomic_load(&stage->calls), 0);
    assert_int_equal(out, UNTOUCHED);
    assert_usable(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void more_than_the_arena_holds_is_refused_and_harmless(void **state)
{
    enum { COUNT = 1 << 20 };
    mproc_pool_options pool_options = {.size = sizeof pool_options, .arena_size = 1 << 20};
    mproc_map_options by_one = {.size = sizeof by_one, .chunk_size = 1};
    uint64_t *in = calloc(COUNT, sizeof *in);
    void *ctx = calloc(COUNT, 8);
    mproc_map_options with_context = {.size = sizeof with_context, .ctx_size = COUNT * 8};
    mproc_pool *pool;

    (void)state;
    assert_non_null(in);
    assert_non_null(ctx);
    set_stage();
    pool = make_pool(WORKERS, &pool_options);
    for (int round = 0; round < 100; round++) {
        assert_int_equal(mproc_pool_map(pool, add_up, NULL, in, 8, NULL, 0, COUNT, NULL), -ENOMEM);
        assert_int_equal(mproc_pool_map(pool, count_call, NULL, NULL, 0, in, 8, COUNT, NULL),
                         -ENOMEM);
        assert_int_equal(mproc_pool_map(pool, add_up, NULL, NULL, 0, NULL, 0, COUNT, &by_one),
                         -ENOMEM);
        assert_int_equal(mproc_pool_map(pool, add_up, ctx, NULL, 0, NULL, 0, 5, &with_context),
                         -ENOMEM);
    }
    assert_int_equal(atomic_load(&stage->calls), 0);
    assert_usable(pool);
    /* And nothing was kept: half of the arena at once is still to be had. */
    assert_int_equal(mproc_pool_map(pool, add_up, NULL, in, 8, NULL, 0, COUNT / 16, NULL), 0);
    mproc_pool_destroy(pool);
    free(in);
    free(ctx);
    clear_stage();
}

/* ---- bad arguments --------------------------------------------------------------------------- */

static int map_with(mproc_pool *pool, const void *options)
{
    uint64_t out[4];

    return mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 4, options);
}

static void options_of_any_release_are_taken_and_bad_ones_refused(void **state)
{
    struct {
        mproc_map_options options;
        char tail[64];
    } future = {.options = {.size = sizeof future}};
    mproc_map_options options = {.size = 0};
    mproc_pool *pool = make_pool(2, NULL);

    (void)state;
    assert_int_equal(map_with(pool, &future), 0);
    future.tail[63] = 1;
    assert_int_equal(map_with(pool, &future), -EINVAL);
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options.size = sizeof(size_t) - 1;
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options.size = SIZE_MAX;
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options.size = sizeof(size_t);
    options.reserved = 1; /* beyond the size: not looked at */
    assert_int_equal(map_with(pool, &options), 0);
    options.size = sizeof options;
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options = (mproc_map_options){.size = sizeof options, .timeout_ms = -1};
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options = (mproc_map_options){.size = sizeof options, .time_limit_ms = -2};
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options = (mproc_map_options){.size = sizeof options, .retries = -2};
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options = (mproc_map_options){.size = sizeof options, .retries = 255};
    assert_int_equal(map_with(pool, &options), -EINVAL);
    options = (mproc_map_options){.size = sizeof options, .retries = 254};
    assert_int_equal(map_with(pool, &options), 0);
    options = (mproc_map_options){.size = sizeof options, .ctx_size = 8}; /* of no context */
    assert_int_equal(map_with(pool, &options), -EINVAL);
    mproc_pool_destroy(pool);
}

static void bad_arguments_are_refused(void **state)
{
    uint64_t out[4];
    mproc_pool *pool = make_pool(2, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map(NULL, map_answer, NULL, NULL, 0, out, 8, 4, NULL), -EINVAL);
    assert_int_equal(mproc_pool_map(pool, NULL, NULL, NULL, 0, out, 8, 4, NULL), -EINVAL);
    assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, NULL, 8, 4, NULL), -EINVAL);
    assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 7, out, 8, 4, NULL), -EINVAL);
    assert_int_equal(mproc_pool_map_batch(NULL, batch_answer, NULL, NULL, 0, out, 8, 4, NULL),
                     -EINVAL);
    assert_int_equal(mproc_pool_map_batch(pool, batch_answer, NULL, NULL, 0, NULL, 8, 4, NULL),
                     -EINVAL);
    assert_int_equal(mproc_map(NULL, NULL, NULL, 0, out, 8, 4, 2, NULL), -EINVAL);
    assert_int_equal(mproc_map(map_answer, NULL, NULL, 0, NULL, 8, 4, 2, NULL), -EINVAL);
    assert_usable(pool);
    mproc_pool_destroy(pool);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 8 };

struct mapper {
    mproc_pool *pool;
    uint64_t number;
    int rounds;
    int wrong;
};

static void *map_again_and_again(void *arg)
{
    struct mapper *mapper = arg;
    uint64_t in[500], out[500];

    for (int round = 0; round < mapper->rounds; round++) {
        size_t count = 1 + (size_t)(round * 37) % 500;

        for (size_t i = 0; i < count; i++)
            in[i] = mapper->number * 1000000 + (uint64_t)round * 1000 + i;
        memset(out, 0, sizeof out);
        if (mproc_pool_map(mapper->pool, map_answer, NULL, in, 8, out, 8, count, NULL))
            mapper->wrong++;
        for (size_t i = 0; i < count; i++)
            mapper->wrong += out[i] != answer(in[i]);
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
        mappers[i] = (struct mapper){pool, i, test_slowness() > 1 ? 30 : 200, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, map_again_and_again, &mappers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(mappers[i].wrong, 0);
    }
    mproc_pool_destroy(pool);
}

static const struct CMUnitTest tests[] = {
    TEST(results_are_in_the_order_of_the_inputs),
    TEST(items_and_results_may_have_any_size),
    TEST(without_inputs_each_item_is_its_index),
    TEST(a_map_needs_no_outputs),
    TEST(items_may_have_no_bytes),
    TEST(a_map_of_nothing_succeeds),
    TEST(memory_of_the_pool_is_used_in_place),
    TEST(memory_that_is_partly_the_pools_is_refused),
    TEST(a_context_reaches_the_function_as_it_is),
    TEST(a_context_with_a_size_is_copied_at_the_call),
    TEST(a_copied_context_is_not_copied_back),
    TEST(the_lowest_failing_item_is_reported_whichever_fails_first),
    TEST(of_two_that_fail_at_once_the_lower_is_reported),
    TEST(a_failure_is_told_though_items_before_it_were_cancelled),
    TEST(results_of_items_done_before_a_failure_are_there),
    TEST(results_of_items_done_before_a_crash_are_there),
    TEST(after_a_failure_no_more_items_are_begun),
    TEST(after_a_crash_no_more_items_are_begun),
    TEST(with_statuses_every_item_is_run_once),
    TEST(with_statuses_and_no_failure_the_count_is_0),
    TEST(what_happens_to_an_item_does_not_happen_to_its_neighbours),
    TEST(a_failure_says_code_and_text),
    TEST(a_failure_says_signal_or_exit_status),
    TEST(a_text_is_that_of_its_own_item),
    TEST(a_failure_of_an_older_release_is_filled_as_far_as_it_goes),
    TEST(an_item_that_crashes_is_begun_again_as_often_as_asked),
    TEST(the_retries_of_the_pool_hold_unless_the_call_says_otherwise),
    TEST(an_item_that_fails_in_peace_is_not_begun_again),
    TEST(a_time_limit_ends_the_items_that_hang_and_no_others),
    TEST(a_call_can_do_without_the_limit_of_the_pool),
    TEST(a_call_ends_at_its_timeout_and_kills_what_runs),
    TEST(a_timeout_that_is_not_reached_changes_nothing),
    TEST(a_batch_function_is_given_each_item_once),
    TEST(the_status_of_a_batch_is_that_of_each_of_its_items),
    TEST(a_retry_is_for_the_whole_batch),
    TEST(one_shot_map_sees_all_memory_of_its_caller),
    TEST(one_shot_map_copies_no_inputs),
    TEST(one_shot_map_takes_any_number_of_workers),
    TEST(one_shot_map_reports_failures_like_a_pool),
    TEST(a_map_on_a_broken_pool_says_why),
    TEST(what_the_items_of_a_one_shot_map_print_is_not_lost),
    TEST(a_worker_of_a_one_shot_map_may_print_until_its_reader_comes),
    TEST(a_one_shot_map_with_bad_arguments_forks_nothing),
    TEST(count_times_size_beyond_memory_is_an_overflow),
    TEST(more_than_the_arena_holds_is_refused_and_harmless),
    TEST(options_of_any_release_are_taken_and_bad_ones_refused),
    TEST(bad_arguments_are_refused),
    TEST(eight_threads_may_map_at_once),
};

int main(void)
{
    return TEST_MAIN(tests);
}
