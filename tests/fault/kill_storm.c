/* SPDX-License-Identifier: MIT */
/*
 * The kill storm: workers are killed at random instants while tasks run.  No task may be lost, run
 * twice unless retries ask for it, or give a wrong result, and every death must have been a real
 * one.  Each storm is run in rounds, the first with a seed that is always the same.
 */
#include "storm.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/records.h"

enum {
    TASKS = MP_SLOTS < 500 ? 10000 : 50000, /* in one round */
    ITEMS = 100000,                         /* in one map */
    MAPS = 20,                              /* in one round, at most */
    IN_FLIGHT = MP_SLOTS < 500 ? MP_SLOTS : 500,
    FIXED_SEED = 1,
    WORK_NS = 200000
};

/* What is done under one storm, and what of it was counted in all rounds. */
struct campaign {
    struct tally (*work)(mproc_pool *pool, const struct storm_plan *plan, uint64_t *tasks);
    struct storm_plan plan;
    uint64_t marks; /* tasks that have marks in one round */
    uint64_t tasks;
    uint64_t kills;
    struct tally tally;
};

static void run_round(struct campaign *campaign)
{
    mproc_pool *pool = storm_begin(&campaign->plan, campaign->marks);
    struct tally tally = campaign->work(pool, &campaign->plan, &campaign->tasks);
    uint64_t kills = storm_still();

    assert_int_equal(storm_end(pool), kills);
    assert_true(tally.crashed <= kills);
    assert_true(tally.cut <= kills);
    if (campaign->plan.retries == 0)
        assert_true(tally.cut <= tally.crashed); /* the others were hit before or after the marks */
    campaign->kills += kills;
    campaign->tally.done += tally.done;
    campaign->tally.crashed += tally.crashed;
    campaign->tally.cut += tally.cut;
}

/* Rounds until so many workers were killed and so many tasks run; at least two. */
static void run_campaign(struct campaign *campaign, uint64_t kills, uint64_t tasks)
{
    uint64_t seed = test_seed();

    campaign->plan.seed = FIXED_SEED;
    run_round(campaign);
    do {
        campaign->plan.seed = test_random(&seed);
        run_round(campaign);
    } while (campaign->kills < kills || campaign->tasks < tasks);
    print_message("%llu tasks: %llu done, %llu crashed (%llu runs cut), %llu workers killed\n",
                  (unsigned long long)campaign->tasks, (unsigned long long)campaign->tally.done,
                  (unsigned long long)campaign->tally.crashed,
                  (unsigned long long)campaign->tally.cut, (unsigned long long)campaign->kills);
    assert_int_equal(campaign->tally.done + campaign->tally.crashed, campaign->tasks);
    if (campaign->plan.retries >= 3)
        assert_true(campaign->tally.crashed <= campaign->tasks / 1000);
}

/* ---- submitted tasks ------------------------------------------------------------------------- */

static struct tally submit_tasks(mproc_pool *pool, const struct storm_plan *plan, uint64_t *tasks)
{
    uint64_t count = test_under_valgrind() ? 500 : plan->work_ns ? TASKS / 10 : TASKS;

    *tasks += count;
    return storm_submit(pool, plan, count, IN_FLIGHT);
}

static void no_task_is_lost_doubled_or_wrong_in_a_kill_storm(void **state)
{
    struct campaign campaign = {submit_tasks, {.pause_us = 2000}, .marks = TASKS};

    (void)state;
    run_campaign(&campaign, test_count(300, 10000), test_count(2 * TASKS, 1000000));
}

static void with_retries_nearly_every_task_is_done_in_a_kill_storm(void **state)
{
    struct campaign campaign = {submit_tasks, {.pause_us = 2000, .retries = 3}, .marks = TASKS};

    (void)state;
    run_campaign(&campaign, test_count(300, 10000), test_count(2 * TASKS, 1000000));
}

static void each_task_that_a_kill_hits_crashes_once_and_no_other(void **state)
{
    struct campaign campaign = {
        submit_tasks, {.pause_us = 2000, .work_ns = WORK_NS}, .marks = TASKS};

    (void)state;
    run_campaign(&campaign, test_count(300, 10000), 0);
    assert_true(campaign.tally.cut > campaign.kills / 8);
}

