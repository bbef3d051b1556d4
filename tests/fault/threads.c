/* SPDX-License-Identifier: MIT */
/*
 * Many threads on one pool: they submit, wait in every way there is, cancel and abandon, while the
 * pool goes on or is closed or terminated by another.  Every task that was taken ends, once, and as
 * it may; every call returns.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { THREADS = 64, WORKERS = 3, AT_ONCE = 3 };

static mproc_pool *pool;
static _Atomic uint64_t *runs;        /* of tasks, ever; shared with the workers */
static _Atomic uint64_t taken;        /* tasks that were submitted and not refused */
static _Atomic uint64_t done;         /* of these, those that gave a result */
static _Atomic uint64_t wrong_line;   /* the first call that did not do as it should; 0: none */
static atomic_bool no_condition_left; /* pthread_cond_init() fails */

int __real_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    return atomic_load(&no_condition_left) ? EAGAIN
                                           : __real_pthread_cond_init(condition, attributes);
}

static uint64_t answer(uint64_t number)
{
    return number * 0x9e3779b97f4a7c15U + 1;
}

static int32_t answer_task(mproc_task *task, void *ctx)
{
    (void)ctx;
    atomic_fetch_add(runs, 1);
    *(uint64_t *)mproc_task_output(task, sizeof(uint64_t)) =
        answer(*(const uint64_t *)mproc_task_input(task, NULL));
    return 0;
}

static int32_t answer_item(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = answer(*(const uint64_t *)in);
    return 0;
}

/* ---- a customer ------------------------------------------------------------------------------ */

/* How its pool ends while it is served. */
enum end { GOES_ON, IS_CLOSED, IS_TERMINATED };

struct customer {
    pthread_t thread;
    uint64_t seed;
    uint64_t rounds; /* until the pool takes no more, if it is ended */
    enum end end;
};

/* Where something was not as it should be. */
static bool holds(bool what, unsigned line)
{
    uint64_t none = 0;

    if (!what)
        atomic_compare_exchange_strong(&wrong_line, &none, line);
    return what;
}

/* One round's tasks. */
struct order {
    mproc_future *futures[AT_ONCE];
    uint64_t numbers[AT_ONCE];
    bool cancelled[AT_ONCE];
    size_t count;
};

/* False: the pool takes no more. */
static bool submit_order(struct customer *self, struct order *order)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 8};
    size_t count = 1 + test_random(&self->seed) % AT_ONCE;
    int r = 0;

    *order = (struct order){.count = 0};
    while (order->count < count) {
        size_t i = order->count;

        order->numbers[i] = test_random(&self->seed);
        r = mproc_pool_submit(pool, &order->futures[i], answer_task, NULL, &order->numbers[i],
                              sizeof order->numbers[i], &options);
        if (r)
            break;
        atomic_fetch_add(&taken, 1);
        order->count++;
    }
    if (r)
        holds(self->end != GOES_ON &&
                  (r == MPROC_ECLOSED || (r == MPROC_EBROKEN && self->end == IS_TERMINATED)),
              __LINE__);
    return r == 0;
}

/* Before all have ended, or instead. */
static void do_something_else(struct customer *self, struct order *order)
{
    size_t i = test_random(&self->seed) % AT_ONCE;
    int r;

    if (i >= order->count)
        return;
    switch (test_random(&self->seed) % 8) {
    case 0:
        r = mproc_future_cancel(order->futures[i]);
        holds(r == 0 || r == -EALREADY, __LINE__);
        order->cancelled[i] = true;
        break;
    case 1:
        r = mproc_future_wait(order->futures[i], 0);
        holds(r == 0 || r == -ETIMEDOUT, __LINE__);
        break;
    case 2:
        r = mproc_future_wait_any(order->futures, order->count, -1);
        holds(r >= 0 && (size_t)r < order->count && mproc_future_is_done(order->futures[r]) == 1,
              __LINE__);
        break;
    case 3:
        r = mproc_future_wait_all(order->futures, order->count, 1);
        holds(r == 0 || r == -ETIMEDOUT, __LINE__);
        break;
    case 4:
        mproc_future_free(order->futures[i]);
        order->futures[i] = NULL;
        break;
    default:
        break;
    }
}

