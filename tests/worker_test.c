/* SPDX-License-Identifier: MIT */
/*
 * The loop of a worker, without a pool: the test makes the region, the pipes and the jobs, and
 * calls the loop itself.  The wake pipe is closed first, so that the loop comes back.
 */
#include "support.h"

#include "os/os.h"
#include "pool/worker.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, SLOT = 5, TAG = 9, MIB = 1 << 20, MAX_ITEMS = 4096 };
enum { STALE_CODE = 4711 }; /* what an outcome is before it is written */

/* ---- the bench: a region, the pipes, what the functions under it see --------------------------
 */

static struct bench {
    struct region region;
    struct queue_end queue;
    int wake[2];
    int bell[2];
    uint64_t in[MAX_ITEMS];
    uint64_t out[MAX_ITEMS];
    uint64_t order[MAX_ITEMS]; /* the items, as they were begun */
    size_t begun;
    uint64_t failing_item;
    bool was_ready; /* when an item after the failing one began */
    struct job_shm *job;
    chunk_word *words;
} bench;

static void open_bench(void)
{
    memset(&bench, 0, sizeof bench);
    bench.failing_item = UINT64_MAX;
    assert_int_equal(mp_region_open(&bench.region, WORKERS, MIB), 0);
    bench.region.on_words = false; /* a pipe tells how often it rang */
    assert_int_equal(mp_pipe(bench.wake), 0);
    assert_int_equal(mp_pipe(bench.bell), 0);
    assert_int_equal(mp_nonblocking(bench.bell[0]), 0);
    assert_int_equal(mp_nonblocking(bench.bell[1]), 0);
    for (size_t i = 0; i < MAX_ITEMS; i++)
        bench.in[i] = i * 7 + 1;
}

static void close_bench(void)
{
    for (int i = 0; i < 2; i++) {
        mp_close(bench.wake[i]);
        mp_close(bench.bell[i]);
    }
    mp_region_close(&bench.region);
}

static uint64_t idle_bits(void)
{
    return atomic_load(mp_region_idle(&bench.region));
}

static void put_ticket(uint32_t ticket)
{
    assert_true(mp_queue_push(&bench.region, &bench.queue, ticket));
}

static void no_more_tickets(void)
{
    bench.wake[1] = mp_close(bench.wake[1]);
}

static struct worker worker_at_bench(uint32_t number)
{
    return (struct worker){
        .region = &bench.region, .number = number, .wake = bench.wake[0], .bell = bench.bell[1]};
}

static enum worker_end run_worker(uint32_t number)
{
    struct worker worker = worker_at_bench(number);

    return mp_worker_run(&worker);
}

static struct worker_shm *record(uint32_t number)
{
    return mp_region_worker(&bench.region, number);
}

static void host_waits(uint32_t how)
{
    atomic_store(&mp_region_pool(&bench.region)->host_waits, how);
}

static size_t bytes_in_bell(void)
{
    char bytes[64];
    ssize_t n = mp_read(bench.bell[0], bytes, sizeof bytes);

    return n > 0 ? (size_t)n : 0;
}

static bool is_ready(uint32_t slot)
{
    return atomic_load(&mp_region_ready(&bench.region)[slot / 64]) >> slot % 64 & 1;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static uint32_t the_id(void)
{
    return mp_job_id(SLOT, TAG);
}

/* A job of the bench in a slot, as the host would leave it; its words lie `at` words from the
 * first. */
static void put_job(uint32_t slot, enum job_kind kind, uintptr_t function, uint64_t count,
                    uint64_t chunk_items, size_t at)
{
    struct region *region = &bench.region;
    struct job_shm *job = mp_region_job(region, slot);
    uint64_t chunks = (count - 1) / chunk_items + 1;
    uint64_t words = region->words_offset + at * sizeof(chunk_word);

    atomic_store(&job->words, words);
    atomic_store(&job->chunks, chunks);
    atomic_store(&job->limit_ns, 0);
    job->function = function;
    job->context = (uintptr_t)&bench;
    job->in = (uintptr_t)bench.in;
    job->out = (uintptr_t)bench.out;
    job->in_size = sizeof bench.in[0];
    job->out_size = sizeof bench.out[0];
    job->count = count;
    job->chunk_items = chunk_items;
    job->outcomes = region->heap_offset;
    job->kind = kind;
    bench.job = job;
    bench.words = (chunk_word *)(void *)(region->memory.base + words);
    for (uint64_t i = 0; i < chunks; i++) {
        mp_word_publish(&bench.words[i], mp_job_id(slot, TAG));
        mp_region_outcome(region, job, i)->code = STALE_CODE;
    }
}

static struct chunk_view view(uint64_t chunk)
{
    return mp_word_view(atomic_load(&bench.words[chunk]));
}

static struct outcome_shm *outcome(uint64_t chunk)
{
    return mp_region_outcome(&bench.region, bench.job, chunk);
}

/* ---- functions that items are run with ---------------------------------------------------------
 */

static uint64_t answer(uint64_t in)
{
    return in * in + 3;
}

static int32_t map_item(const void *in, void *out, void *context)
{
    struct bench *self = context;
    const uint64_t *item = in;

    self->order[self->begun++] = (uint64_t)(item - self->in);
    *(uint64_t *)out = answer(*item);
    if ((uint64_t)(item - self->in) > self->failing_item)
        self->was_ready = is_ready(SLOT);
    if ((uint64_t)(item - self->in) == self->failing_item)
        return mproc_fail(33, "thirty-three");
    return 0;
}

static void put_map(uint64_t count, uint64_t chunk_items)
{
    put_job(SLOT, JOB_MAP, (uintptr_t)map_item, count, chunk_items, 0);
}

static void assert_all_done(uint64_t count, uint64_t chunks)
{
    for (uint64_t i = 0; i < chunks; i++) {
        assert_int_equal(view(i).state, CHUNK_DONE);
        assert_int_equal(view(i).attempts, 1);
        assert_int_equal(outcome(i)->code, STALE_CODE);
    }
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(bench.out[i], answer(bench.in[i]));
    assert_int_equal(bench.out[count], 0);
    assert_int_equal(bench.begun, count);
}

/* ---- a map ----------------------------------------------------------------------------------- */

static void every_chunk_of_a_map_is_run_once_and_its_results_are_in_place(void **state)
{
    (void)state;
    open_bench();
    put_map(100, 7); /* the last chunk has 2 */
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_all_done(100, 15);
    assert_true(is_ready(SLOT));
    assert_int_equal(atomic_load(&record(0)->ticket), 0);
    close_bench();
}

static int32_t map_index(const void *in, void *out, void *context)
{
    struct bench *self = context;

    self->begun++;
    *(uint64_t *)out = answer(*(const uint64_t *)in);
    return 0;
}

static void items_of_no_input_are_their_own_index(void **state)
{
    (void)state;
    open_bench();
    for (uint64_t i = 0; i < MAX_ITEMS; i++)
        bench.in[i] = i; /* for the comparison alone */
    put_job(SLOT, JOB_MAP, (uintptr_t)map_index, 50, 8, 0);
    bench.job->in = 0;
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_all_done(50, 7);
    close_bench();
}

static void each_worker_begins_at_a_place_of_its_own_and_goes_round(void **state)
{
    (void)state;
    for (uint32_t number = 0; number < WORKERS; number++) {
        open_bench();
        put_map(40, 1);
        put_ticket(the_id());
        no_more_tickets();
        assert_int_equal(run_worker(number), WORKER_LEFT);
        assert_all_done(40, 40);
        for (uint64_t i = 0; i < 40; i++)
            assert_int_equal(bench.order[i], (i + number * 10) % 40);
        close_bench();
    }
}

static void chunks_that_do_not_wait_are_left_alone(void **state)
{
    const uint64_t others[] = {CHUNK_RUNNING, CHUNK_STOPPING, CHUNK_DONE, CHUNK_CANCELLED};

    (void)state;
    open_bench();
    put_map(4, 1);
    for (int i = 0; i < 4; i++)
        atomic_store(&bench.words[i], (uint64_t)the_id() << 32 | (uint64_t)3 << 16 | others[i]);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(view((uint64_t)i).state, others[i]);
        assert_int_equal(view((uint64_t)i).worker, 3);
    }
    assert_int_equal(bench.begun, 0);
    assert_false(is_ready(SLOT)); /* two of them have not ended */
    close_bench();
}

