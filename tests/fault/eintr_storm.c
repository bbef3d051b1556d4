/* SPDX-License-Identifier: MIT */
/*
 * The host is interrupted ten thousand times a second, by a timer whose handler has no SA_RESTART.
 * No call may fail for it, and no limit or timeout may come early, or later than 5 ms.
 *
 * How late the machine itself is, where it is busy, is told by a witness, a process that sleeps for a
 * millisecond again and again, and by the kernel, which counts how long the host and the supervisor
 * were ready to run and did not.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

enum { WORKERS = 2, IN_FLIGHT = 500, TICK_US = 100, NS_PER_MS = 1000000, LATE_MS = 5, TO_KILL = 4 };

/* ---- the storm ------------------------------------------------------------------------------- */

static volatile sig_atomic_t ticks;
static struct sigaction action_before;
static unsigned limit_before; /* SIGALRM is that of the test's time limit, too */

static void on_tick(int signal)
{
    (void)signal;
    ticks = ticks + 1;
}

static void begin_storm(void)
{
    const struct sigaction action = {.sa_handler = on_tick};
    const struct itimerval timer = {{0, TICK_US}, {0, TICK_US}};

    ticks = 0;
    limit_before = alarm(0);
    assert_int_equal(sigaction(SIGALRM, &action, &action_before), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void end_storm(void)
{
    const struct itimerval none = {{0, 0}, {0, 0}};

    assert_int_equal(setitimer(ITIMER_REAL, &none, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &action_before, NULL), 0);
    alarm(limit_before);
    print_message("%ld interruptions\n", (long)ticks);
    assert_true(ticks > 100);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in * *(const uint64_t *)in;
    return 0;
}

static int32_t square_task(mproc_task *task, void *ctx)
{
    return square(mproc_task_input(task, NULL), mproc_task_output(task, sizeof(uint64_t)), ctx);
}

static void take_in(mproc_future *future, uint64_t index)
{
    const void *data;

    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, &data, NULL), 0);
    assert_int_equal(*(const uint64_t *)data, index * index);
    mproc_future_free(future);
}

static void submit_all(mproc_pool *pool, uint64_t tasks)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 64};
    mproc_future *futures[IN_FLIGHT];

    for (uint64_t i = 0; i < tasks + IN_FLIGHT; i++) {
        if (i >= IN_FLIGHT)
            take_in(futures[i % IN_FLIGHT], i - IN_FLIGHT);
        if (i < tasks)
            assert_int_equal(mproc_pool_submit(pool, &futures[i % IN_FLIGHT], square_task, NULL, &i,
                                               sizeof i, &options),
                             0);
    }
}

static void map_once(mproc_pool *pool)
{
    uint64_t out[1000];

    assert_int_equal(mproc_pool_map(pool, square, NULL, NULL, 0, out, 8, 1000, NULL), 0);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(out[i], i * i);
}

static int32_t return_seven(void *arg)
{
    (void)arg;
    return 7;
}

static void no_call_fails_for_being_interrupted(void **state)
{
    const uint64_t rounds = test_count(5, 100);

    (void)state;
    begin_storm();
    for (uint64_t round = 0; round < rounds; round++) {
        mproc_process *process;
        mproc_pool *pool;
        int32_t code = 0;

        assert_int_equal(mproc_pool_create(&pool, WORKERS, NULL), 0);
        submit_all(pool, 10000);
        map_once(pool);
        assert_int_equal(mproc_pool_restart(pool), 0);
        map_once(pool);
        assert_int_equal(mproc_pool_close(pool), 0);
        assert_int_equal(mproc_pool_join(pool, -1), 0);
        mproc_pool_destroy(pool);
        assert_int_equal(mproc_spawn(&process, return_seven, NULL, NULL), 0);
        assert_int_equal(mproc_join(process, -1, &code), 0);
        assert_int_equal(code, 7);
        mproc_process_free(process);
    }
    end_storm();
}

/* ---- time ------------------------------------------------------------------------------------ */

struct watch {
    _Atomic int stop;
    _Atomic int64_t latest; /* the most that the witness was late, ns */
    _Atomic int64_t due;    /* when it is to wake */
    _Atomic int32_t supervisor;
    _Atomic int64_t begun; /* of the task that is watched */
};

static struct watch *watch;
static pid_t witness;

static void begin_watch(void)
{
    pid_t host = getpid();

    watch = test_share(sizeof *watch);
    witness = fork();
    assert_true(witness >= 0);
    if (witness)
        return;
    while (!atomic_load(&watch->stop) && getppid() == host) {
        const struct timespec pause = {0, NS_PER_MS};
        int64_t late;

        atomic_store(&watch->due, mp_now() + NS_PER_MS);
        nanosleep(&pause, NULL);
        late = mp_now() - atomic_load(&watch->due);
        if (late > atomic_load(&watch->latest))
            atomic_store(&watch->latest, late);
    }
    _exit(0);
}

static void end_watch(void)
{
    int status;
    pid_t pid;

    atomic_store(&watch->stop, 1);
    do
        pid = waitpid(witness, &status, 0);
    while (pid < 0 && errno == EINTR);
    assert_int_equal(pid, witness);
    assert_int_equal(status, 0);
    test_unshare(watch, sizeof *watch);
}

/* How long the host and the supervisor were ready and did not run, in all, where that is told. */
static int64_t ready_ns(void)
{
    const pid_t pids[] = {getpid(), (pid_t)atomic_load(&watch->supervisor)};
    int64_t sum = 0;

    for (int i = 0; i < 2; i++) {
        char path[64];
        long long ready = 0;
        FILE *file;

        snprintf(path, sizeof path, "/proc/%ld/schedstat", (long)pids[i]);
        file = fopen(path, "r");
        if (file && fscanf(file, "%*s %lld", &ready) == 1)
            sum += ready;
        if (file)
            fclose(file);
    }
    return sum;
}

