/* SPDX-License-Identifier: MIT */
/*
 * The public calls of pools and futures in any order and with any arguments that memory can stand
 * behind: bad ones, sizes that overflow, machines without memory.  The workers are honest, but a
 * task may fail, crash or never end.
 */
#include "world.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "pool/worker.h"

enum { POOLS = 2, FUTURES = 6, BLOCKS = 4, WORKERS_MAX = 3, BUFFER = 1 << 17, MOST_ITEMS = 5000 };

static mproc_pool *pools[POOLS];
static mproc_future *futures[FUTURES];
static struct piece {
    mproc_pool *pool;
    void *memory;
} blocks[BLOCKS];
static char in_buffer[BUFFER], out_buffer[BUFFER];
static int32_t statuses[MOST_ITEMS];
static unsigned items_run;

/* ---- the workers ----------------------------------------------------------------------------- */

static jmp_buf end_of_task;
enum { CRASHED = 1, HANGS, ASLEEP };
static bool hangs[CREWS][WORKERS_MAX];

/* How a task ends: the fuzzer's choice, and a crash for those of a job without end. */
static int32_t fate(void)
{
    uint8_t choice = take_byte();

    if (choice == 255 || items_run++ > MOST_ITEMS)
        longjmp(end_of_task, CRASHED);
    if (choice == 254)
        longjmp(end_of_task, HANGS);
    return choice > 240 ? mproc_fail(choice, "failed") : 0;
}

static int32_t item(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    (void)ctx;
    return fate();
}

static int32_t batch(const void *in, void *out, size_t count, void *ctx)
{
    (void)count;
    return item(in, out, ctx);
}

static int32_t task(mproc_task *self, void *ctx)
{
    size_t length = take_byte();
    void *out = mproc_task_output(self, length);

    (void)ctx;
    if (out)
        memset(out, 1, length);
    return fate();
}

static void no_outcome(void *arg)
{
    (void)arg;
}

/* What the supervisor does for a worker that is gone.  Was it stopped, or does it hang on? */
static bool mend(const struct crew *crew, unsigned number, bool only_stopping)
{
    const struct region *region = crew->region;
    uint64_t ticket = atomic_load(&mp_region_worker(region, number)->ticket);
    const struct job_shm *job = mp_region_job(region, mp_job_slot((uint32_t)ticket));
    uint64_t chunks = 0;
    chunk_word *words = mp_region_words(region, job, &chunks);

    for (uint64_t i = 0; words && i < chunks; i++) {
        struct chunk_view view = mp_word_view(atomic_load(&words[i]));

        if (view.worker != number || (only_stopping && view.state != CHUNK_STOPPING))
            continue;
        if (mp_word_bury(&words[i], number, atomic_load(&job->retries), false, no_outcome, NULL) !=
            CHUNK_NONE) {
            atomic_fetch_add(&mp_region_pool(region)->deaths, 1);
            crew_rings(crew);
            return true;
        }
    }
    return false;
}

/* Volatile: it is looked at again after a task has ended by a longjmp. */
static void run_worker(struct crew *crew, volatile unsigned number)
{
    bool *hanging = &hangs[crew - crews][number];
    struct worker worker = {.region = crew->region,
                            .number = number,
                            .wake = crew->generation->fds[WAKE_READ],
                            .bell = crew->bell,
                            .loop = crew->generation->fds[LOOP_WRITE],
                            .items_left = crew->options->tasks_per_worker,
                            .patience = {.spin_us = crew->options->spin_us}};

    if (*hanging && !mend(crew, number, true))
        return;
    *hanging = false;
    switch (setjmp(end_of_task)) {
    case 0:
        mp_worker_run(&worker);
        break;
    case CRASHED:
        mend(crew, number, false);
        break;
    case ASLEEP:
        break;
    default:
        hangs[crew - crews][number] = true;
    }
}

static void sleep_on(void)
{
    longjmp(end_of_task, ASLEEP);
}

static void work(void)
{
    for (int i = 0; i < CREWS; i++) {
        struct crew *crew = &crews[i];

        if (!crew->generation || crew->bell < 0)
            continue;
        for (unsigned w = 0; w < crew->region->workers; w++)
            run_worker(crew, w);
        if (crew->generation->shut || crew->generation->fds[CONTROL_WRITE] < 0)
            crew_dies(crew);
        for (unsigned w = 0; w < WORKERS_MAX && crew->bell < 0; w++)
            hangs[i][w] = false;
    }
}

/* ---- arguments ------------------------------------------------------------------------------- */

static mproc_pool *a_pool(void)
{
    return take_byte() == 255 ? NULL : pools[take_byte() % POOLS];
}

