/* SPDX-License-Identifier: MIT */
/* What happens when somebody dies: a task, an idle worker, each worker at its start, the host. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "pool/pool.h"

enum { WORKERS = 4, TRACKED = 4096 };

/* ---- helpers --------------------------------------------------------------------------------- */

/* What all the processes share with the test. */
struct stage {
    _Atomic int32_t starts; /* of workers */
    _Atomic int32_t begun;
    _Atomic int32_t gate; /* closed while 0 */
    _Atomic int32_t supervisor;
    _Atomic int32_t host;
    _Atomic int32_t sleeper;
    _Atomic int32_t workers[WORKERS]; /* the last pid of each */
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

/* Look until it is there; the test's limit bounds it.  Returns the value. */
static int32_t await(_Atomic int32_t *value, int32_t least)
{
    int32_t now;

    while ((now = atomic_load(value)) < least)
        poll(NULL, 0, 1);
    return now;
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_ms(void)
{
    return now_ns() / 1000000;
}

static int32_t note_start(int32_t worker, void *arg)
{
    (void)arg;
    atomic_store(&stage->supervisor, (int32_t)getppid());
    atomic_store(&stage->workers[worker], (int32_t)getpid());
    atomic_fetch_add(&stage->starts, 1);
    return 0;
}

static mproc_pool *make_pool(int32_t workers, const mproc_pool_options *options)
{
    mproc_pool_options noting = {.size = sizeof noting, .init = note_start};
    mproc_pool *pool = NULL;

    assert_int_equal(mproc_pool_create(&pool, workers, options ? options : &noting), 0);
    assert_non_null(pool);
    return pool;
}

static uint64_t answer(uint64_t question)
{
    return question * 0x9e3779b97f4a7c15U + 1;
}

static int32_t map_answer(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    (void)ctx;
    atomic_fetch_add(&stage->runs[index], 1);
    atomic_store(&stage->pids[index], (int32_t)getpid());
    *(uint64_t *)out = answer(index);
    return 0;
}

/* Every item is done, each once. */
static void assert_goes_on(mproc_pool *pool)
{
    enum { COUNT = 100 };
    uint64_t out[COUNT] = {0};

    memset(stage->runs, 0, sizeof stage->runs);
    assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, COUNT, NULL), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(out[i], answer(i));
        assert_int_equal(atomic_load(&stage->runs[i]), 1);
    }
}

static bool all_gone(const _Atomic int32_t *pids, size_t count, int64_t timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;

    for (size_t i = 0; i < count; i++) {
        pid_t pid = (pid_t)atomic_load(&pids[i]);
        int64_t left = end - now_ms();

        if (pid > 0 && !test_process_gone(pid, left > 0 ? left : 0))
            return false;
    }
    return true;
}

static void wait_for_kill(void)
{
    for (;;)
        pause();
}

/* ---- a task dies ----------------------------------------------------------------------------- */

struct fate {
    int signal; /* raised; 0: none */
    int status; /* with no signal: of the exit */
    int quick;  /* by _exit; no padding: valgrind would see it come back as an output */
};

static int32_t meet_fate(mproc_task *task, void *ctx)
{
    const struct fate *fate = ctx;

    (void)task;
    atomic_store(&stage->pids[0], (int32_t)getpid());
    atomic_fetch_add(&stage->runs[0], 1);
    if (fate->signal == SIGABRT)
        abort();
    if (fate->signal)
        raise(fate->signal);
    else if (fate->quick)
        _exit(fate->status);
    else
        exit(fate->status);
    return 0;
}

static void a_task_that_dies_is_reported_with_how_and_the_pool_goes_on(void **state)
{
    struct fate fates[] = {{SIGKILL, 0, 0}, {SIGSEGV, 0, 0}, {SIGABRT, 0, 0}, {SIGTERM, 0, 0},
                           {SIGBUS, 0, 0},  {0, 0, 0},       {0, 1, 0},       {0, 0, 1},
                           {0, 3, 1},       {0, 255, 1}};
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof fates[0]};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++) {
        mproc_failure failure = {.size = sizeof failure};
        mproc_future *future;

        memset(stage->runs, 0, sizeof stage->runs);
        assert_int_equal(mproc_pool_submit(pool, &future, meet_fate, &fates[i], NULL, 0, &options),
                         0);
        assert_int_equal(mproc_future_wait(future, -1), 0);
        assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_ECRASHED);
        assert_int_equal(mproc_future_failure(future, &failure), 0);
        assert_int_equal(failure.error, MPROC_ECRASHED);
        assert_int_equal(failure.signal, fates[i].signal);
        assert_int_equal(failure.code, fates[i].signal ? 0 : fates[i].status);
        assert_int_equal(failure.pid, atomic_load(&stage->pids[0]));
        assert_int_equal(failure.attempts, 1);
        assert_int_equal(atomic_load(&stage->runs[0]), 1);
        mproc_future_free(future);
        assert_goes_on(pool);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Leaves a process behind in its group, and dies. */
static int32_t leave_sleeper(mproc_task *task, void *ctx)
{
    const struct fate *fate = ctx;
    pid_t pid = fork();

    if (pid == 0)
        wait_for_kill();
    atomic_store(&stage->sleeper, (int32_t)pid);
    if (pid < 0)
        return 1;
    return fate ? meet_fate(task, ctx) : 0;
}

