/* SPDX-License-Identifier: MIT */
/*
 * Where there is code, from /proc/self/maps: of loaded objects, and what run-time compilers and
 * foreign-function libraries made.  Made by the host just before it forks; only the host asks.
 *
 * There are pages that get more code later, and those are the ones where libffi makes its closures.
 * What tells one closure from another is copied, unless it is much (the code of a whole virtual
 * machine), and a function there is known if that still reads as it did.  It may lie
 *
 * - in the closure: in pages that can be written, or are shared with a mapping that can;
 * - in the page after it: libffi can map a page of its own code again and again, each time with a page
 *   of pointers behind it.
 *
 * All memory but our own is read through the kernel: another thread may unmap it meanwhile.
 */
#define _GNU_SOURCE
#include "os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    COPIES_MAX = 1 << 18, /* bytes to copy, in all */
    TRAMPOLINES_MAX = 1 << 16,
    TEXT_ROOM = 1 << 15,               /* for /proc/self/maps, to begin with */
    CLOSURE_SIZE = 48,                 /* none is smaller, and so much tells two of them apart */
    POINTERS_SIZE = 2 * sizeof(void *) /* of a closure that is told by the page after it */
};

struct range {
    uintptr_t begin;
    uintptr_t end;
    char *copy;      /* or NULL: nothing changes there */
    uintptr_t shift; /* from the function to what was copied */
};

struct code_map {
    bool complete; /* else nothing can be refused */
    size_t count;
    size_t room;
    size_t copied; /* bytes */
    struct range *ranges;
};

/* A line of /proc/self/maps. */
struct mapping {
    uintptr_t begin;
    uintptr_t end;
    bool executable;
    bool writable;
    bool shared;
    bool file;
};

/* Returns 0, -EFAULT when there is no such memory (any more), or an error: it cannot be read. */
static int read_own(void *to, uintptr_t from, size_t size)
{
    struct iovec local = {.iov_base = to, .iov_len = size};
    struct iovec remote = {.iov_base = (void *)from, .iov_len = size};
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -EFAULT;
}

/* Without memory for it there is no copy, and the function is taken as known. */
static void copy_range(struct code_map *map, struct range *range, uintptr_t shift)
{
    size_t size = range->end - range->begin;

    if (size > COPIES_MAX - map->copied)
        return;
    range->copy = malloc(size);
    if (range->copy && read_own(range->copy, range->begin + shift, size)) {
        free(range->copy);
        range->copy = NULL;
    }
    if (!range->copy)
        return;
    range->shift = shift;
    map->copied += size;
}

/* NULL: no memory. */
static struct range *add_range(struct code_map *map, const struct mapping *mapping)
{
    struct range *range;

    if (map->count == map->room) {
        size_t room = map->room ? 2 * map->room : 32;
        struct range *grown = realloc(map->ranges, room * sizeof *grown);

        if (!grown)
            return NULL;
        map->ranges = grown;
        map->room = room;
    }
    range = &map->ranges[map->count++];
    *range = (struct range){.begin = mapping->begin, .end = mapping->end};
    if (mapping->writable || mapping->shared)
        copy_range(map, range, 0);
    return range;
}

/* Is this what libffi maps when it does not write code: a piece of a file that belongs to no loaded
 * object, and directly behind it memory for pointers? */
static bool are_trampolines(const struct mapping *code, const struct mapping *next)
{
    Dl_info object;

    return !code->writable && !code->shared && code->file &&
           code->end - code->begin <= TRAMPOLINES_MAX && next->begin == code->end &&
           next->end - next->begin >= code->end - code->begin && next->writable &&
           !next->executable && !next->shared && !next->file &&
           !dladdr((const void *)code->begin, &object);
}

static void skip_line(FILE *file)
{
    int c;

    do
        c = getc(file);
    while (c != '\n' && c != EOF);
}

