/* SPDX-License-Identifier: MIT */
/* How far a map has come, as the caller is told; and the bar, on a terminal of the test's own. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COUNT = 30, ITEM_MS = 20 };

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t be_slow(const void *in, void *out, void *ctx)
{
    (void)out;
    (void)ctx;
    poll(NULL, 0, ITEM_MS);
    return *(const uint64_t *)in % 10 == 9;
}

static int32_t be_quick(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    (void)ctx;
    return 0;
}

static int32_t slow_task(mproc_task *task, void *ctx)
{
    uint64_t index = mproc_task_index(task);

    return be_slow(&index, NULL, ctx);
}

/* ---- what is told ---------------------------------------------------------------------------- */

enum { MOST_CALLS = 1000 };

struct told {
    int calls;
    mproc_progress progress[MOST_CALLS];
    int64_t at[MOST_CALLS]; /* milliseconds */
    mproc_pool *pool;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void note(const mproc_progress *progress, void *arg)
{
    struct told *told = arg;

    if (told->calls < MOST_CALLS) {
        told->progress[told->calls] = *progress;
        told->at[told->calls] = now_ms();
    }
    told->calls++;
    if (told->pool) /* it may use the pool */
        told->calls += mproc_pool_workers(told->pool) > 0 ? 0 : MOST_CALLS;
}

/* Figures that grow, not too often, and the last and no other says that it is over. */
static void check_told(const struct told *told, uint64_t total, uint64_t failed)
{
    const mproc_progress *last = &told->progress[told->calls - 1];

    assert_in_range(told->calls, 1, MOST_CALLS);
    for (int i = 0; i < told->calls; i++) {
        const mproc_progress *now = &told->progress[i];

        assert_int_equal(now->size, sizeof *now);
        assert_int_equal(now->total, total);
        assert_int_equal(now->over, i == told->calls - 1);
        assert_true(now->done <= total && now->failed <= now->done);
        if (i == 0)
            continue;
        assert_true(now->done >= now[-1].done && now->failed >= now[-1].failed);
        assert_true(now->elapsed_ms >= now[-1].elapsed_ms);
        if (!now->over)
            assert_true(told->at[i] - told->at[i - 1] >= 99);
    }
    assert_int_equal(last->done, total);
    assert_int_equal(last->failed, failed);
}

static mproc_pool *make_pool(int32_t workers)
{
    mproc_pool *pool = NULL;

    assert_int_equal(mproc_pool_create(&pool, workers, NULL), 0);
    return pool;
}

static void a_map_is_told_of_while_it_runs(void **state)
{
    struct told told = {.pool = make_pool(2)};
    int32_t statuses[COUNT];
    mproc_map_options options = {
        .size = sizeof options, .statuses = statuses, .progress = note, .progress_arg = &told};

    (void)state;
    assert_int_equal(mproc_pool_map(told.pool, be_slow, NULL, NULL, 0, NULL, 0, COUNT, &options),
                     COUNT / 10);
    check_told(&told, COUNT, COUNT / 10);
    assert_true(told.calls >= 3); /* it took 300 ms at least */
    assert_true(told.progress[0].done < COUNT);
    mproc_pool_destroy(told.pool);
}

static void a_map_of_tasks_is_told_of_while_it_runs(void **state)
{
    struct told told = {.pool = make_pool(2)};
    struct iovec inputs[COUNT] = {{NULL, 0}};
    int32_t statuses[COUNT];
    mproc_map_options options = {
        .size = sizeof options, .statuses = statuses, .progress = note, .progress_arg = &told};
    mproc_results *results;

    (void)state;
    assert_int_equal(
        mproc_pool_map_bytes(told.pool, slow_task, NULL, inputs, COUNT, &results, &options),
        COUNT / 10);
    check_told(&told, COUNT, COUNT / 10);
    assert_true(told.calls >= 3);
    mproc_results_free(results);
    mproc_pool_destroy(told.pool);
}

/* In sections: what was gathered and given back counts on. */
static void a_large_map_counts_to_its_end(void **state)
{
    enum { MANY = 3000000 };
    struct told told = {.pool = make_pool(2)};
    mproc_map_options options = {.size = sizeof options, .progress = note, .progress_arg = &told};
    uint64_t *in = calloc(MANY, sizeof *in);

    (void)state;
    assert_non_null(in);
    assert_int_equal(mproc_pool_map(told.pool, be_quick, NULL, in, 8, NULL, 0, MANY, &options), 0);
    check_told(&told, MANY, 0);
    free(in);
    mproc_pool_destroy(told.pool);
}

static void a_one_shot_map_and_one_that_ends_early_are_told_of(void **state)
{
    struct told told = {0};
    mproc_map_options options = {
        .size = sizeof options, .progress = note, .progress_arg = &told, .chunk_size = 1};

    (void)state;
    assert_int_equal(mproc_map(be_quick, NULL, NULL, 0, NULL, 0, 5, 2, &options), 0);
    check_told(&told, 5, 0);
    told.calls = 0;
    assert_int_equal(mproc_map(be_slow, NULL, NULL, 0, NULL, 0, 9000, 1, &options), MPROC_ETASK);
    assert_true(told.progress[told.calls - 1].over);
    assert_int_equal(told.progress[told.calls - 1].failed, 1);
    assert_in_range(told.progress[told.calls - 1].done, 10, COUNT);
    told.calls = 0;
    assert_int_equal(mproc_map(be_quick, NULL, NULL, 0, NULL, 0, 0, 2, &options), 0);
    assert_int_equal(told.calls, 0); /* nothing was begun */
}

/* The time for the whole is kept though the wait is cut in pieces. */
static void a_timeout_is_kept(void **state)
{
    struct told told = {.pool = make_pool(1)};
    int32_t statuses[COUNT];
    mproc_map_options options = {.size = sizeof options,
                                 .statuses = statuses,
                                 .progress = note,
                                 .progress_arg = &told,
                                 .timeout_ms = 230};
    int64_t began = now_ms();

    (void)state;
    assert_int_equal(mproc_pool_map(told.pool, be_slow, NULL, NULL, 0, NULL, 0, COUNT, &options),
                     -ETIMEDOUT);
    assert_true(now_ms() - began >= 230);
    assert_true(told.calls >= 2);
    mproc_pool_destroy(told.pool);
}

/* ---- the bar --------------------------------------------------------------------------------- */

struct show {
    const char *variable; /* MPROC_PROGRESS, or NULL: by the option */
    int terminal;
};

static int map_with_a_bar(void *arg)
{
    const struct show *show = arg;
    int32_t statuses[COUNT];
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};

