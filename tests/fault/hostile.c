/* SPDX-License-Identifier: MIT */
/*
 * Hostile workers: tasks that write garbage, random and plausible, over every byte of shared memory
 * and into every pipe that they hold, that signal each other and the supervisor, and that leave
 * children behind which go on with it, while the host maps, submits, cancels and waits.  The
 * results are anybody's guess.  The host must stay whole: it is a fork here, which ends by a signal
 * or by its sanitizer's exit code when it does not, and each of its calls must return within two
 * seconds of its limit.
 */
#define _GNU_SOURCE /* MADV_REMOVE, F_SETPIPE_SZ, and a fork without the atfork handlers */
#include "support.h"

#include "hostile.h"
#include "os/os.h"
#include "pool/pool.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ARENA = 1 << 20,
    ITEMS = 40,
    FUTURES = 24,
    LIMIT_MS = 30,  /* of the calls, and of the tasks */
    LATE_MS = 2000, /* what the library may take beyond */
    HANG_S = 60,    /* no host may last so long */
    NS_PER_MS = 1000000
};

struct stage *stage;

/* What a host is to do. */
struct play {
    uint64_t seed;
    uint64_t acts;
    enum hostility hostility;
};

/* ---- the host: calls ------------------------------------------------------------------------- */

/* In a host: how it ends when something does not hold. */
enum { LATE = 20, WRONG, NO_POOL };

static void check(bool holds, int status)
{
    if (!holds)
        _exit(status);
}

/* How long this process was ready to run and did not, in all, where that is told. */
static int64_t held_up_ns(void)
{
    long long ns = 0;
    FILE *file = fopen("/proc/self/schedstat", "r");

    if (file && fscanf(file, "%*s %lld", &ns) != 1)
        ns = 0;
    if (file)
        fclose(file);
    return ns;
}

static int64_t held_up_before;

static int64_t begin_call(void)
{
    held_up_before = held_up_ns();
    return mp_now();
}

/* How late the machine is by itself: it held up this process, and how long does it take to be rid of
 * a process that is killed?  The library does that twice in a row at most, one by another. */
static int64_t machine_is_late(void)
{
    int64_t held_up = held_up_ns() - held_up_before, start = mp_now();
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return held_up + 4 * (mp_now() - start);
}

/* A call that began at `start` with this limit has returned. */
static void in_time(int64_t start, int64_t limit_ms)
{
    int64_t late = mp_now() - start - limit_ms * NS_PER_MS;

    if (late > (int64_t)LATE_MS * NS_PER_MS)
        late -= machine_is_late();

    atomic_fetch_add(&stage->calls, 1);
    if (late > atomic_load(&stage->latest_ns))
        atomic_store(&stage->latest_ns, late);
    if (late > (int64_t)LATE_MS * NS_PER_MS * test_slowness()) {
        fprintf(stderr, "a call came %lld ms late\n", (long long)(late / NS_PER_MS));
        _exit(LATE);
    }
}

static void call_map(mproc_pool *pool, uint64_t *random)
{
    static uint64_t in[ITEMS], out[ITEMS];
    int32_t statuses[ITEMS];
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {
        .size = sizeof options, .timeout_ms = LIMIT_MS, .failure = &failure};
    uint64_t r = test_random(random);
    int64_t start = begin_call();

    if (r & 1)
        options.statuses = statuses;
    if (r & 2)
        options.time_limit_ms = LIMIT_MS / 2;
    if (r & 4)
        options.retries = 2;
    if (r & 8)
        mproc_pool_map_batch(pool, hostile_batch, NULL, in, sizeof in[0], out, sizeof out[0], ITEMS,
                             &options);
    else
        mproc_pool_map(pool, hostile_item, NULL, r & 16 ? in : NULL, sizeof in[0], out,
                       sizeof out[0], ITEMS, &options);
    in_time(start, LIMIT_MS);
    check(memchr(failure.text, 0, sizeof failure.text) != NULL && failure.index < ITEMS, WRONG);
}