/* "begin-end rwxp offset device inode" and more.  Returns 1; 0 at the end; or -EBADMSG. */
static int read_mapping(FILE *file, struct mapping *mapping)
{
    char line[128], *at;

    if (!fgets(line, sizeof line, file))
        return ferror(file) ? -EBADMSG : 0;
    if (!strchr(line, '\n'))
        skip_line(file);
    mapping->begin = (uintptr_t)strtoumax(line, &at, 16);
    if (*at == '-')
        mapping->end = (uintptr_t)strtoumax(at + 1, &at, 16);
    if (*at != ' ' || strlen(at) < sizeof " rwxp " - 1)
        return -EBADMSG;
    mapping->writable = at[2] == 'w';
    mapping->executable = at[3] == 'x';
    mapping->shared = at[4] == 's';
    strtoumax(at + 5, &at, 16);
    at += strspn(at, " ");
    at += strcspn(at, " ");
    mapping->file = strtoumax(at, NULL, 10) != 0;
    return 1;
}

static int read_maps(struct code_map *map, FILE *file)
{
    struct mapping before = {0}, mapping = {0};
    struct range *range = NULL; /* of `before`, if that is code */
    int r;

    while ((r = read_mapping(file, &mapping)) == 1) {
        if (range && are_trampolines(&before, &mapping))
            copy_range(map, range, before.end - before.begin);
        range = mapping.executable ? add_range(map, &mapping) : NULL;
        if (mapping.executable && !range)
            return -ENOMEM;
        before = mapping;
    }
    map->complete = r == 0;
    return 0;
}

static const struct range *find_range(const struct code_map *map, uintptr_t address)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (map->ranges[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->count && map->ranges[low].begin <= address ? &map->ranges[low] : NULL;
}

/* Returns the text of a file, with a 0 at its end, or NULL. */
static char *read_text(int fd)
{
    size_t room = TEXT_ROOM, size = 0;
    char *text = malloc(room), *grown;
    ssize_t n;

    if (!text)
        return NULL;
    while ((n = mp_read(fd, text + size, room - size - 1)) > 0) {
        size += (size_t)n;
        if (size < room - 1)
            continue;
        grown = realloc(text, 2 * room);
        if (!grown)
            break;
        text = grown;
        room *= 2;
    }
    if (n == 0) {
        text[size] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* The text of /proc/self/maps, or NULL.  With the guard lock, so that no child which another thread
 * forks has the descriptor; and no more than that with it: whoever forks may hold the locks that it
 * takes to look at what is loaded. */
static char *read_maps_text(void)
{
    char *text = NULL;
    int fd;

    if (mp_guard_lock())
        return NULL;
    fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        text = read_text(fd);
    mp_close(fd);
    mp_guard_unlock();
    return text;
}

int mp_code_map_create(struct code_map **map)
{
    struct code_map *made = calloc(1, sizeof *made);
    char *text;
    FILE *file;
    int r = 0;

    if (!made)
        return -ENOMEM;
    text = read_maps_text();
    file = text ? fmemopen(text, strlen(text), "r") : NULL;
    if (file) {
        r = read_maps(made, file);
        fclose(file);
    }
    free(text);
    if (r) {
        mp_code_map_free(made);
        return r;
    }
    /* Where a pointer to a function leads to a descriptor of it, code cannot be told by address. */
    if (!find_range(made, (uintptr_t)mp_code_map_create))
        made->complete = false;
    *map = made;
    return 0;
}

bool mp_code_map_knows(const struct code_map *map, uintptr_t function)
{
    const struct range *range = find_range(map, function);
    char now[CLOSURE_SIZE];
    size_t size;
    int r;

    if (!map->complete)
        return true;
    if (!range || !range->copy)
        return range;
    size = range->shift ? POINTERS_SIZE : CLOSURE_SIZE;
    if (size > range->end - function)
        size = range->end - function;
    r = read_own(now, function + range->shift, size);
    if (r)
        return r != -EFAULT;
    return memcmp(now, range->copy + (function - range->begin), size) == 0;
}

void mp_code_map_free(struct code_map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->count; i++)
        free(map->ranges[i].copy);
    free(map->ranges);
    free(map);
}
