/* SPDX-License-Identifier: MIT */
/*
 * The supervisor over garbage: its functions that read shared memory, called in any order, between
 * writes of the fuzzer.  No process is made; what it would kill must be one of its own.
 */
#define _GNU_SOURCE
#include "world.h"

#include <errno.h>
#include <setjmp.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t pretend_fork(sigset_t *mask, const struct guard *own);
static int pretend_kill(pid_t pid, bool group, int signal);
static pid_t pretend_wait(pid_t pid, int *status, int options);
static _Noreturn void pretend_exit(int status);

#define mp_fork             pretend_fork
#define mp_kill             pretend_kill
#define waitpid             pretend_wait
#define setpgid(pid, group) ((void)(pid), (void)(group))
#define _exit               pretend_exit
#include "pool/bury.c"
#include "pool/child.c"
#include "pool/limit.c"
#include "pool/supervisor.c"

enum { WORKERS = 3, FIRST_PID = 1 << 24 }; /* no pid of Linux is so high */

static struct region region;
static struct seat seats[WORKERS];
static struct supervisor sup;
static pid_t next_pid;
static jmp_buf gone;

static pid_t pretend_fork(sigset_t *mask, const struct guard *own)
{
    (void)mask;
    (void)own;
    return take_byte() % 4 ? next_pid++ : -EAGAIN;
}

static int pretend_kill(pid_t pid, bool group, int signal)
{
    bool ours = false;

    (void)group;
    (void)signal;
    for (int i = 0; i < WORKERS; i++)
        ours |= seats[i].pid == pid;
    must(ours && pid >= FIRST_PID);
    return 0;
}

static pid_t pretend_wait(pid_t pid, int *status, int options)
{
    (void)status;
    (void)options;
    return pid;
}

static _Noreturn void pretend_exit(int status)
{
    (void)status;
    longjmp(gone, 1);
}

/* ---- what somebody writes -------------------------------------------------------------------- */

static void write_word(void)
{
    uint64_t word = (uint64_t)mp_job_id(take_byte() % 4, 1) << 32 |
                    (uint64_t)(take_byte() % 4) << 16 | (uint64_t)take_byte() << 8 |
                    take_byte() % (CHUNK_STATE_COUNT + 1U);

    if (take_byte() % 2)
        atomic_store(&mp_region_job(&region, take_byte() % 4)->word, word);
    else
        atomic_store(mp_region_word(&region, region.words_offset + take_byte() * 8U), word);
}

/* A descriptor as the host writes it, or with a number in it that it does not. */
static void write_job(void)
{
    uint32_t slot = take_byte() % 4;
    struct job_shm *job = mp_region_job(&region, slot);
    bool one = take_byte() % 2;

    atomic_store(&job->words,
                 one ? region.jobs_offset + slot * sizeof *job + offsetof(struct job_shm, word)
                     : region.words_offset + take_byte() * 8U);
    atomic_store(&job->chunks, one ? 1 : take_byte());
    job->outcomes =
        one ? region.jobs_offset + slot * sizeof *job + offsetof(struct job_shm, outcome)
            : region.heap_offset;
    atomic_store(&job->retries, take_byte());
    if (take_byte() % 2)
        atomic_store(&job->chunks, take_number());
    if (take_byte() % 4 == 0)
        atomic_store(&job->words, region.words_offset + take_number());
    if (take_byte() % 4 == 0)
        job->outcomes = region.heap_offset + take_number();
}

static void write_record(void)
{
    struct worker_shm *record = mp_region_worker(&region, take_byte() % WORKERS);

    atomic_store(&record->ticket, take_byte() % 2 ? mp_job_id(take_byte() % 4, 1) : take_number());
    atomic_store(&record->claim, region.words_offset + take_number());
    atomic_store(&record->deadline, (int64_t)take_number());
    atomic_store(&record->item, take_number());
    atomic_store(&record->up, take_byte() % 2);
    atomic_store(&record->left, take_byte() % 2);
}

static void write_anything(void)
{
    uint64_t value = take_number();
    size_t at = (size_t)(take_byte() << 16 | take_byte() << 8 | take_byte()) %
                (region.memory.size - sizeof value);

    memcpy(region.memory.base + at, &value, sizeof value);
}

/* ---- what the supervisor does ---------------------------------------------------------------- */

static void do_something(void)
{
    uint32_t number = take_byte() % WORKERS;

    switch (take_byte() % 12) {
    case 0:
    case 1:
        if (seats[number].pid)
            worker_gone(&sup, number, seats[number].pid, take_byte() << 8 | take_byte());
        break;
    case 2:
        kill_stopping(&sup);
        break;
    case 3:
        mp_expire_all(&sup);
        break;
    case 4:
        start_due(&sup);
        break;
    case 5:
        atomic_store(&mp_region_pool(&region)->slots, (uint32_t)take_number());
        note_slots(&sup);
        break;
    case 6:
        write_word();
        break;
    case 7:
    case 8:
        write_job();
        break;
    case 9:
    case 10:
        write_record();
        break;
    default:
        write_anything();
    }
}

static void nobody_works(void)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mproc_pool_options options = {.size = sizeof options};
    int fds[GENERATION_FDS];

    world_begin(data, size, nobody_works);
    must(mp_region_open(&region, WORKERS, 65536) == 0);
    mp_region_reset(&region);
    memset(seats, 0, sizeof seats);
    memset(fds, -1, sizeof fds);
    next_pid = FIRST_PID;
    sup = (struct supervisor){
        .region = &region, .options = &options, .fds = fds, .seats = seats, .slots = 4};
    for (int i = 0; i < WORKERS; i++)
        seats[i] = (struct seat){.pid = next_pid++, .bond = {-1, -1}};
    if (setjmp(gone) == 0)
        while (!input_is_over())
            do_something();
    mp_region_close(&region);
    return 0;
}
