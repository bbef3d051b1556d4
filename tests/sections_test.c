/* SPDX-License-Identifier: MIT */
/* Maps that copy so much that they are cut into sections: what pool.h promises holds across them. */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "pool/pool.h"

/* An item and its result are 64 KiB each, so a section has 16 of them: see map.c. */
enum { WORKERS = 4, WIDTH = 8192, SECTION = 16, COUNT = 20 * SECTION, ODD = COUNT - 7 };

struct item {
    uint64_t words[WIDTH];
};

/* What workers and test share. */
struct stage {
    _Atomic uint64_t begun;
    _Atomic uint64_t before;  /* of these, in the sections before that of the special one */
    _Atomic uint64_t special; /* the item that does what it is told */
    _Atomic int32_t flag;
    _Atomic int32_t held;
};

static struct stage *stage;
static struct item *in, *out;
static int32_t statuses[COUNT];
static mproc_pool *pool;
static int gate[2];

static void open_stage(uint64_t arena_size)
{
    mproc_pool_options options = {.size = sizeof options, .arena_size = arena_size};

    stage = test_share(sizeof *stage);
    atomic_store(&stage->special, UINT64_MAX);
    assert_int_equal(pipe(gate), 0);
    options.keep_descriptors = 1;
    assert_int_equal(mproc_pool_create(&pool, WORKERS, &options), 0);
    in = calloc(COUNT, sizeof *in);
    out = calloc(COUNT, sizeof *out);
    assert_non_null(in);
    assert_non_null(out);
    for (uint64_t i = 0; i < COUNT; i++) {
        in[i].words[0] = i;
        in[i].words[WIDTH - 1] = ~i;
        statuses[i] = 1;
    }
}

static void close_stage(void)
{
    mproc_pool_destroy(pool);
    close(gate[0]);
    close(gate[1]);
    free(in);
    free(out);
    test_unshare(stage, sizeof *stage);
}

/* In a build for race detection workers are threads: none can be killed. */
static void skip_with_threads(void)
{
    if (pool->generation.supervisor > 0)
        return;
    close_stage();
    skip();
}

static bool is_special(uint64_t index)
{
    return atomic_load(&stage->special) == index;
}

static int32_t answer(const void *from, void *to, void *ctx)
{
    const struct item *item = from;
    struct item *result = to;

    (void)ctx;
    atomic_fetch_add(&stage->begun, 1);
    result->words[0] = item->words[0] + 1;
    result->words[WIDTH - 1] = item->words[WIDTH - 1] + 1;
    return 0;
}

static void assert_answered(uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        assert_int_equal(out[i].words[0], i + 1);
        assert_int_equal(out[i].words[WIDTH - 1], ~i + 1);
    }
}

/* How many were; the others are as they were. */
static uint64_t count_answered(void)
{
    uint64_t count = 0;

    for (uint64_t i = 0; i < COUNT; i++)
        if (out[i].words[0]) {
            assert_answered(i, i + 1);
            count++;
        } else {
            assert_int_equal(out[i].words[WIDTH - 1], 0);
        }
    return count;
}

static int map(mproc_map_fn fn, uint64_t count, const mproc_map_options *options)
{
    return mproc_pool_map(pool, fn, NULL, in, sizeof *in, out, sizeof *out, count, options);
}

/* ---- results --------------------------------------------------------------------------------- */

static void results_are_in_order_across_sections(void **state)
{
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    const uint64_t counts[] = {1, SECTION, SECTION + 1, ODD, COUNT};

    (void)state;
    open_stage(0);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        memset(out, 0, COUNT * sizeof *out);
        assert_int_equal(map(answer, counts[i], i % 2 ? &options : NULL), 0);
        assert_answered(0, counts[i]);
        if (counts[i] < COUNT)
            assert_int_equal(out[counts[i]].words[0], 0);
    }
    for (uint64_t i = 0; i < ODD; i++)
        assert_int_equal(statuses[i], 0);
    assert_int_equal(statuses[ODD], 1);
    close_stage();
}

