/* SPDX-License-Identifier: MIT */
/* The life of a pool, and what its processes are like. */
#include "support.h"

#include <mproc/mproc.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

enum { WORKERS = 4, TRACKED = 64, UNTOUCHED = 12345 };

/* ---- helpers --------------------------------------------------------------------------------- */

/* What all the processes share with the test. */
struct stage {
    _Atomic int32_t begun;
    _Atomic int32_t runs;
    _Atomic int32_t gate; /* closed while 0 */
    _Atomic int32_t supervisor;
    _Atomic int32_t befores; /* fork hooks, and what they found wrong */
    _Atomic int32_t parents;
    _Atomic int32_t children;
    _Atomic int32_t wrong;
    _Atomic int32_t pids[TRACKED];
    _Atomic int32_t inits[TRACKED]; /* by worker */
    _Atomic int32_t exits[TRACKED];
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

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static mproc_pool *make_pool(int32_t workers, const mproc_pool_options *options)
{
    mproc_pool *pool = NULL;

    assert_int_equal(mproc_pool_create(&pool, workers, options), 0);
    assert_non_null(pool);
    return pool;
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

/* Called by children too: no asserts. */
static bool is_usable(mproc_pool *pool)
{
    uint64_t out[50] = {0};
    bool usable = mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 50, NULL) == 0;

    for (uint64_t i = 0; i < 50; i++)
        usable &= out[i] == answer(i);
    return usable;
}

/* Submit a task without input. */
static mproc_future *submit(mproc_pool *pool, mproc_task_fn fn, void *ctx)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 4096};
    mproc_future *future = NULL;

    assert_int_equal(mproc_pool_submit(pool, &future, fn, ctx, NULL, 0, &options), 0);
    return future;
}

static int result_of(mproc_future *future)
{
    assert_int_equal(mproc_future_wait(future, -1), 0);
    return mproc_future_result(future, NULL, NULL);
}

/* What a task of the pool answers: one number. */
static int64_t ask(mproc_pool *pool, mproc_task_fn fn, void *ctx)
{
    int64_t number = UNTOUCHED;
    size_t length = 0;

    assert_int_equal(mproc_pool_call(pool, fn, ctx, NULL, 0, &number, sizeof number, &length, NULL),
                     0);
    assert_int_equal(length, sizeof number);
    return number;
}

/* The same from within the task. */
static int32_t reply(mproc_task *task, int64_t number)
{
    int64_t *out = mproc_task_output(task, sizeof *out);

    if (!out)
        return 1;
    *out = number;
    return 0;
}

static int32_t tell_pid(mproc_task *task, void *ctx)
{
    (void)ctx;
    return reply(task, getpid());
}

static int32_t tell_supervisor(mproc_task *task, void *ctx)
{
    (void)ctx;
    return reply(task, getppid());
}

/* Says that it has begun, and goes on when the gate is open. */
static int32_t pass_gate(mproc_task *task, void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&stage->begun, 1);
    await(&stage->gate, 1);
    atomic_fetch_add(&stage->runs, 1);
    return reply(task, 7);
}

static int32_t count_run(mproc_task *task, void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&stage->runs, 1);
    return reply(task, 7);
}

static void wait_for_kill(void)
{
    for (;;)
        pause();
}

/* ---- create ---------------------------------------------------------------------------------- */

static void create_and_destroy_leave_nothing(void **state)
{
    (void)state;
    for (int32_t workers = 0; workers <= 5; workers++) {
        mproc_pool *pool = make_pool(workers, NULL);

        mproc_pool_destroy(pool); /* before anything has happened */
        pool = make_pool(workers, NULL);
        assert_true(is_usable(pool));
        mproc_pool_destroy(pool);
    }
    mproc_pool_destroy(NULL);
}

static void a_pool_has_as_many_workers_as_asked_for(void **state)
{
    mproc_pool *pool = make_pool(0, NULL);

    (void)state;
    assert_int_equal(mproc_pool_workers(pool), mproc_cpu_count());
    mproc_pool_destroy(pool);
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_workers(pool), 1);
    mproc_pool_destroy(pool);
    pool = make_pool(test_under_valgrind() ? 8 : 64, NULL);
    assert_int_equal(mproc_pool_workers(pool), test_under_valgrind() ? 8 : 64);
    assert_true(is_usable(pool));
    mproc_pool_destroy(pool);
    assert_int_equal(mproc_pool_workers(NULL), -EINVAL);
}

static int create_with(const void *options)
{
    mproc_pool *pool = NULL;
    int r = mproc_pool_create(&pool, 1, options);

    if (r)
        assert_null(pool);
    mproc_pool_destroy(pool);
    return r;
}

static void bad_arguments_are_refused(void **state)
{
    const int32_t numbers[] = {-1, 4097, INT32_MIN, INT32_MAX};
    struct {
        mproc_pool_options options;
        char tail[64];
    } later = {.options = {.size = sizeof later}};
    mproc_pool_options options = {.size = 0};
    mproc_pool *pool = NULL;

    (void)state;
    assert_int_equal(mproc_pool_create(NULL, 1, NULL), -EINVAL);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        assert_int_equal(mproc_pool_create(&pool, numbers[i], NULL), -EINVAL);
    assert_null(pool);
    assert_int_equal(create_with(&later), 0);
    later.tail[63] = 1;
    assert_int_equal(create_with(&later), -EINVAL);
    assert_int_equal(create_with(&options), -EINVAL);
    options.size = sizeof(size_t);
    options.retries = -5; /* beyond the size: not looked at */
    assert_int_equal(create_with(&options), 0);
    options.size = SIZE_MAX;
    assert_int_equal(create_with(&options), -EINVAL);
    options = (mproc_pool_options){.size = sizeof options, .retries = -1};
    assert_int_equal(create_with(&options), -EINVAL);
    options = (mproc_pool_options){.size = sizeof options, .retries = 255};
    assert_int_equal(create_with(&options), -EINVAL);
    options = (mproc_pool_options){.size = sizeof options, .time_limit_ms = -1};
    assert_int_equal(create_with(&options), -EINVAL);
    options = (mproc_pool_options){.size = sizeof options, .arena_size = UINT64_MAX};
    assert_true(create_with(&options) < 0);
    options = (mproc_pool_options){.size = sizeof options, .arena_size = (uint64_t)1 << 60};
    assert_true(create_with(&options) < 0);
    options = (mproc_pool_options){.size = sizeof options, .arena_size = 1};
    assert_int_equal(create_with(&options), 0);
    options = (mproc_pool_options){.size = sizeof options, .time_limit_ms = INT64_MAX};
    assert_int_equal(create_with(&options), 0);
    assert_int_equal(mproc_pool_close(NULL), -EINVAL);
    assert_int_equal(mproc_pool_join(NULL, 0), -EINVAL);
    assert_int_equal(mproc_pool_terminate(NULL), -EINVAL);
    assert_int_equal(mproc_pool_restart(NULL), -EINVAL);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void the_steps_of_the_end_may_be_taken_in_any_order(void **state)
{
    const char *const orders[] = {"",    "c",   "t",    "cj",   "tj",   "cc",   "tt",
                                  "ctj", "tcj", "cjj",  "tjj",  "cjcj", "cjtj", "tjcjt",
                                  "jcj", "jtj", "cjtc", "ccjj", "cttj", "tccjj"};
    const int64_t limit = 5000 * test_slowness();

    (void)state;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        mproc_pool *pool = make_pool(2, NULL);
        bool ended = false;

        if (i % 2)
            assert_true(is_usable(pool));
        for (const char *step = orders[i]; *step; step++) {
            if (*step == 'c')
                assert_int_equal(mproc_pool_close(pool), 0);
            if (*step == 't')
                assert_int_equal(mproc_pool_terminate(pool), 0);
            if (*step == 'j')
                assert_int_equal(mproc_pool_join(pool, limit), ended ? 0 : -EINVAL);
            else
                ended = true;
        }
        mproc_pool_destroy(pool);
    }
}

