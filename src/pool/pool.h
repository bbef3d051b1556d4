/* SPDX-License-Identifier: MIT */
/*
 * pool.h: a pool as the host holds it, in private memory, and the path of a task through the files
 * of this folder:
 *
 *     submit.c       a job gets a slot, memory, chunk words and tickets
 *     worker.c       a worker takes a ticket, claims chunks, rings; run.c: how it runs them
 *     supervisor.c   what happens when a worker dies; limit.c: when one is too slow; child.c: how one
 *                    begins; bury.c: what is mended when it ends
 *     wait.c         the host waits; gather.c: it looks, and sees that the job has ended; chunk.c:
 *                    what it reads
 *     loop.c         the same from within an event loop of the program
 *     inline.c       a pool without processes: the host runs the tasks itself
 *     map.c          many items as a few jobs, results in order; section.c: one after the other;
 *                    bytes.c: of any length; future.c: one task as one job
 *     pool.c         the life of it all; generation.c: its pipes, crew.c: its processes; shared.c:
 *                    memory for the program
 *     progress.c     how far a map has come
 *     stats.c        what a pool has done, in numbers; meter.c: what its workers note of that
 *     diary.c        what the environment asks to be written down meanwhile
 *
 * Everything here is guarded by pool->lock unless it says otherwise.  The lock is never shared with
 * another process.
 */
#ifndef MP_POOL_H
#define MP_POOL_H

#include <mproc/pool.h>

#include <pthread.h>

#include "../shm/arena.h"
#include "../shm/queue.h"
#include "../shm/region.h"
#include "generation.h"

/*
 * A job: n items in c chunks, in a slot of the shared table.
 * Life: mp_job_create() -> the owner fills in the inputs -> mp_job_post() -> open, until
 * mp_look() sees every chunk ended -> ended, its slot free for another -> mp_job_finish().
 */
struct job {
    struct mproc_pool *pool;
    struct list in_open;    /* while posted and not ended */
    struct list in_backlog; /* while tickets are due */
    uint32_t id;
    uint32_t tickets_due;
    uint32_t first_tickets; /* so many at once; 0: one for each worker that could help */
    struct job_shm *shared; /* its descriptor; written until the job is posted, never read */
    chunk_word *words;      /* the host's own pointers into shared memory, here and below */
    uint64_t chunks;
    struct outcome_shm *outcomes;
    char *in;
    char *out;
    uint64_t count;
    uint64_t chunk_items;
    uint64_t out_size;
    uint64_t in_bytes;
    struct block *words_block; /* NULL: the word is in the descriptor */
    struct block *block;       /* context, inputs, outputs, outcomes; NULL: none was needed */
    size_t touched;            /* bytes of the block that were written, about */
    uint64_t ended_below;      /* each chunk below was seen terminal, and that is for ever */
    bool stop_at_failure;      /* close it at the first failed chunk */
    bool failed;               /* one of those below has failed */
    bool closing;              /* what is not begun is not to be */
    bool stopping;             /* and what runs is to be killed */
    bool limited;              /* it has a time limit */
    bool goes_on;              /* see struct job_spec */
    bool ended;
    bool distrusted; /* what a worker wrote of it is not believed: the pool was poisoned */
    int unfinished;  /* why a chunk has not ended, in a job that has: -errno or MPROC_E… */
    void (*on_end)(struct job *job); /* called once, with the lock held; may be NULL */
};

/* What a job is to be. */
struct job_spec {
    enum job_kind kind;
    uintptr_t function;
    void *context;
    size_t context_size; /* 0: the pointer itself */
    const void *in;      /* NULL: none, or the index */
    size_t in_size;      /* of one item; of a task: its length */
    bool in_place;       /* the workers have `in` from the fork */
    void *out;           /* used in place if it is the pool's own memory */
    size_t out_size;     /* of one result; of a task: the most it may be */
    uint64_t count;
    uint64_t chunk_items;
    uint64_t index; /* of the first item */
    bool goes_on;   /* a part of what was begun: a pool that was closed meanwhile takes it */
    int64_t limit_ns;
    uint32_t retries;
};