static void what_a_task_started_dies_with_it(void **state)
{
    struct fate fates[] = {{SIGKILL, 0, 0}, {SIGSEGV, 0, 0}, {0, 0, 0}, {0, 3, 1}};
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof fates[0]};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++) {
        assert_int_equal(
            mproc_pool_call(pool, leave_sleeper, &fates[i], NULL, 0, NULL, 0, NULL, &options),
            MPROC_ECRASHED);
        assert_true(atomic_load(&stage->sleeper) > 1);
        assert_true(test_process_gone((pid_t)atomic_load(&stage->sleeper), 1000 * test_slowness()));
    }
    assert_goes_on(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void what_a_task_left_running_ends_with_the_pool(void **state)
{
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_call(pool, leave_sleeper, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
    assert_false(test_process_gone((pid_t)atomic_load(&stage->sleeper), 0));
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    assert_true(test_process_gone((pid_t)atomic_load(&stage->sleeper), 1000 * test_slowness()));
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Nothing of the library's is open any more: not its tickets, not its bell. */
static int32_t close_everything(mproc_task *task, void *ctx)
{
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    *out = 77;
    return 0;
}

static void a_task_that_closes_all_descriptors_still_gives_its_result(void **state)
{
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    for (int round = 0; round < 3; round++) {
        uint64_t out = 0;

        assert_int_equal(
            mproc_pool_call(pool, close_everything, NULL, NULL, 0, &out, sizeof out, NULL, NULL),
            0);
        assert_int_equal(out, 77);
    }
    assert_goes_on(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

struct scribble {
    _Atomic uint64_t *ticket; /* in the worker's record */
    uint64_t value;
};

static int32_t scribble_and_die(mproc_task *task, void *ctx)
{
    const struct scribble *scribble = ctx;

    (void)task;
    atomic_store(scribble->ticket, scribble->value);
    raise(SIGKILL);
    return 0;
}

static void a_task_that_scribbles_over_its_ticket_and_dies_is_reported(void **state)
{
    static const uint64_t values[] = {0, UINT32_MAX, 1, UINT64_MAX};
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof(struct scribble)};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct scribble scribble = {&mp_region_worker(&pool->region, 0)->ticket, values[i]};
        mproc_future *future;

        assert_int_equal(
            mproc_pool_submit(pool, &future, scribble_and_die, &scribble, NULL, 0, &options), 0);
        assert_int_equal(mproc_future_wait(future, -1), 0);
        assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_ECRASHED);
        mproc_future_free(future);
        assert_goes_on(pool);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* What the host does to stop a task, but without a word to the supervisor. */
static int32_t stop_itself(mproc_task *task, void *word)
{
    (void)task;
    atomic_store(&stage->pids[0], (int32_t)getpid());
    mp_word_stop(word, atomic_load((chunk_word *)word));
    return 0;
}

static void note_exit(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    if (atomic_load(&stage->pids[0]) == (int32_t)getpid())
        atomic_fetch_add(&stage->begun, 1);
}

static void a_worker_whose_task_was_stopped_ends_without_its_exit_function(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .exit = note_exit};
    mproc_future *future;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, &options);
    assert_int_equal(mproc_pool_submit(pool, &future, stop_itself,
                                       &mp_region_job(&pool->region, 0)->word, NULL, 0, NULL),
                     0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), -ECANCELED);
    mproc_future_free(future);
    assert_true(atomic_load(&stage->pids[0]) > 0);
    assert_int_equal(atomic_load(&stage->begun), 0); /* it is dead, or there were no result */
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- an idle worker dies --------------------------------------------------------------------- */

static void a_worker_killed_while_idle_is_replaced(void **state)
{
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (int32_t round = 0; round < 10; round++) {
        await(&stage->starts, (round + 1) * WORKERS);
        for (size_t i = 0; i < WORKERS; i++)
            assert_int_equal(kill((pid_t)atomic_load(&stage->workers[i]), SIGKILL), 0);
        if (round % 2) /* else the tasks come while they die */
            await(&stage->starts, (round + 2) * WORKERS);
        assert_goes_on(pool);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void tasks_queued_while_every_worker_dies_are_run_once(void **state)
{
    enum { COUNT = 2000 };
    size_t count = test_under_valgrind() ? 200 : COUNT;
    uint64_t out[COUNT] = {0};
    int32_t statuses[COUNT];
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    mproc_pool *pool;
    int failed;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    await(&stage->starts, WORKERS);
    for (size_t i = 0; i < WORKERS; i++)
        kill((pid_t)atomic_load(&stage->workers[i]), SIGKILL);
    failed = mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, count, &options);
    assert_in_range(failed, 0, WORKERS); /* those that one of the dying had just begun */
    for (uint64_t i = 0; i < count; i++) {
        if (statuses[i])
            assert_int_equal(statuses[i], MPROC_ECRASHED);
        else
            assert_int_equal(out[i], answer(i));
        assert_true(atomic_load(&stage->runs[i]) <= 1);
    }
    assert_goes_on(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- a worker is too slow -------------------------------------------------------------------- */

static int32_t stop_some(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;

    map_answer(in, out, ctx);
    if (index % 10 == 3)
        raise(SIGSTOP);
    return 0;
}

static void a_stopped_task_is_killed_at_its_limit(void **state)
{
    enum { COUNT = 20 };
    uint64_t out[COUNT] = {0};
    int32_t statuses[COUNT];
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options,
                                 .time_limit_ms = 200 * test_slowness(),
                                 .statuses = statuses,
                                 .failure = &failure};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    assert_int_equal(mproc_pool_map(pool, stop_some, NULL, NULL, 0, out, 8, COUNT, &options), 2);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(statuses[i], i % 10 == 3 ? MPROC_ELIMIT : 0);
        if (i % 10 == 3)
            assert_true(test_process_gone((pid_t)atomic_load(&stage->pids[i]), 0));
        else
            assert_int_equal(out[i], answer(i));
    }
    assert_int_equal(failure.index, 3);
    assert_int_equal(failure.error, MPROC_ELIMIT);
    assert_int_equal(failure.pid, atomic_load(&stage->pids[3]));
    assert_goes_on(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Stopped before it could begin a task, it is no task's limit that ends it; but what it may hold
 * back, a task with a limit is not to wait for. */
static void a_worker_stopped_between_tasks_does_not_keep_a_task_waiting(void **state)
{
    mproc_map_options options = {.size = sizeof options,
                                 .time_limit_ms = 50 * test_slowness(),
                                 .timeout_ms = 5000 * test_slowness()};
    uint64_t out = 0;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    for (int32_t round = 0; round < 5; round++) {
        await(&stage->starts, round + 1);
        assert_int_equal(kill((pid_t)atomic_load(&stage->workers[0]), SIGSTOP), 0);
        assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, &out, 8, 1, &options), 0);
        assert_int_equal(out, answer(0));
        assert_int_equal(atomic_load(&stage->runs[0]), round + 1);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t hang_with_sleeper(mproc_task *task, void *ctx)
{
    int32_t r = leave_sleeper(task, NULL);

    (void)ctx;
    while (!r)
        pause();
    return r;
}

static void what_a_task_started_is_killed_at_its_limit(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .time_limit_ms = 100 * test_slowness()};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    assert_int_equal(
        mproc_pool_call(pool, hang_with_sleeper, NULL, NULL, 0, NULL, 0, NULL, &options),
        MPROC_ELIMIT);
    assert_true(test_process_gone((pid_t)atomic_load(&stage->sleeper), 1000 * test_slowness()));
    mproc_pool_destroy(pool);
    clear_stage();
}

/* A process may leave its group for another of its session: here, its supervisor's. */
static int32_t leave_group_and_hang(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    if (setpgid(0, getpgid(getppid())))
        return 1;
    atomic_store(&stage->pids[0], (int32_t)getpid());
    for (;;)
        pause();
    return 0;
}

/* What nobody killed is killed here, so that the test leaves nothing. */
static void assert_ends(mproc_future *future, int expected)
{
    int waited = mproc_future_wait(future, 5000 * test_slowness());
    pid_t pid = (pid_t)await(&stage->pids[0], 1);

    if (waited)
        kill(pid, SIGKILL);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(waited, 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), expected);
    assert_true(test_process_gone(pid, 1000 * test_slowness()));
    mproc_future_free(future);
    atomic_store(&stage->pids[0], 0);
}

static void a_task_that_left_its_group_is_killed_all_the_same(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .time_limit_ms = 100 * test_slowness()};
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    assert_int_equal(
        mproc_pool_submit(pool, &future, leave_group_and_hang, NULL, NULL, 0, &options), 0);
    assert_ends(future, MPROC_ELIMIT);
    assert_int_equal(mproc_pool_submit(pool, &future, leave_group_and_hang, NULL, NULL, 0, NULL),
                     0);
    await(&stage->pids[0], 1);
    assert_int_equal(mproc_future_cancel(future), 0);
    assert_ends(future, -ECANCELED);
    assert_int_equal(mproc_pool_submit(pool, &future, leave_group_and_hang, NULL, NULL, 0, NULL),
                     0);
    await(&stage->pids[0], 1);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_ends(future, -ECANCELED);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* The items take from a little less to a little more than their limit. */
enum { CLOSE_LIMIT_MS = 5 };

static int32_t take_about_the_limit(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;
    uint64_t mix = index;
    int64_t limit = *(const int64_t *)ctx * 1000000;
    int64_t end = now_ns() + limit * 3 / 4 + (int64_t)(test_random(&mix) % (uint64_t)(limit / 2));

    atomic_fetch_add(&stage->runs[index], 1);
    while (now_ns() < end)
        poll(NULL, 0, now_ns() + 2000000 < end ? 1 : 0);
    *(uint64_t *)out = answer(index);
    return 0;
}

static void a_limit_hits_no_innocents(void **state)
{
    enum { COUNT = 2000 };
    static uint64_t out[COUNT];
    static int32_t statuses[COUNT];
    size_t count = test_under_valgrind() ? 40 : COUNT;
    int64_t limit = CLOSE_LIMIT_MS * test_slowness();
    mproc_map_options options = {.size = sizeof options,
                                 .ctx_size = sizeof limit,
                                 .time_limit_ms = limit,
                                 .statuses = statuses};
    int limited = 0;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    memset(out, 0, sizeof out);
    assert_true(
        mproc_pool_map(pool, take_about_the_limit, &limit, NULL, 0, out, 8, count, &options) >= 0);
    for (uint64_t i = 0; i < count; i++) {
        if (statuses[i] == 0)
            assert_int_equal(out[i], answer(i));
        else
            assert_int_equal(statuses[i], MPROC_ELIMIT);
        limited += statuses[i] != 0;
        assert_true(atomic_load(&stage->runs[i]) <= 1);
        if (statuses[i] == 0)
            assert_int_equal(atomic_load(&stage->runs[i]), 1);
    }
    print_message("%d of %zu reached the limit\n", limited, count);
    assert_true(limited > 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    /* A worker was replaced for each of these, and none besides. */
    assert_true(atomic_load(&stage->starts) <= WORKERS + limited);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- workers retire -------------------------------------------------------------------------- */

static int count_pid(const _Atomic int32_t *pids, size_t count, int32_t pid)
{
    int found = 0;

    for (size_t i = 0; i < count; i++)
        found += atomic_load(&pids[i]) == pid;
    return found;
}

static void a_worker_is_replaced_after_its_number_of_items(void **state)
{
    enum { COUNT = 60 };
    const uint32_t numbers[] = {1, 3, 7};
    mproc_map_options map = {.size = sizeof map, .chunk_size = 1};

    (void)state;
    set_stage();
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
        mproc_pool_options options = {
            .size = sizeof options, .init = note_start, .tasks_per_worker = numbers[n]};
        uint64_t out[COUNT] = {0};
        mproc_pool *pool = make_pool(WORKERS, &options);

        memset(stage, 0, sizeof *stage);
        assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, COUNT, &map), 0);
        for (uint64_t i = 0; i < COUNT; i++) {
            assert_int_equal(out[i], answer(i));
            assert_int_equal(atomic_load(&stage->runs[i]), 1);
            assert_in_range(count_pid(stage->pids, COUNT, atomic_load(&stage->pids[i])), 1,
                            numbers[n]);
        }
        mproc_pool_destroy(pool);
    }
    clear_stage();
}

static int32_t tell_pid(mproc_task *task, void *ctx)
{
    int32_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    *out = (int32_t)getpid();
    return 0;
}

static void with_one_task_per_worker_each_has_a_process_of_its_own(void **state)
{
    enum { COUNT = 30 };
    mproc_pool_options options = {
        .size = sizeof options, .init = note_start, .tasks_per_worker = 1};
    mproc_future *futures[COUNT];
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, &options);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(mproc_pool_submit(pool, &futures[i], tell_pid, NULL, NULL, 0, NULL), 0);
    for (size_t i = 0; i < COUNT; i++) {
        const void *data;

        assert_int_equal(mproc_future_wait(futures[i], -1), 0);
        assert_int_equal(mproc_future_result(futures[i], &data, NULL), 0);
        assert_int_equal(count_pid(stage->pids, i, *(const int32_t *)data), 0);
        atomic_store(&stage->pids[i], *(const int32_t *)data);
        mproc_future_free(futures[i]);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    assert_in_range(atomic_load(&stage->starts), COUNT, COUNT + WORKERS);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int exit_gate[2];

static void exit_behind_gate(int32_t worker, void *arg)
{
    char byte;
    ssize_t n = read(exit_gate[0], &byte, 1);

    (void)worker;
    (void)arg;
    (void)n;
}

static void what_a_retiring_worker_has_done_is_told_before_its_exit_function_ends(void **state)
{
    static const char bytes[64];
    mproc_pool_options options = {.size = sizeof options,
                                  .init = note_start,
                                  .exit = exit_behind_gate,
                                  .tasks_per_worker = 1,
                                  .keep_descriptors = 1};
    mproc_future *futures[2];
    mproc_pool *pool;
    int waited;

    (void)state;
    set_stage();
    assert_int_equal(pipe(exit_gate), 0);
    pool = make_pool(2, &options);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(mproc_pool_submit(pool, &futures[i], tell_pid, NULL, NULL, 0, NULL), 0);
    waited = mproc_future_wait_all(futures, 2, 5000 * test_slowness());
    assert_int_equal(atomic_load(&stage->starts), 2); /* nobody has taken their places */
    assert_int_equal(write(exit_gate[1], bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(waited, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), 0);
        mproc_future_free(futures[i]);
    }
    await(&stage->starts, 4);
    mproc_pool_destroy(pool);
    close(exit_gate[0]);
    close(exit_gate[1]);
    clear_stage();
}

/* ---- workers that cannot start --------------------------------------------------------------- */

enum { INIT_KILLED = -SIGKILL, INIT_ABORTS = -SIGABRT, INIT_EXITS = 5, INIT_RETURNS = 3 };

static int32_t fail_to_start(int32_t worker, void *arg)
{
    (void)worker;
    atomic_fetch_add(&stage->starts, 1);
    switch (*(const int *)arg) {
    case INIT_KILLED:
        raise(SIGKILL);
        break;
    case INIT_ABORTS:
        abort();
    case INIT_EXITS:
        exit(INIT_EXITS);
    default:
        break;
    }
    return INIT_RETURNS;
}

static void assert_broken(mproc_pool *pool, const char *why, const char *how)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .failure = &failure};
    uint64_t out[5];
    int r = mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 5, &options);

    assert_int_equal(r, MPROC_EBROKEN);
    if (!why)
        return;
    if (!strstr(failure.text, why) || !strstr(failure.text, how))
        print_message("the text: %s\n", failure.text);
    assert_non_null(strstr(failure.text, why));
    assert_non_null(strstr(failure.text, how));
    assert_int_equal(failure.error, MPROC_EBROKEN);
}