static mproc_future **a_future(void)
{
    return &futures[take_byte() % FUTURES];
}

static int64_t a_timeout(void)
{
    uint8_t choice = take_byte();

    return choice < 200 ? choice - 1 : (int64_t)take_number();
}

static size_t a_size(void)
{
    return take_byte() < 200 ? take_byte() : (size_t)take_number();
}

/* The size that a struct of options says it has; one that ends within a pointer there never was. */
static size_t a_struct_size(size_t size)
{
    return take_byte() < 250 ? size : take_byte() % (size + 64) / sizeof(void *) * sizeof(void *);
}

/* Memory that holds BUFFER bytes, or that the pool gave: there the library knows how much it is. */
static void *some_memory(char *buffer, const mproc_pool *pool)
{
    uint8_t choice = take_byte();

    if (choice > 250)
        return NULL;
    return choice > 200 && pool && blocks[choice % BLOCKS].pool == pool
               ? blocks[choice % BLOCKS].memory
               : buffer;
}

static union {
    mproc_map_options map;
    mproc_submit_options submit;
    mproc_pool_options pool;
    char room[512];
} options;
static mproc_failure failure;

static const mproc_map_options *map_options(size_t count)
{
    memset(&options, 0, sizeof options);
    options.map = (mproc_map_options){.size = a_struct_size(sizeof options.map),
                                      .chunk_size = a_size(),
                                      .ctx_size = take_byte() < 200 ? 0 : take_byte(),
                                      .timeout_ms = a_timeout(),
                                      .time_limit_ms = a_timeout(),
                                      .retries = take_byte() < 200 ? 0 : (int32_t)take_number(),
                                      .output_max = a_size()};
    if (take_byte() % 2 && count <= MOST_ITEMS)
        options.map.statuses = statuses;
    if (take_byte() % 2)
        options.map.failure = &failure;
    failure =
        (mproc_failure){.size = take_byte() < 250 ? sizeof failure : take_byte() % sizeof failure};
    return take_byte() % 4 ? &options.map : NULL;
}

static const mproc_submit_options *submit_options(void)
{
    memset(&options, 0, sizeof options);
    options.submit = (mproc_submit_options){.size = a_struct_size(sizeof options.submit),
                                            .ctx_size = take_byte() < 200 ? 0 : take_byte(),
                                            .output_max = a_size(),
                                            .time_limit_ms = a_timeout(),
                                            .retries = take_byte() % 4,
                                            .reserved = take_byte() == 255};
    return take_byte() % 4 ? &options.submit : NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void call_map(void)
{
    uint8_t kind = take_byte();
    size_t in_size = a_size(), out_size = a_size(), count = a_size();
    mproc_pool *pool = kind == 255 ? NULL : a_pool();
    void *ctx = some_memory(in_buffer, NULL), *in = some_memory(in_buffer, pool);
    void *out = some_memory(out_buffer, pool);
    const mproc_map_options *o = map_options(count);

    if (kind == 255 && (count > BUFFER || in_size > BUFFER || count * in_size <= BUFFER))
        mproc_map(take_byte() ? item : NULL, ctx, in, in_size, out, out_size, count,
                  (int32_t)take_byte() - 1, o);
    else if (kind % 2)
        mproc_pool_map(pool, kind < 250 ? item : NULL, ctx, in, in_size, out, out_size, count, o);
    else
        mproc_pool_map_batch(pool, kind < 250 ? batch : NULL, ctx, in, in_size, out, out_size,
                             count, o);
}

static void call_map_bytes(void)
{
    struct iovec inputs[40];
    size_t count = take_byte() % 41;
    mproc_results *results = NULL;
    mproc_pool *pool = a_pool();
    void *ctx = some_memory(in_buffer, NULL);
    const mproc_map_options *o;
    const void *data;
    size_t length;

    for (size_t i = 0; i < count; i++)
        inputs[i] = (struct iovec){take_byte() == 255 ? NULL : in_buffer, take_byte()};
    o = map_options(count);
    mproc_pool_map_bytes(pool, take_byte() < 250 ? task : NULL, ctx,
                         take_byte() < 250 ? inputs : NULL, count,
                         take_byte() < 250 ? &results : NULL, o);
    for (size_t i = 0; i <= mproc_results_count(results); i++)
        if (mproc_results_get(results, i, &data, &length) == 0)
            memcpy(out_buffer, data, length);
    mproc_results_free(results);
}

static void call_submit(void)
{
    mproc_future **future = a_future();
    mproc_pool *pool = a_pool();
    void *in = some_memory(in_buffer, pool), *ctx = some_memory(in_buffer, NULL);
    size_t in_size = a_size(), length;
    const mproc_submit_options *o = submit_options();

    if (take_byte() % 4 == 0) {
        mproc_pool_call(pool, task, ctx, in, in_size, some_memory(out_buffer, NULL), take_byte(),
                        &length, o);
        return;
    }
    mproc_future_free(*future);
    *future = NULL;
    mproc_pool_submit(pool, take_byte() < 250 ? future : NULL, take_byte() < 250 ? task : NULL, ctx,
                      in, in_size, o);
}

static void call_future(void)
{
    mproc_future **future = a_future();
    mproc_failure told = {.size = a_struct_size(sizeof told)};
    size_t count = take_byte() < 250 ? FUTURES : (size_t)INT32_MAX + take_byte();
    mproc_future *const *several = count == FUTURES ? futures : NULL;
    const void *data;
    size_t length;

    if (told.size > sizeof told)
        told.size = 0;
    switch (take_byte() % 8) {
    case 0:
        mproc_future_wait(*future, a_timeout());
        break;
    case 1:
        mproc_future_wait_any(several, count, a_timeout());
        break;
    case 2:
        mproc_future_wait_all(several, count, a_timeout());
        break;
    case 3:
        mproc_future_cancel(*future);
        break;
    case 4:
        mproc_future_failure(*future, take_byte() == 255 ? NULL : &told);
        break;
    case 5:
        if (mproc_future_result(*future, &data, &length) == 0)
            memcpy(out_buffer, data, length < BUFFER ? length : BUFFER);
        break;
    default:
        mproc_future_free(*future);
        *future = NULL;
    }
}

static void call_memory(void)
{
    struct piece *block = &blocks[take_byte() % BLOCKS];
    mproc_pool *pool = a_pool();

    if (!block->memory) {
        if (mproc_pool_alloc(pool, a_size(), take_byte() == 255 ? NULL : &block->memory) == 0)
            block->pool = pool;
    } else if (mproc_pool_dealloc(pool, (char *)block->memory + (take_byte() == 255)) == 0) {
        must(pool == block->pool);
        *block = (struct piece){0};
    }
}

static void drop_pool(mproc_pool **pool)
{
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].pool == *pool)
            blocks[i] = (struct piece){0};
    mproc_pool_destroy(*pool);
    *pool = NULL;
}