static void no_task_is_lost_when_workers_are_killed_as_they_start(void **state)
{
    struct campaign campaign = {
        submit_tasks, {.pause_us = 300, .work_ns = WORK_NS}, .marks = TASKS};

    (void)state;
    run_campaign(&campaign, test_count(300, 10000), 0);
}

/* ---- maps ------------------------------------------------------------------------------------ */

static struct tally map_items(mproc_pool *pool, const struct storm_plan *plan, uint64_t *tasks)
{
    uint64_t items = test_under_valgrind() ? 500 : plan->work_ns ? ITEMS / 100 : ITEMS;
    struct tally all = {0};

    for (uint64_t i = 0; i < test_count(MAPS / 4, MAPS); i++) {
        struct tally tally;

        storm_forget_marks(items);
        tally = storm_map(pool, plan, items);
        all.done += tally.done;
        all.crashed += tally.crashed;
        all.cut += tally.cut;
        *tasks += items;
    }
    return all;
}

static struct tally map_bytes(mproc_pool *pool, const struct storm_plan *plan, uint64_t *tasks)
{
    uint64_t items = test_under_valgrind() ? 500 : ITEMS / 10;

    *tasks += items;
    return storm_map_bytes(pool, plan, items);
}

static void each_item_of_a_map_has_its_own_fate_in_a_kill_storm(void **state)
{
    struct campaign trivial = {map_items, {.pause_us = 2000}, .marks = ITEMS};
    struct campaign working = {map_items, {.pause_us = 2000, .work_ns = WORK_NS}, .marks = ITEMS};

    (void)state;
    run_campaign(&trivial, test_count(50, 10000), 0);
    run_campaign(&working, test_count(100, 10000), 0);
}

static void with_retries_nearly_every_item_is_done_in_a_kill_storm(void **state)
{
    struct campaign campaign = {map_items, {.pause_us = 2000, .retries = 3}, .marks = ITEMS};

    (void)state;
    run_campaign(&campaign, test_count(50, 10000), 0);
}

static void items_of_any_length_have_their_own_fate_in_a_kill_storm(void **state)
{
    struct campaign once = {map_bytes, {.pause_us = 2000}, .marks = ITEMS};
    struct campaign again = {map_bytes, {.pause_us = 2000, .retries = 3}, .marks = ITEMS};

    (void)state;
    run_campaign(&once, test_count(50, 10000), 0);
    run_campaign(&again, test_count(50, 10000), 0);
}

/* ---- cancels and limits ---------------------------------------------------------------------- */

enum fate { FATE_RUNS, FATE_HANGS, FATE_IS_CANCELLED, FATES };

static int32_t hang(mproc_task *task, void *ctx)
{
    (void)ctx;
    while (task) /* for ever */
        pause();
    return 0;
}

static mproc_future *submit_fate(mproc_pool *pool, const struct storm_plan *plan, uint64_t index)
{
    mproc_submit_options options = {.size = sizeof options,
                                    .output_max = 64,
                                    .ctx_size = sizeof *plan,
                                    .time_limit_ms = index % FATES == FATE_HANGS ? 2 : 60000};
    struct storm_plan copy = *plan;
    mproc_future *future;

    assert_int_equal(mproc_pool_submit(pool, &future,
                                       index % FATES == FATE_HANGS ? hang : storm_task, &copy,
                                       &index, sizeof index, &options),
                     0);
    return future;
}

static void take_in_fate(struct tally *tally, mproc_future *future, uint64_t index)
{
    int r;

    assert_int_equal(mproc_future_wait(future, 60000), 0);
    r = mproc_future_result(future, NULL, NULL);
    if ((index % FATES == FATE_HANGS && r == MPROC_ELIMIT) ||
        (index % FATES == FATE_IS_CANCELLED && r == -ECANCELED)) {
        tally->cut++;
        mproc_future_free(future);
        return;
    }
    assert_false(index % FATES == FATE_HANGS && r == 0);
    storm_take_in(tally, future, index, 0);
}

