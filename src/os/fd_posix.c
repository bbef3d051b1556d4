/* SPDX-License-Identifier: MIT */
/*
 * Descriptors with POSIX alone.  A pipe is marked close-on-exec in a second step: a thread of the
 * host that forks and executes between the two, without the atfork handlers (vfork, posix_spawn),
 * takes it along.  Closing goes through every number up to the limit.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

int mp_pipe_cloexec(int ends[2])
{
    if (pipe(ends))
        return -errno;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return 0;
}

int mp_dup_over(int fd, int over)
{
    int r;

    do
        r = dup2(fd, over);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    fcntl(over, F_SETFD, FD_CLOEXEC);
    return 0;
}

void mp_close_range(int first, int last)
{
    struct rlimit limit;

    if (last == INT_MAX) {
        if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > INT_MAX)
            limit.rlim_cur = 1048576;
        last = (int)limit.rlim_cur - 1;
    }
    for (int fd = first; fd <= last; fd++)
        close(fd);
}
