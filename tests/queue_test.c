/* SPDX-License-Identifier: MIT */
/*
 * The ticket queue: what is pushed is popped once and in order, round after round; of a push and a
 * worker that goes to sleep one sees the other; and what a pool makes of a queue that somebody
 * scribbled on.
 */
#include "meet.h"
#include "support.h"

#include "pool/pool.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 130, THREADS = 3, MIB = 1 << 20 };

static struct region region;
static struct queue_end end; /* the host's */

/* As the host counts them, with more tickets than any worker looks out for. */
static uint32_t idle_workers(void)
{
    struct queue_end more = {.tail = UINT64_MAX};

    return mp_queue_sleepers(&region, &more, UINT32_MAX);
}

static void open_region(void)
{
    assert_int_equal(mp_region_open(&region, WORKERS, MIB), 0);
    mp_region_reset(&region);
    end = (struct queue_end){0};
}

static void close_region(void)
{
    mp_region_close(&region);
}

static void assert_popped(uint32_t expected)
{
    uint32_t id = ~expected;

    assert_false(mp_queue_is_empty(&region));
    assert_true(mp_queue_pop(&region, &id));
    assert_int_equal(id, expected);
}

static void assert_empty(void)
{
    uint32_t id = 77;

    assert_true(mp_queue_is_empty(&region));
    assert_false(mp_queue_pop(&region, &id));
    assert_true(mp_queue_is_plausible(&region, &end));
}

/* ---- one at a time --------------------------------------------------------------------------- */

static void tickets_are_popped_in_the_order_they_were_pushed(void **state)
{
    (void)state;
    open_region();
    assert_empty();
    for (uint32_t i = 0; i < 10; i++)
        assert_true(mp_queue_push(&region, &end, i * 3));
    for (uint32_t i = 0; i < 10; i++)
        assert_popped(i * 3);
    assert_empty();
    assert_true(mp_queue_push(&region, &end, UINT32_MAX));
    assert_popped(UINT32_MAX);
    assert_empty();
    close_region();
}

static void a_full_queue_takes_no_more_until_one_is_popped(void **state)
{
    (void)state;
    open_region();
    for (uint32_t i = 0; i < MP_QUEUE_SIZE; i++)
        assert_true(mp_queue_push(&region, &end, i));
    for (int i = 0; i < 3; i++)
        assert_false(mp_queue_push(&region, &end, 1000000));
    assert_true(mp_queue_is_plausible(&region, &end));
    assert_popped(0);
    assert_true(mp_queue_push(&region, &end, MP_QUEUE_SIZE));
    assert_false(mp_queue_push(&region, &end, 1000000));
    for (uint32_t i = 1; i <= MP_QUEUE_SIZE; i++)
        assert_popped(i);
    assert_empty();
    close_region();
}

static void the_ring_goes_round(void **state)
{
    uint32_t pushed = 0, popped = 0;
    uint64_t seed = test_seed();

    (void)state;
    open_region();
    while (popped < 10 * MP_QUEUE_SIZE) {
        for (uint64_t i = test_random(&seed) % MP_QUEUE_SIZE; i > 0; i--)
            if (mp_queue_push(&region, &end, pushed))
                pushed++;
            else
                assert_int_equal(pushed - popped, MP_QUEUE_SIZE);
        for (uint64_t i = test_random(&seed) % MP_QUEUE_SIZE; i > 0 && popped < pushed; i--)
            assert_popped(popped++);
        assert_true(mp_queue_is_plausible(&region, &end));
    }
    while (popped < pushed)
        assert_popped(popped++);
    assert_empty();
    close_region();
}

static bool plausible_with(uint64_t head, uint64_t tail)
{
    struct queue_shm *queue = mp_region_queue(&region);
    uint64_t true_head = atomic_exchange(&queue->head, head);
    uint64_t true_tail = atomic_exchange(&queue->tail, tail);
    bool plausible = mp_queue_is_plausible(&region, &end);

    atomic_store(&queue->head, true_head);
    atomic_store(&queue->tail, true_tail);
    return plausible;
}

