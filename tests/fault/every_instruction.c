/* SPDX-License-Identifier: MIT */
/*
 * Every instruction: a tracer stops a process of the pool where it is idle, steps it a number of
 * instructions into its work and kills it there.  One process is a worker, from where it sleeps
 * until it is to sleep again; the other is the supervisor, from its sleep until it has
 * buried and replaced a dead worker.  Wherever it was: a task without retries is done, or has crashed
 * by SIGKILL after one attempt; with a retry it is done, and was begun twice at most; if the
 * supervisor died, the task may say that the pool is broken, and a restart mends that.
 *
 * The instructions of one life are counted first; the long form takes each of them, or a few thousand,
 * evenly spread, where there are more and a life is costly; the short one takes some.  The tracer is
 * a process of its own, since the host is to wait for its task meanwhile.  Linux alone is asked for
 * this; where tracing is not permitted, the tests are skipped.
 */
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#endif

#ifdef PTRACE_GET_SYSCALL_INFO

enum { WHOLE_LIFE = 1 << 30, IDLE_S = 1, LEAST_LIFE = 2000, MANY = 4000, MANY_BURIALS = 2500 };

/* ---- the tracer ------------------------------------------------------------------------------ */

enum victim { WORKER, SUPERVISOR };

struct order {
    enum victim victim;
    pid_t pid;
    int32_t steps; /* then kill */
};

enum { CANNOT_TRACE = -1, IDLE = -2 }; /* the tracer's answers: the second before the steps */

static void on_alarm(int signal)
{
    (void)signal;
}

/* 0 while the victim is stopped, -1 when it is gone or does not stop by itself within a second. */
static int next_stop(pid_t pid, int *status)
{
    pid_t r = waitpid(pid, status, __WALL);

    return r == pid && WIFSTOPPED(*status) ? 0 : -1;
}

/* What to deliver when it goes on: a signal that was on its way to it, but no stop of ours. */
static long signal_to_pass(int status)
{
    int signal = WSTOPSIG(status);

    return signal == SIGTRAP || signal == (SIGTRAP | 0x80) || status >> 16 ? 0 : signal;
}

/* It is about to read the byte that wakes it, or to sleep on a word. */
static bool is_sleep(const struct __ptrace_syscall_info *info)
{
    enum { WAIT = 0 };

#ifdef SYS_futex
    if (info->entry.nr == SYS_futex)
        return info->entry.args[1] == WAIT;
#endif
    return info->entry.nr == SYS_read && info->entry.args[2] == 1;
}

/* A worker, or a supervisor that is about to sleep. */
static bool is_idle(enum victim victim, pid_t pid)
{
    struct __ptrace_syscall_info info;

    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    if (victim == WORKER)
        return is_sleep(&info);
#ifdef SYS_poll
    if (info.entry.nr == SYS_poll)
        return true;
#endif
    /* The second is a poll() with a timeout, taken up again after the tracer has come. */
    return info.entry.nr == SYS_ppoll || info.entry.nr == SYS_restart_syscall;
}

/* Where tracer and victim share a processor, a step takes microseconds and wakes nobody. */
static void stay_together(pid_t pid)
{
    cpu_set_t set;
    int cpu = sched_getcpu();

    CPU_ZERO(&set);
    CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) == 0)
        sched_setaffinity(pid, sizeof set, &set);
}

static bool stop_where_idle(enum victim victim, pid_t pid, int *status)
{
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACESYSGOOD) ||
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) || next_stop(pid, status))
        return false;
    do
        if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)signal_to_pass(*status)) ||
            next_stop(pid, status))
            return false;
    while (WSTOPSIG(*status) != (SIGTRAP | 0x80) || !is_idle(victim, pid));
    return true;
}

/* One step.  False: it is gone; or it does nothing, not for the whole of a second: that is a timer
 * which strikes every second, and twice while this waits. */
static bool make_step(pid_t pid, int *status)
{
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)signal_to_pass(*status)))
        return false;
    return next_stop(pid, status) == 0 || (errno == EINTR && next_stop(pid, status) == 0);
}

/* How many steps it made: fewer than told if it is idle again. */
static int32_t step(pid_t pid, int32_t steps, int *status)
{
    const struct itimerval every = {{IDLE_S, 0}, {IDLE_S, 0}}, off = {{0, 0}, {0, 0}};
    int32_t made = 0;

    setitimer(ITIMER_REAL, &every, NULL);
    while (made < steps && make_step(pid, status))
        made++;
    setitimer(ITIMER_REAL, &off, NULL);
    return made;
}

