/* SPDX-License-Identifier: MIT */
/* The bell as a word.  Runs in all processes; only the host sleeps on it. */
#include "bell.h"

#include "../point.h"

static _Atomic uint32_t *word_of(const struct region *region)
{
    return &mp_region_pool(region)->bell;
}

uint32_t mp_bell_word(const struct region *region)
{
    /* Acquire: pairs with mp_own_word(). */
    return atomic_load_explicit(word_of(region), memory_order_acquire);
}

int mp_bell_sleep(const struct region *region, uint32_t silent, int64_t deadline)
{
    return mp_sleep_on_word(word_of(region), silent, deadline);
}

void mp_bell_silence(const struct region *region)
{
    /* Sequentially consistent: the host looks next.  Who rings has left before what there is to see. */
    atomic_fetch_and_explicit(word_of(region), ~MP_RUNG, memory_order_seq_cst);
}

int mp_bell_ring(const struct region *region)
{
    atomic_fetch_or_explicit(word_of(region), MP_RUNG, memory_order_seq_cst);
    CRASH_POINT("rung, nobody woken");
    return mp_wake_on_word(word_of(region), 1);
}

void mp_bell_own(const struct region *region)
{
    mp_own_word(word_of(region)); /* if not, the host looks now and then: see generation.c */
}
