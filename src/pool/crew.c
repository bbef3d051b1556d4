/* SPDX-License-Identifier: MIT */
/*
 * The one fork of the host: its child becomes the supervisor and never comes back.  Runs in the
 * host, as generation.c says.
 */
#include "generation.h"

#include <stdio.h>

#include "../point.h"

int mp_crew_start(struct generation *generation, struct supervisor *sup)
{
    const mproc_pool_options *options = sup->options;
    sigset_t mask;
    pid_t pid;
    int r;

    if (options->before_fork)
        options->before_fork();
    fflush(stdout); /* or what is in their buffers would be printed by each worker, too */
    fflush(stderr);
    pid = mp_fork(&mask, &generation->guard);
    if (pid == 0)
        mp_supervisor_run(sup);
    CRASH_POINT("supervisor forked, not kept");
    if (options->parent_fork)
        options->parent_fork();
    if (pid < 0)
        return pid;
    r = mp_guard_lock(); /* cannot fail: it was taken before */
    if (r)
        return r;
    mp_watch_parent(&generation->fds[WATCH], pid);
    mp_guard_mark(&generation->guard, WATCH);
    mp_guard_close(&generation->guard, BELL_WRITE);
    mp_guard_close(&generation->guard, LOOP_WRITE);
    mp_guard_unlock();
    generation->supervisor = pid;
    return 0;
}

void mp_crew_kill(struct generation *generation)
{
    int watch[2] = {mp_guard_fd(&generation->guard, WATCH), -1};

    mp_watch_signal(watch, generation->supervisor, false, SIGKILL);
}

int mp_crew_wait(struct generation *generation, int64_t deadline)
{
    int watch[2] = {mp_guard_fd(&generation->guard, WATCH), -1};
    int status;

    /* It is about to end; should it not, it is left to the system. */
    if (mp_watch_wait(watch, generation->supervisor, deadline, &status))
        return -1;
    return status;
}