static int32_t answer_batch(const void *from, void *to, size_t count, void *ctx)
{
    if (count > 5)
        return 1;
    for (size_t i = 0; i < count; i++)
        answer((const struct item *)from + i, (struct item *)to + i, ctx);
    return 0;
}

static void a_chunk_is_never_cut_by_a_section(void **state)
{
    mproc_map_options options = {.size = sizeof options, .chunk_size = 5};

    (void)state;
    open_stage(0);
    assert_int_equal(mproc_pool_map_batch(pool, answer_batch, NULL, in, sizeof *in, out,
                                          sizeof *out, ODD, &options),
                     0);
    assert_answered(0, ODD);
    assert_int_equal(atomic_load(&stage->begun), ODD);
    options.chunk_size = ODD; /* all of it is one chunk, so it is one section */
    assert_int_equal(map(answer, ODD, &options), 0);
    assert_answered(0, ODD);
    close_stage();
}

static int32_t tell_index(const void *from, void *to, void *ctx)
{
    (void)ctx;
    ((struct item *)to)->words[0] = *(const uint64_t *)from;
    return 0;
}

static void an_index_is_that_of_the_whole_map(void **state)
{
    (void)state;
    open_stage(0);
    assert_int_equal(mproc_pool_map(pool, tell_index, NULL, NULL, 0, out, sizeof *out, COUNT, NULL),
                     0);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(out[i].words[0], i);
    close_stage();
}

static int32_t widen(const void *from, void *to, void *ctx)
{
    uint64_t number = *(const uint64_t *)from;

    (void)ctx;
    ((struct item *)to)->words[0] = number + 1;
    ((struct item *)to)->words[WIDTH - 1] = ~number + 1;
    return 0;
}

static void results_may_be_larger_than_the_inputs_whose_place_they_take(void **state)
{
    (void)state;
    open_stage(0);
    for (uint64_t i = 0; i < COUNT; i++)
        ((uint64_t *)out)[i] = i;
    assert_int_equal(
        mproc_pool_map(pool, widen, NULL, out, sizeof(uint64_t), out, sizeof *out, COUNT, NULL), 0);
    assert_answered(0, COUNT);
    close_stage();
}

static int32_t take_long_if_special(const void *from, void *to, void *ctx)
{
    (void)to;
    (void)ctx;
    return is_special(((const struct item *)from)->words[0]) ? poll(NULL, 0, 50) : 0;
}

static void a_slow_item_has_the_index_of_the_whole_map(void **state)
{
    mproc_map_options options = {.size = sizeof options, .chunk_size = 1};
    mproc_slow_item item = {.size = sizeof item};
    size_t rank = 0;

    (void)state;
    open_stage(0);
    atomic_store(&stage->special, COUNT - 3);
    assert_int_equal(
        mproc_pool_map(pool, take_long_if_special, NULL, in, sizeof *in, NULL, 0, COUNT, &options),
        0);
    do /* others may be held up longer */
        assert_int_equal(mproc_pool_slowest(pool, rank++, &item), 0);
    while (item.index != COUNT - 3);
    close_stage();
}

static int32_t add_context(const void *from, void *to, void *ctx)
{
    ((struct item *)to)->words[0] = ((const struct item *)from)->words[0] + *(const uint64_t *)ctx;
    return 0;
}

static void a_context_is_copied_once_for_all(void **state)
{
    uint64_t ctx[1000] = {7};
    mproc_map_options options = {.size = sizeof options, .ctx_size = sizeof ctx};

    (void)state;
    open_stage(0);
    assert_int_equal(
        mproc_pool_map(pool, add_context, ctx, in, sizeof *in, out, sizeof *out, COUNT, &options),
        0);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(out[i].words[0], i + 7);
    close_stage();
}

