/* SPDX-License-Identifier: MIT */
/*
 * The pidfd: a descriptor of one process, which never means another that has got its pid.  The
 * calls are made by number, for C libraries that lack their names.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One number for all architectures, but for mips and alpha, where there is no call of these. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#ifdef P_PIDFD
#define WAIT_PIDFD P_PIDFD
#else
#define WAIT_PIDFD ((idtype_t)3)
#endif

int mp_pidfd_open(pid_t pid)
{
    int fd = mp_above_standard((int)syscall(SYS_pidfd_open, pid, 0));

    return fd == -ENOSYS || fd == -EPERM ? -EBADF : fd;
}

/* What waitid() tells, as waitpid() puts it. */
static int wait_status(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_DUMPED:
        return info->si_status | 0x80;
    default:
        return info->si_status;
    }
}

int mp_pidfd_wait(int fd, int *status)
{
    siginfo_t info = {0};

    if (fd < 0)
        return -EBADF;
    while (waitid(WAIT_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG))
        if (errno != EINTR)
            return errno == ECHILD ? -ECHILD : -EBADF;
    if (info.si_pid == 0)
        return -EAGAIN;
    *status = wait_status(&info);
    return 0;
}

int mp_pidfd_signal(int fd, int signal)
{
    if (syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0)
        return 0;
    return errno == ENOSYS ? -EBADF : -errno;
}
