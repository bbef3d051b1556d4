/* SPDX-License-Identifier: MIT */
/*
 * Time limits: a worker that hangs is reported and replaced in time, and nobody else is ever killed.
 *
 * For the second half the four steps of a chunk's life are wrapped (-Wl,--wrap) by functions that
 * write down when they were taken.  So the test needs no margin for what the scheduler does between
 * a task's last look at the clock and the end of its chunk: a limit counts from a moment after the
 * claim, so whoever was stopped less than the limit after its claim was an innocent.
 */
#include "support.h"

#include "os/os.h"
#include "pool/pool.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_MS = 1000000, WORKERS_MAX = 64 };

/* ---- the steps of a chunk, written down ------------------------------------------------------ */

/* By the id of the job; the test reads an entry before its id can come again. */
struct step_log {
    uint32_t id;
    _Atomic int32_t pid;   /* of the worker that has claimed it */
    _Atomic int64_t asked; /* it was about to */
    _Atomic int64_t claimed;
    _Atomic int64_t stopped; /* 0: never */
    _Atomic int64_t ended;   /* its function had returned */
};

enum { SLOTS_LOGGED = 128, TAGS_LOGGED = 64, LOGGED = SLOTS_LOGGED * TAGS_LOGGED };

/* Shared with workers and supervisor; NULL: nobody looks. */
static struct stage {
    _Atomic uint64_t starts; /* of workers */
    struct step_log logs[LOGGED];
} * stage;

static uint32_t published;         /* the id of the job that was submitted last */
static int64_t stall_before_claim; /* ns, for each worker forked from now on */
/* Shared, or NULL: who claims waits until its supervisor has looked. */
static struct look {
    _Atomic int32_t supervisor; /* 0: nobody waits */
} * look;

static struct step_log *log_of(uint32_t id)
{
    return stage ? &stage->logs[mp_job_slot(id) % SLOTS_LOGGED * TAGS_LOGGED + id % TAGS_LOGGED]
                 : NULL;
}

int __real_mp_job_post(struct job *job, int64_t limit_ns);
int __real_mp_poll(struct pollfd *fds, size_t count, int64_t deadline);
bool __real_mp_word_claim(chunk_word *word, uint32_t id, unsigned worker, uint64_t *claimed);
bool __real_mp_word_finish(chunk_word *word, uint64_t claimed, enum chunk_state ended);
bool __real_mp_word_stop(chunk_word *word, uint64_t seen);
int __wrap_mp_job_post(struct job *job, int64_t limit_ns);
int __wrap_mp_poll(struct pollfd *fds, size_t count, int64_t deadline);
bool __wrap_mp_word_claim(chunk_word *word, uint32_t id, unsigned worker, uint64_t *claimed);
bool __wrap_mp_word_finish(chunk_word *word, uint64_t claimed, enum chunk_state ended);
bool __wrap_mp_word_stop(chunk_word *word, uint64_t seen);

int __wrap_mp_job_post(struct job *job, int64_t limit_ns)
{
    struct step_log *entry = log_of(job->id);

    published = job->id;
    if (entry) {
        memset(entry, 0, sizeof *entry);
        entry->id = job->id;
    }
    return __real_mp_job_post(job, limit_ns);
}

static void stall(int64_t ns)
{
    int64_t end = mp_now() + ns;

    while (ns && mp_now() < end)
        poll(NULL, 0, 1);
}

/* The supervisor has looked at every word with a limit, before it sleeps again. */
int __wrap_mp_poll(struct pollfd *fds, size_t count, int64_t deadline)
{
    if (look && atomic_load(&look->supervisor) == (int32_t)getpid())
        atomic_store(&look->supervisor, 0);
    return __real_mp_poll(fds, count, deadline);
}

static void await_look(void)
{
    atomic_store(&look->supervisor, (int32_t)getppid());
    while (atomic_load(&look->supervisor))
        poll(NULL, 0, 1);
}

