/* SPDX-License-Identifier: MIT */
/* The arena: what it hands out, what becomes of what is given back, and which pages are there. */
#ifdef __linux__
#define _GNU_SOURCE /* unshare, to have a small file system for a moment */
#endif
#include "support.h"

#include "shm/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/mount.h>
#endif

enum { GRANULE = 4096, BASE = 3 * GRANULE, MIB = 1 << 20, SKIPPED = 77 };

/* An arena with memory of its own; it does not begin where the memory does. */
struct ground {
    struct memory memory;
    struct arena arena;
};

static void open_ground(struct ground *ground, size_t size)
{
    ground->memory = MEMORY_NONE;
    assert_int_equal(mp_memory_open(&ground->memory, BASE + size), 0);
    assert_int_equal(mp_arena_init(&ground->arena, &ground->memory, BASE, size), 0);
}

static void close_ground(struct ground *ground)
{
    mp_arena_finish(&ground->arena);
    mp_memory_close(&ground->memory);
}

static struct block *alloc(struct ground *ground, size_t size)
{
    struct block *block = NULL;

    assert_int_equal(mp_arena_alloc(&ground->arena, size, &block), 0);
    assert_non_null(block);
    assert_false(block->free);
    assert_true(block->size >= size);
    assert_true(block->offset >= BASE);
    assert_true(block->offset + block->size <= BASE + ground->arena.size);
    return block;
}

static struct block *block_at(struct list *link)
{
    return LIST_ENTRY(link, struct block, by_address);
}

/* All is one free block again. */
static void assert_whole(struct ground *ground)
{
    struct arena *arena = &ground->arena;
    struct block *all = block_at(arena->blocks.next);

    assert_ptr_equal(all->by_address.next, &arena->blocks);
    assert_true(all->free);
    assert_int_equal(all->offset, BASE);
    assert_int_equal(all->size, arena->size);
}

/* ---- the bookkeeping holds ------------------------------------------------------------------- */

static size_t count_in_bins(struct arena *arena)
{
    size_t count = 0;

    for (unsigned bin = 0; bin < ARENA_BINS; bin++) {
        struct list *head = &arena->bins[bin];

        assert_int_equal(arena->filled >> bin & 1, !list_is_empty(head));
        for (struct list *link = head->next; link != head; link = link->next) {
            const struct block *block = LIST_ENTRY(link, struct block, in_bin);

            assert_true(block->free);
            assert_true(block->size >= (size_t)ARENA_ALIGN << bin);
            assert_true(bin + 1 == ARENA_BINS || block->size < (size_t)ARENA_ALIGN << (bin + 1));
            count++;
        }
    }
    return count;
}

/* The blocks lie side by side, no two free ones are neighbours, and each free one is in its bin. */
static void assert_sound(struct arena *arena)
{
    size_t at = arena->base, free_blocks = 0, warm = 0;
    bool was_free = false;

    for (struct list *link = arena->blocks.next; link != &arena->blocks; link = link->next) {
        const struct block *block = block_at(link);

        assert_int_equal(block->offset, at);
        assert_int_equal(block->offset % ARENA_ALIGN, 0);
        assert_int_equal(block->size % ARENA_ALIGN, 0);
        assert_true(block->size > 0);
        assert_true(block->warm <= block->size);
        assert_false(was_free && block->free);
        was_free = block->free;
        free_blocks += block->free;
        warm += block->free ? block->warm : 0;
        at += block->size;
    }
    assert_int_equal(at, arena->base + arena->size);
    assert_int_equal(count_in_bins(arena), free_blocks);
    assert_int_equal(arena->warm, warm);
}

/* ---- alloc and free -------------------------------------------------------------------------- */

static void neighbours_merge_in_whatever_order_they_are_freed(void **state)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct ground ground;

    (void)state;
    open_ground(&ground, MIB);
    assert_whole(&ground);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        struct block *blocks[] = {alloc(&ground, 1000), alloc(&ground, 70000), alloc(&ground, 64)};

        for (int k = 0; k < 3; k++) {
            mp_arena_free(&ground.arena, blocks[orders[i][k]], 0);
            assert_sound(&ground.arena);
        }
        assert_whole(&ground);
    }
    close_ground(&ground);
}

