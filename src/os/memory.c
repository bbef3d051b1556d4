/* SPDX-License-Identifier: MIT */
/*
 * Memory that forks share: one mapping of a memory object without a name.  Made by the host; its
 * children inherit the mapping and give up the descriptor.
 */
#define _DEFAULT_SOURCE /* MAP_ANON */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

int mp_memory_open(struct memory *memory, size_t size)
{
    struct rlimit limit;
    void *base;
    int fd;

    /* A larger object than that would be a SIGXFSZ for the caller. */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size)
        return -ENOMEM;
    fd = mp_memory_object(size);
    if (fd < 0)
        return fd == -EFBIG ? -ENOMEM : fd;
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        int r =
            errno == EINVAL ? -ENOMEM : -errno; /* only the size can be wrong: it is too large */

        mp_close(fd);
        return r;
    }
    mp_memory_leave_out_of_core(base, size);
    *memory = (struct memory){base, size, fd, mp_mark(fd)};
    return 0;
}

void *mp_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);

    return pages == MAP_FAILED ? NULL : pages;
}

void mp_pages_free(void *pages, size_t size)
{
    if (pages)
        munmap(pages, size);
}

int mp_memory_size(int fd, size_t size)
{
    while (ftruncate(fd, (off_t)size))
        if (errno != EINTR)
            return -errno;
    return 0;
}

int mp_memory_commit(const struct memory *memory, size_t offset, size_t length)
{
    int r;

    if (!mp_is_marked(memory->fd, &memory->mark))
        return -EBADF; /* to make room in another file would make it longer */
    do
        r = posix_fallocate(memory->fd, (off_t)offset, (off_t)length);
    while (r == EINTR);
    return -r;
}

/* Who reads a page that is in memory gets its neighbours mapped, too, on Linux 16 pages at a time; who
 * writes first gets one, and a fault takes longer than to fill a page. */
void mp_memory_touch(const void *from, size_t length)
{
    enum { STRETCH = 65536, SMALL = 4096 };
    uintptr_t at = (uintptr_t)from, end = at + length;

    for (; length >= SMALL && at < end; at = (at / STRETCH + 1) * STRETCH)
        (void)*(const volatile char *)at;
}

void mp_memory_close(struct memory *memory)
{
    if (memory->base)
        munmap(memory->base, memory->size);
    if (mp_is_marked(memory->fd, &memory->mark))
        mp_close(memory->fd);
    *memory = MEMORY_NONE;
}