bool __wrap_mp_word_claim(chunk_word *word, uint32_t id, unsigned worker, uint64_t *claimed)
{
    struct step_log *entry = log_of(id);

    stall(stall_before_claim);
    if (entry) {
        atomic_store(&entry->pid, (int32_t)getpid());
        atomic_store(&entry->asked, mp_now());
    }
    if (!__real_mp_word_claim(word, id, worker, claimed))
        return false;
    if (entry) {
        atomic_store(&entry->pid, (int32_t)getpid());
        atomic_store(&entry->claimed, mp_now());
    }
    if (look)
        await_look();
    return true;
}

bool __wrap_mp_word_finish(chunk_word *word, uint64_t claimed, enum chunk_state ended)
{
    struct step_log *entry = log_of(mp_word_view(claimed).id);

    if (entry)
        atomic_store(&entry->ended, mp_now());
    return __real_mp_word_finish(word, claimed, ended);
}

bool __wrap_mp_word_stop(chunk_word *word, uint64_t seen)
{
    struct step_log *entry = log_of(mp_word_view(seen).id);
    int64_t now = mp_now(); /* after the decision, before the deed */

    if (!__real_mp_word_stop(word, seen))
        return false;
    if (entry)
        atomic_store(&entry->stopped, now);
    return true;
}

/* ---- workers --------------------------------------------------------------------------------- */

struct start {
    int64_t at;
    int32_t worker;
    int32_t pid;
};

static int starts[2]; /* each worker that is up writes a struct start */

static int32_t tell_start(int32_t worker, void *arg)
{
    struct start start = {mp_now(), worker, (int32_t)getpid()};

    (void)arg;
    if (stage)
        atomic_fetch_add(&stage->starts, 1);
    return stage || write(starts[1], &start, sizeof start) == (ssize_t)sizeof start ? 0 : 1;
}

static mproc_pool *make_pool(int32_t workers, int64_t limit_ms)
{
    mproc_pool_options options = {.size = sizeof options,
                                  .init = tell_start,
                                  .keep_descriptors = 1,
                                  .time_limit_ms = limit_ms};
    mproc_pool *pool;

    assert_int_equal(pipe(starts), 0);
    assert_int_equal(mproc_pool_create(&pool, workers, &options), 0);
    return pool;
}

static struct start await_start(void)
{
    struct start start;

    assert_int_equal(read(starts[0], &start, sizeof start), sizeof start);
    return start;
}

/* Close the pool; how many starts were not read yet. */
static uint64_t end_pool(mproc_pool *pool)
{
    struct start start;
    uint64_t count = 0;

    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 10000 * test_slowness()), 0);
    mproc_pool_destroy(pool);
    close(starts[1]);
    while (read(starts[0], &start, sizeof start) == (ssize_t)sizeof start)
        count++;
    close(starts[0]);
    return count;
}

/* ---- workers that are stopped ---------------------------------------------------------------- */

enum { STOPPED = 200, STOPPED_AT_ONCE = 4, STOP_LIMIT_MS = 20, PROMISE_MS = 50 };

struct stopped {
    _Atomic int64_t at;
    _Atomic int32_t pid;
    _Atomic int32_t worker;
};

static struct stopped *stopped;

static int32_t stop_oneself(mproc_task *task, void *ctx)
{
    struct stopped *self = &stopped[*(const uint64_t *)mproc_task_input(task, NULL)];

    (void)ctx;
    atomic_store(&self->pid, (int32_t)getpid());
    atomic_store(&self->worker, mproc_task_worker(task));
    atomic_store(&self->at, mp_now());
    raise(SIGSTOP);
    return 0;
}

/* A worker whose task has returned may see that it is doomed, and go before it is killed. */
static void assert_limited(mproc_future *future, int32_t pid, bool returned)
{
    mproc_failure failure = {.size = sizeof failure};

    assert_int_equal(mproc_future_result(future, NULL, NULL), MPROC_ELIMIT);
    assert_int_equal(mproc_future_failure(future, &failure), 0);
    assert_true(failure.signal == SIGKILL || (returned && failure.signal == 0));
    assert_int_equal(failure.attempts, 1);
    assert_int_equal(failure.pid, pid);
    mproc_future_free(future);
}

