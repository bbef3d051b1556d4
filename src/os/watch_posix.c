/* SPDX-License-Identifier: MIT */
/* POSIX has no descriptor of a process: every watch is a pipe. */
#include "os.h"

#include <errno.h>

int mp_pidfd_open(pid_t pid)
{
    (void)pid;
    return -EBADF;
}

int mp_pidfd_wait(int fd, pid_t pid, int *status)
{
    (void)fd;
    (void)pid;
    (void)status;
    return -EBADF;
}

int mp_pidfd_signal(int fd, int signal)
{
    (void)fd;
    (void)signal;
    return -EBADF;
}

pid_t mp_pidfd_pid(int fd, mode_t mode)
{
    (void)fd;
    (void)mode;
    return 0;
}
