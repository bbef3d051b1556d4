/* SPDX-License-Identifier: MIT */
/*
 * The host's other parts take the library's children away: a thread that waits for any child, a
 * program that ignores SIGCHLD or wants no zombies.  Whatever is done with pools must come to the
 * same as in peace.  An exit code that somebody else has is the one thing that is gone, and
 * mproc_join() says so.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ITEMS = 300, TASKS = 100, PROCESSES = 10 };

/* ---- what takes children away ---------------------------------------------------------------- */

struct disturbance {
    const char *name;
    bool thief;
    int thief_options; /* of its waitpid() */
    bool has_action;
    struct sigaction action; /* of SIGCHLD */
};

static const struct disturbance disturbances[] = {
    {.name = "a thief that looks at 5 kHz", .thief = true, .thief_options = WNOHANG},
    {.name = "a thief that sleeps in waitpid()", .thief = true},
    {.name = "SIGCHLD ignored", .has_action = true, .action = {.sa_handler = SIG_IGN}},
    {.name = "SA_NOCLDWAIT",
     .has_action = true,
     .action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT}},
    {.name = "SIGCHLD ignored, and a thief",
     .thief = true,
     .thief_options = WNOHANG,
     .has_action = true,
     .action = {.sa_handler = SIG_IGN}},
};

static _Atomic bool stop_thief;
static _Atomic uint64_t stolen;

static void *steal(void *options)
{
    const struct timespec pause = {0, 200000};

    while (!atomic_load(&stop_thief)) {
        pid_t pid = waitpid(-1, NULL, *(const int *)options);

        if (pid > 0)
            atomic_fetch_add(&stolen, 1);
        if (pid <= 0 || *(const int *)options)
            nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t have_a_fate(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    (void)ctx;
    if (index % 50 == 10)
        raise(SIGKILL);
    if (index % 50 == 20)
        _exit(3);
    if (index % 50 == 30)
        return mproc_fail(7, "as it was told");
    *(uint64_t *)out = index * index;
    return 0;
}

static int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in * *(const uint64_t *)in;
    return 0;
}

static int32_t have_a_fate_as_a_task(mproc_task *task, void *ctx)
{
    return have_a_fate(mproc_task_input(task, NULL), mproc_task_output(task, sizeof(uint64_t)),
                       ctx);
}

static int32_t hang(mproc_task *task, void *ctx)
{
    (void)ctx;
    while (task) /* for ever */
        pause();
    return 0;
}

/* ---- what is done, and how it is told -------------------------------------------------------- */

static void tell_failure(FILE *out, const mproc_failure *failure)
{
    fprintf(out, "  %s, item %llu, code %d, signal %d, %d attempts, %s\n",
            mproc_strerror(failure->error), (unsigned long long)failure->index, failure->code,
            failure->signal, failure->attempts, failure->text);
}

static void tell_map(FILE *out, int result, const uint64_t *squares, const int32_t *statuses)
{
    fprintf(out, "map: %d\n", result);
    for (int i = 0; i < ITEMS; i++)
        fprintf(out, "%llu %d\n", (unsigned long long)squares[i], statuses[i]);
}

static void do_maps(FILE *out, mproc_pool *pool)
{
    uint64_t squares[ITEMS] = {0};
    int32_t statuses[ITEMS] = {0};
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {
        .size = sizeof options, .statuses = statuses, .failure = &failure, .chunk_size = 1};

    tell_map(out, mproc_pool_map(pool, square, NULL, NULL, 0, squares, 8, ITEMS, NULL), squares,
             statuses);
    memset(squares, 0, sizeof squares);
    tell_map(out, mproc_pool_map(pool, have_a_fate, NULL, NULL, 0, squares, 8, ITEMS, &options),
             squares, statuses);
    tell_failure(out, &failure);
    memset(squares, 0, sizeof squares);
    memset(statuses, 0, sizeof statuses);
    tell_map(out, mproc_map(square, NULL, NULL, 0, squares, 8, ITEMS, 2, NULL), squares, statuses);
}

static void do_tasks(FILE *out, mproc_pool *pool)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 64, .retries = 2};
    mproc_future *futures[TASKS + 2];

    for (uint64_t i = 0; i < TASKS; i++)
        assert_int_equal(mproc_pool_submit(pool, &futures[i], have_a_fate_as_a_task, NULL, &i,
                                           sizeof i, &options),
                         0);
    options.time_limit_ms = 20;
    assert_int_equal(mproc_pool_submit(pool, &futures[TASKS], hang, NULL, NULL, 0, &options), 0);
    options.time_limit_ms = 0;
    assert_int_equal(mproc_pool_submit(pool, &futures[TASKS + 1], hang, NULL, NULL, 0, &options),
                     0);
    assert_int_equal(mproc_future_cancel(futures[TASKS + 1]), 0);
    fprintf(out, "wait_all: %d\n", mproc_future_wait_all(futures, TASKS + 2, 60000));
    for (int i = 0; i < TASKS + 2; i++) {
        mproc_failure failure = {.size = sizeof failure};

        mproc_future_failure(futures[i], &failure);
        if (i == TASKS + 1)
            failure.attempts = 0; /* it may have begun or not */
        tell_failure(out, &failure);
        mproc_future_free(futures[i]);
    }
}

