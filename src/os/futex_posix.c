/* SPDX-License-Identifier: MIT */
/* No sleeping on a word: whoever waits sleeps in read() or poll(). */
#include "os.h"

#include <errno.h>

bool mp_can_sleep_on_words(void)
{
    return false;
}

int mp_sleep_on_word(_Atomic uint32_t *word, uint32_t seen, int64_t deadline)
{
    (void)word;
    (void)seen;
    (void)deadline;
    return -ENOTSUP;
}

int mp_wake_on_word(_Atomic uint32_t *word, uint32_t count)
{
    (void)word;
    (void)count;
    return -ENOTSUP;
}

int mp_own_word(_Atomic uint32_t *word)
{
    (void)word;
    return -ENOTSUP;
}
