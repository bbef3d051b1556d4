/* SPDX-License-Identifier: MIT */
/*
 * Sizes at the edges: none, one byte, about a page, about what a pipe holds, about what 31 and 32
 * bits hold.  Whatever goes in and comes out, and by whichever call, each byte is the right one; and
 * what cannot be is refused before anything is read or begun.
 *
 * The sizes beyond some MiB are for the long form, where the machine has the memory.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum { ITEMS = 3, COPIES = 5 }; /* in memory of one big size, at most */

/* ---- bytes whose place is known -------------------------------------------------------------- */

static uint64_t word_at(size_t place, uint64_t salt)
{
    return (place + salt) * 0x9e3779b97f4a7c15U;
}

static void fill(void *bytes, size_t size, uint64_t salt)
{
    const size_t whole = size / sizeof(uint64_t) * sizeof(uint64_t);
    const uint64_t last = word_at(whole, salt);
    char *to = bytes;

    for (size_t i = 0; i < whole; i += sizeof(uint64_t)) {
        uint64_t word = word_at(i, salt);

        memcpy(to + i, &word, sizeof word);
    }
    if (size > whole)
        memcpy(to + whole, &last, size - whole);
}

static bool is_filled(const void *bytes, size_t size, uint64_t salt)
{
    const size_t whole = size / sizeof(uint64_t) * sizeof(uint64_t);
    const uint64_t last = word_at(whole, salt);
    const char *from = bytes;

    for (size_t i = 0; i < whole; i += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, from + i, sizeof word);
        if (word != word_at(i, salt))
            return false;
    }
    return size == whole || memcmp(from + whole, &last, size - whole) == 0;
}

enum { IN = 1, OUT = 2, CONTEXT = 3 }; /* salts */

/* Plain memory, of which only what is touched is taken. */
static char *take_memory(size_t size, int protection)
{
    char *memory =
        mmap(NULL, size ? size : 1, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_true(memory != MAP_FAILED);
    return memory;
}

static void give_memory(char *memory, size_t size)
{
    munmap(memory, size ? size : 1);
}

/* ---- the sizes ------------------------------------------------------------------------------- */

static size_t pipe_capacity(void)
{
    long capacity = 65536;
#ifdef F_GETPIPE_SZ
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    capacity = fcntl(ends[0], F_GETPIPE_SZ);
    close(ends[0]);
    close(ends[1]);
#endif
    return (size_t)capacity;
}

static bool is_long(void)
{
    const char *text = getenv("MPROC_TEST_LONG");

    return text && atoi(text) != 0;
}

static bool is_room_for(uint64_t size)
{
#ifdef _SC_AVPHYS_PAGES
    return size < SIZE_MAX / 8 && is_long() &&
           size * COPIES < (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
#else
    (void)size;
    return false;
#endif
}

static const uint64_t big[] = {((uint64_t)1 << 31) - 1, ((uint64_t)1 << 31) + 1,
                               ((uint64_t)1 << 32) + 1};

enum { BIG = sizeof big / sizeof big[0] };

/* Has `check` check every size, on one pool. */
static void at_every_size(void (*check)(mproc_pool *pool, size_t size, size_t items))
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), capacity = pipe_capacity();
    const size_t sizes[] = {
        0,       1,   page - 1, page,       page + 1, capacity - 1, capacity, capacity + 1,
        MIB - 1, MIB, MIB + 1,  5 * MIB + 3};
    mproc_pool *pool;

    assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check(pool, sizes[i], ITEMS);
    for (size_t i = 0; i < BIG; i++) {
        if (!is_room_for(big[i]))
            continue;
        print_message("%llu bytes\n", (unsigned long long)big[i]);
        check(pool, (size_t)big[i], 1);
    }
    mproc_pool_destroy(pool);
}

/* ---- what is moved --------------------------------------------------------------------------- */

/* The output is as long as the input. */
static int32_t answer_task(mproc_task *task, void *ctx)
{
    size_t size;
    const void *in = mproc_task_input(task, &size);
    void *out = mproc_task_output(task, size);

    (void)ctx;
    if (!out || !is_filled(in, size, IN))
        return 1;
    fill(out, size, OUT);
    return 0;
}

static int32_t answer_item(const void *in, void *out, void *ctx)
{
    size_t size = *(const size_t *)ctx;

    if (!is_filled(in, size, IN))
        return 1;
    if (size)
        fill(out, size, OUT);
    return 0;
}

