/* SPDX-License-Identifier: MIT */
/*
 * A good-fit allocator: free blocks stand in bins by the logarithm of their size, neighbours are
 * merged at once.  Runs in the host alone, on private memory; of the shared memory it touches
 * nothing but, by way of the os layer, which pages are there.
 */
#include "arena.h"

#include <errno.h>
#include <stdlib.h>

enum {
    GRANULE = 4096,       /* pages are committed and given back in these */
    TRIES_IN_OWN_BIN = 8, /* blocks of the request's own bin that are looked at first */
};

#define WARM_LIMIT ((size_t)64 << 20)

/* ---- bins ------------------------------------------------------------------------------------ */

static unsigned bin_of(size_t size)
{
    unsigned bin = 0;

    for (size_t units = size / ARENA_ALIGN; units > 1; units >>= 1)
        bin++;
    return bin;
}

static void put_in_bin(struct arena *arena, struct block *block)
{
    unsigned bin = bin_of(block->size);

    block->free = true;
    arena->warm += block->warm;
    list_insert_after(&arena->bins[bin], &block->in_bin);
    arena->filled |= (uint64_t)1 << bin;
}

static void take_from_bin(struct arena *arena, struct block *block)
{
    unsigned bin = bin_of(block->size);

    block->free = false;
    arena->warm -= block->warm;
    list_remove(&block->in_bin);
    if (list_is_empty(&arena->bins[bin]))
        arena->filled &= ~((uint64_t)1 << bin);
}

/* The first of at most `tries` blocks in a bin that is large enough. */
static struct block *search_bin(struct arena *arena, unsigned bin, size_t size, size_t tries)
{
    struct list *link = arena->bins[bin].next;

    for (; link != &arena->bins[bin] && tries > 0; link = link->next, tries--) {
        struct block *block = LIST_ENTRY(link, struct block, in_bin);

        if (block->size >= size)
            return block;
    }
    return NULL;
}

static struct block *find_free(struct arena *arena, size_t size)
{
    unsigned own = bin_of(size);
    struct block *block = search_bin(arena, own, size, TRIES_IN_OWN_BIN);