/* A few tasks at once; the slowest of their reports and of their replacements. */
static void stop_some(mproc_pool *pool, uint64_t first, int64_t *reported, int64_t *replaced)
{
    mproc_future *futures[STOPPED_AT_ONCE];
    int64_t begun[STOPPED_AT_ONCE]; /* by worker */

    for (uint64_t i = 0; i < STOPPED_AT_ONCE; i++) {
        uint64_t number = first + i;

        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], stop_oneself, NULL, &number, sizeof number, NULL),
            0);
    }
    for (size_t left = STOPPED_AT_ONCE; left > 0; left--) {
        int i = mproc_future_wait_any(futures, STOPPED_AT_ONCE, -1);
        int64_t now = mp_now(), at;

        assert_true(i >= 0);
        at = atomic_load(&stopped[first + (uint64_t)i].at);
        if (now - at > *reported)
            *reported = now - at;
        begun[atomic_load(&stopped[first + (uint64_t)i].worker)] = at;
        assert_limited(futures[i], atomic_load(&stopped[first + (uint64_t)i].pid), false);
        futures[i] = NULL;
    }
    for (size_t i = 0; i < STOPPED_AT_ONCE; i++) {
        struct start start = await_start();

        if (start.at - begun[start.worker] > *replaced)
            *replaced = start.at - begun[start.worker];
    }
}

static void a_stopped_worker_is_reported_and_replaced_in_time(void **state)
{
    int64_t limit = (int64_t)STOP_LIMIT_MS * test_slowness();
    int64_t promise = (limit + (int64_t)PROMISE_MS * test_slowness()) * NS_PER_MS;
    int64_t reported = 0, replaced = 0;
    mproc_pool *pool;

    (void)state;
    stopped = test_share(STOPPED * sizeof *stopped);
    pool = make_pool(STOPPED_AT_ONCE, limit);
    for (size_t i = 0; i < STOPPED_AT_ONCE; i++)
        await_start();
    for (uint64_t i = 0; i < STOPPED; i += STOPPED_AT_ONCE)
        stop_some(pool, i, &reported, &replaced);
    assert_int_equal(end_pool(pool), 0);
    print_message("limit %lld ms: reported after %lld us, replaced after %lld us at most\n",
                  (long long)limit, (long long)reported / 1000, (long long)replaced / 1000);
    assert_true(reported <= promise);
    assert_true(replaced <= promise);
    test_unshare(stopped, STOPPED * sizeof *stopped);
}

/* ---- tasks that end about their limit -------------------------------------------------------- */

enum { CLOSE_WORKERS = 16, IN_FLIGHT = 32, CLOSE_LIMIT_MS = 3 };

static uint64_t answer(uint64_t number)
{
    return number * 0x9e3779b97f4a7c15U + 1;
}

