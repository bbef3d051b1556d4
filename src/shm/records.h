/* SPDX-License-Identifier: MIT */
/*
 * records.h: what lies in the shared memory of a pool.  Types only.  Everything here can be written
 * by any worker that has gone wrong: the host copies what it reads once, checks it against its own
 * tables, and then uses it.
 *
 * Offsets count from the start of the mapping.  The four addresses of a job are those of the
 * program (code, context, inputs and outputs may lie in memory that the workers have from the
 * fork); the host writes them and never reads them back.
 */
#ifndef MP_RECORDS_H
#define MP_RECORDS_H

#include <stdatomic.h>
#include <stdint.h>

#include "word.h"

/* A job's id is {slot, tag}; a build for tests makes both small, to see tags come round. */
#ifndef MP_TAG_BITS
#define MP_TAG_BITS 16
#endif
#ifndef MP_SLOTS
#define MP_SLOTS 65536
#endif
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "no lock may stand behind an atomic here");
#ifndef MP_QUEUE_SIZE
#define MP_QUEUE_SIZE 8192
#endif
_Static_assert(MP_SLOTS <= 1 << 16 && MP_TAG_BITS <= 16, "an id has 32 bits");

enum { CACHE_LINE = 64, WORKER_TEXT_MAX = 200 };

/* host_waits, loop_waits */
enum {
    HOST_AWAKE = 0,
    HOST_WAITS = 1,       /* ring when a job has ended */
    HOST_HAS_BACKLOG = 2, /* and when a ticket was taken from the queue, which was full */
};

/*
 * How a chunk ended, beside its word.
 * Who writes: the worker that holds the chunk, before its finishing CAS; the supervisor, when that
 * worker is dead.  Safe: there is one holder at a time, and the word publishes it.
 * A chunk of a map that is DONE leaves it untouched.
 */
struct outcome_shm {
    int32_t code; /* what the function returned; the exit status of a dead worker */
    int32_t signal;
    int32_t pid;
    uint32_t worker;
    uint64_t item;   /* the failing item */
    uint64_t length; /* of a task's output */
    int64_t ran_ns;  /* how long the chunk had been run */
    char text[WORKER_TEXT_MAX];
};

enum job_kind { JOB_MAP, JOB_BATCH, JOB_TASK };

/*
 * The descriptor of the job in a slot.
 * Who writes: the host, only while no chunk of the slot is open.  Safe: a worker reads the first
 * three without holding a chunk, as a guess (relaxed; checked against the bounds of the words'
 * memory, and confirmed by the claim), the rest only while it holds one.
 */
struct job_shm {
    _Alignas(CACHE_LINE) _Atomic uint64_t words; /* offset of the first chunk word */
    _Atomic uint64_t chunks;
    _Atomic int64_t limit_ns; /* for each chunk; 0: none */
    uint64_t function;        /* address */
    uint64_t context;         /* address */
    uint64_t in;              /* address of item 0; 0: each item is its own index */
    uint64_t out;             /* address of result 0 */
    uint64_t in_size;         /* of an item */
    uint64_t out_size;        /* of a result; of a task: the most it may be */
    uint64_t count;           /* items */
    uint64_t chunk_items;     /* items in a chunk; the last has what is left */
    uint64_t outcomes;        /* offset of the first outcome_shm */
    uint64_t index;           /* the number of item 0 */
    uint32_t kind;
    _Atomic uint32_t retries; /* as the first three, for the supervisor */
    /* A job of one chunk has its word and its outcome here. */
    _Alignas(CACHE_LINE) chunk_word word;
    _Alignas(CACHE_LINE) struct outcome_shm outcome;
};

/* One of the items that took a worker longest. */
struct slow_shm {
    _Atomic uint64_t index; /* of the first of its chunk */
    _Atomic uint64_t count; /* in the chunk */
    _Atomic int64_t ran_ns;
};

enum { SLOW_ITEMS = 5 };

/*
 * The ticket queue.
 * Who writes: the host the tail and the entries from it on, the workers the head, by
 * compare-and-swap.  Safe: an entry is overwritten only when the head is past it; see queue.h.
 */
