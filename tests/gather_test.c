/* SPDX-License-Identifier: MIT */
/*
 * How the host waits and what it believes: several threads with one sleeper among them, and workers
 * that scribble over everything they can reach.
 */
#include "support.h"

#include "pool/pool.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20, GATES = 4, BROKEN_MS = 2000, NS_PER_MS = 1000000 };

static mproc_pool *pool;
static int gates[GATES][2]; /* an order in one lets the task go on that waits there */
static int began[2];        /* each task writes a byte before it waits */

static void open_pool(int32_t workers, uint64_t arena_size)
{
    mproc_pool_options options = {
        .size = sizeof options, .keep_descriptors = 1, .arena_size = arena_size};

    for (int i = 0; i < GATES; i++)
        assert_int_equal(pipe(gates[i]), 0);
    assert_int_equal(pipe(began), 0);
    assert_int_equal(mproc_pool_create(&pool, workers, &options), 0);
}

static void close_pool(void)
{
    mproc_pool_destroy(pool);
    pool = NULL;
    for (int i = 0; i < GATES; i++) {
        close(gates[i][0]);
        close(gates[i][1]);
    }
    close(began[0]);
    close(began[1]);
}

/* In a build for race detection workers are threads: none can be killed, and none may scribble. */
static bool workers_are_threads(void)
{
    return pool->generation.supervisor <= 0;
}

static int64_t limit_ms(int64_t ms)
{
    return ms * test_slowness();
}

/* ---- tasks that wait for an order --------------------------------------------------------------
 */

enum deed { GO_ON, SCRIBBLE, RING_FOR_EVER };
enum pattern { ZEROS, ONES, NUMBERS };
enum end { RETURN, EXIT, CRASH };

/* What a task is to do when it is let go on.  No padding here or below: valgrind would follow it through
 * shared memory. */
struct order {
    char *at; /* scribble from here on */
    size_t size;
    uint64_t seed;
    enum deed deed;
    enum pattern pattern;
    enum end end;
    int32_t spare;
};

static void fill(const struct order *order)
{
    uint64_t seed = order->seed;

    if (order->pattern == NUMBERS)
        for (size_t i = 0; i + 8 <= order->size; i += 8) {
            uint64_t number = test_random(&seed);

            memcpy(order->at + i, &number, sizeof number);
        }
    else
        memset(order->at, order->pattern == ONES ? 0xff : 0, order->size);
}

/* Where a task waits. */
struct place {
    int64_t gate;
    const mproc_pool *pool;
};

static int32_t obey(mproc_task *task, void *ctx)
{
    struct place place = *(struct place *)ctx; /* that in shared memory may be scribbled over */
    struct order order;
    int32_t *out = mproc_task_output(task, sizeof *out);

    *out = (int32_t)place.gate;
    if (write(began[1], "", 1) != 1 ||
        read(gates[place.gate][0], &order, sizeof order) != sizeof order)
        return 1;
    while (order.deed == RING_FOR_EVER)
        mp_ring(place.pool->generation.fds[BELL_WRITE]);
    if (order.deed == SCRIBBLE) {
        fill(&order);
        if (order.end == EXIT)
            _exit(3);
        if (order.end == CRASH)
            raise(SIGKILL);
    }
    return 0;
}

/* Hand over a task that waits at a gate. */
static mproc_future *submit(int gate)
{
    struct place place = {gate, pool};
    mproc_submit_options options = {
        .size = sizeof options, .output_max = sizeof(int32_t), .ctx_size = sizeof place};
    mproc_future *future = NULL;

    assert_int_equal(mproc_pool_submit(pool, &future, obey, &place, NULL, 0, &options), 0);
    return future;
}

/* The same, and it has begun. */
static mproc_future *begin(int gate)
{
    mproc_future *future = submit(gate);
    char byte;

    assert_int_equal(read(began[0], &byte, 1), 1);
    return future;
}

static void give_order(int gate, const struct order *order)
{
    assert_int_equal(write(gates[gate][1], order, sizeof *order), sizeof *order);
}

static void let_go(int gate)
{
    give_order(gate, &(struct order){.deed = GO_ON});
}

static void assert_done_at(mproc_future *future, int gate)
{
    const void *data;

    assert_int_equal(mproc_future_result(future, &data, NULL), 0);
    assert_int_equal(*(const int32_t *)data, gate);
    mproc_future_free(future);
}

/* ---- threads that wait -------------------------------------------------------------------------
 */

struct waiting {
    pthread_t thread;
    mproc_future *const *futures; /* any of these */
    size_t count;
    int64_t timeout_ms;
    int result;
    int64_t took_ms;
    _Atomic bool is_over;
};

static void *wait_in_thread(void *arg)
{
    struct waiting *self = arg;
    int64_t start = mp_now();

    self->result = mproc_future_wait_any(self->futures, self->count, self->timeout_ms);
    self->took_ms = (mp_now() - start) / NS_PER_MS;
    atomic_store(&self->is_over, true);
    return NULL;
}

static size_t count_waiters(bool *somebody_sleeps)
{
    size_t count = 0;

    mp_pool_lock(pool);
    for (const struct list *link = pool->waiters.next; link != &pool->waiters; link = link->next)
        count++;
    *somebody_sleeps = pool->sleeper != NULL;
    mp_pool_unlock(pool);
    return count;
}

/* Until so many threads wait, one of them on the bell. */
static void until_so_many_wait(size_t count)
{
    bool somebody_sleeps = false;

    while (count_waiters(&somebody_sleeps) != count || somebody_sleeps != (count > 0))
        sched_yield();
}

static void start_waiting(struct waiting *waiting, mproc_future *const *futures, size_t count,
                          int64_t timeout_ms)
{
    *waiting = (struct waiting){.futures = futures, .count = count, .timeout_ms = timeout_ms};
    assert_int_equal(pthread_create(&waiting->thread, NULL, wait_in_thread, waiting), 0);
}

