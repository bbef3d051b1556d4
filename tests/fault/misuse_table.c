/* SPDX-License-Identifier: MIT */
/*
 * The table of misuse.h: a function that makes each call, with NULL in place of a pointer where
 * asked to, and what the headers say that it answers.
 */
#include "misuse.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* ---- what the calls are made with ------------------------------------------------------------ */

static int32_t identity(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in;
    return 0;
}

static int32_t identities(const void *in, void *out, size_t count, void *ctx)
{
    (void)ctx;
    memcpy(out, in, count * sizeof(uint64_t));
    return 0;
}

int32_t misuse_reply(mproc_task *task, void *ctx)
{
    void *out = mproc_task_output(task, 3);

    (void)ctx;
    memcpy(out, "yes", 3);
    return 0;
}

static int32_t leave(void *arg)
{
    (void)arg;
    return 0;
}

/* ---- the calls: `null` is the pointer argument, from 1 up, that is NULL; 0: none ------------- */

#define ARGUMENT(number, value) (null == (number) ? NULL : (value))

/* A call of one expression. */
#define CALL(name, answer)                                                                         \
    static int64_t call_##name(struct handles *on, int null)                                       \
    {                                                                                              \
        (void)on, (void)null;                                                                      \
        return (int64_t)(answer);                                                                  \
    }

static int64_t positive(int64_t answer)
{
    return answer > 0 ? 1 : answer;
}

CALL(strerror, mproc_strerror(MPROC_ETASK) != NULL)

static int64_t call_failure_describe(struct handles *on, int null)
{
    const mproc_failure failure = {.size = sizeof failure, .error = -ECANCELED};
    char text[64];

    (void)on;
    return mproc_failure_describe(ARGUMENT(1, &failure), ARGUMENT(2, text), sizeof text);
}

static int64_t call_progress_bar(struct handles *on, int null)
{
    const mproc_progress progress = {.size = sizeof progress};

    (void)on;
    mproc_progress_bar(ARGUMENT(1, &progress), ARGUMENT(2, &null));
    return 0;
}

CALL(future_wait, mproc_future_wait(ARGUMENT(1, on->future), -1))
CALL(future_is_done, mproc_future_is_done(ARGUMENT(1, on->future)))
CALL(future_cancel, mproc_future_cancel(ARGUMENT(1, on->future)))

/* Of several, the last case is that there is none but NULL. */
static int64_t call_future_wait_any(struct handles *on, int null)
{
    mproc_future *futures[] = {ARGUMENT(2, on->future), NULL};

    return mproc_future_wait_any(ARGUMENT(1, futures), 2, -1);
}

static int64_t call_future_wait_all(struct handles *on, int null)
{
    mproc_future *futures[] = {ARGUMENT(2, on->future), NULL};

    return mproc_future_wait_all(ARGUMENT(1, futures), 2, -1);
}

static int64_t call_future_result(struct handles *on, int null)
{
    const void *data;
    size_t length = 3;
    int r = mproc_future_result(ARGUMENT(1, on->future), ARGUMENT(2, &data), ARGUMENT(3, &length));

    return r == 0 && length != 3 ? WRONG : r;
}

static int64_t call_future_failure(struct handles *on, int null)
{
    mproc_failure failure = {.size = sizeof failure};

    return mproc_future_failure(ARGUMENT(1, on->future), ARGUMENT(2, &failure));
}

static int64_t call_future_free(struct handles *on, int null)
{
    mproc_future_free(ARGUMENT(1, on->future));
    on->future = NULL;
    return 0;
}

CALL(pool_workers, mproc_pool_workers(ARGUMENT(1, on->pool)))
CALL(pool_close, mproc_pool_close(ARGUMENT(1, on->pool)))
CALL(pool_join, mproc_pool_join(ARGUMENT(1, on->pool), -1))
CALL(pool_terminate, mproc_pool_terminate(ARGUMENT(1, on->pool)))
CALL(pool_restart, mproc_pool_restart(ARGUMENT(1, on->pool)))
CALL(pool_fd, positive(mproc_pool_fd(ARGUMENT(1, on->pool))))
CALL(pool_dealloc, mproc_pool_dealloc(ARGUMENT(1, on->pool), ARGUMENT(2, on->memory)))

