/* SPDX-License-Identifier: MIT */
/*
 * The crew as threads of the host, in place of src/pool/crew.c, so that a race detector sees both
 * sides of every word of shared memory.  Nobody can be killed here: a worker that is to be stopped
 * ends its task, finds that its chunk was taken from it, and is then buried and replaced by itself.
 */
#include "pool/generation.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "pool/worker.h"

struct crew {
    struct list link;
    struct generation *generation;
    const struct region *region;
    int wake;
    pthread_mutex_t bell_lock; /* for who writes beside a worker, and for the close */
    int bell;
    int loop;
    int control;
    uint32_t tasks_per_worker;
    int32_t spin_us;
    pthread_t supervisor;
    pthread_t ender;
    uint32_t count;
    pthread_t workers[];
};

struct start {
    struct crew *crew;
    uint32_t number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list crews = LIST_INIT(crews);

static void no_outcome(void *arg)
{
    (void)arg;
}

static void ring(const struct crew *crew)
{
    if (crew->region->on_words)
        mp_bell_ring(crew->region);
    else
        mp_ring(crew->bell);
    mp_ring(crew->loop);
}

/* What the supervisor does for a worker that is gone. */
static void mend(const struct crew *crew, uint32_t number)
{
    struct pool_shm *pool = mp_region_pool(crew->region);
    uint64_t ticket =
        atomic_load_explicit(&mp_region_worker(crew->region, number)->ticket, memory_order_acquire);
    uint64_t chunks;
    chunk_word *words = mp_region_words(
        crew->region, mp_region_job(crew->region, mp_job_slot((uint32_t)ticket)), &chunks);

    for (uint64_t i = 0; words && i < chunks; i++)
        mp_word_bury(&words[i], number, 0, false, no_outcome, NULL);
    mp_queue_look_away(crew->region, number);
    atomic_fetch_add_explicit(&pool->deaths, 1, memory_order_seq_cst);
    ring(crew);
}

static void *work(void *arg)
{
    struct start start = *(struct start *)arg;
    struct crew *crew = start.crew;

    free(arg);
    for (;;) {
        struct worker worker = {.region = crew->region,
                                .number = start.number,
                                .wake = crew->wake,
                                .bell = crew->bell,
                                .loop = crew->loop,
                                .items_left = crew->tasks_per_worker,
                                .patience = {.spin_us = crew->spin_us}};

        if (mp_worker_run(&worker) == WORKER_LEFT)
            return NULL;
        mend(crew, start.number);
    }
}

/* Answers pokes. */
static void *supervise(void *arg)
{
    struct crew *crew = arg;
    char byte;

    while (mp_read(crew->control, &byte, 1) > 0) {
        pthread_mutex_lock(&crew->bell_lock);
        if (crew->bell >= 0)
            ring(crew);
        pthread_mutex_unlock(&crew->bell_lock);
    }
    return NULL;
}

/* When all workers have left, the bell ends. */
static void *end_bell(void *arg)
{
    struct crew *crew = arg;

    for (uint32_t i = 0; i < crew->count; i++)
        pthread_join(crew->workers[i], NULL);
    pthread_mutex_lock(&crew->bell_lock);
    crew->bell = mp_close(crew->bell);
    crew->loop = mp_close(crew->loop);
    mp_generation_end_bells(crew->generation);
    pthread_mutex_unlock(&crew->bell_lock);
    return NULL;
}

static void start_workers(struct crew *crew)
{
    for (uint32_t i = 0; i < crew->region->workers; i++) {
        struct start *start = malloc(sizeof *start);

        if (!start)
            abort();
        *start = (struct start){crew, i};
        if (pthread_create(&crew->workers[crew->count++], NULL, work, start))
            abort();
    }
}

int mp_crew_start(struct generation *generation, struct supervisor *sup)
{
    struct crew *crew = calloc(1, sizeof *crew + sup->region->workers * sizeof crew->workers[0]);

    if (!crew)
        return -ENOMEM;
    pthread_mutex_init(&crew->bell_lock, NULL);
    crew->generation = generation;
    crew->region = sup->region;
    crew->wake = generation->fds[WAKE_READ];
    crew->bell = generation->fds[BELL_WRITE];
    crew->loop = generation->fds[LOOP_WRITE];
    crew->control = generation->fds[CONTROL_READ];
    crew->tasks_per_worker = sup->options->tasks_per_worker;
    crew->spin_us = sup->options->spin_us;
    generation->fds[BELL_WRITE] = -1;
    generation->fds[LOOP_WRITE] = -1;
    generation->fds[WATCH] = mp_close(generation->fds[WATCH]); /* there is no process to watch */
    start_workers(crew);
    if (pthread_create(&crew->supervisor, NULL, supervise, crew) ||
        pthread_create(&crew->ender, NULL, end_bell, crew))
        abort();
    pthread_mutex_lock(&lock);
    list_append(&crews, &crew->link);
    pthread_mutex_unlock(&lock);
    return 0;
}

void mp_crew_kill(struct generation *generation)
{
    (void)generation;
}

int mp_crew_wait(struct generation *generation, int64_t deadline)
{
    struct crew *crew;
    struct list *link;

    (void)deadline;
    pthread_mutex_lock(&lock);
    for (link = crews.next; link != &crews; link = link->next)
        if (LIST_ENTRY(link, struct crew, link)->generation == generation)
            break;
    list_remove(link);
    pthread_mutex_unlock(&lock);
    mp_generation_kill(generation, GRACE_MS); /* ends the reading of the control pipe */
    crew = LIST_ENTRY(link, struct crew, link);
    pthread_join(crew->supervisor, NULL);
    pthread_join(crew->ender, NULL);
    pthread_mutex_destroy(&crew->bell_lock);
    free(crew);
    return 0;
}