static int end_waiting(struct waiting *waiting)
{
    assert_int_equal(pthread_join(waiting->thread, NULL), 0);
    return waiting->result;
}

static void each_thread_is_woken_for_its_own_task(void **state)
{
    static const int order[GATES] = {2, 0, 3, 1};
    struct waiting waiting[GATES];
    mproc_future *futures[GATES];

    (void)state;
    open_pool(GATES, MIB);
    for (int i = 0; i < GATES; i++) {
        futures[i] = begin(i);
        start_waiting(&waiting[i], &futures[i], 1, -1);
    }
    until_so_many_wait(GATES);
    for (int i = 0; i < GATES; i++) {
        let_go(order[i]);
        assert_int_equal(end_waiting(&waiting[order[i]]), 0);
        until_so_many_wait((size_t)(GATES - 1 - i));
        for (int k = i + 1; k < GATES; k++)
            assert_false(atomic_load(&waiting[order[k]].is_over));
    }
    for (int i = 0; i < GATES; i++)
        assert_done_at(futures[i], i);
    close_pool();
}

static void when_the_sleeper_gives_up_another_takes_its_place(void **state)
{
    struct waiting first, others[2];
    mproc_future *futures[3];

    (void)state;
    open_pool(3, MIB);
    for (int i = 0; i < 3; i++)
        futures[i] = begin(i);
    start_waiting(&first, &futures[2], 1, limit_ms(100));
    until_so_many_wait(1);
    for (int i = 0; i < 2; i++)
        start_waiting(&others[i], &futures[i], 1, -1);
    assert_int_equal(end_waiting(&first), -ETIMEDOUT);
    until_so_many_wait(2); /* and one of them sleeps */
    for (int i = 1; i >= 0; i--) {
        let_go(i);
        assert_int_equal(end_waiting(&others[i]), 0);
    }
    let_go(2);
    assert_int_equal(mproc_future_wait(futures[2], -1), 0);
    for (int i = 0; i < 3; i++)
        assert_done_at(futures[i], i);
    close_pool();
}

static void when_the_sleeper_has_its_task_another_takes_its_place(void **state)
{
    struct waiting first, other;
    mproc_future *futures[2];

    (void)state;
    open_pool(2, MIB);
    for (int i = 0; i < 2; i++)
        futures[i] = begin(i);
    start_waiting(&first, &futures[0], 1, -1);
    until_so_many_wait(1);
    start_waiting(&other, &futures[1], 1, -1);
    until_so_many_wait(2);
    let_go(0);
    assert_int_equal(end_waiting(&first), 0);
    until_so_many_wait(1);
    let_go(1);
    assert_int_equal(end_waiting(&other), 0);
    for (int i = 0; i < 2; i++)
        assert_done_at(futures[i], i);
    close_pool();
}

static void a_thread_that_does_not_sleep_on_the_bell_times_out_too(void **state)
{
    struct waiting sleeper, others[2];
    mproc_future *future;

    (void)state;
    open_pool(1, MIB);
    future = begin(0);
    start_waiting(&sleeper, &future, 1, -1);
    until_so_many_wait(1);
    for (int i = 0; i < 2; i++)
        start_waiting(&others[i], &future, 1, 50);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(end_waiting(&others[i]), -ETIMEDOUT);
        assert_in_range(others[i].took_ms, 50, 50 + limit_ms(1000));
    }
    assert_false(atomic_load(&sleeper.is_over));
    let_go(0);
    assert_int_equal(end_waiting(&sleeper), 0);
    assert_done_at(future, 0);
    close_pool();
}

static void one_task_wakes_every_thread_that_waits_for_any_with_it(void **state)
{
    struct waiting a, b, c;
    mproc_future *futures[GATES];

    (void)state;
    open_pool(GATES, MIB);
    for (int i = 0; i < GATES; i++)
        futures[i] = begin(i);
    start_waiting(&a, &futures[0], 2, -1); /* 0 and 1 */
    start_waiting(&b, &futures[1], 2, -1); /* 1 and 2 */
    start_waiting(&c, &futures[3], 1, -1);
    until_so_many_wait(3);
    let_go(1);
    assert_int_equal(end_waiting(&a), 1);
    assert_int_equal(end_waiting(&b), 0);
    until_so_many_wait(1);
    assert_false(atomic_load(&c.is_over));
    let_go(3);
    assert_int_equal(end_waiting(&c), 0);
    let_go(0);
    let_go(2);
    assert_int_equal(mproc_future_wait_all(futures, GATES, -1), 0);
    for (int i = 0; i < GATES; i++)
        assert_done_at(futures[i], i);
    close_pool();
}

/* ---- cancelled by another thread ------------------------------------------------------------- */

static void a_cancel_of_what_is_not_begun_wakes_whoever_waits_for_it(void **state)
{
    struct waiting first, other;
    mproc_future *held, *queued[2];

    (void)state;
    open_pool(1, MIB);
    held = begin(0);
    queued[0] = submit(1);
    queued[1] = submit(1);
    start_waiting(&first, &queued[0], 1, -1); /* the sleeper */
    until_so_many_wait(1);
    start_waiting(&other, &queued[1], 1, -1);
    until_so_many_wait(2);
    for (int i = 1; i >= 0; i--) {
        assert_int_equal(mproc_future_cancel(queued[i]), 0);
        assert_int_equal(end_waiting(i ? &other : &first), 0);
        assert_int_equal(mproc_future_result(queued[i], NULL, NULL), -ECANCELED);
        assert_int_equal(mproc_future_cancel(queued[i]), -EALREADY);
    }
    assert_int_equal(mproc_future_is_done(held), 0);
    let_go(0);
    assert_int_equal(mproc_future_wait(held, -1), 0);
    assert_done_at(held, 0);
    for (int i = 0; i < 2; i++)
        mproc_future_free(queued[i]);
    close_pool();
}