static _Noreturn void run_tracer(int orders, int answers)
{
    struct sigaction action = {.sa_handler = on_alarm}; /* interrupts waitpid() */
    struct order order;

    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    while (read(orders, &order, sizeof order) == (ssize_t)sizeof order) {
        int32_t answer = IDLE;
        int status = 0;

        if (!stop_where_idle(order.victim, order.pid, &status))
            answer = CANNOT_TRACE;
        if (write(answers, &answer, sizeof answer) != (ssize_t)sizeof answer)
            break;
        if (answer == CANNOT_TRACE)
            continue;
        stay_together(order.pid);
        answer = step(order.pid, order.steps, &status);
        kill(order.pid, SIGKILL);
        while (waitpid(order.pid, &status, __WALL) == order.pid && WIFSTOPPED(status))
            ;
        if (write(answers, &answer, sizeof answer) != (ssize_t)sizeof answer)
            break;
    }
    _exit(0);
}

struct tracer {
    pid_t pid;
    int orders;
    int answers;
};

static struct tracer start_tracer(void)
{
    struct tracer tracer;
    int orders[2], answers[2];

    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(answers), 0);
    fflush(NULL);
    tracer.pid = fork();
    assert_true(tracer.pid >= 0);
    if (tracer.pid == 0) {
        close(orders[1]);
        close(answers[0]);
        run_tracer(orders[0], answers[1]);
    }
    close(orders[0]);
    close(answers[1]);
    tracer.orders = orders[1];
    tracer.answers = answers[0];
    return tracer;
}

static int32_t answer_of(const struct tracer *tracer)
{
    int32_t answer;

    assert_int_equal(read(tracer->answers, &answer, sizeof answer), sizeof answer);
    return answer;
}

/* The victim is stopped, and will go on and be killed.  False: it cannot be traced. */
static bool aim(const struct tracer *tracer, enum victim victim, pid_t pid, int32_t steps)
{
    struct order order = {victim, pid, steps};

    assert_int_equal(write(tracer->orders, &order, sizeof order), sizeof order);
    return answer_of(tracer) == IDLE;
}

static void stop_tracer(const struct tracer *tracer)
{
    int status;

    close(tracer->orders);
    close(tracer->answers);
    assert_int_equal(waitpid(tracer->pid, &status, 0), tracer->pid);
    assert_int_equal(status, 0);
}

/* ---- the tasks ------------------------------------------------------------------------------- */

static _Atomic int *runs; /* of the task under test; shared */

static int32_t allow_tracer(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
#ifdef PR_SET_PTRACER
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* fails where nobody needs it */
#endif
    return 0;
}

struct pids {
    pid_t pids[2]; /* by enum victim */
};

static int32_t tell_pids(mproc_task *task, void *ctx)
{
    struct pids *pids = mproc_task_output(task, sizeof *pids);

    (void)ctx;
    pids->pids[WORKER] = getpid();
    pids->pids[SUPERVISOR] = getppid();
    return 0;
}

static uint64_t mix(uint64_t x)
{
    for (int i = 0; i < 100; i++)
        x = test_random(&x);
    return x;
}

static int32_t count_and_mix(mproc_task *task, void *ctx)
{
    const uint64_t *in = mproc_task_input(task, NULL);

    (void)ctx;
    atomic_fetch_add(runs, 1);
    *(uint64_t *)mproc_task_output(task, sizeof *in) = mix(*in);
    return 0;
}

static int32_t die_at_first(mproc_task *task, void *ctx)
{
    if (atomic_fetch_add(runs, 1) == 0)
        raise(SIGKILL);
    atomic_fetch_sub(runs, 1);
    return count_and_mix(task, ctx);
}

/* ---- the host -------------------------------------------------------------------------------- */

struct tally {
    uint64_t done;
    uint64_t crashed;
    uint64_t broken;
};

/* The pool goes on: a task tells who serves it. */
static struct pids find_pids(mproc_pool *pool)
{
    struct pids pids;

    assert_int_equal(
        mproc_pool_call(pool, tell_pids, NULL, NULL, 0, &pids, sizeof pids, NULL, NULL), 0);
    return pids;
}

