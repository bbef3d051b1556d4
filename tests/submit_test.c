/* SPDX-License-Identifier: MIT */
/*
 * How a job gets its slot, its memory and its tickets, seen from inside the host.  Workers are held
 * up at a gate (a pipe), so that what was submitted stays open as long as a test looks at it.
 */
#include "support.h"

#include "pool/pool.h"

#include <mproc/mproc.h>

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static mproc_pool *pool;
static int gate[2];  /* a task takes a byte and goes on */
static int began[2]; /* and has written one before */

static void open_pool(int32_t workers, uint64_t arena_size)
{
    mproc_pool_options options = {
        .size = sizeof options, .keep_descriptors = 1, .arena_size = arena_size};

    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(began), 0);
    assert_int_equal(mproc_pool_create(&pool, workers, &options), 0);
}

static void close_pool(void)
{
    mproc_pool_destroy(pool);
    pool = NULL;
    for (int i = 0; i < 2; i++) {
        close(gate[i]);
        close(began[i]);
    }
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t wait_at_gate(mproc_task *task, void *ctx)
{
    char byte = 0;

    (void)task;
    (void)ctx;
    return write(began[1], &byte, 1) == 1 && read(gate[0], &byte, 1) == 1 ? 0 : 1;
}

/* Fill the pool's workers with tasks that wait at the gate. */
static void hold_workers(mproc_future **held, int count)
{
    char byte;

    for (int i = 0; i < count; i++) {
        assert_int_equal(mproc_pool_submit(pool, &held[i], wait_at_gate, NULL, NULL, 0, NULL), 0);
        assert_int_equal(read(began[0], &byte, 1), 1);
    }
}

static void open_gate(int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(write(gate[1], "", 1), 1);
}

static void wait_and_free(mproc_future **futures, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(mproc_future_wait(futures[i], -1), 0);
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), 0);
        mproc_future_free(futures[i]);
    }
}

static uint32_t answer(uint32_t number)
{
    return number * 2654435761U + 1;
}

static int32_t answer_task(mproc_task *task, void *ctx)
{
    size_t length;
    const uint32_t *number = mproc_task_input(task, &length);
    uint32_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    if (length != sizeof *number || !out)
        return 1;
    *out = answer(*number);
    return 0;
}

static int32_t answer_item(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint32_t *)out = answer(*(const uint32_t *)in);
    return 0;
}

static mproc_submit_options small_output(void)
{
    return (mproc_submit_options){.size = sizeof(mproc_submit_options), .output_max = 8};
}

/* ---- the host's books ------------------------------------------------------------------------ */

static bool is_whole(struct arena *arena)
{
    struct list *first = arena->blocks.next;

    return first->next == &arena->blocks && LIST_ENTRY(first, struct block, by_address)->free;
}

static uint32_t jobs_in_slots(void)
{
    uint32_t count = 0;

    for (uint32_t slot = 0; slot < MP_SLOTS; slot++)
        count += pool->slots[slot].job != NULL;
    return count;
}

/* No job has left anything behind. */
static void assert_nothing_taken(void)
{
    mp_pool_lock(pool);
    assert_true(is_whole(&pool->words));
    assert_true(is_whole(&pool->heap));
    assert_int_equal(jobs_in_slots(), 0);
    assert_true(list_is_empty(&pool->open));
    assert_true(list_is_empty(&pool->backlog));
    assert_int_equal(pool->references, 1);
    assert_int_equal(pool->limited, 0);
    mp_pool_unlock(pool);
}

static struct job_spec map_spec(uint64_t count, uint64_t chunk_items)
{
    return (struct job_spec){.kind = JOB_MAP,
                             .function = (uintptr_t)answer_item,
                             .count = count,
                             .chunk_items = chunk_items};
}

static int create(struct job *job, const struct job_spec *spec)
{
    int r;

    mp_pool_lock(pool);
    r = mp_job_create(pool, job, spec);
    mp_pool_unlock(pool);
    return r;
}

static void finish(struct job *job)
{
    mp_pool_lock(pool);
    mp_job_finish(job);
    mp_pool_unlock(pool);
}

/* ---- slots and tags -------------------------------------------------------------------------- */