static int64_t call_pool_create(struct handles *on, int null)
{
    mproc_pool_options options = {.size = sizeof options};
    mproc_pool *pool = NULL;
    int r = mproc_pool_create(ARGUMENT(1, &pool), 1, ARGUMENT(2, &options));

    (void)on;
    mproc_pool_destroy(pool);
    return r;
}

static int64_t call_pool_destroy(struct handles *on, int null)
{
    mproc_pool_destroy(ARGUMENT(1, on->pool));
    on->pool = NULL;
    return 0;
}

static int64_t call_pool_map(struct handles *on, int null)
{
    uint64_t in[2] = {5, 6}, out[2];
    mproc_map_options options = {.size = sizeof options};

    return mproc_pool_map(ARGUMENT(1, on->pool), ARGUMENT(2, identity), ARGUMENT(3, on->memory),
                          ARGUMENT(4, in), 8, ARGUMENT(5, out), 8, 2, ARGUMENT(6, &options));
}

static int64_t call_pool_map_batch(struct handles *on, int null)
{
    uint64_t in[2] = {5, 6}, out[2];
    mproc_map_options options = {.size = sizeof options};

    return mproc_pool_map_batch(ARGUMENT(1, on->pool), ARGUMENT(2, identities),
                                ARGUMENT(3, on->memory), ARGUMENT(4, in), 8, ARGUMENT(5, out), 8, 2,
                                ARGUMENT(6, &options));
}

static int64_t call_pool_map_bytes(struct handles *on, int null)
{
    char bytes[2] = "in";
    struct iovec input = {ARGUMENT(7, bytes), sizeof bytes};
    mproc_map_options options = {.size = sizeof options};
    mproc_results *results = NULL;
    int r = mproc_pool_map_bytes(ARGUMENT(1, on->pool), ARGUMENT(2, misuse_reply),
                                 ARGUMENT(3, on->memory), ARGUMENT(4, &input), 1,
                                 ARGUMENT(5, &results), ARGUMENT(6, &options));

    mproc_results_free(results);
    return r;
}

CALL(results_count, mproc_results_count(ARGUMENT(1, on->results)))

static int64_t call_results_get(struct handles *on, int null)
{
    const void *data;
    size_t length = 3;
    int r =
        mproc_results_get(ARGUMENT(1, on->results), 0, ARGUMENT(2, &data), ARGUMENT(3, &length));

    return r == 0 && length != 3 ? WRONG : r;
}

static int64_t call_results_free(struct handles *on, int null)
{
    mproc_results_free(ARGUMENT(1, on->results));
    on->results = NULL;
    return 0;
}

static int64_t call_map(struct handles *on, int null)
{
    uint64_t in[2] = {5, 6}, out[2];
    mproc_map_options options = {.size = sizeof options};

    return mproc_map(ARGUMENT(1, identity), ARGUMENT(2, on->memory), ARGUMENT(3, in), 8,
                     ARGUMENT(4, out), 8, 2, 1, ARGUMENT(5, &options));
}

static int64_t call_pool_submit(struct handles *on, int null)
{
    mproc_submit_options options = {.size = sizeof options};
    mproc_future *future = NULL;
    int r =
        mproc_pool_submit(ARGUMENT(1, on->pool), ARGUMENT(2, &future), ARGUMENT(3, misuse_reply),
                          ARGUMENT(4, on->memory), ARGUMENT(5, "in"), 2, ARGUMENT(6, &options));

    if (r == 0)
        mproc_future_wait(future, -1);
    mproc_future_free(future);
    return r;
}

static int64_t call_pool_call(struct handles *on, int null)
{
    mproc_submit_options options = {.size = sizeof options};
    char out[3];
    size_t length = 3;
    int r = mproc_pool_call(ARGUMENT(1, on->pool), ARGUMENT(2, misuse_reply),
                            ARGUMENT(3, on->memory), ARGUMENT(4, "in"), 2, ARGUMENT(5, out),
                            sizeof out, ARGUMENT(6, &length), ARGUMENT(7, &options));

    return r == 0 && length != 3 ? WRONG : r;
}

/* The first says what has ended before, if anything has. */
static int64_t call_pool_step(struct handles *on, int null)
{
    int r = mproc_pool_step(ARGUMENT(1, on->pool));

    return r > 0 ? mproc_pool_step(on->pool) : r;
}