static void a_cancel_of_what_runs_wakes_whoever_waits_for_it(void **state)
{
    struct waiting first, other;
    mproc_future *futures[2];

    (void)state;
    open_pool(2, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    for (int i = 0; i < 2; i++)
        futures[i] = begin(i);
    start_waiting(&first, &futures[0], 1, limit_ms(5000));
    until_so_many_wait(1);
    start_waiting(&other, &futures[1], 1, limit_ms(5000));
    until_so_many_wait(2);
    for (int i = 1; i >= 0; i--) {
        assert_int_equal(mproc_future_cancel(futures[i]), 0);
        assert_int_equal(end_waiting(i ? &other : &first), 0);
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), -ECANCELED);
        mproc_future_free(futures[i]);
    }
    close_pool();
}

static void a_terminate_wakes_every_thread(void **state)
{
    struct waiting waiting[3];
    mproc_future *futures[3];

    (void)state;
    open_pool(2, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    futures[0] = begin(0);
    futures[1] = begin(1);
    futures[2] = submit(2);
    for (int i = 0; i < 3; i++)
        start_waiting(&waiting[i], &futures[i], 1, -1);
    until_so_many_wait(3);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(end_waiting(&waiting[i]), 0);
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), -ECANCELED);
        mproc_future_free(futures[i]);
    }
    close_pool();
}

/* ---- all of it at once ----------------------------------------------------------------------- */

static uint64_t answer(uint64_t number)
{
    return number * 0x9e3779b97f4a7c15U + 1;
}

static int32_t answer_task(mproc_task *task, void *ctx)
{
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    *out = answer(*(const uint64_t *)mproc_task_input(task, NULL));
    return 0;
}

struct customer {
    pthread_t thread;
    uint64_t seed;
    int rounds;
    int wrong;
};

/* 0, or 1 if the task ended as it should not. */
static int be_served_once(uint64_t *seed)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 8};
    uint64_t number = test_random(seed), what = test_random(seed) % 8;
    mproc_future *future;
    const void *data;
    int r, wrong;

    if (mproc_pool_submit(pool, &future, answer_task, NULL, &number, sizeof number, &options))
        return 1;
    if (what == 0)
        mproc_future_cancel(future);
    if (what == 1)
        mproc_future_wait(future, 0);
    if (what == 2) {
        mproc_future_free(future);
        return 0;
    }
    r = mproc_future_wait(future, -1);
    if (r == 0)
        r = mproc_future_result(future, &data, NULL);
    wrong = r ? what != 0 || r != -ECANCELED : *(const uint64_t *)data != answer(number);
    mproc_future_free(future);
    return wrong;
}

static void *be_served(void *arg)
{
    struct customer *self = arg;

    for (int i = 0; i < self->rounds; i++)
        self->wrong += be_served_once(&self->seed);
    return NULL;
}

