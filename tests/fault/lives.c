/* SPDX-License-Identifier: MIT */
/* Short lives of a pool and of a process, that ask of each call what its header says it may come
 * to. */
#include "lives.h"

#include "strike.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 2, ARENA = 1 << 20 };

/* ---- what the calls of the library may come to ----------------------------------------------- */

static int report = STDERR_FILENO; /* where a life says what it found */
int life_prints_to = -1;

/* Only a host comes here. */
static _Noreturn void wrong(const char *what, long value)
{
    dprintf(report, "%s: %ld (%s)\n", what, value, value < 0 ? mproc_strerror((int)value) : "");
    _exit(LIFE_WRONG);
}

void life_check(bool holds, const char *what, long value)
{
    if (!holds)
        wrong(what, value);
}

static bool is_want(int r)
{
    return r == -ENOMEM || r == -ENOSPC || r == -EAGAIN || r == -EMFILE || r == -ENFILE;
}

/* Of a call that makes something: true if it did. */
static bool made(const char *what, int r)
{
    life_check(r == 0 || is_want(r), what, r);
    return r == 0;
}

/* Of a call that runs tasks, which were to come to `expected`: true if they did. */
static bool came_to(const char *what, int r, int expected)
{
    life_check(r == expected || r == MPROC_EBROKEN || is_want(r), what, r);
    return r == expected;
}

static void must(const char *what, int r, int expected)
{
    life_check(r == expected, what, r);
}

/* ---- what runs in the children --------------------------------------------------------------- */

static int32_t square(const void *in, void *out, void *ctx)
{
    uint64_t n = *(const uint64_t *)in;

    (void)ctx;
    *(uint64_t *)out = n * n;
    return 0;
}

static int32_t squares(const void *in, void *out, size_t count, void *ctx)
{
    for (size_t i = 0; i < count; i++)
        square((const uint64_t *)in + i, (uint64_t *)out + i, ctx);
    return 0;
}

static int32_t square_or_crash(const void *in, void *out, void *ctx)
{
    if (*(const uint64_t *)in == 3)
        raise(SIGKILL);
    return square(in, out, ctx);
}

static int32_t echo(mproc_task *task, void *ctx)
{
    size_t length;
    const void *in = mproc_task_input(task, &length);

    (void)ctx;
    memcpy(mproc_task_output(task, length), in, length);
    return 0;
}

static int32_t crash(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    raise(SIGKILL);
    return 0;
}

static _Noreturn int32_t hang(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    for (;;)
        pause();
}

/* ---- the lives ------------------------------------------------------------------------------- */

static bool make_pool(mproc_pool **pool)
{
    mproc_pool_options options = {.size = sizeof options, .arena_size = ARENA};

    return made("create", mproc_pool_create(pool, WORKERS, &options));
}

static void end_pool(mproc_pool *pool)
{
    must("close", mproc_pool_close(pool), 0);
    must("join", mproc_pool_join(pool, 1000 * LIFE_SECONDS), 0);
    mproc_pool_destroy(pool);
}

static void check_squares(const char *what, const uint64_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        life_check(out[i] == i * i, what, (long)out[i]);
}

static void map(mproc_pool *pool)
{
    enum { ITEMS = 20 };
    mproc_map_options options = {.size = sizeof options, .chunk_size = 3};
    uint64_t in[ITEMS], out[ITEMS];

    for (size_t i = 0; i < ITEMS; i++)
        in[i] = i;
    if (came_to("map",
                mproc_pool_map(pool, square, NULL, in, sizeof in[0], out, sizeof out[0], ITEMS,
                               &options),
                0))
        check_squares("result of map", out, ITEMS);
    if (came_to(
            "map_batch",
            mproc_pool_map_batch(pool, squares, NULL, NULL, 0, out, sizeof out[0], ITEMS, &options),
            0))
        check_squares("result of map_batch", out, ITEMS);
}