static void a_map_may_be_larger_than_the_arena(void **state)
{
    (void)state;
    open_stage((uint64_t)6 << 20); /* fewer sections than may be open */
    assert_int_equal(map(answer, COUNT, NULL), 0);
    assert_answered(0, COUNT);
    assert_int_equal(
        mproc_pool_map(pool, answer, NULL, in, COUNT * sizeof *in / 2, out, sizeof *out, 2, NULL),
        -ENOMEM); /* but not an item of it */
    assert_int_equal(atomic_load(&stage->begun), COUNT);
    close_stage();
}

static int32_t copy_number(const void *from, void *to, void *ctx)
{
    (void)ctx;
    *(uint64_t *)to = *(const uint64_t *)from;
    return 0;
}

/* How much of the pool's memory has pages. */
static uint64_t bytes_present(void)
{
    struct stat status;

    assert_int_equal(fstat(pool->region.memory.fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

static void memory_that_is_not_the_maps_own_gets_no_pages(void **state)
{
    enum { HOLE = 64 << 20, NUMBERS = 1 << 10 };
    mproc_pool_options options = {.size = sizeof options, .keep_bytes = 1};
    static uint64_t numbers[NUMBERS];
    void *hole, *results;
    uint64_t before;

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 2, &options), 0);
    assert_int_equal(mproc_pool_alloc(pool, HOLE, &hole), 0);
    assert_int_equal(mproc_pool_alloc(pool, sizeof numbers, &results), 0);
    assert_int_equal(mproc_pool_dealloc(pool, hole), 0);
    before = bytes_present();
    /* The inputs are copied to where the hole is, below the results. */
    assert_int_equal(mproc_pool_map(pool, copy_number, NULL, numbers, 8, results, 8, NUMBERS, NULL),
                     0);
    assert_true(bytes_present() < before + HOLE / 2);
    assert_int_equal(mproc_pool_dealloc(pool, results), 0);
    mproc_pool_destroy(pool);
}

/* After as much was allocated and given back. */
static uint64_t bytes_kept(uint64_t keep_bytes)
{
    enum { PIECES = 12, PIECE = 8 << 20 };
    mproc_pool_options options = {.size = sizeof options, .keep_bytes = keep_bytes};
    void *pieces[PIECES];
    uint64_t kept;

    assert_int_equal(mproc_pool_create(&pool, 1, &options), 0);
    for (int i = 0; i < PIECES; i++)
        assert_int_equal(mproc_pool_alloc(pool, PIECE, &pieces[i]), 0);
    if (mp_memory_discard(&pool->region.memory, pool->region.heap_offset, 4096)) {
        mproc_pool_destroy(pool);
        skip();
    }
    for (int i = 0; i < PIECES; i++)
        assert_int_equal(mproc_pool_dealloc(pool, pieces[i]), 0);
    kept = bytes_present();
    mproc_pool_destroy(pool);
    return kept >> 20;
}

static void free_memory_keeps_its_pages_as_far_as_was_asked(void **state)
{
    (void)state;
    assert_in_range(bytes_kept(0), 56, 72);
    assert_in_range(bytes_kept(1), 0, 8);
    assert_in_range(bytes_kept((uint64_t)20 << 20), 8, 28);
    assert_in_range(bytes_kept(UINT64_MAX), 95, 100);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int32_t fail_special(const void *from, void *to, void *ctx)
{
    uint64_t index = ((const struct item *)from)->words[0];

    if (is_special(index)) {
        /* Those before it are begun: else they would not be, now. */
        while (atomic_load(&stage->before) < index / SECTION * SECTION)
            poll(NULL, 0, 1);
        return mproc_fail(9, "special");
    }
    if (index < atomic_load(&stage->special) / SECTION * SECTION)
        atomic_fetch_add(&stage->before, 1);
    return answer(from, to, ctx);
}

static void a_failure_has_the_index_of_the_whole_map_and_ends_it(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .failure = &failure};

    (void)state;
    open_stage(0);
    atomic_store(&stage->special, 2 * SECTION + 5);
    assert_int_equal(map(fail_special, COUNT, &options), MPROC_ETASK);
    assert_int_equal(failure.index, 2 * SECTION + 5);
    assert_int_equal(failure.code, 9);
    assert_string_equal(failure.text, "special");
    assert_answered(0, 2 * SECTION);
    assert_int_equal(count_answered(), atomic_load(&stage->begun));
    assert_true(atomic_load(&stage->begun) < 8 * SECTION);
    close_stage();
}

/* The first item waits until the host has seen that the special one, of a later section, has failed. */
static int32_t fail_special_first(const void *from, void *to, void *ctx)
{
    uint64_t index = ((const struct item *)from)->words[0];
    char byte;

    if (is_special(index))
        return 9;
    if (index == 0 && read(gate[0], &byte, 1) != 1)
        return 7;
    return answer(from, to, ctx);
}

static bool a_failure_is_seen(void)
{
    bool seen = false;

    mp_pool_lock(pool);
    for (struct list *link = pool->open.next; link != &pool->open; link = link->next)
        seen |= LIST_ENTRY(link, struct job, in_open)->closing;
    mp_pool_unlock(pool);
    return seen;
}

static void *open_gate_when_it_is_seen(void *unused)
{
    while (!a_failure_is_seen())
        poll(NULL, 0, 1);
    return write(gate[1], "", 1) == 1 ? unused : NULL;
}

static void a_failure_ends_the_other_sections_before_they_are_gathered(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .failure = &failure};
    pthread_t watcher;
    void *opened;

    (void)state;
    open_stage(0);
    atomic_store(&stage->special, SECTION);
    assert_int_equal(pthread_create(&watcher, NULL, open_gate_when_it_is_seen, stage), 0);
    assert_int_equal(map(fail_special_first, COUNT, &options), MPROC_ETASK);
    assert_int_equal(pthread_join(watcher, &opened), 0);
    assert_non_null(opened);
    assert_int_equal(failure.index, SECTION);
    assert_int_equal(failure.code, 9);
    assert_true(atomic_load(&stage->begun) <= 4 * SECTION);
    assert_int_equal(map(answer, COUNT, NULL), 0); /* and the pool goes on */
    assert_answered(0, COUNT);
    close_stage();
}