static void a_full_arena_says_so_and_serves_again_once_something_is_freed(void **state)
{
    enum { COUNT = MIB / 1024 };
    struct block *blocks[COUNT];
    struct block *none = NULL;
    struct ground ground;

    (void)state;
    open_ground(&ground, MIB);
    for (int i = 0; i < COUNT; i++)
        blocks[i] = alloc(&ground, 1024);
    assert_int_equal(mp_arena_alloc(&ground.arena, 1, &none), -ENOMEM);
    assert_int_equal(mp_arena_alloc(&ground.arena, 0, &none), -ENOMEM);
    assert_null(none);
    for (int i = 0; i < COUNT; i += 2) /* half of it, but no two neighbours */
        mp_arena_free(&ground.arena, blocks[i], 0);
    assert_int_equal(mp_arena_alloc(&ground.arena, 1025, &none), -ENOMEM);
    for (int i = 0; i < COUNT; i += 2)
        blocks[i] = alloc(&ground, 1024);
    assert_int_equal(mp_arena_alloc(&ground.arena, 1, &none), -ENOMEM);
    for (int i = 0; i < COUNT; i++)
        mp_arena_free(&ground.arena, blocks[i], 1024);
    assert_whole(&ground);
    assert_sound(&ground.arena);
    close_ground(&ground);
}

static void the_last_block_that_fits_is_found_among_many_that_do_not(void **state)
{
    enum { SMALL = 100, SIZE = 1024 }; /* 1024 and 1984 share a bin */
    struct block *holes[SMALL], *walls[SMALL + 1], *large, *rest;
    struct ground ground;

    (void)state;
    open_ground(&ground, MIB);
    large = alloc(&ground, 1984);
    walls[SMALL] = alloc(&ground, 64);
    for (int i = 0; i < SMALL; i++) {
        holes[i] = alloc(&ground, SIZE);
        walls[i] = alloc(&ground, 64);
    }
    rest = alloc(&ground, block_at(ground.arena.blocks.prev)->size);
    mp_arena_free(&ground.arena, large, 0); /* first, so that it is the last to be looked at */
    for (int i = 0; i < SMALL; i++)
        mp_arena_free(&ground.arena, holes[i], 0);
    large = alloc(&ground, 1984);
    assert_int_equal(large->offset, BASE);
    mp_arena_free(&ground.arena, large, 0);
    mp_arena_free(&ground.arena, rest, 0);
    for (int i = 0; i <= SMALL; i++)
        mp_arena_free(&ground.arena, walls[i], 0);
    assert_whole(&ground);
    close_ground(&ground);
}

static void a_size_of_0_takes_the_least_there_is(void **state)
{
    struct ground ground;
    struct block *a, *b;

    (void)state;
    open_ground(&ground, MIB);
    a = alloc(&ground, 0);
    b = alloc(&ground, 0);
    assert_int_equal(a->size, ARENA_ALIGN);
    assert_int_equal(b->size, ARENA_ALIGN);
    assert_true(a->offset != b->offset);
    mp_arena_free(&ground.arena, a, 0);
    mp_arena_free(&ground.arena, b, 0);
    assert_whole(&ground);
    close_ground(&ground);
}

static void a_size_is_rounded_up_to_the_alignment_and_no_further(void **state)
{
    const size_t sizes[] = {1, 63, 64, 65, 127, 128, 4095, 4097, GRANULE - 1, GRANULE + 1};
    struct ground ground;

    (void)state;
    open_ground(&ground, MIB);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct block *block = alloc(&ground, sizes[i]);

        assert_true(block->size < sizes[i] + ARENA_ALIGN);
        mp_arena_free(&ground.arena, block, 0);
    }
    close_ground(&ground);
}