static void close_lets_what_is_queued_finish(void **state)
{
    enum { COUNT = 40 };
    mproc_future *futures[COUNT];
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    for (size_t i = 0; i < COUNT; i++)
        futures[i] = submit(pool, i < 2 ? pass_gate : count_run, NULL);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 0), -ETIMEDOUT);
    assert_int_equal(mproc_pool_join(pool, 20), -ETIMEDOUT);
    atomic_store(&stage->gate, 1);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    assert_int_equal(atomic_load(&stage->runs), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), 0);
        mproc_future_free(futures[i]);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

static void after_its_end_a_pool_takes_no_tasks(void **state)
{
    (void)state;
    for (int terminated = 0; terminated < 2; terminated++) {
        mproc_pool *pool = make_pool(2, NULL);
        mproc_future *future = NULL;
        mproc_results *results = NULL;
        uint64_t out[4];
        struct iovec input = {out, 0};

        assert_int_equal(terminated ? mproc_pool_terminate(pool) : mproc_pool_close(pool), 0);
        for (int joined = 0; joined < 2; joined++) {
            assert_int_equal(mproc_pool_submit(pool, &future, tell_pid, NULL, NULL, 0, NULL),
                             MPROC_ECLOSED);
            assert_int_equal(mproc_pool_call(pool, tell_pid, NULL, NULL, 0, out, 8, NULL, NULL),
                             MPROC_ECLOSED);
            assert_int_equal(mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 4, NULL),
                             MPROC_ECLOSED);
            assert_int_equal(mproc_pool_map_bytes(pool, tell_pid, NULL, &input, 1, &results, NULL),
                             MPROC_ECLOSED);
            assert_int_equal(mproc_pool_restart(pool), MPROC_ECLOSED);
            assert_int_equal(mproc_pool_join(pool, -1), 0);
        }
        assert_null(future);
        assert_null(results);
        mproc_pool_destroy(pool);
    }
}

/* Leaves a process in its group, and hangs. */
static int32_t hang_with_sleeper(mproc_task *task, void *ctx)
{
    int32_t at = atomic_fetch_add(&stage->runs, 1);
    pid_t pid = fork();

    (void)task;
    (void)ctx;
    if (pid == 0)
        wait_for_kill();
    atomic_store(&stage->pids[2 * at], (int32_t)getpid());
    atomic_store(&stage->pids[2 * at + 1], (int32_t)pid);
    atomic_fetch_add(&stage->begun, 1);
    wait_for_kill();
    return 0;
}

static void terminate_ends_all_at_once(void **state)
{
    enum { COUNT = 30 };
    mproc_future *futures[COUNT];
    int64_t begin;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < COUNT; i++)
        futures[i] = submit(pool, i < WORKERS ? hang_with_sleeper : count_run, NULL);
    await(&stage->begun, WORKERS);
    begin = now_ms();
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_future_wait_all(futures, COUNT, 1000 * test_slowness()), 0);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), -ECANCELED);
    assert_int_equal(mproc_pool_join(pool, 1000 * test_slowness()), 0);
    assert_in_range(now_ms() - begin, 0, 1000 * test_slowness());
    for (size_t i = 0; i < 2 * WORKERS; i++)
        assert_true(test_process_gone((pid_t)atomic_load(&stage->pids[i]), 1000 * test_slowness()));
    for (size_t i = 0; i < COUNT; i++)
        mproc_future_free(futures[i]);
    assert_int_equal(atomic_load(&stage->runs), WORKERS);
    mproc_pool_destroy(pool);
    clear_stage();
}

/* More tasks than the ticket queue has room for: what is not in it yet wakes nobody any more. */
static void terminate_ends_what_waits_for_room_in_the_queue(void **state)
{
    enum { TASKS = 9000 };
    static mproc_future *futures[TASKS];
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, pass_gate, NULL);
    await(&stage->begun, 1);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_future_wait_all(futures, TASKS, -1), 0);
    for (int i = 0; i < TASKS; i++) {
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), -ECANCELED);
        mproc_future_free(futures[i]);
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

static void results_from_before_the_terminate_stay(void **state)
{
    mproc_pool *pool;
    mproc_future *done, *open;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    done = submit(pool, count_run, NULL);
    open = submit(pool, pass_gate, NULL);
    await(&stage->begun, 1); /* the other has ended, but nobody has looked */
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(result_of(done), 0);
    assert_int_equal(result_of(open), -ECANCELED);
    mproc_future_free(done);
    mproc_future_free(open);
    mproc_pool_destroy(pool);
    clear_stage();
}

static int32_t hang_item(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    (void)ctx;
    atomic_fetch_add(&stage->begun, 1);
    wait_for_kill();
    return 0;
}

struct mapper {
    mproc_pool *pool;
    int result;
};

static void *map_for_ever(void *arg)
{
    struct mapper *mapper = arg;

    mapper->result = mproc_pool_map(mapper->pool, hang_item, NULL, NULL, 0, NULL, 0, 100, NULL);
    return NULL;
}

static void terminate_ends_the_maps_of_other_threads(void **state)
{
    struct mapper mapper[2];
    pthread_t threads[2];
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(WORKERS, NULL);
    for (size_t i = 0; i < 2; i++) {
        mapper[i] = (struct mapper){pool, UNTOUCHED};
        assert_int_equal(pthread_create(&threads[i], NULL, map_for_ever, &mapper[i]), 0);
    }
    await(&stage->begun, WORKERS);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(mapper[i].result == -ECANCELED || mapper[i].result == MPROC_ECLOSED);
    }
    assert_true(mapper[0].result == -ECANCELED || mapper[1].result == -ECANCELED);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_pool_whose_supervisor_does_not_answer_can_be_destroyed(void **state)
{
    int64_t begin;
    mproc_future *future;
    mproc_pool *pool;
    pid_t worker;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    assert_int_equal(kill((pid_t)ask(pool, tell_supervisor, NULL), SIGSTOP), 0);
    worker = (pid_t)ask(pool, tell_pid, NULL); /* who needs it only when somebody dies */
    future = submit(pool, hang_with_sleeper, NULL);
    await(&stage->begun, 1);
    begin = now_ms();
    mproc_pool_destroy(pool);
    assert_in_range(now_ms() - begin, 0, 4000 * test_slowness());
    assert_int_equal(mproc_future_result(future, NULL, NULL), -ECANCELED);
    mproc_future_free(future);
    assert_true(test_process_gone(worker, 1000 * test_slowness()));
    assert_true(test_process_gone((pid_t)atomic_load(&stage->pids[0]), 1000 * test_slowness()));
    /* What a task started is the supervisor's to kill. */
    kill((pid_t)atomic_load(&stage->pids[1]), SIGKILL);
    clear_stage();
}

/* ---- restart --------------------------------------------------------------------------------- */

static int64_t of_the_moment;

static int32_t tell_moment(mproc_task *task, void *ctx)
{
    (void)ctx;
    return reply(task, of_the_moment);
}

static void restart_gives_the_workers_the_memory_of_that_moment(void **state)
{
    mproc_pool *pool;
    int64_t before;
    void *memory;

    (void)state;
    of_the_moment = 1;
    pool = make_pool(1, NULL);
    assert_int_equal(mproc_pool_alloc(pool, 100, &memory), 0);
    memset(memory, 'm', 100);
    for (int64_t n = 2; n < 6; n++) {
        of_the_moment = n;
        assert_int_equal(ask(pool, tell_moment, NULL), n - 1);
        before = ask(pool, tell_pid, NULL);
        assert_int_equal(mproc_pool_restart(pool), 0);
        assert_true(test_process_gone((pid_t)before, 0));
        assert_int_not_equal(ask(pool, tell_pid, NULL), before);
        assert_int_equal(ask(pool, tell_moment, NULL), n);
        assert_int_equal(((const char *)memory)[99], 'm'); /* shared memory stays */
    }
    assert_true(is_usable(pool));
    mproc_pool_destroy(pool);
}

