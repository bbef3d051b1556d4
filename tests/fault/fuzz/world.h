/* SPDX-License-Identifier: MIT */
/*
 * world.h: the host's side of the library without processes, without time and without a kernel's
 * memory, so that a fuzzer runs it tens of thousands of times a second and the same way each time.
 * The crew is nobody; its shared memory stands between red zones; whenever the host would sleep, the
 * target takes its turn as the workers, and a sleep that nothing would ever end is a finding.
 */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include "pool/pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what the fuzzer gave -------------------------------------------------------------------- */

struct input {
    const uint8_t *data;
    size_t size;
    size_t at;
};

extern struct input input;

uint8_t take_byte(void);    /* 0 when there is no more */
uint64_t take_number(void); /* mostly one that is near some bound */
bool input_is_over(void);

/* ---- who is not there ------------------------------------------------------------------------ */

enum { CREWS = 4 };

/* The processes of a generation, as far as there are any: their ends of its pipes. */
struct crew {
    struct generation *generation; /* NULL: this place is free */
    const struct region *region;
    const mproc_pool_options *options;
    int bell;
};

extern struct crew crews[CREWS];
extern void (*workers_turn)(void);  /* set by the target */
extern void (*worker_sleeps)(void); /* the same: end its turn, by a longjmp */
extern uint32_t commits_left;       /* before the machine has no more memory; it has again then */

void world_begin(const uint8_t *data, size_t size, void (*turn)(void));
void crew_rings(const struct crew *crew);
void crew_dies(struct crew *crew);
/* What holds is asserted in every build. */
void must(bool holds);

#endif