static void a_size_larger_than_the_arena_is_refused_up_to_the_largest_there_is(void **state)
{
    const size_t sizes[] = {MIB + 1,       MIB + 64,      SIZE_MAX / 2 + 1, SIZE_MAX - 128,
                            SIZE_MAX - 64, SIZE_MAX - 63, SIZE_MAX - 1,     SIZE_MAX};
    struct ground ground;
    struct block *block = NULL;

    (void)state;
    open_ground(&ground, MIB);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(mp_arena_alloc(&ground.arena, sizes[i], &block), -ENOMEM);
        assert_null(block);
    }
    assert_whole(&ground);
    block = alloc(&ground, MIB);
    mp_arena_free(&ground.arena, block, 0);
    block = alloc(&ground, MIB - 63); /* rounded up that is all of it */
    mp_arena_free(&ground.arena, block, 0);
    assert_whole(&ground);
    close_ground(&ground);
}

static void an_odd_size_of_the_range_is_not_gone_beyond(void **state)
{
    struct memory memory = MEMORY_NONE;
    struct arena arena;
    struct block *block = NULL;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, 2 * GRANULE + 100), 0);
    assert_int_equal(mp_arena_init(&arena, &memory, GRANULE, GRANULE + 100), 0);
    assert_int_equal(arena.size, GRANULE + 64);
    assert_int_equal(mp_arena_alloc(&arena, GRANULE + 65, &block), -ENOMEM);
    assert_int_equal(mp_arena_alloc(&arena, GRANULE + 64, &block), 0);
    assert_int_equal(mp_arena_commit(&arena, block, block->size), 0);
    memset(mp_block_address(&arena, block), 1, block->size);
    mp_arena_free(&arena, block, block->size);
    mp_arena_finish(&arena);
    mp_memory_close(&memory);
}

static void blocks_are_aligned_and_lie_in_the_memory(void **state)
{
    const size_t sizes[] = {0, 1, 63, 64, 65, 1000, 4096, 100000};
    struct block *blocks[sizeof sizes / sizeof sizes[0]];
    struct ground ground;

    (void)state;
    open_ground(&ground, MIB);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *address;

        blocks[i] = alloc(&ground, sizes[i]);
        address = mp_block_address(&ground.arena, blocks[i]);
        assert_int_equal((uintptr_t)address % ARENA_ALIGN, 0);
        assert_ptr_equal(address, ground.memory.base + blocks[i]->offset);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        mp_arena_free(&ground.arena, blocks[i], 0);
    close_ground(&ground);
}

static void nothing_is_freed_and_finished_without_harm(void **state)
{
    struct ground ground;
    struct arena none = {0};

    (void)state;
    open_ground(&ground, MIB);
    mp_arena_free(&ground.arena, NULL, 100);
    assert_whole(&ground);
    alloc(&ground, 100); /* a block in use goes with the arena */
    mp_arena_finish(&ground.arena);
    mp_arena_finish(&ground.arena);
    mp_arena_finish(&none);
    mp_memory_close(&ground.memory);
}

/* ---- a storm, against a simple model --------------------------------------------------------- */

enum { UNITS = 8 * MIB / ARENA_ALIGN, HELD = 700 };

/* Who holds each unit of the arena, and what is in its bytes. */
static struct {
    struct ground ground;
    uint16_t owner[UNITS]; /* 0: nobody; else 1 + index in `held` */
    struct block *held[HELD];
    size_t written[HELD];
    uint64_t pattern[HELD];
} model;

static size_t unit_of(const struct block *block)
{
    return (block->offset - BASE) / ARENA_ALIGN;
}

static void set_owner(const struct block *block, uint16_t from, uint16_t to)
{
    size_t first = unit_of(block), end = first + block->size / ARENA_ALIGN;

    for (size_t unit = first; unit < end; unit++) {
        if (model.owner[unit] != from)
            fail_msg("unit %zu was held by %d, not %d", unit, model.owner[unit], from);
        model.owner[unit] = to;
    }
}

/* Is there room for so much in one piece? */
static bool model_has_room(size_t size)
{
    size_t need = size ? (size + ARENA_ALIGN - 1) / ARENA_ALIGN : 1, run = 0;

    for (size_t unit = 0; unit < UNITS && run < need; unit++)
        run = model.owner[unit] ? 0 : run + 1;
    return run >= need;
}