static void a_slot_is_used_again_and_no_tag_of_it_before_all_others(void **state)
{
    enum { TAGS = 1 << MP_TAG_BITS };
    struct job_spec spec = map_spec(1, 1);
    uint32_t rounds = 3 * TAGS, slot = MP_SLOTS;
    uint32_t *last_use = calloc(TAGS, sizeof *last_use);

    (void)state;
    assert_non_null(last_use);
    open_pool(1, MIB);
    for (uint32_t round = 1; round <= rounds; round++) {
        struct job job;
        uint32_t tag;

        assert_int_equal(create(&job, &spec), 0);
        if (slot == MP_SLOTS)
            slot = mp_job_slot(job.id);
        tag = job.id & (TAGS - 1);
        assert_int_equal(mp_job_slot(job.id), slot);
        assert_int_not_equal(tag, 0);
        assert_true(last_use[tag] == 0 || round - last_use[tag] == TAGS - 1);
        last_use[tag] = round;
        finish(&job);
    }
    assert_nothing_taken();
    close_pool();
    free(last_use);
}

static void every_slot_serves_once_and_then_there_is_none(void **state)
{
    struct job_spec spec = map_spec(1, 1);
    struct job *jobs = calloc(MP_SLOTS, sizeof *jobs);
    bool *taken = calloc(MP_SLOTS, sizeof *taken);
    struct job more;

    (void)state;
    assert_true(jobs && taken);
    open_pool(1, MIB);
    for (uint32_t i = 0; i < MP_SLOTS; i++) {
        uint32_t slot;

        assert_int_equal(create(&jobs[i], &spec), 0);
        slot = mp_job_slot(jobs[i].id);
        assert_false(taken[slot]);
        taken[slot] = true;
        assert_ptr_equal(pool->slots[slot].job, &jobs[i]);
    }
    assert_int_equal(create(&more, &spec), -EAGAIN);
    finish(&jobs[777]);
    assert_int_equal(create(&more, &spec), 0);
    assert_int_equal(mp_job_slot(more.id), mp_job_slot(jobs[777].id));
    assert_int_not_equal(more.id, jobs[777].id);
    finish(&more);
    for (uint32_t i = 0; i < MP_SLOTS; i++)
        finish(&jobs[i]); /* once more for one: it has nothing left */
    assert_nothing_taken();
    close_pool();
    free(jobs);
    free(taken);
}

static void a_job_without_a_slot_gives_back_its_memory(void **state)
{
    struct job_spec spec = map_spec(1, 1), large = map_spec(100, 1);
    struct job *jobs = calloc(MP_SLOTS, sizeof *jobs);
    struct job more;

    (void)state;
    assert_non_null(jobs);
    large.out_size = 100;
    open_pool(1, MIB);
    for (uint32_t i = 0; i < MP_SLOTS; i++)
        assert_int_equal(create(&jobs[i], &spec), 0); /* these take no memory */
    assert_int_equal(create(&more, &large), -EAGAIN);
    assert_true(is_whole(&pool->words));
    assert_true(is_whole(&pool->heap));
    for (uint32_t i = 0; i < MP_SLOTS; i++)
        finish(&jobs[i]);
    assert_nothing_taken();
    close_pool();
    free(jobs);
}

/* ---- tasks, as many as there are slots ---------------------------------------------------------
 */

static void assert_answered(mproc_future *future, uint32_t number)
{
    const void *data;
    size_t length;

    assert_int_equal(mproc_future_wait(future, -1), 0);
    assert_int_equal(mproc_future_result(future, &data, &length), 0);
    assert_int_equal(length, sizeof number);
    assert_int_equal(*(const uint32_t *)data, answer(number));
    mproc_future_free(future);
}

static void as_many_tasks_as_slots_can_be_open_and_all_are_done(void **state)
{
    enum { WORKERS = 2 };
    mproc_submit_options options = small_output();
    mproc_future **futures = calloc(MP_SLOTS, sizeof(mproc_future *)), *held[WORKERS], *more;
    uint32_t open = MP_SLOTS - WORKERS;

    (void)state;
    assert_non_null(futures);
    open_pool(WORKERS, 64 * MIB);
    hold_workers(held, WORKERS);
    for (uint32_t i = 0; i < open; i++)
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], answer_task, NULL, &i, sizeof i, &options), 0);
    more = NULL;
    assert_int_equal(mproc_pool_submit(pool, &more, answer_task, NULL, &open, sizeof open, NULL),
                     -EAGAIN);
    assert_null(more);
    /* One that is cancelled makes room for another, freed or not. */
    assert_int_equal(mproc_future_cancel(futures[0]), 0);
    assert_int_equal(mproc_pool_submit(pool, &more, answer_task, NULL, &open, sizeof open, NULL),
                     0);
    assert_int_equal(mproc_future_result(futures[0], NULL, NULL), -ECANCELED);
    mproc_future_free(futures[0]);
    open_gate(WORKERS);
    assert_int_equal(mproc_future_wait_all(futures + 1, open - 1, -1), 0);
    for (uint32_t i = 1; i < open; i++)
        assert_answered(futures[i], i);
    assert_answered(more, open);
    wait_and_free(held, WORKERS);
    assert_nothing_taken();
    close_pool();
    free(futures);
}