static int64_t call_pool_stats(struct handles *on, int null)
{
    mproc_stats stats = {.size = sizeof stats};

    return mproc_pool_stats(ARGUMENT(1, on->pool), ARGUMENT(2, &stats));
}

static int64_t call_pool_worker_stats(struct handles *on, int null)
{
    mproc_worker_stats stats = {.size = sizeof stats};

    return mproc_pool_worker_stats(ARGUMENT(1, on->pool), 0, ARGUMENT(2, &stats));
}

static int64_t call_pool_slowest(struct handles *on, int null)
{
    mproc_slow_item item = {.size = sizeof item};

    return mproc_pool_slowest(ARGUMENT(1, on->pool), 1000, ARGUMENT(2, &item));
}

static int64_t call_pool_report(struct handles *on, int null)
{
    char text[4096];

    return positive(mproc_pool_report(ARGUMENT(1, on->pool), ARGUMENT(2, text), sizeof text));
}

static int64_t call_pool_alloc(struct handles *on, int null)
{
    void *memory = NULL;
    int r = mproc_pool_alloc(ARGUMENT(1, on->pool), 64, ARGUMENT(2, &memory));

    if (r == 0)
        mproc_pool_dealloc(on->pool, memory);
    return r;
}

static int64_t call_spawn(struct handles *on, int null)
{
    mproc_spawn_options options = {.size = sizeof options};
    mproc_process *process = NULL;
    int r = mproc_spawn(ARGUMENT(1, &process), ARGUMENT(2, leave), ARGUMENT(3, on->memory),
                        ARGUMENT(4, &options));

    if (r == 0)
        mproc_join(process, -1, NULL);
    mproc_process_free(process);
    return r;
}

/* Does not wait: of a process that runs, the answer is that it has not ended. */
static int64_t call_join(struct handles *on, int null)
{
    int32_t code;

    return mproc_join(ARGUMENT(1, on->process), 0, ARGUMENT(2, &code));
}

static int64_t call_join_all(struct handles *on, int null)
{
    mproc_process *processes[] = {ARGUMENT(2, on->process), NULL};

    return mproc_join_all(ARGUMENT(1, processes), 2, 0);
}

CALL(process_pid, positive(mproc_process_pid(ARGUMENT(1, on->process))))
CALL(process_is_alive, mproc_process_is_alive(ARGUMENT(1, on->process)))
CALL(process_fd, positive(mproc_process_fd(ARGUMENT(1, on->process))))
CALL(process_signal, mproc_process_signal(ARGUMENT(1, on->process), SIGTERM))
CALL(process_terminate, mproc_process_terminate(ARGUMENT(1, on->process)))
CALL(process_kill, mproc_process_kill(ARGUMENT(1, on->process)))
CALL(cpu_count, positive(mproc_cpu_count()))

static int64_t call_process_free(struct handles *on, int null)
{
    mproc_process_free(ARGUMENT(1, on->process));
    on->process = NULL;
    return 0;
}

static int64_t call_task_input(struct handles *on, int null)
{
    size_t length;

    return mproc_task_input(ARGUMENT(1, on->task), ARGUMENT(2, &length)) != NULL;
}

CALL(task_output, mproc_task_output(ARGUMENT(1, on->task), 8) != NULL)
CALL(task_index, mproc_task_index(ARGUMENT(1, on->task)))
CALL(task_worker, mproc_task_worker(ARGUMENT(1, on->task)))
CALL(task_is_cancelled, mproc_task_is_cancelled(ARGUMENT(1, on->task)))
CALL(fail, mproc_fail(7, ARGUMENT(1, "no such city")))

/* An object that is not there; with NULL, in the program, which may be static and have none. */
static int64_t call_function_load(struct handles *on, int null)
{
    void *function;
    int r = mproc_function_load(ARGUMENT(1, "/nowhere/lib.so"), ARGUMENT(2, "malloc"),
                                ARGUMENT(3, &function));

    (void)on;
    return r == 0 ? MPROC_ELOAD : r;
}

static int64_t call_constant(struct handles *on, int null)
{
    int64_t value = 0;
    int r = mproc_constant(ARGUMENT(1, "MPROC_TEXT_MAX"), ARGUMENT(2, &value));

    (void)on;
    return r == 0 && value != MPROC_TEXT_MAX ? WRONG : r;
}