static size_t random_size(uint64_t *seed)
{
    uint64_t r = test_random(seed);

    switch (r % 4) {
    case 0:
        return r >> 8 & 0x7f;
    case 1:
    case 2:
        return (r >> 8) % 8192;
    default:
        return (size_t)((r >> 8) % 100 ? (r >> 16) % 100000 : (r >> 16) % (4 * MIB));
    }
}

static uint64_t *bytes_of(int i)
{
    return mp_block_address(&model.ground.arena, model.held[i]);
}

static void storm_alloc(int i, uint64_t *seed)
{
    size_t size = random_size(seed);
    int r = mp_arena_alloc(&model.ground.arena, size, &model.held[i]);

    if (r) {
        assert_int_equal(r, -ENOMEM);
        assert_false(model_has_room(size));
        model.held[i] = NULL;
        return;
    }
    assert_true(model.held[i]->size >= size);
    set_owner(model.held[i], 0, (uint16_t)(i + 1));
    model.pattern[i] = test_random(seed);
    model.written[i] = size / sizeof(uint64_t) > 64 ? 64 : size / sizeof(uint64_t);
    assert_int_equal(mp_arena_commit(&model.ground.arena, model.held[i], size), 0);
    for (size_t k = 0; k < model.written[i]; k++)
        bytes_of(i)[k] = model.pattern[i] + k;
}

static void storm_free(int i, uint64_t *seed)
{
    for (size_t k = 0; k < model.written[i]; k++)
        assert_int_equal(bytes_of(i)[k], model.pattern[i] + k); /* nobody else wrote there */
    set_owner(model.held[i], (uint16_t)(i + 1), 0);
    mp_arena_free(&model.ground.arena, model.held[i],
                  (size_t)(test_random(seed) % (2 * model.held[i]->size)));
    model.held[i] = NULL;
}