static void map_bytes(mproc_pool *pool, bool with_statuses)
{
    enum { ITEMS = 4 };
    static char text[ITEMS][200] = {"", "one", "and two", "and three"};
    int32_t statuses[ITEMS];
    struct iovec in[ITEMS];
    mproc_map_options options = {.size = sizeof options,
                                 .statuses = with_statuses ? statuses : NULL};
    mproc_results *results = NULL;
    const void *data;
    size_t length;
    int r;

    for (size_t i = 0; i < ITEMS; i++)
        in[i] = (struct iovec){text[i], i * 60};
    r = mproc_pool_map_bytes(pool, echo, NULL, in, ITEMS, &results, &options);
    came_to("map_bytes", r, 0);
    for (size_t i = 0; i < ITEMS && results; i++) {
        must("results_get", mproc_results_get(results, i, &data, &length), 0);
        if (r == 0 || statuses[i] == 0)
            life_check(length == i * 60 && memcmp(data, text[i], length) == 0,
                       "result of map_bytes", (long)i);
    }
    mproc_results_free(results);
}

static void submit(mproc_pool *pool)
{
    enum { TASKS = 3 };
    mproc_future *futures[TASKS] = {NULL};
    const void *data;
    size_t length;

    for (size_t i = 0; i < TASKS; i++)
        came_to("submit", mproc_pool_submit(pool, &futures[i], echo, NULL, &i, sizeof i, NULL), 0);
    must("wait_all", mproc_future_wait_all(futures, TASKS, -1), 0);
    for (size_t i = 0; i < TASKS; i++) {
        if (futures[i] && came_to("result", mproc_future_result(futures[i], &data, &length), 0))
            life_check(length == sizeof i && *(const size_t *)data == i, "result of submit",
                       (long)i);
        mproc_future_free(futures[i]);
    }
}

static void call(mproc_pool *pool)
{
    uint64_t out = 0;
    size_t length;

    if (came_to("call",
                mproc_pool_call(pool, echo, NULL, &(uint64_t){77}, sizeof out, &out, sizeof out,
                                &length, NULL),
                0))
        life_check(length == sizeof out && out == 77, "result of call", (long)out);
}

void life_of_a_pool(void)
{
    mproc_pool *pool;
    void *memory;

    if (!make_pool(&pool))
        return;
    map(pool);
    map_bytes(pool, true);
    map_bytes(pool, false);
    submit(pool);
    if (made("alloc", mproc_pool_alloc(pool, 10000, &memory))) {
        memset(memory, 1, 10000);
        must("dealloc", mproc_pool_dealloc(pool, memory), 0);
    }
    end_pool(pool);
}

static void map_with_a_crash(mproc_pool *pool)
{
    enum { ITEMS = 6 };
    int32_t statuses[ITEMS];
    uint64_t out[ITEMS];
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    int r =
        mproc_pool_map(pool, square_or_crash, NULL, NULL, 0, out, sizeof out[0], ITEMS, &options);

    if (!came_to("map with a crash", r, 1))
        return;
    for (size_t i = 0; i < ITEMS; i++) {
        must("status of an item", statuses[i], i == 3 ? MPROC_ECRASHED : 0);
        life_check(i == 3 || out[i] == i * i, "result beside a crash", (long)i);
    }
}

static void cancel(mproc_pool *pool)
{
    mproc_future *future;
    int r;

    if (!came_to("submit", mproc_pool_submit(pool, &future, hang, NULL, NULL, 0, NULL), 0))
        return;
    r = mproc_future_cancel(future);
    life_check(r == 0 || r == -EALREADY, "cancel", r);
    must("wait", mproc_future_wait(future, -1), 0);
    came_to("result of a cancelled task", mproc_future_result(future, NULL, NULL), -ECANCELED);
    mproc_future_free(future);
}

