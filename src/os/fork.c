/* SPDX-License-Identifier: MIT */
/*
 * fork with its signal bracket, the guards that keep the library's descriptors out of children that
 * are not the library's, and the one call of kill().  Runs in every process.
 *
 * The guard lock is taken by the atfork handlers around every fork of the process, ours and
 * others', so that a child never sees a half-made list; it is a private lock of each process.
 */
#include "os.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../point.h"

enum { LAST_SIGNAL = 64 }; /* POSIX.1-2008 has no name for it; one too many fails, to no harm */

static pthread_mutex_t guards_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list guards = LIST_INIT(guards);
static unsigned epoch = 1;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_error;

/* Set by mp_fork() in the thread that forks: whose descriptors the child is to keep. */
static _Thread_local const struct guard *own_guard;

/* ---- atfork ---------------------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&guards_lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&guards_lock);
}

static void after_fork_in_child(void)
{
    struct list *link = guards.next;

    while (link != &guards) {
        struct guard *guard = LIST_ENTRY(link, struct guard, link);

        link = link->next;
        list_init(&guard->link);
        for (size_t i = 0; guard != own_guard && i < guard->count; i++)
            mp_guard_close(guard, i);
    }
    list_init(&guards);
    epoch++;
    pthread_mutex_unlock(&guards_lock);
}

static void register_handlers(void)
{
    /* For want of memory, and nothing else; musl says so by -1. */
    if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child))
        once_error = -ENOMEM;
}

/* ---- guards ---------------------------------------------------------------------------------- */

int mp_guard_lock(void)
{
    pthread_once(&once, register_handlers);
    if (once_error)
        return once_error;
    pthread_mutex_lock(&guards_lock);
    return 0;
}

void mp_guard_unlock(void)
{
    pthread_mutex_unlock(&guards_lock);
}

void mp_guard_add(struct guard *guard)
{
    for (size_t i = 0; i < guard->count; i++)
        mp_guard_mark(guard, i);
    list_append(&guards, &guard->link);
}

void mp_guard_remove(struct guard *guard)
{
    if (guard->link.next)
        list_remove(&guard->link);
}

void mp_guard_mark(struct guard *guard, size_t i)
{
    guard->marks[i] = mp_mark(guard->fds[i]);
}

int mp_guard_fd(const struct guard *guard, size_t i)
{
    return i < guard->count && mp_is_marked(guard->fds[i], &guard->marks[i]) ? guard->fds[i] : -1;
}

void mp_guard_close(struct guard *guard, size_t i)
{
    if (i >= guard->count)
        return;
    mp_close(mp_guard_fd(guard, i));
    guard->fds[i] = -1;
}

unsigned mp_epoch(void)
{
    return epoch;
}

/* ---- fork and kill --------------------------------------------------------------------------- */

pid_t mp_fork(sigset_t *mask, const struct guard *own)
{
    sigset_t all;
    pid_t pid;

    sigfillset(&all);
    if (pthread_sigmask(SIG_BLOCK, &all, mask))
        return -EAGAIN; /* and *mask is nothing to put back */
    own_guard = own;
    CRASH_POINT("about to fork");
    pid = fork();
    CRASH_POINT("forked");
    if (pid < 0)
        pid = -errno;
    own_guard = NULL;
    if (pid != 0)
        pthread_sigmask(SIG_SETMASK, mask, NULL);
    return pid;
}

static void flush_unless_locked(FILE *stream)
{
    if (ftrylockfile(stream))
        return;
    fflush(stream);
    funlockfile(stream);
}

void mp_flush_child(void)
{
    flush_unless_locked(stdout);
    flush_unless_locked(stderr);
}

void mp_signals_default(void)
{
    struct sigaction action = {0};

    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_DFL;
    for (int s = 1; s <= LAST_SIGNAL; s++)
        sigaction(s, &action, NULL); /* fails for SIGKILL, SIGSTOP and the C library's own */
    action.sa_handler = SIG_IGN; /* a background group may print to a terminal with tostop set */
    sigaction(SIGTTOU, &action, NULL);
}

void mp_renice(int by)
{
    const int most = 40; /* from one end of the scale to the other; beyond, the sum may overflow */

    if (by > most)
        by = most;
    if (by < -most)
        by = -most;
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + by);
}

int mp_kill(pid_t pid, bool group, int signal)
{
    if (pid <= 1)
        return -EINVAL;
    return kill(group ? -pid : pid, signal) ? -errno : 0;
}