static void what_the_workers_cannot_have_popped_is_impossible(void **state)
{
    const uint64_t tail = MP_QUEUE_SIZE + 1; /* by then the host has seen one popped */

    (void)state;
    open_region();
    for (uint32_t i = 0; i < MP_QUEUE_SIZE; i++)
        assert_true(mp_queue_push(&region, &end, i));
    assert_popped(0);
    assert_true(mp_queue_push(&region, &end, MP_QUEUE_SIZE));
    assert_true(plausible_with(1, tail));
    assert_true(plausible_with(2, tail));
    assert_true(plausible_with(tail, tail));
    assert_false(plausible_with(0, tail));
    assert_false(plausible_with(tail + 1, tail));
    assert_false(plausible_with(UINT64_MAX, tail));
    assert_false(plausible_with(1, tail - 1));
    assert_false(plausible_with(1, tail + 1));
    assert_false(plausible_with(1, UINT64_MAX));
    assert_false(plausible_with(tail + 1, tail + 1));
    close_region();
}

/* Whatever stands there, the host keeps count by itself. */
static void a_push_into_a_queue_that_was_scribbled_on_touches_nothing_else(void **state)
{
    const uint64_t values[] = {
        0, 1, MP_QUEUE_SIZE, UINT64_MAX, UINT64_MAX - MP_QUEUE_SIZE, (uint64_t)1 << 63};
    size_t before_it = 0, behind_it = 0;

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct queue_shm *queue;
        uint32_t id;

        open_region();
        queue = mp_region_queue(&region);
        for (uint32_t n = 0; n < 2 * MP_QUEUE_SIZE; n++) {
            atomic_store(&queue->head, values[i]);
            atomic_store(&queue->tail, values[sizeof values / sizeof values[0] - 1 - i]);
            mp_queue_push(&region, &end, n);
            mp_queue_pop(&region, &id);
        }
        for (size_t at = region.idle_offset; at < region.queue_offset; at++)
            before_it += region.memory.base[at] != 0;
        for (size_t at = region.queue_offset + sizeof *queue; at < region.jobs_offset + 4096; at++)
            behind_it += region.memory.base[at] != 0;
        close_region();
    }
    assert_int_equal(before_it, 0);
    assert_int_equal(behind_it, 0);
}

static void each_worker_has_an_idle_bit_of_its_own(void **state)
{
    (void)state;
    open_region();
    assert_int_equal(idle_workers(), 0);
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_true(mp_queue_go_idle(&region, i));
        assert_int_equal(idle_workers(), i + 1);
        assert_int_equal(atomic_load(&mp_region_idle(&region)[i / 64]) >> i % 64, 1);
    }
    mp_queue_leave_idle(&region, 64);
    mp_queue_leave_idle(&region, 64);
    assert_int_equal(idle_workers(), WORKERS - 1);
    for (uint32_t i = 0; i < WORKERS; i++)
        mp_queue_leave_idle(&region, i);
    assert_int_equal(idle_workers(), 0);
    close_region();
}

static void nobody_is_woken_where_enough_look_out(void **state)
{
    (void)state;
    open_region();
    assert_true(mp_queue_go_idle(&region, 0));
    assert_true(mp_queue_go_idle(&region, 1));
    mp_queue_look_out(&region, 100);
    assert_int_equal(mp_queue_sleepers(&region, &end, 0), 0);
    assert_true(mp_queue_push(&region, &end, 5));
    assert_int_equal(mp_queue_sleepers(&region, &end, 1), 0);
    assert_true(mp_queue_push(&region, &end, 6));
    assert_int_equal(mp_queue_sleepers(&region, &end, 1), 1);
    assert_int_equal(mp_queue_sleepers(&region, &end, 3), 2);
    assert_popped(5);
    assert_int_equal(mp_queue_sleepers(&region, &end, 1), 0);
    assert_int_equal(mp_queue_stranded(&region, &end), 1); /* but by who cannot look again */
    mp_queue_look_away(&region, 100);
    assert_int_equal(mp_queue_sleepers(&region, &end, 1), 1);
    assert_popped(6);
    assert_int_equal(mp_queue_stranded(&region, &end), 0);
    close_region();
}

static void nobody_goes_idle_while_there_is_a_ticket(void **state)
{
    (void)state;
    open_region();
    assert_true(mp_queue_push(&region, &end, 5));
    assert_false(mp_queue_go_idle(&region, 100));
    assert_int_equal(idle_workers(), 0);
    assert_popped(5);
    assert_true(mp_queue_go_idle(&region, 100));
    close_region();
}

