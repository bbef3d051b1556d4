/* SPDX-License-Identifier: MIT */
/*
 * The memory object as one of POSIX shared memory, whose name is gone before anybody can use it.
 * POSIX has no way to give single pages of it back.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_TRIES = 100 };

int mp_memory_object(size_t size)
{
    char name[48];
    int fd = -1, r;

    for (int try = 0; fd < 0; try++) {
        snprintf(name, sizeof name, "/mproc-%ld-%lld", (long)getpid(), (long long)mp_now());
        fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, S_IRUSR | S_IWUSR);
        if (fd < 0 && (errno != EEXIST || try == NAME_TRIES))
            return -errno;
    }
    shm_unlink(name);
    fd = mp_above_standard(fd);
    if (fd < 0)
        return fd;
    r = mp_memory_size(fd, size);
    if (!r)
        return fd;
    mp_close(fd);
    return r;
}

int mp_memory_discard(const struct memory *memory, size_t offset, size_t length)
{
    (void)memory;
    (void)offset;
    (void)length;
    return -ENOTSUP;
}

void mp_memory_leave_out_of_core(void *base, size_t size)
{
    (void)base;
    (void)size;
}