static void a_pool_with_open_tasks_is_not_restarted(void **state)
{
    mproc_pool *pool;
    mproc_future *future;

    (void)state;
    set_stage();
    pool = make_pool(1, NULL);
    future = submit(pool, pass_gate, NULL);
    await(&stage->begun, 1);
    assert_int_equal(mproc_pool_restart(pool), -EBUSY);
    atomic_store(&stage->gate, 1);
    assert_int_equal(result_of(future), 0);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), 0);
    mproc_future_free(future);
    assert_true(is_usable(pool));
    mproc_pool_destroy(pool);
    clear_stage();
}

/* The input of a task, which can be read when the gate is open: until then whoever copies it stands
 * still. */
enum { HELD_SIZE = 1 << 16 };
static void *held;

static void hold_reader(int signal)
{
    (void)signal;
    atomic_fetch_add(&stage->begun, 1);
    await(&stage->gate, 1);
    mprotect(held, HELD_SIZE, PROT_READ | PROT_WRITE);
}

struct submitting {
    pthread_t thread;
    mproc_pool *pool;
    mproc_future *future;
    int result;
};

static void *submit_in_thread(void *arg)
{
    struct submitting *self = arg;

    self->result =
        mproc_pool_submit(self->pool, &self->future, count_run, NULL, held, HELD_SIZE, NULL);
    return NULL;
}

/* `meanwhile` is called while the input is being copied.  What the submission returns. */
static int submit_and_hold(struct submitting *submitting, int (*meanwhile)(mproc_pool *pool),
                           int expected)
{
    struct sigaction action = {.sa_handler = hold_reader}, before[2];

    held = mmap(NULL, HELD_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(held != MAP_FAILED);
    assert_int_equal(sigaction(SIGSEGV, &action, &before[0]), 0);
    assert_int_equal(sigaction(SIGBUS, &action, &before[1]), 0);
    assert_int_equal(pthread_create(&submitting->thread, NULL, submit_in_thread, submitting), 0);
    await(&stage->begun, 1);
    assert_int_equal(meanwhile(submitting->pool), expected);
    atomic_store(&stage->gate, 1);
    assert_int_equal(pthread_join(submitting->thread, NULL), 0);
    assert_int_equal(sigaction(SIGSEGV, &before[0], NULL), 0);
    assert_int_equal(sigaction(SIGBUS, &before[1], NULL), 0);
    assert_int_equal(munmap(held, HELD_SIZE), 0);
    return submitting->result;
}

static void a_pool_is_not_restarted_while_a_task_is_handed_over(void **state)
{
    struct submitting submitting = {0};

    (void)state;
    if (test_under_valgrind())
        skip(); /* it takes note of what the handler is there for */
    set_stage();
    submitting.pool = make_pool(1, NULL);
    assert_int_equal(submit_and_hold(&submitting, mproc_pool_restart, -EBUSY), 0);
    assert_int_equal(result_of(submitting.future), 0);
    assert_int_equal(atomic_load(&stage->runs), 1);
    mproc_future_free(submitting.future);
    mproc_pool_destroy(submitting.pool);
    clear_stage();
}

static void a_pool_that_is_closed_while_a_task_is_handed_over_refuses_it_and_ends(void **state)
{
    struct submitting submitting = {0};

    (void)state;
    if (test_under_valgrind())
        skip(); /* as above */
    set_stage();
    submitting.pool = make_pool(1, NULL);
    assert_int_equal(submit_and_hold(&submitting, mproc_pool_close, 0), MPROC_ECLOSED);
    assert_int_equal(mproc_pool_join(submitting.pool, -1), 0);
    assert_int_equal(atomic_load(&stage->runs), 0);
    mproc_pool_destroy(submitting.pool);
    clear_stage();
}

static int32_t note_start(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    atomic_store(&stage->supervisor, (int32_t)getppid());
    atomic_store(&stage->pids[atomic_fetch_add(&stage->runs, 1) % TRACKED], (int32_t)getpid());
    return 0;
}

static void exit_behind_gate(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    atomic_fetch_add(&stage->begun, 1);
    await(&stage->gate, 1);
}

/* The first fork is that of create. */
static void hold_second_fork(void)
{
    if (atomic_fetch_add(&stage->befores, 1) == 0)
        return;
    atomic_fetch_add(&stage->begun, 1);
    await(&stage->gate, 1);
}

struct restarting {
    pthread_t thread;
    mproc_pool *pool;
    int result;
};

static void *restart_in_thread(void *arg)
{
    struct restarting *self = arg;

    self->result = mproc_pool_restart(self->pool);
    return NULL;
}

static void start_restart(struct restarting *restarting, mproc_pool *pool)
{
    *restarting = (struct restarting){.pool = pool, .result = UNTOUCHED};
    assert_int_equal(pthread_create(&restarting->thread, NULL, restart_in_thread, restarting), 0);
}

static int end_restart(struct restarting *restarting)
{
    assert_int_equal(pthread_join(restarting->thread, NULL), 0);
    return restarting->result;
}

/* End a pool whose restart has come so far that `begun` are at the gate. */
static void end_during_restart(const mproc_pool_options *options, int32_t begun,
                               int (*end)(mproc_pool *pool))
{
    struct restarting restarting;
    mproc_pool *pool;

    set_stage();
    pool = make_pool(2, options);
    await(&stage->runs, 2);
    start_restart(&restarting, pool);
    await(&stage->begun, begun);
    assert_int_equal(end(pool), 0);
    if (end == mproc_pool_close)
        assert_int_equal(mproc_pool_join(pool, 0), -ETIMEDOUT);
    atomic_store(&stage->gate, 1);
    assert_int_equal(mproc_pool_join(pool, 10000 * test_slowness()), 0);
    assert_int_equal(end_restart(&restarting), MPROC_ECLOSED);
    assert_int_equal(mproc_pool_join(pool, 0), 0);
    for (size_t i = 0; i < 2; i++)
        assert_true(test_process_gone((pid_t)atomic_load(&stage->pids[i]), 1000 * test_slowness()));
    assert_true(test_process_gone((pid_t)atomic_load(&stage->supervisor), 1000 * test_slowness()));
    assert_int_equal(
        mproc_pool_submit(pool, &(mproc_future *){NULL}, tell_pid, NULL, NULL, 0, NULL),
        MPROC_ECLOSED);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_restart_gives_way_to_a_close_or_terminate_while_the_old_workers_leave(void **state)
{
    mproc_pool_options options = {
        .size = sizeof options, .init = note_start, .exit = exit_behind_gate};

    (void)state;
    end_during_restart(&options, 2, mproc_pool_close);
    end_during_restart(&options, 2, mproc_pool_terminate);
}

static void a_restart_gives_way_to_a_close_or_terminate_while_it_forks(void **state)
{
    mproc_pool_options options = {
        .size = sizeof options, .init = note_start, .before_fork = hold_second_fork};

    (void)state;
    end_during_restart(&options, 1, mproc_pool_close);
    end_during_restart(&options, 1, mproc_pool_terminate);
}

static pthread_mutex_t lock_of_host = PTHREAD_MUTEX_INITIALIZER;

static void lock_before_fork(void)
{
    atomic_fetch_add(&stage->befores, 1);
    pthread_mutex_lock(&lock_of_host);
}

static void unlock_after_fork(void)
{
    pthread_mutex_unlock(&lock_of_host);
}

/* The lock of a language runtime is such a one. */
static void fork_hooks_may_take_a_lock_that_is_held_around_other_calls(void **state)
{
    mproc_pool_options options = {
        .size = sizeof options, .before_fork = lock_before_fork, .parent_fork = unlock_after_fork};
    struct restarting restarting;
    mproc_future *future = NULL;
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(1, &options);
    pthread_mutex_lock(&lock_of_host);
    start_restart(&restarting, pool);
    await(&stage->befores, 2);
    assert_int_equal(mproc_pool_submit(pool, &future, tell_pid, NULL, NULL, 0, NULL), -EBUSY);
    pthread_mutex_unlock(&lock_of_host);
    assert_int_equal(end_restart(&restarting), 0);
    assert_null(future);
    assert_true(is_usable(pool));
    mproc_pool_destroy(pool);
    clear_stage();
}

/* ---- the supervisor dies --------------------------------------------------------------------- */

static void open_tasks_of_a_killed_supervisor_end_and_restart_helps(void **state)
{
    enum { COUNT = 10 };
    mproc_future *futures[COUNT];
    mproc_failure failure = {.size = sizeof failure};
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(2, NULL);
    for (int round = 0; round < 3; round++) {
        pid_t supervisor = (pid_t)ask(pool, tell_supervisor, NULL);

        memset(stage, 0, sizeof *stage);
        for (size_t i = 0; i < COUNT; i++)
            futures[i] = submit(pool, pass_gate, NULL);
        await(&stage->begun, 2);
        assert_int_equal(kill(supervisor, SIGKILL), 0);
        assert_int_equal(mproc_future_wait_all(futures, COUNT, 1000 * test_slowness()), 0);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(mproc_future_result(futures[i], NULL, NULL), MPROC_EBROKEN);
            assert_int_equal(mproc_future_failure(futures[i], &failure), 0);
            assert_int_equal(failure.error, MPROC_EBROKEN);
            assert_non_null(strstr(failure.text, "supervisor"));
            mproc_future_free(futures[i]);
        }
        assert_int_equal(mproc_pool_submit(pool, &futures[0], tell_pid, NULL, NULL, 0, NULL),
                         MPROC_EBROKEN);
        assert_false(is_usable(pool));
        assert_int_equal(mproc_pool_restart(pool), 0);
        assert_true(is_usable(pool));
    }
    mproc_pool_destroy(pool);
    clear_stage();
}

/* Its workers follow their supervisor in a moment; one may still serve a task that comes before. */
static void assert_breaks(mproc_pool *pool, bool by_call)
{
    uint64_t out = 0;
    int r;

    do
        r = by_call ? mproc_pool_call(pool, tell_pid, NULL, NULL, 0, &out, sizeof out, NULL, NULL)
                    : mproc_pool_map(pool, map_answer, NULL, NULL, 0, &out, sizeof out, 1, NULL);
    while (r == 0);
    assert_int_equal(r, MPROC_EBROKEN);
}

static void an_idle_pool_without_supervisor_says_so_and_ends(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        mproc_pool *pool = make_pool(2, NULL);
        pid_t supervisor = (pid_t)ask(pool, tell_supervisor, NULL);

        assert_int_equal(kill(supervisor, SIGKILL), 0);
        assert_true(test_process_gone(supervisor, 1000 * test_slowness()));
        if (way < 2)
            assert_breaks(pool, way == 0);
        if (way == 2)
            assert_int_equal(mproc_pool_restart(pool), 0);
        if (way == 2)
            assert_true(is_usable(pool));
        if (way == 3)
            assert_int_equal(mproc_pool_close(pool), 0);
        if (way == 3)
            assert_int_equal(mproc_pool_join(pool, 1000 * test_slowness()), 0);
        mproc_pool_destroy(pool);
    }
}