static void several_jobs_are_served_in_the_order_of_their_tickets(void **state)
{
    struct bench *self = &bench;
    chunk_word *words[3];

    (void)state;
    open_bench();
    for (uint32_t i = 0; i < 3; i++) {
        put_job(i * 100, JOB_MAP, (uintptr_t)map_item, 2, 1, i * 2);
        self->job->in += 16 * i;
        words[i] = self->words;
    }
    put_ticket(mp_job_id(200, TAG));
    put_ticket(mp_job_id(0, TAG));
    put_ticket(mp_job_id(100, TAG));
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(bench.order[i], (i + 4) % 6);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(mp_word_view(atomic_load(&words[i][0])).state, CHUNK_DONE);
        assert_int_equal(mp_word_view(atomic_load(&words[i][1])).state, CHUNK_DONE);
        assert_true(is_ready(i * 100));
    }
    close_bench();
}

/* ---- batches --------------------------------------------------------------------------------- */

static int32_t run_items(const void *in, void *out, size_t count, void *context)
{
    struct bench *self = context;
    const uint64_t *items = in;

    self->order[self->begun++] = count;
    for (size_t i = 0; i < count; i++)
        ((uint64_t *)out)[i] = answer(items[i]);
    return items[0] == self->failing_item ? 5 : 0;
}

static void a_batch_is_called_once_for_a_chunk(void **state)
{
    const uint64_t sizes[] = {30, 30, 30, 10};

    (void)state;
    open_bench();
    put_job(SLOT, JOB_BATCH, (uintptr_t)run_items, 100, 30, 0);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(bench.begun, 4);
    assert_memory_equal(bench.order, sizes, sizeof sizes);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(bench.out[i], answer(bench.in[i]));
    close_bench();
}

static void a_batch_of_no_input_is_given_every_index_once(void **state)
{
    uint64_t items = 0;

    (void)state;
    open_bench();
    put_job(SLOT, JOB_BATCH, (uintptr_t)run_items, 2000, 1500, 0);
    bench.job->in = 0;
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_equal(bench.out[i], answer(i));
    for (size_t i = 0; i < bench.begun; i++)
        items += bench.order[i];
    assert_int_equal(items, 2000);
    close_bench();
}

static void a_failing_batch_names_its_first_item(void **state)
{
    (void)state;
    open_bench();
    put_job(SLOT, JOB_BATCH, (uintptr_t)run_items, 100, 30, 0);
    bench.failing_item = bench.in[60];
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(view(2).state, CHUNK_FAILED);
    assert_int_equal(outcome(2)->code, 5);
    assert_int_equal(outcome(2)->item, 60);
    assert_int_equal(view(3).state, CHUNK_DONE);
    close_bench();
}

/* ---- failures -------------------------------------------------------------------------------- */

static void a_failing_item_ends_its_chunk_and_says_why(void **state)
{
    (void)state;
    open_bench();
    bench.failing_item = 12;
    put_map(30, 10);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(view(0).state, CHUNK_DONE);
    assert_int_equal(view(1).state, CHUNK_FAILED);
    assert_int_equal(view(1).attempts, 1);
    assert_int_equal(view(2).state, CHUNK_DONE);
    assert_int_equal(outcome(1)->code, 33);
    assert_int_equal(outcome(1)->item, 12);
    assert_int_equal(outcome(1)->signal, 0);
    assert_int_equal(outcome(1)->pid, getpid());
    assert_string_equal(outcome(1)->text, "thirty-three");
    assert_int_equal(bench.begun, 23); /* 7 of its items were not begun */
    assert_int_equal(bench.out[13], 0);
    close_bench();
}

static void a_failing_chunk_is_announced_at_once(void **state)
{
    (void)state;
    open_bench();
    host_waits(HOST_WAITS);
    bench.failing_item = 0;
    put_map(2, 1);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_true(bench.was_ready); /* before the other chunk was run */
    assert_int_equal(bytes_in_bell(), 2);
    close_bench();
}

/* ---- tickets --------------------------------------------------------------------------------- */

static void a_ticket_that_a_predecessor_left_is_taken_up(void **state)
{
    (void)state;
    open_bench();
    put_map(10, 1);
    atomic_store(&record(2)->ticket, the_id());
    no_more_tickets();
    assert_int_equal(run_worker(2), WORKER_LEFT);
    assert_all_done(10, 10);
    assert_int_equal(atomic_load(&record(2)->ticket), 0);
    assert_true(is_ready(SLOT));
    close_bench();
}

