/* SPDX-License-Identifier: MIT */
/*
 * Every number of the library that counts on and on, or that is packed into few bits, begun near
 * its end: tags, slots, deaths, ended jobs, attempts, workers, items, the number of a process.  The
 * program has the source of the last in itself; the others it writes where they lie.
 */
#include "storm.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/fork.c"
#include "pool/pool.h"

/* ---- counts of deaths and of jobs ------------------------------------------------------------ */

static void the_counts_of_deaths_and_of_jobs_may_come_round_in_a_kill_storm(void **state)
{
    const uint64_t to_the_end_of_deaths = UINT64_MAX - 50, to_the_end_of_lost = UINT64_MAX - 3;
    struct storm_plan plan = {.seed = test_seed(), .pause_us = 1000, .work_ns = 20000};
    mproc_pool *pool = storm_begin(&plan, 20000);
    struct pool_shm *shared = mp_region_pool(&pool->region);
    struct tally tally;
    uint64_t kills;

    (void)state;
    atomic_fetch_add(&shared->deaths, to_the_end_of_deaths);
    atomic_fetch_add(&shared->lost, to_the_end_of_lost);
    mp_pool_lock(pool);
    pool->ended = UINT64_MAX - 1000;
    mp_pool_unlock(pool);
    tally = storm_submit(pool, &plan, 20000, 500);
    kills = storm_still();
    assert_true(tally.done + tally.crashed == 20000);
    assert_true(tally.crashed <= kills);
    if (kills > 60)
        assert_true(atomic_load(&shared->deaths) < 1U << 20);
    assert_true(pool->ended < 1U << 20);
    atomic_fetch_sub(&shared->deaths, to_the_end_of_deaths); /* for the count at the end */
    storm_end(pool);
}

/* ---- tags and slots -------------------------------------------------------------------------- */

static void begin_tags_near_their_end(mproc_pool *pool)
{
    mp_pool_lock(
        pool); /* of some the last, of others the one before: the next is 1 or UINT16_MAX */
    for (uint32_t slot = 0; slot < MP_SLOTS; slot++)
        pool->slots[slot].tag = (uint16_t)(UINT16_MAX - slot % 2);
    mp_pool_unlock(pool);
}

static void the_tags_of_all_slots_may_come_round_in_a_kill_storm(void **state)
{
    struct storm_plan plan = {.seed = test_seed(), .pause_us = 2000};
    const uint64_t tasks = test_count(2, 20) * MP_SLOTS;
    mproc_pool *pool = storm_begin(&plan, tasks);
    struct tally tally;
    uint32_t round = 0;

    (void)state;
    begin_tags_near_their_end(pool);
    tally = storm_submit(pool, &plan, tasks, MP_SLOTS);
    assert_int_equal(tally.done + tally.crashed, tasks);
    for (uint32_t slot = 0; slot < MP_SLOTS; slot++) {
        assert_int_not_equal(pool->slots[slot].tag, 0);
        round += pool->slots[slot].tag < UINT16_MAX / 2;
    }
    print_message("the tags of %u slots have come round\n", (unsigned)round);
    assert_true(round >= 100);
    begin_tags_near_their_end(pool);
    for (int i = 0; i < 5; i++) {
        storm_forget_marks(10000);
        tally = storm_map(pool, &plan, 10000);
        assert_int_equal(tally.done + tally.crashed, 10000);
    }
    storm_still();
    storm_end(pool);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static int32_t die(mproc_task *task, void *runs)
{
    (void)task;
    atomic_fetch_add((_Atomic uint32_t *)runs, 1);
    return raise(SIGKILL);
}

static void the_most_attempts_there_can_be_are_made_and_no_more(void **state)
{
    enum { RETRIES_MAX = 254 };
    mproc_submit_options options = {.size = sizeof options, .retries = RETRIES_MAX};
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *future;
    mproc_pool *pool;
    void *runs;

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
    assert_int_equal(mproc_pool_alloc(pool, sizeof(_Atomic uint32_t), &runs), 0);
    atomic_store((_Atomic uint32_t *)runs, 0);
    assert_int_equal(mproc_pool_submit(pool, &future, die, runs, NULL, 0, &options), 0);
    assert_int_equal(mproc_future_wait(future, 60000), 0);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, MPROC_ECRASHED);
    assert_int_equal(failure.attempts, RETRIES_MAX + 1);
    assert_int_equal(atomic_load((_Atomic uint32_t *)runs), RETRIES_MAX + 1);
    mproc_future_free(future);
    mproc_pool_destroy(pool);
}

/* ---- workers --------------------------------------------------------------------------------- */

/* Waits until every worker has a task of its own, then dies if its number is odd. */
static int32_t meet_and_die(mproc_task *task, void *ctx)
{
    _Atomic uint32_t *met = *(_Atomic uint32_t **)ctx;
    uint32_t workers = *(const uint32_t *)mproc_task_input(task, NULL);
    int32_t *number = mproc_task_output(task, sizeof *number);

    *number = mproc_task_worker(task);
    atomic_fetch_add(&met[*number], 1);
    atomic_fetch_add(&met[workers], 1);
    while (atomic_load(&met[workers]) < workers)
        poll(NULL, 0, 20);
    return *number % 2 ? raise(SIGKILL) : 0;
}