    if (dup2(show->terminal, STDERR_FILENO) < 0)
        return 1;
    close(show->terminal);
    if (show->variable)
        setenv("MPROC_PROGRESS", show->variable, 1);
    else
        options.progress = mproc_progress_bar;
    return mproc_map(be_slow, NULL, NULL, 0, NULL, 0, COUNT, 2, &options) == COUNT / 10 ? 0 : 2;
}

/* What a map writes on its terminal. */
static void run_on_a_terminal(const char *variable, char *text, size_t size)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    struct show show = {variable, -1};
    size_t used = 0;

    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    show.terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(show.terminal >= 0);
    assert_int_equal(test_run_child(map_with_a_bar, &show), 0);
    close(show.terminal); /* then the other end comes to an end, when all is read */
    for (ssize_t n; used < size - 1 && (n = read(master, text + used, size - 1 - used)) > 0;)
        used += (size_t)n;
    text[used] = '\0';
    close(master);
}

static void the_bar_is_drawn_on_a_terminal(void **state)
{
    static const char *const ways[] = {NULL, "1"};
    char text[8192];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        run_on_a_terminal(ways[i], text, sizeof text);
        assert_int_equal(text[0], '\r');
        assert_non_null(strstr(text, " left\033[K"));
        assert_non_null(strstr(text, "\r100% [#"));
        assert_non_null(strstr(text, "30/30, 3 failed, "));
        assert_string_equal(text + strlen(text) - 2, "\r\n"); /* a terminal's end of line */
    }
}

static void the_variable_asks_for_it_by_1_alone(void **state)
{
    char text[8192];

    (void)state;
    run_on_a_terminal("0", text, sizeof text);
    assert_string_equal(text, "");
}

static void no_bar_goes_where_no_terminal_is(void **state)
{
    char text[64] = "";
    int ends[2];
    struct show show = {NULL, -1};

    (void)state;
    assert_int_equal(pipe(ends), 0);
    show.terminal = ends[1];
    assert_int_equal(test_run_child(map_with_a_bar, &show), 0);
    close(ends[1]);
    assert_int_equal(read(ends[0], text, sizeof text), 0);
    close(ends[0]);
}

static void nonsense_is_drawn_without_harm(void **state)
{
    mproc_progress progress;

    (void)state;
    memset(&progress, 0xff, sizeof progress);
    mproc_progress_bar(&progress, NULL);
    progress = (mproc_progress){.size = sizeof progress, .over = 1};
    mproc_progress_bar(&progress, NULL);
    mproc_progress_bar(NULL, NULL);
}

static const struct CMUnitTest tests[] = {
    TEST(a_map_is_told_of_while_it_runs),
    TEST(a_map_of_tasks_is_told_of_while_it_runs),
    TEST(a_large_map_counts_to_its_end),
    TEST(a_one_shot_map_and_one_that_ends_early_are_told_of),
    TEST(a_timeout_is_kept),
    TEST(the_bar_is_drawn_on_a_terminal),
    TEST(the_variable_asks_for_it_by_1_alone),
    TEST(no_bar_goes_where_no_terminal_is),
    TEST(nonsense_is_drawn_without_harm),
};

int main(void)
{
    return TEST_MAIN(tests);
}