static void take_in(const struct customer *self, struct order *order)
{
    holds(mproc_future_wait_all(order->futures, order->count, -1) == 0, __LINE__);
    for (size_t i = 0; i < order->count; i++) {
        const void *data;
        size_t length;
        int r;

        if (!order->futures[i])
            continue;
        r = mproc_future_result(order->futures[i], &data, &length);
        if (r == 0) {
            atomic_fetch_add(&done, 1);
            holds(length == sizeof(uint64_t) &&
                      *(const uint64_t *)data == answer(order->numbers[i]),
                  __LINE__);
        } else {
            holds(r == -ECANCELED && (order->cancelled[i] || self->end == IS_TERMINATED), __LINE__);
        }
        mproc_future_free(order->futures[i]);
    }
}

static void map_some(const struct customer *self)
{
    uint64_t out[5];
    int r = mproc_pool_map(pool, answer_item, NULL, NULL, 0, out, sizeof out[0], 5, NULL);

    if (self->end == GOES_ON)
        holds(r == 0, __LINE__);
    for (uint64_t i = 0; r == 0 && i < 5; i++)
        holds(out[i] == answer(i), __LINE__);
}

static void *be_served(void *arg)
{
    struct customer *self = arg;
    bool open = true;

    for (uint64_t i = 0; open && i < self->rounds;) {
        struct order order;

        open = submit_order(self, &order);
        i += order.count;
        do_something_else(self, &order);
        take_in(self, &order);
        if (test_random(&self->seed) % 64 == 0)
            map_some(self);
    }
    return NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void set_stage(void)
{
    runs = test_share(sizeof *runs);
    atomic_store(&taken, 0);
    atomic_store(&done, 0);
    atomic_store(&wrong_line, 0);
    assert_int_equal(mproc_pool_create(&pool, WORKERS, NULL), 0);
}

static void start_customers(struct customer customers[THREADS], uint64_t rounds, enum end end,
                            uint64_t *seed)
{
    for (size_t i = 0; i < THREADS; i++) {
        customers[i] = (struct customer){.seed = test_random(seed), .rounds = rounds, .end = end};
        assert_int_equal(pthread_create(&customers[i].thread, NULL, be_served, &customers[i]), 0);
    }
}

static void end_customers(const struct customer customers[THREADS])
{
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(customers[i].thread, NULL), 0);
}

/* The pool has been joined. */
static void clear_stage(void)
{
    assert_int_equal(atomic_load(&wrong_line), 0);
    assert_true(atomic_load(runs) >= atomic_load(&done));
    assert_true(atomic_load(runs) <= atomic_load(&taken));
    mproc_pool_destroy(pool);
    test_unshare(runs, sizeof *runs);
}

static void serve_all(uint64_t rounds)
{
    struct customer customers[THREADS];
    uint64_t seed = test_seed();

    start_customers(customers, rounds, GOES_ON, &seed);
    end_customers(customers);
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 10000 * test_slowness()), 0);
    assert_true(atomic_load(&taken) >= THREADS * rounds);
}

static void threads_are_each_served_as_if_they_were_alone(void **state)
{
    (void)state;
    set_stage();
    serve_all(test_count(400, 20000));
    clear_stage();
}

static void threads_that_get_no_condition_are_served_too(void **state)
{
    (void)state;
    set_stage();
    atomic_store(&no_condition_left, true);
    serve_all(test_count(100, 2000));
    atomic_store(&no_condition_left, false);
    clear_stage();
}

/* ---- the end in the middle ------------------------------------------------------------------- */

static void end_in_the_middle(uint64_t round, uint64_t *seed)
{
    enum end end = round % 2 ? IS_CLOSED : IS_TERMINATED;
    uint64_t enough = test_random(seed) % 500;
    struct customer customers[THREADS];

    set_stage();
    start_customers(customers, UINT64_MAX, end, seed);
    while (atomic_load(&taken) < enough)
        sched_yield();
    assert_int_equal(end == IS_CLOSED ? mproc_pool_close(pool) : mproc_pool_terminate(pool), 0);
    if (test_random(seed) % 2)
        assert_int_equal(mproc_pool_join(pool, 10000 * test_slowness()), 0);
    end_customers(customers);
    assert_int_equal(mproc_pool_join(pool, 10000 * test_slowness()), 0);
    clear_stage();
}

static void a_pool_may_be_ended_in_the_middle(void **state)
{
    uint64_t seed = test_seed(), rounds = test_count(60, 1000);

    (void)state;
    for (uint64_t i = 0; i < rounds; i++)
        end_in_the_middle(i, &seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(threads_are_each_served_as_if_they_were_alone),
        TEST(threads_that_get_no_condition_are_served_too),
        TEST(a_pool_may_be_ended_in_the_middle),
    };

    return TEST_MAIN(tests);
}