static void a_predecessors_ticket_comes_before_those_in_the_queue(void **state)
{
    (void)state;
    open_bench();
    put_job(SLOT + 1, JOB_MAP, (uintptr_t)map_item, 2, 2, 100);
    put_map(4, 2);
    bench.job->in += 16;
    put_ticket(mp_job_id(SLOT + 1, TAG));
    atomic_store(&record(0)->ticket, the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(bench.begun, 6);
    assert_int_equal(bench.order[0], 2);
    assert_int_equal(bench.order[4], 0);
    close_bench();
}

static int32_t check_record(const void *in, void *out, void *context)
{
    (void)in;
    (void)context;
    *(uint64_t *)out = atomic_load(&record(1)->ticket);
    return 0;
}

static void the_ticket_is_in_the_record_while_it_is_served(void **state)
{
    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)check_record, 3, 1, 0);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(1), WORKER_LEFT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bench.out[i], the_id());
    assert_int_equal(atomic_load(&record(1)->ticket), 0);
    close_bench();
}

static int32_t note_item(const void *in, void *out, void *context)
{
    (void)in;
    (void)context;
    *(uint64_t *)out = atomic_load(&record(1)->item);
    return 0;
}

static void the_record_names_the_item_that_is_run(void **state)
{
    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)note_item, 20, 6, 0);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(1), WORKER_LEFT);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(bench.out[i], i);
    close_bench();
}

static void a_worker_leaves_at_the_end_of_file_and_says_so(void **state)
{
    (void)state;
    open_bench();
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(atomic_load(&record(0)->left), 1);
    assert_int_equal(atomic_load(&record(1)->left), 0);
    assert_int_equal(bytes_in_bell(), 0);
    close_bench();
}

static void a_worker_without_its_pipe_ends_but_has_not_left(void **state)
{
    struct worker worker;

    (void)state;
    open_bench();
    worker = worker_at_bench(0);
    worker.wake = -1;
    atomic_store(&record(0)->up, 1);
    assert_int_equal(mp_worker_run(&worker), WORKER_CUT_OFF);
    assert_int_equal(atomic_load(&record(0)->left), 0);
    assert_int_equal(atomic_load(&record(0)->up), 0); /* it has not served: a start that failed */
    close_bench();
}

/* A task may have made it so that reading it fails when it is empty. */
static void a_worker_that_cannot_read_its_pipe_has_not_left(void **state)
{
    (void)state;
    open_bench();
    assert_int_equal(mp_nonblocking(bench.wake[0]), 0);
    assert_int_equal(run_worker(0), WORKER_CUT_OFF);
    assert_int_equal(atomic_load(&record(0)->left), 0);
    close_bench();
}

/* What the task opened where the wake pipe was. */
static int not_the_pipe[2];

static int32_t take_the_pipes_number(const void *in, void *out, void *context)
{
    (void)in;
    (void)out;
    (void)context;
    return dup2(not_the_pipe[0], bench.wake[0]) < 0;
}

static void a_file_of_the_users_at_the_number_of_the_pipe_is_not_read(void **state)
{
    char bytes[4];

    (void)state;
    open_bench();
    assert_int_equal(mp_pipe(not_the_pipe), 0);
    assert_int_equal(mp_write(not_the_pipe[1], "user", 4), 4);
    put_job(SLOT, JOB_MAP, (uintptr_t)take_the_pipes_number, 1, 1, 0);
    put_ticket(the_id());
    atomic_store(&record(0)->up, 1);
    assert_int_equal(run_worker(0), WORKER_CUT_OFF);
    assert_int_equal(view(0).state, CHUNK_DONE);
    assert_int_equal(atomic_load(&record(0)->left), 0);
    assert_int_equal(atomic_load(&record(0)->up), 1);
    assert_int_equal(idle_bits(), 0);
    assert_int_equal(mp_read(not_the_pipe[0], bytes, sizeof bytes), 4);
    for (int i = 0; i < 2; i++)
        mp_close(not_the_pipe[i]);
    close_bench();
}

static void assert_untouched(uint64_t chunks)
{
    for (uint64_t i = 0; i < chunks; i++) {
        assert_int_equal(view(i).state, CHUNK_WAITING);
        assert_int_equal(view(i).attempts, 0);
    }
    assert_int_equal(bench.begun, 0);
    assert_false(is_ready(SLOT));
    assert_int_equal(bytes_in_bell(), 0);
}

static void a_stale_ticket_does_nothing(void **state)
{
    const uint32_t tickets[] = {mp_job_id(SLOT, TAG - 1),
                                mp_job_id(SLOT, TAG + 1),
                                mp_job_id(SLOT, 0),
                                mp_job_id(SLOT + 1, TAG),
                                mp_job_id(MP_SLOTS - 1, TAG),
                                0,
                                UINT32_MAX};

    (void)state;
    open_bench();
    host_waits(HOST_WAITS);
    put_map(10, 1);
    for (size_t i = 0; i < sizeof tickets / sizeof tickets[0]; i++)
        put_ticket(tickets[i]);
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_untouched(10);
    close_bench();
}

static void random_tickets_do_nothing(void **state)
{
    uint64_t seed = test_seed();

    (void)state;
    open_bench();
    host_waits(HOST_WAITS);
    put_map(10, 1);
    for (int i = 0; i < 5000; i++) {
        uint32_t ticket = (uint32_t)test_random(&seed);

        if (ticket != the_id())
            put_ticket(ticket);
    }
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_untouched(10);
    close_bench();
}

/* ---- sleeping and waking ------------------------------------------------------------------- */

/* A worker that runs meanwhile. */
static void *run_in_thread(void *worker)
{
    return mp_worker_run(worker) == WORKER_LEFT ? worker : NULL;
}

static pthread_t start_worker(struct worker *worker)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, run_in_thread, worker), 0);
    return thread;
}

static void assert_leaves(pthread_t thread)
{
    void *left;

    no_more_tickets();
    assert_int_equal(pthread_join(thread, &left), 0);
    assert_non_null(left);
    assert_int_equal(idle_bits(), 0);
}

static void until_idle(uint64_t bits)
{
    while (idle_bits() != bits)
        sched_yield();
}

static void until_empty(void)
{
    while (!mp_queue_is_empty(&bench.region))
        sched_yield();
}

static void a_worker_says_that_it_is_idle_and_a_byte_wakes_it(void **state)
{
    struct worker worker;
    pthread_t thread;

    (void)state;
    open_bench();
    worker = worker_at_bench(3);
    thread = start_worker(&worker);
    until_idle(1 << 3);
    put_map(10, 1);
    put_ticket(the_id());
    assert_int_equal(mp_queue_sleepers(&bench.region, &(struct queue_end){.tail = UINT64_MAX}, 1),
                     1);
    assert_int_equal(mp_write(bench.wake[1], "", 1), 1);
    until_empty();
    until_idle(1 << 3); /* and it is so again, with the job done */
    assert_leaves(thread);
    assert_all_done(10, 10);
    close_bench();
}