static void who_was_woken_before_he_sleeps_does_not_sleep(void **state)
{
    uint32_t wakes;

    (void)state;
    if (!mp_can_sleep_on_words())
        skip();
    open_region();
    wakes = mp_queue_wakes(&region);
    mp_queue_wake(&region, 1);
    mp_queue_sleep(&region, wakes);
    wakes = mp_queue_wakes(&region);
    mp_queue_shut(&region);
    mp_queue_sleep(&region, wakes);
    assert_int_equal(mp_queue_era(&region) % 2, 1);
    close_region();
}

/* ---- at the same time ------------------------------------------------------------------------ */

/* What the threads of a test share. */
static struct race {
    uint32_t count;
    void *memory;
    _Atomic uint8_t *times;     /* each ticket was popped; in `memory` */
    _Atomic uint32_t popped;    /* in all */
    _Atomic uint32_t burst_end; /* the last ticket of those that are pushed in a row */
    _Atomic bool out_of_order;
    _Atomic bool open; /* for who pops without rest */
    bool on_words;     /* who sleeps does so on a word; else in the pipe */
    int wake[2];
} race;

static void note_popped(uint32_t id, uint32_t *last)
{
    if (id <= *last)
        atomic_store(&race.out_of_order, true);
    *last = id;
    atomic_fetch_add(&race.times[id], 1);
    atomic_fetch_add(&race.popped, 1);
}

static void *pop_without_rest(void *unused)
{
    uint32_t id, last = 0;

    (void)unused;
    while (atomic_load(&race.popped) < race.count)
        if (atomic_load(&race.open) && mp_queue_pop(&region, &id))
            note_popped(id, &last);
        else
            sched_yield();
    return NULL;
}

static void begin_race(uint32_t count, bool on_words, pthread_t threads[THREADS],
                       void *(*run)(void *arg))
{
    static uint32_t numbers[THREADS];

    open_region();
    race = (struct race){
        .count = count, .on_words = on_words, .memory = calloc(count + 1, sizeof race.times[0])};
    assert_non_null(race.memory);
    race.times = race.memory;
    assert_int_equal(mp_pipe(race.wake), 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &numbers[i]), 0);
    }
}

static void end_race(pthread_t threads[THREADS])
{
    if (race.on_words)
        mp_queue_shut(&region);
    race.wake[1] = mp_close(race.wake[1]);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (uint32_t id = 1; id <= race.count; id++)
        if (atomic_load(&race.times[id]) != 1)
            fail_msg("ticket %u was popped %u times", id, atomic_load(&race.times[id]));
    assert_false(atomic_load(&race.out_of_order));
    mp_close(race.wake[0]);
    free(race.memory);
    close_region();
}

static void of_many_who_pop_each_ticket_has_one(void **state)
{
    pthread_t threads[THREADS];
    uint32_t count = (uint32_t)test_count(300000, 30000000);

    (void)state;
    begin_race(count, false, threads, pop_without_rest);
    for (uint32_t id = 0; id < count;) { /* nobody pops before there is something for all */
        while (id < count && mp_queue_push(&region, &end, id + 1))
            id++;
        atomic_store(&race.open, true);
        while (atomic_load(&race.popped) < id)
            sched_yield();
        atomic_store(&race.open, false);
    }
    end_race(threads);
}

/* Look out for a ticket, for up to so many looks.  True: there is one. */
static bool look_out(uint32_t worker, uint64_t looks)
{
    bool seen = false;

    mp_queue_look_out(&region, worker);
    for (; looks > 0 && !seen; looks--)
        seen = !mp_queue_is_empty(&region);
    mp_queue_look_away(&region, worker);
    return seen;
}

/* False: no more will come. */
static bool sleep_till_woken(uint32_t wakes)
{
    char byte;

    if (!race.on_words)
        return mp_read(race.wake[0], &byte, 1) == 1;
    if (mp_queue_era(&region) % 2 != 0)
        return false;
    mp_queue_sleep(&region, wakes);
    return true;
}

