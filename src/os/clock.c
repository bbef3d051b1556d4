/* SPDX-License-Identifier: MIT */
/*
 * The monotonic clock and waiting with a deadline.  A timeout becomes a deadline once, at the entry
 * of a public call; below that, only deadlines travel.
 */
#include "os.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

enum { NS_PER_MS = 1000000 };

#define LONGEST_MS                                                                                 \
    ((int64_t)30 * 365 * 86400 * 1000) /* longer is for ever, to a time_t of any size */

int64_t mp_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#if defined(CLOCK_MONOTONIC_COARSE)
#define COARSE CLOCK_MONOTONIC_COARSE
#elif defined(CLOCK_MONOTONIC_FAST)
#define COARSE CLOCK_MONOTONIC_FAST
#else
#define COARSE CLOCK_MONOTONIC
#endif

int64_t mp_now_coarse(void)
{
    struct timespec t;

    if (clock_gettime(COARSE, &t)) /* a kernel older than the headers */
        return mp_now();
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t mp_deadline(int64_t timeout_ms)
{
    int64_t now;

    if (timeout_ms < 0 || timeout_ms > LONGEST_MS)
        return MP_FOREVER;
    now = mp_now();
    return now + timeout_ms * NS_PER_MS;
}

/* What poll() takes: milliseconds, rounded up so that it does not return before the deadline. */
static int poll_timeout(int64_t deadline)
{
    int64_t left;

    if (deadline == MP_FOREVER)
        return -1;
    left = deadline - mp_now();
    if (left <= 0)
        return 0;
    left = (left + NS_PER_MS - 1) / NS_PER_MS;
    return left > INT_MAX ? INT_MAX : (int)left;
}

void mp_pause(void)
{
    const struct timespec pause = {.tv_nsec = NS_PER_MS};

    nanosleep(&pause, NULL);
}

int mp_poll(struct pollfd *fds, size_t count, int64_t deadline)
{
    for (;;) {
        int ready = poll(fds, (nfds_t)count, poll_timeout(deadline));

        if (ready > 0)
            return ready;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (deadline != MP_FOREVER && mp_now() >= deadline)
            return 0;
    }
}
