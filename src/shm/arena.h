/* SPDX-License-Identifier: MIT */
/*
 * arena.h: an allocator over a range of shared memory, with all its bookkeeping in the private
 * memory of the host, the only process that allocates.  Nothing that a worker writes can mislead
 * it.
 *
 * Not thread-safe: the pool's lock guards it.
 */
#ifndef MP_ARENA_H
#define MP_ARENA_H

#include "../os/os.h"

enum { ARENA_ALIGN = 64, ARENA_BINS = 58 };

struct arena {
    const struct memory *memory;
    size_t base; /* of the range, from the start of the mapping */
    size_t size;
    struct list blocks;           /* all, by address */
    struct list bins[ARENA_BINS]; /* the free ones; bin b holds sizes from 64 << b up */
    uint64_t filled;              /* bit b: bin b is not empty */
    unsigned char *committed;     /* a bit for each granule */
    size_t warm;                  /* bytes of free blocks that still have their pages, about */
    size_t warm_limit;            /* how many may; the owner may change it */
};

/* A range of the arena: what mp_arena_alloc() gives, and the owner gives back. */
struct block {
    struct list by_address;
    struct list in_bin;
    size_t offset; /* from the start of the mapping, a multiple of ARENA_ALIGN */
    size_t size;
    size_t warm; /* bytes of it that have their pages, about */
    bool free;
};

int mp_arena_init(struct arena *arena, const struct memory *memory, size_t base, size_t size);
void mp_arena_finish(struct arena *arena); /* frees the bookkeeping of every block, used or not */

/* -ENOMEM: no room in the arena (or for the bookkeeping).  A size of 0 takes the least there is. */
int mp_arena_alloc(struct arena *arena, size_t size, struct block **block);
/* Make the first `length` bytes of a block real, so that writing them cannot fail; -ENOSPC, -EBADF as
 * mp_memory_commit(). */
int mp_arena_commit(struct arena *arena, const struct block *block, size_t length);
/* `touched`: how many of its bytes were written, about.  Accepts NULL.  Pages stay warm up to a
 * limit and go back to the system beyond it. */
void mp_arena_free(struct arena *arena, struct block *block, size_t touched);

void *mp_block_address(const struct arena *arena, const struct block *block);

#endif
