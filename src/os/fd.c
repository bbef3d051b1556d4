/* SPDX-License-Identifier: MIT */
/* Descriptors: errno turned into -errno, EINTR repeated, numbers 0 to 2 kept for the standard
 * streams. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

int mp_above_standard(int fd)
{
    int r;

    if (fd < 0)
        return -errno;
    if (fd >= FIRST_FD)
        return fd;
    r = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
    if (r < 0)
        r = errno == EINVAL ? -EMFILE : -errno; /* EINVAL: the limit is below that number */
    mp_close(fd);
    return r;
}

int mp_pipe(int ends[2])
{
    int fds[2];
    int r = mp_pipe_cloexec(fds);
    int reads, writes;

    if (r)
        return r;
    reads = mp_above_standard(fds[0]);
    writes = mp_above_standard(fds[1]);
    if (reads < 0 || writes < 0) {
        mp_close(reads);
        mp_close(writes);
        return reads < 0 ? reads : writes;
    }
    ends[0] = reads;
    ends[1] = writes;
    return 0;
}

int mp_close(int fd)
{
    if (fd >= 0)
        close(fd); /* its errors are of data not written, and nothing of ours is buffered there */
    return -1;
}

bool mp_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

int mp_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

ssize_t mp_read(int fd, void *to, size_t size)
{
    ssize_t n;

    do
        n = read(fd, to, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t mp_write(int fd, const void *from, size_t size)
{
    ssize_t n;

    do
        n = write(fd, from, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void mp_ring(int fd)
{
    mp_write(fd, "", 1);
}

void mp_close_others(int *keep, size_t count)
{
    int first = FIRST_FD;

    for (size_t i = 1; i < count; i++) /* insertion sort: a handful, and qsort may allocate */
        for (size_t k = i; k > 0 && keep[k] < keep[k - 1]; k--) {
            int fd = keep[k];

            keep[k] = keep[k - 1];
            keep[k - 1] = fd;
        }
    for (size_t i = 0; i < count; i++) {
        if (keep[i] < first)
            continue;
        if (keep[i] > first)
            mp_close_range(first, keep[i] - 1);
        first = keep[i] + 1;
    }
    mp_close_range(first, INT_MAX);
}

void mp_stdin_null(void)
{
    int fd;

    close(0);
    fd = open("/dev/null", O_RDONLY); /* the lowest number that is free: 0 */
    if (fd > 0)
        close(fd);
}
