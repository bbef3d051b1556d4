/* SPDX-License-Identifier: MIT */
/*
 * word.h: the chunk word, the one place where the truth about a chunk stands, and every transition
 * of it.  A word lies in shared memory; host, workers and supervisor change it by the functions
 * below and in no other way.
 *
 *     bits 63..32  id        {slot, tag} of the job; the tag changes each time the slot is reused
 *     bits 31..16  worker    who runs the chunk; 0 unless RUNNING or STOPPING
 *     bits 15..8   attempts  how often the chunk was begun
 *     bits  7..0   state
 *
 *     WAITING -> RUNNING -> DONE | FAILED         the worker
 *                RUNNING -> CRASHED | WAITING     the supervisor, when the worker is dead
 *                                                 (WAITING: a retry)
 *                RUNNING -> STOPPING              the supervisor at a deadline, the host at a cancel
 *                STOPPING -> TIMED_OUT | STOPPED  the supervisor, when the worker is dead
 *     WAITING -> CANCELLED                        the host
 *
 * Words lie in memory that never holds anything but words, and the id names the slot.  So a claim
 * that succeeds proves that the word belongs to the present job of that slot, whatever a worker
 * that slept believed before; and from then on the job stands still until the word is terminal.
 */
#ifndef MP_WORD_H
#define MP_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* state, is it terminal? */
#define CHUNK_STATES(X)                                                                            \
    X(NONE, false)                                                                                 \
    X(WAITING, false)                                                                              \
    X(RUNNING, false)                                                                              \
    X(STOPPING, false) /* its worker will be killed, and may still write until it is */            \
    X(DONE, true)                                                                                  \
    X(FAILED, true)                                                                                \
    X(CRASHED, true)                                                                               \
    X(TIMED_OUT, true)                                                                             \
    X(STOPPED, true)   /* cancelled after it had begun */                                          \
    X(CANCELLED, true) /* never begun */

#define CHUNK_ENUM(name, terminal) CHUNK_##name,
enum chunk_state { CHUNK_STATES(CHUNK_ENUM) CHUNK_STATE_COUNT };
#undef CHUNK_ENUM

enum { WORD_ATTEMPTS_MAX = 255, WORD_WORKER_MAX = 65535 };

typedef _Atomic uint64_t chunk_word;

/* A word taken apart.  What another process wrote is copied once, by the load before this. */
struct chunk_view {
    uint32_t id;
    uint16_t worker;
    uint8_t attempts;
    uint8_t state; /* may be no state at all: the word came from shared memory */
};

/* The functions that are called for each chunk of a job stand here, so that they cost no call. */

static inline uint64_t mp_word_of(uint32_t id, unsigned worker, unsigned attempts,
                                  enum chunk_state state)
{
    return (uint64_t)id << 32 | (uint64_t)worker << 16 | (uint64_t)attempts << 8 | (uint64_t)state;
}

static inline struct chunk_view mp_word_view(uint64_t value)
{
    return (struct chunk_view){(uint32_t)(value >> 32), (uint16_t)(value >> 16),
                               (uint8_t)(value >> 8), (uint8_t)value};
}

const char *mp_chunk_state_name(unsigned state); /* "?" for what is no state */

#define CHUNK_BIT(name, terminal) | ((terminal) ? 1U << CHUNK_##name : 0U)
/* False for what is no state. */
static inline bool mp_chunk_is_terminal(unsigned state)
{
    return state < CHUNK_STATE_COUNT && (0U CHUNK_STATES(CHUNK_BIT)) >> state & 1;
}
#undef CHUNK_BIT

/* Host, while no chunk of the slot's last job is left open: a new chunk, to be begun. */
void mp_word_publish(chunk_word *word, uint32_t id);

/* Anybody: does it wait, as a chunk of job `id`?  A guess: only a claim can tell. */
static inline bool mp_word_is_waiting(const chunk_word *word, uint32_t id)
{
    struct chunk_view view = mp_word_view(atomic_load_explicit(word, memory_order_relaxed));

    return view.id == id && view.state == CHUNK_WAITING;
}

/* Is the word of job `id` that of a chunk that was done at the first attempt, as most are? */
static inline bool mp_word_is_plainly_done(const chunk_word *word, uint32_t id)
{
    /* Sequentially consistent, see mp_chunk_view(). */
    return atomic_load_explicit(word, memory_order_seq_cst) == mp_word_of(id, 0, 1, CHUNK_DONE);
}

/* Worker: WAITING of job `id` becomes RUNNING; *claimed is what mp_word_finish() needs. */
bool mp_word_claim(chunk_word *word, uint32_t id, unsigned worker, uint64_t *claimed);
/* Worker: false: somebody decided to kill this worker; it must write nothing more. */
bool mp_word_finish(chunk_word *word, uint64_t claimed, enum chunk_state ended);
/* Supervisor, host: RUNNING becomes STOPPING if the word still has the value seen. */
bool mp_word_stop(chunk_word *word, uint64_t seen);
/* Host: WAITING of job `id` becomes CANCELLED. */
bool mp_word_cancel(chunk_word *word, uint32_t id);
/* Supervisor, when worker `worker` is dead and reaped: end what it left in this word, or make it
 * WAITING again while fewer than 1 + retries attempts were made.  The state that the word has now,
 * or CHUNK_NONE if it was not this worker's.  Before the word becomes terminal, `outcome` is
 * called. */
enum chunk_state mp_word_bury(chunk_word *word, unsigned worker, unsigned retries, bool expired,
                              void (*outcome)(void *arg), void *arg);

#endif