static int32_t init_says_why(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return mproc_fail(3, "no licence");
}

static int32_t never_run(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    return 0;
}

static void what_init_says_of_its_failure_is_told(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = init_says_why};
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *future;
    mproc_pool *pool;

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 2, &options), 0);
    assert_int_equal(mproc_pool_submit(pool, &future, never_run, NULL, NULL, 0, NULL), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, MPROC_EBROKEN);
    assert_string_equal(failure.text,
                        "the init function failed in every worker: exit status 3: no licence");
    mproc_future_free(future);
    mproc_pool_destroy(pool);
}

static void an_init_that_always_fails_breaks_the_pool_and_says_why(void **state)
{
    const struct {
        int how;
        const char *text;
    } cases[] = {{INIT_KILLED, "signal 9"},
                 {INIT_ABORTS, "signal 6"},
                 {INIT_EXITS, "status 5"},
                 {INIT_RETURNS, "status 3"}};

    (void)state;
    set_stage();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int how = cases[i].how;
        mproc_pool_options options = {.size = sizeof options, .init = fail_to_start, .arg = &how};
        int64_t begin = now_ms();
        int32_t starts;
        mproc_pool *pool;

        memset(stage, 0, sizeof *stage);
        pool = make_pool(WORKERS, &options);
        assert_broken(pool, "init", cases[i].text);
        assert_in_range(now_ms() - begin, 0, 5000 * test_slowness());
        starts = atomic_load(&stage->starts);
        assert_in_range(starts, 1, 100); /* it did not spin */
        assert_broken(pool, NULL, NULL);
        assert_int_equal(atomic_load(&stage->starts), starts); /* and is over */
        mproc_pool_destroy(pool);
    }
    clear_stage();
}

