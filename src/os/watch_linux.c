/* SPDX-License-Identifier: MIT */
/*
 * The pidfd: a descriptor of one process, which never means another that has got its pid.  The
 * calls are made by number, for C libraries that lack their names.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* One number on nearly all architectures.  On alpha it is that of another call, on mips of none: there a
 * C library without the names has no pidfd. */
#if defined(__alpha__) || defined(__mips__)
#define COMMON_NUMBER(number) (-1)
#else
#define COMMON_NUMBER(number) (number)
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal COMMON_NUMBER(424)
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open COMMON_NUMBER(434)
#endif

enum { PIDFS = 0x50494446 }; /* the magic number of the file system in which pidfds lie */

#ifdef P_PIDFD
#define WAIT_PIDFD P_PIDFD
#else
#define WAIT_PIDFD ((idtype_t)3)
#endif

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

static int wait_once(int fd, siginfo_t *info, int flags)
{
    info->si_pid = 0;
    while (waitid(WAIT_PIDFD, (id_t)fd, info, WEXITED | WNOHANG | flags))
        if (errno != EINTR)
            return errno == ECHILD ? -ECHILD : -EBADF;
    return info->si_pid ? 0 : -EAGAIN;
}

/* A kernel may have no pidfd, one that cannot be waited for (Linux 5.3), or a filter against it. */
int mp_pidfd_open(pid_t pid)
{
    int fd = mp_above_standard((int)syscall(SYS_pidfd_open, pid, 0));
    siginfo_t info;
    int r = fd < 0 ? fd : wait_once(fd, &info, WNOWAIT);

    if (r == 0 || r == -EAGAIN)
        return fd;
    mp_close(fd);
    return r == -ENOSYS || r == -EPERM ? -EBADF : r;
}

int mp_pidfd_wait(int fd, pid_t pid, int *status)
{
    siginfo_t info;
    int r = fd < 0 ? -EBADF : wait_once(fd, &info, WNOWAIT);

    if (!r && info.si_pid != pid)
        r = -EBADF; /* the program's own child, at a number that was ours */
    if (!r)
        r = wait_once(fd, &info, 0);
    if (!r)
        *status = wait_status(&info);
    return r;
}

int mp_pidfd_signal(int fd, int signal)
{
    if (syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0)
        return 0;
    return errno == ENOSYS ? -EBADF : -errno;
}

pid_t mp_pidfd_pid(int fd, mode_t mode)
{
    char text[512] = "/proc/self/fdinfo/";
    struct statfs system;
    const char *pid;
    ssize_t length;
    int info;

    if (mode & S_IFMT) /* anonymous inodes have no type */
        return 0;
    if (fstatfs(fd, &system) == 0 && system.f_type == PIDFS) /* Linux 6.9 and later */
        return 0;
    mp_append_number(text, (unsigned)fd);
    info = open(text, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return 0; /* no /proc: what is known of it must do */
    length = mp_read(info, text, sizeof text - 1);
    mp_close(info);
    text[length > 0 ? length : 0] = '\0';
    pid = strstr(text, "\nPid:");
    return pid ? (pid_t)strtol(pid + sizeof "\nPid:" - 1, NULL, 10) : 0;
}
