/* SPDX-License-Identifier: MIT */
/*
 * Where the code of the loaded objects lies, by dl_iterate_phdr (glibc, musl, the BSDs).  Made by
 * the host just before it forks; only the host asks.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>

struct range {
    uintptr_t begin;
    uintptr_t end;
};

struct code_map {
    size_t count;
    size_t room;
    struct range ranges[];
};

/* Does segment `i` of the object hold code, and where? */
static bool code_segment(const struct dl_phdr_info *object, size_t i, struct range *range)
{
    if (object->dlpi_phdr[i].p_type != PT_LOAD || !(object->dlpi_phdr[i].p_flags & PF_X))
        return false;
    range->begin = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
    range->end = range->begin + object->dlpi_phdr[i].p_memsz;
    return true;
}

static int count_segments(struct dl_phdr_info *object, size_t size, void *total)
{
    struct range range;

    (void)size;
    for (size_t i = 0; i < object->dlpi_phnum; i++)
        *(size_t *)total += code_segment(object, i, &range);
    return 0;
}

static int add_segments(struct dl_phdr_info *object, size_t size, void *arg)
{
    struct code_map *map = arg;

    (void)size;
    for (size_t i = 0; i < object->dlpi_phnum; i++)
        if (map->count < map->room && code_segment(object, i, &map->ranges[map->count]))
            map->count++;
    return 0;
}

struct search {
    uintptr_t address;
    bool found;
};

static int search_segments(struct dl_phdr_info *object, size_t size, void *arg)
{
    struct search *search = arg;
    struct range range;

    (void)size;
    for (size_t i = 0; i < object->dlpi_phnum; i++)
        if (code_segment(object, i, &range) && search->address >= range.begin &&
            search->address < range.end)
            search->found = true;
    return search->found;
}

int mp_code_map_create(struct code_map **map)
{
    struct code_map *made;
    size_t room = 0;

    dl_iterate_phdr(count_segments, &room);
    made = malloc(sizeof *made + room * sizeof made->ranges[0]);
    if (!made)
        return -ENOMEM;
    made->count = 0;
    made->room = room;
    dl_iterate_phdr(add_segments, made); /* what another thread loads meanwhile finds no room */
    *map = made;
    return 0;
}

bool mp_code_map_knows(const struct code_map *map, uintptr_t function)
{
    struct search search = {function, false};

    for (size_t i = 0; i < map->count; i++)
        if (search.address >= map->ranges[i].begin && search.address < map->ranges[i].end)
            return true;
    dl_iterate_phdr(search_segments, &search);
    return !search.found;
}

void mp_code_map_free(struct code_map *map)
{
    free(map);
}
