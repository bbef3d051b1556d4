/* SPDX-License-Identifier: MIT */
/* To look for news before going to sleep: by itself, and in a pool whose option says how long. */
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

enum { NS_PER_US = 1000, NS_PER_MS = 1000000, LEAST_ROUNDS = 64, MOST_ROUNDS = 512 };
enum { FIRST_ROUNDS = 4 }; /* before it gives way for the first time, which may take long */
enum { SECOND_US = 1000000, SOON_MS = 500 }; /* less than a second that somebody spins */

/* ---- by itself ------------------------------------------------------------------------------- */

/* Somebody who is asked for news. */
struct source {
    uint32_t asked;
    uint32_t news_at; /* the first time that there is some; 0: never */
    int64_t takes;    /* ns, to answer */
};

static bool ask(const void *arg)
{
    struct source *source = *(struct source *const *)arg;
    int64_t end = source->takes ? mp_now() + source->takes : 0;

    while (source->takes && mp_now() < end)
        ;
    return ++source->asked == source->news_at;
}

static bool linger(struct patience *patience, struct source *source, int64_t deadline)
{
    return mp_linger(patience, ask, &source, deadline);
}

static void news_that_is_there_is_seen_at_once(void **state)
{
    const int32_t spins[] = {0, 1, SECOND_US};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct patience patience = {.spin_us = spins[i]};
        struct source source = {.news_at = 1};

        assert_true(linger(&patience, &source, MP_FOREVER));
        assert_int_equal(source.asked, 1);
    }
}

static void who_does_not_want_to_wait_does_not_ask(void **state)
{
    struct patience patience = {.spin_us = -1};
    struct source source = {.news_at = 1};

    (void)state;
    assert_false(linger(&patience, &source, MP_FOREVER));
    assert_int_equal(source.asked, 0);
}

static void without_news_it_lasts_as_long_as_was_asked_for(void **state)
{
    struct patience patience = {.spin_us = 20000};
    struct source source = {0};
    int64_t start = mp_now();

    (void)state;
    assert_false(linger(&patience, &source, MP_FOREVER));
    assert_true(mp_now() - start >= (int64_t)20000 * NS_PER_US);
    assert_true(source.asked > 16);
}

static void it_ends_at_the_deadline(void **state)
{
    struct patience patience = {.spin_us = SECOND_US};
    struct source source = {0};
    int64_t start = mp_now(), deadline = mp_deadline(10);

    (void)state;
    assert_false(linger(&patience, &source, deadline));
    assert_true(mp_now() >= deadline);
    assert_false(linger(&patience, &source, deadline));
    assert_true(mp_now() - start < (int64_t)SOON_MS * NS_PER_MS * test_slowness());
}

static void who_gives_way_asks_more_often_the_more_often_there_was_news(void **state)
{
    struct patience patience = {0};
    struct source source = {0};

    (void)state;
    assert_false(linger(&patience, &source, MP_FOREVER));
    assert_in_range(source.asked, FIRST_ROUNDS, LEAST_ROUNDS);
    assert_int_equal(patience.rounds, LEAST_ROUNDS / 2);
    for (int i = 0; i < 20; i++) {
        source = (struct source){.news_at = FIRST_ROUNDS};
        assert_true(linger(&patience, &source, MP_FOREVER));
    }
    assert_int_equal(patience.rounds, MOST_ROUNDS);
    for (int i = 0; i < 20; i++) {
        source = (struct source){0};
        assert_false(linger(&patience, &source, MP_FOREVER));
        assert_in_range(source.asked, FIRST_ROUNDS, MOST_ROUNDS);
    }
    assert_in_range(source.asked, FIRST_ROUNDS, LEAST_ROUNDS);
    assert_int_equal(patience.rounds, LEAST_ROUNDS / 2);
}

/* To give way may take long where there are many others. */
static void who_gives_way_does_not_do_so_for_long(void **state)
{
    struct patience patience = {.rounds = MOST_ROUNDS};
    struct source source = {.takes = NS_PER_MS / 4};

    (void)state;
    assert_false(linger(&patience, &source, MP_FOREVER));
    assert_in_range(source.asked, FIRST_ROUNDS, 28);
    patience.rounds = MOST_ROUNDS;
    source = (struct source){0};
    assert_false(linger(&patience, &source, mp_now()));
    assert_in_range(source.asked, 1, 12);
}

static bool is_set(const void *arg)
{
    return atomic_load_explicit((const _Atomic bool *)arg, memory_order_relaxed);
}