/* ---- tickets --------------------------------------------------------------------------------- */

/* How many tickets are in the queue; they are taken out of it.  Nobody else may take any now. */
static int take_tickets(uint32_t id)
{
    uint32_t ticket;
    int count = 0;

    for (; mp_queue_pop(&pool->region, &ticket); count++)
        assert_int_equal(ticket, id);
    return count;
}

/* How many were woken since the last time: they are counted, or there are bytes in the wake pipe. */
static int take_bytes(void)
{
    static uint32_t wakes;
    struct pollfd end = {.fd = pool->generation.fds[WAKE_READ], .events = POLLIN};
    char byte;
    int count = (int)(mp_queue_wakes(&pool->region) - wakes);

    wakes += (uint32_t)count;
    if (pool->region.on_words)
        return count;
    count = 0;
    for (; poll(&end, 1, 0) == 1; count++)
        assert_int_equal(read(end.fd, &byte, 1), 1);
    return count;
}

static int tickets_of(uint64_t count, uint64_t chunk_items)
{
    struct job_spec spec = map_spec(count, chunk_items);
    struct job job;
    int tickets;

    spec.out_size = sizeof(uint32_t);
    mp_pool_lock(pool);
    assert_int_equal(mp_job_create(pool, &job, &spec), 0);
    assert_int_equal(mp_job_post(&job, 0), 0);
    tickets = take_tickets(job.id);
    mp_job_close(&job, false); /* nothing of it was begun, so that ends it */
    assert_true(job.ended);
    for (uint64_t i = 0; i < job.chunks; i++)
        assert_int_equal(mp_job_error(&job, i), -ECANCELED);
    mp_job_finish(&job);
    mp_pool_unlock(pool);
    return tickets;
}

static void a_job_has_a_ticket_for_each_worker_that_could_help(void **state)
{
    mproc_future *held[3];

    (void)state;
    open_pool(3, 0);
    hold_workers(held, 3);
    assert_int_equal(tickets_of(1, 1), 1);
    assert_int_equal(tickets_of(100, 100), 1);
    assert_int_equal(tickets_of(100, 50), 2);
    assert_int_equal(tickets_of(100, 40), 3);
    assert_int_equal(tickets_of(100000, 1), 3);
    open_gate(3);
    wait_and_free(held, 3);
    assert_nothing_taken();
    close_pool();
}

static int bytes_of(uint64_t count, uint64_t idle)
{
    int tickets, bytes;

    atomic_store(mp_region_idle(&pool->region), idle);
    tickets = tickets_of(count, 1);
    bytes = take_bytes();
    assert_true(bytes <= tickets);
    atomic_store(mp_region_idle(&pool->region), 0);
    return bytes;
}

/* The workers are all held, and who is idle is only said. */
static void as_many_are_woken_as_are_idle_and_could_help(void **state)
{
    mproc_future *held[3];

    (void)state;
    open_pool(3, 0);
    hold_workers(held, 3);
    take_bytes(); /* too many, from then */
    assert_int_equal(bytes_of(1, 0), 0);
    assert_int_equal(bytes_of(100, 0), 0);
    assert_int_equal(bytes_of(1, 7), 1);
    assert_int_equal(bytes_of(2, 7), 2);
    assert_int_equal(bytes_of(100, 7), 3);
    assert_int_equal(bytes_of(100, 4), 1);
    assert_int_equal(bytes_of(100, 5), 2);
    open_gate(3);
    wait_and_free(held, 3);
    assert_nothing_taken();
    close_pool();
}

static int bytes_with(uint32_t host_waits, uint64_t looking)
{
    struct pool_shm *shared = mp_region_pool(&pool->region);
    int bytes;

    atomic_store(&shared->host_waits, host_waits);
    atomic_store(mp_region_looking(&pool->region), looking);
    bytes = bytes_of(2, 7);
    atomic_store(&shared->host_waits, HOST_AWAKE);
    atomic_store(mp_region_looking(&pool->region), 0);
    return bytes;
}