/* One task, while the victim makes so many steps and is killed; how many it made, or CANNOT_TRACE. */
static int32_t strike(mproc_pool *pool, const struct tracer *tracer, enum victim victim,
                      int32_t steps, int32_t retries, struct tally *tally)
{
    mproc_submit_options options = {
        .size = sizeof options, .retries = retries, .time_limit_ms = 60000, .output_max = 64};
    mproc_failure failure = {.size = sizeof failure};
    uint64_t in = (uint64_t)steps;
    mproc_future *future;
    const void *out;
    int r;

    if (!aim(tracer, victim, find_pids(pool).pids[victim], steps))
        return CANNOT_TRACE;
    atomic_store(runs, 0);
    assert_int_equal(mproc_pool_submit(pool, &future,
                                       victim == WORKER ? count_and_mix : die_at_first, NULL, &in,
                                       sizeof in, &options),
                     0);
    assert_int_equal(mproc_future_wait(future, 10000 * test_slowness()), 0);
    r = mproc_future_result(future, &out, NULL);
    if (r == 0) {
        assert_int_equal(*(const uint64_t *)out, mix(in));
        assert_in_range(atomic_load(runs), 1, 1 + retries);
        tally->done++;
    } else if (r == MPROC_ECRASHED) {
        assert_int_equal(mproc_future_failure(future, &failure), 0);
        assert_int_equal(failure.signal, SIGKILL);
        assert_int_equal(failure.attempts, 1);
        assert_int_equal(retries, 0);
        tally->crashed++;
    } else {
        assert_int_equal(r, MPROC_EBROKEN);
        assert_int_equal(victim, SUPERVISOR);
        tally->broken++;
    }
    assert_true(atomic_load(runs) <= 1 + retries);
    mproc_future_free(future);
    return answer_of(tracer);
}

/* Strikes all through the life that the victim leads when nobody strikes. */
static void strike_all(enum victim victim, uint64_t few, uint64_t many)
{
    mproc_pool_options options = {.size = sizeof options, .init = allow_tracer};
    uint64_t seed = test_seed(), count;
    struct tracer tracer = start_tracer();
    struct tally tally = {0};
    mproc_pool *pool;
    int32_t life;

    runs = test_share(sizeof *runs);
    assert_int_equal(mproc_pool_create(&pool, 1, &options), 0);
    life = strike(pool, &tracer, victim, WHOLE_LIFE, 0, &tally);
    count = test_count(few, life > 0 && (uint64_t)life < many ? (uint64_t)life + 1 : many);
    for (uint64_t i = 0; life != CANNOT_TRACE && i < count; i++) {
        uint64_t within = test_random(&seed) % ((uint64_t)life + 1);
        uint64_t at = count > (uint64_t)life ? i : (i * (uint64_t)life + within) / count;

        if (victim == SUPERVISOR)
            assert_int_equal(mproc_pool_restart(pool), 0);
        assert_in_range(strike(pool, &tracer, victim, (int32_t)at, (int32_t)(at % 2), &tally), 0,
                        at);
    }
    mproc_pool_destroy(pool);
    test_unshare(runs, sizeof *runs);
    stop_tracer(&tracer);
    if (life == CANNOT_TRACE)
        skip();
    print_message(
        "a life of %d instructions, killed at %llu of them: %llu done, %llu crashed, %llu "
        "broken\n",
        (int)life, (unsigned long long)count, (unsigned long long)tally.done,
        (unsigned long long)tally.crashed, (unsigned long long)tally.broken);
    assert_true(life >= LEAST_LIFE);
    assert_true(tally.done + tally.broken > 0 && tally.done + tally.crashed > 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_worker_may_be_killed_at_every_instruction(void **state)
{
    (void)state;
    strike_all(WORKER, 100, MANY);
}

static void the_supervisor_may_be_killed_at_every_instruction_of_a_burial(void **state)
{
    (void)state;
    strike_all(SUPERVISOR, 25, MANY_BURIALS);
}

#else

static void a_worker_may_be_killed_at_every_instruction(void **state)
{
    (void)state;
    skip();
}

static void the_supervisor_may_be_killed_at_every_instruction_of_a_burial(void **state)
{
    (void)state;
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_worker_may_be_killed_at_every_instruction),
        TEST(the_supervisor_may_be_killed_at_every_instruction_of_a_burial),
    };

    return TEST_MAIN(tests);
}
