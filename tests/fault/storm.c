/* SPDX-License-Identifier: MIT */
/*
 * The kill storm itself.  The killer picks its victims from what the workers note of themselves,
 * and takes each note away as it kills: no pid is hit twice, and none that is a stranger's by then.
 * A worker notes itself at its fork (it is young) and again when its init function ends.  Of the
 * young a third is killed, no more: a pool gives up whose workers never come up.
 */
#include "storm.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool.h"

enum { WORKERS = 4, PIDS = 1 << 22, YOUNG_KILLED = 3 /* one of so many */ };

struct marks {
    _Atomic uint8_t begun;
    _Atomic uint8_t ended;
};

/* What workers and killer share with the test. */
struct stage {
    pid_t host;
    _Atomic int32_t young[WORKERS]; /* pids, in any place that is free */
    _Atomic int32_t grown[WORKERS]; /* by number */
    _Atomic int stop;
    _Atomic uint64_t kills;
    _Atomic uint8_t deaths[PIDS]; /* by pid: kills that no task was reported for */
    struct marks marks[];         /* by task */
};

static struct stage *stage;
static size_t stage_size;
static pid_t killer;

/* ---- the victims ----------------------------------------------------------------------------- */

/* In every fork of the process; a worker is one that the host did not fork. */
static void child_note_young(void)
{
    if (!stage || getppid() == stage->host)
        return;
    for (int i = 0; i < WORKERS; i++) {
        int32_t none = 0;

        if (atomic_compare_exchange_strong(&stage->young[i], &none, (int32_t)getpid()))
            return;
    }
}

static int32_t note_grown(int32_t worker, void *arg)
{
    (void)arg;
    for (int i = 0; i < WORKERS; i++) {
        int32_t self = (int32_t)getpid();

        if (atomic_compare_exchange_strong(&stage->young[i], &self, 0))
            atomic_store(&stage->grown[worker], self);
    }
    return 0;
}

/* A worker that leaves is not to be killed as the stranger that may have its pid afterwards. */
static void forget_grown(int32_t worker, void *arg)
{
    (void)arg;
    atomic_store(&stage->grown[worker], 0);
}

mproc_pool_options storm_options(void)
{
    return (mproc_pool_options){
        .size = sizeof(mproc_pool_options), .init = note_grown, .exit = forget_grown};
}

/* ---- the killer ------------------------------------------------------------------------------ */

/* The same answer each time it is asked of one, so that most are spared for good. */
static bool is_spared(int32_t pid)
{
    uint64_t mix = (uint64_t)pid;

    return test_random(&mix) % YOUNG_KILLED != 0;
}

static void strike(_Atomic int32_t *note, bool spares_most)
{
    int32_t pid = atomic_load(note);

    if (pid <= 1 || (spares_most && is_spared(pid)))
        return;
    if (!atomic_compare_exchange_strong(note, &pid, 0))
        return;
    atomic_fetch_add(&stage->deaths[pid % PIDS], 1);
    if (kill(pid, SIGKILL) == 0)
        atomic_fetch_add(&stage->kills, 1);
}

static _Noreturn void run_killer(const struct storm_plan *plan)
{
    uint64_t seed = plan->seed;

    while (!atomic_load(&stage->stop) && getppid() == stage->host) {
        uint64_t r = test_random(&seed);
        struct timespec pause = {0, (long)(r % 1000000) * plan->pause_us / 1000};

        strike(&stage->grown[(r >> 32) % WORKERS], false);
        strike(&stage->young[(r >> 40) % WORKERS], true);
        nanosleep(&pause, NULL);
    }
    _exit(0);
}

/* ---- begin and end --------------------------------------------------------------------------- */

static void set_stage(size_t tasks)
{
    static bool hooked;

    if (!hooked)
        assert_int_equal(pthread_atfork(NULL, NULL, child_note_young), 0);
    hooked = true;
    stage_size = sizeof *stage + tasks * sizeof stage->marks[0];
    stage = test_share(stage_size);
    stage->host = getpid();
}