static int32_t answer_items(const void *in, void *out, size_t count, void *ctx)
{
    size_t size = *(const size_t *)ctx;

    for (size_t i = 0; i < count; i++)
        if (answer_item((const char *)in + i * size, (char *)out + i * size, ctx))
            return 1;
    return 0;
}

static void check_task(mproc_pool *pool, size_t size, size_t items)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = size ? size : 1};
    char *in = take_memory(size, PROT_READ | PROT_WRITE);
    mproc_future *future;
    const void *out;
    size_t length;

    (void)items;
    fill(in, size, IN);
    assert_int_equal(mproc_pool_submit(pool, &future, answer_task, NULL, in, size, &options), 0);
    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, &out, &length), 0);
    assert_int_equal(length, size);
    assert_true(is_filled(out, size, OUT));
    mproc_future_free(future);
    give_memory(in, size);
}

static void check_map(mproc_pool *pool, size_t size, size_t items)
{
    mproc_map_options options = {.size = sizeof options, .ctx_size = sizeof size};
    char *memory = take_memory(size * items, PROT_READ | PROT_WRITE);

    for (int call = 0; call < 3; call++) {
        int r;

        for (size_t i = 0; i < items; i++)
            fill(memory + i * size, size, IN);
        if (call == 0)
            r = mproc_pool_map(pool, answer_item, &size, memory, size, memory, size, items,
                               &options);
        else if (call == 1)
            r = mproc_pool_map_batch(pool, answer_items, &size, memory, size, memory, size, items,
                                     &options);
        else
            r = mproc_map(answer_item, &size, memory, size, memory, size, items, 2, &options);
        assert_int_equal(r, 0);
        for (size_t i = 0; i < items; i++)
            assert_true(is_filled(memory + i * size, size, OUT));
    }
    give_memory(memory, size * items);
}

static void check_map_bytes(mproc_pool *pool, size_t size, size_t items)
{
    mproc_map_options options = {.size = sizeof options, .output_max = size ? size : 1};
    char *in = take_memory(size, PROT_READ | PROT_WRITE);
    struct iovec inputs[ITEMS];
    mproc_results *results;

    fill(in, size, IN);
    for (size_t i = 0; i < items; i++)
        inputs[i] = (struct iovec){in, size};
    assert_int_equal(
        mproc_pool_map_bytes(pool, answer_task, NULL, inputs, items, &results, &options), 0);
    for (size_t i = 0; i < items; i++) {
        const void *out;
        size_t length;

        assert_int_equal(mproc_results_get(results, i, &out, &length), 0);
        assert_int_equal(length, size);
        assert_true(is_filled(out, size, OUT));
    }
    mproc_results_free(results);
    give_memory(in, size);
}

static int32_t look_at_context(mproc_task *task, void *ctx)
{
    return is_filled(ctx, *(const size_t *)mproc_task_input(task, NULL), CONTEXT) ? 0 : 1;
}

static void check_context(mproc_pool *pool, size_t size, size_t items)
{
    mproc_submit_options options = {.size = sizeof options, .ctx_size = size};
    char *context = take_memory(size, PROT_READ | PROT_WRITE);

    (void)items;
    fill(context, size, CONTEXT);
    assert_int_equal(mproc_pool_call(pool, look_at_context, context, &size, sizeof size, NULL, 0,
                                     NULL, &options),
                     0);
    give_memory(context, size);
}

/* In place: the items are where they were, and nothing is copied. */
static void check_shared_memory(mproc_pool *pool, size_t size, size_t items)
{
    mproc_map_options options = {.size = sizeof options, .ctx_size = sizeof size};
    void *memory = NULL;

    if (size == 0) {
        assert_int_equal(mproc_pool_alloc(pool, 0, &memory), -EINVAL);
        return;
    }
    assert_int_equal(mproc_pool_alloc(pool, size * items, &memory), 0);
    for (size_t i = 0; i < items; i++)
        fill((char *)memory + i * size, size, IN);
    assert_int_equal(
        mproc_pool_map(pool, answer_item, &size, memory, size, memory, size, items, &options), 0);
    for (size_t i = 0; i < items; i++)
        assert_true(is_filled((char *)memory + i * size, size, OUT));
    assert_int_equal(mproc_pool_dealloc(pool, memory), 0);
}