static void *set(void *arg)
{
    atomic_store((_Atomic bool *)arg, true);
    return NULL;
}

static void news_of_another_thread_is_seen(void **state)
{
    struct patience patience = {.spin_us = INT32_MAX};
    _Atomic bool news = false;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, set, &news), 0);
    assert_true(mp_linger(&patience, is_set, &news, MP_FOREVER));
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- the option ------------------------------------------------------------------------------ */

/* What the tasks of a pool see. */
static struct stage {
    _Atomic uint32_t begun;
    _Atomic uint32_t gate; /* the tasks below this number may end */
    _Atomic uint32_t runs;
    _Atomic int32_t pid; /* of a worker */
} * stage;

static mproc_pool *open_pool(int32_t workers, int32_t spin_us)
{
    mproc_pool_options options = {.size = sizeof options, .spin_us = spin_us};
    mproc_pool *pool;

    stage = test_share(sizeof *stage);
    assert_int_equal(mproc_pool_create(&pool, workers, &options), 0);
    return pool;
}

static void close_pool(mproc_pool *pool)
{
    mproc_pool_destroy(pool);
    test_unshare(stage, sizeof *stage);
    stage = NULL;
}

static int32_t pass_gate(mproc_task *task, void *ctx)
{
    uint32_t number;

    (void)ctx;
    memcpy(&number, mproc_task_input(task, NULL), sizeof number);
    atomic_fetch_add(&stage->begun, 1);
    while (atomic_load(&stage->gate) <= number && !mproc_task_is_cancelled(task))
        poll(NULL, 0, 1);
    return 0;
}

static int32_t count_run(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    atomic_fetch_add(&stage->runs, 1);
    atomic_store(&stage->pid, (int32_t)getpid());
    return 0;
}

static int32_t square(const void *in, void *out, void *ctx)
{
    uint64_t item = *(const uint64_t *)in;

    (void)ctx;
    *(uint64_t *)out = item * item;
    return 0;
}

static mproc_future *hold(mproc_pool *pool, uint32_t number)
{
    mproc_future *future = NULL;

    assert_int_equal(
        mproc_pool_submit(pool, &future, pass_gate, NULL, &number, sizeof number, NULL), 0);
    return future;
}

static void until_begun(uint32_t count)
{
    while (atomic_load(&stage->begun) < count)
        sched_yield();
}

static void call(mproc_pool *pool)
{
    assert_int_equal(mproc_pool_call(pool, count_run, NULL, NULL, 0, NULL, 0, NULL, NULL), 0);
}

static int64_t soon(void)
{
    return mp_deadline(SOON_MS * test_slowness());
}

static void times_out_of_range_are_refused(void **state)
{
    const int32_t bad[] = {-2, INT32_MIN, SECOND_US + 1, INT32_MAX};
    mproc_pool_options options = {.size = sizeof options};
    mproc_pool *pool = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.spin_us = bad[i];
        assert_int_equal(mproc_pool_create(&pool, 1, &options), -EINVAL);
        assert_null(pool);
    }
    options.spin_us = 0;
    options.reserved = 1;
    assert_int_equal(mproc_pool_create(&pool, 1, &options), -EINVAL);
    assert_null(pool);
    options.spin_us = 7; /* beyond the size, both: not looked at */
    options.size = offsetof(mproc_pool_options, spin_us);
    assert_int_equal(mproc_pool_create(&pool, mp_cpu_allowed(), &options), 0);
    assert_int_equal(pool->patience.spin_us, 0);
    mproc_pool_destroy(pool);
}

static void by_default_they_give_way(void **state)
{
    mproc_pool *pool = open_pool(1, 0);

    (void)state;
    assert_int_equal(pool->patience.spin_us, 0);
    close_pool(pool);
}

static void a_pool_works_however_long_they_look_for_news(void **state)
{
    enum { COUNT = 100 };
    const int32_t spins[] = {-1, 0, 1, 1000, 20000};
    uint64_t in[COUNT], out[COUNT];

    (void)state;
    for (uint64_t i = 0; i < COUNT; i++)
        in[i] = i;
    for (size_t s = 0; s < sizeof spins / sizeof spins[0]; s++) {
        mproc_pool *pool = open_pool(2, spins[s]);

        if (spins[s])
            assert_int_equal(pool->patience.spin_us, spins[s]);
        for (int round = 0; round < 5; round++) {
            memset(out, 0, sizeof out);
            assert_int_equal(mproc_pool_map(pool, square, NULL, in, sizeof in[0], out,
                                            sizeof out[0], COUNT, NULL),
                             0);
            for (uint64_t i = 0; i < COUNT; i++)
                assert_int_equal(out[i], i * i);
            call(pool);
        }
        assert_int_equal(atomic_load(&stage->runs), 5);
        assert_int_equal(mproc_pool_close(pool), 0);
        assert_int_equal(mproc_pool_join(pool, -1), 0);
        close_pool(pool);
    }
}

