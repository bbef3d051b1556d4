/* SPDX-License-Identifier: MIT */
/*
 * Where there is code, from /proc/self/maps: of loaded objects, and what run-time compilers and
 * foreign-function libraries made.  Made by the host just before it forks; only the host asks.
 *
 * A page that is writable and executable at once can get more code later, the closures of libffi
 * above all.  Such pages are copied, unless they are many (the code of a whole virtual machine), and
 * a function in one is known if it still reads as it did.
 *
 * All memory but our own is read through the kernel: another thread may unmap it meanwhile.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    COPIES_MAX = 1 << 18, /* bytes of pages to copy, in all */
    CLOSURE_SIZE = 48 /* no closure of libffi is smaller, and this much tells two of them apart */
};

struct range {
    uintptr_t begin;
    uintptr_t end;
    char *copy; /* or NULL: nobody writes there */
};

struct code_map {
    bool complete; /* else nothing can be refused */
    size_t count;
    size_t room;
    size_t copied; /* bytes */
    struct range *ranges;
};

/* Returns 0, -EFAULT when there is no such memory (any more), or an error: it cannot be read. */
static int read_own(void *to, uintptr_t from, size_t size)
{
    struct iovec local = {to, size};
    struct iovec remote = {(void *)from, size};
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -EFAULT;
}

/* Without memory for it there is no copy, and the function is taken as known. */
static void copy_range(struct code_map *map, struct range *range)
{
    size_t size = range->end - range->begin;

    if (size > COPIES_MAX - map->copied)
        return;
    range->copy = malloc(size);
    if (range->copy && read_own(range->copy, range->begin, size)) {
        free(range->copy);
        range->copy = NULL;
    }
    if (range->copy)
        map->copied += size;
}

static int add_range(struct code_map *map, uintptr_t begin, uintptr_t end, bool writable)
{
    if (map->count == map->room) {
        size_t room = map->room ? 2 * map->room : 32;
        struct range *grown = realloc(map->ranges, room * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        map->ranges = grown;
        map->room = room;
    }
    map->ranges[map->count] = (struct range){begin, end, NULL};
    if (writable)
        copy_range(map, &map->ranges[map->count]);
    map->count++;
    return 0;
}

static void skip_line(FILE *file)
{
    int c;

    do
        c = getc(file);
    while (c != '\n' && c != EOF);
}

/* Lines of "begin-end rwxp and more", in the order of the addresses. */
static int read_maps(struct code_map *map, FILE *file)
{
    char line[64];

    while (fgets(line, sizeof line, file)) {
        char *at;
        uintptr_t begin = (uintptr_t)strtoumax(line, &at, 16);
        uintptr_t end = *at == '-' ? (uintptr_t)strtoumax(at + 1, &at, 16) : 0;
        int r;

        if (*at != ' ' || strlen(at) < sizeof " rwxp" - 1)
            return 0;
        if (!strchr(at, '\n'))
            skip_line(file);
        r = at[3] == 'x' ? add_range(map, begin, end, at[2] == 'w') : 0;
        if (r)
            return r;
    }
    map->complete = !ferror(file);
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

int mp_code_map_create(struct code_map **map)
{
    struct code_map *made = calloc(1, sizeof *made);
    FILE *file;
    int r = 0;

    if (!made)
        return -ENOMEM;
    file = fopen("/proc/self/maps", "re");
    if (file) {
        r = read_maps(made, file);
        fclose(file);
    }
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
    size_t size = sizeof now;
    int r;

    if (!map->complete)
        return true;
    if (!range || !range->copy)
        return range;
    if (size > range->end - function)
        size = range->end - function;
    r = read_own(now, function, size);
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
