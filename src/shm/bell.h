/* SPDX-License-Identifier: MIT */
/*
 * bell.h: the bell of a pool where a process can sleep on a word; elsewhere it is a pipe.  Like a pipe it
 * remembers that it rang: that is one bit, and the word beside it says who the supervisor is.
 *
 *     host     say that it waits; look; nothing there: sleep until it has rung, silence it, look
 *     others   leave what there is to see; does the host wait? then ring
 *
 * To ring is to set the bit and then to wake.  So of a host that goes to sleep and one who rings, either
 * the host finds the bit set and does not sleep, or it is woken.  Who dies between the two has woken
 * nobody; but that death is told, by the supervisor, which rings too; and when that ends, the kernel
 * does.
 */
#ifndef MP_BELL_H
#define MP_BELL_H

#include "region.h"

/* Host: the word, to sleep on it. */
uint32_t mp_bell_word(const struct region *region);
/* Host: sleep until it rings, where the word is `silent`; may wake for nothing.  As mp_sleep_on_word(). */
int mp_bell_sleep(const struct region *region, uint32_t silent, int64_t deadline);
/* Host: it has not rung. */
void mp_bell_silence(const struct region *region);
/* 0, or an error: nobody was woken. */
int mp_bell_ring(const struct region *region);
/* Supervisor: it rings at the end of this process. */
void mp_bell_own(const struct region *region);

#endif