/* Who has popped a ticket is busy until all of its burst are: each is to have somebody. */
static void *pop_or_sleep(void *number)
{
    const uint32_t worker = *(uint32_t *)number;
    uint64_t seed = worker;
    uint32_t id, last = 0;

    for (;;) {
        uint32_t wakes;
        bool woken;

        while (mp_queue_pop(&region, &id)) {
            uint32_t burst_end = atomic_load(&race.burst_end);

            note_popped(id, &last);
            while (atomic_load(&race.popped) < burst_end)
                sched_yield();
        }
        if (look_out(worker, test_random(&seed) % 100))
            continue;
        wakes = mp_queue_wakes(&region);
        if (!mp_queue_go_idle(&region, worker))
            continue;
        woken = sleep_till_woken(wakes);
        mp_queue_leave_idle(&region, worker);
        if (!woken)
            return NULL;
    }
}

static void push_and_wake(uint32_t id)
{
    uint32_t sleepers;

    assert_true(mp_queue_push(&region, &end, id));
    sleepers = mp_queue_sleepers(&region, &end, 1);
    assert_in_range(sleepers, 0, 1);
    if (!race.on_words)
        assert_int_equal(mp_write(race.wake[1], "", sleepers), sleepers);
    else if (sleepers > 0)
        mp_queue_wake(&region, sleepers);
}

/* Each burst is pushed when all of the one before was popped: whoever slept on has to be woken. */
static void assert_no_wake_up_is_lost(bool on_words)
{
    pthread_t threads[THREADS];
    uint64_t seed = test_seed();
    uint32_t count = (uint32_t)test_count(50000, 5000000), id = 0;

    begin_race(count, on_words, threads, pop_or_sleep);
    while (id < count) {
        uint32_t burst = 1 + (uint32_t)(test_random(&seed) % THREADS);

        if (burst > count - id)
            burst = count - id;
        atomic_store(&race.burst_end, id + burst);
        for (uint32_t i = 0; i < burst; i++)
            push_and_wake(++id);
        while (atomic_load(&race.popped) < id)
            sched_yield();
    }
    end_race(threads);
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    assert_no_wake_up_is_lost(false);
}

static void nor_one_on_a_word(void **state)
{
    (void)state;
    if (!mp_can_sleep_on_words())
        skip();
    assert_no_wake_up_is_lost(true);
}

/* ---- between any two instructions -------------------------------------------------------------- */

/* The worker and the host. */
static struct parties {
    bool slept;         /* the worker */
    uint32_t wakes;     /* when it had not yet said that it is idle */
    uint32_t seen_idle; /* by the host */
    uint32_t ids[2];    /* popped by the child, and by the test; 0: none */
    _Atomic bool begun; /* a sleep, */
    _Atomic bool ended;
} * parties;

static void begin_empty(void)
{
    mp_region_reset(&region);
    end = (struct queue_end){0};
    *parties = (struct parties){.slept = false};
}

static void begin_with_two(void)
{
    begin_empty();
    mp_queue_push(&region, &end, 1);
    mp_queue_push(&region, &end, 2);
}

/* The entries that are to be written have something in them. */
static void begin_a_second_round(void)
{
    uint32_t id;

    begin_empty();
    for (uint32_t i = 0; i < MP_QUEUE_SIZE; i++) {
        mp_queue_push(&region, &end, 1000);
        mp_queue_pop(&region, &id);
    }
}

static void push_and_look_who_is_idle(void)
{
    mp_queue_push(&region, &end, 7);
    parties->seen_idle = mp_queue_sleepers(&region, &end, 1);
}

static void go_idle(void)
{
    parties->slept = mp_queue_go_idle(&region, 0);
}

static void look_out_in_vain_and_go_idle(void)
{
    mp_queue_look_out(&region, 0);
    mp_queue_look_away(&region, 0);
    if (!mp_queue_pop(&region, &parties->ids[0]))
        parties->slept = mp_queue_go_idle(&region, 0);
}

static bool one_sees_the_other(void)
{
    return !parties->slept || parties->seen_idle == 1;
}

static void pop_first(void)
{
    mp_queue_pop(&region, &parties->ids[0]);
}

static void pop_second(void)
{
    mp_queue_pop(&region, &parties->ids[1]);
}

static bool each_has_one(void)
{
    const uint32_t *ids = parties->ids;

    return (ids[0] == 1 && ids[1] == 2) || (ids[0] == 2 && ids[1] == 1);
}

static bool it_is_the_new_one_or_none(void)
{
    return parties->ids[1] == 0 || parties->ids[1] == 7;
}

static void push_and_wake_the_idle(void)
{
    push_and_look_who_is_idle();
    if (parties->seen_idle > 0)
        mp_queue_wake(&region, parties->seen_idle);
}

