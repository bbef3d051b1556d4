/* SPDX-License-Identifier: MIT */
/* POSIX has no descriptor of a process: every watch is a pipe. */
#include "os.h"

#include <errno.h>

int mp_pidfd_open(pid_t pid)
{
    (void)pid;
    return -EBADF;
}

int mp_pidfd_wait(int fd, int *status)
{
    (void)fd;
    (void)status;
    return -EBADF;
}

int mp_pidfd_signal(int fd, int signal)
{
    (void)fd;
    (void)signal;
    return -EBADF;
}
