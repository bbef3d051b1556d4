/* SPDX-License-Identifier: MIT */
/* Descriptors: errno turned into -errno, EINTR repeated, numbers 0 to 2 kept for the standard
 * streams, and what is ours told from what has got its number. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_FD = 3, HIGH_FDS = 16 };

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

int mp_move_up(int fd)
{
    struct rlimit limit;
    int moved = -1;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= FIRST_FD + HIGH_FDS)
        moved = fcntl(fd, F_DUPFD_CLOEXEC,
                      (int)(limit.rlim_cur < FD_SETSIZE ? limit.rlim_cur : FD_SETSIZE) - HIGH_FDS);
    if (moved < 0)
        return fd;
    mp_close(fd);
    return moved;
}

int mp_move_above(int fd, int number)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, number + 1);

    if (moved < 0)
        return fd;
    mp_close(fd);
    return moved;
}

void mp_append_number(char *text, unsigned number)
{
    size_t at = strlen(text);
    unsigned unit = 1;

    while (number / unit >= 10)
        unit *= 10;
    for (; unit > 0; unit /= 10)
        text[at++] = (char)('0' + number / unit % 10);
    text[at] = '\0';
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

int mp_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);

    if (copy >= 0)
        return copy;
    return errno == EINVAL ? -EMFILE : -errno; /* EINVAL: the limit is below that number */
}

struct mark mp_mark(int fd)
{
    struct stat status;

    if (fd < 0 || fstat(fd, &status))
        return (struct mark){0};
    return (struct mark){status.st_dev, status.st_ino, mp_pidfd_pid(fd, status.st_mode)};
}

/* The two ends of a pipe have one mark; who confounds them gets -EBADF from the kernel. */
bool mp_is_marked(int fd, const struct mark *mark)
{
    struct stat now;
    pid_t pid;

    if (fd < 0)
        return false;
    if (fstat(fd, &now))
        return errno != EBADF; /* a filter of system calls may forbid to ask */
    if (now.st_dev != mark->dev || now.st_ino != mark->ino)
        return false;
    if (mark->pid == 0) /* no pidfd, or one with an inode of its own */
        return true;
    pid = mp_pidfd_pid(fd, now.st_mode);
    return pid == mark->pid || pid == -1;
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

int mp_ring(int fd)
{
    ssize_t n = mp_write(fd, "", 1);

    return n == -EAGAIN || n == -EPIPE || n >= 0 ? 0 : (int)n;
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
