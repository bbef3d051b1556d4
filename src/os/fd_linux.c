/* SPDX-License-Identifier: MIT */
/* Descriptors: pipe2, dup3, and close_range of Linux 5.9 by its number, for C libraries that lack its
 * name. */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int mp_pipe_cloexec(int ends[2])
{
    return pipe2(ends, O_CLOEXEC) ? -errno : 0;
}

int mp_dup_over(int fd, int over)
{
    int r;

    do
        r = dup3(fd, over, O_CLOEXEC);
    while (r < 0 && (errno == EINTR || errno == EBUSY)); /* EBUSY: another thread opens there */
    return r < 0 ? -errno : 0;
}

void mp_close_range(int first, int last)
{
    struct rlimit limit;

#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0)
        return;
#endif
    if (last == INT_MAX) {
        if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > INT_MAX)
            limit.rlim_cur = 1048576;
        last = (int)limit.rlim_cur - 1;
    }
    for (int fd = first; fd <= last; fd++)
        close(fd);
}
