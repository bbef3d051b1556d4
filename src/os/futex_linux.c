/* SPDX-License-Identifier: MIT */
/* To sleep on a word of shared memory: futexes.  By their numbers, because no C library names them, and
 * the kernel's own headers are not everywhere; and not private ones, because other processes wake. */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WAIT = 0, WAKE = 1, NS_PER_S = 1000000000 };

/* A robust list: the words that the kernel looks at when a thread ends, for each entry the one so far
 * from it.  If the thread's number is in there, it is replaced by MP_RUNG, and where MP_OWNED is set, one
 * that sleeps on the word is woken. */
struct owned {
    struct owned *next; /* the list is a ring, and its head no entry */
    long distance;
    struct owned *pending;
};

/* A time, as the call takes it that is there on every machine: in two longs of the kernel's.  Machines of
 * 32 bits that never had that call take two of 64. */
#if !defined(SYS_futex)
#define SYS_futex SYS_futex_time64
typedef int64_t part;
#elif defined(__x86_64__)
typedef int64_t part; /* x32, too */
#else
typedef long part;
#endif

bool mp_can_sleep_on_words(void)
{
    _Atomic uint32_t word = 0;

    return mp_wake_on_word(&word, 1) == 0;
}

int mp_sleep_on_word(_Atomic uint32_t *word, uint32_t seen, int64_t deadline)
{
    for (;;) {
        int64_t ns = deadline == MP_FOREVER ? 0 : deadline - mp_now();
        const part left[] = {(part)(ns / NS_PER_S), (part)(ns % NS_PER_S)};
        const void *timeout = deadline == MP_FOREVER ? NULL : left;

        if (ns <= 0 && timeout)
            return -ETIMEDOUT;
        if (syscall(SYS_futex, word, WAIT, seen, timeout) == 0 || errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

int mp_wake_on_word(_Atomic uint32_t *word, uint32_t count)
{
    uint32_t most = count < INT_MAX ? count : INT_MAX;

    return syscall(SYS_futex, word, WAKE, most) < 0 ? -errno : 0;
}

int mp_own_word(_Atomic uint32_t *word)
{
    static struct owned head, entry; /* of an entry only the first member counts */

    entry.next = &head;
    head.next = &entry;
    head.distance = (long)((uintptr_t)word - (uintptr_t)&entry);
    if (syscall(SYS_set_robust_list, &head, sizeof head))
        return -errno;
    /* Release: whoever sees the owner may count on its end. */
    atomic_fetch_or_explicit(word, (uint32_t)getpid() & MP_OWNER, memory_order_release);
    return 0;
}
