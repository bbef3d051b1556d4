/* SPDX-License-Identifier: MIT */
/* map.h: a map as the host holds it: one job, or as many as it has sections. */
#ifndef MP_MAP_H
#define MP_MAP_H

#include "pool.h"

enum {
    /* Chunks where the caller does not choose: for each worker that can run at once.  A claim costs
     * some 50 ns, which is lost in the rest with so few; and a worker that is late holds up the others
     * by a 32nd of its share, or by one item.  Workers beyond the CPUs are there for tasks that sleep
     * or wait, and as many chunks for each would be a quarter of a map of 10^6 squares. */
    CHUNKS_PER_HAND = 32,
    LEAST_PER_WORKER = 4, /* however many there are */
    SECTIONS = 4          /* open at a time: one is filled, one is gathered, two are worked on */
};

/* A run of items, as a job. */
struct section {
    struct job job;
    uint64_t first; /* item */
};

/* What a map comes to. */
struct tally {
    uint64_t failed;       /* items */
    mproc_failure failure; /* the first that failed; of its error 0 means none */
    int unfinished;        /* of a chunk that did not end by itself; 0: there is none */
};

/* One call of map. */
struct map_call {
    mproc_pool *pool;
    mproc_map_options options;
    struct job_spec spec; /* of all items */
    int64_t deadline;
    struct block *context; /* what ctx_size asks to copy */
    uint64_t section_items;
    struct section sections[SECTIONS]; /* number i in place i % SECTIONS */
    uint64_t posted;                   /* sections */
    uint64_t gathered;
    uint64_t begun;    /* items, in the sections posted */
    bool closing;      /* what is not begun is not to be */
    int64_t all_hands; /* when every worker is to help; MP_FOREVER: they were asked to */
    int why;           /* 0, or what kept the map from its end */
    struct tally tally;
    struct progress progress;
    struct count counted; /* in the sections gathered */
};

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Post all sections, a few at a time, and gather them.  With the lock held. */
void mp_run_sections(struct map_call *call);
/* Items [from, to) have no outcome of their own, because of `error`. */
void mp_give_up_items(struct map_call *call, uint64_t from, uint64_t to, int error);

#endif