struct queue_shm {
    _Alignas(CACHE_LINE) _Atomic uint64_t tail; /* tickets ever pushed */
    _Alignas(CACHE_LINE) _Atomic uint64_t head; /* tickets ever popped */
    /* The host's, both.  Workers that sleep on a word sleep on the first, which says how many were
     * woken; the second is even, odd once the queue is shut, and another for each generation. */
    _Alignas(CACHE_LINE) _Atomic uint32_t wakes;
    _Atomic uint32_t era;
    /* The id of a job, each: ticket number i lies in place i % MP_QUEUE_SIZE. */
    _Alignas(CACHE_LINE) _Atomic uint32_t tickets[MP_QUEUE_SIZE];
};

/*
 * What a worker leaves for the supervisor and for its replacement.
 * Who writes: the worker with this number; the supervisor zeroes `up`, `left`, `deadline` and `began`,
 * and adds to `busy_ns`, while there is none.  Below the first line it is all for people to read:
 * counts that go on from one worker to its replacement, and are only numbers to whoever reads them.
 */
struct worker_shm {
    /* The id of the job whose ticket it holds; 0: none.  Not zeroed at a death: the replacement
     * takes it up. */
    _Alignas(2 * CACHE_LINE) _Atomic uint64_t ticket;
    /* Where a limit is in force: the offset of the word it is about to claim, and once it has, until
     * when.  The worker stores deadline 0, claim, deadline; the supervisor reads deadline, claim,
     * word, deadline. */
    _Atomic uint64_t claim;
    _Atomic int64_t deadline; /* mp_now(); 0: none; below 0: a limit that does not count yet */
    _Atomic uint64_t item;    /* the item it is running, for the report of a crash */
    _Atomic int64_t began;    /* when it began to run its chunk, see meter.c; 0: it is idle */
    _Atomic uint32_t up;      /* its init function has returned */
    _Atomic uint32_t left; /* it read the end of file: the pool closes, no replacement is wanted */
    _Alignas(CACHE_LINE) _Atomic uint64_t items; /* that it ran, to an end of theirs */
    _Atomic uint64_t failed;                     /* chunks */
    _Atomic int64_t busy_ns;
    struct slow_shm slow[SLOW_ITEMS];
    /* The supervisor's, but that the worker sets `pid`, which is 0 while there is none.  Without
     * processes, and of those that were killed with all others: the host's. */
    _Alignas(CACHE_LINE) _Atomic uint64_t deaths;
    _Atomic uint64_t peak; /* bytes of memory that one that died had in use, at most */
    _Atomic int32_t pid;
};

/* Why the supervisor gave up. */
enum broken_reason { BROKEN_NOT, BROKEN_FORK, BROKEN_INIT, BROKEN_START };

/*
 * The pool's own words, a cache line for each writer.
 * Who writes: the host the first (the supervisor zeroes `loop_asks` there), whoever rings the second,
 * the supervisor the third, a worker whose init function failed the last.
 */
struct pool_shm {
    _Alignas(CACHE_LINE) _Atomic uint32_t host_waits;
    _Atomic int64_t least_limit_ns; /* of all open jobs; 0: no limit is in force */
    _Atomic uint32_t slots;         /* the descriptors below this one have pages */
    _Atomic uint32_t loop_waits;    /* as host_waits, for the program's event loop */
    _Atomic uint32_t loop_asks;     /* the supervisor is to ring for the loop, and zeroes it */
    /* Where the host sleeps on a word: see bell.h. */
    _Alignas(CACHE_LINE) _Atomic uint32_t bell;
    _Alignas(CACHE_LINE) _Atomic uint64_t deaths; /* counted after what the dead left was mended */
    _Atomic uint64_t lost; /* of these, those after which the host is to post tickets again */
    _Atomic uint32_t broken_reason;
    _Atomic int32_t broken_value; /* error of fork, exit status, or minus the signal */
    /* What it left with mproc_fail(): only for a person to read. */
    _Alignas(CACHE_LINE) char init_text[WORKER_TEXT_MAX];
};

#endif