static void a_task_submitted_to_a_pool_that_cannot_start_is_told_why(void **state)
{
    int how = INIT_RETURNS;
    mproc_pool_options options = {.size = sizeof options, .init = fail_to_start, .arg = &how};
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *future;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, &options);
    assert_int_equal(mproc_pool_submit(pool, &future, tell_pid, NULL, NULL, 0, NULL), 0);
    assert_int_equal(mproc_future_wait(future, 10000 * test_slowness()), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, MPROC_EBROKEN);
    assert_non_null(strstr(failure.text, "init"));
    mproc_future_free(future);
    assert_int_equal(mproc_pool_submit(pool, &future, tell_pid, NULL, NULL, 0, NULL),
                     MPROC_EBROKEN);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t fail_three_times(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return atomic_fetch_add(&stage->starts, 1) < 3;
}

static void an_init_that_fails_at_first_is_tried_again(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = fail_three_times};

    (void)state;
    set_stage();
    for (int32_t workers = 1; workers <= WORKERS; workers++) {
        mproc_pool *pool;

        memset(stage, 0, sizeof *stage);
        pool = make_pool(workers, &options);
        assert_goes_on(pool);
        await(&stage->starts, 3 + workers);
        assert_int_equal(atomic_load(&stage->starts), 3 + workers);
        mproc_pool_destroy(pool);
    }
    clear_stage();
}