/* ---- a foreign handle ------------------------------------------------------------------------ */

struct handles {
    mproc_pool *pool;
    mproc_future *future;
    void *memory;
};

/* Each call with a handle of another process; the number of the first that answers wrong, or 0. */
static int use_foreign(void *arg)
{
    struct handles *handles = arg;
    mproc_pool *pool = handles->pool;
    mproc_future *future = handles->future;
    mproc_future *made = NULL;
    mproc_results *results = NULL;
    mproc_failure failure = {.size = sizeof failure};
    void *memory = NULL;
    uint64_t out[4] = {0};
    struct iovec input = {out, 8};
    const int answers[] = {
        mproc_pool_workers(pool),
        mproc_pool_map(pool, map_answer, NULL, NULL, 0, out, 8, 4, NULL),
        mproc_pool_map(pool, map_answer, NULL, NULL, 0, NULL, 0, 0, NULL),
        mproc_pool_map_batch(pool, NULL, NULL, NULL, 0, out, 8, 4, NULL),
        mproc_pool_map_bytes(pool, tell_pid, NULL, &input, 1, &results, NULL),
        mproc_pool_submit(pool, &made, tell_pid, NULL, NULL, 0, NULL),
        mproc_pool_call(pool, tell_pid, NULL, NULL, 0, out, 8, NULL, NULL),
        mproc_pool_alloc(pool, 64, &memory),
        mproc_pool_dealloc(pool, handles->memory),
        mproc_pool_restart(pool),
        mproc_pool_close(pool),
        mproc_pool_terminate(pool),
        mproc_pool_join(pool, 0),
        mproc_future_wait(future, -1),
        mproc_future_wait_any(&future, 1, -1),
        mproc_future_wait_all(&future, 1, -1),
        mproc_future_is_done(future),
        mproc_future_result(future, NULL, NULL),
        mproc_future_failure(future, &failure),
        mproc_future_cancel(future),
    };

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (answers[i] != MPROC_EFOREIGN)
            return (int)i + 1;
    mproc_future_free(future);
    mproc_pool_destroy(pool);
    return made || results || memory || out[0] ? 100 : 0;
}

static void a_handle_is_foreign_in_a_forked_child_and_untouched_by_it(void **state)
{
    struct handles handles;

    (void)state;
    set_stage();
    handles.pool = make_pool(2, NULL);
    handles.future = submit(handles.pool, pass_gate, NULL);
    assert_int_equal(mproc_pool_alloc(handles.pool, 64, &handles.memory), 0);
    await(&stage->begun, 1);
    assert_int_equal(test_run_child(use_foreign, &handles), 0);
    assert_int_equal(mproc_future_is_done(handles.future), 0);
    assert_true(is_usable(handles.pool));
    atomic_store(&stage->gate, 1);
    assert_int_equal(result_of(handles.future), 0);
    assert_int_equal(test_run_child(use_foreign, &handles), 0);
    assert_int_equal(result_of(handles.future), 0);
    assert_int_equal(mproc_pool_dealloc(handles.pool, handles.memory), 0);
    mproc_future_free(handles.future);
    mproc_pool_destroy(handles.pool);
    clear_stage();
}

static int32_t use_own_pool(mproc_task *task, void *ctx)
{
    return reply(task, use_foreign(ctx));
}

static void a_worker_cannot_call_into_its_own_pool(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof(struct handles)};
    struct handles handles;
    int64_t found = UNTOUCHED;

    (void)state;
    set_stage();
    handles.pool = make_pool(2, NULL);
    /* A future that the workers have: made before the restart that makes them. */
    handles.future = submit(handles.pool, count_run, NULL);
    assert_int_equal(mproc_pool_alloc(handles.pool, 64, &handles.memory), 0);
    assert_int_equal(result_of(handles.future), 0);
    assert_int_equal(mproc_pool_restart(handles.pool), 0);
    assert_int_equal(mproc_pool_call(handles.pool, use_own_pool, &handles, NULL, 0, &found,
                                     sizeof found, NULL, &options),
                     0);
    assert_int_equal(found, 0);
    assert_true(is_usable(handles.pool));
    assert_int_equal(result_of(handles.future), 0);
    mproc_future_free(handles.future);
    mproc_pool_destroy(handles.pool);
    clear_stage();
}

