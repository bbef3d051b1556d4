/* SPDX-License-Identifier: MIT */
/* Failures in words, and what they are made of. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the line -------------------------------------------------------------------------------- */

static const mproc_failure crashed = {.size = sizeof crashed,
                                      .index = 17,
                                      .error = MPROC_ECRASHED,
                                      .signal = SIGSEGV,
                                      .pid = 4242,
                                      .attempts = 1,
                                      .worker = 3,
                                      .ran_ms = 849};

static void assert_line(mproc_failure failure, const char *expected)
{
    char text[512];

    memset(text, '#', sizeof text);
    assert_int_equal(mproc_failure_describe(&failure, text, sizeof text), strlen(expected));
    assert_string_equal(text, expected);
}

static void each_kind_of_failure_has_its_words(void **state)
{
    mproc_failure failure = crashed;

    (void)state;
    assert_line(failure, "item 17: worker 3 (pid 4242) killed by SIGSEGV after 0.8 s");
    failure.signal = 60;
    failure.ran_ms = 61999;
    failure.attempts = 3;
    assert_line(failure,
                "item 17: worker 3 (pid 4242) killed by signal 60 after 61.9 s, attempt 3");
    failure = crashed;
    failure.signal = 0;
    failure.code = 5;
    assert_line(failure, "item 17: worker 3 (pid 4242) exited with status 5 after 0.8 s");
    failure.error = MPROC_ELIMIT;
    failure.signal = SIGKILL;
    assert_line(failure, "item 17: worker 3 (pid 4242) killed at the time limit after 0.8 s");
    failure.error = MPROC_ETASK;
    strcpy(failure.text, "no such city");
    assert_line(failure, "item 17: worker 3 (pid 4242) returned 5 after 0.8 s: no such city");
    failure = (mproc_failure){.size = sizeof failure, .error = -ECANCELED, .worker = -1};
    assert_line(failure, "item 0: canceled");
    failure = (mproc_failure){
        .size = sizeof failure, .index = UINT64_MAX, .error = MPROC_EBROKEN, .worker = -1};
    strcpy(failure.text, "the supervisor is gone");
    assert_line(
        failure,
        "item 18446744073709551615: the pool has lost its processes: the supervisor is gone");
    failure.error = 0;
    assert_line(failure, "no failure");
}

static void a_line_is_cut_where_its_room_ends_and_says_how_long_it_is(void **state)
{
    char whole[512];
    int length = mproc_failure_describe(&crashed, whole, sizeof whole);

    (void)state;
    assert_int_equal(mproc_failure_describe(&crashed, NULL, 0), length);
    for (int size = 1; size <= length + 1; size++) {
        char *text = malloc((size_t)size);

        assert_non_null(text);
        assert_int_equal(mproc_failure_describe(&crashed, text, (size_t)size), length);
        assert_int_equal(strlen(text), size - 1);
        assert_memory_equal(text, whole, (size_t)size - 1);
        free(text);
    }
}

/* What an older header has no room for is not made up. */
static void a_smaller_struct_is_described_without_what_it_lacks(void **state)
{
    mproc_failure failure = crashed;

    (void)state;
    failure.size = offsetof(mproc_failure, worker);
    assert_line(failure, "item 17: the worker (pid 4242) killed by SIGSEGV");
}

static void misuse_is_refused_and_nonsense_described(void **state)
{
    mproc_failure failure = crashed;
    char text[512];

    (void)state;
    assert_int_equal(mproc_failure_describe(NULL, text, sizeof text), -EINVAL);
    assert_int_equal(mproc_failure_describe(&failure, NULL, 1), -EINVAL);
    failure.size = 0;
    assert_int_equal(mproc_failure_describe(&failure, text, sizeof text), -EINVAL);
    memset(&failure, 0xff, sizeof failure); /* no zero ends its text */
    failure.size = sizeof failure;
    assert_true(mproc_failure_describe(&failure, text, sizeof text) > 0);
    failure.error = MPROC_ETASK;
    failure.worker = INT32_MIN;
    failure.ran_ms = INT64_MIN;
    assert_true(mproc_failure_describe(&failure, text, sizeof text) > MPROC_TEXT_MAX - 1);
}

/* ---- where it comes from --------------------------------------------------------------------- */

enum { PAUSE_MS = 60, COARSE_MS = 20 };

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

static int32_t end_late(const void *in, void *out, void *ctx)
{
    (void)out;
    (void)ctx;
    if (*(const uint64_t *)in != 2)
        return 0;
    for (int left = PAUSE_MS; left > 0; left -= 10)
        poll(NULL, 0, 10);
    return ctx ? (int32_t)raise(*(int *)ctx) : mproc_fail(9, "late");
}

static void check_what_is_told(int *signal, int error, const char *words)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {
        .size = sizeof options, .failure = &failure, .ctx_size = signal ? sizeof *signal : 0};
    mproc_pool *pool;
    char text[512];

    options.chunk_size = 1;
    assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
    assert_int_equal(mproc_pool_map(pool, end_late, signal, NULL, 0, NULL, 0, 5, &options), error);
    assert_int_equal(failure.index, 2);
    assert_in_range(failure.worker, 0, 1);
    assert_true(failure.ran_ms >= PAUSE_MS - COARSE_MS);
    assert_true(failure.ran_ms < 60000);
    assert_true(mproc_failure_describe(&failure, text, sizeof text) > 0);
    assert_non_null(strstr(text, words));
    mproc_pool_destroy(pool);
}

static void a_task_that_fails_is_told_with_its_worker_and_its_time(void **state)
{
    (void)state;
    check_what_is_told(NULL, MPROC_ETASK, "returned 9 after ");
}

static void a_crash_is_told_with_its_worker_and_its_time(void **state)
{
    int signal = SIGKILL;

    (void)state;
    need_processes();
    check_what_is_told(&signal, MPROC_ECRASHED, "killed by SIGKILL after ");
}

static void what_did_not_fail_has_no_worker(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .failure = &failure};
    mproc_pool *pool;

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 1, NULL), 0);
    assert_int_equal(mproc_pool_map(pool, end_late, NULL, NULL, 0, NULL, 0, 2, &options), 0);
    assert_int_equal(failure.worker, -1);
    assert_int_equal(failure.ran_ms, 0);
    mproc_pool_destroy(pool);
}

static const struct CMUnitTest tests[] = {
    TEST(each_kind_of_failure_has_its_words),
    TEST(a_line_is_cut_where_its_room_ends_and_says_how_long_it_is),
    TEST(a_smaller_struct_is_described_without_what_it_lacks),
    TEST(misuse_is_refused_and_nonsense_described),
    TEST(a_task_that_fails_is_told_with_its_worker_and_its_time),
    TEST(a_crash_is_told_with_its_worker_and_its_time),
    TEST(what_did_not_fail_has_no_worker),
};

int main(void)
{
    return TEST_MAIN(tests);
}