/* Submits a task that dies, and waits until that is reported. */
static void let_a_worker_die(mproc_pool *pool)
{
    struct fate fate = {SIGKILL, 0, 0};
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof fate};
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *future;

    assert_int_equal(mproc_pool_submit(pool, &future, meet_fate, &fate, NULL, 0, &options), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_ECRASHED);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_string_equal(failure.text, "");
    mproc_future_free(future);
}

static int32_t fail_three_times_of_four(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return atomic_fetch_add(&stage->starts, 1) % 4 < 3;
}

static void only_starts_that_fail_in_a_row_are_counted(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = fail_three_times_of_four};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, &options);
    while (atomic_load(&stage->starts) < 40)
        let_a_worker_die(pool);
    assert_goes_on(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t fail_but_the_first_time(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return atomic_fetch_add(&stage->starts, 1) > 0;
}

static void a_replacement_that_never_starts_breaks_the_pool(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = fail_but_the_first_time};
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    set_stage();
    pool = make_pool(1, &options);
    let_a_worker_die(pool);
    if (mproc_pool_submit(pool, &future, tell_pid, NULL, NULL, 0, NULL) == 0) {
        assert_int_equal(mproc_future_wait(future, -1), 0);
        assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
        mproc_future_free(future);
    }
    assert_in_range(atomic_load(&stage->starts), 17, 18);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t fail_and_say(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    return mproc_fail(4, "of another task");
}

static void a_death_has_no_text_of_an_earlier_failure(void **state)
{
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_submit(pool, &future, fail_and_say, NULL, NULL, 0, NULL), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_ETASK);
    mproc_future_free(future);
    let_a_worker_die(pool); /* in the same slot */
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t first_worker_fails(int32_t worker, void *arg)
{
    (void)arg;
    if (worker)
        return 0;
    atomic_fetch_add(&stage->starts, 1);
    return 1;
}

static int32_t take_10_ms(const void *in, void *out, void *ctx)
{
    poll(NULL, 0, 10);
    return map_answer(in, out, ctx);
}

static void one_worker_that_cannot_start_does_not_harm_the_others(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = first_worker_fails};
    mproc_map_options map = {.size = sizeof map, .chunk_size = 1};
    uint64_t out[200];
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(3, &options);
    do { /* more starts than make a pool give up that has no worker */
        memset(out, 0, sizeof out);
        assert_int_equal(mproc_pool_map(pool, take_10_ms, NULL, NULL, 0, out, 8, 200, &map), 0);
        for (uint64_t i = 0; i < 200; i++)
            assert_int_equal(out[i], answer(i));
    } while (atomic_load(&stage->starts) < 20);
    /* Some seconds of work, and it was tried again and again but did not spin. */
    assert_in_range(atomic_load(&stage->starts), 20, 100);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t fail_after_the_first_two(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return atomic_fetch_add(&stage->starts, 1) < 2 ? 0 : 1;
}

static int32_t die_the_first_time(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    if (atomic_fetch_add(&stage->runs[0], 1) == 0)
        raise(SIGKILL);
    return 0;
}

/* A pool of two, with a task that killed one of them and was then run by the other. */
static mproc_pool *retry_with_one_worker_less(int32_t (*init)(int32_t worker, void *arg))
{
    mproc_pool_options options = {.size = sizeof options, .init = init};
    mproc_submit_options submit = {.size = sizeof submit, .retries = 1};
    mproc_pool *pool = make_pool(2, &options);

    await(&stage->starts, 2);
    assert_int_equal(
        mproc_pool_call(pool, die_the_first_time, NULL, NULL, 0, NULL, 0, NULL, &submit), 0);
    assert_int_equal(atomic_load(&stage->runs[0]), 2);
    return pool;
}

/* Its ticket is in the record of a worker that has no successor. */
static void a_retry_does_not_wait_for_a_worker_that_cannot_start(void **state)
{
    (void)state;
    set_stage();
    mproc_pool_destroy(retry_with_one_worker_less(fail_after_the_first_two));
    clear_stage();
}

static int32_t hang_after_the_first_two(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    if (atomic_fetch_add(&stage->starts, 1) >= 2)
        await(&stage->gate, 1);
    return 0;
}

/* The other worker is there for it. */
static void a_retry_does_not_wait_for_a_replacement_that_is_long_in_starting(void **state)
{
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = retry_with_one_worker_less(hang_after_the_first_two);
    await(&stage->starts, 3); /* there is a replacement, and it is held */
    atomic_store(&stage->gate, 1);
    mproc_pool_destroy(pool);
    clear_stage();
}

enum { MANY = 32 };

/* Nobody comes up before everybody has failed. */
static int32_t fail_once_each(int32_t worker, void *arg)
{
    (void)arg;
    if (atomic_fetch_add(&stage->runs[TRACKED - 1 - worker], 1) == 0) {
        atomic_fetch_add(&stage->starts, 1);
        return 1;
    }
    await(&stage->starts, MANY);
    return 0;
}

static void many_workers_that_each_fail_once_to_start_do_not_break_the_pool(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = fail_once_each};
    mproc_future *future = NULL;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(MANY, &options);
    assert_int_equal(mproc_pool_submit(pool, &future, tell_pid, NULL, NULL, 0, NULL), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), 0);
    mproc_future_free(future);
    for (size_t i = 0; i < MANY; i++)
        await(&stage->runs[TRACKED - 1 - i], 2);
    assert_goes_on(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* All, or those that can only be written to. */
static int32_t close_from_3_up(int32_t worker, void *all)
{
    (void)worker;
    atomic_fetch_add(&stage->starts, 1);
    for (int fd = 3; fd < 1024; fd++)
        if (all || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
            close(fd);
    return 0;
}

static void assert_does_not_spin(bool all)
{
    mproc_pool_options options = {.size = sizeof options, .init = close_from_3_up};
    mproc_future *future = NULL;
    mproc_pool *pool;
    int waited;

    options.arg = all ? &options : NULL;
    set_stage();
    pool = make_pool(2, &options);
    assert_int_equal(mproc_pool_submit(pool, &future, never_run, NULL, NULL, 0, NULL), 0);
    waited = mproc_future_wait(future, 10000 * test_slowness());
    assert_int_equal(waited, 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
    mproc_future_free(future);
    assert_in_range(atomic_load(&stage->starts), 2, 50);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void an_init_that_closes_all_descriptors_breaks_the_pool_and_does_not_spin(void **state)
{
    (void)state;
    assert_does_not_spin(true);
}

static void an_init_that_closes_the_bell_breaks_the_pool_before_a_task_is_run(void **state)
{
    (void)state;
    assert_does_not_spin(false);
}

/* ---- no processes to be had ------------------------------------------------------------------ */

/* A user of his own, who may have so many processes. */
static bool become_limited(rlim_t processes)
{
    struct rlimit limit = {processes, processes};
    uid_t user = 60000 + (uid_t)getpid() % 5000;

    return setgid((gid_t)user) == 0 && setuid(user) == 0 && setrlimit(RLIMIT_NPROC, &limit) == 0;
}

/* Can it be had here?  0: yes. */
static int try_limit(void *arg)
{
    pid_t pid;

    (void)arg;
    if (!become_limited(1))
        return 1;
    pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return pid >= 0;
}

static int create_without_processes(void *arg)
{
    mproc_pool *pool = NULL;

    (void)arg;
    if (!become_limited(1))
        return 1;
    if (mproc_pool_create(&pool, WORKERS, NULL) != -EAGAIN || pool)
        return 2;
    return 0;
}

static int create_with_a_supervisor_alone(void *arg)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .failure = &failure};
    mproc_pool *pool = NULL;
    uint64_t out[5];

    (void)arg;
    if (!become_limited(2))
        return 1;
    if (mproc_pool_create(&pool, WORKERS, NULL))
        return 2;
    if (mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 5, &options) != MPROC_EBROKEN)
        return 3;
    if (!strstr(failure.text, mproc_strerror(-EAGAIN)))
        return 4;
    mproc_pool_destroy(pool);
    return 0;
}

static int create_with_two_workers_of_four(void *arg)
{
    mproc_pool *pool = NULL;
    uint64_t out[500] = {0};

    (void)arg;
    if (!become_limited(4))
        return 1;
    if (mproc_pool_create(&pool, WORKERS, NULL))
        return 2;
    if (mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 500, NULL))
        return 3;
    for (uint64_t i = 0; i < 500; i++)
        if (out[i] != answer(i))
            return 4;
    mproc_pool_destroy(pool);
    return 0;
}