static int64_t call_struct_new(struct handles *on, int null)
{
    void *made = NULL;
    int r = mproc_struct_new(ARGUMENT(1, "mproc_failure"), ARGUMENT(2, &made));

    (void)on;
    mproc_struct_free(made);
    return r;
}

/* A call of one expression about a new struct. */
#define STRUCT_CALL(name, answer)                                                                  \
    static int64_t call_##name(struct handles *on, int null)                                       \
    {                                                                                              \
        void *made;                                                                                \
        int64_t number, r;                                                                         \
        const void *pointer;                                                                       \
        (void)on, (void)&number, (void)&pointer;                                                   \
        if (mproc_struct_new("mproc_map_options", &made))                                          \
            return WRONG;                                                                          \
        r = (answer);                                                                              \
        mproc_struct_free(made);                                                                   \
        return r;                                                                                  \
    }

STRUCT_CALL(struct_set, mproc_struct_set(ARGUMENT(1, made), ARGUMENT(2, "retries"), 1))
STRUCT_CALL(struct_get,
            mproc_struct_get(ARGUMENT(1, made), ARGUMENT(2, "retries"), ARGUMENT(3, &number)))
STRUCT_CALL(struct_set_pointer,
            mproc_struct_set_pointer(ARGUMENT(1, made), ARGUMENT(2, "statuses"), ARGUMENT(3, made)))
STRUCT_CALL(struct_get_pointer, mproc_struct_get_pointer(ARGUMENT(1, made), ARGUMENT(2, "statuses"),
                                                         ARGUMENT(3, &pointer)))