/* Who looks out may be stopped, or only say so; a thread that is awake looks again before it sleeps. */
static void who_looks_out_is_counted_on_by_who_looks_again(void **state)
{
    mproc_future *held[3];

    (void)state;
    open_pool(3, 0);
    hold_workers(held, 3);
    take_bytes();
    assert_int_equal(bytes_with(HOST_AWAKE, 0), 2);
    assert_int_equal(bytes_with(HOST_AWAKE, 1), 2);
    assert_int_equal(bytes_with(HOST_AWAKE, 3), 0);
    assert_int_equal(bytes_with(HOST_WAITS, 3), 2);
    assert_int_equal(bytes_with(HOST_HAS_BACKLOG, 7), 2);
    open_gate(3);
    wait_and_free(held, 3);
    assert_nothing_taken();
    close_pool();
}

static uint64_t tickets_due(void)
{
    uint64_t due = 0;

    mp_pool_lock(pool);
    for (struct list *link = pool->backlog.next; link != &pool->backlog; link = link->next)
        due += LIST_ENTRY(link, struct job, in_backlog)->tickets_due;
    mp_pool_unlock(pool);
    return due;
}

/* Leave room for one ticket.  Nobody takes any now. */
static void fill_the_queue_but_for_one(void)
{
    uint32_t nobodys = 1;

    mp_pool_lock(pool);
    while (mp_queue_push(&pool->region, &pool->queue, nobodys))
        ;
    assert_true(mp_queue_pop(&pool->region, &nobodys));
    mp_pool_unlock(pool);
}

static void what_the_queue_does_not_take_is_due_and_who_sleeps_says_so(void **state)
{
    struct job_spec spec = map_spec(100, 50);
    struct waiter sleeper = {0};
    mproc_future *held[2];
    struct job job;
    uint32_t ticket;

    (void)state;
    open_pool(2, 0);
    hold_workers(held, 2);
    spec.out_size = sizeof(uint32_t);
    fill_the_queue_but_for_one();
    mp_pool_lock(pool);
    assert_int_equal(mp_job_create(pool, &job, &spec), 0);
    assert_int_equal(mp_job_post(&job, 0), 0);
    assert_int_equal(job.tickets_due, 1);
    assert_false(list_is_empty(&pool->backlog));
    pool->sleeper = &sleeper;
    mp_backlog_flush(pool);
    pool->sleeper = NULL;
    assert_int_equal(atomic_exchange(&mp_region_pool(&pool->region)->host_waits, HOST_AWAKE),
                     HOST_HAS_BACKLOG);
    mp_job_close(&job, false);
    assert_true(job.ended);
    mp_job_finish(&job);
    while (mp_queue_pop(&pool->region, &ticket))
        ;
    mp_pool_unlock(pool);
    open_gate(2);
    wait_and_free(held, 2);
    assert_nothing_taken();
    close_pool();
}

/* What a worker saw first. */
struct order {
    _Atomic uint32_t next;
    uint32_t tasks[];
};

static int32_t note_order(mproc_task *task, void *ctx)
{
    struct order *order = ctx;

    order->tasks[atomic_fetch_add(&order->next, 1)] =
        *(const uint32_t *)mproc_task_input(task, NULL);
    return 0;
}

static void tickets_that_do_not_fit_the_queue_are_kept_and_posted_in_order(void **state)
{
    enum { TASKS = 2 * MP_QUEUE_SIZE + 1000 };
    mproc_submit_options options = small_output();
    mproc_future **futures = calloc(TASKS, sizeof(mproc_future *)), *held;
    struct order *order;
    void *memory;

    (void)state;
    assert_non_null(futures);
    open_pool(1, 64 * MIB);
    assert_int_equal(
        mproc_pool_alloc(pool, sizeof *order + TASKS * sizeof order->tasks[0], &memory), 0);
    order = memory;
    atomic_init(&order->next, 0);
    hold_workers(&held, 1);
    for (uint32_t i = 0; i < TASKS; i++)
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], note_order, order, &i, sizeof i, &options), 0);
    assert_true(tickets_due() > 0);
    open_gate(1);
    assert_int_equal(mproc_future_wait(futures[TASKS - 1], -1), 0); /* waiting is all it takes */
    assert_int_equal(tickets_due(), 0);
    wait_and_free(futures, TASKS);
    assert_int_equal(atomic_load(&order->next), TASKS);
    for (uint32_t i = 0; i < TASKS; i++)
        assert_int_equal(order->tasks[i], i);
    wait_and_free(&held, 1);
    assert_int_equal(mproc_pool_dealloc(pool, memory), 0);
    assert_nothing_taken();
    close_pool();
    free(futures);
}