static void bytes_too_many_wake_for_nothing_and_do_no_harm(void **state)
{
    struct worker worker;
    char bytes[5000] = {0};
    pthread_t thread;

    (void)state;
    open_bench();
    assert_int_equal(mp_write(bench.wake[1], bytes, sizeof bytes), sizeof bytes);
    worker = worker_at_bench(0);
    worker.patience.spin_us = 20000; /* once, not for each of them */
    thread = start_worker(&worker);
    put_map(10, 1);
    put_ticket(the_id());
    assert_leaves(thread);
    assert_all_done(10, 10);
    close_bench();
}

static void who_looks_for_tickets_needs_no_byte(void **state)
{
    struct worker workers[2];
    pthread_t threads[2];

    (void)state;
    open_bench();
    for (uint32_t i = 0; i < 2; i++) {
        workers[i] = worker_at_bench(i);
        workers[i].patience.spin_us = 1000000;
        threads[i] = start_worker(&workers[i]);
    }
    put_job(SLOT, JOB_MAP, (uintptr_t)map_index, 10, 10, 0);
    bench.job->in = 0;
    put_ticket(the_id());
    until_empty(); /* it is not closed before, which would wake them, too */
    no_more_tickets();
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(view(0).state, CHUNK_DONE);
    close_bench();
}

static int32_t look_at_idle_bits(const void *in, void *out, void *context)
{
    (void)in;
    (void)context;
    *(uint64_t *)out = idle_bits();
    return 0;
}

static void a_worker_whose_predecessor_died_asleep_is_not_idle(void **state)
{
    (void)state;
    open_bench();
    atomic_store(mp_region_idle(&bench.region), 0xf);
    put_job(SLOT, JOB_MAP, (uintptr_t)look_at_idle_bits, 1, 1, 0);
    atomic_store(&record(2)->ticket, the_id());
    no_more_tickets();
    assert_int_equal(run_worker(2), WORKER_LEFT);
    assert_int_equal(bench.out[0], 0xb);
    assert_int_equal(idle_bits(), 0xb);
    close_bench();
}

/* Where it is dead with its bit set, whoever is woken instead takes the ticket. */
static void a_byte_for_a_dead_worker_wakes_another(void **state)
{
    struct worker worker;
    pthread_t thread;
    pid_t dead;

    (void)state;
    open_bench();
    dead = fork();
    assert_true(dead >= 0);
    if (dead == 0)
        _exit((int)run_worker(1));
    until_idle(1 << 1);
    assert_int_equal(kill(dead, SIGKILL), 0);
    assert_int_equal(waitpid(dead, NULL, 0), dead);
    worker = worker_at_bench(0);
    thread = start_worker(&worker);
    until_idle(3);
    put_map(10, 1);
    put_ticket(the_id());
    assert_int_equal(mp_write(bench.wake[1], "", 1), 1);
    until_empty();
    until_idle(3);
    no_more_tickets();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_all_done(10, 10);
    assert_int_equal(idle_bits(), 1 << 1);
    close_bench();
}

/* ---- on words -------------------------------------------------------------------------------- */

/* Where there are no pipes. */
static void open_bench_on_words(void)
{
    open_bench();
    if (!mp_can_sleep_on_words()) {
        close_bench();
        skip();
    }
    bench.region.on_words = true;
    mp_region_reset(&bench.region);
}

static struct worker worker_without_pipes(uint32_t number)
{
    return (struct worker){
        .region = &bench.region, .number = number, .wake = -1, .bell = -1, .loop = -1};
}

static void on_words_a_worker_is_woken_and_leaves_when_the_queue_is_shut(void **state)
{
    struct worker worker;
    pthread_t thread;
    void *left;

    (void)state;
    open_bench_on_words();
    worker = worker_without_pipes(3);
    thread = start_worker(&worker);
    for (int i = 0; i < 100; i++) {
        until_idle(1 << 3);
        bench.begun = 0;
        put_map(10, 1);
        put_ticket(the_id());
        mp_queue_wake(&bench.region, 1);
        until_empty();
    }
    until_idle(1 << 3);
    mp_queue_shut(&bench.region);
    assert_int_equal(pthread_join(thread, &left), 0);
    assert_non_null(left);
    assert_int_equal(idle_bits(), 0);
    assert_int_equal(atomic_load(&record(3)->left), 1);
    assert_all_done(10, 10);
    close_bench();
}

static void on_words_what_is_in_the_queue_is_served_before_it_is_left(void **state)
{
    struct worker worker;

    (void)state;
    open_bench_on_words();
    put_map(10, 1);
    put_ticket(the_id());
    mp_queue_shut(&bench.region);
    worker = worker_without_pipes(0);
    assert_int_equal(mp_worker_run(&worker), WORKER_LEFT);
    assert_all_done(10, 10);
    close_bench();
}

static void on_words_the_bell_rings_for_a_host_that_waits(void **state)
{
    struct worker worker;

    (void)state;
    open_bench_on_words();
    for (uint32_t how = HOST_AWAKE; how <= HOST_HAS_BACKLOG; how++) {
        host_waits(how);
        put_map(10, 1);
        put_ticket(the_id());
        worker = worker_without_pipes(0);
        mp_queue_shut(&bench.region);
        assert_int_equal(mp_worker_run(&worker), WORKER_LEFT);
        assert_int_equal(mp_bell_word(&bench.region), MP_OWNED | (how == HOST_AWAKE ? 0 : MP_RUNG));
        mp_region_reset(&bench.region);
        memset(&bench.queue, 0, sizeof bench.queue);
    }
    close_bench();
}

/* It has no supervisor any more, and the record and the bits are those of another. */
static void on_words_who_outlives_his_generation_ends_and_touches_nothing(void **state)
{
    struct worker worker;
    pthread_t thread;
    void *left;

    (void)state;
    open_bench_on_words();
    worker = worker_without_pipes(3);
    thread = start_worker(&worker);
    until_idle(1 << 3);
    mp_region_reset(&bench.region);
    atomic_store(mp_region_idle(&bench.region), 0xff);
    atomic_store(&record(3)->up, 1);
    mp_queue_wake(&bench.region, 1);
    assert_int_equal(pthread_join(thread, &left), 0);
    assert_null(left);
    assert_int_equal(idle_bits(), 0xff);
    assert_int_equal(atomic_load(&record(3)->up), 1);
    assert_int_equal(atomic_load(&record(3)->left), 0);
    close_bench();
}

static int32_t begin_another_generation(const void *in, void *out, void *context)
{
    (void)in;
    (void)out;
    (void)context;
    mp_region_reset(&bench.region);
    atomic_store(&record(3)->ticket, 12345);
    return 0;
}

