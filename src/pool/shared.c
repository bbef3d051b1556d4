/* SPDX-License-Identifier: MIT */
/*
 * Memory that the program shares with the workers of a pool: a block of the arena each, in a private
 * table by address.  Runs in the host.
 */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The index of the first block of the user's that ends beyond `offset`. */
static size_t find_shared(const mproc_pool *pool, size_t offset)
{
    size_t low = 0, high = pool->shared_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct block *block = pool->shared[middle];

        if (block->offset + block->size <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int mp_pool_owns(const mproc_pool *pool, const void *memory, size_t size)
{
    uintptr_t base = (uintptr_t)pool->region.memory.base;
    uintptr_t begin = (uintptr_t)memory;
    const struct block *block;
    size_t at;

    if (begin >= base + pool->region.memory.size || (begin < base && size <= base - begin))
        return 0;
    if (begin < base)
        return -EINVAL;
    at = find_shared(pool, begin - base);
    block = at < pool->shared_count ? pool->shared[at] : NULL;
    if (!block || begin - base < block->offset)
        return -EFAULT;
    return size <= block->offset + block->size - (begin - base) ? 1 : -EINVAL;
}

static int reserve_shared(mproc_pool *pool)
{
    size_t room = pool->shared_room ? 2 * pool->shared_room : 16;
    struct block **grown;

    if (pool->shared_count < pool->shared_room)
        return 0;
    grown = realloc(pool->shared, room * sizeof(struct block *));
    if (!grown)
        return -ENOMEM;
    pool->shared = grown;
    pool->shared_room = room;
    return 0;
}

static int alloc_shared(mproc_pool *pool, size_t size, void **memory)
{
    struct block *block;
    size_t at;
    int r = reserve_shared(pool);

    if (!r)
        r = mp_arena_alloc(&pool->heap, size, &block);
    if (r)
        return r;
    r = mp_arena_commit(&pool->heap, block, block->size);
    if (r) {
        mp_arena_free(&pool->heap, block, block->size);
        return r;
    }
    at = find_shared(pool, block->offset);
    memmove(&pool->shared[at + 1], &pool->shared[at],
            (pool->shared_count - at) * sizeof(struct block *));
    pool->shared[at] = block;
    pool->shared_count++;
    *memory = mp_block_address(&pool->heap, block);
    return 0;
}

static int dealloc_shared(mproc_pool *pool, const void *memory)
{
    size_t offset = (uintptr_t)memory - (uintptr_t)pool->region.memory.base;
    size_t at = find_shared(pool, offset);
    struct block *block = at < pool->shared_count ? pool->shared[at] : NULL;

    if (!block || block->offset != offset)
        return -EINVAL;
    pool->shared_count--;
    memmove(&pool->shared[at], &pool->shared[at + 1],
            (pool->shared_count - at) * sizeof(struct block *));
    mp_arena_free(&pool->heap, block, block->size);
    return 0;
}

int mproc_pool_alloc(mproc_pool *pool, size_t size, void **memory)
{
    int r = mp_pool_check(pool);

    if (!r && (!memory || !size))
        r = -EINVAL;
    if (r)
        return r;
    mp_pool_lock(pool);
    r = alloc_shared(pool, size, memory);
    mp_pool_unlock(pool);
    return r;
}

int mproc_pool_dealloc(mproc_pool *pool, void *memory)
{
    int r = mp_pool_check(pool);

    if (r || !memory)
        return r;
    mp_pool_lock(pool);
    r = dealloc_shared(pool, memory);
    mp_pool_unlock(pool);
    return r;
}