static void shut(void)
{
    mp_queue_shut(&region);
}

static void go_idle_on_a_word(void)
{
    parties->wakes = mp_queue_wakes(&region);
    parties->slept = mp_queue_go_idle(&region, 0);
}

static void go_idle_on_a_word_unless_shut(void)
{
    go_idle_on_a_word();
    if (parties->slept)
        parties->slept = mp_queue_era(&region) % 2 == 0;
}

static pid_t sleeper;

/* The worker has said that it is idle, and found nothing. */
static void begin_idle(void)
{
    begin_empty();
    go_idle_on_a_word();
}

static void sleep_on_the_word(void)
{
    sleeper = fork();
    if (sleeper == 0) {
        atomic_store(&parties->begun, true);
        mp_queue_sleep(&region, parties->wakes);
        atomic_store(&parties->ended, true);
        _exit(0);
    }
    while (sleeper > 0 && !atomic_load(&parties->begun))
        sched_yield();
    if (sleeper > 0)
        test_falls_asleep(sleeper);
}

/* Whoever was woken is not asleep from then on, until he has said so. */
static bool nobody_sleeps(void)
{
    bool sleeps = test_is_asleep(sleeper) && !atomic_load(&parties->ended);

    if (sleeper < 0)
        return false;
    if (sleeps)
        kill(sleeper, SIGKILL);
    waitpid(sleeper, NULL, 0);
    return !sleeps;
}

/* Who would sleep finds another word there than he read. */
static bool nobody_sleeps_on(void)
{
    return !parties->slept || mp_queue_wakes(&region) != parties->wakes;
}

static void assert_holds_wherever_they_meet(const struct meeting *meeting)
{
    uint32_t steps;

    open_region();
    parties = test_share(sizeof *parties);
    steps = test_meet(meeting);
    test_unshare(parties, sizeof *parties);
    close_region();
    if (!steps)
        skip();
    assert_true(steps > 10);
}

static void a_worker_that_goes_to_sleep_sees_a_push_or_is_seen(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_empty, go_idle, push_and_look_who_is_idle, one_sees_the_other});
}

static void a_push_sees_a_worker_that_goes_to_sleep_or_is_seen(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_empty, push_and_look_who_is_idle, go_idle, one_sees_the_other});
}

static void a_worker_that_ceases_to_look_out_sees_a_push_or_is_seen(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(&(struct meeting){
        begin_empty, look_out_in_vain_and_go_idle, push_and_look_who_is_idle, one_sees_the_other});
    assert_holds_wherever_they_meet(&(struct meeting){
        begin_empty, push_and_look_who_is_idle, look_out_in_vain_and_go_idle, one_sees_the_other});
}

static void a_worker_does_not_sleep_on_a_word_after_it_was_woken(void **state)
{
    (void)state;
    if (!mp_can_sleep_on_words())
        skip();
    assert_holds_wherever_they_meet(&(struct meeting){begin_empty, go_idle_on_a_word,
                                                      push_and_wake_the_idle, nobody_sleeps_on});
    assert_holds_wherever_they_meet(&(struct meeting){begin_empty, push_and_wake_the_idle,
                                                      go_idle_on_a_word, nobody_sleeps_on});
}

static void nor_after_the_queue_was_shut(void **state)
{
    (void)state;
    if (!mp_can_sleep_on_words())
        skip();
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_empty, go_idle_on_a_word_unless_shut, shut, nobody_sleeps_on});
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_empty, shut, go_idle_on_a_word_unless_shut, nobody_sleeps_on});
}

static void whenever_an_idle_worker_falls_asleep_it_is_woken(void **state)
{
    (void)state;
    if (!mp_can_sleep_on_words())
        skip();
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_idle, push_and_wake_the_idle, sleep_on_the_word, nobody_sleeps});
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_idle, shut, sleep_on_the_word, nobody_sleeps});
}

static void of_two_who_pop_each_has_a_ticket_of_his_own(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_with_two, pop_first, pop_second, each_has_one});
}

static void what_is_popped_in_the_middle_of_a_push_was_pushed(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(&(struct meeting){
        begin_a_second_round, push_and_look_who_is_idle, pop_second, it_is_the_new_one_or_none});
}

/* ---- in a pool ------------------------------------------------------------------------------- */