static void cancels_and_limits_hit_whom_they_are_meant_for_in_a_kill_storm(void **state)
{
    struct storm_plan plan = {.seed = test_seed(), .pause_us = 3000, .work_ns = WORK_NS};
    uint64_t tasks = test_count(test_under_valgrind() ? 100 : 600, 60000);
    mproc_pool *pool = storm_begin(&plan, tasks);
    mproc_future *futures[16] = {NULL};
    const uint64_t open = MP_SLOTS < 16 ? MP_SLOTS : 16;
    struct tally tally = {0};

    (void)state;
    for (uint64_t i = 0; i < tasks + open; i++) {
        if (i >= open)
            take_in_fate(&tally, futures[i % open], i - open);
        if (i < tasks)
            futures[i % open] = submit_fate(pool, &plan, i);
        if (i >= open / 2 && (i - open / 2) % FATES == FATE_IS_CANCELLED && i - open / 2 < tasks)
            mproc_future_cancel(futures[(i - open / 2) % open]);
    }
    storm_still();
    mproc_pool_destroy(pool);
    storm_clear();
    print_message("%llu tasks: %llu done, %llu crashed, %llu stopped\n", (unsigned long long)tasks,
                  (unsigned long long)tally.done, (unsigned long long)tally.crashed,
                  (unsigned long long)tally.cut);
    assert_true(tally.done >= tasks / FATES / 2);
}

/* ---- the end of a pool ----------------------------------------------------------------------- */

enum { OPEN = MP_SLOTS < 100 ? MP_SLOTS : 100 };

static void join(mproc_pool *pool)
{
    assert_int_equal(mproc_pool_join(pool, 60000), 0);
    mproc_pool_destroy(pool);
}

/* End a pool in one of three ways. */
static void end_pool(mproc_pool *pool, uint64_t way)
{
    if (way % 3 == 0) {
        assert_int_equal(mproc_pool_close(pool), 0);
        join(pool);
    } else if (way % 3 == 1) {
        assert_int_equal(mproc_pool_terminate(pool), 0);
        join(pool);
    } else {
        mproc_pool_destroy(pool);
    }
}

/* A pool with open tasks is ended while its workers are killed. */
static void end_in_storm(const struct storm_plan *plan, uint64_t way)
{
    mproc_submit_options submit = {
        .size = sizeof submit, .output_max = 64, .ctx_size = sizeof *plan};
    mproc_pool_options options = storm_options();
    struct storm_plan copy = *plan;
    mproc_future *futures[OPEN];
    struct tally tally = {0};
    mproc_pool *pool;

    storm_forget_marks(OPEN);
    assert_int_equal(mproc_pool_create(&pool, 4, &options), 0);
    for (uint64_t i = 0; i < OPEN; i++)
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], storm_task, &copy, &i, sizeof i, &submit), 0);
    assert_int_equal(mproc_future_wait(futures[0], 60000), 0); /* it is at work */
    end_pool(pool, way);
    storm_forget_workers();
    for (uint64_t i = 0; i < OPEN; i++) {
        if (way % 3 && mproc_future_result(futures[i], NULL, NULL) == -ECANCELED)
            mproc_future_free(futures[i]);
        else
            storm_take_in(&tally, futures[i], i, 0);
    }
}

static void every_task_has_an_end_when_a_pool_ends_in_a_kill_storm(void **state)
{
    struct storm_plan plan = {.seed = test_seed(), .pause_us = 300, .work_ns = WORK_NS};
    uint64_t rounds = test_count(30, 3000), kills;

    (void)state;
    storm_over(&plan, OPEN);
    for (uint64_t round = 0; round < rounds; round++)
        end_in_storm(&plan, round);
    kills = storm_still();
    storm_clear();
    print_message("%llu pools ended, %llu workers killed\n", (unsigned long long)rounds,
                  (unsigned long long)kills);
    assert_true(kills >= rounds / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_task_is_lost_doubled_or_wrong_in_a_kill_storm),
        TEST(with_retries_nearly_every_task_is_done_in_a_kill_storm),
        TEST(each_task_that_a_kill_hits_crashes_once_and_no_other),
        TEST(no_task_is_lost_when_workers_are_killed_as_they_start),
        TEST(each_item_of_a_map_has_its_own_fate_in_a_kill_storm),
        TEST(with_retries_nearly_every_item_is_done_in_a_kill_storm),
        TEST(items_of_any_length_have_their_own_fate_in_a_kill_storm),
        TEST(cancels_and_limits_hit_whom_they_are_meant_for_in_a_kill_storm),
        TEST(every_task_has_an_end_when_a_pool_ends_in_a_kill_storm),
    };

    return TEST_MAIN(tests);
}