static void who_is_outlived_while_he_works_gives_up_no_ticket_but_his(void **state)
{
    struct worker worker;

    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)begin_another_generation, 1, 1, 0);
    put_ticket(the_id());
    no_more_tickets();
    worker = worker_at_bench(3);
    assert_int_equal(mp_worker_run(&worker), WORKER_DOOMED);
    assert_int_equal(atomic_load(&record(3)->ticket), 12345);
    assert_int_equal(atomic_load(&record(3)->left), 0);
    close_bench();
}

/* ---- a descriptor that somebody scribbled on ---------------------------------------------------
 */

static void words_that_cannot_be_are_not_looked_at(void **state)
{
    (void)state;
    open_bench();
    host_waits(HOST_WAITS);
    put_map(10, 1);
    assert_int_equal(mp_nonblocking(bench.wake[0]), 0); /* it comes back when there is no more */
    for (int i = 0; i < 6; i++) {
        uint64_t words = atomic_load(&bench.job->words);
        const uint64_t offsets[] = {0, 1, words + 1, UINT64_MAX, bench.region.heap_offset, words};
        const uint64_t counts[] = {10, 10, 10, 10, 10, UINT64_MAX};

        atomic_store(&bench.job->words, offsets[i]);
        atomic_store(&bench.job->chunks, counts[i]);
        put_ticket(the_id());
        assert_int_equal(run_worker(0), WORKER_CUT_OFF);
        atomic_store(&bench.job->words, words);
    }
    atomic_store(&bench.job->chunks, 10);
    assert_untouched(10);
    close_bench();
}

/* What becomes of chunk 1 when the descriptor was changed so. */
static void fail_with(void (*scribble)(struct job_shm *job))
{
    open_bench();
    put_map(10, 5);
    scribble(bench.job);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(view(1).state, CHUNK_FAILED);
    close_bench();
}

static void scribble_kind(struct job_shm *job)
{
    job->kind = 99;
}

static void scribble_count(struct job_shm *job)
{
    job->count = 0;
}

static void scribble_chunk_items(struct job_shm *job)
{
    job->chunk_items = UINT64_MAX;
}

static void scribble_count_by_a_chunk(struct job_shm *job)
{
    job->count = 5; /* chunk 1 would begin just there */
}

static void a_nonsensical_descriptor_fails_the_chunk(void **state)
{
    (void)state;
    fail_with(scribble_kind);
    fail_with(scribble_count);
    fail_with(scribble_chunk_items);
    fail_with(scribble_count_by_a_chunk);
}

static void an_outcome_that_would_lie_elsewhere_is_not_written(void **state)
{
    const uint64_t offsets[] = {0, 1, UINT64_MAX, UINT64_MAX - 7, 1 << 30};

    (void)state;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        struct job_shm before;

        open_bench();
        bench.failing_item = 0;
        put_map(1, 1);
        bench.job->outcomes = offsets[i];
        memcpy(&before, bench.job, offsetof(struct job_shm, word));
        put_ticket(the_id());
        no_more_tickets();
        assert_int_equal(run_worker(0), WORKER_LEFT);
        assert_int_equal(view(0).state, CHUNK_FAILED);
        assert_memory_equal(&before, bench.job, offsetof(struct job_shm, word));
        close_bench();
    }
}

/* ---- the bell -------------------------------------------------------------------------------- */

static size_t rings_of_a_job_when(uint32_t how)
{
    size_t rings;

    open_bench();
    host_waits(how);
    put_map(10, 1);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_true(is_ready(SLOT));
    rings = bytes_in_bell();
    close_bench();
    return rings;
}

static void the_bell_rings_only_for_a_host_that_waits(void **state)
{
    (void)state;
    assert_int_equal(rings_of_a_job_when(HOST_AWAKE), 0);
    assert_int_equal(rings_of_a_job_when(HOST_WAITS), 1);
    assert_int_equal(rings_of_a_job_when(HOST_HAS_BACKLOG), 2); /* for the ticket, too */
}

static void with_a_backlog_each_ticket_taken_is_told(void **state)
{
    (void)state;
    open_bench();
    host_waits(HOST_HAS_BACKLOG);
    for (int i = 0; i < 5; i++)
        put_ticket(mp_job_id(SLOT, 1)); /* of no job there is */
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(bytes_in_bell(), 5);
    close_bench();
}

static void a_full_bell_does_not_hold_a_worker_up(void **state)
{
    char bytes[4096] = {0};

    (void)state;
    open_bench();
    while (mp_write(bench.bell[1], bytes, sizeof bytes) > 0 ||
           mp_write(bench.bell[1], bytes, 1) > 0)
        ;
    host_waits(HOST_HAS_BACKLOG);
    put_map(10, 1);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_all_done(10, 10);
    close_bench();
}

/* The words of a job of 10 but one, which has this value, have ended when the worker looks back. */
static void assert_not_announced_with(uint64_t chunk, uint64_t word)
{
    open_bench();
    host_waits(HOST_WAITS);
    put_map(10, 1);
    atomic_store(&bench.words[chunk], word);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(bench.begun, 9);
    assert_false(is_ready(SLOT));
    assert_int_equal(bytes_in_bell(), 0);
    close_bench();
}

static void a_job_with_a_chunk_still_held_elsewhere_is_not_announced(void **state)
{
    uint64_t held = (uint64_t)the_id() << 32 | (uint64_t)2 << 16 | CHUNK_RUNNING;

    (void)state;
    assert_not_announced_with(0, held);
    assert_not_announced_with(4, held);
    assert_not_announced_with(9, held);
}

static void a_job_whose_slot_was_reused_is_not_announced(void **state)
{
    (void)state;
    assert_not_announced_with(9, (uint64_t)mp_job_id(SLOT, TAG + 1) << 32 | CHUNK_DONE);
}

static void a_job_that_has_ended_already_is_announced_again(void **state)
{
    (void)state;
    open_bench();
    host_waits(HOST_WAITS);
    put_map(3, 1);
    for (int i = 0; i < 3; i++)
        atomic_store(&bench.words[i], (uint64_t)the_id() << 32 | CHUNK_DONE);
    put_ticket(the_id()); /* whoever ended it died before it told */
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_true(is_ready(SLOT));
    assert_int_equal(bytes_in_bell(), 1);
    close_bench();
}

/* ---- retirement ------------------------------------------------------------------------------ */

static void a_worker_retires_after_its_items_with_the_ticket_noted(void **state)
{
    struct worker worker;

    (void)state;
    open_bench();
    put_map(10, 1);
    put_ticket(the_id());
    no_more_tickets();
    worker = worker_at_bench(0);
    worker.items_left = 4;
    assert_int_equal(mp_worker_run(&worker), WORKER_RETIRED);
    assert_int_equal(bench.begun, 4);
    assert_int_equal(atomic_load(&record(0)->ticket), the_id());
    assert_int_equal(atomic_load(&record(0)->left), 0);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(view(i).state, i < 4 ? CHUNK_DONE : CHUNK_WAITING);
    assert_int_equal(run_worker(0), WORKER_LEFT); /* its replacement goes on */
    assert_all_done(10, 10);
    close_bench();
}

