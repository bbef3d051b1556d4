/* SPDX-License-Identifier: MIT */
/*
 * The memory object as a memfd, sealed against shrinking and growing: a worker's ftruncate would be
 * a SIGBUS in the host.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

int mp_memory_object(size_t size)
{
    int fd = mp_above_standard(memfd_create("mproc", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    int r;

    if (fd < 0)
        return fd;
    r = mp_memory_size(fd, size);
    if (!r && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        r = -errno;
    if (!r)
        return fd;
    mp_close(fd);
    return r;
}

int mp_memory_discard(const struct memory *memory, size_t offset, size_t length)
{
    if (!mp_is_marked(memory->fd, &memory->mark))
        return -EBADF; /* a hole in another file would be its loss */
    if (fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)length))
        return -errno;
    return 0;
}

void mp_memory_leave_out_of_core(void *base, size_t size)
{
    madvise(base, size, MADV_DONTDUMP);
}