static void call_pool(void)
{
    mproc_pool **place = &pools[take_byte() % POOLS];

    switch (take_byte() % 8) {
    case 0:
        mproc_pool_close(*place);
        break;
    case 1:
        mproc_pool_terminate(*place);
        break;
    case 2:
        mproc_pool_join(*place, a_timeout());
        break;
    case 3:
        mproc_pool_restart(*place);
        break;
    case 4:
        must(mproc_strerror((int)take_number()) != NULL);
        break;
    case 5:
        drop_pool(place);
        break;
    default:
        if (*place)
            return;
        memset(&options, 0, sizeof options);
        options.pool =
            (mproc_pool_options){.size = a_struct_size(sizeof options.pool),
                                 .arena_size = take_byte() < 250 ? 65536 : take_number(),
                                 .time_limit_ms = take_byte() < 250 ? 0 : a_timeout(),
                                 .retries = take_byte() % 3,
                                 .tasks_per_worker = take_byte() % 4,
                                 .spin_us = take_byte() < 250 ? 0 : (int32_t)take_number()};
        mproc_pool_create(take_byte() < 250 ? place : NULL,
                          take_byte() < 250 ? 1 + take_byte() % WORKERS_MAX : -1, &options.pool);
    }
}

static void call_something(void)
{
    switch (take_byte() % 8) {
    case 0:
        call_map();
        break;
    case 1:
        call_map_bytes();
        break;
    case 2:
    case 3:
        call_submit();
        break;
    case 4:
    case 5:
        call_future();
        break;
    case 6:
        call_memory();
        break;
    default:
        if (take_byte() == 255)
            commits_left = take_byte();
        call_pool();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mproc_pool_options small = {.size = sizeof small, .arena_size = 65536};

    world_begin(data, size, work);
    worker_sleeps = sleep_on;
    memset(hangs, 0, sizeof hangs);
    items_run = 0;
    must(mproc_pool_create(&pools[0], 2, &small) == 0);
    while (!input_is_over())
        call_something();
    for (int i = 0; i < POOLS; i++)
        drop_pool(&pools[i]);
    for (int i = 0; i < FUTURES; i++) {
        must(!futures[i] || mproc_future_is_done(futures[i]) == 1);
        mproc_future_free(futures[i]);
        futures[i] = NULL;
    }
    return 0;
}