static void a_pool_lives_with_the_processes_it_can_get(void **state)
{
    (void)state;
    if (test_run_child(try_limit, NULL) != 0)
        skip();
    set_stage();
    assert_int_equal(test_run_child(create_without_processes, NULL), 0);
    assert_int_equal(test_run_child(create_with_a_supervisor_alone, NULL), 0);
    assert_int_equal(test_run_child(create_with_two_workers_of_four, NULL), 0);
    clear_stage();
}

/* ---- the supervisor dies --------------------------------------------------------------------- */

#ifdef __linux__

/* As setuid() does it: the kernel forgets that this process is to end with its parent. */
static int32_t outlive_supervisor(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    if (prctl(PR_SET_PDEATHSIG, 0))
        return 1;
    atomic_store(&stage->pids[0], (int32_t)getpid());
    for (;;)
        ;
    return 0;
}

static void a_worker_that_outlives_the_supervisor_keeps_nobody_waiting(void **state)
{
    mproc_future *future;
    mproc_pool *pool;
    int64_t begin;
    int waited;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_submit(pool, &future, outlive_supervisor, NULL, NULL, 0, NULL), 0);
    await(&stage->pids[0], 1);
    assert_int_equal(kill((pid_t)atomic_load(&stage->supervisor), SIGKILL), 0);
    begin = now_ms();
    waited = mproc_future_wait(future, 10000 * test_slowness());
    if (waited)
        kill((pid_t)atomic_load(&stage->pids[0]), SIGKILL);
    assert_int_equal(waited, 0);
    assert_in_range(now_ms() - begin, 0, 5000 * test_slowness());
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
    begin = now_ms();
    mproc_pool_destroy(pool);
    assert_in_range(now_ms() - begin, 0, 5000 * test_slowness());
    mproc_future_free(future);
    kill((pid_t)atomic_load(&stage->pids[0]), SIGKILL);
    assert_true(test_process_gone((pid_t)atomic_load(&stage->pids[0]), 1000 * test_slowness()));
    clear_stage();
}