static int64_t ready_before;

static void begin_measure(void)
{
    atomic_store(&watch->latest, 0);
    ready_before = ready_ns();
}

/* It took `ms` from `latest_begin` at most, and from `earliest_begin` at least.  A busy machine may
 * be late with each process that has to wake for it: the host for a timeout; for a kill the
 * supervisor at the deadline, the worker that dies, the supervisor again, and the host. */
static void assert_on_time(int64_t earliest_begin, int64_t latest_begin, int64_t ms, int wakes)
{
    int64_t now = mp_now();
    int64_t late = now - atomic_load(&watch->due), waited = ready_ns() - ready_before;

    if (late < atomic_load(&watch->latest))
        late = atomic_load(&watch->latest);
    late = wakes * late + waited;
    assert_true(now - earliest_begin >= ms * NS_PER_MS);
    if (now - latest_begin > (ms + LATE_MS) * NS_PER_MS)
        print_message("%lld us for %lld ms, and the machine was late by %lld us\n",
                      (long long)(now - latest_begin) / 1000, (long long)ms,
                      (long long)late / 1000);
    assert_true(now - latest_begin <= (ms + (int64_t)LATE_MS * test_slowness()) * NS_PER_MS + late);
    begin_measure();
}

static int32_t tell_supervisor(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_store(&watch->supervisor, (int32_t)getppid());
    return 0;
}

static int32_t hang(mproc_task *task, void *ctx)
{
    (void)ctx;
    atomic_store(&watch->begun, mp_now());
    while (task) /* for ever */
        pause();
    return 0;
}

static int32_t hang_item(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    return hang(ctx, NULL);
}

static int32_t sleep_long(void *arg)
{
    while (arg) /* for ever */
        pause();
    return 0;
}

static void time_waits(mproc_future *future, mproc_process *process, int64_t ms)
{
    int64_t begin;

    begin_measure();
    begin = mp_now();
    assert_int_equal(mproc_future_wait(future, ms), -ETIMEDOUT);
    assert_on_time(begin, begin, ms, 1);
    begin = mp_now();
    assert_int_equal(mproc_future_wait_any(&future, 1, ms), -ETIMEDOUT);
    assert_on_time(begin, begin, ms, 1);
    begin = mp_now();
    assert_int_equal(mproc_future_wait_all(&future, 1, ms), -ETIMEDOUT);
    assert_on_time(begin, begin, ms, 1);
    begin = mp_now();
    assert_int_equal(mproc_join(process, ms, NULL), -ETIMEDOUT);
    assert_on_time(begin, begin, ms, 1);
}

static void timeouts_are_right_to_5_ms_while_the_host_is_interrupted(void **state)
{
    const int64_t times[] = {0, 1, 7, 20, 50};
    uint64_t rounds = test_count(3, 100);
    mproc_spawn_options spawn = {.size = sizeof spawn, .daemon = 1}; /* should the test fail */
    mproc_process *process;
    mproc_future *future;
    mproc_pool *pool;

    (void)state;
    begin_watch();
    assert_int_equal(mproc_pool_create(&pool, WORKERS, NULL), 0);
    assert_int_equal(mproc_spawn(&process, sleep_long, watch, &spawn), 0);
    assert_int_equal(mproc_pool_call(pool, tell_supervisor, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
    assert_int_equal(mproc_pool_submit(pool, &future, hang, NULL, NULL, 0, NULL), 0);
    begin_storm();
    for (uint64_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            mproc_map_options options = {.size = sizeof options, .timeout_ms = times[i]};
            int64_t begin;

            begin_measure();
            begin = mp_now();
            if (times[i]) { /* 0: none */
                assert_int_equal(
                    mproc_pool_map(pool, hang_item, watch, NULL, 0, NULL, 0, 1, &options),
                    -ETIMEDOUT);
                assert_on_time(begin, begin, times[i], 1 + TO_KILL);
            }
            time_waits(future, process, times[i]);
        }
    assert_int_equal(mproc_process_kill(process), 0);
    assert_int_equal(mproc_join(process, -1, NULL), 0);
    mproc_process_free(process);
    mproc_pool_destroy(pool);
    mproc_future_free(future);
    end_storm();
    end_watch();
}

static void time_limits_are_right_to_5_ms_while_the_host_is_interrupted(void **state)
{
    const int64_t times[] = {1, 7, 20, 50};
    uint64_t rounds = test_count(3, 100);
    mproc_pool *pool;

    (void)state;
    begin_watch();
    assert_int_equal(mproc_pool_create(&pool, WORKERS, NULL), 0);
    assert_int_equal(mproc_pool_call(pool, tell_supervisor, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
    begin_storm();
    for (uint64_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            mproc_submit_options options = {.size = sizeof options, .time_limit_ms = times[i]};
            int64_t begin;

            begin_measure();
            begin = mp_now();
            atomic_store(&watch->begun, 0);
            assert_int_equal(mproc_pool_call(pool, hang, NULL, NULL, 0, NULL, 0, NULL, &options),
                             MPROC_ELIMIT);
            if (atomic_load(&watch->begun)) /* else it had no time to say so */
                assert_on_time(begin, atomic_load(&watch->begun), times[i], TO_KILL);
        }
    mproc_pool_destroy(pool);
    end_storm();
    end_watch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_call_fails_for_being_interrupted),
        TEST(timeouts_are_right_to_5_ms_while_the_host_is_interrupted),
        TEST(time_limits_are_right_to_5_ms_while_the_host_is_interrupted),
    };

    return TEST_MAIN(tests);
}
