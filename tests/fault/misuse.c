/* SPDX-License-Identifier: MIT */
/*
 * Every public function, called as it should not be: with NULL in place of each pointer, with a
 * handle whose life is over, in another process than the handle's, and in a worker.  One table says
 * what each call answers; a test holds it complete against the headers, and tests/exports.sh holds
 * those against the library.  Nobody is harmed by any of it: what the handles stand for goes on.
 */
#include "support.h"

#include "misuse.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- asking ---------------------------------------------------------------------------------- */

/* What is to be called; shared with the workers, which tell the answer in it. */
struct stage {
    struct handles handles;
    size_t row;
    int null;
    bool in_fork; /* of the worker */
    sem_t go;
    int64_t answer;
};

static struct stage *stage;

static int play(void *arg)
{
    struct handles handles = stage->handles;

    (void)arg;
    stage->answer = misuse_rows[stage->row].call(&handles, stage->null);
    return 0;
}

static int32_t play_in_worker(mproc_task *task, void *ctx)
{
    pid_t pid;

    (void)ctx;
    while (sem_wait(&stage->go))
        ;
    stage->handles.task = task;
    if (!stage->in_fork)
        return play(NULL);
    pid = fork();
    if (pid == 0)
        _exit(play(NULL));
    return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}

static void prepare(size_t row, int null, bool in_fork)
{
    stage->row = row;
    stage->null = null;
    stage->in_fork = in_fork;
    stage->answer = WRONG;
}

/* The answer of a worker of the pool; with `close`, of a pool that is closed meanwhile. */
static int64_t ask_worker(mproc_pool *pool, bool close)
{
    mproc_future *future;

    assert_int_equal(mproc_pool_submit(pool, &future, play_in_worker, NULL, NULL, 0, NULL), 0);
    if (close)
        assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(sem_post(&stage->go), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), 0);
    mproc_future_free(future);
    return stage->answer;
}

static void expect(const char *what, int64_t answer)
{
    const struct row *row = &misuse_rows[stage->row];
    int64_t due = strcmp(what, "closed") == 0    ? row->closed
                  : strcmp(what, "foreign") == 0 ? row->foreign
                  : strcmp(what, "worker") == 0  ? row->worker
                                                 : row->nulls[stage->null - 1];

    if (answer != due)
        fail_msg("%s, %s (pointer %d): %lld instead of %lld", row->name, what, stage->null,
                 (long long)answer, (long long)due);
}

/* ---- handles --------------------------------------------------------------------------------- */