static void in_a_storm_no_two_blocks_overlap_and_no_room_is_lost(void **state)
{
    const int operations = test_under_valgrind() ? 10000 : 100000;
    uint64_t seed = test_seed();

    (void)state;
    memset(&model, 0, sizeof model);
    open_ground(&model.ground, 8 * MIB);
    for (int i = 0; i < operations; i++) {
        int at = (int)(test_random(&seed) % HELD);

        if (model.held[at])
            storm_free(at, &seed);
        else
            storm_alloc(at, &seed);
        if (i % 1000 == 0)
            assert_sound(&model.ground.arena);
    }
    for (int i = 0; i < HELD; i++)
        if (model.held[i])
            storm_free(i, &seed);
    assert_sound(&model.ground.arena);
    assert_whole(&model.ground);
    close_ground(&model.ground);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static size_t bytes_present(const struct ground *ground)
{
    struct stat status;

    assert_int_equal(fstat(ground->memory.fd, &status), 0);
    return (size_t)status.st_blocks * 512;
}

static bool can_discard(struct ground *ground)
{
    return mp_memory_discard(&ground->memory, 0, GRANULE) == 0;
}

static void memory_takes_no_pages_until_it_is_committed(void **state)
{
    struct ground ground;
    struct block *small, *large;

    (void)state;
    open_ground(&ground, 64 * MIB);
    assert_int_equal(bytes_present(&ground), 0);
    small = alloc(&ground, 100);
    large = alloc(&ground, 32 * MIB);
    assert_int_equal(bytes_present(&ground), 0);
    assert_int_equal(mp_arena_commit(&ground.arena, large, 8 * MIB), 0);
    assert_true(bytes_present(&ground) >= 8 * MIB);
    assert_true(bytes_present(&ground) <= 8 * MIB + 2 * GRANULE);
    memset(mp_block_address(&ground.arena, large), 1, 8 * MIB);
    assert_true(bytes_present(&ground) <= 8 * MIB + 2 * GRANULE); /* they were there */
    mp_arena_free(&ground.arena, small, 0);
    mp_arena_free(&ground.arena, large, 8 * MIB);
    close_ground(&ground);
}

static void what_is_committed_already_costs_nothing_more(void **state)
{
    struct ground ground;
    struct block *block;
    size_t before;

    (void)state;
    open_ground(&ground, 4 * MIB);
    block = alloc(&ground, MIB);
    assert_int_equal(mp_arena_commit(&ground.arena, block, 0), 0);
    assert_true(bytes_present(&ground) <= GRANULE);
    assert_int_equal(mp_arena_commit(&ground.arena, block, 1), 0);
    before = bytes_present(&ground);
    assert_in_range(before, 1, GRANULE);
    assert_int_equal(mp_arena_commit(&ground.arena, block, GRANULE / 2), 0);
    assert_int_equal(bytes_present(&ground), before);
    assert_int_equal(mp_arena_commit(&ground.arena, block, MIB), 0);
    assert_int_equal(bytes_present(&ground), MIB);
    assert_int_equal(mp_arena_commit(&ground.arena, block, MIB), 0);
    assert_int_equal(bytes_present(&ground), MIB);
    mp_arena_free(&ground.arena, block, MIB);
    close_ground(&ground);
}

static void a_block_across_granules_is_committed_to_its_last_byte(void **state)
{
    struct ground ground;
    struct block *before, *block;

    (void)state;
    open_ground(&ground, 4 * MIB);
    before = alloc(&ground, GRANULE - 64);
    block =
        alloc(&ground, GRANULE + 128); /* the end of one, all of the next, the start of a third */
    assert_int_equal(mp_arena_commit(&ground.arena, block, block->size), 0);
    assert_int_equal(bytes_present(&ground), 3 * GRANULE);
    mp_arena_free(&ground.arena, before, 0);
    mp_arena_free(&ground.arena, block, 0);
    close_ground(&ground);
}

static void a_commit_that_fails_says_so_and_can_be_done_again(void **state)
{
    struct ground ground;
    struct block *block;
    int fd;

    (void)state;
    open_ground(&ground, 4 * MIB);
    block = alloc(&ground, MIB);
    fd = ground.memory.fd;
    ground.memory.fd = -1;
    assert_int_equal(mp_arena_commit(&ground.arena, block, MIB), -EBADF);
    ground.memory.fd = fd;
    assert_int_equal(bytes_present(&ground), 0);
    assert_int_equal(mp_arena_commit(&ground.arena, block, MIB), 0);
    assert_int_equal(bytes_present(&ground), MIB);
    mp_arena_free(&ground.arena, block, 0);
    close_ground(&ground);
}

#ifdef __linux__

/* Who is root in our own name space. */
static bool write_map(const char *path, unsigned id)
{
    FILE *file = fopen(path, "we");

    if (!file)
        return false;
    fprintf(file, "0 %u 1", id);
    return fclose(file) == 0;
}

static bool deny_setgroups(void)
{
    FILE *file = fopen("/proc/self/setgroups", "we");

    if (!file)
        return false;
    fputs("deny", file);
    return fclose(file) == 0;
}

/* Mounts of our own: as root, or as the root of a name space of our own. */
static bool may_mount(void)
{
    unsigned user = getuid(), group = getgid();

    if (unshare(CLONE_NEWNS) == 0)
        return true;
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_map("/proc/self/uid_map", user) &&
           deny_setgroups() && write_map("/proc/self/gid_map", group);
}

/* A file of 16 MiB on a file system of 1 MiB, which only this process sees; -1: not to be had. */
static int open_on_a_small_system(const char *directory)
{
    char path[128];
    int fd;

    if (!may_mount() || mount("none", "/", "none", MS_REC | MS_PRIVATE, "") ||
        mount("small", directory, "tmpfs", 0, "size=1m"))
        return -1;
    snprintf(path, sizeof path, "%s/memory", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && ftruncate(fd, 16 * MIB)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* In a child: 0, SKIPPED, or the number of what is wrong. */
static int commit_more_than_there_is(void *directory)
{
    struct memory memory = {.size = 16 * MIB, .fd = open_on_a_small_system(directory)};
    struct arena arena;
    struct block *large, *small;

    if (memory.fd < 0)
        return SKIPPED;
    memory.mark = mp_mark(memory.fd);
    memory.base = mmap(NULL, memory.size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
    if (memory.base == MAP_FAILED || mp_arena_init(&arena, &memory, 0, memory.size))
        return 1;
    if (mp_arena_alloc(&arena, 8 * MIB, &large) || mp_arena_alloc(&arena, GRANULE, &small))
        return 2;
    if (mp_arena_commit(&arena, large, 8 * MIB) != -ENOSPC)
        return 3;
    if (mp_arena_commit(&arena, small, GRANULE)) /* for this there is room still */
        return 4;
    memset(mp_block_address(&arena, small), 1, GRANULE);
    if (mp_arena_commit(&arena, large, 8 * MIB) != -ENOSPC)
        return 5;
    if (mp_arena_commit(&arena, large, MIB / 2))
        return 6;
    memset(mp_block_address(&arena, large), 1, MIB / 2);
    mp_arena_free(&arena, large, MIB / 2);
    mp_arena_free(&arena, small, GRANULE);
    mp_arena_finish(&arena);
    mp_memory_close(&memory);
    return 0;
}

static void a_full_machine_is_an_error_and_not_a_signal(void **state)
{
    char directory[] = "/tmp/arena_test.XXXXXX";
    int status;

    (void)state;
    assert_non_null(mkdtemp(directory));
    status = test_run_child(commit_more_than_there_is, directory);
    assert_int_equal(rmdir(directory), 0);
    if (status == SKIPPED << 8)
        skip();
    assert_int_equal(status, 0);
}

#else

static void a_full_machine_is_an_error_and_not_a_signal(void **state)
{
    (void)state;
    skip();
}

#endif

/* ---- warm pages ------------------------------------------------------------------------------ */

enum { PIECES = 14, PIECE = 8 * MIB, WARM_LIMIT = 64 * MIB };

static void take_pieces(struct ground *ground, struct block **pieces)
{
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = alloc(ground, PIECE);
        assert_int_equal(mp_arena_commit(&ground->arena, pieces[i], PIECE), 0);
    }
}

static void pages_stay_warm_up_to_a_limit_and_go_back_beyond_it(void **state)
{
    struct block *pieces[PIECES];
    struct ground ground;

    (void)state;
    open_ground(&ground, (PIECES + 1) * PIECE);
    if (!can_discard(&ground)) {
        close_ground(&ground);
        skip();
    }
    take_pieces(&ground, pieces);
    assert_int_equal(bytes_present(&ground), PIECES * (size_t)PIECE);
    for (int i = 0; i < WARM_LIMIT / PIECE; i++)
        mp_arena_free(&ground.arena, pieces[i], PIECE);
    assert_int_equal(bytes_present(&ground), PIECES * (size_t)PIECE); /* all stayed */
    for (int i = WARM_LIMIT / PIECE; i < PIECES; i++)
        mp_arena_free(&ground.arena, pieces[i], PIECE);
    assert_true(bytes_present(&ground) <= (size_t)WARM_LIMIT + GRANULE);
    assert_true(bytes_present(&ground) >= WARM_LIMIT / 2); /* but not all went */
    assert_whole(&ground);
    close_ground(&ground);
}

static void pages_that_went_back_are_committed_again(void **state)
{
    struct block *pieces[PIECES];
    struct ground ground;

    (void)state;
    open_ground(&ground, (PIECES + 1) * PIECE);
    if (!can_discard(&ground)) {
        close_ground(&ground);
        skip();
    }
    take_pieces(&ground, pieces);
    for (int i = 0; i < PIECES; i++)
        mp_arena_free(&ground.arena, pieces[i], PIECE);
    assert_true(bytes_present(&ground) < PIECES * (size_t)PIECE);
    take_pieces(&ground, pieces);
    for (int i = 0; i < PIECES; i++) {
        char *bytes = mp_block_address(&ground.arena, pieces[i]);
        size_t before = bytes_present(&ground);

        for (size_t at = 0; at < PIECE; at += 4096)
            bytes[at] = 1;
        assert_int_equal(bytes_present(&ground), before); /* each page was there before */
    }
    for (int i = 0; i < PIECES; i++)
        mp_arena_free(&ground.arena, pieces[i], PIECE);
    close_ground(&ground);
}

/* Two blocks share a granule: what goes back of one is nothing of the other. */
static void what_goes_back_is_nothing_of_a_neighbour(void **state)
{
    enum { ODD = PIECE + 4032 };
    struct block *kept[PIECES], *given[PIECES];
    struct ground ground;

    (void)state;
    open_ground(&ground, (PIECES + 1) * (PIECE + 2 * GRANULE));
    if (!can_discard(&ground)) {
        close_ground(&ground);
        skip();
    }
    for (int i = 0; i < PIECES; i++) {
        kept[i] = alloc(&ground, 4096);
        given[i] = alloc(&ground, ODD);
        assert_int_equal(mp_arena_commit(&ground.arena, kept[i], 4096), 0);
        assert_int_equal(mp_arena_commit(&ground.arena, given[i], ODD), 0);
        memset(mp_block_address(&ground.arena, kept[i]), 1 + i, 4096);
    }
    for (int i = 0; i < PIECES; i++)
        mp_arena_free(&ground.arena, given[i], ODD);
    assert_true(bytes_present(&ground) <= (size_t)WARM_LIMIT + PIECES * 3 * GRANULE);
    for (int i = 0; i < PIECES; i++) {
        const char *bytes = mp_block_address(&ground.arena, kept[i]);

        for (size_t at = 0; at < 4096; at++)
            assert_int_equal(bytes[at], 1 + i);
        mp_arena_free(&ground.arena, kept[i], 4096);
    }
    assert_sound(&ground.arena);
    assert_whole(&ground);
    close_ground(&ground);
}

/* A block that was warm and is freed with less touched, or split, is still counted. */
static void warm_bytes_are_counted_through_split_and_merge(void **state)
{
    struct ground ground;
    struct block *a, *b;

    (void)state;
    open_ground(&ground, 16 * MIB);
    a = alloc(&ground, 4 * MIB);
    mp_arena_free(&ground.arena, a, 3 * MIB);
    assert_int_equal(ground.arena.warm, 3 * MIB);
    a = alloc(&ground, MIB);
    assert_int_equal(ground.arena.warm, 2 * MIB);
    b = alloc(&ground, 8 * MIB);
    assert_int_equal(ground.arena.warm, 0);
    mp_arena_free(&ground.arena, a, 0);
    assert_int_equal(ground.arena.warm, MIB);
    mp_arena_free(&ground.arena, b, 9 * MIB); /* more than it is: all of it */
    assert_int_equal(ground.arena.warm, 9 * MIB);
    assert_sound(&ground.arena);
    assert_whole(&ground);
    close_ground(&ground);
}

static const struct CMUnitTest tests[] = {
    TEST(neighbours_merge_in_whatever_order_they_are_freed),
    TEST(a_full_arena_says_so_and_serves_again_once_something_is_freed),
    TEST(the_last_block_that_fits_is_found_among_many_that_do_not),
    TEST(a_size_of_0_takes_the_least_there_is),
    TEST(a_size_is_rounded_up_to_the_alignment_and_no_further),
    TEST(a_size_larger_than_the_arena_is_refused_up_to_the_largest_there_is),
    TEST(an_odd_size_of_the_range_is_not_gone_beyond),
    TEST(blocks_are_aligned_and_lie_in_the_memory),
    TEST(nothing_is_freed_and_finished_without_harm),
    TEST(in_a_storm_no_two_blocks_overlap_and_no_room_is_lost),
    TEST(memory_takes_no_pages_until_it_is_committed),
    TEST(what_is_committed_already_costs_nothing_more),
    TEST(a_block_across_granules_is_committed_to_its_last_byte),
    TEST(a_commit_that_fails_says_so_and_can_be_done_again),
    TEST(a_full_machine_is_an_error_and_not_a_signal),
    TEST(pages_stay_warm_up_to_a_limit_and_go_back_beyond_it),
    TEST(pages_that_went_back_are_committed_again),
    TEST(what_goes_back_is_nothing_of_a_neighbour),
    TEST(warm_bytes_are_counted_through_split_and_merge),
};

int main(void)
{
    return TEST_MAIN(tests);
}
