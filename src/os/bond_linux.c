/* SPDX-License-Identifier: MIT */
/*
 * A child that does not outlive its parent, by two services of Linux.
 *
 * PDEATHSIG follows the thread that forked: right where the parent has only one.  For the others
 * there is a pipe that nothing is written to: the parent holds its write end alone, and when that
 * is closed, by whatever death, the kernel sends the owner of the read end the signal asked for,
 * which is SIGKILL.  Nothing runs in the child for it, so what the child blocks is no matter.
 */
#define _GNU_SOURCE
#include "os.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { EXIT_ORPHAN = 137 }; /* seen by nobody but whoever adopts orphans */

static _Noreturn void end_now(void)
{
    mp_kill(getpid(), false, SIGKILL);
    _exit(EXIT_ORPHAN); /* pid 1 of a namespace, which kill() passes by */
}

int mp_bond_open(int bond[2], enum bond_kind kind)
{
    int ends[2] = {-1, -1};
    int r = kind == BOND_PROCESS ? mp_pipe(ends) : 0;

    bond[0] = ends[1];
    bond[1] = ends[0];
    return r;
}

void mp_bond_parent(int bond[2])
{
    bond[1] = mp_close(bond[1]);
}

void mp_bond_child(int bond[2], enum bond_kind kind, pid_t parent)
{
    struct pollfd end = {bond[1], POLLIN, 0};

    bond[0] = mp_close(bond[0]);
    if (kind == BOND_THREAD) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
            end_now();
        return;
    }
    fcntl(bond[1], F_SETFD, 0); /* the bond holds over an exec */
    if (fcntl(bond[1], F_SETOWN, getpid()) || fcntl(bond[1], F_SETSIG, SIGKILL) ||
        fcntl(bond[1], F_SETFL, O_ASYNC) || mp_poll(&end, 1, 0) != 0)
        end_now(); /* it cannot be bound, or the parent ended before it was */
}

void mp_set_name(const char *name)
{
    prctl(PR_SET_NAME, name);
}