/* How far it has come: see fail_beside_one_that_is_held(). */
enum { FAIL = 1, GO_ON, END };

static void until_flag(int32_t flag)
{
    while (atomic_load(&stage->flag) < flag)
        poll(NULL, 0, 1);
}

/* The first item fails when it is told to, beside one that keeps their section open; those of later
 * sections wait until that was seen. */
static int32_t fail_beside_one_that_is_held(const void *from, void *to, void *ctx)
{
    uint64_t index = ((const struct item *)from)->words[0];

    if (index < 2) {
        atomic_fetch_add(&stage->held, 1);
        until_flag(index == 0 ? FAIL : END);
        return index == 0 ? 9 : 0;
    }
    if (index < SECTION)
        return 0;
    answer(from, to, ctx);
    until_flag(GO_ON);
    return 0;
}

static bool host_waits(void)
{
    bool waits;

    mp_pool_lock(pool);
    waits = pool->sleeper != NULL;
    mp_pool_unlock(pool);
    return waits;
}

static bool a_section_is_closed(void)
{
    bool closed = false;

    mp_pool_lock(pool);
    for (struct list *link = pool->open.next; link != &pool->open; link = link->next)
        closed |= LIST_ENTRY(link, struct job, in_open)->closing;
    mp_pool_unlock(pool);
    return closed;
}

static int32_t do_nothing(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    return 0;
}

/* Direct it: when every worker is in an item, and the host looks out, one fails. */
static void *direct(void *arg)
{
    while (atomic_load(&stage->held) < 2 || atomic_load(&stage->begun) < WORKERS - 2 ||
           !host_waits())
        poll(NULL, 0, 1);
    atomic_store(&stage->flag, FAIL);
    while (!a_section_is_closed())
        poll(NULL, 0, 1);
    atomic_store(&stage->flag, GO_ON);
    /* Who takes this ticket has been through the sections, whose tickets are before it. */
    *(int *)arg = mproc_pool_call(pool, do_nothing, NULL, NULL, 0, NULL, 0, NULL, NULL);
    atomic_store(&stage->flag, END);
    return NULL;
}

