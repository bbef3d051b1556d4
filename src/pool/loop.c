/* SPDX-License-Identifier: MIT */
/*
 * A pool in an event loop of the program: a descriptor to poll, and a step that takes in what there
 * is without waiting.  Runs in the host, under the pool's lock.
 *
 * The loop has a bell of its own, which workers and supervisor ring beside the other: that one is
 * read empty by whichever thread waits, and the loop would never hear of it.  Why no wake-up is
 * lost: loop_waits is set before the first look and stays set.  A worker first leaves what there is
 * to see and then reads loop_waits (announce() in worker.c); a step first reads the bell empty and
 * then looks.  So what a worker left is seen by that look, or its byte came after the emptying and
 * the descriptor is readable.  A worker that dies between the two is a death, which the supervisor
 * counts first and then rings for, always.  What no other process tells, because a thread of this one
 * did it (a cancel of what was not begun), the supervisor is asked to ring for; the host cannot,
 * because it has no writing end: when all others are gone the bell ends, and that is readable, too.
 */
#include "pool.h"

#include <errno.h>
#include <limits.h>

#include "../point.h"

/* ---- for the other files --------------------------------------------------------------------- */

void mp_loop_wants(mproc_pool *pool, uint32_t what)
{
    /* Sequentially consistent: a look, or a try of the ticket queue, follows. */
    if (pool->loop.on)
        atomic_store_explicit(&mp_region_pool(&pool->region)->loop_waits, what,
                              memory_order_seq_cst);
}

void mp_loop_ring(mproc_pool *pool)
{
    if (!pool->loop.on || !pool->generation.alive)
        return;
    /* Sequentially consistent, before the poke: the supervisor takes the poke, then reads this. */
    atomic_store_explicit(&mp_region_pool(&pool->region)->loop_asks, 1, memory_order_seq_cst);
    CRASH_POINT("loop to be rung, not poked");
    mp_generation_poke(&pool->generation);
}

void mp_loop_renew(mproc_pool *pool)
{
    int bell = pool->generation.fds[LOOP_READ];

    if (!pool->loop.on || mp_guard_lock())
        return;
    if (mp_guard_fd(&pool->loop.guard, 0) >= 0 && mp_dup_over(bell, pool->loop.fd) == 0)
        mp_guard_mark(&pool->loop.guard, 0);
    mp_guard_unlock();
    mp_loop_wants(pool, HOST_WAITS);
}

void mp_loop_close(mproc_pool *pool)
{
    if (!pool->loop.on || mp_guard_lock())
        return;
    mp_guard_close(&pool->loop.guard, 0);
    mp_guard_remove(&pool->loop.guard);
    mp_guard_unlock();
    pool->loop.on = false;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

/* A copy of the bell: the generation closes its own when it ends, and a number that somebody polls
 * must not become another's. */
static int open_copy(mproc_pool *pool)
{
    struct loop *loop = &pool->loop;
    int fd, r = mp_guard_lock();

    if (r)
        return r;
    fd = mp_dup(mp_guard_fd(&pool->generation.guard, LOOP_READ));
    if (fd >= 0) {
        mp_guard_remove(&loop->guard); /* if the program closed the last one */
        loop->fd = fd;
        loop->guard = (struct guard){.fds = &loop->fd, .count = 1};
        mp_guard_add(&loop->guard);
    }
    mp_guard_unlock();
    return fd;
}

/* Why nothing more will come. */
static int why_over(const mproc_pool *pool)
{
    if (pool->restarting)
        return -EBUSY;
    return pool->closed ? MPROC_ECLOSED : MPROC_EBROKEN;
}

static int give_fd(mproc_pool *pool)
{
    int fd = mp_guard_fd(&pool->loop.guard, 0);

    if (fd >= 0)
        return fd;
    if (pool->restarting || !pool->generation.alive)
        return why_over(pool);
    fd = open_copy(pool);
    if (fd < 0)
        return fd;
    pool->loop.on = true;
    mp_loop_wants(pool, HOST_WAITS);
    /* What ended before that was not rung for.  And the queue may be full by now. */
    mp_pool_look(pool, false);
    mp_backlog_flush(pool);
    mp_loop_ring(pool);
    return fd;
}

int mproc_pool_fd(mproc_pool *pool)
{
    int r = mp_pool_check(pool);

    if (r)
        return r;
    mp_pool_lock(pool);
    r = give_fd(pool);
    mp_pool_unlock(pool);
    return r;
}

/* ---- the step -------------------------------------------------------------------------------- */

static void empty_bell(mproc_pool *pool)
{
    char bytes[4096]; /* what is not read by this makes for another step */
    ssize_t n = mp_read(mp_guard_fd(&pool->generation.guard, LOOP_READ), bytes, sizeof bytes);

    if (n < 0 && n != -EAGAIN)
        mp_pool_poison(pool, "the bell of the event loop cannot be read");
}

static bool never(const void *arg)
{
    (void)arg;
    return false;
}

/* Look at everything once. */
static void take_in(mproc_pool *pool)
{
    if (pool->loop.on)
        empty_bell(pool);
    CRASH_POINT("loop's bell empty, not looked");
    mp_loop_wants(pool, HOST_WAITS); /* not for each ticket any more, unless it is said again */
    if (!pool->sleeper) {
        mp_wait(pool, never, NULL, mp_now()); /* the bells, the supervisor, the grace of an end */
        return;
    }
    mp_pool_look(pool, false); /* another thread sees to those */
    mp_backlog_flush(pool);
}

static int step(mproc_pool *pool)
{
    uint64_t ended;

    if (!pool->restarting && pool->generation.alive)
        take_in(pool);
    ended = pool->ended - pool->loop.told;
    pool->loop.told = pool->ended;
    if (ended)
        return ended < INT_MAX ? (int)ended : INT_MAX;
    if (pool->restarting || pool->generation.alive)
        return 0;
    return why_over(pool);
}

int mproc_pool_step(mproc_pool *pool)
{
    int r = mp_pool_check(pool);

    if (r)
        return r;
    mp_pool_lock(pool);
    r = step(pool);
    mp_pool_unlock(pool);
    return r;
}