void storm_over(const struct storm_plan *plan, size_t tasks)
{
    set_stage(tasks);
    killer = fork();
    assert_true(killer >= 0);
    if (killer == 0)
        run_killer(plan);
}

mproc_pool *storm_begin(const struct storm_plan *plan, size_t tasks)
{
    mproc_pool_options options = storm_options();
    mproc_pool *pool;

    storm_over(plan, tasks);
    assert_int_equal(mproc_pool_create(&pool, WORKERS, &options), 0);
    return pool;
}

uint64_t storm_still(void)
{
    int status;

    atomic_store(&stage->stop, 1);
    assert_int_equal(waitpid(killer, &status, 0), killer);
    assert_int_equal(status, 0);
    return atomic_load(&stage->kills);
}

uint64_t storm_end(mproc_pool *pool)
{
    uint64_t kills = atomic_load(&stage->kills), deaths;

    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 60000), 0);
    deaths = atomic_load(&mp_region_pool(&pool->region)->deaths);
    assert_int_equal(deaths, kills + WORKERS); /* the last of each number left by itself */
    mproc_pool_destroy(pool);
    storm_clear();
    return kills;
}

void storm_clear(void)
{
    test_unshare(stage, stage_size);
    stage = NULL;
}

void storm_forget_workers(void)
{
    for (int i = 0; i < WORKERS; i++) {
        atomic_store(&stage->young[i], 0);
        atomic_store(&stage->grown[i], 0);
    }
}