/* Another child of the host holds none of the pool's ends. */
static void a_child_of_the_host_does_not_keep_the_pool_alive(void **state)
{
    int64_t begin;
    mproc_pool *pool = make_pool(2, NULL);
    int status;
    pid_t pid;

    (void)state;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        wait_for_kill();
    begin = now_ms();
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 10000 * test_slowness()), 0);
    mproc_pool_destroy(pool);
    assert_in_range(now_ms() - begin, 0, 800 * test_slowness());
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* ---- shared memory --------------------------------------------------------------------------- */

static int32_t answer_in_memory(mproc_task *task, void *ctx)
{
    char *memory = ctx;

    if (strcmp(memory, "question") != 0)
        return 1;
    strcpy(memory, "answer");
    return reply(task, (int64_t)(intptr_t)memory);
}

static void memory_of_the_pool_is_shared_both_ways(void **state)
{
    mproc_pool *pool = make_pool(2, NULL);

    (void)state;
    for (size_t size = 16; size < 3000000; size = size * 3 + 1) {
        void *memory = NULL;

        assert_int_equal(mproc_pool_alloc(pool, size, &memory), 0);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 64, 0);
        memset(memory, 'x', size);
        strcpy(memory, "question");
        assert_int_equal(ask(pool, answer_in_memory, memory), (intptr_t)memory);
        assert_string_equal((const char *)memory, "answer");
        assert_int_equal(((const char *)memory)[size - 1], 'x');
        assert_int_equal(mproc_pool_dealloc(pool, memory), 0);
    }
    mproc_pool_destroy(pool);
}

static void only_what_was_allocated_can_be_given_back_and_once(void **state)
{
    char here[128];
    void *elsewhere = malloc(128);
    mproc_pool *pool = make_pool(1, NULL);
    mproc_pool *other = make_pool(1, NULL);
    void *one, *two, *others;

    (void)state;
    assert_int_equal(mproc_pool_alloc(pool, 256, &one), 0);
    assert_int_equal(mproc_pool_alloc(pool, 256, &two), 0);
    assert_int_equal(mproc_pool_alloc(other, 256, &others), 0);
    assert_int_equal(mproc_pool_dealloc(pool, NULL), 0);
    assert_int_equal(mproc_pool_dealloc(pool, here), -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, elsewhere), -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, others), -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, (char *)one + 64), -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, (char *)one + 1), -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, (void *)(intptr_t)-1), -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, one), 0);
    assert_int_equal(mproc_pool_dealloc(pool, one), -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, two), 0);
    assert_int_equal(mproc_pool_dealloc(NULL, NULL), -EINVAL);
    assert_int_equal(mproc_pool_alloc(pool, 8, NULL), -EINVAL);
    assert_int_equal(mproc_pool_alloc(NULL, 8, &one), -EINVAL);
    mproc_pool_destroy(pool);
    mproc_pool_destroy(other); /* with memory that was never given back */
    free(elsewhere);
}

static void the_arena_can_be_used_up_and_freed_again_and_again(void **state)
{
    enum { SIZE = 32 << 10, MOST = 64 };
    mproc_pool_options options = {.size = sizeof options, .arena_size = 1 << 20};
    mproc_pool *pool = make_pool(2, &options);
    void *blocks[MOST], *memory = &options;
    size_t before = 0;

    (void)state;
    assert_int_equal(mproc_pool_alloc(pool, SIZE_MAX, &memory), -ENOMEM);
    assert_int_equal(mproc_pool_alloc(pool, (2 << 20) + 1, &memory), -ENOMEM);
    assert_ptr_equal(memory, &options);
    for (int round = 0; round < 5; round++) {
        size_t count = 0;

        while (count < MOST && mproc_pool_alloc(pool, SIZE, &blocks[count]) == 0) {
            memset(blocks[count], (int)count, SIZE);
            count++;
        }
        assert_in_range(count, (1 << 20) / SIZE - 1, MOST - 1);
        assert_int_equal(mproc_pool_alloc(pool, SIZE, &memory), -ENOMEM);
        if (round)
            assert_int_equal(count, before);
        before = count;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < SIZE; k += 4093)
                assert_int_equal(((const char *)blocks[i])[k], (char)i);
        for (size_t i = 0; i < count; i += 2) /* with holes between them for a while */
            assert_int_equal(mproc_pool_dealloc(pool, blocks[i]), 0);
        for (size_t i = 1; i < count; i += 2)
            assert_int_equal(mproc_pool_dealloc(pool, blocks[i]), 0);
    }
    assert_true(is_usable(pool));
    mproc_pool_destroy(pool);
}

/* ---- a host of its own kind ------------------------------------------------------------------ */

static void live_through_everything(void)
{
    mproc_pool *pool = make_pool(WORKERS, NULL);
    pid_t supervisor;

    assert_true(is_usable(pool));
    assert_int_equal(kill((pid_t)ask(pool, tell_pid, NULL), SIGKILL), 0);
    assert_true(is_usable(pool) || is_usable(pool));
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_true(is_usable(pool));
    supervisor = (pid_t)ask(pool, tell_supervisor, NULL);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    while (!test_process_gone(supervisor, 10))
        ;
    assert_breaks(pool, false);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_true(is_usable(pool));
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    mproc_pool_destroy(pool);
    pool = make_pool(2, NULL);
    mproc_pool_destroy(pool);
}

static void a_host_may_ignore_its_children(void **state)
{
    struct sigaction before;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction no_zombies = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};

    (void)state;
    assert_int_equal(sigaction(SIGCHLD, &ignore, &before), 0);
    live_through_everything();
    assert_int_equal(sigaction(SIGCHLD, &no_zombies, NULL), 0);
    live_through_everything();
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
}

static _Atomic int32_t stop_reaping;

/* Takes each child that ends, whosever it is. */
static void *reap_all(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_reaping))
        if (waitpid(-1, NULL, WNOHANG) <= 0)
            poll(NULL, 0, 1);
    return NULL;
}

static void *reap_and_block(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_reaping))
        if (waitpid(-1, NULL, 0) < 0)
            poll(NULL, 0, 1);
    return NULL;
}

static void a_host_may_reap_all_its_children(void **state)
{
    void *(*const reapers[])(void *) = {reap_all, reap_and_block};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        pthread_t thread;

        atomic_store(&stop_reaping, 0);
        assert_int_equal(pthread_create(&thread, NULL, reapers[i], NULL), 0);
        live_through_everything();
        atomic_store(&stop_reaping, 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

/* 0 to 2 are the standard streams', whoever has closed them. */
static int live_without_standard_streams(void *arg)
{
    mproc_pool *pool = NULL;
    int r = 0;

    (void)arg;
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    if (mproc_pool_create(&pool, 2, NULL))
        return 1;
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            r = 2;
    if (!is_usable(pool))
        r = 3;
    if (mproc_pool_restart(pool) || !is_usable(pool))
        r = 4;
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            r = 5;
    mproc_pool_destroy(pool);
    return r;
}

static void a_host_may_have_closed_its_standard_streams(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(live_without_standard_streams, NULL), 0);
}

static void *make_and_use(void *arg)
{
    int *wrong = arg;

    for (int round = 0; round < 10 / (test_slowness() > 2 ? 5 : 1); round++) {
        mproc_pool *pool = NULL;

        if (mproc_pool_create(&pool, 2, NULL)) {
            *wrong += 1;
            continue;
        }
        *wrong += !is_usable(pool);
        *wrong += mproc_pool_restart(pool) != 0;
        *wrong += !is_usable(pool);
        mproc_pool_destroy(pool);
    }
    return NULL;
}

static void threads_may_each_have_pools_of_their_own(void **state)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    int wrong[THREADS] = {0};

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_and_use, &wrong[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
}

/* Less than the arena would be. */
static int create_under_file_limit(void *arg)
{
    struct rlimit limit = {(rlim_t)1 << 30, (rlim_t)1 << 30};
    mproc_pool *pool = NULL;
    int r;

    (void)arg;
    if (setrlimit(RLIMIT_FSIZE, &limit))
        return 1;
    r = mproc_pool_create(&pool, 1, NULL);
    if (r)
        return r < 0 && !pool ? 0 : 2;
    r = is_usable(pool) ? 0 : 3;
    mproc_pool_destroy(pool);
    return r;
}

static void a_limit_on_the_size_of_files_is_no_signal(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(create_under_file_limit, NULL), 0);
}

