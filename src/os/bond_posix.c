/* SPDX-License-Identifier: MIT */
/*
 * A child that does not outlive its parent, with what POSIX and the BSDs have: a pipe that nothing
 * is written to.  When the parent's write end is closed, by whatever death, the child gets SIGIO,
 * whose handler ends it.  A child that blocks SIGIO, takes it for itself or executes another
 * program undoes the bond.  Without O_ASYNC there is none to be had, and asking for one is an
 * error.
 */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#define __BSD_VISIBLE 1
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

enum { EXIT_ORPHAN = 137 }; /* seen by nobody but whoever adopts orphans */

int mp_bond_open(int bond[2], enum bond_kind kind)
{
    int ends[2] = {-1, -1};
    int r = -ENOTSUP;

    (void)kind;
#ifdef O_ASYNC
    r = mp_pipe(ends);
#endif
    bond[0] = ends[1];
    bond[1] = ends[0];
    return r;
}

void mp_bond_parent(int bond[2])
{
    bond[1] = mp_close(bond[1]);
}

static bool with_group; /* a BOND_THREAD takes along the group that the child leads, if it does */

static _Noreturn void end_now(void)
{
    if (with_group)
        mp_kill(getpid(), true, SIGKILL);
    mp_kill(getpid(), false, SIGKILL);
    _exit(EXIT_ORPHAN); /* pid 1 of a namespace, which kill() passes by */
}

/* SIGIO may come from elsewhere too: only the end of file ends the child, and only the bonded one
 * of the processes that inherit the handler. */
static int bond_end = -1;
static pid_t bonded;

static bool parent_is_gone(void)
{
    struct pollfd end = {.fd = bond_end, .events = POLLIN};

    return getpid() == bonded && mp_poll(&end, 1, 0) != 0;
}

static void on_sigio(int signal)
{
    int saved = errno;

    (void)signal;
    if (parent_is_gone())
        end_now();
    errno = saved;
}

static int ask_for_sigio(int fd)
{
    struct sigaction action = {0};
    sigset_t sigio;

    sigemptyset(&action.sa_mask);
    action.sa_handler = on_sigio;
    action.sa_flags = SA_RESTART;
    sigemptyset(&sigio);
    sigaddset(&sigio, SIGIO);
    if (sigaction(SIGIO, &action, NULL) || fcntl(fd, F_SETOWN, getpid()))
        return -errno;
#ifdef O_ASYNC
    if (fcntl(fd, F_SETFL, O_ASYNC))
        return -errno;
#endif
    return pthread_sigmask(SIG_UNBLOCK, &sigio, NULL);
}

void mp_bond_child(int bond[2], enum bond_kind kind, pid_t parent)
{
    (void)parent;
    with_group = kind == BOND_THREAD;
    bond[0] = mp_close(bond[0]);
    bond_end = bond[1];
    bonded = getpid();
    if (ask_for_sigio(bond[1]) || parent_is_gone())
        end_now(); /* it cannot be bound, or the parent ended before it was */
}

void mp_set_name(const char *name)
{
    (void)name;
}