/* ---- while they look ------------------------------------------------------------------------- */

static void a_timeout_is_not_missed(void **state)
{
    mproc_pool *pool = open_pool(1, SECOND_US);
    mproc_future *held = hold(pool, 0);
    int64_t end;

    (void)state;
    until_begun(1);
    end = soon();
    for (int i = 0; i < 3; i++)
        assert_int_equal(mproc_future_wait(held, 20), -ETIMEDOUT);
    assert_true(mp_now() < end);
    atomic_store(&stage->gate, 1);
    assert_int_equal(mproc_future_wait(held, -1), 0);
    mproc_future_free(held);
    close_pool(pool);
}

struct waiting {
    mproc_future *future;
    int result;
};

static void *wait_for(void *arg)
{
    struct waiting *waiting = arg;

    waiting->result = mproc_future_wait(waiting->future, -1);
    return NULL;
}

/* Whoever looks first takes the bit that says that there is news, also that of who spins. */
static void what_another_thread_sees_ends_the_wait_of_who_spins(void **state)
{
    mproc_pool *pool = open_pool(2, SECOND_US);

    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        struct waiting waiting = {hold(pool, i), -1};
        pthread_t thread;
        int64_t end;

        until_begun(i + 1);
        assert_int_equal(pthread_create(&thread, NULL, wait_for, &waiting), 0);
        atomic_store(&stage->gate, i + 1);
        while (mproc_future_is_done(waiting.future) != 1)
            sched_yield();
        end = soon();
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(mp_now() < end);
        assert_int_equal(waiting.result, 0);
        mproc_future_free(waiting.future);
    }
    close_pool(pool);
}

/* It begins to spin when there is one job, and then there are more than one word has bits for. */
static void who_spins_sees_what_was_posted_meanwhile(void **state)
{
    enum { MORE = 130 };
    mproc_pool *pool = open_pool(2, SECOND_US);
    struct waiting spinner = {hold(pool, 1), -1};
    mproc_future *futures[MORE];
    pthread_t thread;
    int64_t end;

    (void)state;
    until_begun(1);
    assert_int_equal(pthread_create(&thread, NULL, wait_for, &spinner), 0);
    for (bool waits = false; !waits; sched_yield()) {
        mp_pool_lock(pool);
        waits = pool->sleeper != NULL;
        mp_pool_unlock(pool);
    }
    end = soon();
    for (int i = 0; i < MORE; i++)
        futures[i] = hold(pool, 0);
    atomic_store(&stage->gate, 1);
    assert_int_equal(mproc_future_wait_all(futures, MORE, -1), 0);
    assert_true(mp_now() < end);
    for (int i = 0; i < MORE; i++)
        mproc_future_free(futures[i]);
    atomic_store(&stage->gate, 2);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(spinner.result, 0);
    mproc_future_free(spinner.future);
    close_pool(pool);
}

static void a_closed_pool_ends_when_its_workers_have_looked_long_enough(void **state)
{
    mproc_pool *pool = open_pool(3, SECOND_US / 5);
    int64_t end;

    (void)state;
    call(pool);
    assert_int_equal(mproc_pool_close(pool), 0);
    end = soon();
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    assert_true(mp_now() < end);
    assert_int_equal(mproc_pool_call(pool, count_run, NULL, NULL, 0, NULL, 0, NULL, NULL),
                     MPROC_ECLOSED);
    close_pool(pool);
}

static void a_pool_is_terminated_while_they_look(void **state)
{
    mproc_pool *pool = open_pool(3, SECOND_US);
    bool threads = pool->generation.supervisor <= 0; /* whom nobody can kill */
    int64_t end;

    (void)state;
    call(pool);
    end = soon();
    close_pool(pool);
    assert_true(threads || mp_now() < end);
}

/* ---- news that is none ----------------------------------------------------------------------- */

struct liar {
    mproc_pool *pool;
    _Atomic bool over;
};