/* What the tasks of a pool see. */
static struct stage {
    _Atomic uint32_t begun;
    _Atomic bool gate;
    _Atomic uint32_t runs;
} * stage;

static mproc_pool *open_pool(int32_t workers)
{
    mproc_pool *pool;

    stage = test_share(sizeof *stage);
    assert_int_equal(mproc_pool_create(&pool, workers, NULL), 0);
    return pool;
}

static void close_pool(mproc_pool *pool)
{
    mproc_pool_destroy(pool);
    test_unshare(stage, sizeof *stage);
    stage = NULL;
}

static bool workers_are_threads(const mproc_pool *pool)
{
    return pool->generation.supervisor <= 0;
}

static int32_t pass_gate(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_fetch_add(&stage->begun, 1);
    while (!atomic_load(&stage->gate))
        poll(NULL, 0, 1);
    return 0;
}

static int32_t never_end(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_fetch_add(&stage->begun, 1);
    for (;;)
        pause();
    return 0;
}

static int32_t count_run(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_fetch_add(&stage->runs, 1);
    return 0;
}

static mproc_future *submit(mproc_pool *pool, mproc_task_fn function)
{
    mproc_future *future = NULL;

    assert_int_equal(mproc_pool_submit(pool, &future, function, NULL, NULL, 0, NULL), 0);
    return future;
}

static void until_begun(uint32_t count)
{
    while (atomic_load(&stage->begun) < count)
        sched_yield();
}

static void *wait_for(void *future)
{
    return mproc_future_wait(future, -1) == 0 ? future : NULL;
}

/* Two tasks run, one waits its turn, and three threads wait for them; then the first task ends. */
static void assert_poisoned_by(uint64_t head_more, uint64_t tail_more)
{
    mproc_pool *pool = open_pool(2);
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *futures[3];
    pthread_t threads[3];

    if (workers_are_threads(pool)) {
        close_pool(pool);
        skip();
    }
    futures[0] = submit(pool, pass_gate);
    futures[1] = submit(pool, never_end);
    until_begun(2);
    futures[2] = submit(pool, count_run);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for, futures[i]), 0);
    atomic_fetch_add(&mp_region_queue(&pool->region)->head, head_more);
    atomic_fetch_add(&mp_region_queue(&pool->region)->tail, tail_more);
    atomic_store(&stage->gate, true);
    for (int i = 0; i < 3; i++) {
        void *waited;

        assert_int_equal(pthread_join(threads[i], &waited), 0);
        assert_ptr_equal(waited, futures[i]);
    }
    assert_int_equal(mproc_future_failure(futures[1], &failure), 0);
    assert_int_equal(failure.error, MPROC_EBROKEN);
    assert_string_equal(failure.text, "the ticket queue has an impossible value");
    for (int i = 0; i < 3; i++)
        mproc_future_free(futures[i]);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(mproc_pool_call(pool, count_run, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
    close_pool(pool);
}

static void an_impossible_head_breaks_the_pool_and_every_open_call_returns(void **state)
{
    (void)state;
    assert_poisoned_by(2, 0);
    assert_poisoned_by(UINT64_MAX / 2, 0);
    assert_poisoned_by((uint64_t)0 - 4, 0);
}

static void so_does_a_tail_that_is_not_the_hosts(void **state)
{
    (void)state;
    assert_poisoned_by(0, 1000000);
    assert_poisoned_by(0, UINT64_MAX / 2);
}

static void tickets_that_are_taken_again_do_nothing(void **state)
{
    enum { TASKS = 100 };
    mproc_future *futures[TASKS];
    mproc_pool *pool = open_pool(2);

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < TASKS; i++)
            futures[i] = submit(pool, count_run);
        assert_int_equal(mproc_future_wait_all(futures, TASKS, -1), 0);
        for (int i = 0; i < TASKS; i++) {
            assert_int_equal(mproc_future_result(futures[i], NULL, NULL), 0);
            mproc_future_free(futures[i]);
        }
        atomic_store(&mp_region_queue(&pool->region)->head, 0);
    }
    assert_int_equal(atomic_load(&stage->runs), 3 * TASKS);
    close_pool(pool);
}