static void call_map_bytes(mproc_pool *pool)
{
    mproc_map_options options = {
        .size = sizeof options, .timeout_ms = LIMIT_MS, .output_max = 5000};
    struct iovec inputs[ITEMS];
    mproc_results *results = NULL;
    const void *data;
    size_t length;
    int64_t start = begin_call();

    for (size_t i = 0; i < ITEMS; i++)
        inputs[i] = (struct iovec){inputs, i};
    mproc_pool_map_bytes(pool, hostile_task, NULL, inputs, ITEMS, &results, &options);
    in_time(start, LIMIT_MS);
    for (size_t i = 0; i < mproc_results_count(results); i++) {
        check(mproc_results_get(results, i, &data, &length) == 0, WRONG);
        check(length <= options.output_max, WRONG);
    }
    mproc_results_free(results);
}

static void read_outcome(mproc_future *future)
{
    mproc_failure failure = {.size = sizeof failure};
    const volatile char *bytes;
    const void *data;
    size_t length;
    int r = mproc_future_result(future, &data, &length);

    if (r == 0) {
        check(length <= 5000, WRONG);
        bytes = data;
        for (size_t i = 0; i < length; i++)
            (void)bytes[i];
    } else if (r != -EAGAIN) {
        check(mproc_future_failure(future, &failure) == 0 && failure.error == r, WRONG);
        check(memchr(failure.text, 0, sizeof failure.text) != NULL, WRONG);
    }
}

/* Wait for some in each way there is, cancel some, free all. */
static void call_futures(mproc_pool *pool, uint64_t *random)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 5000};
    mproc_future *futures[FUTURES] = {0};
    int64_t start;

    for (int i = 0; i < FUTURES; i++) {
        options.time_limit_ms = test_random(random) % 2 ? LIMIT_MS : 0;
        mproc_pool_submit(pool, &futures[i], hostile_task, NULL, &options, sizeof options,
                          &options);
    }
    start = begin_call();
    mproc_future_wait_any(futures, FUTURES, LIMIT_MS);
    in_time(start, LIMIT_MS);
    for (int i = 0; i < FUTURES; i++) {
        start = begin_call();
        if (test_random(random) % 4 == 0)
            mproc_future_cancel(futures[i]);
        if (test_random(random) % 8 == 0)
            mproc_future_wait(futures[i], 5);
        in_time(start, 5);
        if (futures[i])
            read_outcome(futures[i]);
    }
    start = begin_call();
    mproc_future_wait_all(futures, FUTURES, LIMIT_MS);
    in_time(start, LIMIT_MS);
    for (int i = 0; i < FUTURES; i++) {
        if (futures[i])
            read_outcome(futures[i]);
        mproc_future_free(futures[i]);
    }
}

static void call_one_shot(const struct play *play, uint64_t *random)
{
    mproc_map_options options = {.size = sizeof options, .timeout_ms = LIMIT_MS};
    static uint64_t out[ITEMS];
    int64_t start = begin_call();

    /* A pool made by the call: its workers look for it themselves. */
    stage->enemy = (struct enemy){NULL, test_random(random), play->hostility};
    mproc_map(hostile_item, NULL, NULL, 0, out, sizeof out[0], ITEMS, HOSTILE_WORKERS, &options);
    in_time(start, LIMIT_MS);
}

static void call_something(mproc_pool *pool, const struct play *play, uint64_t *random)
{
    void *memory = NULL;

    stage->enemy = (struct enemy){pool, test_random(random), play->hostility};
    switch (test_random(random) % 8) {
    case 0:
        if (mproc_pool_alloc(pool, 10000, &memory) == 0)
            mproc_pool_dealloc(pool, memory);
        break;
    case 1:
        call_map_bytes(pool);
        break;
    case 2:
    case 3:
    case 4:
        call_futures(pool, random);
        break;
    default:
        call_map(pool, random);
    }
}

/* ---- the host: pools ------------------------------------------------------------------------- */

static mproc_pool *open_pool(void)
{
    mproc_pool_options options = {.size = sizeof options,
                                  .arena_size = ARENA,
                                  .time_limit_ms = 2 * LIMIT_MS,
                                  .init = hostile_init};
    mproc_pool *pool = NULL;

    check(mproc_pool_create(&pool, HOSTILE_WORKERS, &options) == 0, NO_POOL);
    return pool;
}

static void close_pool(mproc_pool *pool, uint64_t *random)
{
    uint64_t r = test_random(random);
    int64_t start = begin_call();

    if (r & 1)
        mproc_pool_close(pool);
    if (r & 2)
        mproc_pool_terminate(pool);
    mproc_pool_join(pool, LIMIT_MS);
    in_time(start, LIMIT_MS);
    start = begin_call();
    mproc_pool_destroy(pool);
    in_time(start, 0);
}