static void tasks_have_inputs_and_outputs_of_any_size(void **state)
{
    (void)state;
    at_every_size(check_task);
}

static void items_and_results_have_any_size(void **state)
{
    (void)state;
    at_every_size(check_map);
}

static void inputs_and_outputs_of_map_bytes_have_any_size(void **state)
{
    (void)state;
    at_every_size(check_map_bytes);
}

static void contexts_have_any_size(void **state)
{
    (void)state;
    at_every_size(check_context);
}

static void memory_of_the_pool_has_any_size(void **state)
{
    (void)state;
    at_every_size(check_shared_memory);
}

/* ---- what does not fit ----------------------------------------------------------------------- */

/* Asks for an output of each length given; the value is how many were refused. */
static int32_t ask_for_outputs(mproc_task *task, void *ctx)
{
    size_t length;
    const size_t *lengths = mproc_task_input(task, &length);
    int32_t refused = 0;

    (void)ctx;
    for (size_t i = 0; i < length / sizeof *lengths; i++)
        refused += mproc_task_output(task, lengths[i]) == NULL;
    return refused;
}

static void an_output_is_as_long_as_its_option_allows_and_no_longer(void **state)
{
    static const size_t limits[] = {0, 1, 4095, 4096, 65537, MIB, MIB + 1, SIZE_MAX / 64};
    mproc_pool *pool;

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 1, NULL), 0);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        mproc_submit_options options = {.size = sizeof options, .output_max = limits[i]};
        size_t limit = limits[i] ? limits[i] : MIB;
        const size_t lengths[] = {limit + 1, SIZE_MAX, limit - 1, limit, 0};
        mproc_failure failure = {.size = sizeof failure};
        mproc_future *future;
        int r = mproc_pool_submit(pool, &future, ask_for_outputs, NULL, lengths, sizeof lengths,
                                  &options);

        if (limit == SIZE_MAX / 64) {
            assert_int_equal(r, -ENOMEM);
            continue;
        }
        assert_int_equal(r, 0);
        assert_int_equal(mproc_future_wait(future, -1), 0);
        assert_int_equal(mproc_future_failure(future, &failure), 0);
        assert_int_equal(failure.error, MPROC_ETASK);
        assert_int_equal(failure.code, 2);
        mproc_future_free(future);
    }
    mproc_pool_destroy(pool);
}

static void a_buffer_too_small_for_an_output_gets_what_fits(void **state)
{
    enum { SIZE = 65537 };
    static char in[SIZE], out[SIZE];
    mproc_pool *pool;

    (void)state;
    fill(in, SIZE, IN);
    assert_int_equal(mproc_pool_create(&pool, 1, NULL), 0);
    for (size_t room = SIZE - 1; room < SIZE; room -= room ? SIZE / 4 : 1) {
        size_t length = 0;

        memset(out, 0, SIZE);
        assert_int_equal(
            mproc_pool_call(pool, answer_task, NULL, in, SIZE, out, room, &length, NULL),
            -EMSGSIZE);
        assert_int_equal(length, SIZE);
        assert_true(is_filled(out, room, OUT));
        assert_int_equal(out[room], 0);
    }
    mproc_pool_destroy(pool);
}

/* Every way to hand over `size` bytes that cannot be read: each is refused, with the same error. */
static void assert_refused(mproc_pool *pool, char *memory, size_t size, int error)
{
    mproc_submit_options context = {.size = sizeof context, .ctx_size = size};
    mproc_submit_options output = {.size = sizeof output, .output_max = size};
    mproc_map_options map_context = {.size = sizeof map_context, .ctx_size = size};
    struct iovec input = {memory, size};
    mproc_future *future = NULL;
    mproc_results *results = NULL;
    void *shared = NULL;
    const int answers[] = {
        mproc_pool_submit(pool, &future, answer_task, NULL, memory, size, NULL),
        mproc_pool_submit(pool, &future, answer_task, memory, NULL, 0, &context),
        mproc_pool_submit(pool, &future, answer_task, NULL, NULL, 0, &output),
        mproc_pool_call(pool, answer_task, NULL, memory, size, memory, size, NULL, NULL),
        mproc_pool_map(pool, answer_item, NULL, memory, size, NULL, 0, 1, NULL),
        mproc_pool_map(pool, answer_item, NULL, NULL, 0, memory, size, 1, NULL),
        mproc_pool_map(pool, answer_item, memory, NULL, 0, NULL, 0, 1, &map_context),
        mproc_pool_map(pool, answer_item, NULL, memory, 1, NULL, 0, size, NULL),
        mproc_pool_map_batch(pool, answer_items, NULL, memory, 1, NULL, 0, size, NULL),
        mproc_pool_map_bytes(pool, answer_task, NULL, &input, 1, &results, NULL),
    };

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (answers[i] != error)
            fail_msg("%zu bytes, call %zu: %d", size, i, answers[i]);
    assert_int_equal(mproc_pool_alloc(pool, size, &shared), -ENOMEM);
    assert_true(!future && !results && !shared);
}