/* ---- what a worker is like ------------------------------------------------------------------- */

static int32_t tell_descriptor(mproc_task *task, void *ctx)
{
    return reply(task, fcntl(*(const int *)ctx, F_GETFD) >= 0);
}

static int64_t has_descriptor(mproc_pool *pool, int fd)
{
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof fd};
    int64_t has = UNTOUCHED;

    assert_int_equal(
        mproc_pool_call(pool, tell_descriptor, &fd, NULL, 0, &has, sizeof has, NULL, &options), 0);
    return has;
}

/* As libuv does: the descriptors that it knows by number are renewed in the child of any fork. */
static int renewed[4][2];
static bool renewing;

static void renew_in_child(void)
{
    for (size_t i = 0; renewing && i < 4; i++) {
        close(renewed[i][0]);
        close(renewed[i][1]);
        if (pipe(renewed[i]) || write(renewed[i][1], "*", 1) != 1)
            abort();
    }
}

static int32_t abort_on_two(const void *in, void *out, void *ctx)
{
    (void)ctx;
    if (*(const int64_t *)in == 2)
        abort();
    *(int64_t *)out = *(const int64_t *)in;
    return 0;
}

static int32_t count_start(int32_t worker, void *starts)
{
    (void)worker;
    atomic_fetch_add((atomic_int *)starts, 1);
    return 0;
}

static void a_host_may_renew_its_descriptors_in_each_fork(void **state)
{
    atomic_int *starts = test_share(sizeof *starts);
    mproc_pool_options options = {.size = sizeof options, .init = count_start, .arg = starts};
    int64_t in[] = {1, 2, 3}, out[3];
    mproc_pool *pool;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pipe(renewed[i]), 0);
    assert_int_equal(pthread_atfork(NULL, NULL, renew_in_child), 0);
    renewing = true;
    assert_int_equal(mproc_pool_create(&pool, 2, &options), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(mproc_pool_map(pool, abort_on_two, NULL, in, 8, out, 8, 3, NULL),
                         MPROC_ECRASHED);
        assert_int_equal(mproc_pool_map(pool, abort_on_two, NULL, in, 8, out, 8, 1, NULL), 0);
    }
    mproc_pool_destroy(pool);
    renewing = false;
    assert_in_range(atomic_load(starts), 20, 22); /* the first two, and one for each that died */
    for (size_t i = 0; i < 4; i++) {
        close(renewed[i][0]);
        close(renewed[i][1]);
    }
    test_unshare(starts, sizeof *starts);
}

static void inherited_descriptors_are_closed_in_workers_unless_kept(void **state)
{
    mproc_pool_options keep = {.size = sizeof keep, .keep_descriptors = 1};
    mproc_pool *pool;
    int ends[2], high;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    high = fcntl(ends[0], F_DUPFD, 300);
    assert_true(high >= 300);
    for (int kept = 0; kept < 2; kept++) {
        pool = make_pool(1, kept ? &keep : NULL);
        assert_int_equal(has_descriptor(pool, high), kept);
        if (kept) {
            assert_int_equal(has_descriptor(pool, ends[0]), 1);
            assert_int_equal(has_descriptor(pool, ends[1]), 1);
        }
        for (int fd = 0; fd <= 2; fd++)
            assert_int_equal(has_descriptor(pool, fd), 1);
        mproc_pool_destroy(pool);
    }
    close(high);
    close(ends[0]);
    close(ends[1]);
}

/* With nobody left in the host, the pipe of the workers' has an end: nobody else held it. */
static void no_process_of_a_pool_keeps_the_descriptors_of_its_host(void **state)
{
    mproc_pool *pool;
    int ends[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pool = make_pool(2, NULL);
    assert_true(is_usable(pool));
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    mproc_pool_destroy(pool);
}

static int32_t tell_stdin(mproc_task *task, void *ctx)
{
    struct stat in, null;
    char byte;

    (void)ctx;
    return reply(task, fstat(0, &in) == 0 && stat("/dev/null", &null) == 0 &&
                           in.st_rdev == null.st_rdev && S_ISCHR(in.st_mode) &&
                           read(0, &byte, 1) == 0);
}

static void the_standard_input_of_a_worker_is_empty(void **state)
{
    mproc_pool_options keep = {.size = sizeof keep, .keep_descriptors = 1};

    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        mproc_pool *pool = make_pool(1, kept ? &keep : NULL);

        assert_int_equal(ask(pool, tell_stdin, NULL), 1);
        mproc_pool_destroy(pool);
    }
}

static int32_t tell_nice(mproc_task *task, void *ctx)
{
    (void)ctx;
    return reply(task, getpriority(PRIO_PROCESS, 0));
}

static void workers_can_be_nicer_than_their_host(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .nice = 3};
    int own = getpriority(PRIO_PROCESS, 0);
    mproc_pool *pool = make_pool(2, &options);

    (void)state;
    assert_int_equal(ask(pool, tell_nice, NULL), own + 3 < 19 ? own + 3 : 19);
    mproc_pool_destroy(pool);
    pool = make_pool(2, NULL);
    assert_int_equal(ask(pool, tell_nice, NULL), own);
    mproc_pool_destroy(pool);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
}

static void read_name(pid_t pid, char name[32])
{
    char path[64];
    FILE *file;

    name[0] = '\0';
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
    file = fopen(path, "re");
    if (!file)
        return;
    if (!fgets(name, 32, file))
        name[0] = '\0';
    fclose(file);
    name[strcspn(name, "\n")] = '\0';
}

/* Not everywhere has a process a name of its own. */
static int try_name(void *arg)
{
    char name[32];

    (void)arg;
    mp_set_name("probe");
    read_name(getpid(), name);
    return strcmp(name, "probe") != 0;
}

static int32_t tell_worker(mproc_task *task, void *ctx)
{
    (void)ctx;
    return reply(task, (int64_t)getpid() << 16 | mproc_task_worker(task));
}

static void processes_have_telling_names(void **state)
{
    char name[32], expected[32];
    mproc_pool *pool;

    (void)state;
    if (test_run_child(try_name, NULL) != 0)
        skip();
    pool = make_pool(12, NULL);
    for (int i = 0; i < 20; i++) {
        int64_t told = ask(pool, tell_worker, NULL);

        snprintf(expected, sizeof expected, "mproc:w%d", (int)(told & 0xffff));
        read_name((pid_t)(told >> 16), name);
        assert_string_equal(name, expected);
    }
    read_name((pid_t)ask(pool, tell_supervisor, NULL), name);
    assert_string_equal(name, "mproc:super");
    mproc_pool_destroy(pool);
}

static void on_signal(int signal)
{
    (void)signal;
}

