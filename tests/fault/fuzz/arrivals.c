/* SPDX-License-Identifier: MIT */
/*
 * What arrives from workers: the host maps, submits, waits and cancels, and whenever it would sleep
 * the fuzzer writes into the shared memory: chunk words, outcomes, ready bits, counts, plausible or
 * not, or any bytes anywhere; the queue of tickets; rings, swallows tickets, dies.  The host must touch nothing that is
 * not its own, hand out nothing that it should have checked, and come to an end.
 */
#include "world.h"

#include <mproc/mproc.h>

#include <stdlib.h>
#include <string.h>

enum { WORKERS = 2, FUTURES = 8, OUTPUT_MAX = 300, ITEMS_MAX = 40 };

static mproc_pool *pool;
static mproc_future *futures[FUTURES];

/* ---- the workers ----------------------------------------------------------------------------- */

static struct job *some_job(void)
{
    uint32_t first = take_byte();

    for (uint32_t i = 0; i < pool->slots_used; i++)
        if (pool->slots[(first + i) % pool->slots_used].job)
            return pool->slots[(first + i) % pool->slots_used].job;
    return NULL;
}

static void set_word(const struct job *job, uint64_t chunk, unsigned worker, unsigned state)
{
    uint64_t word = (uint64_t)job->id << 32 | (uint64_t)worker << 16 | 1 << 8 | state;

    atomic_store(&job->words[chunk], word);
}

static void set_ready(uint32_t slot)
{
    atomic_fetch_or(&mp_region_ready(&pool->region)[slot / 64], (uint64_t)1 << slot % 64);
}

/* As if all had gone well. */
static void end_job(const struct job *job)
{
    if (job->chunks == 1)
        job->outcomes[0].length = take_byte();
    for (uint64_t i = 0; i < job->chunks; i++)
        set_word(job, i, 0, CHUNK_DONE);
    set_ready(mp_job_slot(job->id));
}

static void spoil_outcome(struct outcome_shm *outcome)
{
    switch (take_byte() % 4) {
    case 0:
        outcome->length = take_number();
        break;
    case 1:
        outcome->item = take_number();
        break;
    case 2:
        memset(outcome->text, take_byte(), sizeof outcome->text);
        break;
    default:
        memset(outcome, take_byte(), sizeof *outcome);
    }
}

static void write_anywhere(size_t offset, size_t size)
{
    uint64_t value = take_number();
    size_t at = offset + (size_t)(take_byte() << 8 | take_byte()) % (size - sizeof value + 1);

    memcpy(pool->region.memory.base + at, &value, sizeof value);
}

static void swallow_tickets(void)
{
    char bytes[256];
    uint32_t id;

    for (int i = 0; i < MP_QUEUE_SIZE && mp_queue_pop(&pool->region, &id); i++)
        ;
    while (mp_read(pool->generation.fds[WAKE_READ], bytes, sizeof bytes) > 0)
        ;
}

static void spoil_queue(void)
{
    struct queue_shm *queue = mp_region_queue(&pool->region);

    switch (take_byte() % 5) {
    case 0:
        atomic_store(&queue->head, take_number());
        break;
    case 1:
        atomic_store(&queue->tail, take_number());
        break;
    case 2:
        atomic_store(&queue->tickets[take_byte() % MP_QUEUE_SIZE], (uint32_t)take_number());
        break;
    case 3:
        atomic_fetch_add(&queue->head, 1); /* as a worker that takes one and dies */
        break;
    default:
        atomic_store(mp_region_idle(&pool->region), take_number());
    }
}

static void spoil_job(const struct job *job)
{
    uint64_t chunk = take_byte() % job->chunks;

    switch (take_byte() % 6) {
    case 0:
        set_word(job, chunk, 0, CHUNK_DONE + take_byte() % 6U);
        break;
    case 1:
        set_word(job, chunk, take_byte() % 4, take_byte() % (CHUNK_STATE_COUNT + 1U));
        break;
    case 2:
        spoil_outcome(&job->outcomes[chunk]);
        break;
    case 3:
        atomic_store(&job->words[chunk], take_number());
        break;
    default:
        end_job(job);
    }
}

static void spoil(struct crew *crew)
{
    struct pool_shm *shared = mp_region_pool(&pool->region);
    const struct job *job = some_job();

    switch (take_byte() % 12) {
    case 0:
        set_ready(take_byte() % MP_SLOTS);
        break;
    case 1:
        atomic_store(&shared->deaths, take_number());
        break;
    case 2:
        atomic_store(&shared->lost, take_number());
        break;
    case 3:
        write_anywhere(0, sizeof *shared);
        break;
    case 4:
        write_anywhere(0, pool->region.memory.size);
        break;
    case 5:
        swallow_tickets();
        break;
    case 6:
        if (take_byte() % 8 == 0)
            crew_dies(crew);
        break;
    case 7:
        spoil_queue();
        break;
    default:
        if (job)
            spoil_job(job);
    }
}