static void a_worker_that_retires_ends_its_chunk_first(void **state)
{
    struct worker worker;

    (void)state;
    open_bench();
    put_map(30, 10);
    put_ticket(the_id());
    worker = worker_at_bench(0);
    worker.items_left = 11;
    assert_int_equal(mp_worker_run(&worker), WORKER_RETIRED);
    assert_int_equal(bench.begun, 20);
    assert_int_equal(view(1).state, CHUNK_DONE);
    assert_int_equal(view(2).state, CHUNK_WAITING);
    close_bench();
}

static void the_last_chunk_of_a_retiring_worker_is_told_by_its_replacement(void **state)
{
    struct worker worker;

    (void)state;
    open_bench();
    host_waits(HOST_WAITS);
    put_map(4, 1);
    put_ticket(the_id());
    no_more_tickets();
    worker = worker_at_bench(0);
    worker.items_left = 4;
    assert_int_equal(mp_worker_run(&worker), WORKER_RETIRED);
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_all_done(4, 4);
    assert_true(is_ready(SLOT));
    assert_true(bytes_in_bell() >= 1);
    close_bench();
}

/* ---- doom ------------------------------------------------------------------------------------ */

/* The second item finds that somebody wants its worker dead. */
static int32_t be_stopped(const void *in, void *out, void *context)
{
    struct bench *self = context;
    uint64_t item = (uint64_t)((const uint64_t *)in - self->in);

    self->begun++;
    *(uint64_t *)out = 1;
    if (item == 1)
        mp_word_stop(&self->words[item], atomic_load(&self->words[item]));
    return 0;
}

static void a_worker_whose_chunk_was_stopped_touches_nothing_more(void **state)
{
    (void)state;
    open_bench();
    host_waits(HOST_WAITS);
    put_job(SLOT, JOB_MAP, (uintptr_t)be_stopped, 4, 1, 0);
    put_ticket(the_id());
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_DOOMED);
    assert_int_equal(bench.begun, 2);
    assert_int_equal(view(0).state, CHUNK_DONE);
    assert_int_equal(view(1).state, CHUNK_STOPPING);
    assert_int_equal(view(1).worker, 0);
    assert_int_equal(view(2).state, CHUNK_WAITING);
    assert_int_equal(outcome(1)->code, STALE_CODE);
    assert_false(is_ready(SLOT));
    assert_int_equal(bytes_in_bell(), 0);
    assert_int_equal(atomic_load(&record(0)->ticket), the_id()); /* by which its chunk is found */
    assert_int_equal(atomic_load(&record(0)->left), 0);
    close_bench();
}

static int32_t die(const void *in, void *out, void *context)
{
    (void)in;
    (void)out;
    (void)context;
    raise(SIGKILL);
    return 0;
}

static int run_worker_3(void *unused)
{
    (void)unused;
    return (int)run_worker(3);
}

static void a_dead_worker_leaves_its_ticket_and_one_chunk(void **state)
{
    int status;

    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)die, 8, 1, 0);
    put_ticket(the_id());
    status = test_run_child(run_worker_3, NULL);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(atomic_load(&record(3)->ticket), the_id());
    assert_int_equal(atomic_load(&record(3)->item), 6);
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(view(i).state, i == 6 ? CHUNK_RUNNING : CHUNK_WAITING);
        assert_int_equal(view(i).worker, i == 6 ? 3 : 0);
        assert_int_equal(view(i).attempts, i == 6);
    }
    close_bench();
}

/* ---- limits ---------------------------------------------------------------------------------- */

static uint64_t offset_of_word(uint64_t chunk)
{
    return bench.region.words_offset + chunk * sizeof(chunk_word);
}

/* What the record says of a limit, written down by the item that runs. */
struct noted {
    uint64_t claim;
    int64_t deadline;
    int64_t now;
};

static int32_t note_deadline(const void *in, void *out, void *context)
{
    struct noted *noted = context;
    uint64_t item = *(const uint64_t *)in;

    (void)out;
    noted[item] =
        (struct noted){atomic_load(&record(1)->claim), atomic_load(&record(1)->deadline), mp_now()};
    return 0;
}

static void a_limit_is_noted_for_each_chunk_and_gone_afterwards(void **state)
{
    const int64_t limit = (int64_t)3600 * 1000000000;
    int64_t before = mp_now();
    struct noted noted[10];

    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)note_deadline, 10, 1, 0);
    bench.job->context = (uintptr_t)noted;
    bench.job->in = 0;
    atomic_store(&bench.job->limit_ns, limit);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(1), WORKER_LEFT);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(noted[i].claim, offset_of_word(i));
        assert_true(noted[i].deadline >= before + limit);
        assert_true(noted[i].deadline <= noted[i].now + limit);
    }
    assert_int_equal(atomic_load(&record(1)->deadline), 0);
    close_bench();
}

static void a_limit_beyond_the_end_of_time_is_for_ever(void **state)
{
    struct noted noted[1];

    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)note_deadline, 1, 1, 0);
    bench.job->context = (uintptr_t)noted;
    bench.job->in = 0;
    atomic_store(&bench.job->limit_ns, MP_FOREVER - 1);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(1), WORKER_LEFT);
    assert_true(noted[0].deadline == MP_FOREVER);
    close_bench();
}

static void without_a_limit_none_is_noted(void **state)
{
    struct noted noted[2];

    (void)state;
    open_bench();
    atomic_store(&record(1)->deadline, 77); /* of an earlier job */
    put_job(SLOT, JOB_MAP, (uintptr_t)note_deadline, 2, 1, 0);
    bench.job->context = (uintptr_t)noted;
    bench.job->in = 0;
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(1), WORKER_LEFT);
    assert_int_equal(noted[0].deadline, 0);
    assert_int_equal(noted[1].deadline, 0);
    close_bench();
}

/* Someone who looks at a chunk as soon as it runs, as the supervisor may; the item waits for it. */
struct watcher {
    uint64_t chunks;
    _Atomic uint64_t seen; /* chunks that were looked at */
    uint64_t unwatched;    /* of these, those that ran with no limit noted for them */
};

static int32_t wait_for_watcher(const void *in, void *out, void *context)
{
    struct watcher *watcher = context;

    (void)out;
    while (atomic_load(&watcher->seen) <= *(const uint64_t *)in)
        sched_yield();
    return 0;
}