void storm_forget_marks(size_t tasks)
{
    memset(stage->marks, 0, tasks * sizeof stage->marks[0]);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

uint64_t storm_answer(uint64_t index)
{
    return index * 0x9e3779b97f4a7c15U + 1;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void run(uint64_t index, uint64_t *out, const struct storm_plan *plan)
{
    struct marks *marks = &stage->marks[index];

    atomic_fetch_add(&marks->begun, 1);
    if (plan->work_ns) {
        uint64_t seed = plan->seed ^ index;
        int64_t end = cpu_ns() + (int64_t)(test_random(&seed) % plan->work_ns);

        while (cpu_ns() < end)
            ;
    }
    *out = storm_answer(index);
    atomic_fetch_add(&marks->ended, 1);
}

int32_t storm_task(mproc_task *task, void *plan)
{
    run(*(const uint64_t *)mproc_task_input(task, NULL), mproc_task_output(task, sizeof(uint64_t)),
        plan);
    return 0;
}

int32_t storm_item(const void *in, void *out, void *plan)
{
    run(*(const uint64_t *)in, out, plan);
    return 0;
}

/* ---- how they ended -------------------------------------------------------------------------- */

void storm_check(struct tally *tally, uint64_t index, int error, uint64_t output, int32_t retries)
{
    int begun = atomic_load(&stage->marks[index].begun);
    int ended = atomic_load(&stage->marks[index].ended);

    assert_in_range(begun, 0, 1 + retries);
    tally->cut += (uint64_t)(begun - ended);
    if (error == 0) {
        assert_int_equal(output, storm_answer(index));
        assert_true(ended >= 1);
        assert_true(begun - ended <= retries); /* the last was not cut */
        tally->done++;
    } else {
        assert_int_equal(error, MPROC_ECRASHED);
        tally->crashed++;
    }
}

void storm_check_failure(const mproc_failure *failure, int32_t retries)
{
    _Atomic uint8_t *deaths = &stage->deaths[failure->pid % PIDS];

    if (failure->error != MPROC_ECRASHED)
        print_error("%s: %s\n", mproc_strerror(failure->error), failure->text);
    assert_int_equal(failure->error, MPROC_ECRASHED);
    assert_int_equal(failure->signal, SIGKILL);
    assert_int_equal(failure->attempts, 1 + retries);
    assert_true(failure->pid > 1);
    assert_true(atomic_load(deaths) > 0);
    atomic_fetch_sub(deaths, 1);
}

void storm_take_in(struct tally *tally, mproc_future *future, uint64_t index, int32_t retries)
{
    mproc_failure failure = {.size = sizeof failure};
    const void *data;
    size_t length;
    int r;

    assert_int_equal(mproc_future_wait(future, 60000), 0);
    r = mproc_future_result(future, &data, &length);
    if (r == 0) {
        assert_int_equal(length, sizeof(uint64_t));
        storm_check(tally, index, 0, *(const uint64_t *)data, retries);
    } else {
        assert_int_equal(mproc_future_failure(future, &failure), 0);
        storm_check_failure(&failure, retries);
        storm_check(tally, index, r, 0, retries);
    }
    mproc_future_free(future);
}

/* ---- many tasks ------------------------------------------------------------------------------ */

struct tally storm_submit(mproc_pool *pool, const struct storm_plan *plan, uint64_t tasks,
                          size_t in_flight)
{
    mproc_submit_options options = {.size = sizeof options,
                                    .retries = plan->retries,
                                    .output_max = 64,
                                    .ctx_size = sizeof *plan};
    mproc_future **futures = calloc(in_flight, sizeof(mproc_future *));
    struct tally tally = {0};
    struct storm_plan copy = *plan;

    assert_non_null(futures);
    for (uint64_t i = 0; i < tasks + in_flight; i++) {
        mproc_future **place = &futures[i % in_flight];

        if (i >= in_flight)
            storm_take_in(&tally, *place, i - in_flight, plan->retries);
        if (i < tasks)
            assert_int_equal(
                mproc_pool_submit(pool, place, storm_task, &copy, &i, sizeof i, &options), 0);
    }
    free(futures);
    return tally;
}

struct tally storm_map(mproc_pool *pool, const struct storm_plan *plan, size_t items)
{
    int32_t *statuses = malloc(items * sizeof *statuses);
    uint64_t *out = calloc(items, sizeof *out);
    mproc_failure first = {.size = sizeof first};
    mproc_map_options options = {.size = sizeof options,
                                 .chunk_size = 1,
                                 .ctx_size = sizeof *plan,
                                 .retries = plan->retries,
                                 .statuses = statuses,
                                 .failure = &first};
    struct storm_plan copy = *plan;
    struct tally tally = {0};
    int failed;

    assert_non_null(statuses);
    assert_non_null(out);
    failed = mproc_pool_map(pool, storm_item, &copy, NULL, 0, out, sizeof out[0], items, &options);
    for (uint64_t i = 0; i < items; i++)
        storm_check(&tally, i, statuses[i], out[i], plan->retries);
    assert_int_equal(failed, tally.crashed);
    if (failed)
        storm_check_failure(&first, plan->retries);
    free(statuses);
    free(out);
    return tally;
}

struct tally storm_map_bytes(mproc_pool *pool, const struct storm_plan *plan, size_t items)
{
    int32_t *statuses = malloc(items * sizeof *statuses);
    uint64_t *in = malloc(items * sizeof *in);
    struct iovec *inputs = malloc(items * sizeof *inputs);
    mproc_map_options options = {.size = sizeof options,
                                 .ctx_size = sizeof *plan,
                                 .output_max = 64,
                                 .retries = plan->retries,
                                 .statuses = statuses};
    struct storm_plan copy = *plan;
    struct tally tally = {0};
    mproc_results *results;
    int failed;

    assert_true(statuses && in && inputs);
    for (uint64_t i = 0; i < items; i++) {
        in[i] = i;
        inputs[i] = (struct iovec){&in[i], sizeof in[i]};
    }
    failed = mproc_pool_map_bytes(pool, storm_task, &copy, inputs, items, &results, &options);
    for (uint64_t i = 0; i < items; i++) {
        const void *data;
        size_t length;

        assert_int_equal(mproc_results_get(results, i, &data, &length), 0);
        assert_int_equal(length, statuses[i] ? 0 : sizeof(uint64_t));
        storm_check(&tally, i, statuses[i], *(const uint64_t *)data, plan->retries);
    }
    assert_int_equal(failed, tally.crashed);
    mproc_results_free(results);
    free(statuses);
    free(in);
    free(inputs);
    return tally;
}
