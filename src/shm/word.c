/* SPDX-License-Identifier: MIT */
/*
 * The transitions of a chunk word.  Runs in the host, the workers and the supervisor, on shared
 * memory; decides nothing but by one compare-and-swap each, so that of two that want to change a
 * word one wins.
 */
#include "word.h"

#include "../point.h"

const char *mp_chunk_state_name(unsigned state)
{
#define CHUNK_NAME(name, terminal) #name,
    static const char *const names[] = {CHUNK_STATES(CHUNK_NAME)};
#undef CHUNK_NAME

    return state < CHUNK_STATE_COUNT ? names[state] : "?";
}

void mp_word_publish(chunk_word *word, uint32_t id)
{
    /* Release: whoever claims the word (acquire, below) sees the descriptor and the inputs. */
    atomic_store_explicit(word, mp_word_of(id, 0, 0, CHUNK_WAITING), memory_order_release);
}

bool mp_word_claim(chunk_word *word, uint32_t id, unsigned worker, uint64_t *claimed)
{
    /* Relaxed: only a guess, which the compare-and-swap confirms. */
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    struct chunk_view view = mp_word_view(seen);

    if (view.id != id || view.state != CHUNK_WAITING || view.attempts == WORD_ATTEMPTS_MAX)
        return false;
    *claimed = mp_word_of(id, worker, view.attempts + 1U, CHUNK_RUNNING);
    /* Acquire: pairs with the release of mp_word_publish(), or of mp_word_bury() for a retry.
     * Release: who sees the claim sees the ticket and the limit that were noted before it. */
    return atomic_compare_exchange_strong_explicit(word, &seen, *claimed, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

bool mp_word_finish(chunk_word *word, uint64_t claimed, enum chunk_state ended)
{
    struct chunk_view view = mp_word_view(claimed);
    uint64_t next = mp_word_of(view.id, 0, view.attempts, ended);

    /* Release: the results are seen by who loads the word with acquire.  Sequentially consistent,
     * with the look back that follows it: of two workers that end the last two chunks at once, at
     * least one sees both ended. */
    return atomic_compare_exchange_strong_explicit(word, &claimed, next, memory_order_seq_cst,
                                                   memory_order_relaxed);
}

bool mp_word_stop(chunk_word *word, uint64_t seen)
{
    struct chunk_view view = mp_word_view(seen);
    uint64_t next = mp_word_of(view.id, view.worker, view.attempts, CHUNK_STOPPING);

    if (view.state != CHUNK_RUNNING)
        return false;
    /* Relaxed: it carries no data; who loses against mp_word_finish() is all that it decides. */
    return atomic_compare_exchange_strong_explicit(word, &seen, next, memory_order_relaxed,
                                                   memory_order_relaxed);
}

bool mp_word_cancel(chunk_word *word, uint32_t id)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    struct chunk_view view = mp_word_view(seen);

    if (view.id != id || view.state != CHUNK_WAITING)
        return false;
    /* Sequentially consistent: a look at the other words follows, see mp_word_finish(). */
    return atomic_compare_exchange_strong_explicit(
        word, &seen, mp_word_of(id, 0, view.attempts, CHUNK_CANCELLED), memory_order_seq_cst,
        memory_order_relaxed);
}

enum chunk_state mp_word_bury(chunk_word *word, unsigned worker, unsigned retries, bool expired,
                              void (*outcome)(void *arg), void *arg)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_acquire);

    for (;;) {
        struct chunk_view view = mp_word_view(seen);
        enum chunk_state next;

        if (view.worker != worker)
            return CHUNK_NONE;
        if (view.state == CHUNK_STOPPING)
            next = expired ? CHUNK_TIMED_OUT : CHUNK_STOPPED;
        else if (view.state == CHUNK_RUNNING)
            next = view.attempts <= retries && view.attempts < WORD_ATTEMPTS_MAX ? CHUNK_WAITING
                                                                                 : CHUNK_CRASHED;
        else
            return CHUNK_NONE;
        if (next != CHUNK_WAITING)
            outcome(arg);
        CRASH_POINT("outcome written, not buried");
        /* Release: the outcome, and what a dead attempt wrote, before what follows.  It fails only
         * when the host makes RUNNING into STOPPING in between; then it is tried with that. */
        if (atomic_compare_exchange_strong_explicit(word, &seen,
                                                    mp_word_of(view.id, 0, view.attempts, next),
                                                    memory_order_release, memory_order_acquire))
            return next;
    }
}