static void *watch_chunks(void *arg)
{
    struct watcher *watcher = arg;

    for (uint64_t i = 0; i < watcher->chunks; i++) {
        while (mp_word_view(atomic_load(&bench.words[i])).state != CHUNK_RUNNING)
            sched_yield();
        if (atomic_load(&record(0)->deadline) == 0 ||
            atomic_load(&record(0)->claim) != offset_of_word(i))
            watcher->unwatched++;
        atomic_store(&watcher->seen, i + 1);
    }
    return NULL;
}

static void no_chunk_runs_before_its_limit_is_noted(void **state)
{
    struct watcher watcher = {.chunks = test_under_valgrind() ? 50 : 2000};
    pthread_t thread;

    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)wait_for_watcher, watcher.chunks, 1, 0);
    bench.job->context = (uintptr_t)&watcher;
    bench.job->in = 0;
    bench.job->out_size = 0;
    atomic_store(&bench.job->limit_ns, (int64_t)3600 * 1000000000);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(pthread_create(&thread, NULL, watch_chunks, &watcher), 0);
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(watcher.unwatched, 0);
    close_bench();
}

/* ---- several workers ------------------------------------------------------------------------- */

static int run_worker_of_number(void *number)
{
    return (int)run_worker(*(uint32_t *)number);
}

static int32_t map_and_count(const void *in, void *out, void *context)
{
    (void)context;
    atomic_fetch_add((_Atomic uint64_t *)out, answer(*(const uint64_t *)in));
    return 0;
}

static void of_several_workers_each_chunk_has_one_and_somebody_tells(void **state)
{
    pid_t pids[WORKERS];
    uint64_t *out;

    (void)state;
    open_bench();
    put_job(SLOT, JOB_MAP, (uintptr_t)map_and_count, MAX_ITEMS, 1, 0);
    /* Workers are processes here: the results lie where they share them. */
    out = (void *)(bench.region.memory.base + bench.region.words_offset +
                   bench.region.words_size / 2);
    bench.job->out = (uintptr_t)out;
    host_waits(HOST_WAITS);
    for (uint32_t i = 0; i < WORKERS; i++)
        put_ticket(the_id());
    no_more_tickets();
    for (uint32_t i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            _exit(run_worker_of_number(&i));
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, WORKER_LEFT << 8);
    }
    for (uint64_t i = 0; i < MAX_ITEMS; i++) {
        assert_int_equal(view(i).state, CHUNK_DONE);
        assert_int_equal(view(i).attempts, 1);
        assert_int_equal(out[i], answer(bench.in[i])); /* twice would be twice as much */
    }
    assert_true(is_ready(SLOT));
    assert_true(bytes_in_bell() >= 1);
    close_bench();
}

/* ---- tasks ----------------------------------------------------------------------------------- */

/* What a task finds out about itself. */
static struct {
    const void *input;
    size_t length;
    uint64_t index;
    int32_t worker;
    int cancelled_before;
    int cancelled_after;
    void *too_long;
    void *first;
    void *second;
} found;

static int32_t look_around(mproc_task *task, void *context)
{
    struct bench *self = context;

    memset(&found, 0, sizeof found);
    found.input = mproc_task_input(task, &found.length);
    found.index = mproc_task_index(task);
    found.worker = mproc_task_worker(task);
    found.cancelled_before = mproc_task_is_cancelled(task);
    found.too_long = mproc_task_output(task, 65);
    found.first = mproc_task_output(task, 64);
    found.second = mproc_task_output(task, 17);
    if (mproc_task_input(task, NULL) != found.input)
        return 1;
    if (self->failing_item == 0) { /* somebody stops it */
        mp_word_stop(self->words, atomic_load(self->words));
        found.cancelled_after = mproc_task_is_cancelled(task);
    }
    return 0;
}

static void put_task(mproc_task_fn function)
{
    put_job(SLOT, JOB_TASK, (uintptr_t)function, 1, 1, 0);
    bench.job->in_size = 24;
    bench.job->out_size = 64;
    bench.job->index = 12345;
    put_ticket(the_id());
    no_more_tickets();
}

static void a_task_is_told_what_it_is_and_its_output_has_the_last_length(void **state)
{
    (void)state;
    open_bench();
    put_task(look_around);
    assert_int_equal(run_worker(2), WORKER_LEFT);
    assert_int_equal(view(0).state, CHUNK_DONE);
    assert_ptr_equal(found.input, bench.in);
    assert_int_equal(found.length, 24);
    assert_int_equal(found.index, 12345);
    assert_int_equal(found.worker, 2);
    assert_int_equal(found.cancelled_before, 0);
    assert_null(found.too_long);
    assert_ptr_equal(found.first, bench.out);
    assert_ptr_equal(found.second, bench.out);
    assert_int_equal(outcome(0)->length, 17);
    close_bench();
}

static void a_task_sees_that_it_is_cancelled(void **state)
{
    (void)state;
    open_bench();
    bench.failing_item = 0;
    put_task(look_around);
    assert_int_equal(run_worker(2), WORKER_DOOMED);
    assert_int_equal(found.cancelled_before, 0);
    assert_int_equal(found.cancelled_after, 1);
    close_bench();
}

static void a_task_without_input_has_an_address_and_no_bytes(void **state)
{
    (void)state;
    open_bench();
    put_task(look_around);
    bench.job->in = 0;
    bench.job->in_size = 0;
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_non_null(found.input);
    assert_int_equal(found.length, 0);
    close_bench();
}

static int32_t ask_for_nothing(mproc_task *task, void *context)
{
    (void)task;
    (void)context;
    return 0;
}

static void a_task_that_asks_for_no_output_has_one_of_0_bytes(void **state)
{
    (void)state;
    open_bench();
    put_task(ask_for_nothing);
    outcome(0)->length = 99;
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(view(0).state, CHUNK_DONE);
    assert_int_equal(outcome(0)->length, 0);
    close_bench();
}

static int32_t give_and_fail(mproc_task *task, void *context)
{
    (void)context;
    return mproc_task_output(task, 10) ? -8 : 0;
}

static void a_task_that_fails_has_a_code_and_no_output(void **state)
{
    (void)state;
    open_bench();
    put_task(give_and_fail);
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(view(0).state, CHUNK_FAILED);
    assert_int_equal(outcome(0)->code, -8);
    assert_int_equal(outcome(0)->length, 0);
    assert_string_equal(outcome(0)->text, "");
    close_bench();
}

static void the_calls_of_a_task_accept_null(void **state)
{
    size_t length = 7;

    (void)state;
    assert_null(mproc_task_input(NULL, &length));
    assert_int_equal(length, 7);
    assert_null(mproc_task_input(NULL, NULL));
    assert_null(mproc_task_output(NULL, 0));
    assert_int_equal(mproc_task_index(NULL), 0);
    assert_int_equal(mproc_task_worker(NULL), -EINVAL);
    assert_int_equal(mproc_task_is_cancelled(NULL), -EINVAL);
}