static void spoil_and_ring(void)
{
    struct crew *crew = &crews[0];

    if (!crew->generation || input_is_over())
        return;
    for (int i = take_byte() % 4; i >= 0; i--)
        spoil(crew);
    if (crew->bell >= 0 && take_byte() % 2)
        crew_rings(crew);
}

/* ---- the host -------------------------------------------------------------------------------- */

/* Nothing is ever run. */
static int32_t item(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    (void)ctx;
    return 0;
}

static int32_t task(mproc_task *self, void *ctx)
{
    (void)self;
    (void)ctx;
    return 0;
}

static void check_failure(const mproc_failure *failure, uint64_t count)
{
    must(failure->index < count && memchr(failure->text, 0, sizeof failure->text));
}

static void read_bytes(const void *data, size_t length)
{
    const volatile char *bytes = data;

    for (size_t i = 0; i < length; i++)
        (void)bytes[i];
}

static void map(void)
{
    size_t count = 1 + take_byte() % ITEMS_MAX;
    size_t out_size = take_byte() % 20;
    mproc_failure failure = {.size = sizeof failure};
    uint8_t choice = take_byte();
    mproc_map_options options = {.size = sizeof options,
                                 .chunk_size = take_byte() % 9,
                                 .timeout_ms = 1 + take_byte() % 8,
                                 .retries = choice >> 6,
                                 .failure = &failure};
    int32_t *statuses = malloc(count * sizeof *statuses);
    char *out = malloc(count * out_size + 1);
    int r;

    must(statuses && out);
    if (choice & 1)
        options.statuses = statuses;
    if (choice & 2)
        options.time_limit_ms = 5;
    r = mproc_pool_map(pool, item, NULL, NULL, 0, out, out_size, count, &options);
    must(r <= (int)count);
    check_failure(&failure, count);
    free(statuses);
    free(out);
}

static void map_bytes(void)
{
    struct iovec inputs[ITEMS_MAX] = {{"input", 5}};
    size_t count = 1 + take_byte() % ITEMS_MAX;
    int32_t statuses[ITEMS_MAX];
    mproc_map_options options = {
        .size = sizeof options, .timeout_ms = 1 + take_byte() % 8, .output_max = OUTPUT_MAX};
    mproc_results *results = NULL;

    if (take_byte() % 2)
        options.statuses = statuses;
    mproc_pool_map_bytes(pool, task, NULL, inputs, count, &results, &options);
    for (size_t i = 0; i < mproc_results_count(results); i++) {
        const void *data;
        size_t length;

        must(mproc_results_get(results, i, &data, &length) == 0 && length <= OUTPUT_MAX);
        read_bytes(data, length);
    }
    mproc_results_free(results);
}

static void submit(mproc_future **future)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = OUTPUT_MAX};

    mproc_future_free(*future);
    *future = NULL;
    if (take_byte() % 2)
        options.time_limit_ms = 7;
    options.retries = take_byte() % 3;
    mproc_pool_submit(pool, future, task, NULL, "input", take_byte() % 6, &options);
}

static void read_outcome(mproc_future *future)
{
    mproc_failure failure = {.size = sizeof failure};
    const void *data;
    size_t length;
    int r = future ? mproc_future_result(future, &data, &length) : -1;

    if (r == 0) {
        must(length <= OUTPUT_MAX);
        read_bytes(data, length);
    } else if (future && mproc_future_failure(future, &failure) == 0) {
        check_failure(&failure, 1);
    }
}

static void use(mproc_future **future)
{
    switch (take_byte() % 8) {
    case 0:
        mproc_future_wait(*future, take_byte() % 16);
        break;
    case 1:
        mproc_future_wait_any(futures, FUTURES, take_byte() % 16);
        break;
    case 2:
        mproc_future_wait_all(futures, FUTURES, take_byte() % 16);
        break;
    case 3:
        mproc_future_cancel(*future);
        break;
    case 4:
        mproc_future_free(*future);
        *future = NULL;
        break;
    case 5:
        read_outcome(*future);
        break;
    default:
        submit(future);
    }
}

static void call_something(void)
{
    switch (take_byte() % 16) {
    case 0:
        map();
        break;
    case 1:
        map_bytes();
        break;
    case 2:
        if (mp_pool_accepts(pool, false) == MPROC_EBROKEN)
            mproc_pool_restart(pool);
        break;
    case 3:
        if (take_byte() % 8 == 0)
            mproc_pool_close(pool);
        mproc_pool_join(pool, take_byte());
        break;
    default:
        use(&futures[take_byte() % FUTURES]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mproc_pool_options options = {.size = sizeof options, .arena_size = 65536};

    world_begin(data, size, spoil_and_ring);
    must(mproc_pool_create(&pool, WORKERS, &options) == 0);
    while (!input_is_over())
        call_something();
    for (int i = 0; i < FUTURES; i += 2)
        mproc_future_free(futures[i]);
    mproc_pool_destroy(pool);
    for (int i = 0; i < FUTURES; i++) {
        if (i % 2) {
            read_outcome(futures[i]);
            mproc_future_free(futures[i]);
        }
        futures[i] = NULL;
    }
    return 0;
}
