/* SPDX-License-Identifier: MIT */
/*
 * A child of this process, watched by a pidfd where one can be had, else by a pipe whose write end
 * the child holds.  Which of the two a watch is, the kernel is asked anew: -EBADF says that it is
 * no pidfd.
 *
 * The pipe says that the child has ended a moment before it can be reaped; and it says so too early
 * of a child that executes another program or closes its descriptors.  So its end of file is a
 * hint, and waitpid() has the word.  Nothing here waits in waitpid() itself: with SIGCHLD ignored
 * that would last until every child has ended.
 */
#include "os.h"

#include <errno.h>
#include <sys/wait.h>
#include <time.h>

enum { FIRST_PAUSE_NS = 50 * 1000, LONGEST_PAUSE_NS = 20 * 1000 * 1000 };

/* ---- open ------------------------------------------------------------------------------------ */

int mp_watch_open(int watch[2])
{
    return mp_pipe(watch);
}

/* 0 while the child runs or waits to be reaped, -ESRCH when it is not ours any more. */
static int still_ours(pid_t pid, bool *ended)
{
    siginfo_t info = {0};

    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT))
        if (errno != EINTR)
            return -ESRCH;
    *ended = info.si_pid == pid;
    return 0;
}

int mp_watch_parent(int watch[2], pid_t pid)
{
    bool ended;
    int fd;

    watch[1] = mp_close(watch[1]); /* its number is free for the pidfd, which may have none else */
    fd = mp_pidfd_open(pid);
    if (fd == -ECHILD)
        return -ESRCH;
    if (fd < 0) /* the pipe it is, then */
        return still_ours(pid, &ended);
    mp_close(watch[0]);
    watch[0] = fd;
    return 0;
}

void mp_watch_child(int watch[2])
{
    watch[0] = mp_close(watch[0]);
}

/* ---- wait ------------------------------------------------------------------------------------ */

/* 0, -EAGAIN: it has not ended, or -ECHILD. */
static int reap(const int watch[2], pid_t pid, int *status)
{
    int r = mp_pidfd_wait(watch[0], pid, status);
    pid_t reaped;

    if (r != -EBADF)
        return r;
    do
        reaped = waitpid(pid, status, WNOHANG);
    while (reaped < 0 && errno == EINTR);
    if (reaped < 0)
        return -ECHILD;
    return reaped == pid ? 0 : -EAGAIN;
}

/* Sleep for what lies between its end of file and its being reaped, but not beyond the deadline; twice
 * as long the next time. */
static void pause_for(long *ns, int64_t deadline)
{
    int64_t left = deadline - mp_now();
    struct timespec t = {.tv_nsec = left < *ns ? (long)left : *ns};

    nanosleep(&t, NULL); /* nothing, if none is left */
    if (*ns <= LONGEST_PAUSE_NS / 2)
        *ns *= 2;
}

int mp_watch_wait(int watch[2], pid_t pid, int64_t deadline, int *status)
{
    long pause = FIRST_PAUSE_NS;
    bool polled = false;

    for (;;) {
        struct pollfd end = {.fd = watch[0], .events = POLLIN};
        int r = reap(watch, pid, status);

        if (r != -EAGAIN)
            return r;
        if (deadline != MP_FOREVER && mp_now() >= deadline)
            return -ETIMEDOUT;
        if (polled)
            pause_for(&pause, deadline);
        polled = mp_poll(&end, 1, watch[0] < 0 ? 0 : deadline) >= 0;
    }
}

/* ---- signal ---------------------------------------------------------------------------------- */

int mp_watch_signal(int watch[2], pid_t pid, bool group, int signal)
{
    bool ended;
    int r = still_ours(pid, &ended);

    if (r || ended)
        return -ESRCH;
    if (!group) {
        r = mp_pidfd_signal(watch[0], signal);
        if (r != -EBADF)
            return r;
    }
    return mp_kill(pid, group, signal);
}
