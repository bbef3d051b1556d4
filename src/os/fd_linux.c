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

/* The number that a name in /proc/self/fd is; -1: it is none. */
static int number_of(const char *name)
{
    int number = 0;

    if (!*name)
        return -1;
    for (; *name; name++) {
        if (*name < '0' || *name > '9' || number > (INT_MAX - 9) / 10)
            return -1;
        number = number * 10 + (*name - '0');
    }
    return number;
}

/* Close those that /proc tells of.  False: it is not there.  By the system call, because opendir()
 * allocates. */
static bool close_listed(int first, int last)
{
    struct entry { /* as the kernel writes it */
        uint64_t inode;
        int64_t next;
        unsigned short length;
        unsigned char type;
        char name[];
    };
    _Alignas(struct entry) char entries[2048];
    int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got;

    if (list < 0)
        return false;
    while ((got = syscall(SYS_getdents64, list, entries, sizeof entries)) > 0) {
        const struct entry *entry;

        for (long at = 0; at < got; at += entry->length) {
            int fd;

            entry = (const struct entry *)(const void *)(entries + at);
            fd = number_of(entry->name);
            if (fd >= first && fd <= last && fd != list)
                close(fd);
        }
    }
    close(list);
    return got == 0;
}

void mp_close_range(int first, int last)
{
    struct rlimit limit;

#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0)
        return;
#endif
    if (close_listed(first, last)) /* the limit may be a thousand million */
        return;
    if (last == INT_MAX) {
        if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > INT_MAX)
            limit.rlim_cur = 1048576;
        last = (int)limit.rlim_cur - 1;
    }
    for (int fd = first; fd <= last; fd++)
        close(fd);
}