void life_where_tasks_die(void)
{
    mproc_submit_options options = {.size = sizeof options, .time_limit_ms = 5};
    mproc_pool *pool;
    int r;

    if (!make_pool(&pool))
        return;
    came_to("crash", mproc_pool_call(pool, crash, NULL, NULL, 0, NULL, 0, NULL, NULL),
            MPROC_ECRASHED);
    map_with_a_crash(pool);
    came_to("limit", mproc_pool_call(pool, hang, NULL, NULL, 0, NULL, 0, NULL, &options),
            MPROC_ELIMIT);
    cancel(pool);
    r = mproc_pool_restart(pool);
    life_check(made("restart", r) || is_want(r), "restart", r);
    call(pool);
    must("terminate", mproc_pool_terminate(pool), 0);
    must("join", mproc_pool_join(pool, 1000 * LIFE_SECONDS), 0);
    mproc_pool_destroy(pool);
}

static int32_t seven(void *arg)
{
    (void)arg;
    return 7;
}

static _Noreturn int32_t wait_for_ever(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

/* A child that cannot be bound to its parent ends at once. */
void life_of_a_process(void)
{
    mproc_spawn_options options = {
        .size = sizeof options, .name = "seven", .daemon = 1, .new_group = 1, .stdin_null = 1};
    mproc_process *made_process;
    int32_t code = 0;
    int r;

    if (made("spawn", mproc_spawn(&made_process, seven, NULL, &options))) {
        r = mproc_join(made_process, -1, &code);
        life_check(r == 0 || r == MPROC_ELOST || is_want(r), "join", r);
        life_check(r || code == 7 || code == -SIGKILL, "exit code", code);
        mproc_process_free(made_process);
    }
    if (!made("spawn", mproc_spawn(&made_process, wait_for_ever, NULL, &options)))
        return;
    r = mproc_process_is_alive(made_process);
    life_check(r == 1 || r == 0, "is_alive", r);
    r = mproc_process_kill(made_process);
    life_check(r == 0 || r == -ESRCH || r == -EPERM, "kill", r);
    if (r) /* by a call that never fails here */
        sigqueue(mproc_process_pid(made_process), SIGKILL, (union sigval){0});
    r = mproc_join(made_process, -1, &code);
    life_check(r == 0 || r == MPROC_ELOST || is_want(r), "join", r);
    life_check(r || code == -SIGKILL, "exit code", code);
    mproc_process_free(made_process);
}

static int32_t print_and_square(const void *in, void *out, void *ctx)
{
    putchar('x');
    return square(in, out, ctx);
}

/* What a worker has printed is there at most once; whether at all, its death decides. */
void life_of_a_one_shot_map(void)
{
    enum { ITEMS = 5 };
    off_t length = lseek(life_prints_to, 0, SEEK_END);
    int standard = dup(STDOUT_FILENO);
    uint64_t out[ITEMS];

    life_check(mproc_cpu_count() >= 1, "cpu_count", 0);
    dup2(life_prints_to, STDOUT_FILENO);
    if (came_to(
            "one-shot map",
            mproc_map(print_and_square, NULL, NULL, 0, out, sizeof out[0], ITEMS, WORKERS, NULL),
            0))
        check_squares("result of a one-shot map", out, ITEMS);
    dup2(standard, STDOUT_FILENO);
    close(standard);
    length = lseek(life_prints_to, 0, SEEK_END) - length;
    life_check(length <= ITEMS && (length == ITEMS || strike_fired()), "bytes printed",
               (long)length);
}

/* The pipes of a host without standard streams are moved above their numbers. */
void life_without_standard_streams(void)
{
    mproc_pool *pool;
    int saved[3];

    for (int fd = 0; fd < 3; fd++)
        saved[fd] = dup(fd);
    report = saved[STDERR_FILENO];
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    if (make_pool(&pool)) {
        call(pool);
        mproc_pool_destroy(pool);
    }
    for (int fd = 0; fd < 3; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    report = STDERR_FILENO;
}