/* Items of a map. */
struct count {
    uint64_t done;   /* that have ended by themselves */
    uint64_t failed; /* of these */
};

/* Of one map, while it runs: who is to be told how far it has come.  Needs no lock. */
struct progress {
    mproc_progress_fn callback; /* NULL: nobody */
    void *arg;
    uint64_t total;
    int64_t began;
    int64_t next;     /* when to tell; MP_FOREVER: never */
    int64_t counting; /* how long that took the last time */
};

/* A thread that waits until done(arg). */
struct waiter {
    struct list link;
    pthread_cond_t *wake; /* its own, or the pool's spare one: it may wake for nothing */
    bool (*done)(const void *arg);
    const void *arg;
};

/* The program's event loop, if it has one. */
struct loop {
    bool on;       /* it asked for the descriptor */
    int fd;        /* the descriptor, the program's to poll and ours to close; -1: none */
    uint64_t told; /* jobs whose end it knows of */
    struct guard guard;
};

/* The crew of a pool without processes: see inline.c.  `is_up` to `loop` are of the thread that serves,
 * or of the one that starts the pool. */
struct inline_crew {
    bool serving; /* a thread does */
    bool is_up;   /* the init function was called, the exit function not yet */
    uint32_t items_left;
    int bell;
    int loop;
};

/* The time that it may take to stop a task.  With the graces of generation.h: a call returns within
 * two seconds of its limit, whatever the workers do. */
enum { STOP_MS = 1000 };

enum { SLOTS_PER_COMMIT = MP_SLOTS < 64 ? MP_SLOTS : 64 }; /* their pages are made real together */

/* A place in the shared table of jobs. */
struct slot {
    struct job *job;    /* NULL: free */
    uint32_t next_free; /* a chain of free ones that were used before */
    uint16_t tag;       /* of its last job */
};

struct mproc_pool {
    unsigned epoch; /* set once: the process it belongs to */
    mproc_pool_options options;
    struct region region;
    struct guard memory_guard;

    pthread_mutex_t lock;
    pthread_condattr_t monotonic; /* for the waiters' conditions */
    pthread_cond_t spare;         /* for those that get none of their own */
    uint32_t references;          /* the handle and each future */

    struct generation generation;
    bool closed;
    bool terminated;
    bool restarting;
    bool starting; /* a new generation is being started, without the lock */
    bool poisoned; /* something impossible was read; the generation is being killed */
    char why_broken[MPROC_TEXT_MAX];

    struct arena words;
    struct arena heap;
    struct block **shared; /* what mproc_pool_alloc() gave, by address */
    size_t shared_count;
    size_t shared_room;

    struct slot *slots;  /* MP_SLOTS of them */
    uint32_t first_free; /* MP_SLOTS: none */
    uint32_t slots_used; /* the slots below were used; their descriptors have pages */
    uint32_t slots_committed;
    struct list open;
    uint32_t maps; /* calls that may post more jobs */
    struct list backlog;
    struct queue_end queue; /* of tickets */
    bool counted_on;        /* for some nobody was woken: somebody seemed to look out for them */
    uint64_t ended;         /* jobs, ever */
    uint64_t news;          /* these, and those closed for a failure: of note to who waits */
    uint32_t limited;       /* open jobs with a limit */
    int64_t least_limit_ns; /* of theirs */

    struct list waiters;
    int32_t cpus;             /* that this process may run on */
    struct patience patience; /* the sleeper's, before it sleeps */
    struct waiter *sleeper;   /* the one who sleeps on the bell, without the lock; NULL: nobody */
    uint64_t deaths_seen;
    uint64_t lost_seen;
    struct loop loop;
    struct inline_crew crew;