static void a_restarted_pool_has_an_empty_queue(void **state)
{
    enum { TASKS = 5 };
    mproc_pool *pool = open_pool(1);
    mproc_future *future;

    (void)state;
    if (workers_are_threads(pool)) {
        close_pool(pool);
        skip();
    }
    for (int round = 0; round < 3; round++) {
        atomic_store(&stage->begun, 0);
        atomic_store(&stage->gate, false);
        future = submit(pool, pass_gate);
        until_begun(1);
        mp_pool_lock(pool);
        while (mp_queue_push(&pool->region, &pool->queue, 1)) /* of no job that waits */
            ;
        mp_pool_unlock(pool);
        assert_int_equal(mp_kill(pool->generation.supervisor, false, SIGKILL), 0);
        assert_int_equal(mproc_future_wait(future, -1), 0);
        assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
        mproc_future_free(future);
        assert_int_equal(mproc_pool_restart(pool), 0);
        assert_int_equal(pool->queue.tail, 0);
        for (int i = 0; i < TASKS; i++)
            assert_int_equal(mproc_pool_call(pool, count_run, NULL, NULL, 0, NULL, 0, NULL, NULL),
                             0);
        assert_int_equal(pool->queue.tail, TASKS);
    }
    close_pool(pool);
}

/* The one whose bit says that it sleeps is dead, and its replacement does not come up at once. */
static void the_bit_of_a_dead_worker_keeps_no_task_from_the_others(void **state)
{
    mproc_pool *pool = open_pool(2);

    (void)state;
    for (int i = 0; i < 50; i++) {
        atomic_fetch_or(mp_region_idle(&pool->region), 3); /* as if both slept and one were dead */
        assert_int_equal(mproc_pool_call(pool, count_run, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
    }
    assert_int_equal(atomic_load(&stage->runs), 50);
    close_pool(pool);
}

static void until_asleep(mproc_pool *pool, uint64_t workers)
{
    while (atomic_load(mp_region_idle(&pool->region)) != workers ||
           atomic_load(mp_region_looking(&pool->region)) != 0)
        sched_yield();
}

/* Who looked out for it was stopped, or the bit is a lie. */
static void a_task_waits_for_nobody_who_only_says_that_he_looks_out(void **state)
{
    mproc_pool *pool = open_pool(2);

    (void)state;
    for (int i = 0; i < 20; i++) {
        until_asleep(pool, 3);
        atomic_store(mp_region_looking(&pool->region), 3);
        assert_int_equal(mproc_pool_call(pool, count_run, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
        atomic_store(mp_region_looking(&pool->region), 0);
    }
    assert_int_equal(atomic_load(&stage->runs), 20);
    close_pool(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tickets_are_popped_in_the_order_they_were_pushed),
        TEST(a_full_queue_takes_no_more_until_one_is_popped),
        TEST(the_ring_goes_round),
        TEST(what_the_workers_cannot_have_popped_is_impossible),
        TEST(a_push_into_a_queue_that_was_scribbled_on_touches_nothing_else),
        TEST(each_worker_has_an_idle_bit_of_its_own),
        TEST(nobody_is_woken_where_enough_look_out),
        TEST(nobody_goes_idle_while_there_is_a_ticket),
        TEST(who_was_woken_before_he_sleeps_does_not_sleep),
        TEST(of_many_who_pop_each_ticket_has_one),
        TEST(no_wake_up_is_lost),
        TEST(nor_one_on_a_word),
        TEST(a_worker_that_goes_to_sleep_sees_a_push_or_is_seen),
        TEST(a_push_sees_a_worker_that_goes_to_sleep_or_is_seen),
        TEST(a_worker_that_ceases_to_look_out_sees_a_push_or_is_seen),
        TEST(a_worker_does_not_sleep_on_a_word_after_it_was_woken),
        TEST(nor_after_the_queue_was_shut),
        TEST(whenever_an_idle_worker_falls_asleep_it_is_woken),
        TEST(of_two_who_pop_each_has_a_ticket_of_his_own),
        TEST(what_is_popped_in_the_middle_of_a_push_was_pushed),
        TEST(an_impossible_head_breaks_the_pool_and_every_open_call_returns),
        TEST(so_does_a_tail_that_is_not_the_hosts),
        TEST(tickets_that_are_taken_again_do_nothing),
        TEST(a_restarted_pool_has_an_empty_queue),
        TEST(a_task_waits_for_nobody_who_only_says_that_he_looks_out),
        TEST(the_bit_of_a_dead_worker_keeps_no_task_from_the_others),
    };

    return TEST_MAIN(tests);
}