#endif

/* ---- the host dies --------------------------------------------------------------------------- */

static int32_t hang_each_with_sleeper(const void *in, void *out, void *ctx)
{
    uint64_t index = *(const uint64_t *)in;
    pid_t pid;

    (void)out;
    (void)ctx;
    atomic_store(&stage->pids[2 * index], (int32_t)getpid());
    pid = fork();
    if (pid == 0)
        wait_for_kill();
    atomic_store(&stage->pids[2 * index + 1], (int32_t)pid);
    atomic_fetch_add(&stage->begun, 1);
    wait_for_kill();
    return 0;
}

static int32_t hang_in_a_pool_of_its_own(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)ctx;
    mproc_map(hang_each_with_sleeper, NULL, NULL, 0, out, 0, WORKERS, WORKERS, NULL);
    return 1;
}

/* A host in one of many situations; it never returns. */
static void run_host(mproc_map_fn fn, size_t count, size_t workers)
{
    mproc_pool_options options = {.size = sizeof options, .init = note_start};
    mproc_map_options map = {.size = sizeof map, .chunk_size = 1};
    mproc_pool *pool = NULL;

    if (mproc_pool_create(&pool, (int32_t)workers, &options) == 0)
        mproc_pool_map(pool, fn, NULL, NULL, 0, NULL, 0, count, &map);
}

static void host_in_a_map(void)
{
    run_host(hang_each_with_sleeper, WORKERS, WORKERS);
}

static void host_with_idle_workers(void)
{
    mproc_pool_options options = {.size = sizeof options, .init = note_start};
    mproc_pool *pool = NULL;

    if (mproc_pool_create(&pool, WORKERS, &options))
        return;
    await(&stage->starts, WORKERS);
    atomic_store(&stage->begun, WORKERS);
    wait_for_kill();
}

static void host_with_nested_pools(void)
{
    run_host(hang_in_a_pool_of_its_own, 1, 2);
}

static void *make_pool_and_end(void *arg)
{
    mproc_pool_options options = {.size = sizeof options, .init = note_start};

    mproc_pool_create(arg, WORKERS, &options);
    return NULL;
}

/* What follows the thread that forked would have killed the pool already. */
static void host_whose_creating_thread_has_ended(void)
{
    mproc_map_options map = {.size = sizeof map, .chunk_size = 1};
    mproc_pool *pool = NULL;
    pthread_t thread;

    if (pthread_create(&thread, NULL, make_pool_and_end, &pool))
        return;
    pthread_join(thread, NULL);
    mproc_pool_map(pool, hang_each_with_sleeper, NULL, NULL, 0, NULL, 0, WORKERS, &map);
}

/* Another child of the host has copies of all that the host had, and lives on. */
static void host_with_another_child(void)
{
    mproc_pool_options options = {.size = sizeof options, .init = note_start};
    mproc_map_options map = {.size = sizeof map, .chunk_size = 1};
    mproc_pool *pool = NULL;
    pid_t pid;

    if (mproc_pool_create(&pool, WORKERS, &options))
        return;
    pid = fork();
    if (pid == 0)
        wait_for_kill();
    atomic_store(&stage->host, (int32_t)pid); /* to be killed by the test */
    mproc_pool_map(pool, hang_each_with_sleeper, NULL, NULL, 0, NULL, 0, WORKERS, &map);
}

static void host_whose_workers_are_stopped(void)
{
    mproc_pool_options options = {.size = sizeof options, .init = note_start};
    mproc_pool *pool = NULL;

    if (mproc_pool_create(&pool, WORKERS, &options))
        return;
    await(&stage->starts, WORKERS);
    for (size_t i = 0; i < WORKERS; i++)
        kill((pid_t)atomic_load(&stage->workers[i]), SIGSTOP);
    atomic_store(&stage->begun, WORKERS);
    wait_for_kill();
}

static int host_signal;