/* As a worker might that has gone wrong, or what it left behind. */
static void *lie(void *arg)
{
    struct liar *liar = arg;
    const struct region *region = &liar->pool->region;

    while (!atomic_load(&liar->over)) {
        atomic_store(mp_region_ready(region), UINT64_MAX);
        atomic_fetch_add(&mp_region_pool(region)->deaths, 1);
    }
    return NULL;
}

static void news_without_end_does_not_hide_that_everybody_is_gone(void **state)
{
    struct liar liar = {.pool = open_pool(2, SECOND_US)};
    mproc_pool *pool = liar.pool;
    mproc_future *held[2];
    pthread_t thread;

    (void)state;
    if (pool->generation.supervisor <= 0) {
        close_pool(pool);
        skip();
    }
    for (uint32_t i = 0; i < 2; i++)
        held[i] = hold(pool, i);
    until_begun(2);
    assert_int_equal(pthread_create(&thread, NULL, lie, &liar), 0);
    assert_int_equal(mproc_future_wait(held[0], 20), -ETIMEDOUT);
    assert_int_equal(mp_kill(pool->generation.supervisor, false, SIGKILL), 0);
    assert_int_equal(mproc_future_wait(held[0], 5000 * test_slowness()), 0);
    assert_int_equal(mproc_future_result(held[0], NULL, NULL), MPROC_EBROKEN);
    atomic_store(&liar.over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++)
        mproc_future_free(held[i]);
    close_pool(pool);
}

static void nor_does_it_make_the_end_of_a_pool_any_later(void **state)
{
    struct liar liar = {.pool = open_pool(2, SECOND_US)};
    mproc_pool *pool = liar.pool;
    mproc_future *held;
    pthread_t thread;

    (void)state;
    if (pool->generation.supervisor <= 0) {
        close_pool(pool);
        skip();
    }
    held = hold(pool, 0);
    until_begun(1);
    assert_int_equal(mp_kill(pool->generation.supervisor, false, SIGSTOP),
                     0); /* it does not help */
    assert_int_equal(pthread_create(&thread, NULL, lie, &liar), 0);
    assert_int_equal(mproc_pool_terminate(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 5000 * test_slowness()), 0);
    atomic_store(&liar.over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(mproc_future_result(held, NULL, NULL), -ECANCELED);
    mproc_future_free(held);
    close_pool(pool);
}

/* ---- the end of the host --------------------------------------------------------------------- */

static int host_that_dies(void *unused)
{
    mproc_pool_options options = {.size = sizeof options, .spin_us = SECOND_US};
    mproc_pool *pool;

    (void)unused;
    if (mproc_pool_create(&pool, 2, &options) ||
        mproc_pool_call(pool, count_run, NULL, NULL, 0, NULL, 0, NULL, NULL))
        return 1;
    raise(SIGKILL);
    return 2;
}

static void workers_that_look_for_tickets_end_with_their_host(void **state)
{
    int status;

    (void)state;
    stage = test_share(sizeof *stage);
    status = test_run_child(host_that_dies, NULL);
    assert_true(WIFSIGNALED(status));
    assert_true(atomic_load(&stage->pid) > 1);
    assert_true(test_process_gone(atomic_load(&stage->pid), SOON_MS * test_slowness()));
    test_unshare(stage, sizeof *stage);
    stage = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(news_that_is_there_is_seen_at_once),
        TEST(who_does_not_want_to_wait_does_not_ask),
        TEST(without_news_it_lasts_as_long_as_was_asked_for),
        TEST(it_ends_at_the_deadline),
        TEST(who_gives_way_asks_more_often_the_more_often_there_was_news),
        TEST(who_gives_way_does_not_do_so_for_long),
        TEST(news_of_another_thread_is_seen),
        TEST(times_out_of_range_are_refused),
        TEST(by_default_they_give_way),
        TEST(a_pool_works_however_long_they_look_for_news),
        TEST(a_timeout_is_not_missed),
        TEST(what_another_thread_sees_ends_the_wait_of_who_spins),
        TEST(who_spins_sees_what_was_posted_meanwhile),
        TEST(a_closed_pool_ends_when_its_workers_have_looked_long_enough),
        TEST(a_pool_is_terminated_while_they_look),
        TEST(news_without_end_does_not_hide_that_everybody_is_gone),
        TEST(nor_does_it_make_the_end_of_a_pool_any_later),
        TEST(workers_that_look_for_tickets_end_with_their_host),
    };

    return TEST_MAIN(tests);
}