static mproc_future *make_future(mproc_pool *pool)
{
    mproc_future *future;

    assert_int_equal(mproc_pool_submit(pool, &future, misuse_reply, NULL, NULL, 0, NULL), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    return future;
}

static int32_t wait_for_signal(void *arg)
{
    (void)arg;
    while (pause())
        ;
    return 0;
}

/* One handle of each kind, in the life; the workers of the pool have them all. */
static void make_handles(struct handles *made)
{
    mproc_spawn_options daemon = {.size = sizeof daemon, .daemon = 1}; /* should a test fail */
    struct iovec none = {NULL, 0};

    stage = test_share(sizeof *stage);
    assert_int_equal(sem_init(&stage->go, 1, 0), 0);
    memset(made, 0, sizeof *made);
    assert_int_equal(mproc_pool_create(&made->pool, 1, NULL), 0);
    made->future = make_future(made->pool);
    assert_int_equal(mproc_pool_alloc(made->pool, 64, &made->memory), 0);
    assert_int_equal(
        mproc_pool_map_bytes(made->pool, misuse_reply, NULL, &none, 1, &made->results, NULL), 0);
    assert_int_equal(mproc_spawn(&made->process, wait_for_signal, NULL, &daemon), 0);
    assert_int_equal(mproc_pool_restart(made->pool), 0);
    stage->handles = *made;
}

/* What the handles stand for is as it was. */
static void assert_unharmed(const struct handles *handles)
{
    char out[3];
    const void *data;

    assert_int_equal(
        mproc_pool_call(handles->pool, misuse_reply, NULL, NULL, 0, out, 3, NULL, NULL), 0);
    assert_memory_equal(out, "yes", 3);
    assert_int_equal(mproc_future_result(handles->future, &data, NULL), 0);
    assert_memory_equal(data, "yes", 3);
    assert_int_equal(mproc_results_get(handles->results, 0, &data, NULL), 0);
    assert_memory_equal(data, "yes", 3);
    assert_int_equal(mproc_process_is_alive(handles->process), 1);
}

static void drop_handles(struct handles *handles)
{
    if (handles->process) {
        mproc_process_kill(handles->process);
        assert_int_equal(mproc_join(handles->process, -1, NULL), 0);
    }
    mproc_process_free(handles->process);
    mproc_results_free(handles->results);
    mproc_future_free(handles->future);
    mproc_pool_destroy(handles->pool);
    sem_destroy(&stage->go);
    test_unshare(stage, sizeof *stage);
}

/* End the life of each. */
static void close_handles(struct handles *handles)
{
    mproc_pool *pool;

    mproc_future_free(handles->future);
    assert_int_equal(mproc_pool_create(&pool, 1, NULL), 0);
    handles->future = make_future(pool);
    mproc_pool_destroy(pool);
    assert_int_equal(mproc_process_kill(handles->process), 0);
    assert_int_equal(mproc_join(handles->process, -1, NULL), 0);
    assert_int_equal(mproc_pool_close(handles->pool), 0);
    assert_int_equal(mproc_pool_join(handles->pool, -1), 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void every_public_function_is_in_the_table(void **state)
{
    static char text[65536];
    size_t declared = 0;
    bool seen[100] = {false};
    glob_t headers;

    (void)state;
    assert_int_equal(glob(MPROC_TEST_HEADERS "/mproc/*.h", 0, NULL, &headers), 0);
    for (size_t i = 0; i < headers.gl_pathc; i++) {
        FILE *file = fopen(headers.gl_pathv[i], "re");
        size_t length;

        assert_non_null(file);
        length = fread(text, 1, sizeof text - 1, file);
        assert_true(length < sizeof text - 1);
        text[length] = '\0';
        fclose(file);
        for (char *at = text; (at = strstr(at, "mproc_")) != NULL;) {
            size_t row = 0, name = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");

            if (at[name] == '(' && (at == text || !isalnum((unsigned char)at[-1]))) {
                while (row < misuse_row_count && (strlen(misuse_rows[row].name) != name ||
                                                  strncmp(misuse_rows[row].name, at, name) != 0))
                    row++;
                if (row == misuse_row_count)
                    fail_msg("%.*s is not in the table", (int)name, at);
                declared += !seen[row];
                seen[row] = true;
            }
            at += name;
        }
    }
    globfree(&headers);
    assert_int_equal(declared, misuse_row_count);
}

static void null_in_place_of_any_pointer_is_refused_or_means_none(void **state)
{
    struct handles handles;

    (void)state;
    make_handles(&handles);
    for (size_t row = 0; row < misuse_row_count; row++)
        for (int null = 1; null <= misuse_rows[row].pointers; null++) {
            struct handles used = handles; /* a call that is handed NULL keeps what it has */

            prepare(row, null, false);
            expect("NULL", misuse_rows[row].about == ABOUT_TASK
                               ? ask_worker(handles.pool, false)
                               : misuse_rows[row].call(&used, null));
        }
    assert_unharmed(&handles);
    drop_handles(&handles);
}

static void what_is_over_answers_so_or_as_ever(void **state)
{
    (void)state;
    for (size_t row = 0; row < misuse_row_count; row++) {
        struct handles handles;

        make_handles(&handles);
        prepare(row, 0, false);
        if (misuse_rows[row].about == ABOUT_TASK) {
            expect("closed", ask_worker(handles.pool, true));
        } else {
            close_handles(&handles);
            expect("closed", misuse_rows[row].call(&handles, 0));
        }
        drop_handles(&handles);
    }
}

static void in_a_fork_a_handle_is_foreign_and_what_it_stands_for_unharmed(void **state)
{
    struct handles handles;

    (void)state;
    make_handles(&handles);
    for (size_t row = 0; row < misuse_row_count; row++) {
        prepare(row, 0, true);
        if (misuse_rows[row].about == ABOUT_TASK)
            ask_worker(handles.pool, false);
        else
            assert_int_equal(test_run_child(play, NULL), 0);
        expect("foreign", stage->answer);
        assert_unharmed(&handles);
    }
    drop_handles(&handles);
}

static void in_a_worker_a_handle_of_its_host_is_foreign_and_unharmed(void **state)
{
    struct handles handles;

    (void)state;
    make_handles(&handles);
    for (size_t row = 0; row < misuse_row_count; row++) {
        prepare(row, 0, false);
        expect("worker", ask_worker(handles.pool, false));
        assert_unharmed(&handles);
    }
    drop_handles(&handles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_public_function_is_in_the_table),
        TEST(null_in_place_of_any_pointer_is_refused_or_means_none),
        TEST(what_is_over_answers_so_or_as_ever),
        TEST(in_a_fork_a_handle_is_foreign_and_what_it_stands_for_unharmed),
        TEST(in_a_worker_a_handle_of_its_host_is_foreign_and_unharmed),
    };

    return TEST_MAIN(tests);
}