static void do_ends(FILE *out)
{
    mproc_future *future;
    mproc_pool *pool;

    assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
    assert_int_equal(mproc_pool_submit(pool, &future, hang, NULL, NULL, 0, NULL), 0);
    fprintf(out, "join before close: %d\n", mproc_pool_join(pool, 1000));
    fprintf(out, "terminate: %d\n", mproc_pool_terminate(pool));
    fprintf(out, "wait: %d\n", mproc_future_wait(future, 60000));
    fprintf(out, "result: %d\n", mproc_future_result(future, NULL, NULL));
    fprintf(out, "join: %d\n", mproc_pool_join(pool, 60000));
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
    mproc_pool_destroy(pool);
}

static int32_t return_it(void *arg)
{
    return *(int32_t *)arg;
}

/* The exit code is there in peace, and lost where the system throws it away; a thief may be late. */
static void do_processes(FILE *out, const struct disturbance *disturbance)
{
    mproc_process *processes[PROCESSES];

    for (int32_t i = 0; i < PROCESSES; i++)
        assert_int_equal(mproc_spawn(&processes[i], return_it, &i, NULL), 0);
    for (int32_t i = 0; i < PROCESSES; i++) {
        int32_t code = -1;
        int r = mproc_join(processes[i], 60000, &code);

        if (r == 0)
            assert_int_equal(code, i);
        else
            assert_int_equal(r, MPROC_ELOST);
        if (!disturbance)
            assert_int_equal(r, 0);
        else if (disturbance->has_action)
            assert_int_equal(r, MPROC_ELOST);
        assert_int_equal(mproc_join(processes[i], 0, &code), r);
        fprintf(out, "alive: %d, signalled: %d\n", mproc_process_is_alive(processes[i]),
                mproc_process_kill(processes[i]));
    }
    for (int32_t i = 0; i < PROCESSES; i++)
        mproc_process_free(processes[i]);
}

/* Everything once.  What came of it, as a text. */
static char *do_all(const struct disturbance *disturbance)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    mproc_pool *pool;

    assert_non_null(out);
    assert_int_equal(mproc_pool_create(&pool, 3, NULL), 0);
    do_maps(out, pool);
    do_tasks(out, pool);
    fprintf(out, "restart: %d\n", mproc_pool_restart(pool));
    do_tasks(out, pool);
    fprintf(out, "close: %d\n", mproc_pool_close(pool));
    fprintf(out, "join: %d\n", mproc_pool_join(pool, 60000));
    mproc_pool_destroy(pool);
    do_ends(out);
    do_processes(out, disturbance);
    fclose(out);
    return text;
}

/* ---- the test -------------------------------------------------------------------------------- */

static void compare(const struct disturbance *disturbance, const char *in_peace)
{
    int options = disturbance->thief_options;
    struct sigaction before;
    pthread_t thief;
    char *text;

    assert_int_equal(
        sigaction(SIGCHLD, disturbance->has_action ? &disturbance->action : NULL, &before), 0);
    atomic_store(&stop_thief, false);
    if (disturbance->thief)
        assert_int_equal(pthread_create(&thief, NULL, steal, &options), 0);
    text = do_all(disturbance);
    atomic_store(&stop_thief, true);
    if (disturbance->thief)
        assert_int_equal(pthread_join(thief, NULL), 0);
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
    if (strcmp(text, in_peace) != 0)
        print_error("with %s:\n%s\nin peace:\n%s", disturbance->name, text, in_peace);
    assert_int_equal(strcmp(text, in_peace), 0);
    free(text);
}

static void who_takes_the_children_away_changes_nothing(void **state)
{
    uint64_t rounds = test_under_valgrind() ? 1 : test_count(3, 500);

    (void)state;
    atomic_store(&stolen, 0);
    for (uint64_t round = 0; round < rounds; round++) {
        char *in_peace = do_all(NULL);

        for (size_t i = 0; i < sizeof disturbances / sizeof disturbances[0]; i++)
            compare(&disturbances[i], in_peace);
        free(in_peace);
    }
    print_message("%llu children stolen\n", (unsigned long long)atomic_load(&stolen));
    assert_true(atomic_load(&stolen) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_takes_the_children_away_changes_nothing),
    };

    return TEST_MAIN(tests);
}