    bool shows_progress; /* of maps that do not say: the environment asks for it */

    /* For stats.c. */
    int64_t born;
    uint64_t restarts;
    uint64_t bytes_in;
    uint64_t bytes_out;
};

/* ---- pool.c ---------------------------------------------------------------------------------- */

/* 0, -EINVAL for NULL, MPROC_EFOREIGN.  Needs no lock. */
int mp_pool_check(const mproc_pool *pool);
void mp_pool_lock(mproc_pool *pool);
void mp_pool_unlock(mproc_pool *pool);
/* Drop a reference, with the lock held, and let go of the lock. */
void mp_pool_unref(mproc_pool *pool);
/* 0, or why no job can be posted now.  `goes_on` as in struct job_spec. */
int mp_pool_accepts(const mproc_pool *pool, bool goes_on);
/* A closed pool with nothing open, and nothing more to come: the workers may leave. */
void mp_pool_shut_if_done(mproc_pool *pool);

/* The time limit and the retries of a call, or the pool's (NULL: it has none) where the call says
 * nothing; -EINVAL. */
int mp_resolve_limits(const mproc_pool *pool, int64_t time_limit_ms, int32_t retries,
                      struct job_spec *spec);

/* ---- shared.c -------------------------------------------------------------------------------- */

/* Did mproc_pool_alloc() give [memory, memory + size)?  1: yes; 0: it is none of the pool's memory;
 * -EFAULT: it is, but another's, such as a result; -EINVAL: only partly. */
int mp_pool_owns(const mproc_pool *pool, const void *memory, size_t size);

/* ---- submit.c -------------------------------------------------------------------------------- */

/* Tell the supervisor how far the descriptors have pages. */
void mp_publish_slots(mproc_pool *pool);
/* Find room for a job and describe it; what is to be copied is not copied yet.  *job is the
 * caller's memory.  On an error nothing is left behind. */
int mp_job_create(mproc_pool *pool, struct job *job, const struct job_spec *spec);
/* How many bytes of each item are copied, in and out; an error of mp_job_create(). */
int mp_job_copies(const mproc_pool *pool, const struct job_spec *spec, size_t *size);
/* Copy context and inputs.  Without the lock. */
void mp_job_fill(struct job *job, const struct job_spec *spec);
/* Publish the chunks and post tickets; on an error the caller finishes the job. */
int mp_job_post(struct job *job, int64_t limit_ns);
/* Post `count` more tickets for a job, or as many as there are workers if that is less. */
void mp_job_post_tickets(struct job *job, uint64_t count);
void mp_backlog_flush(mproc_pool *pool);
/* Before a thread sleeps: wake who could take the tickets that nobody has taken. */
void mp_wake_stranded(mproc_pool *pool);
/* See to it that the host can read the first `length` bytes of the outputs, also where a task did
 * not write them and the machine has no more memory: -ENOSPC. */
int mp_job_commit_output(struct job *job, size_t length);
/* The slot may be reused; the memory stays until mp_job_finish(). */
void mp_job_release_slot(struct job *job);
void mp_job_finish(struct job *job);

/* ---- chunk.c --------------------------------------------------------------------------------- */

struct chunk_view mp_chunk_view(const struct job *job, uint64_t chunk);
/* Could this word be there? */
bool mp_chunk_is_plausible(const struct job *job, struct chunk_view view);
/* The first chunk from `chunk` on of an ended job that was not done at once: those before it have no
 * error. */
uint64_t mp_job_pass_done(const struct job *job, uint64_t chunk);
/* How chunk `chunk` of an ended job ended: 0 or the error; the second with all that is known of it. */
int mp_job_error(const struct job *job, uint64_t chunk);
int mp_job_status(const struct job *job, uint64_t chunk, mproc_failure *failure);
/* Copy a failure to a caller's struct of any release; NULL is fine if nothing is wanted. */
int mp_failure_give(mproc_failure *to, const mproc_failure *from);
/* A failure that says why the pool is broken. */
void mp_failure_broken(mproc_pool *pool, mproc_failure *to);