/* The pipe is shut by then, which is no fault of anybody's. */
static void tickets_that_are_due_when_a_pool_is_terminated_do_no_harm(void **state)
{
    enum { TASKS = MP_QUEUE_SIZE + 1000, FEW = 2 };
    mproc_submit_options options = small_output();
    mproc_future **futures = calloc(TASKS, sizeof(mproc_future *)), *held;

    (void)state;
    assert_non_null(futures);
    for (int full = 0; full < 2; full++) {
        const uint32_t tasks = full ? TASKS : FEW;

        open_pool(1, 64 * MIB);
        if (pool->generation.supervisor <= 0) { /* threads: nobody can kill them */
            close_pool();
            free(futures);
            skip();
        }
        hold_workers(&held, 1);
        for (uint32_t i = 0; i < tasks; i++)
            assert_int_equal(
                mproc_pool_submit(pool, &futures[i], answer_task, NULL, &i, sizeof i, &options), 0);
        assert_int_equal(tickets_due() > 0, full);
        assert_int_equal(mproc_pool_terminate(pool), 0);
        /* Where the queue was not full: a worker that has just left says that it may have had one. */
        atomic_fetch_add(&mp_region_pool(&pool->region)->lost, 1);
        assert_int_equal(mproc_pool_join(pool, -1), 0);
        for (uint32_t i = 0; i < tasks; i++) {
            assert_int_equal(mproc_future_result(futures[i], NULL, NULL), -ECANCELED);
            mproc_future_free(futures[i]);
        }
        assert_int_equal(mproc_future_result(held, NULL, NULL), -ECANCELED);
        mproc_future_free(held);
        close_pool();
    }
    free(futures);
}

static void a_job_that_ends_takes_its_tickets_out_of_the_backlog(void **state)
{
    enum { TASKS = MP_QUEUE_SIZE + 1000 };
    mproc_submit_options options = small_output();
    mproc_future **futures = calloc(TASKS, sizeof(mproc_future *)), *held;
    uint64_t due;

    (void)state;
    assert_non_null(futures);
    open_pool(1, 64 * MIB);
    hold_workers(&held, 1);
    for (uint32_t i = 0; i < TASKS; i++)
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], answer_task, NULL, &i, sizeof i, &options), 0);
    due = tickets_due();
    assert_true(due > 1);
    assert_int_equal(mproc_future_cancel(futures[TASKS - 1]), 0);
    assert_int_equal(tickets_due(), due - 1);
    for (uint32_t i = 0; i < TASKS - 1; i++)
        assert_int_equal(mproc_future_cancel(futures[i]), 0);
    assert_int_equal(tickets_due(), 0);
    for (uint32_t i = 0; i < TASKS; i++) {
        assert_int_equal(mproc_future_result(futures[i], NULL, NULL), -ECANCELED);
        mproc_future_free(futures[i]);
    }
    open_gate(1);
    wait_and_free(&held, 1);
    assert_nothing_taken();
    close_pool();
    free(futures);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void submit_with_everything(uint64_t *seed)
{
    char input[3000] = {0}, ctx[500] = {0};
    mproc_submit_options options = {.size = sizeof options};
    mproc_future *futures[20];

    for (int i = 0; i < 20; i++) {
        size_t length = sizeof(uint32_t) + (size_t)(test_random(seed) % 2900);

        options.output_max = (size_t)(test_random(seed) % 100000);
        options.ctx_size = (size_t)(test_random(seed) % sizeof ctx);
        options.time_limit_ms = i % 3 ? 0 : 60000;
        assert_int_equal(mproc_pool_submit(pool, &futures[i], answer_task, ctx, input,
                                           i % 2 ? length : sizeof(uint32_t), &options),
                         0);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(mproc_future_wait(futures[i], -1), 0);
        mproc_future_free(futures[i]);
    }
}

static void map_in_chunks(uint64_t *seed)
{
    enum { ITEMS = 1000 };
    uint32_t in[ITEMS], out[ITEMS];
    mproc_map_options options = {.size = sizeof options};

    options.chunk_size = 1 + (size_t)(test_random(seed) % ITEMS);
    for (uint32_t i = 0; i < ITEMS; i++)
        in[i] = i;
    assert_int_equal(mproc_pool_map(pool, answer_item, NULL, in, sizeof in[0], out, sizeof out[0],
                                    ITEMS, &options),
                     0);
    for (uint32_t i = 0; i < ITEMS; i++)
        assert_int_equal(out[i], answer(i));
}