    for (unsigned bin = own + 1; !block && bin < ARENA_BINS; bin++)
        if (arena->filled >> bin & 1) /* every block of a higher bin is large enough */
            block = search_bin(arena, bin, size, 1);
    return block ? block : search_bin(arena, own, size, SIZE_MAX);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static struct block *block_create(size_t offset, size_t size)
{
    struct block *block = malloc(sizeof *block);

    if (!block)
        return NULL;
    *block = (struct block){.offset = offset, .size = size};
    list_init(&block->by_address);
    list_init(&block->in_bin);
    return block;
}

/* A bit for each granule. */
static size_t bitmap_size(size_t size)
{
    return size / GRANULE / 8 + 1;
}

int mp_arena_init(struct arena *arena, const struct memory *memory, size_t base, size_t size)
{
    size_t usable = size / ARENA_ALIGN * ARENA_ALIGN;
    struct block *all = block_create(base, usable);
    unsigned char *committed = mp_pages(bitmap_size(usable));

    if (!all || !committed) {
        free(all);
        mp_pages_free(committed, bitmap_size(usable));
        return -ENOMEM;
    }
    *arena = (struct arena){.memory = memory,
                            .base = base,
                            .size = usable,
                            .committed = committed,
                            .warm_limit = WARM_LIMIT};
    list_init(&arena->blocks);
    for (unsigned bin = 0; bin < ARENA_BINS; bin++)
        list_init(&arena->bins[bin]);
    list_append(&arena->blocks, &all->by_address);
    put_in_bin(arena, all);
    return 0;
}

void mp_arena_finish(struct arena *arena)
{
    if (!arena->memory)
        return;
    for (struct list *link = arena->blocks.next; link != &arena->blocks;) {
        struct block *block = LIST_ENTRY(link, struct block, by_address);

        link = link->next;
        free(block);
    }
    mp_pages_free(arena->committed, bitmap_size(arena->size));
    *arena = (struct arena){0};
}

/* Cut what is beyond `size` off a block and free it.  Without memory the block stays whole.  Which
 * of its pages are there is not known; the lower ones are taken to be. */
static void split(struct arena *arena, struct block *block, size_t size)
{
    struct block *rest;

    if (block->size == size)
        return;
    rest = block_create(block->offset + size, block->size - size);
    if (!rest)
        return;
    block->size = size;
    if (block->warm > size) {
        rest->warm = block->warm - size;
        block->warm = size;
    }
    list_insert_after(&block->by_address, &rest->by_address);
    put_in_bin(arena, rest);
}

int mp_arena_alloc(struct arena *arena, size_t size, struct block **block)
{
    struct block *found;

    if (size > arena->size)
        return -ENOMEM;
    size = size ? (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN : ARENA_ALIGN;
    found = find_free(arena, size);
    if (!found)
        return -ENOMEM;
    take_from_bin(arena, found);
    split(arena, found, size);
    *block = found;
    return 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static bool is_committed(const struct arena *arena, size_t granule)
{
    return arena->committed[granule / 8] >> granule % 8 & 1;
}

static void set_committed(struct arena *arena, size_t granule, bool value)
{
    unsigned char bit = (unsigned char)(1U << granule % 8);

    if (value)
        arena->committed[granule / 8] |= bit;
    else
        arena->committed[granule / 8] &= (unsigned char)~bit;
}

int mp_arena_commit(struct arena *arena, const struct block *block, size_t length)
{
    size_t start = block->offset - arena->base;
    size_t granule = start / GRANULE;
    size_t end = (start + length + GRANULE - 1) / GRANULE;

    while (granule < end) {
        size_t first, stop;
        int r;

        if (is_committed(arena, granule)) {
            granule++;
            continue;
        }
        for (first = granule; granule < end && !is_committed(arena, granule); granule++)
            ;
        stop = granule * GRANULE < arena->size ? granule * GRANULE : arena->size;
        r = mp_memory_commit(arena->memory, arena->base + first * GRANULE, stop - first * GRANULE);
        if (r)
            return r;
        for (; first < granule; first++)
            set_committed(arena, first, true);
    }
    return 0;
}

/* Give back the pages of the granules that lie wholly in a block. */
static bool discard(struct arena *arena, const struct block *block)
{
    size_t start = block->offset - arena->base;
    size_t first = (start + GRANULE - 1) / GRANULE;
    size_t end = (start + block->size) / GRANULE;

    if (first >= end ||
        mp_memory_discard(arena->memory, arena->base + first * GRANULE, (end - first) * GRANULE))
        return false;
    for (; first < end; first++)
        set_committed(arena, first, false);
    return true;
}

/* ---- free ------------------------------------------------------------------------------------ */

/* Let `block` take in its upper neighbour, if there is one and it is free. */
static void merge_upper(struct arena *arena, struct block *block)
{
    struct block *upper;

    if (block->by_address.next == &arena->blocks)
        return;
    upper = LIST_ENTRY(block->by_address.next, struct block, by_address);
    if (!upper->free)
        return;
    take_from_bin(arena, upper);
    list_remove(&upper->by_address);
    block->size += upper->size;
    block->warm += upper->warm;
    free(upper);
}

void mp_arena_free(struct arena *arena, struct block *block, size_t touched)
{
    if (!block)
        return;
    if (block->warm < touched)
        block->warm = touched < block->size ? touched : block->size;
    if (block->warm >= GRANULE && arena->warm + block->warm > arena->warm_limit &&
        discard(arena, block))
        block->warm = 0;
    merge_upper(arena, block);
    if (block->by_address.prev != &arena->blocks) {
        struct block *lower = LIST_ENTRY(block->by_address.prev, struct block, by_address);

        if (lower->free) {
            take_from_bin(arena, lower);
            put_in_bin(arena, block); /* so that the merge finds it where a free block is */
            merge_upper(arena, lower);
            block = lower;
        }
    }
    put_in_bin(arena, block);
}

void *mp_block_address(const struct arena *arena, const struct block *block)
{
    return arena->memory->base + block->offset;
}
