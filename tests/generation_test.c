/* SPDX-License-Identifier: MIT */
/*
 * A generation without a pool: its processes are started, told, and gone, and its pipes are nobody
 * else's.
 */
#include "support.h"

#include "pool/generation.h"
#include "shm/queue.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, MIB = 1 << 20, SECOND_MS = 1000, ORPHANS_MS = 1000 };

static struct region region;
static struct generation generation;
static int gate[2];  /* a worker's init function takes a byte and goes on, where it waits at all */
static int began[2]; /* each init function writes a byte */
static uint32_t told_started; /* bytes read of it */

/* What the workers tell, at the start of the heap. */
struct told {
    _Atomic int32_t pids[WORKERS];
    _Atomic uint32_t started;
    _Atomic uint32_t ended;
};

static struct told *told(void)
{
    return (struct told *)(void *)(region.memory.base + region.heap_offset);
}

static int32_t tell_pid(int32_t worker, void *arg)
{
    (void)arg;
    atomic_store(&told()->pids[worker], (int32_t)getpid());
    atomic_fetch_add(&told()->started, 1);
    return write(began[1], "", 1) == 1 ? 0 : 1;
}

static int32_t tell_pid_and_wait(int32_t worker, void *arg)
{
    char byte;

    tell_pid(worker, arg);
    return read(gate[0], &byte, 1) == 1 ? 0 : 1;
}

static void tell_end(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    atomic_fetch_add(&told()->ended, 1);
}

static int64_t in_ms(int64_t ms)
{
    return mp_deadline(ms * test_slowness());
}

static bool on_pipes; /* though one could sleep on words */

static void open_region(void)
{
    assert_int_equal(mp_region_open(&region, WORKERS, MIB), 0);
    region.on_words &= !on_pipes;
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(began), 0);
    told_started = 0;
}

static void close_region(void)
{
    mp_region_close(&region);
    for (int i = 0; i < 2; i++) {
        close(gate[i]);
        close(began[i]);
    }
}

static void start_with(const mproc_pool_options *options)
{
    open_region();
    assert_int_equal(mp_generation_start(&generation, &region, options), 0);
    assert_true(generation.alive);
    assert_true(generation.supervisor > 1);
}

static void start(mproc_init_fn init)
{
    mproc_pool_options options = {
        .size = sizeof options, .init = init, .exit = tell_end, .keep_descriptors = 1};

    start_with(&options);
}

/* Until so many workers have come as far as their init function: each writes a byte there. */
static void until_started(uint32_t count)
{
    char byte;

    for (; told_started < count; told_started++)
        assert_int_equal(read(began[0], &byte, 1), 1);
}

/* Sleep until the end of file on the bell. */
static int until_gone(int64_t deadline)
{
    enum awakening r;

    do
        r = mp_generation_sleep(&generation, deadline, false);
    while (r == AWAKE_RUNG);
    return r == AWAKE_BELL_ENDED ? 0 : r == AWAKE_LATE ? -ETIMEDOUT : -EIO;
}

static void finish_with(int status)
{
    assert_int_equal(mp_generation_finish(&generation), status);
    assert_false(generation.alive);
    for (int i = 0; i < GENERATION_FDS; i++)
        assert_int_equal(generation.fds[i], -1);
    close_region();
}

static void assert_workers_gone(void)
{
    for (int i = 0; i < WORKERS; i++)
        assert_true(test_process_gone(atomic_load(&told()->pids[i]), ORPHANS_MS * test_slowness()));
}

/* ---- start and end --------------------------------------------------------------------------- */

static void what_is_started_and_shut_leaves_in_peace(void **state)
{
    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    assert_int_equal(atomic_load(&told()->started), WORKERS);
    assert_int_equal(atomic_load(&told()->ended), WORKERS);
    assert_workers_gone();
    finish_with(0);
}