static int32_t tell_signals(mproc_task *task, void *ctx)
{
    const int usual[] = {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGPIPE, SIGHUP};
    struct sigaction action;
    sigset_t mask;
    int64_t changed = 0;

    (void)ctx;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        sigaction(usual[i], NULL, &action);
        changed += action.sa_handler != SIG_DFL;
        changed += sigismember(&mask, usual[i]) != 0;
    }
    return reply(task, changed);
}

static void workers_have_no_handler_and_no_blocked_signal_of_their_host(void **state)
{
    struct sigaction handle = {.sa_handler = on_signal}, before_usr1, before_pipe;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t blocked, before;
    mproc_pool *pool;

    (void)state;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGCHLD);
    assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
    assert_int_equal(sigaction(SIGUSR1, &handle, &before_usr1), 0);
    assert_int_equal(sigaction(SIGPIPE, &ignore, &before_pipe), 0);
    pool = make_pool(2, NULL);
    assert_int_equal(ask(pool, tell_signals, NULL), 0);
    /* It lives with a blocked SIGCHLD, too. */
    assert_int_equal(kill((pid_t)ask(pool, tell_pid, NULL), SIGKILL), 0);
    assert_true(is_usable(pool) || is_usable(pool));
    mproc_pool_destroy(pool);
    assert_int_equal(sigaction(SIGPIPE, &before_pipe, NULL), 0);
    assert_int_equal(sigaction(SIGUSR1, &before_usr1, NULL), 0);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

static int32_t tell_group(mproc_task *task, void *ctx)
{
    (void)ctx;
    return reply(task, getpgrp() == getpid());
}

static void a_worker_leads_a_group_of_its_own(void **state)
{
    mproc_pool *pool = make_pool(2, NULL);
    pid_t supervisor = (pid_t)ask(pool, tell_supervisor, NULL);

    (void)state;
    assert_int_equal(ask(pool, tell_group, NULL), 1);
    assert_int_not_equal(getpgid(supervisor), getpgrp()); /* a Ctrl-C is for the host alone */
    mproc_pool_destroy(pool);
}

/* ---- functions of the user ------------------------------------------------------------------- */

static pid_t hooked_host;

static void before_fork(void)
{
    stage->wrong += getpid() != hooked_host || stage->befores != stage->parents;
    atomic_fetch_add(&stage->befores, 1);
}

static void parent_fork(void)
{
    stage->wrong += getpid() != hooked_host;
    atomic_fetch_add(&stage->parents, 1);
    stage->wrong += stage->befores != stage->parents;
}

static _Thread_local int hooked; /* in a worker: its own hook has run */

static void child_fork(void)
{
    stage->wrong += getpid() == hooked_host || hooked != 0;
    hooked = 1;
    atomic_fetch_add(&stage->children, 1);
}

static int32_t init_worker(int32_t worker, void *arg)
{
    stage->wrong += hooked != 1 || arg != (void *)&hooked_host;
    if (worker < 0 || worker >= TRACKED)
        return 1;
    atomic_fetch_add(&stage->inits[worker], 1);
    hooked = 2;
    return 0;
}

static void exit_worker(int32_t worker, void *arg)
{
    stage->wrong += hooked != 2 || arg != (void *)&hooked_host;
    atomic_fetch_add(&stage->exits[worker], 1);
}

static int32_t check_init(mproc_task *task, void *ctx)
{
    (void)ctx;
    return reply(task, hooked);
}

static mproc_pool_options hooked_options(void)
{
    hooked_host = getpid();
    return (mproc_pool_options){.size = sizeof(mproc_pool_options),
                                .init = init_worker,
                                .exit = exit_worker,
                                .arg = &hooked_host,
                                .before_fork = before_fork,
                                .parent_fork = parent_fork,
                                .child_fork = child_fork};
}

static void hooks_run_once_in_the_host_and_once_in_each_worker(void **state)
{
    mproc_pool_options options = hooked_options();
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(3, &options);
    assert_int_equal(atomic_load(&stage->befores), 1);
    assert_int_equal(atomic_load(&stage->parents), 1);
    assert_int_equal(ask(pool, check_init, NULL), 2);
    await(&stage->children, 3);
    assert_int_equal(kill((pid_t)ask(pool, tell_pid, NULL), SIGKILL), 0);
    await(&stage->children, 4); /* its replacement */
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(atomic_load(&stage->befores), 2);
    assert_int_equal(atomic_load(&stage->parents), 2);
    await(&stage->children, 7);
    assert_true(is_usable(pool));
    mproc_pool_destroy(pool);
    assert_int_equal(atomic_load(&stage->befores), 2);
    assert_int_equal(atomic_load(&stage->children), 7);
    assert_int_equal(atomic_load(&stage->wrong), 0);
    clear_stage();
}

static void init_and_exit_run_once_in_each_worker(void **state)
{
    mproc_pool_options options = hooked_options();
    mproc_pool *pool;

    (void)state;
    set_stage();
    pool = make_pool(5, &options);
    assert_true(is_usable(pool));
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    for (size_t i = 0; i < TRACKED; i++) {
        assert_int_equal(atomic_load(&stage->inits[i]), i < 5);
        assert_int_equal(atomic_load(&stage->exits[i]), i < 5);
    }
    assert_int_equal(atomic_load(&stage->wrong), 0);
    mproc_pool_destroy(pool);
    clear_stage();
}

static void a_worker_that_retires_runs_its_exit_and_one_that_is_killed_does_not(void **state)
{
    mproc_pool_options options = hooked_options();
    mproc_pool *pool;

    (void)state;
    set_stage();
    options.tasks_per_worker = 2;
    pool = make_pool(1, &options);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(pool, check_init, NULL), 2);
    await(&stage->inits[0], 6);
    assert_int_equal(atomic_load(&stage->exits[0]), 5);
    assert_int_equal(kill((pid_t)ask(pool, tell_pid, NULL), SIGKILL), 0);
    await(&stage->inits[0], 7);
    assert_int_equal(atomic_load(&stage->exits[0]), 5);
    mproc_pool_destroy(pool);
    assert_int_equal(atomic_load(&stage->wrong), 0);
    clear_stage();
}

/* ---- output ---------------------------------------------------------------------------------- */

enum { LINES = 40 };

static int32_t print_line(const void *in, void *out, void *ctx)
{
    (void)out;
    (void)ctx;
    printf("item %d.\n", (int)*(const uint64_t *)in);
    return 0;
}

static int32_t print_and_exit(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    printf("from one who exits.\n");
    exit(0);
}

/* With its standard output a pipe, whose other end the test reads. */
static int print_from_everywhere(void *arg)
{
    static char buffer[BUFSIZ]; /* whatever buffer the stream had */
    mproc_pool_options options = {.size = sizeof options, .tasks_per_worker = 7};
    mproc_pool *pool = NULL;
    int r = 0;

    if (dup2(*(const int *)arg, 1) < 0 || setvbuf(stdout, buffer, _IOFBF, sizeof buffer))
        return 1;
    printf("from the host.\n"); /* it lies in the buffer when the pool is made */
    if (mproc_pool_create(&pool, 3, &options))
        return 2;
    printf("from the host again.\n");
    if (mproc_pool_map(pool, print_line, NULL, NULL, 0, NULL, 0, LINES, NULL))
        r = 3;
    if (mproc_pool_call(pool, print_and_exit, NULL, NULL, 0, NULL, 0, NULL, NULL) != MPROC_ECRASHED)
        r = 4;
    mproc_pool_close(pool);
    if (mproc_pool_join(pool, 20000))
        r = 5;
    mproc_pool_destroy(pool);
    fflush(stdout);
    return r;
}

static int count_text(const char *where, const char *what)
{
    int count = 0;

    while ((where = strstr(where, what)) != NULL) {
        where += strlen(what);
        count++;
    }
    return count;
}