static void what_jobs_took_is_given_back(void **state)
{
    uint64_t seed = test_seed();

    (void)state;
    open_pool(2, 64 * MIB);
    for (int i = 0; i < (test_under_valgrind() ? 3 : 50); i++) {
        submit_with_everything(&seed);
        map_in_chunks(&seed);
        assert_nothing_taken();
    }
    close_pool();
}

static void an_abandoned_task_gives_back_its_memory_when_it_ends(void **state)
{
    mproc_submit_options options = small_output();
    mproc_future *future, *held;
    uint32_t number = 1;

    (void)state;
    open_pool(1, 64 * MIB);
    hold_workers(&held, 1);
    mproc_future_free(held);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(
            mproc_pool_submit(pool, &future, answer_task, NULL, &number, sizeof number, &options),
            0);
        mproc_future_free(future);
    }
    assert_int_equal(jobs_in_slots(), 11);
    assert_int_equal(
        mproc_pool_submit(pool, &future, answer_task, NULL, &number, sizeof number, &options), 0);
    open_gate(1);
    assert_answered(future, number); /* the last of them: of one worker, all others were before */
    assert_nothing_taken();
    close_pool();
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void assert_refused(const struct job_spec *spec, int error)
{
    uint32_t slots_used = pool->slots_used;
    struct job job = {0};

    assert_int_equal(create(&job, spec), error);
    assert_int_equal(pool->slots_used, slots_used);
}

static void a_job_larger_than_the_arena_is_refused_and_takes_nothing(void **state)
{
    struct job_spec spec = map_spec(1, 1);

    (void)state;
    open_pool(1, MIB);
    spec.out_size = 2 * MIB;
    assert_refused(&spec, -ENOMEM);
    spec = map_spec(20000, 1); /* the words do not fit */
    assert_refused(&spec, -ENOMEM);
    spec = map_spec(10000, 1); /* they do, but not the outcomes */
    assert_refused(&spec, -ENOMEM);
    assert_nothing_taken();
    close_pool();
}

static void a_size_that_overflows_is_refused_and_takes_nothing(void **state)
{
    char byte = 0;
    struct job_spec spec = map_spec(SIZE_MAX / 4, 1);

    (void)state;
    open_pool(1, MIB);
    spec.out_size = 8;
    assert_refused(&spec, -EOVERFLOW);
    spec = map_spec(2, 1);
    spec.out_size = SIZE_MAX / 2 + 1;
    assert_refused(&spec, -EOVERFLOW);
    spec.out_size = SIZE_MAX / 2; /* with the outcomes it is too much */
    assert_refused(&spec, -EOVERFLOW);
    spec = map_spec(SIZE_MAX / 4, 1);
    spec.in = &byte;
    spec.in_size = 8;
    assert_refused(&spec, -EOVERFLOW);
    spec = map_spec(1, 1);
    spec.context = &byte;
    spec.context_size = SIZE_MAX - 1;
    assert_refused(&spec, -EOVERFLOW);
    spec = map_spec(UINT64_MAX, 1); /* chunks, whose words would not fit a size */
    assert_true(create(&(struct job){0}, &spec) < 0);
    assert_nothing_taken();
    close_pool();
}

static void memory_that_is_only_partly_shared_is_refused_and_nothing_taken(void **state)
{
    struct job_spec spec = map_spec(100, 1);
    void *memory;

    (void)state;
    open_pool(1, MIB);
    assert_int_equal(mproc_pool_alloc(pool, 4096, &memory), 0);
    spec.in = (char *)memory + 4000;
    spec.in_size = 4;
    assert_refused(&spec, -EINVAL);
    spec.in = NULL;
    spec.out = (char *)memory + 4000;
    spec.out_size = 4;
    assert_refused(&spec, -EINVAL);
    assert_int_equal(mproc_pool_dealloc(pool, memory), 0);
    spec.out = memory; /* it is not the user's any more */
    assert_refused(&spec, -EINVAL);
    assert_nothing_taken();
    close_pool();
}

static void where_the_machine_has_no_memory_nothing_is_taken(void **state)
{
    struct job_spec plain = map_spec(1, 1), chunks = map_spec(100, 1), input = map_spec(100, 100);
    uint32_t in[100] = {0};
    int fd;

    (void)state;
    open_pool(1, MIB);
    input.in = in;
    input.in_size = sizeof in[0];
    fd = pool->region.memory.fd;
    pool->region.memory.fd = -1; /* so that no page can be had */
    pool->slots_committed = 0;   /* and the first slot needs one */
    assert_refused(&plain, -EBADF);
    assert_refused(&chunks, -EBADF);
    assert_refused(&input, -EBADF);
    pool->region.memory.fd = fd;
    assert_nothing_taken();
    map_in_chunks(&(uint64_t){1}); /* and it works when there is some again */
    assert_nothing_taken();
    close_pool();
}

