/* SPDX-License-Identifier: MIT */
/*
 * To look for news for a while before going to sleep: it saves a sleep, a bell and an awakening where
 * news comes soon.  Runs in host and workers; touches nothing but what it is given.
 */
#include "os.h"

#include <sched.h>

enum {
    LEAST_ROUNDS = 64, /* so long as it takes to sleep and be woken, about */
    MOST_ROUNDS = 512,
    ROUNDS_PER_YIELD = 8,
    ROUNDS_PER_PAUSE = 4,
    ROUNDS_PER_CLOCK = 64, /* where the time is counted */
    NS_PER_US = 1000,
    ALONE_NS = 4000,  /* who spins for longer gives way now and then */
    MOST_NS = 1000000 /* for who gives way: on a busy machine that may take its time */
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* For as long as was asked for.  Soon there may be somebody on this CPU who is to bring the news. */
static bool spin(const struct patience *patience, bool (*news)(const void *arg), const void *arg,
                 int64_t deadline)
{
    int64_t begin = 0;

    for (;;) {
        int64_t now;

        for (int i = 0; i < ROUNDS_PER_CLOCK; i++) {
            if (news(arg))
                return true;
            if (i % ROUNDS_PER_PAUSE == 0) /* it may take as long as four looks */
                relax();
        }
        now = mp_now(); /* not before: there may be news at once */
        if (begin == 0)
            begin = now;
        if (now >= earlier(begin + (int64_t)patience->spin_us * NS_PER_US, deadline))
            return false;
        if (now - begin >= ALONE_NS)
            sched_yield();
    }
}

/* With others who want the CPU, too: they get it, and it goes on longer the more often there was
 * news. */
static bool stroll(struct patience *patience, bool (*news)(const void *arg), const void *arg,
                   int64_t deadline)
{
    int64_t until = 0;

    if (patience->rounds < LEAST_ROUNDS)
        patience->rounds = LEAST_ROUNDS;
    for (uint32_t i = 1; i <= patience->rounds; i++) {
        if (news(arg)) {
            patience->rounds *= 2;
            if (patience->rounds > MOST_ROUNDS)
                patience->rounds = MOST_ROUNDS;
            return true;
        }
        relax();
        if (i % ROUNDS_PER_YIELD != ROUNDS_PER_YIELD / 2)
            continue;
        if (until == 0)
            until = earlier(mp_now() + MOST_NS, deadline);
        sched_yield();
        if (mp_now() >= until)
            break;
    }
    patience->rounds /= 2;
    return false;
}

bool mp_linger(struct patience *patience, bool (*news)(const void *arg), const void *arg,
               int64_t deadline)
{
    if (patience->spin_us > 0)
        return spin(patience, news, arg, deadline);
    return patience->spin_us == 0 && stroll(patience, news, arg, deadline);
}