static void the_worker_with_the_highest_number_is_as_good_as_any(void **state)
{
    const uint32_t workers = test_under_valgrind() ? 20 : (uint32_t)test_count(300, 4096);
    mproc_submit_options options = {.size = sizeof options, .output_max = sizeof(int32_t)};
    mproc_future **futures = calloc(workers, sizeof *futures);
    uint32_t crashed = 0;
    mproc_pool *pool;
    void *met;

    (void)state;
    assert_non_null(futures);
    options.ctx_size = sizeof met;
    assert_int_equal(mproc_pool_create(&pool, (int32_t)workers, NULL), 0);
    assert_int_equal(mproc_pool_alloc(pool, (workers + 1) * sizeof(uint32_t), &met), 0);
    memset(met, 0, (workers + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < workers; i++)
        assert_int_equal(mproc_pool_submit(pool, &futures[i], meet_and_die, &met, &workers,
                                           sizeof workers, &options),
                         0);
    for (uint32_t i = 0; i < workers; i++) {
        const void *number;
        int r;

        assert_int_equal(mproc_future_wait(futures[i], 600000), 0);
        r = mproc_future_result(futures[i], &number, NULL);
        if (r == 0)
            assert_int_equal(*(const int32_t *)number % 2, 0);
        else
            assert_int_equal(r, MPROC_ECRASHED);
        crashed += r != 0;
        mproc_future_free(futures[i]);
    }
    assert_int_equal(crashed, workers / 2);
    for (uint32_t i = 0; i < workers; i++)
        assert_int_equal(atomic_load((_Atomic uint32_t *)met + i), 1);
    mproc_pool_destroy(pool);
    free(futures);
}

/* ---- items ----------------------------------------------------------------------------------- */

static int32_t add_count(const void *in, void *out, size_t count, void *sum)
{
    (void)in;
    (void)out;
    atomic_fetch_add((_Atomic uint64_t *)sum, count);
    return 0;
}

static int32_t count_start(int32_t worker, void *starts)
{
    (void)worker;
    atomic_fetch_add((_Atomic uint32_t *)starts, 1);
    return 0;
}

static void a_chunk_may_have_more_items_than_32_bits_count(void **state)
{
    const uint64_t items = (uint64_t)1 << 32; /* as 32 bits: none */
    _Atomic uint32_t *starts = test_share(sizeof *starts);
    mproc_pool_options options = {
        .size = sizeof options, .init = count_start, .arg = starts, .tasks_per_worker = UINT32_MAX};
    mproc_map_options map = {.size = sizeof map};
    mproc_pool *pool;
    void *sum;

    (void)state;
    if (sizeof(size_t) < sizeof items || test_under_valgrind())
        skip();
    map.chunk_size = (size_t)items;
    assert_int_equal(mproc_pool_create(&pool, 1, &options), 0);
    assert_int_equal(mproc_pool_alloc(pool, sizeof(_Atomic uint64_t), &sum), 0);
    atomic_store((_Atomic uint64_t *)sum, 0);
    assert_int_equal(
        mproc_pool_map_batch(pool, add_count, sum, sum, 0, NULL, 0, (size_t)items, &map), 0);
    assert_true(atomic_load((_Atomic uint64_t *)sum) == items);
    assert_int_equal(mproc_pool_map_batch(pool, add_count, sum, sum, 0, NULL, 0, 1, &map), 0);
    assert_int_equal(atomic_load(starts), 2); /* it was replaced, for so many are enough */
    mproc_pool_destroy(pool);
    test_unshare(starts, sizeof *starts);
}

/* ---- processes ------------------------------------------------------------------------------- */

static int32_t answer(mproc_task *task, void *ctx)
{
    (void)ctx;
    return mproc_task_output(task, 1) ? 0 : 1;
}

static bool works(mproc_pool *pool)
{
    return mproc_pool_call(pool, answer, NULL, NULL, 0, NULL, 0, NULL, NULL) == -EMSGSIZE;
}

/* A process whose number has come round: its parent's pool is foreign, its own works, and it in
 * turn has a child. */
static int be_child(void *pool_of_parent)
{
    mproc_pool *pool;
    int r = 0;

    if (mproc_pool_close(pool_of_parent) != MPROC_EFOREIGN)
        return 1;
    if (mproc_pool_create(&pool, 1, NULL))
        return 2;
    if (!works(pool))
        return 3;
    if (mp_epoch() <= 1) {
        pid_t pid = fork();
        int status;

        if (pid == 0)
            _exit(be_child(pool));
        if (waitpid(pid, &status, 0) != pid || status)
            r = 4;
    }
    mproc_pool_destroy(pool);
    return r;
}

static void the_numbers_of_processes_may_come_round(void **state)
{
    mproc_pool *pool;

    (void)state;
    epoch = UINT_MAX;
    assert_int_equal(mproc_pool_create(&pool, 1, NULL), 0);
    assert_int_equal(test_run_child(be_child, pool), 0);
    assert_true(works(pool));
    mproc_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_counts_of_deaths_and_of_jobs_may_come_round_in_a_kill_storm),
        TEST(the_tags_of_all_slots_may_come_round_in_a_kill_storm),
        TEST(the_most_attempts_there_can_be_are_made_and_no_more),
        TEST(the_worker_with_the_highest_number_is_as_good_as_any),
        TEST(a_chunk_may_have_more_items_than_32_bits_count),
        TEST(the_numbers_of_processes_may_come_round),
    };

    return TEST_MAIN(tests);
}