static void a_pool_that_closes_refuses_also_what_was_being_filled(void **state)
{
    struct job_spec spec = map_spec(100, 1);
    struct job job;

    (void)state;
    open_pool(1, MIB);
    spec.out_size = 4;
    assert_int_equal(create(&job, &spec), 0);
    assert_int_equal(mproc_pool_close(pool), 0);
    mp_pool_lock(pool);
    assert_int_equal(mp_job_post(&job, 0), MPROC_ECLOSED);
    mp_pool_unlock(pool);
    finish(&job);
    assert_refused(&spec, MPROC_ECLOSED);
    assert_nothing_taken();
    assert_int_equal(mproc_pool_join(pool, -1), 0);
    close_pool();
}

static void a_future_is_not_made_of_an_error(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = 2 * MIB};
    mproc_future *future = NULL;

    (void)state;
    open_pool(1, MIB);
    assert_int_equal(mproc_pool_submit(pool, &future, answer_task, NULL, NULL, 0, &options),
                     -ENOMEM);
    assert_null(future);
    assert_nothing_taken();
    close_pool();
}

/* ---- copies ---------------------------------------------------------------------------------- */

static int32_t add_ctx(mproc_task *task, void *ctx)
{
    uint32_t *out = mproc_task_output(task, sizeof *out);

    *out = *(const uint32_t *)mproc_task_input(task, NULL) + *(uint32_t *)ctx;
    return 0;
}

static void input_and_ctx_are_copied_when_the_task_is_handed_over(void **state)
{
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof(uint32_t)};
    mproc_future *held, *futures[10];
    uint32_t in, ctx;

    (void)state;
    open_pool(1, 64 * MIB);
    hold_workers(&held, 1);
    for (uint32_t i = 0; i < 10; i++) {
        in = i;
        ctx = i * 100;
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], add_ctx, &ctx, &in, sizeof in, &options), 0);
    }
    in = ctx = 999999;
    open_gate(1);
    for (uint32_t i = 0; i < 10; i++) {
        const void *data;

        assert_int_equal(mproc_future_wait(futures[i], -1), 0);
        assert_int_equal(mproc_future_result(futures[i], &data, NULL), 0);
        assert_int_equal(*(const uint32_t *)data, i * 101);
        mproc_future_free(futures[i]);
    }
    wait_and_free(&held, 1);
    close_pool();
}

static bool job_has_ended(const void *job)
{
    return ((const struct job *)job)->ended;
}