static void assert_nothing_outlives_the_host(void (*host)(void))
{
    int64_t limit = 1000 * test_slowness();
    int status;
    pid_t pid;

    set_stage();
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        host();
        _exit(1);
    }
    await(&stage->begun, WORKERS);
    assert_int_equal(kill(pid, host_signal), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_true(all_gone(stage->workers, WORKERS, limit));
    assert_true(all_gone(stage->pids, (size_t)2 * WORKERS, limit));
    assert_true(all_gone(&stage->supervisor, 1, limit));
    if (atomic_load(&stage->host) > 1)
        assert_int_equal(kill((pid_t)atomic_load(&stage->host), SIGKILL), 0);
    clear_stage();
}

static void nothing_outlives_a_host_that_is_killed(void **state)
{
    (void)state;
    host_signal = SIGKILL;
    assert_nothing_outlives_the_host(host_in_a_map);
    assert_nothing_outlives_the_host(host_with_idle_workers);
    host_signal = SIGTERM;
    assert_nothing_outlives_the_host(host_in_a_map);
}

static void nothing_outlives_a_host_whose_creating_thread_has_ended(void **state)
{
    (void)state;
    host_signal = SIGKILL;
    assert_nothing_outlives_the_host(host_whose_creating_thread_has_ended);
}

static void nothing_outlives_a_host_that_left_another_child(void **state)
{
    (void)state;
    host_signal = SIGKILL;
    assert_nothing_outlives_the_host(host_with_another_child);
}

static void nothing_outlives_a_host_whose_workers_are_stopped(void **state)
{
    (void)state;
    host_signal = SIGKILL;
    assert_nothing_outlives_the_host(host_whose_workers_are_stopped);
}

static void nothing_outlives_a_host_with_pools_in_its_tasks(void **state)
{
    (void)state;
    host_signal = SIGKILL;
    assert_nothing_outlives_the_host(host_with_nested_pools);
}

/* ---- a worker with a pool of its own --------------------------------------------------------- */

static int32_t nest(mproc_task *task, void *ctx)
{
    (void)task;
    atomic_store(&stage->sleeper, (int32_t)getpid());
    return hang_in_a_pool_of_its_own(NULL, NULL, ctx);
}

static void the_pool_of_a_task_ends_with_the_task(void **state)
{
    mproc_future *future;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_submit(pool, &future, nest, NULL, NULL, 0, NULL), 0);
    await(&stage->begun, WORKERS);
    assert_int_equal(kill((pid_t)atomic_load(&stage->sleeper), SIGKILL), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_ECRASHED);
    assert_true(all_gone(stage->pids, (size_t)2 * WORKERS, 1000 * test_slowness()));
    mproc_future_free(future);
    assert_goes_on(pool);
    mproc_pool_destroy(pool);
    clear_stage();
}

static const struct CMUnitTest tests[] = {
    TEST(a_task_that_dies_is_reported_with_how_and_the_pool_goes_on),
    TEST(what_a_task_started_dies_with_it),
    TEST(what_a_task_left_running_ends_with_the_pool),
    TEST(a_task_that_closes_all_descriptors_still_gives_its_result),
    TEST(a_task_that_scribbles_over_its_ticket_and_dies_is_reported),
    TEST(a_worker_whose_task_was_stopped_ends_without_its_exit_function),
    TEST(a_worker_killed_while_idle_is_replaced),
    TEST(tasks_queued_while_every_worker_dies_are_run_once),
    TEST(a_stopped_task_is_killed_at_its_limit),
    TEST(a_worker_stopped_between_tasks_does_not_keep_a_task_waiting),
    TEST(what_a_task_started_is_killed_at_its_limit),
    TEST(a_task_that_left_its_group_is_killed_all_the_same),
    TEST(a_limit_hits_no_innocents),
    TEST(a_worker_is_replaced_after_its_number_of_items),
    TEST(with_one_task_per_worker_each_has_a_process_of_its_own),
    TEST(what_a_retiring_worker_has_done_is_told_before_its_exit_function_ends),
    TEST(what_init_says_of_its_failure_is_told),
    TEST(an_init_that_always_fails_breaks_the_pool_and_says_why),
    TEST(a_task_submitted_to_a_pool_that_cannot_start_is_told_why),
    TEST(an_init_that_fails_at_first_is_tried_again),
    TEST(only_starts_that_fail_in_a_row_are_counted),
    TEST(a_replacement_that_never_starts_breaks_the_pool),
    TEST(a_death_has_no_text_of_an_earlier_failure),
    TEST(one_worker_that_cannot_start_does_not_harm_the_others),
    TEST(a_retry_does_not_wait_for_a_worker_that_cannot_start),
    TEST(a_retry_does_not_wait_for_a_replacement_that_is_long_in_starting),
    TEST(many_workers_that_each_fail_once_to_start_do_not_break_the_pool),
    TEST(an_init_that_closes_all_descriptors_breaks_the_pool_and_does_not_spin),
    TEST(an_init_that_closes_the_bell_breaks_the_pool_before_a_task_is_run),
    TEST(a_pool_lives_with_the_processes_it_can_get),
#ifdef __linux__
    TEST(a_worker_that_outlives_the_supervisor_keeps_nobody_waiting),
#endif
    TEST(nothing_outlives_a_host_that_is_killed),
    TEST(nothing_outlives_a_host_whose_creating_thread_has_ended),
    TEST(nothing_outlives_a_host_that_left_another_child),
    TEST(nothing_outlives_a_host_whose_workers_are_stopped),
    TEST(nothing_outlives_a_host_with_pools_in_its_tasks),
    TEST(the_pool_of_a_task_ends_with_the_task),
};

int main(void)
{
    return TEST_MAIN(tests);
}