/* Ends at most a millisecond before its limit, or a little after it. */
static int32_t end_about_limit(mproc_task *task, void *ctx)
{
    uint64_t number = *(const uint64_t *)mproc_task_input(task, NULL), mix = number;
    int64_t slowness = *(const int64_t *)ctx;
    int64_t end = mp_now() + slowness * ((CLOSE_LIMIT_MS - 1) * NS_PER_MS +
                                         (int64_t)(test_random(&mix) % (NS_PER_MS * 5 / 4)));
    struct timespec until = {end / 1000000000, end % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    *(uint64_t *)mproc_task_output(task, sizeof(uint64_t)) = answer(number);
    return 0;
}

struct tally {
    uint64_t limited;
    uint64_t late;      /* of these: the task had returned, but not before its limit */
    uint64_t preempted; /* of these: it had returned in time, and could not say so in time */
    int64_t earliest;   /* after the claim that any was stopped */
};

static void take_in(struct tally *tally, mproc_future *future, uint64_t number, uint32_t id)
{
    int64_t limit = (int64_t)CLOSE_LIMIT_MS * NS_PER_MS * test_slowness();
    const struct step_log *entry = log_of(id);
    int64_t claimed, halted, ended;
    const void *data;

    assert_int_equal(mproc_future_wait(future, -1), 0);
    claimed = atomic_load(&entry->claimed);
    if (!claimed) /* stopped before it could write that down */
        claimed = atomic_load(&entry->asked);
    halted = atomic_load(&entry->stopped);
    ended = atomic_load(&entry->ended);
    assert_int_equal(entry->id, id);
    if (mproc_future_result(future, &data, NULL) == 0) {
        assert_int_equal(*(const uint64_t *)data, answer(number));
        assert_int_equal(halted, 0);
        mproc_future_free(future);
        return;
    }
    /* The one that had claimed it, no other. */
    assert_limited(future, atomic_load(&entry->pid), ended != 0);
    assert_true(halted != 0);
    assert_true(halted - claimed >= limit);
    tally->limited++;
    tally->late += ended && ended - claimed >= limit;
    tally->preempted += ended && ended - claimed < limit;
    if (halted - claimed < tally->earliest)
        tally->earliest = halted - claimed;
}

static void nobody_is_killed_before_its_limit_or_in_anothers_place(void **state)
{
    uint64_t count = test_count(10000, 100000), numbers[IN_FLIGHT], seed = test_seed();
    struct tally tally = {.earliest = INT64_MAX};
    int64_t slowness = test_slowness();
    mproc_submit_options options = {
        .size = sizeof options, .ctx_size = sizeof slowness, .output_max = 8};
    mproc_future *futures[IN_FLIGHT];
    uint32_t ids[IN_FLIGHT];
    mproc_pool *pool;

    (void)state;
    stage = test_share(sizeof *stage);
    pool = make_pool(CLOSE_WORKERS, CLOSE_LIMIT_MS * slowness);
    for (uint64_t i = 0; i < count + IN_FLIGHT; i++) {
        size_t at = i % IN_FLIGHT;

        if (i >= IN_FLIGHT)
            take_in(&tally, futures[at], numbers[at], ids[at]);
        if (i >= count)
            continue;
        numbers[at] = test_random(&seed);
        assert_int_equal(mproc_pool_submit(pool, &futures[at], end_about_limit, &slowness,
                                           &numbers[at], sizeof numbers[at], &options),
                         0);
        ids[at] = published;
    }
    end_pool(pool);
    print_message("%llu tasks: %llu killed, of which %llu had returned late and %llu in time; "
                  "none sooner than %lld us after its claim\n",
                  (unsigned long long)count, (unsigned long long)tally.limited,
                  (unsigned long long)tally.late, (unsigned long long)tally.preempted,
                  (long long)tally.earliest / 1000);
    assert_true(tally.limited > 0);
    assert_true(tally.limited < count);
    assert_int_equal(atomic_load(&stage->starts), CLOSE_WORKERS + tally.limited);
    test_unshare(stage, sizeof *stage);
    stage = NULL;
}

static int32_t answer_at_once(mproc_task *task, void *ctx)
{
    (void)ctx;
    *(uint64_t *)mproc_task_output(task, sizeof(uint64_t)) = answer(1);
    return 0;
}

/* The worker does not get to run between noting the limit and the claim, for longer than the limit,
 * and then, between the claim and the task, until the supervisor has looked. */
static void a_limit_counts_from_the_claim_however_long_that_took(void **state)
{
    int64_t limit = (int64_t)500 * test_slowness(); /* far more than it then needs */
    mproc_pool *pool;
    uint64_t out = 0;

    (void)state;
    stall_before_claim = limit * 6 / 5 * NS_PER_MS;
    look = test_share(sizeof *look);
    pool = make_pool(1, limit);
    await_start();
    assert_int_equal(
        mproc_pool_call(pool, answer_at_once, NULL, NULL, 0, &out, sizeof out, NULL, NULL), 0);
    assert_int_equal(out, answer(1));
    assert_int_equal(end_pool(pool), 0);
    stall_before_claim = 0;
    test_unshare(look, sizeof *look);
    look = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stopped_worker_is_reported_and_replaced_in_time),
        TEST(nobody_is_killed_before_its_limit_or_in_anothers_place),
        TEST(a_limit_counts_from_the_claim_however_long_that_took),
    };

    return TEST_MAIN(tests);
}