static void shared_memory_is_used_in_place(void **state)
{
    enum { ITEMS = 100 };
    struct job_spec spec = map_spec(ITEMS, ITEMS);
    struct job job;
    void *in, *out;

    (void)state;
    open_pool(1, MIB);
    assert_int_equal(mproc_pool_alloc(pool, ITEMS * sizeof(uint32_t), &in), 0);
    assert_int_equal(mproc_pool_alloc(pool, ITEMS * sizeof(uint32_t), &out), 0);
    spec.in = in;
    spec.out = out;
    spec.in_size = spec.out_size = sizeof(uint32_t);
    assert_int_equal(create(&job, &spec), 0);
    assert_null(job.in);    /* there is nothing to copy, */
    assert_null(job.block); /* and no memory was taken */
    assert_ptr_equal(job.out, out);
    mp_job_fill(&job, &spec);
    for (uint32_t i = 0; i < ITEMS; i++)
        ((uint32_t *)in)[i] = i; /* after the filling: what counts is what is there when it runs */
    mp_pool_lock(pool);
    assert_int_equal(mp_job_post(&job, 0), 0);
    assert_int_equal(mp_wait(pool, job_has_ended, &job, MP_FOREVER), 0);
    mp_pool_unlock(pool);
    for (uint32_t i = 0; i < ITEMS; i++)
        assert_int_equal(((uint32_t *)out)[i], answer(i));
    finish(&job);
    assert_int_equal(mproc_pool_dealloc(pool, in), 0);
    assert_int_equal(mproc_pool_dealloc(pool, out), 0);
    assert_nothing_taken();
    close_pool();
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int64_t least_limit(void)
{
    return atomic_load(&mp_region_pool(&pool->region)->least_limit_ns);
}

static void the_shortest_limit_of_the_open_jobs_is_known(void **state)
{
    static const int64_t limits[] = {500000, 300000, 400000};
    static const int64_t least[] = {500000, 300000, 300000};
    mproc_submit_options options = small_output();
    mproc_future *held, *futures[3];
    uint32_t number = 0;

    (void)state;
    open_pool(1, 64 * MIB);
    hold_workers(&held, 1);
    assert_int_equal(least_limit(), 0);
    for (int i = 0; i < 3; i++) {
        options.time_limit_ms = limits[i];
        assert_int_equal(mproc_pool_submit(pool, &futures[i], answer_task, NULL, &number,
                                           sizeof number, &options),
                         0);
        assert_int_equal(least_limit(), least[i] * 1000000);
    }
    open_gate(1);
    wait_and_free(futures, 3);
    assert_int_equal(least_limit(), 0);
    wait_and_free(&held, 1);
    close_pool();
}

/* ---- functions that the workers do not have ----------------------------------------------------
 */

#ifdef MPROC_TEST_PLUGIN

static void a_function_loaded_after_the_fork_is_refused_until_a_restart(void **state)
{
    uint64_t in[3] = {2, 3, 4}, out[3] = {0};
    struct job_spec spec = map_spec(3, 1);
    mproc_map_fn square;
    void *plugin;

    (void)state;
    open_pool(2, MIB);
    plugin = dlopen(MPROC_TEST_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(plugin);
    *(void **)&square = dlsym(plugin, "mproc_test_plugin_square");
    assert_non_null(square);
    if (mp_code_map_knows(pool->generation.code, (uintptr_t)square)) {
        dlclose(plugin); /* this system cannot tell */
        close_pool();
        skip();
    }
    assert_int_equal(
        mproc_pool_map(pool, square, NULL, in, sizeof in[0], out, sizeof out[0], 3, NULL),
        MPROC_EFUNC);
    spec.function = (uintptr_t)square;
    assert_refused(&spec, MPROC_EFUNC);
    assert_nothing_taken();
    assert_int_equal(mproc_pool_restart(pool), 0);
    assert_int_equal(
        mproc_pool_map(pool, square, NULL, in, sizeof in[0], out, sizeof out[0], 3, NULL), 0);
    assert_int_equal(out[0], 4);
    assert_int_equal(out[2], 16);
    assert_nothing_taken();
    close_pool();
    dlclose(plugin);
}

#else

static void a_function_loaded_after_the_fork_is_refused_until_a_restart(void **state)
{
    (void)state;
    skip(); /* nothing can be loaded into this program */
}

#endif

static const struct CMUnitTest tests[] = {
    TEST(a_slot_is_used_again_and_no_tag_of_it_before_all_others),
    TEST(every_slot_serves_once_and_then_there_is_none),
    TEST(a_job_without_a_slot_gives_back_its_memory),
    TEST(as_many_tasks_as_slots_can_be_open_and_all_are_done),
    TEST(a_job_has_a_ticket_for_each_worker_that_could_help),
    TEST(as_many_are_woken_as_are_idle_and_could_help),
    TEST(who_looks_out_is_counted_on_by_who_looks_again),
    TEST(what_the_queue_does_not_take_is_due_and_who_sleeps_says_so),
    TEST(tickets_that_do_not_fit_the_queue_are_kept_and_posted_in_order),
    TEST(tickets_that_are_due_when_a_pool_is_terminated_do_no_harm),
    TEST(a_job_that_ends_takes_its_tickets_out_of_the_backlog),
    TEST(what_jobs_took_is_given_back),
    TEST(an_abandoned_task_gives_back_its_memory_when_it_ends),
    TEST(a_job_larger_than_the_arena_is_refused_and_takes_nothing),
    TEST(a_size_that_overflows_is_refused_and_takes_nothing),
    TEST(memory_that_is_only_partly_shared_is_refused_and_nothing_taken),
    TEST(where_the_machine_has_no_memory_nothing_is_taken),
    TEST(a_pool_that_closes_refuses_also_what_was_being_filled),
    TEST(a_future_is_not_made_of_an_error),
    TEST(input_and_ctx_are_copied_when_the_task_is_handed_over),
    TEST(shared_memory_is_used_in_place),
    TEST(the_shortest_limit_of_the_open_jobs_is_known),
    TEST(a_function_loaded_after_the_fork_is_refused_until_a_restart),
};

int main(void)
{
    return TEST_MAIN(tests);
}
