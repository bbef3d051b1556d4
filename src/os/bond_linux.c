/* SPDX-License-Identifier: MIT */
/*
 * A child that does not outlive its parent, by two services of Linux.
 *
 * PDEATHSIG follows the thread that forked: right where the parent has only one.  For the others
 * there is a pipe that nothing is written to: the parent holds its write end alone, and when that
 * is closed, by whatever death, the kernel sends the owner of the read end the signal asked for,
 * which is SIGKILL.  Nothing runs in the child for it, so what the child blocks is no matter.
 *
 * PDEATHSIG reaches the child alone, so a child that has it and leads a process group has such a
 * pipe besides, whose owner is the group.  Both ends of that stay with the parent, so that what the
 * child left in its group is told also when the child has ended before: a process that ends lets go
 * of its descriptors from the highest number down, and so of the writing end first.  The child has
 * the reading end a second time, for when a fork of the parent is just letting go of its copies.
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
    int r = mp_pipe(ends);

    bond[0] = ends[1];
    bond[1] = ends[0];
    return kind == BOND_THREAD ? 0 : r; /* without a pipe there is PDEATHSIG still */
}

void mp_bond_parent(int bond[2])
{
    bond[1] = mp_close(bond[1]);
}

/* `owner` is to get a SIGKILL when the other end is closed; a negative one is a process group. */
static bool bind_to(int fd, pid_t owner)
{
    return fcntl(fd, F_SETOWN, owner) == 0 && fcntl(fd, F_SETSIG, SIGKILL) == 0 &&
           fcntl(fd, F_SETFL, O_ASYNC) == 0;
}

/* The same reading end, opened anew at its number, so that it lives by itself; as it is where there is
 * no /proc. */
static void reopen(int fd)
{
    char path[32] = "/proc/self/fd/";
    int again;

    mp_append_number(path, (unsigned)fd);
    again = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (again >= 0)
        dup3(again, fd, O_CLOEXEC);
    mp_close(again);
}

void mp_bond_child(int bond[2], enum bond_kind kind, pid_t parent)
{
    struct pollfd end = {.fd = bond[1], .events = POLLIN};
    bool first = bond[0] >= 0; /* at a second call the other number may be another file's */

    bond[0] = mp_close(bond[0]);
    if (kind == BOND_THREAD) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
            end_now();
        if (!first || bond[1] < 0)
            return;
        bind_to(bond[1], -getpid());
        reopen(bond[1]);
        bind_to(bond[1], -getpid());
        if (mp_poll(&end, 1, 0) != 0)
            end_now(); /* a parent that ends closes its descriptors first */
        return;
    }
    fcntl(bond[1], F_SETFD, 0); /* the bond holds over an exec */
    if (!bind_to(bond[1], getpid()) || mp_poll(&end, 1, 0) != 0)
        end_now(); /* it cannot be bound, or the parent ended before it was */
}

void mp_set_name(const char *name)
{
    prctl(PR_SET_NAME, name);
}