static void what_is_shut_at_once_leaves_too(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        start(tell_pid);
        mp_generation_shut(&generation);
        mp_generation_shut(&generation); /* twice is once */
        assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
        assert_int_equal(atomic_load(&told()->ended), WORKERS);
        finish_with(0);
    }
}

static void the_supervisor_is_not_one_of_the_workers_and_all_lead_groups(void **state)
{
    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    assert_int_equal(getpgid(generation.supervisor), generation.supervisor);
    for (int i = 0; i < WORKERS; i++) {
        pid_t pid = atomic_load(&told()->pids[i]);

        assert_int_not_equal(pid, generation.supervisor);
        assert_int_equal(getpgid(pid), pid);
    }
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void a_kill_ends_workers_that_would_never_leave(void **state)
{
    (void)state;
    start(tell_pid_and_wait);
    until_started(WORKERS);
    assert_int_equal(generation.grace, MP_FOREVER);
    mp_generation_kill(&generation, GRACE_MS);
    assert_true(generation.grace <= mp_deadline(SECOND_MS));
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    assert_false(generation.killed); /* it took no force against the supervisor */
    assert_int_equal(atomic_load(&told()->ended), 0);
    assert_workers_gone();
    finish_with(0);
}

static void a_second_kill_does_not_prolong_the_grace(void **state)
{
    int64_t grace;

    (void)state;
    start(tell_pid_and_wait);
    mp_generation_kill(&generation, GRACE_MS);
    grace = generation.grace;
    mp_generation_kill(&generation, GRACE_MS);
    assert_int_equal(generation.grace, grace);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void a_generation_can_follow_another_in_the_same_region(void **state)
{
    mproc_pool_options options = {
        .size = sizeof options, .init = tell_pid, .exit = tell_end, .keep_descriptors = 1};

    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    for (uint32_t i = 1; i <= 5; i++) {
        /* What the last one may have left behind is not taken up. */
        for (uint32_t k = 0; k < WORKERS; k++) {
            atomic_store(&mp_region_worker(&region, k)->ticket, UINT64_MAX);
            atomic_store(&mp_region_worker(&region, k)->left, 1);
        }
        mp_generation_shut(&generation);
        assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
        assert_int_equal(mp_generation_finish(&generation), 0);
        for (uint32_t k = 0; k < WORKERS; k++)
            atomic_store(&mp_region_worker(&region, k)->ticket, UINT64_MAX);
        assert_int_equal(mp_generation_start(&generation, &region, &options), 0);
        for (uint32_t k = 0; k < WORKERS; k++)
            assert_int_equal(atomic_load(&mp_region_worker(&region, k)->ticket), 0);
        until_started((i + 1) * WORKERS);
    }
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

/* ---- force ----------------------------------------------------------------------------------- */

/* Stop the supervisor, as a debugger or a mistaken kill does. */
static void stop_supervisor(void)
{
    siginfo_t info;

    assert_int_equal(mp_kill(generation.supervisor, false, SIGSTOP), 0);
    assert_int_equal(
        waitid(P_PID, (id_t)generation.supervisor, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
    assert_int_equal(info.si_code, CLD_STOPPED);
}

static void a_stopped_supervisor_is_killed_when_its_grace_is_over(void **state)
{
    (void)state;
    start(tell_pid_and_wait);
    until_started(WORKERS);
    stop_supervisor();
    mp_generation_kill(&generation, GRACE_MS);
    assert_int_equal(until_gone(generation.grace), -ETIMEDOUT);
    assert_false(mp_generation_grace_over(&generation));
    assert_true(generation.killed);
    assert_true(generation.grace != MP_FOREVER);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    assert_workers_gone();
    finish_with(SIGKILL);
}

static void what_outlives_its_second_grace_is_given_up(void **state)
{
    (void)state;
    start(tell_pid_and_wait);
    until_started(WORKERS);
    stop_supervisor();
    mp_generation_kill(&generation, GRACE_MS);
    assert_false(mp_generation_grace_over(&generation));
    assert_true(mp_generation_grace_over(&generation));
    assert_workers_gone();
    finish_with(SIGKILL);
}

static void the_death_of_the_supervisor_ends_its_workers(void **state)
{
    (void)state;
    start(tell_pid_and_wait);
    until_started(WORKERS);
    assert_int_equal(mp_kill(generation.supervisor, false, SIGKILL), 0);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    assert_workers_gone();
    finish_with(SIGKILL);
}

/* In a child: the host of a generation, until it is killed. */
static int be_host(void *ready)
{
    mproc_pool_options options = {
        .size = sizeof options, .init = tell_pid_and_wait, .keep_descriptors = 1};

    if (mp_generation_start(&generation, &region, &options))
        return 1;
    for (char byte; told_started < WORKERS; told_started++)
        if (read(began[0], &byte, 1) != 1)
            return 2;
    *(_Atomic int32_t *)ready = (int32_t)generation.supervisor;
    raise(SIGKILL);
    return 3;
}

static void nothing_outlives_its_host(void **state)
{
    _Atomic int32_t *supervisor;
    int status;

    (void)state;
    open_region();
    supervisor = (_Atomic int32_t *)(void *)(told() + 1);
    status = test_run_child(be_host, supervisor);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_true(test_process_gone(atomic_load(supervisor), ORPHANS_MS * test_slowness()));
    assert_workers_gone();
    close_region();
}

/* ---- the bell -------------------------------------------------------------------------------- */

static void a_nudge_wakes_the_sleeper(void **state)
{
    (void)state;
    start(tell_pid);
    for (int i = 0; i < 100; i++) {
        mp_generation_nudge(&generation);
        assert_int_equal(mp_generation_sleep(&generation, in_ms(5 * SECOND_MS), true), AWAKE_RUNG);
    }
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void pokes_of_a_supervisor_that_does_not_look_do_not_block(void **state)
{
    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    stop_supervisor();
    for (int i = 0; i < 100000 / test_slowness() + 70000; i++) /* more than its pipe holds */
        mp_generation_poke(&generation);
    assert_int_equal(mp_kill(generation.supervisor, false, SIGCONT), 0);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void a_bell_that_is_no_pipe_any_more_is_told(void **state)
{
    int directory = open("/", O_RDONLY | O_CLOEXEC);
    int bell;

    (void)state;
    assert_true(directory >= 0);
    start(tell_pid);
    bell = dup(generation.fds[BELL_READ]);
    assert_int_equal(dup2(directory, generation.fds[BELL_READ]), generation.fds[BELL_READ]);
    assert_int_equal(mp_generation_sleep(&generation, in_ms(5 * SECOND_MS), true), AWAKE_FAILED);
    assert_int_equal(dup2(bell, generation.fds[BELL_READ]), generation.fds[BELL_READ]);
    close(bell);
    close(directory);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

/* As a task's own child would: somebody holds on to the bell when supervisor and workers are gone. */
static void a_bell_that_rings_does_not_hide_the_supervisors_end(void **state)
{
    enum awakening r = AWAKE_RUNG; /* a word remembers the end itself as a ring */
    char path[64];
    int held;

    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    snprintf(path, sizeof path, "/proc/self/fd/%d", generation.fds[BELL_READ]);
    held = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (held >= 0) {
        assert_int_equal(mp_kill(generation.supervisor, false, SIGKILL), 0);
        assert_workers_gone();
        assert_true(test_process_gone(generation.supervisor, 5 * SECOND_MS * test_slowness()));
        mp_ring(held);
        /* Though it rings: a stray that rings without end is not to hide this. */
        for (int rings = 0; r == AWAKE_RUNG && rings < 2; rings++)
            r = mp_generation_sleep(&generation, MP_FOREVER, true);
        assert_int_equal(r, AWAKE_UNSUPERVISED);
        close(held);
    } else {
        mp_generation_kill(&generation, GRACE_MS);
    }
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(held >= 0 ? SIGKILL : 0);
}

/* The kernel takes the supervisor's number out of the word, and nobody need look for that. */
static void a_word_tells_the_supervisors_end(void **state)
{
    (void)state;
    start(tell_pid);
    if (!region.on_words) {
        mp_generation_kill(&generation, GRACE_MS);
        assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
        finish_with(0);
        skip();
    }
    until_started(WORKERS);
    mp_generation_sleep(&generation, mp_now(), true);
    assert_int_equal(generation.owner, generation.supervisor);
    assert_int_equal(mp_bell_word(&region) & MP_OWNER, generation.supervisor);
    assert_int_equal(mp_kill(generation.supervisor, false, SIGKILL), 0);
    assert_workers_gone();
    assert_true(test_process_gone(generation.supervisor, 5 * SECOND_MS * test_slowness()));
    assert_int_equal(mp_bell_word(&region), MP_OWNED | MP_RUNG);
    assert_int_equal(mp_generation_sleep(&generation, MP_FOREVER, true), AWAKE_BELL_ENDED);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(SIGKILL);
}

static void a_control_pipe_that_the_program_has_closed_is_told(void **state)
{
    int kept;

    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    assert_int_equal(mp_generation_sleep(&generation, mp_now(), true), AWAKE_LATE);
    kept = dup(generation.fds[CONTROL_WRITE]);
    assert_int_equal(close(generation.fds[CONTROL_WRITE]), 0);
    mp_generation_poke(&generation);
    assert_int_equal(mp_generation_sleep(&generation, mp_now(), true), AWAKE_FAILED);
    assert_int_equal(dup2(kept, generation.fds[CONTROL_WRITE]), generation.fds[CONTROL_WRITE]);
    close(kept);
    mp_generation_kill(&generation, GRACE_MS);
    assert_workers_gone();
    assert_true(test_process_gone(generation.supervisor, 5 * SECOND_MS * test_slowness()));
    finish_with(0);
}

/* Somebody of the pool, who is left, writes there what would hide it, again and again. */
static void a_scribbled_word_does_not_hide_the_supervisors_end(void **state)
{
    _Atomic uint32_t *bell;
    enum awakening r;
    int64_t deadline;

    (void)state;
    start(tell_pid);
    bell = &mp_region_pool(&region)->bell;
    until_started(WORKERS);
    mp_generation_sleep(&generation, mp_now(), true);
    assert_int_equal(mp_kill(generation.supervisor, false, SIGKILL), 0);
    assert_workers_gone();
    assert_true(test_process_gone(generation.supervisor, 5 * SECOND_MS * test_slowness()));
    deadline = in_ms(10 * SECOND_MS);
    do {
        atomic_store(bell, MP_OWNED | MP_RUNG | (uint32_t)generation.supervisor);
        r = mp_generation_sleep(&generation, MP_FOREVER, true);
    } while (r == AWAKE_RUNG && mp_now() < deadline);
    assert_int_equal(r, AWAKE_BELL_ENDED);
    finish_with(SIGKILL);
}

static void nudges_of_a_sleeper_that_does_not_look_do_not_block(void **state)
{
    (void)state;
    start(tell_pid);
    for (int i = 0; i < 70000; i++) /* more than its pipe holds */
        mp_generation_nudge(&generation);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

/* With a backlog each ticket taken is told, and here nobody reads what is told. */
static void rings_of_a_host_that_does_not_look_do_not_block(void **state)
{
    enum { MORE_THAN_THE_BELL_HOLDS = 70000 };
    struct queue_end end = {0};
    struct pollfd bell;

    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    atomic_store(&mp_region_pool(&region)->host_waits, HOST_HAS_BACKLOG);
    for (int posted = 0; posted < MORE_THAN_THE_BELL_HOLDS; posted++) {
        while (!mp_queue_push(&region, &end, mp_job_id(0, 7))) /* of a job that is not there */
            sched_yield();
        assert_int_equal(
            mp_generation_wake(
                &generation,
                mp_queue_sleepers(&region, &(struct queue_end){.tail = UINT64_MAX}, UINT32_MAX)),
            0);
    }
    mp_generation_shut(&generation);
    assert_workers_gone();
    bell = (struct pollfd){.fd = generation.fds[BELL_READ], .events = POLLIN};
    assert_true(region.on_words ? mp_bell_word(&region) & MP_RUNG : poll(&bell, 1, 0) == 1);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void without_a_ring_the_sleep_ends_at_its_deadline(void **state)
{
    int64_t deadline;

    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    while (mp_generation_sleep(&generation, mp_now(), true) == AWAKE_RUNG)
        ; /* a worker that was slow to start may have rung */
    deadline = mp_deadline(50);
    assert_int_equal(mp_generation_sleep(&generation, deadline, true), AWAKE_LATE);
    assert_true(mp_now() >= deadline);
    assert_true(mp_now() < deadline + (in_ms(SECOND_MS) - mp_now()));
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void a_worker_that_dies_is_replaced_and_told(void **state)
{
    (void)state;
    start(tell_pid);
    for (uint32_t i = 0; i < 10; i++) {
        pid_t pid;

        until_started(WORKERS + i);
        pid = atomic_load(&told()->pids[i % WORKERS]);
        assert_int_equal(mp_kill(pid, false, SIGKILL), 0);
        assert_int_equal(mp_generation_sleep(&generation, in_ms(5 * SECOND_MS), true), AWAKE_RUNG);
        until_started(WORKERS + i + 1);
        assert_true(atomic_load(&told()->pids[i % WORKERS]) != pid);
    }
    assert_true(atomic_load(&mp_region_pool(&region)->deaths) >= 10);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static int32_t refuse(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return 42;
}

static void workers_that_all_refuse_end_the_generation_which_says_why(void **state)
{
    mproc_pool_options options = {.size = sizeof options, .init = refuse};

    (void)state;
    start_with(&options);
    assert_int_equal(until_gone(in_ms(20 * SECOND_MS)), 0);
    assert_int_equal(atomic_load(&mp_region_pool(&region)->broken_reason), BROKEN_INIT);
    assert_int_equal(atomic_load(&mp_region_pool(&region)->broken_value), 42);
    finish_with(0);
}

/* ---- waking ----------------------------------------------------------------------------------- */

static int bytes_to_wake(void)
{
    int bytes = -1;

    assert_int_equal(ioctl(generation.fds[WAKE_READ], FIONREAD, &bytes), 0);
    return bytes;
}

/* In each way of waking: none that was not asked for, and all that leave. */
static void woken_for_nothing_they_sleep_on(void **state)
{
    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(mp_generation_wake(&generation, (uint32_t)i % (2 * WORKERS)), 0);
    assert_int_equal(atomic_load(&told()->ended), 0);
    mp_generation_shut(&generation);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    assert_int_equal(atomic_load(&told()->ended), WORKERS);
    finish_with(0);
}

static void start_on_pipes(mproc_init_fn init)
{
    if (!on_pipes && mp_can_sleep_on_words())
        skip();
    start(init);
}

static void each_that_is_to_be_woken_has_a_byte(void **state)
{
    (void)state;
    start_on_pipes(tell_pid_and_wait); /* nobody reads them before the gate is open */
    until_started(WORKERS);
    assert_int_equal(mp_generation_wake(&generation, 0), 0);
    assert_int_equal(bytes_to_wake(), 0);
    assert_int_equal(mp_generation_wake(&generation, 1), 0);
    assert_int_equal(mp_generation_wake(&generation, 3), 0);
    assert_int_equal(bytes_to_wake(), 4);
    assert_int_equal(mp_generation_wake(&generation, 2 * PIPE_BUF + 1), 0);
    assert_int_equal(bytes_to_wake(), 4 + 2 * PIPE_BUF + 1);
    mp_generation_shut(&generation);
    assert_int_equal(mp_generation_wake(&generation, 1), -EBADF);
    mp_generation_kill(&generation, GRACE_MS);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void a_full_wake_pipe_takes_no_more_and_does_not_block(void **state)
{
    char bytes[WORKERS] = {0};
    struct pollfd end;

    (void)state;
    start_on_pipes(tell_pid_and_wait);
    until_started(WORKERS);
    end = (struct pollfd){.fd = generation.fds[WAKE_WRITE], .events = POLLOUT};
    while (poll(&end, 1, 0) == 1)
        assert_int_equal(mp_generation_wake(&generation, 300), 0);
    assert_int_equal(mp_generation_wake(&generation, 1), 0);
    for (int i = 0; i < 20; i++) /* a little may still go in */
        assert_int_equal(mp_generation_wake(&generation, 300), 0);
    mp_generation_shut(&generation); /* what is in the pipe is read to the end before they leave */
    assert_int_equal(write(gate[1], bytes, WORKERS), WORKERS);
    assert_int_equal(until_gone(in_ms(20 * SECOND_MS)), 0);
    assert_int_equal(atomic_load(&told()->ended), WORKERS);
    finish_with(0);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* In another child of the host: 0 if none of the generation's descriptors is open there. */
static int look_for_descriptors(void *numbers)
{
    for (int i = 0; i < GENERATION_FDS; i++) {
        if (generation.fds[i] != -1)
            return 1 + i;
        if (((int *)numbers)[i] >= 0 && fcntl(((int *)numbers)[i], F_GETFD) >= 0)
            return 101 + i;
    }
    return 0;
}

static void another_child_of_the_host_has_none_of_the_descriptors(void **state)
{
    int numbers[GENERATION_FDS];
    int open = 0;

    (void)state;
    start(tell_pid);
    memcpy(numbers, generation.fds, sizeof numbers);
    for (int i = 0; i < GENERATION_FDS; i++)
        open += numbers[i] >= 0;
    assert_true(open >= 5);
    assert_int_equal(test_run_child(look_for_descriptors, numbers), 0);
    for (int i = 0; i < GENERATION_FDS; i++) /* and the host has them still */
        assert_true(numbers[i] < 0 || fcntl(numbers[i], F_GETFD) >= 0);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void no_descriptor_is_kept_by_a_program_that_is_executed(void **state)
{
    (void)state;
    start(tell_pid);
    for (int i = 0; i < GENERATION_FDS; i++)
        if (generation.fds[i] >= 0) {
            assert_true(fcntl(generation.fds[i], F_GETFD) & FD_CLOEXEC);
            assert_true(generation.fds[i] > 2);
        }
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static void another_child_of_the_host_does_not_hold_the_end_up(void **state)
{
    char byte = 0;
    pid_t other;

    (void)state;
    start(tell_pid);
    until_started(WORKERS);
    other = fork();
    assert_true(other >= 0);
    if (other == 0)
        _exit(read(gate[0], &byte, 1) == 1 ? 0 : 1);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0); /* it is still there */
    assert_int_equal(write(gate[1], &byte, 1), 1);
    assert_int_equal(waitpid(other, NULL, 0), other);
    finish_with(0);
}

/* In a child: 0 if a start with so few descriptors fails with -EMFILE and leaves none open. */
static int start_with_few_descriptors(void *unused)
{
    mproc_pool_options options = {.size = sizeof options};
    int next = dup(0);

    (void)unused;
    close(next);
    for (int few = 0; few < 6; few++) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit))
            return 1;
        limit.rlim_cur = (rlim_t)(next + few);
        if (setrlimit(RLIMIT_NOFILE, &limit))
            return 2;
        if (mp_generation_start(&generation, &region, &options) != -EMFILE)
            return 10 + few;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            return 3;
        if (dup(0) != next)
            return 20 + few;
        close(next);
    }
    return 0;
}

static void a_start_without_descriptors_fails_and_leaves_nothing(void **state)
{
    (void)state;
    open_region();
    assert_int_equal(test_run_child(start_with_few_descriptors, NULL), 0);
    close_region();
}

/* ---- what the user hears of the fork --------------------------------------------------------- */

static int hooks[3];

static void before(void)
{
    hooks[0]++;
}

static void after_in_parent(void)
{
    hooks[1]++;
}

static void after_in_worker(void)
{
    atomic_fetch_add(&told()->ended, 1); /* counted where the host can see it */
}

static void the_hooks_are_called_once_in_the_host_and_once_in_each_worker(void **state)
{
    mproc_pool_options options = {.size = sizeof options,
                                  .keep_descriptors = 1,
                                  .init = tell_pid,
                                  .before_fork = before,
                                  .parent_fork = after_in_parent,
                                  .child_fork = after_in_worker};

    (void)state;
    memset(hooks, 0, sizeof hooks);
    start_with(&options);
    until_started(WORKERS);
    assert_int_equal(hooks[0], 1);
    assert_int_equal(hooks[1], 1);
    assert_int_equal(atomic_load(&told()->ended), WORKERS);
    mp_generation_shut(&generation);
    assert_int_equal(until_gone(in_ms(5 * SECOND_MS)), 0);
    finish_with(0);
}

static const struct CMUnitTest tests[] = {
    TEST(what_is_started_and_shut_leaves_in_peace),
    TEST(what_is_shut_at_once_leaves_too),
    TEST(the_supervisor_is_not_one_of_the_workers_and_all_lead_groups),
    TEST(a_kill_ends_workers_that_would_never_leave),
    TEST(a_second_kill_does_not_prolong_the_grace),
    TEST(a_generation_can_follow_another_in_the_same_region),
    TEST(a_stopped_supervisor_is_killed_when_its_grace_is_over),
    TEST(what_outlives_its_second_grace_is_given_up),
    TEST(the_death_of_the_supervisor_ends_its_workers),
    TEST(nothing_outlives_its_host),
    TEST(a_nudge_wakes_the_sleeper),
    TEST(pokes_of_a_supervisor_that_does_not_look_do_not_block),
    TEST(a_bell_that_is_no_pipe_any_more_is_told),
    TEST(a_bell_that_rings_does_not_hide_the_supervisors_end),
    TEST(a_word_tells_the_supervisors_end),
    TEST(a_control_pipe_that_the_program_has_closed_is_told),
    TEST(a_scribbled_word_does_not_hide_the_supervisors_end),
    TEST(nudges_of_a_sleeper_that_does_not_look_do_not_block),
    TEST(rings_of_a_host_that_does_not_look_do_not_block),
    TEST(without_a_ring_the_sleep_ends_at_its_deadline),
    TEST(a_worker_that_dies_is_replaced_and_told),
    TEST(workers_that_all_refuse_end_the_generation_which_says_why),
    TEST(woken_for_nothing_they_sleep_on),
    TEST(each_that_is_to_be_woken_has_a_byte),
    TEST(a_full_wake_pipe_takes_no_more_and_does_not_block),
    TEST(another_child_of_the_host_has_none_of_the_descriptors),
    TEST(no_descriptor_is_kept_by_a_program_that_is_executed),
    TEST(another_child_of_the_host_does_not_hold_the_end_up),
    TEST(a_start_without_descriptors_fails_and_leaves_nothing),
    TEST(the_hooks_are_called_once_in_the_host_and_once_in_each_worker),
};

int main(void)
{
    int failed = TEST_MAIN(tests);

    if (!mp_can_sleep_on_words())
        return failed;
    on_pipes = true;
    return failed + TEST_MAIN(tests);
}