static void a_failure_seen_by_who_looks_out_ends_the_other_sections_at_once(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .chunk_size = 1, .failure = &failure};
    pthread_t director;
    int called = 1;

    (void)state;
    open_stage(0);
    pool->patience.spin_us = 1000000; /* it does not sleep before that, */
    pool->cpus = WORKERS;             /* nor interrupts it to ask for more workers */
    assert_int_equal(pthread_create(&director, NULL, direct, &called), 0);
    assert_int_equal(map(fail_beside_one_that_is_held, COUNT, &options), MPROC_ETASK);
    assert_int_equal(pthread_join(director, NULL), 0);
    assert_int_equal(called, 0);
    assert_int_equal(failure.index, 0);
    assert_int_equal(failure.code, 9);
    /* One for each worker but who was held: none after the failure was seen. */
    assert_in_range(atomic_load(&stage->begun), WORKERS - 2, WORKERS - 1);
    close_stage();
}

static int32_t die_every_50(const void *from, void *to, void *ctx)
{
    if (((const struct item *)from)->words[0] % 50 == 49)
        raise(SIGKILL);
    return answer(from, to, ctx);
}

static void with_statuses_every_item_of_every_section_has_its_own(void **state)
{
    mproc_failure failure = {.size = sizeof failure};
    mproc_map_options options = {.size = sizeof options, .statuses = statuses, .failure = &failure};

    (void)state;
    open_stage(0);
    skip_with_threads();
    assert_int_equal(map(die_every_50, COUNT, &options), COUNT / 50);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(statuses[i], i % 50 == 49 ? MPROC_ECRASHED : 0);
    assert_int_equal(failure.index, 49);
    assert_int_equal(failure.signal, SIGKILL);
    assert_int_equal(atomic_load(&stage->begun), COUNT - COUNT / 50);
    close_stage();
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* The special item says that it runs, and goes on when it is told so. */
static int32_t wait_in_special(const void *from, void *to, void *ctx)
{
    if (is_special(((const struct item *)from)->words[0])) {
        atomic_store(&stage->flag, 1);
        while (atomic_load(&stage->flag) != 2)
            ;
    }
    return answer(from, to, ctx);
}

static void at_the_timeout_what_is_done_is_there_and_the_rest_is_cancelled(void **state)
{
    mproc_map_options options = {.size = sizeof options, .statuses = statuses, .timeout_ms = 300};

    (void)state;
    options.timeout_ms *= test_slowness();
    open_stage(0);
    skip_with_threads();
    atomic_store(&stage->special, 5 * SECTION);
    assert_int_equal(map(wait_in_special, COUNT, &options), -ETIMEDOUT);
    for (uint64_t i = 0; i < COUNT; i++)
        if (statuses[i] == 0)
            assert_answered(i, i + 1);
        else
            assert_int_equal(statuses[i], -ECANCELED);
    assert_int_equal(statuses[5 * SECTION], -ECANCELED);
    assert_int_equal(statuses[COUNT - 1], -ECANCELED);
    assert_true(atomic_load(&stage->begun) < 10 * SECTION);
    close_stage();
}

static int32_t wait_for_host(const void *from, void *to, void *ctx)
{
    until_flag(GO_ON);
    return answer(from, to, ctx);
}

/* Let the items go on, and keep the host until all that is open has ended and the time is over. */
static void come_back_late(const mproc_progress *progress, void *arg)
{
    const int64_t *timeout_ms = arg;

    if (progress->over)
        return;
    atomic_store(&stage->flag, GO_ON);
    mp_pool_lock(pool);
    while (!list_is_empty(&pool->open)) {
        mp_pool_unlock(pool);
        poll(NULL, 0, 1);
        mp_pool_lock(pool);
        mp_pool_look(pool, false);
    }
    mp_pool_unlock(pool);
    mp_poll(NULL, 0, mp_deadline(*timeout_ms)); /* more than what is left of it */
}

static void a_host_that_finds_each_section_ended_looks_at_the_time_all_the_same(void **state)
{
    mproc_map_options options = {.size = sizeof options,
                                 .timeout_ms = 500, /* it is told of the map after 100 */
                                 .statuses = statuses,
                                 .progress = come_back_late,
                                 .progress_arg = &options.timeout_ms};
    mproc_stats stats = {.size = sizeof stats};

    (void)state;
    options.timeout_ms *= test_slowness();
    open_stage(0);
    assert_int_equal(map(wait_for_host, COUNT, &options), -ETIMEDOUT);
    assert_int_equal(mproc_pool_stats(pool, &stats), 0);
    assert_int_equal(stats.bytes_in, 4 * SECTION * sizeof *in); /* what was open, and no more */
    assert_int_equal(atomic_load(&stage->begun), 4 * SECTION);
    assert_answered(0, 4 * SECTION);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(statuses[i], i < 4 * SECTION ? 0 : -ECANCELED);
    assert_int_equal(map(answer, COUNT, NULL), 0); /* and the pool goes on */
    close_stage();
}

struct intervention {
    int (*act)(mproc_pool *pool);
    int result;
};

/* Act while the special item runs. */
static void *intervene(void *arg)
{
    struct intervention *intervention = arg;

    while (atomic_load(&stage->flag) != 1)
        ;
    intervention->result = intervention->act(pool);
    atomic_store(&stage->flag, 2);
    return NULL;
}

static int map_with(int (*act)(mproc_pool *pool), int *result)
{
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    struct intervention intervention = {act, 1};
    pthread_t thread;
    int r;

    atomic_store(&stage->special, 3 * SECTION);
    assert_int_equal(pthread_create(&thread, NULL, intervene, &intervention), 0);
    r = map(wait_in_special, COUNT, &options);
    assert_int_equal(pthread_join(thread, NULL), 0);
    *result = intervention.result;
    return r;
}

static void a_pool_that_is_closed_meanwhile_finishes_the_map(void **state)
{
    int closed;

    (void)state;
    open_stage(0);
    assert_int_equal(map_with(mproc_pool_close, &closed), 0);
    assert_int_equal(closed, 0);
    assert_answered(0, COUNT);
    assert_int_equal(mproc_pool_join(pool, -1), 0); /* and the workers leave */
    assert_int_equal(map(answer, COUNT, NULL), MPROC_ECLOSED);
    close_stage();
}

static void a_pool_that_is_terminated_meanwhile_cancels_the_rest(void **state)
{
    int terminated;

    (void)state;
    open_stage(0);
    assert_int_equal(map_with(mproc_pool_terminate, &terminated), -ECANCELED);
    assert_int_equal(terminated, 0);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_true(statuses[i] == 0 || statuses[i] == -ECANCELED);
    assert_int_equal(statuses[COUNT - 1], -ECANCELED);
    close_stage();
}

static void a_pool_is_not_restarted_meanwhile(void **state)
{
    int restarted;

    (void)state;
    open_stage(0);
    assert_int_equal(map_with(mproc_pool_restart, &restarted), 0);
    assert_int_equal(restarted, -EBUSY);
    assert_answered(0, COUNT);
    assert_int_equal(mproc_pool_restart(pool), 0);
    close_stage();
}

/* How far a map and who asks for restarts meanwhile have come: stage->flag. */
enum { NOT_BEGUN, FIRST_BEGUN, ASKING, LAST_BEGUN, ASKED_ENOUGH };

/* The first item says that the map is under way and the last that it will end, and both wait until
 * that is heard. */
static int32_t wait_in_first_and_last(const void *from, void *to, void *ctx)
{
    uint64_t index = ((const struct item *)from)->words[0];

    if (index == 0) {
        atomic_store(&stage->flag, FIRST_BEGUN);
        while (atomic_load(&stage->flag) == FIRST_BEGUN)
            poll(NULL, 0, 1);
    }
    if (index == COUNT - 1) {
        atomic_store(&stage->flag, LAST_BEGUN);
        while (atomic_load(&stage->flag) != ASKED_ENOUGH)
            poll(NULL, 0, 1);
    }
    return answer(from, to, ctx);
}

/* From the first item to the last: before and after that a restart may be had.  How many were not
 * refused. */
static void *ask_for_restarts(void *arg)
{
    int *granted = arg;
    int32_t heard = FIRST_BEGUN;

    while (atomic_load(&stage->flag) == NOT_BEGUN)
        poll(NULL, 0, 1);
    atomic_compare_exchange_strong(&stage->flag, &heard, ASKING);
    do
        *granted += mproc_pool_restart(pool) != -EBUSY;
    while (atomic_load(&stage->flag) == ASKING);
    atomic_store(&stage->flag, ASKED_ENOUGH);
    return NULL;
}

/* Nor may who asks keep it from its next section, not even for the moment in which he is refused. */
static void a_map_goes_on_however_often_a_restart_is_refused(void **state)
{
    (void)state;
    open_stage(0);
    for (uint64_t rounds = test_count(3, 300); rounds > 0; rounds--) {
        pthread_t thread;
        int granted = 0, r;

        memset(out, 0, COUNT * sizeof *out);
        atomic_store(&stage->flag, NOT_BEGUN);
        assert_int_equal(pthread_create(&thread, NULL, ask_for_restarts, &granted), 0);
        r = map(wait_in_first_and_last, COUNT, NULL);
        if (r) /* there may have been no last item */
            atomic_store(&stage->flag, LAST_BEGUN);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(r, 0);
        assert_int_equal(granted, 0);
        assert_answered(0, COUNT);
    }
    close_stage();
}

static int kill_supervisor(mproc_pool *victim)
{
    return kill(victim->generation.supervisor, SIGKILL);
}

static void a_pool_that_breaks_meanwhile_says_so_of_each_item_that_is_left(void **state)
{
    int killed;

    (void)state;
    open_stage(0);
    skip_with_threads();
    assert_int_equal(map_with(kill_supervisor, &killed), MPROC_EBROKEN);
    assert_int_equal(killed, 0);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_true(statuses[i] == 0 || statuses[i] == MPROC_EBROKEN);
    assert_int_equal(statuses[COUNT - 1], MPROC_EBROKEN);
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(map(answer, COUNT, NULL), 0);
    assert_answered(0, COUNT);
    close_stage();
}

static const struct CMUnitTest tests[] = {
    TEST(results_are_in_order_across_sections),
    TEST(a_chunk_is_never_cut_by_a_section),
    TEST(an_index_is_that_of_the_whole_map),
    TEST(results_may_be_larger_than_the_inputs_whose_place_they_take),
    TEST(a_slow_item_has_the_index_of_the_whole_map),
    TEST(a_context_is_copied_once_for_all),
    TEST(a_map_may_be_larger_than_the_arena),
    TEST(memory_that_is_not_the_maps_own_gets_no_pages),
    TEST(free_memory_keeps_its_pages_as_far_as_was_asked),
    TEST(a_failure_has_the_index_of_the_whole_map_and_ends_it),
    TEST(a_failure_ends_the_other_sections_before_they_are_gathered),
    TEST(a_failure_seen_by_who_looks_out_ends_the_other_sections_at_once),
    TEST(with_statuses_every_item_of_every_section_has_its_own),
    TEST(at_the_timeout_what_is_done_is_there_and_the_rest_is_cancelled),
    TEST(a_host_that_finds_each_section_ended_looks_at_the_time_all_the_same),
    TEST(a_pool_that_is_closed_meanwhile_finishes_the_map),
    TEST(a_pool_that_is_terminated_meanwhile_cancels_the_rest),
    TEST(a_pool_is_not_restarted_meanwhile),
    TEST(a_map_goes_on_however_often_a_restart_is_refused),
    TEST(a_pool_that_breaks_meanwhile_says_so_of_each_item_that_is_left),
};

int main(void)
{
    return TEST_MAIN(tests);
}