static void what_tasks_print_is_neither_lost_nor_doubled(void **state)
{
    static char text[16384];
    char line[64];
    size_t length = 0;
    ssize_t n;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(test_run_child(print_from_everywhere, &ends[1]), 0);
    close(ends[1]);
    while ((n = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)n;
    text[length] = '\0';
    close(ends[0]);
    assert_int_equal(count_text(text, "from the host.\n"), 1);
    assert_int_equal(count_text(text, "from the host again.\n"), 1);
    assert_int_equal(count_text(text, "from one who exits.\n"), 1);
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "item %d.\n", i);
        assert_int_equal(count_text(text, line), 1);
    }
    assert_int_equal(count_text(text, "\n"), LINES + 3);
}

/* ---- pools in pools -------------------------------------------------------------------------- */

static int32_t use_inner_pool(const void *in, void *out, void *ctx)
{
    mproc_pool *pool = NULL;
    uint64_t index = *(const uint64_t *)in;
    uint64_t inner[20] = {0};
    int r = mproc_pool_create(&pool, 2, NULL);

    (void)ctx;
    if (!r)
        r = mproc_pool_map(pool, map_answer, NULL, NULL, 0, inner, 8, 20, NULL);
    mproc_pool_destroy(pool);
    if (!r)
        r = mproc_map(map_answer, NULL, NULL, 0, inner, 8, 20, 2, NULL);
    *(uint64_t *)out = inner[index];
    return r;
}

static void a_task_may_have_a_pool_of_its_own(void **state)
{
    uint64_t out[12] = {0};
    mproc_map_options options = {.size = sizeof options, .chunk_size = 1};
    mproc_pool *pool = make_pool(3, NULL);

    (void)state;
    assert_int_equal(mproc_pool_map(pool, use_inner_pool, NULL, NULL, 0, out, 8, 12, &options), 0);
    for (uint64_t i = 0; i < 12; i++)
        assert_int_equal(out[i], answer(i));
    mproc_pool_destroy(pool);
}

/* ---- functions that came later --------------------------------------------------------------- */

#ifdef MPROC_TEST_PLUGIN

static int32_t own_square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(int64_t *)out = *(const int64_t *)in * *(const int64_t *)in;
    return 0;
}

static mproc_map_fn load_square(void **plugin)
{
    mproc_map_fn square = NULL;

    *plugin = dlopen(MPROC_TEST_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(*plugin);
    *(void **)&square = dlsym(*plugin, "mproc_test_plugin_square");
    assert_non_null(*(void **)&square);
    return square;
}

/* The variant that knows nothing of the loaded objects refuses none, and its maps are one. */
static void need_code_map(void)
{
    struct code_map *one = NULL, *two = NULL;
    bool same;

    assert_int_equal(mp_code_map_create(&one), 0);
    assert_int_equal(mp_code_map_create(&two), 0);
    same = one == two;
    mp_code_map_free(one);
    mp_code_map_free(two);
    if (same)
        skip();
}

static void a_function_loaded_later_is_refused_until_a_restart(void **state)
{
    int64_t in[10], out[10] = {0};
    int32_t statuses[10];
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    mproc_map_fn square;
    mproc_pool *pool;
    void *plugin;

    (void)state;
    need_code_map();
    for (int64_t i = 0; i < 10; i++)
        in[i] = i;
    pool = make_pool(2, NULL);
    square = load_square(&plugin);
    assert_int_equal(mproc_pool_map(pool, square, NULL, in, 8, out, 8, 10, NULL), MPROC_EFUNC);
    assert_int_equal(mproc_pool_map(pool, square, NULL, in, 8, out, 8, 10, &options), MPROC_EFUNC);
    assert_int_equal(out[3], 0);
    assert_int_equal(mproc_pool_map(pool, own_square, NULL, in, 8, out, 8, 10, NULL), 0);
    assert_int_equal(out[3], 9);
    memset(out, 0, sizeof out);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(mproc_pool_map(pool, square, NULL, in, 8, out, 8, 10, NULL), 0);
    for (int64_t i = 0; i < 10; i++)
        assert_int_equal(out[i], i * i);
    mproc_pool_destroy(pool);
    /* The one-shot map forks at the call: there is no later. */
    memset(out, 0, sizeof out);
    assert_int_equal(mproc_map(square, NULL, in, 8, out, 8, 10, 2, NULL), 0);
    assert_int_equal(out[9], 81);
    assert_int_equal(dlclose(plugin), 0);
}

#endif

static const struct CMUnitTest tests[] = {
    TEST(create_and_destroy_leave_nothing),
    TEST(a_pool_has_as_many_workers_as_asked_for),
    TEST(bad_arguments_are_refused),
    TEST(the_steps_of_the_end_may_be_taken_in_any_order),
    TEST(close_lets_what_is_queued_finish),
    TEST(after_its_end_a_pool_takes_no_tasks),
    TEST(terminate_ends_all_at_once),
    TEST(terminate_ends_what_waits_for_room_in_the_queue),
    TEST(results_from_before_the_terminate_stay),
    TEST(terminate_ends_the_maps_of_other_threads),
    TEST(a_pool_whose_supervisor_does_not_answer_can_be_destroyed),
    TEST(restart_gives_the_workers_the_memory_of_that_moment),
    TEST(a_pool_with_open_tasks_is_not_restarted),
    TEST(a_pool_is_not_restarted_while_a_task_is_handed_over),
    TEST(a_pool_that_is_closed_while_a_task_is_handed_over_refuses_it_and_ends),
    TEST(a_restart_gives_way_to_a_close_or_terminate_while_the_old_workers_leave),
    TEST(a_restart_gives_way_to_a_close_or_terminate_while_it_forks),
    TEST(fork_hooks_may_take_a_lock_that_is_held_around_other_calls),
    TEST(open_tasks_of_a_killed_supervisor_end_and_restart_helps),
    TEST(an_idle_pool_without_supervisor_says_so_and_ends),
    TEST(a_handle_is_foreign_in_a_forked_child_and_untouched_by_it),
    TEST(a_worker_cannot_call_into_its_own_pool),
    TEST(a_child_of_the_host_does_not_keep_the_pool_alive),
    TEST(memory_of_the_pool_is_shared_both_ways),
    TEST(only_what_was_allocated_can_be_given_back_and_once),
    TEST(the_arena_can_be_used_up_and_freed_again_and_again),
    TEST(a_host_may_ignore_its_children),
    TEST(a_host_may_reap_all_its_children),
    TEST(a_host_may_have_closed_its_standard_streams),
    TEST(threads_may_each_have_pools_of_their_own),
    TEST(a_limit_on_the_size_of_files_is_no_signal),
    TEST(a_host_may_renew_its_descriptors_in_each_fork),
    TEST(inherited_descriptors_are_closed_in_workers_unless_kept),
    TEST(no_process_of_a_pool_keeps_the_descriptors_of_its_host),
    TEST(the_standard_input_of_a_worker_is_empty),
    TEST(workers_can_be_nicer_than_their_host),
    TEST(processes_have_telling_names),
    TEST(workers_have_no_handler_and_no_blocked_signal_of_their_host),
    TEST(a_worker_leads_a_group_of_its_own),
    TEST(hooks_run_once_in_the_host_and_once_in_each_worker),
    TEST(init_and_exit_run_once_in_each_worker),
    TEST(a_worker_that_retires_runs_its_exit_and_one_that_is_killed_does_not),
    TEST(what_tasks_print_is_neither_lost_nor_doubled),
    TEST(a_task_may_have_a_pool_of_its_own),
#ifdef MPROC_TEST_PLUGIN
    TEST(a_function_loaded_later_is_refused_until_a_restart),
#endif
};

int main(void)
{
    return TEST_MAIN(tests);
}
