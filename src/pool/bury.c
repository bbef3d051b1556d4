/* SPDX-License-Identifier: MIT */
/*
 * What a worker holds in shared memory: found for the supervisor, and mended when the worker is dead.
 * Runs in the supervisor, which trusts nothing that it reads there.
 */
#include "supervisor.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>

#include "diary.h"

enum { FOREIGN_WORDS_MAX = 512 }; /* in a row, a page of them: beyond, the job has no words */

/* ---- what a worker holds --------------------------------------------------------------------- */

/* The job whose ticket is in a worker's record; NULL: none. */
static const struct job_shm *job_of(const struct supervisor *sup, uint32_t number)
{
    /* Acquire: pairs with the worker's release, by which what it saw of the job is seen here. */
    uint64_t ticket =
        atomic_load_explicit(&mp_region_worker(sup->region, number)->ticket, memory_order_acquire);

    if (!ticket || mp_job_slot((uint32_t)ticket) >= MP_SLOTS)
        return NULL;
    return mp_region_job(sup->region, mp_job_slot((uint32_t)ticket));
}

/* The words of a job, as many as there seem to be for who does not trust its descriptor: they name
 * its slot.  A count that somebody scribbled on would have this process go through all the memory
 * there is for words, which becomes real by being read. */
static chunk_word *words_of(const struct supervisor *sup, const struct job_shm *job,
                            uint64_t *chunks)
{
    uint32_t slot = (uint32_t)(job - mp_region_job(sup->region, 0));
    uint32_t foreign = 0;
    uint64_t count = 0;
    chunk_word *words = mp_region_words(sup->region, job, &count);

    *chunks = count;
    for (uint64_t i = 0; i < *chunks; i++) {
        /* Relaxed: a guess; and of a job whose chunk a dead worker holds no word changes its
         * slot. */
        uint32_t id = mp_word_view(atomic_load_explicit(&words[i], memory_order_relaxed)).id;

        foreign = id && mp_job_slot(id) == slot ? 0 : foreign + 1; /* no job has the id 0 */
        if (foreign == FOREIGN_WORDS_MAX)
            *chunks = i;
    }
    return words;
}

bool mp_holds_chunk(const struct supervisor *sup, uint32_t number, enum chunk_state state)
{
    const struct job_shm *job = job_of(sup, number);
    uint64_t chunks = 0;
    chunk_word *words = job ? words_of(sup, job, &chunks) : NULL;

    for (uint64_t i = 0; i < chunks; i++) {
        struct chunk_view view =
            mp_word_view(atomic_load_explicit(&words[i], memory_order_acquire));

        if (view.state == state && view.worker == number)
            return true;
    }
    return false;
}

/* ---- burial ---------------------------------------------------------------------------------- */

struct corpse {
    const struct supervisor *sup;
    const struct job_shm *job;
    uint32_t number;
    uint64_t chunk;
    enum chunk_state became; /* CHUNK_NONE: it held none */
    pid_t pid;
    int status; /* of waitpid */
};

static void fill_outcome(const struct corpse *dead)
{
    struct outcome_shm *outcome = mp_region_outcome(dead->sup->region, dead->job, dead->chunk);
    const struct worker_shm *record = mp_region_worker(dead->sup->region, dead->number);
    int64_t began = atomic_load_explicit(&record->began, memory_order_relaxed);
    int64_t now = mp_now_coarse();

    if (!outcome)
        return;
    outcome->code = WIFEXITED(dead->status) ? WEXITSTATUS(dead->status) : 0;
    outcome->signal = WIFSIGNALED(dead->status) ? WTERMSIG(dead->status) : 0;
    outcome->pid = (int32_t)dead->pid;
    outcome->worker = dead->number;
    outcome->item = atomic_load_explicit(&record->item, memory_order_relaxed);
    outcome->length = 0;
    /* 0, too: it died between the claim and the note of it. */
    outcome->ran_ns = began > 0 && began < now ? now - began : 0;
    outcome->text[0] = '\0';
}

static sigjmp_buf no_page;

static void on_no_page(int signal)
{
    (void)signal;
    siglongjmp(no_page, 1);
}

/* In memory that nobody has touched; a machine that has no more says so by SIGBUS, and then it stays
 * unwritten. */
static void write_outcome(void *arg)
{
    struct sigaction action = {.sa_handler = on_no_page, .sa_flags = (int)SA_RESETHAND};

    if (sigsetjmp(no_page, 1))
        return;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
    fill_outcome(arg);
    signal(SIGBUS, SIG_DFL);
}

/* End the chunk of this job that the dead worker held.  False: it held none. */
static bool bury_in(struct corpse *dead, const struct job_shm *job)
{
    /* Relaxed: of a job whose chunk it held the host changes nothing; another's does not matter. */
    unsigned retries = atomic_load_explicit(&job->retries, memory_order_relaxed);
    uint64_t chunks;
    chunk_word *words = words_of(dead->sup, job, &chunks);

    dead->job = job;
    for (dead->chunk = 0; dead->chunk < chunks; dead->chunk++) {
        dead->became = mp_word_bury(&words[dead->chunk], dead->number, retries,
                                    dead->sup->seats[dead->number].expired, write_outcome, dead);
        if (dead->became != CHUNK_NONE)
            return true;
    }
    return false;
}

/* What a dead worker cannot write down itself. */
static void tell_diary(const struct supervisor *sup, uint32_t number, const struct job_shm *job)
{
    const struct worker_shm *record = mp_region_worker(sup->region, number);
    uint64_t item = atomic_load_explicit(&record->item, memory_order_relaxed);

    mp_diary_lost_chunk(sup->self, number, item + (job ? job->index : 0),
                        atomic_load_explicit(&record->began, memory_order_relaxed));
}

void mp_bury_untold(const struct supervisor *sup, uint32_t number)
{
    const struct worker_shm *record = mp_region_worker(sup->region, number);

    if (mp_diary_traces() && atomic_load_explicit(&record->began, memory_order_relaxed) > 0)
        tell_diary(sup, number, job_of(sup, number));
}

static bool bury_anywhere(struct corpse *dead)
{
    for (uint32_t slot = 0; slot < dead->sup->slots; slot++)
        if (bury_in(dead, mp_region_job(dead->sup->region, slot)))
            return true;
    return false;
}

/* The ticket says which job to look at; but a task may have scribbled over that, so if there is none
 * the chunk is looked for everywhere. */
enum chunk_state mp_bury(const struct supervisor *sup, uint32_t number, pid_t pid, int status)
{
    struct corpse dead = {
        .sup = sup, .number = number, .became = CHUNK_NONE, .pid = pid, .status = status};
    const struct job_shm *job = job_of(sup, number);

    if (((job && bury_in(&dead, job)) || bury_anywhere(&dead)) && mp_diary_traces())
        tell_diary(sup, number, dead.job);
    return dead.became;
}