/* ---- gather.c -------------------------------------------------------------------------------- */

/* Look at whatever there may be to see.  True: some job has ended, or is closed for a failure. */
bool mp_look(mproc_pool *pool);
/* Cancel what is not begun of a job; with `stop`, kill what runs.  Ends the job if that ends it. */
void mp_job_close(struct job *job, bool stop);
/* Something impossible was read from shared memory: the workers are killed, the pool is broken. */
void mp_pool_poison(mproc_pool *pool, const char *what);
/* No process of the generation is left, or none that could be helped: end every open job. */
void mp_generation_died(mproc_pool *pool);

/* ---- wait.c ---------------------------------------------------------------------------------- */

/* Wait until done(arg), which is asked with the lock held.  0 or -ETIMEDOUT. */
int mp_wait(mproc_pool *pool, bool (*done)(const void *arg), const void *arg, int64_t deadline);
/* Wait for a job that was told to stop; if it has not by the deadline, the pool is poisoned. */
void mp_job_wait_stopped(struct job *job, int64_t deadline);
/* The same for whoever does not wait, or only if a worker has died; who waits is told. */
bool mp_pool_look(mproc_pool *pool, bool only_deaths);
/* Make all who wait look whether they still need to. */
void mp_wake_waiters(mproc_pool *pool);
/* Somebody has to sleep on the bell, if anybody waits at all. */
void mp_hand_over(mproc_pool *pool);

/* ---- progress.c ------------------------------------------------------------------------------ */

bool mp_progress_from_environment(void);
void mp_progress_begin(struct progress *progress, const mproc_pool *pool,
                       const mproc_map_options *options, uint64_t total);
bool mp_progress_is_due(const struct progress *progress);
/* Add what has ended of a job; with the lock held, or of an ended one. */
void mp_progress_count(struct progress *progress, const struct job *job, struct count *count);
/* Without the lock. */
void mp_progress_tell(struct progress *progress, const struct count *count, bool over);

/* ---- inline.c: for all pools to call, and only those with `in_process` are changed by it ------- */

/* The generation was started: call the init function. */
void mp_inline_begin(mproc_pool *pool);
/* Serve what was posted, with the lock held; true: there was something, and the lock was let go of
 * meanwhile. */
bool mp_inline_work(mproc_pool *pool);
/* Is this a task of that pool, in the process that made it? */
bool mp_inline_serves(const mproc_pool *pool);

/* ---- loop.c ---------------------------------------------------------------------------------- */

/* If there is a loop: what it wants to be rung for, HOST_WAITS or HOST_HAS_BACKLOG. */
void mp_loop_wants(mproc_pool *pool, uint32_t what);
/* If there is a loop: see to it that it steps, for something that no worker rings for. */
void mp_loop_ring(mproc_pool *pool);
/* A new generation was started: its bell is the loop's from now on. */
void mp_loop_renew(mproc_pool *pool);
void mp_loop_close(mproc_pool *pool);

/* ---- future.c -------------------------------------------------------------------------------- */

/* Wait until the task is done: 0 or -ETIMEDOUT; the second as mp_job_wait_stopped(). */
int mp_future_wait_until(mproc_future *future, int64_t deadline);
void mp_future_wait_stopped(mproc_future *future, int64_t deadline);
/* Cancel the task if it is not begun; with `stop`, kill it if it runs. */
void mp_future_close(mproc_future *future, bool stop);
/* mproc_pool_submit() with the index of an item, which above 0 goes on with what was begun; options are
 * checked already. */
int mp_submit(mproc_pool *pool, mproc_future **future, mproc_task_fn fn, void *ctx, const void *in,
              size_t in_size, uint64_t index, const mproc_submit_options *options);

#endif