static int64_t call_struct_free(struct handles *on, int null)
{
    void *made;

    (void)on;
    if (mproc_struct_new("mproc_failure", &made))
        return WRONG;
    mproc_struct_free(ARGUMENT(1, made));
    if (null)
        mproc_struct_free(made);
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------- */

enum { SHUT = MPROC_ECLOSED, ALIEN = MPROC_EFOREIGN, BAD = -EINVAL };

#define ROW(name, ...)                                                                             \
    {                                                                                              \
        "mproc_" #name, call_##name, __VA_ARGS__                                                   \
    }

const struct row misuse_rows[] = {
    ROW(strerror, ABOUT_NONE, 1, 1, 1, 0, {0}),
    ROW(failure_describe, ABOUT_NONE, 16, 16, 16, 2, {BAD, BAD}),

    ROW(progress_bar, ABOUT_NONE, 0, 0, 0, 2, {0, 0}),

    ROW(future_wait, ABOUT_HANDLE, 0, ALIEN, ALIEN, 1, {BAD}),
    ROW(future_wait_any, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, BAD}),
    ROW(future_wait_all, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, 0}),
    ROW(future_is_done, ABOUT_HANDLE, 1, ALIEN, ALIEN, 1, {BAD}),
    ROW(future_result, ABOUT_HANDLE, 0, ALIEN, ALIEN, 3, {BAD, 0, 0}),
    ROW(future_failure, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, BAD}),
    ROW(future_cancel, ABOUT_HANDLE, -EALREADY, ALIEN, ALIEN, 1, {BAD}),
    ROW(future_free, ABOUT_HANDLE, 0, 0, 0, 1, {0}),

    ROW(pool_create, ABOUT_NONE, 0, 0, 0, 2, {BAD, 0}),
    ROW(pool_workers, ABOUT_HANDLE, 1, ALIEN, ALIEN, 1, {BAD}),
    ROW(pool_close, ABOUT_HANDLE, 0, ALIEN, ALIEN, 1, {BAD}),
    ROW(pool_join, ABOUT_HANDLE, 0, ALIEN, ALIEN, 1, {BAD}),
    ROW(pool_terminate, ABOUT_HANDLE, 0, ALIEN, ALIEN, 1, {BAD}),
    ROW(pool_restart, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 1, {BAD}),
    ROW(pool_destroy, ABOUT_HANDLE, 0, 0, 0, 1, {0}),

    ROW(pool_map, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 6, {BAD, BAD, 0, 0, BAD, 0}),
    ROW(pool_map_batch, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 6, {BAD, BAD, 0, 0, BAD, 0}),
    ROW(pool_map_bytes, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 7, {BAD, BAD, 0, BAD, BAD, 0, BAD}),
    ROW(results_count, ABOUT_HANDLE, 1, 1, 1, 1, {0}),
    ROW(results_get, ABOUT_HANDLE, 0, 0, 0, 3, {BAD, 0, 0}),
    ROW(results_free, ABOUT_HANDLE, 0, 0, 0, 1, {0}),
    ROW(map, ABOUT_NONE, 0, 0, 0, 5, {BAD, 0, 0, BAD, 0}),

    ROW(pool_submit, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 6, {BAD, BAD, BAD, 0, BAD, 0}),
    ROW(pool_call, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 7, {BAD, BAD, 0, BAD, BAD, 0, 0}),
    ROW(pool_fd, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 1, {BAD}),
    ROW(pool_step, ABOUT_HANDLE, SHUT, ALIEN, ALIEN, 1, {BAD}),
    ROW(pool_stats, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, BAD}),
    ROW(pool_worker_stats, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, BAD}),
    ROW(pool_slowest, ABOUT_HANDLE, -ENOENT, ALIEN, ALIEN, 2, {BAD, BAD}),
    ROW(pool_report, ABOUT_HANDLE, 1, ALIEN, ALIEN, 2, {BAD, BAD}),
    ROW(pool_alloc, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, BAD}),
    ROW(pool_dealloc, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, 0}),

    ROW(spawn, ABOUT_NONE, 0, 0, 0, 4, {BAD, BAD, 0, 0}),
    ROW(join, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, -ETIMEDOUT}),
    ROW(join_all, ABOUT_HANDLE, 0, ALIEN, ALIEN, 2, {BAD, 0}),
    ROW(process_pid, ABOUT_HANDLE, 1, ALIEN, ALIEN, 1, {BAD}),
    ROW(process_is_alive, ABOUT_HANDLE, 0, ALIEN, ALIEN, 1, {BAD}),
    ROW(process_fd, ABOUT_HANDLE, 1, ALIEN, ALIEN, 1, {BAD}),
    ROW(process_signal, ABOUT_HANDLE, -ESRCH, ALIEN, ALIEN, 1, {BAD}),
    ROW(process_terminate, ABOUT_HANDLE, -ESRCH, ALIEN, ALIEN, 1, {BAD}),
    ROW(process_kill, ABOUT_HANDLE, -ESRCH, ALIEN, ALIEN, 1, {BAD}),
    ROW(process_free, ABOUT_HANDLE, 0, 0, 0, 1, {0}),
    ROW(cpu_count, ABOUT_NONE, 1, 1, 1, 0, {0}),

    ROW(task_input, ABOUT_TASK, 1, 1, 1, 2, {0, 1}),
    ROW(task_output, ABOUT_TASK, 1, 1, 1, 1, {0}),
    ROW(task_index, ABOUT_TASK, 0, 0, 0, 1, {0}),
    ROW(task_worker, ABOUT_TASK, 0, 0, 0, 1, {BAD}),
    ROW(task_is_cancelled, ABOUT_TASK, 0, 0, 0, 1, {BAD}),
    ROW(fail, ABOUT_NONE, 7, 7, 7, 1, {7}),

    ROW(function_load, ABOUT_NONE, MPROC_ELOAD, MPROC_ELOAD, MPROC_ELOAD, 3,
        {MPROC_ELOAD, BAD, BAD}),
    ROW(constant, ABOUT_NONE, 0, 0, 0, 2, {BAD, BAD}),
    ROW(struct_new, ABOUT_NONE, 0, 0, 0, 2, {BAD, BAD}),
    ROW(struct_set, ABOUT_NONE, 0, 0, 0, 2, {BAD, BAD}),
    ROW(struct_get, ABOUT_NONE, 0, 0, 0, 3, {BAD, BAD, BAD}),
    ROW(struct_set_pointer, ABOUT_NONE, 0, 0, 0, 3, {BAD, BAD, 0}),
    ROW(struct_get_pointer, ABOUT_NONE, 0, 0, 0, 3, {BAD, BAD, BAD}),
    ROW(struct_free, ABOUT_NONE, 0, 0, 0, 1, {0}),
};

const size_t misuse_row_count = sizeof misuse_rows / sizeof misuse_rows[0];