/* ---- mproc_fail ------------------------------------------------------------------------------ */

static void the_code_of_a_failure_is_never_0(void **state)
{
    (void)state;
    assert_int_equal(mproc_fail(3, "x"), 3);
    assert_int_equal(mproc_fail(-3, NULL), -3);
    assert_int_equal(mproc_fail(INT32_MIN, ""), INT32_MIN);
    assert_int_equal(mproc_fail(0, "x"), -1);
    assert_int_equal(mproc_fail(0, NULL), -1);
}

static const char *said; /* by the item that fails */

static int32_t fail_saying(const void *in, void *out, void *context)
{
    (void)out;
    (void)context;
    if (*(const uint64_t *)in == 0) {
        mproc_fail(1, "said by an item that did not fail");
        return 0;
    }
    return said == NULL ? 6 : mproc_fail(0, said);
}

/* The text that reaches the outcome of the second item. */
static void assert_heard(const char *text, const char *heard)
{
    open_bench();
    said = text;
    put_job(SLOT, JOB_MAP, (uintptr_t)fail_saying, 2, 2, 0);
    bench.job->in = 0;
    memset(outcome(0)->text, 'o', sizeof outcome(0)->text);
    put_ticket(the_id());
    no_more_tickets();
    assert_int_equal(run_worker(0), WORKER_LEFT);
    assert_int_equal(view(0).state, CHUNK_FAILED);
    assert_int_equal(outcome(0)->code, text ? -1 : 6);
    assert_int_equal(outcome(0)->item, 1);
    assert_string_equal(outcome(0)->text, heard);
    close_bench();
}

static void a_text_is_cut_at_what_there_is_room_for(void **state)
{
    char text[2 * MPROC_TEXT_MAX], cut[MPROC_TEXT_MAX];

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    memset(cut, 'x', sizeof cut);
    cut[sizeof cut - 1] = '\0';
    assert_heard(text, cut);
    assert_heard(text + MPROC_TEXT_MAX - 1, text + MPROC_TEXT_MAX);
    assert_heard(cut, cut);
    assert_heard("", "");
}

static void a_text_of_an_earlier_item_is_not_that_of_the_failure(void **state)
{
    (void)state;
    assert_heard(NULL, "");
}

static const struct CMUnitTest tests[] = {
    TEST(every_chunk_of_a_map_is_run_once_and_its_results_are_in_place),
    TEST(items_of_no_input_are_their_own_index),
    TEST(each_worker_begins_at_a_place_of_its_own_and_goes_round),
    TEST(chunks_that_do_not_wait_are_left_alone),
    TEST(several_jobs_are_served_in_the_order_of_their_tickets),
    TEST(a_batch_is_called_once_for_a_chunk),
    TEST(a_batch_of_no_input_is_given_every_index_once),
    TEST(a_failing_batch_names_its_first_item),
    TEST(a_failing_item_ends_its_chunk_and_says_why),
    TEST(a_failing_chunk_is_announced_at_once),
    TEST(a_ticket_that_a_predecessor_left_is_taken_up),
    TEST(a_predecessors_ticket_comes_before_those_in_the_queue),
    TEST(the_ticket_is_in_the_record_while_it_is_served),
    TEST(the_record_names_the_item_that_is_run),
    TEST(a_worker_leaves_at_the_end_of_file_and_says_so),
    TEST(a_worker_without_its_pipe_ends_but_has_not_left),
    TEST(a_worker_that_cannot_read_its_pipe_has_not_left),
    TEST(a_file_of_the_users_at_the_number_of_the_pipe_is_not_read),
    TEST(a_stale_ticket_does_nothing),
    TEST(random_tickets_do_nothing),
    TEST(a_worker_says_that_it_is_idle_and_a_byte_wakes_it),
    TEST(bytes_too_many_wake_for_nothing_and_do_no_harm),
    TEST(who_looks_for_tickets_needs_no_byte),
    TEST(a_worker_whose_predecessor_died_asleep_is_not_idle),
    TEST(a_byte_for_a_dead_worker_wakes_another),
    TEST(on_words_a_worker_is_woken_and_leaves_when_the_queue_is_shut),
    TEST(on_words_what_is_in_the_queue_is_served_before_it_is_left),
    TEST(on_words_the_bell_rings_for_a_host_that_waits),
    TEST(on_words_who_outlives_his_generation_ends_and_touches_nothing),
    TEST(who_is_outlived_while_he_works_gives_up_no_ticket_but_his),
    TEST(words_that_cannot_be_are_not_looked_at),
    TEST(a_nonsensical_descriptor_fails_the_chunk),
    TEST(an_outcome_that_would_lie_elsewhere_is_not_written),
    TEST(the_bell_rings_only_for_a_host_that_waits),
    TEST(with_a_backlog_each_ticket_taken_is_told),
    TEST(a_full_bell_does_not_hold_a_worker_up),
    TEST(a_job_with_a_chunk_still_held_elsewhere_is_not_announced),
    TEST(a_job_whose_slot_was_reused_is_not_announced),
    TEST(a_job_that_has_ended_already_is_announced_again),
    TEST(a_worker_retires_after_its_items_with_the_ticket_noted),
    TEST(a_worker_that_retires_ends_its_chunk_first),
    TEST(the_last_chunk_of_a_retiring_worker_is_told_by_its_replacement),
    TEST(a_worker_whose_chunk_was_stopped_touches_nothing_more),
    TEST(a_dead_worker_leaves_its_ticket_and_one_chunk),
    TEST(a_limit_is_noted_for_each_chunk_and_gone_afterwards),
    TEST(a_limit_beyond_the_end_of_time_is_for_ever),
    TEST(without_a_limit_none_is_noted),
    TEST(no_chunk_runs_before_its_limit_is_noted),
    TEST(of_several_workers_each_chunk_has_one_and_somebody_tells),
    TEST(a_task_is_told_what_it_is_and_its_output_has_the_last_length),
    TEST(a_task_sees_that_it_is_cancelled),
    TEST(a_task_without_input_has_an_address_and_no_bytes),
    TEST(a_task_that_asks_for_no_output_has_one_of_0_bytes),
    TEST(a_task_that_fails_has_a_code_and_no_output),
    TEST(the_calls_of_a_task_accept_null),
    TEST(the_code_of_a_failure_is_never_0),
    TEST(a_text_is_cut_at_what_there_is_room_for),
    TEST(a_text_of_an_earlier_item_is_not_that_of_the_failure),
};

int main(void)
{
    return TEST_MAIN(tests);
}
