/* SPDX-License-Identifier: MIT */
/*
 * A worker process around its loop: what it does between the fork and the first ticket, and at its
 * end.  Runs in the worker, which has the supervisor's memory; until the user's hooks it makes only
 * async-signal-safe calls.
 */
#include "supervisor.h"

#include <string.h>
#include <unistd.h>

#include "../point.h"
#include "worker.h"

/* Descriptors of the worker that its own children must not hold, or the bell would never end. */
enum { OWN_WAKE, OWN_BELL, OWN_LOOP, OWN_BOND, OWN_FDS };
static int worker_fds[OWN_FDS];
static struct guard worker_guard = {.fds = worker_fds, .count = OWN_FDS};

static void child_keep_descriptors(struct supervisor *sup, uint32_t number)
{
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (i != number)
            mp_close_bond(&sup->seats[i]);
    sup->reaper[0] = mp_close(sup->reaper[0]);
    sup->reaper[1] = mp_close(sup->reaper[1]);
    sup->fds[CONTROL_READ] = mp_close(sup->fds[CONTROL_READ]);
    sup->fds[WATCH_CHILD] = mp_close(sup->fds[WATCH_CHILD]); /* that is the supervisor's life */
    worker_fds[OWN_WAKE] = mp_move_up(sup->fds[WAKE_READ]);
    worker_fds[OWN_BELL] = mp_move_up(sup->fds[BELL_WRITE]);
    worker_fds[OWN_LOOP] = mp_move_up(sup->fds[LOOP_WRITE]);
}

static void child_guard_descriptors(const struct seat *seat)
{
    worker_fds[OWN_BOND] = seat->bond[1];
    if (mp_guard_lock() == 0) {
        mp_guard_add(&worker_guard);
        mp_guard_unlock();
    }
}

/* The supervisor's own; all others it has set so itself. */
static void child_default_signals(void)
{
    sigset_t none;

    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_set_name(uint32_t number)
{
    char name[24] = "mproc:w";

    mp_append_number(name, number);
    mp_set_name(name);
}

static _Noreturn void child_exit(int status)
{
    mp_flush_child();
    _exit(status);
}

_Noreturn void mp_worker_main(struct supervisor *sup, uint32_t number)
{
    const mproc_pool_options *options = sup->options;
    struct worker_shm *self = mp_region_worker(sup->region, number);
    struct seat *seat = &sup->seats[number];
    struct worker worker = {.region = sup->region,
                            .number = number,
                            .items_left = options->tasks_per_worker,
                            .patience = {.spin_us = options->spin_us}};
    enum worker_end end;
    int32_t r = 0;

    CRASH_POINT("worker forked");
    setpgid(0, 0);
    child_default_signals();
    child_keep_descriptors(sup, number);
    worker.wake = worker_fds[OWN_WAKE];
    worker.bell = worker_fds[OWN_BELL];
    worker.loop = worker_fds[OWN_LOOP];
    worker.pool = sup->self;
    mp_bond_child(seat->bond, BOND_THREAD, sup->self);
    child_guard_descriptors(seat);
    CRASH_POINT("worker bonded");
    child_set_name(number);
    if (options->nice)
        mp_renice(options->nice);
    if (options->child_fork)
        options->child_fork();
    if (options->init)
        r = options->init((int32_t)number, options->arg);
    if (r) {
        memcpy(mp_region_pool(sup->region)->init_text, mp_worker_fail_text(), WORKER_TEXT_MAX);
        child_exit((r & 0xff) ? r & 0xff : EXIT_CANNOT_START);
    }
    for (size_t i = OWN_WAKE; i <= OWN_LOOP; i++)
        if (worker_fds[i] >= 0 && mp_guard_fd(&worker_guard, i) < 0)
            child_exit(EXIT_CANNOT_START); /* init closed what it did not open */
    /* Once more: init may have changed the user id. */
    mp_bond_child(seat->bond, BOND_THREAD, sup->self);
    CRASH_POINT("worker ready, not up");
    /* Relaxed: only for people to read, and before any task of this worker has ended. */
    atomic_store_explicit(&self->pid, (int32_t)getpid(), memory_order_relaxed);
    /* Release / the supervisor's acquire, though by then this process is dead and reaped. */
    atomic_store_explicit(&self->up, 1, memory_order_release);
    CRASH_POINT("worker up");
    end = mp_worker_run(&worker);
    if (end == WORKER_DOOMED)
        _exit(0);
    if (options->exit)
        options->exit((int32_t)number, options->arg);
    CRASH_POINT("worker about to exit");
    child_exit(0);
}