static int32_t do_nothing(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    return 0;
}

static bool is_broken(mproc_pool *pool)
{
    mproc_future *future = NULL;
    int r = mproc_pool_submit(pool, &future, do_nothing, NULL, NULL, 0, NULL);

    mproc_future_free(future);
    return r == MPROC_EBROKEN;
}

/* Play the host: a broken pool is restarted or replaced, and any after some time. */
static int be_host(void *arg)
{
    const struct play *play = arg;
    uint64_t random = play->seed;
    mproc_pool *pool = open_pool();

    alarm((unsigned)(HANG_S * test_slowness()));
    for (uint64_t act = 0; act < play->acts; act++) {
        call_something(pool, play, &random);
        if (test_random(&random) % 32 == 0)
            call_one_shot(play, &random);
        if (is_broken(pool)) {
            int64_t start = begin_call();

            atomic_fetch_add(&stage->broken, 1);
            if (test_random(&random) % 2 && mproc_pool_restart(pool) == 0)
                in_time(start, 0);
        }
        if (is_broken(pool) || test_random(&random) % 8 == 0) {
            close_pool(pool, &random);
            pool = open_pool();
        }
    }
    close_pool(pool, &random);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void end_strays(void)
{
    for (size_t i = 0; i < HOSTILE_STRAYS; i++)
        mp_kill(atomic_exchange(&stage->strays[i], 0), false, SIGKILL);
}

static void play(enum hostility hostility, uint64_t hosts, uint64_t acts)
{
    struct play play = {test_seed(), acts, hostility};

    stage = test_share(sizeof *stage);
    for (uint64_t i = 0; i < hosts; i++) {
        uint64_t seed = play.seed;
        int status = test_run_child(be_host, &play);

        end_strays();
        if (status)
            fail_msg("seed %llu: the host ended with status %#x", (unsigned long long)seed,
                     (unsigned)status);
        test_random(&play.seed);
    }
    print_message(
        "%llu writes, %llu calls, the latest %lld ms after its limit, %llu pools broken\n",
        (unsigned long long)atomic_load(&stage->writes),
        (unsigned long long)atomic_load(&stage->calls),
        (long long)(atomic_load(&stage->latest_ns) / NS_PER_MS),
        (unsigned long long)atomic_load(&stage->broken));
    if (hosts > 1) /* in the time of one host perhaps no task begins, on a machine that is busy */
        assert_true(atomic_load(&stage->writes) > 0);
    test_unshare(stage, sizeof *stage);
}

static void whatever_is_written_to_shared_memory_the_host_stays_whole(void **state)
{
    (void)state;
    play(HOSTILE_TO_MEMORY, test_count(12, 2000), 20);
}

static void whatever_is_done_to_the_pipes_too_the_host_stays_whole(void **state)
{
    (void)state;
    play(HOSTILE_TO_PIPES, test_count(3, 500), 20);
}

static void nor_is_a_limit_missed_when_supervisor_and_workers_are_signalled(void **state)
{
    (void)state;
    play(HOSTILE_TO_ALL, test_count(1, 200), 8);
}

/* A worker tries it by every way there is to the object. */
static void no_worker_can_shrink_the_memory(void **state)
{
    pid_t host = getpid();
    mproc_submit_options options = {
        .size = sizeof options, .ctx_size = sizeof host, .output_max = sizeof(int32_t)};
    mproc_pool *pool;
    int32_t ways = 0;
    int r;

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 1, NULL), 0);
    r = mproc_pool_call(pool, shrink_memory, &host, NULL, 0, &ways, sizeof ways, NULL, &options);
    mproc_pool_destroy(pool);
    if (r == MPROC_ETASK)
        skip(); /* it has no seals here, or there is no way to it */
    assert_int_equal(r, 0);
    assert_true(ways > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whatever_is_written_to_shared_memory_the_host_stays_whole),
        TEST(whatever_is_done_to_the_pipes_too_the_host_stays_whole),
        TEST(nor_is_a_limit_missed_when_supervisor_and_workers_are_signalled),
        TEST(no_worker_can_shrink_the_memory),
    };

    return TEST_MAIN(tests);
}