static void threads_that_submit_wait_and_cancel_do_not_disturb_each_other(void **state)
{
    enum { THREADS = 6 };
    struct customer customers[THREADS];
    uint64_t seed = test_seed();

    (void)state;
    open_pool(3, 16 * MIB);
    for (int i = 0; i < THREADS; i++) {
        customers[i] =
            (struct customer){.seed = test_random(&seed), .rounds = 2000 / test_slowness()};
        assert_int_equal(pthread_create(&customers[i].thread, NULL, be_served, &customers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(customers[i].thread, NULL), 0);
        assert_int_equal(customers[i].wrong, 0);
    }
    close_pool();
}

/* ---- what the host does not believe ---------------------------------------------------------- */

/* The job that was posted first of those that are open. */
static struct job *first_open_job(void)
{
    struct job *job;

    mp_pool_lock(pool);
    assert_false(list_is_empty(&pool->open));
    job = LIST_ENTRY(pool->open.next, struct job, in_open);
    mp_pool_unlock(pool);
    return job;
}

static uint64_t word_of(uint32_t id, unsigned worker, unsigned attempts, unsigned state)
{
    return (uint64_t)id << 32 | (uint64_t)worker << 16 | (uint64_t)attempts << 8 | state;
}

/* As if a worker had seen every chunk of the slot's job ended. */
static void set_ready(uint32_t slot)
{
    atomic_fetch_or(&mp_region_ready(&pool->region)[slot / 64], (uint64_t)1 << slot % 64);
}

/* As if a worker had left this in the job's only word. */
static void put_word(struct job *job, uint64_t word)
{
    atomic_store(job->words, word);
    set_ready(mp_job_slot(job->id));
}

static void assert_broken(mproc_future *future, const char *why)
{
    mproc_failure failure = {.size = sizeof failure};

    assert_int_equal(mproc_future_wait(future, limit_ms(BROKEN_MS)), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, MPROC_EBROKEN);
    if (!strstr(failure.text, why))
        fail_msg("broken because \"%s\", not \"%s\"", failure.text, why);
    mproc_future_free(future);
}

static int32_t answer_item(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = answer(*(const uint64_t *)in);
    return 0;
}

static void assert_works(void)
{
    uint64_t out[100] = {0};

    assert_int_equal(
        mproc_pool_map(pool, answer_item, NULL, NULL, 0, out, sizeof out[0], 100, NULL), 0);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(out[i], answer(i));
}

static void assert_works_again(void)
{
    mproc_future *future = NULL;

    assert_int_equal(mproc_pool_submit(pool, &future, answer_task, NULL, NULL, 0, NULL),
                     MPROC_EBROKEN);
    assert_null(future);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(atomic_load(&mp_region_pool(&pool->region)->least_limit_ns), 0);
    assert_works();
}

static void a_word_that_cannot_be_breaks_the_pool(void **state)
{
    enum { WORKERS = 2 };

    (void)state;
    open_pool(WORKERS, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    for (int i = 0; i < 11; i++) {
        mproc_future *future = begin(0), *queued = submit(1), *other = begin(2);
        struct job *job = first_open_job();
        uint32_t id = job->id;
        const uint64_t words[] = {0,
                                  UINT64_MAX,
                                  word_of(id + 1, 0, 1, CHUNK_DONE),
                                  word_of(id ^ 1U << 16, 0, 1, CHUNK_DONE),
                                  word_of(id, 0, 1, CHUNK_NONE),
                                  word_of(id, 0, 1, CHUNK_STATE_COUNT),
                                  word_of(id, 0, 1, 255),
                                  word_of(id, WORKERS, 1, CHUNK_RUNNING),
                                  word_of(id, WORD_WORKER_MAX, 1, CHUNK_STOPPING),
                                  word_of(id, 1, 1, CHUNK_DONE),
                                  word_of(id, 1, 1, CHUNK_WAITING)};

        put_word(job, words[i]);
        assert_broken(future, "impossible");
        assert_broken(queued, "impossible");
        assert_broken(other, "impossible");
        assert_works_again();
    }
    close_pool();
}

static void a_result_longer_than_there_is_room_for_breaks_the_pool(void **state)
{
    mproc_future *future;
    struct job *job;

    (void)state;
    open_pool(1, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    future = begin(0);
    job = first_open_job();
    job->outcomes[0].length = sizeof(int32_t) + 1;
    put_word(job, word_of(job->id, 0, 1, CHUNK_DONE));
    assert_int_equal(mproc_future_wait(future, limit_ms(BROKEN_MS)), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
    mproc_future_free(future);
    assert_works_again();
    close_pool();
}

static void a_failure_is_checked_before_it_is_handed_on(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_future *future;
    struct job *job;

    (void)state;
    open_pool(1, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    future = begin(0);
    job = first_open_job();
    memset(&job->outcomes[0], 'x', sizeof job->outcomes[0]); /* no end of the text, no such item */
    put_word(job, word_of(job->id, 0, 1, CHUNK_FAILED));
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, MPROC_ETASK);
    assert_int_equal(failure.index, 0);
    assert_int_equal(strlen(failure.text), MPROC_TEXT_MAX - 1);
    mproc_future_free(future);
    close_pool();
}

/* ---- a worker that scribbles ----------------------------------------------------------------- */

/* One worker scribbles (at NULL: over the word of its own chunk), another is in the middle of a
 * task, a third task waits. */
static void scribble(struct order order, const char *why)
{
    mproc_future *scribbler = begin(0), *other = begin(1), *queued = submit(2);

    if (!order.at)
        order.at =
            pool->region.memory.base +
            atomic_load(&mp_region_job(&pool->region, mp_job_slot(first_open_job()->id))->words);
    give_order(0, &order);
    assert_broken(scribbler, why);
    assert_broken(other, why);
    assert_broken(queued, why);
    assert_works_again();
}

static void a_worker_that_scribbles_over_its_own_word_breaks_the_pool(void **state)
{
    (void)state;
    open_pool(2, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    for (enum pattern pattern = ZEROS; pattern <= NUMBERS; pattern++)
        for (enum end end = RETURN; end <= CRASH; end++) {
            struct order order = {.deed = SCRIBBLE,
                                  .size = sizeof(chunk_word),
                                  .pattern = pattern,
                                  .seed = 1,
                                  .end = end};

            scribble(order, "impossible");
        }
    close_pool();
}

static void scribble_over_everything(enum pattern pattern)
{
    uint64_t seed = test_seed();

    open_pool(2, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    for (enum end end = RETURN; end <= CRASH; end++) {
        struct order order = {.deed = SCRIBBLE,
                              .at = pool->region.memory.base,
                              .size = pool->region.memory.size,
                              .pattern = pattern,
                              .seed = seed,
                              .end = end};

        scribble(order, "impossible");
    }
    close_pool();
}

static void zeros_over_all_shared_memory_break_the_pool_and_nothing_else(void **state)
{
    (void)state;
    scribble_over_everything(ZEROS);
}

static void ones_over_all_shared_memory_break_the_pool_and_nothing_else(void **state)
{
    (void)state;
    scribble_over_everything(ONES);
}

static void random_bytes_over_all_shared_memory_break_the_pool_and_nothing_else(void **state)
{
    (void)state;
    scribble_over_everything(NUMBERS);
}

/* Only the records of the workers, and the words of the pool: the truth about the tasks stands
 * still. */
static void scribbled_records_neither_lose_a_task_nor_hold_it_up(void **state)
{
    uint64_t seed = test_seed();

    (void)state;
    open_pool(2, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    for (enum pattern pattern = ZEROS; pattern <= NUMBERS; pattern++)
        for (enum end end = RETURN; end <= CRASH; end++) {
            mproc_future *scribbler = begin(0), *other = begin(1);
            struct order order = {.deed = SCRIBBLE,
                                  .at = pool->region.memory.base,
                                  .size = pool->region.jobs_offset,
                                  .pattern = pattern,
                                  .seed = test_random(&seed),
                                  .end = end};
            int r;

            give_order(0, &order);
            r = mproc_future_wait(scribbler, limit_ms(BROKEN_MS));
            if (r)
                fail_msg("pattern %d, end %d: not seen to have ended", (int)pattern, (int)end);
            r = mproc_future_result(scribbler, NULL, NULL);
            assert_true(r == MPROC_EBROKEN || r == (end == RETURN ? 0 : MPROC_ECRASHED));
            let_go(1);
            assert_int_equal(mproc_future_wait(other, limit_ms(BROKEN_MS)), 0);
            r = mproc_future_result(other, NULL, NULL);
            assert_true(r == MPROC_EBROKEN || r == 0);
            mproc_future_free(scribbler);
            mproc_future_free(other);
            assert_int_equal(mproc_pool_restart(pool), 0);
            assert_works();
            close_pool();
            open_pool(2, MIB);
        }
    close_pool();
}

/* A worker writes into its record that it has left, and dies in the middle of a task. */
static void a_worker_that_pretends_to_leave_does_not_die_unseen(void **state)
{
    (void)state;
    for (enum end end = EXIT; end <= CRASH; end++) {
        struct order order = {
            .deed = SCRIBBLE, .size = sizeof(uint32_t), .pattern = ONES, .end = end};
        mproc_future *scribbler, *other, *queued;
        uint32_t number;

        open_pool(2, MIB);
        if (workers_are_threads()) {
            close_pool();
            skip();
        }
        scribbler = begin(0);
        number = mp_word_view(atomic_load(first_open_job()->words)).worker;
        other = begin(1);
        queued = submit(2);
        order.at =
            (char *)mp_region_worker(&pool->region, number) + offsetof(struct worker_shm, left);
        give_order(0, &order);
        assert_int_equal(mproc_future_wait(scribbler, limit_ms(BROKEN_MS)), 0);
        assert_int_equal(mproc_future_result(scribbler, NULL, NULL), MPROC_ECRASHED);
        mproc_future_free(scribbler);
        let_go(1);
        let_go(2);
        assert_int_equal(mproc_future_wait(other, -1), 0);
        assert_int_equal(mproc_future_wait(queued, -1), 0);
        assert_done_at(other, 1);
        assert_done_at(queued, 2);
        close_pool();
    }
}

/* ---- a task that nobody waits for ------------------------------------------------------------ */

struct birth {
    int32_t worker;
    int32_t pid;
};

/* Each worker says who it is, and waits until it may begin. */
static int32_t init_at_gate(int32_t worker, void *arg)
{
    struct birth birth = {worker, (int32_t)getpid()};
    char byte;

    (void)arg;
    return write(gates[2][1], &birth, sizeof birth) != sizeof birth ||
           read(gates[3][0], &byte, 1) != 1;
}

static unsigned worker_of(const struct job *job)
{
    return mp_word_view(atomic_load(job->words)).worker;
}

/* Three workers that have begun; the replacements of any will not.  Their pids by number. */
static void open_pool_of_three(pid_t pids[3])
{
    mproc_pool_options options = {
        .size = sizeof options, .keep_descriptors = 1, .arena_size = MIB, .init = init_at_gate};
    struct birth birth;

    assert_int_equal(mproc_pool_create(&pool, 3, &options), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read(gates[2][0], &birth, sizeof birth), sizeof birth);
        assert_in_range(birth.worker, 0, 2);
        pids[birth.worker] = (pid_t)birth.pid;
        assert_int_equal(write(gates[3][1], "", 1), 1);
    }
}

/* A look finds both that the task has ended and that a ticket may be lost.  No replacement comes
 * up: it would tell of the task's end in another way. */
static void an_abandoned_task_that_crashed_is_not_touched_after_its_end(void **state)
{
    struct pool_shm *shared;
    struct order order = {.deed = SCRIBBLE, .end = CRASH};
    pid_t pids[3] = {0};
    mproc_future *abandoned, *other;
    unsigned busy;

    (void)state;
    open_pool(1, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    mproc_pool_destroy(pool);
    open_pool_of_three(pids);
    shared = mp_region_pool(&pool->region);
    order.at = pool->region.memory.base; /* and no bytes */
    abandoned = begin(0);
    busy = worker_of(LIST_ENTRY(pool->open.next, struct job, in_open));
    other = begin(1);
    busy += worker_of(LIST_ENTRY(pool->open.prev, struct job, in_open));
    mproc_future_free(abandoned);
    give_order(0, &order);
    assert_in_range(busy, 1, 3);
    assert_int_equal(kill(pids[0 + 1 + 2 - busy], SIGKILL), 0);
    while (atomic_load(&shared->deaths) < 2 || atomic_load(&shared->lost) < 1)
        sched_yield();
    assert_int_equal(mproc_future_is_done(other), 0);
    let_go(1);
    assert_int_equal(mproc_future_wait(other, -1), 0);
    assert_done_at(other, 1);
    close_pool();
}

static blkcnt_t real_blocks(void)
{
    struct stat status;

    assert_int_equal(fstat(pool->region.memory.fd, &status), 0);
    return status.st_blocks;
}

/* A worker dies whose record says nothing, so its chunk is looked for everywhere; and the first job
 * pretends to have as many chunks as there is memory for words. */
static void a_scribbled_count_of_chunks_does_not_make_all_memory_of_words_real(void **state)
{
    enum { BLOCK = 512 };
    struct order order = {.deed = SCRIBBLE, .end = CRASH};
    mproc_future *held, *dies;
    struct job_shm *first;
    blkcnt_t before;

    (void)state;
    open_pool(2, 64 * MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    order.at = pool->region.memory.base; /* and no bytes */
    held = begin(0);
    dies = begin(1);
    first = mp_region_job(&pool->region, 0);
    atomic_store(&first->words, pool->region.words_offset);
    atomic_store(&first->chunks, pool->region.words_size / sizeof(chunk_word));
    atomic_store(&mp_region_worker(&pool->region,
                                   worker_of(LIST_ENTRY(pool->open.prev, struct job, in_open)))
                      ->ticket,
                 0);
    before = real_blocks();
    give_order(1, &order);
    assert_int_equal(mproc_future_wait(dies, -1), 0);
    assert_int_equal(mproc_future_result(dies, NULL, NULL), MPROC_ECRASHED);
    assert_true(real_blocks() - before < MIB / BLOCK);
    mproc_future_cancel(held);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_future_wait(held, -1), 0);
    mproc_future_free(held);
    mproc_future_free(dies);
    close_pool();
}

static void a_restart_forgets_the_descriptors_of_old_jobs(void **state)
{
    struct job_shm *job;

    (void)state;
    open_pool(1, MIB);
    assert_works();
    job = mp_region_job(&pool->region, 0);
    atomic_store(&job->chunks, UINT64_MAX);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(atomic_load(&job->chunks), 0);
    assert_works();
    close_pool();
}

/* ---- a supervisor that does not answer ------------------------------------------------------- */

enum { UNANSWERED_MS = 5000 };

/* A thread waits for ever, and the supervisor is stopped.  A lone worker is held by one task, and
 * the thread waits for the next; else it waits for the task that is held.  Returns that one. */
static mproc_future *open_unanswered_pool(int32_t workers, struct waiting *waiting,
                                          mproc_future **awaited)
{
    mproc_future *held;

    open_pool(workers, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    held = begin(0);
    *awaited = workers == 1 ? submit(1) : held;
    start_waiting(waiting, awaited, 1, -1);
    until_so_many_wait(1);
    assert_int_equal(kill(pool->generation.supervisor, SIGSTOP), 0);
    return held;
}

static int32_t hang_item(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    (void)ctx;
    for (;;)
        pause();
    return 0;
}

static void a_map_ends_at_its_deadline_though_the_supervisor_is_stopped(void **state)
{
    mproc_map_options options = {.size = sizeof options, .timeout_ms = 200};
    mproc_future *future;
    struct waiting waiting;
    int64_t start;

    (void)state;
    open_unanswered_pool(4, &waiting, &future);
    start = mp_now();
    assert_int_equal(mproc_pool_map(pool, hang_item, NULL, NULL, 0, NULL, 0, 2, &options),
                     -ETIMEDOUT);
    assert_in_range((mp_now() - start) / NS_PER_MS, 200, limit_ms(UNANSWERED_MS));
    assert_int_equal(end_waiting(&waiting), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
    mproc_future_free(future);
    close_pool();
}

static void a_terminate_ends_a_wait_though_the_supervisor_is_stopped(void **state)
{
    mproc_future *future;
    struct waiting waiting;
    int64_t start;

    (void)state;
    open_unanswered_pool(4, &waiting, &future);
    start = mp_now();
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(end_waiting(&waiting), 0);
    assert_in_range((mp_now() - start) / NS_PER_MS, 0, limit_ms(UNANSWERED_MS));
    assert_int_equal(mproc_future_result(future, NULL, NULL), -ECANCELED);
    mproc_future_free(future);
    close_pool();
}

static void a_cancel_wakes_who_waits_though_the_supervisor_is_stopped(void **state)
{
    mproc_future *held, *queued;
    struct waiting waiting;
    int64_t start;

    (void)state;
    held = open_unanswered_pool(1, &waiting, &queued);
    start = mp_now();
    assert_int_equal(mproc_future_cancel(queued), 0);
    assert_int_equal(end_waiting(&waiting), 0);
    assert_in_range((mp_now() - start) / NS_PER_MS, 0, limit_ms(1000));
    assert_int_equal(mproc_future_result(queued, NULL, NULL), -ECANCELED);
    mproc_future_free(queued);
    start = mp_now();
    close_pool();
    assert_in_range((mp_now() - start) / NS_PER_MS, 0, limit_ms(UNANSWERED_MS));
    assert_int_equal(mproc_future_result(held, NULL, NULL), -ECANCELED);
    mproc_future_free(held);
}

/* Nobody is left of the pool to ring for it. */
static void a_cancel_wakes_who_waits_for_the_end_of_all(void **state)
{
    mproc_future *held, *queued;
    struct waiting waiting;

    (void)state;
    held = open_unanswered_pool(1, &waiting, &queued);
    mp_pool_lock(pool);
    mp_generation_kill(&pool->generation, 60 * 1000);
    mp_pool_unlock(pool);
    assert_int_equal(mproc_future_cancel(queued), 0);
    assert_int_equal(end_waiting(&waiting), 0);
    assert_int_equal(mproc_future_result(queued, NULL, NULL), -ECANCELED);
    mproc_future_free(queued);
    mp_pool_lock(pool);
    assert_false(pool->generation.killed); /* the grace is not over */
    mp_pool_unlock(pool);
    assert_int_equal(kill(pool->generation.supervisor, SIGCONT), 0);
    close_pool();
    mproc_future_free(held);
}

/* ---- what is lost ---------------------------------------------------------------------------- */

/* A task that has begun, in a pool whose workers can be killed. */
static mproc_future *begin_in_processes(void)
{
    open_pool(1, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    return begin(0);
}

static void assert_broken_because(mproc_future *future, const char *why)
{
    mproc_failure failure = {.size = sizeof failure};

    assert_int_equal(mproc_future_wait(future, limit_ms(UNANSWERED_MS)), 0);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_int_equal(failure.error, MPROC_EBROKEN);
    assert_non_null(strstr(failure.text, why));
    mproc_future_free(future);
}

static void the_first_of_two_causes_is_the_one_that_is_told(void **state)
{
    mproc_future *future;

    (void)state;
    future = begin_in_processes();
    mp_pool_lock(pool);
    mp_pool_poison(pool, "the first cause");
    mp_pool_poison(pool, "the second cause");
    mp_pool_unlock(pool);
    assert_broken_because(future, "the first cause");
    close_pool();
}

/* A stray has made a copy of the bell, so that it does not end with the last process. */
static void a_bell_that_is_held_does_not_hide_that_the_supervisor_is_gone(void **state)
{
    mproc_future *future;
    char path[64];
    int held;

    (void)state;
    future = begin_in_processes();
    snprintf(path, sizeof path, "/proc/self/fd/%d", pool->generation.fds[BELL_READ]);
    held = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(kill(pool->generation.supervisor, SIGKILL), 0);
    assert_broken_because(future, "supervisor");
    close_pool();
    if (held >= 0)
        close(held);
}

static void a_bell_that_the_program_has_replaced_breaks_the_pool(void **state)
{
    mproc_future *future;
    int directory, bell;

    (void)state;
    future = begin_in_processes();
    directory = open("/", O_RDONLY | O_CLOEXEC);
    assert_true(directory >= 0);
    bell = pool->generation.fds[BELL_READ];
    assert_int_equal(dup2(directory, bell), bell);
    assert_broken_because(future, "descriptor");
    close_pool();
    close(bell); /* not the pool's any more, and so left open */
    close(directory);
}

/* Long ago, and nobody has looked since. */
static void a_restart_sees_that_all_processes_are_gone(void **state)
{
    mproc_future *future;
    pid_t supervisor, worker;

    (void)state;
    future = begin_in_processes();
    assert_int_equal(mproc_future_wait(future, 1), -ETIMEDOUT);
    supervisor = pool->generation.supervisor;
    worker = atomic_load(&mp_region_worker(&pool->region, 0)->pid);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    assert_true(test_process_gone(supervisor, limit_ms(UNANSWERED_MS)));
    assert_true(test_process_gone(worker, limit_ms(UNANSWERED_MS)));
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_EBROKEN);
    mproc_future_free(future);
    assert_works();
    close_pool();
}

/* The last that could be read from is the program's own, so that a write is a SIGPIPE. */
static void a_wake_pipe_that_nobody_reads_breaks_the_pool_and_not_the_program(void **state)
{
    mproc_future *future;
    uint64_t out;
    int wake;

    (void)state;
    future = begin_in_processes();
    let_go(0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_done_at(future, 0);
    while (!atomic_load(mp_region_idle(&pool->region)))
        sched_yield(); /* until the worker sleeps */
    wake = pool->generation.fds[WAKE_READ];
    if (wake < 0) {
        close_pool();
        skip(); /* they sleep on a word */
    }
    assert_int_equal(close(wake), 0);
    assert_int_equal(kill(pool->generation.supervisor, SIGKILL), 0);
    assert_int_equal(poll(&(struct pollfd){pool->generation.fds[BELL_READ], 0, 0}, 1, -1), 1);
    assert_int_equal(mproc_pool_map(pool, answer_item, NULL, NULL, 0, &out, sizeof out, 1, NULL),
                     MPROC_EBROKEN);
    close_pool();
}

/* Closes the worker's own bell, which is known by what it stands for, and waits for an order. */
static int32_t close_bell(mproc_task *task, void *ctx)
{
    const struct mark *bell = ctx;
    struct stat status;
    struct order order;

    for (int fd = 3; fd < 1024; fd++)
        if (fstat(fd, &status) == 0 && status.st_dev == bell->dev && status.st_ino == bell->ino)
            close(fd);
    *(int32_t *)mproc_task_output(task, sizeof(int32_t)) = 1;
    return read(gates[1][0], &order, sizeof order) == sizeof order ? 0 : 1;
}

static void a_worker_that_cannot_ring_is_heard_by_its_end(void **state)
{
    mproc_submit_options options = {
        .size = sizeof options, .output_max = sizeof(int32_t), .ctx_size = sizeof(struct mark)};
    struct waiting waiting;
    mproc_future *future;
    struct mark bell, seen;

    (void)state;
    future = begin_in_processes();
    let_go(0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_done_at(future, 0);
    seen = mp_mark(pool->generation.fds[BELL_READ]);
    memset(&bell, 0, sizeof bell); /* what lies between its members is copied, too */
    bell.dev = seen.dev;
    bell.ino = seen.ino;
    bell.pid = seen.pid;
    assert_int_equal(mproc_pool_submit(pool, &future, close_bell, &bell, NULL, 0, &options), 0);
    start_waiting(&waiting, &future, 1, -1); /* at a deadline it would look once more */
    while (atomic_load(&mp_region_pool(&pool->region)->host_waits) == HOST_AWAKE)
        sched_yield(); /* until it sleeps, and does not look any more */
    let_go(1);
    assert_int_equal(end_waiting(&waiting), 0);
    assert_done_at(future, 1);
    assert_works(); /* with its replacement */
    close_pool();
}

/* ---- noise ----------------------------------------------------------------------------------- */

static void ready_bits_of_nothing_do_no_harm(void **state)
{
    mproc_future *future, *queued;

    (void)state;
    open_pool(1, MIB);
    assert_works();
    future = begin(0);
    queued = submit(1);
    for (int i = 0; i < 10; i++) {
        for (uint32_t slot = 0; slot < MP_SLOTS; slot++)
            set_ready(slot);
        assert_int_equal(mproc_future_is_done(future), 0);
        assert_int_equal(mproc_future_is_done(queued), 0);
    }
    let_go(0);
    let_go(1);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_wait(queued, -1), 0);
    assert_done_at(future, 0);
    assert_done_at(queued, 1);
    assert_works();
    close_pool();
}

static void counts_of_deaths_that_were_none_do_no_harm(void **state)
{
    struct pool_shm *shared;
    mproc_future *future, *queued;
    uint64_t seed = test_seed();

    (void)state;
    open_pool(1, MIB);
    shared = mp_region_pool(&pool->region);
    future = begin(0);
    queued = submit(1);
    for (int i = 0; i < 100; i++) {
        atomic_store(&shared->deaths, test_random(&seed));
        atomic_store(&shared->lost, test_random(&seed));
        assert_int_equal(mproc_future_is_done(future), 0);
        assert_int_equal(mproc_future_is_done(queued), 0);
    }
    let_go(0);
    let_go(1);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_wait(queued, -1), 0); /* once, whatever tickets there were */
    assert_done_at(future, 0);
    assert_done_at(queued, 1);
    assert_works();
    close_pool();
}

static void a_bell_without_end_does_not_keep_the_host_from_its_deadline(void **state)
{
    struct waiting sleeper, other;
    mproc_future *ringer, *future;
    int64_t start;

    (void)state;
    open_pool(2, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    ringer = begin(0);
    future = begin(1);
    give_order(0, &(struct order){.deed = RING_FOR_EVER});
    start_waiting(&sleeper, &future, 1, 300);
    start_waiting(&other, &future, 1, 200);
    assert_int_equal(end_waiting(&sleeper), -ETIMEDOUT);
    assert_int_equal(end_waiting(&other), -ETIMEDOUT);
    assert_in_range(sleeper.took_ms, 300, 300 + limit_ms(1000));
    assert_in_range(other.took_ms, 200, 200 + limit_ms(1000));
    let_go(1); /* what ends is seen all the same */
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_done_at(future, 1);
    assert_int_equal(mproc_pool_close(pool), 0);
    start = mp_now();
    assert_int_equal(mproc_pool_join(pool, 200), -ETIMEDOUT);
    assert_in_range((mp_now() - start) / NS_PER_MS, 200, 200 + limit_ms(1000));
    mproc_future_free(ringer);
    start = mp_now();
    close_pool();
    assert_in_range((mp_now() - start) / NS_PER_MS, 0, limit_ms(2000));
}

static void a_map_ends_at_its_deadline_though_the_bell_rings_without_end(void **state)
{
    mproc_map_options options = {.size = sizeof options, .timeout_ms = 200};
    mproc_future *ringer, *held;
    uint64_t out[10];
    int64_t start;

    (void)state;
    open_pool(2, MIB);
    if (workers_are_threads()) {
        close_pool();
        skip();
    }
    ringer = begin(0);
    held = begin(1);
    give_order(0, &(struct order){.deed = RING_FOR_EVER});
    start = mp_now();
    assert_int_equal(
        mproc_pool_map(pool, answer_item, NULL, NULL, 0, out, sizeof out[0], 10, &options),
        -ETIMEDOUT); /* no worker is free */
    assert_in_range((mp_now() - start) / NS_PER_MS, 200, 200 + limit_ms(1000));
    assert_int_equal(mproc_future_cancel(ringer), 0);
    assert_int_equal(mproc_future_wait(ringer, limit_ms(BROKEN_MS)), 0);
    assert_int_equal(mproc_future_result(ringer, NULL, NULL), -ECANCELED);
    assert_works(); /* with the replacement */
    let_go(1);
    assert_int_equal(mproc_future_wait(held, -1), 0);
    assert_done_at(held, 1);
    mproc_future_free(ringer);
    close_pool();
}

static const struct CMUnitTest tests[] = {
    TEST(each_thread_is_woken_for_its_own_task),
    TEST(when_the_sleeper_gives_up_another_takes_its_place),
    TEST(when_the_sleeper_has_its_task_another_takes_its_place),
    TEST(a_thread_that_does_not_sleep_on_the_bell_times_out_too),
    TEST(one_task_wakes_every_thread_that_waits_for_any_with_it),
    TEST(a_cancel_of_what_is_not_begun_wakes_whoever_waits_for_it),
    TEST(a_cancel_of_what_runs_wakes_whoever_waits_for_it),
    TEST(a_terminate_wakes_every_thread),
    TEST(threads_that_submit_wait_and_cancel_do_not_disturb_each_other),
    TEST(a_word_that_cannot_be_breaks_the_pool),
    TEST(a_result_longer_than_there_is_room_for_breaks_the_pool),
    TEST(a_failure_is_checked_before_it_is_handed_on),
    TEST(a_worker_that_scribbles_over_its_own_word_breaks_the_pool),
    TEST(zeros_over_all_shared_memory_break_the_pool_and_nothing_else),
    TEST(ones_over_all_shared_memory_break_the_pool_and_nothing_else),
    TEST(random_bytes_over_all_shared_memory_break_the_pool_and_nothing_else),
    TEST(scribbled_records_neither_lose_a_task_nor_hold_it_up),
    TEST(a_worker_that_pretends_to_leave_does_not_die_unseen),
    TEST(an_abandoned_task_that_crashed_is_not_touched_after_its_end),
    TEST(a_scribbled_count_of_chunks_does_not_make_all_memory_of_words_real),
    TEST(a_restart_forgets_the_descriptors_of_old_jobs),
    TEST(a_map_ends_at_its_deadline_though_the_supervisor_is_stopped),
    TEST(a_terminate_ends_a_wait_though_the_supervisor_is_stopped),
    TEST(a_cancel_wakes_who_waits_though_the_supervisor_is_stopped),
    TEST(a_cancel_wakes_who_waits_for_the_end_of_all),
    TEST(a_restart_sees_that_all_processes_are_gone),
    TEST(the_first_of_two_causes_is_the_one_that_is_told),
    TEST(a_bell_that_is_held_does_not_hide_that_the_supervisor_is_gone),
    TEST(a_bell_that_the_program_has_replaced_breaks_the_pool),
    TEST(a_wake_pipe_that_nobody_reads_breaks_the_pool_and_not_the_program),
    TEST(a_worker_that_cannot_ring_is_heard_by_its_end),
    TEST(ready_bits_of_nothing_do_no_harm),
    TEST(counts_of_deaths_that_were_none_do_no_harm),
    TEST(a_bell_without_end_does_not_keep_the_host_from_its_deadline),
    TEST(a_map_ends_at_its_deadline_though_the_bell_rings_without_end),
};

int main(void)
{
    return TEST_MAIN(tests);
}