static void more_than_the_arena_holds_is_refused_unread(void **state)
{
    const size_t largest = sizeof(void *) > 4 ? (size_t)big[BIG - 1] : 64 * MIB;
    mproc_pool_options options = {.size = sizeof options, .arena_size = MIB};
    char *memory = take_memory(largest, PROT_NONE); /* to touch it is to die */
    mproc_pool *pool;

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 2, &options), 0);
    for (size_t i = 0; i < BIG; i++)
        if (big[i] <= largest)
            assert_refused(pool, memory, (size_t)big[i], -ENOMEM);
    assert_refused(pool, memory, MIB + 1, -ENOMEM);
    check_map_bytes(pool, 100000, 1); /* and nothing of the arena was lost */
    check_shared_memory(pool, MIB - 4096, 1);
    mproc_pool_destroy(pool);
    give_memory(memory, largest);
}

/* What count and size multiply to, and what the parts of a call add up to. */
static void what_overflows_is_refused(void **state)
{
    const size_t half = SIZE_MAX / 2 + 1;
    mproc_pool *pool;
    mproc_map_options context = {.size = sizeof context, .ctx_size = half};
    mproc_submit_options output = {.size = sizeof output, .output_max = half};
    struct iovec input = {NULL, 0};
    mproc_future *future = NULL;
    mproc_results *results = NULL;
    char *memory = take_memory(64, PROT_NONE);

    (void)state;
    assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
    for (size_t count = 2; count; count *= 2) { /* each product is 2 to the power of 64, or 32 */
        size_t size = SIZE_MAX / count + 1;
        const int answers[] = {
            mproc_pool_map(pool, answer_item, NULL, memory, size, NULL, 0, count, NULL),
            mproc_pool_map(pool, answer_item, NULL, NULL, 0, memory, size, count, NULL),
            mproc_pool_map_batch(pool, answer_items, NULL, memory, size, memory, size, count, NULL),
            mproc_map(answer_item, NULL, NULL, 0, memory, size, count, 1, NULL),
        };

        for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
            assert_int_equal(answers[i], -EOVERFLOW);
    }
    assert_int_equal(mproc_pool_map(pool, answer_item, memory, NULL, 0, memory, half, 1, &context),
                     -ENOMEM);
    assert_int_equal(mproc_pool_submit(pool, &future, answer_task, NULL, NULL, 0, &output),
                     -ENOMEM);
    for (size_t size = SIZE_MAX; size > SIZE_MAX - 64; size--) {
        output.output_max = size;
        assert_int_equal(mproc_pool_submit(pool, &future, answer_task, NULL, NULL, 0, &output),
                         -EOVERFLOW);
    }
    assert_int_equal(mproc_pool_map_bytes(pool, answer_task, NULL, &input,
                                          SIZE_MAX / sizeof input + 1, &results, NULL),
                     -EOVERFLOW);
    assert_true(!future && !results);
    check_map(pool, 4097, ITEMS);
    mproc_pool_destroy(pool);
    give_memory(memory, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tasks_have_inputs_and_outputs_of_any_size),
        TEST(items_and_results_have_any_size),
        TEST(inputs_and_outputs_of_map_bytes_have_any_size),
        TEST(contexts_have_any_size),
        TEST(memory_of_the_pool_has_any_size),
        TEST(an_output_is_as_long_as_its_option_allows_and_no_longer),
        TEST(a_buffer_too_small_for_an_output_gets_what_fits),
        TEST(more_than_the_arena_holds_is_refused_unread),
        TEST(what_overflows_is_refused),
    };

    return TEST_MAIN(tests);
}
