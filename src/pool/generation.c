/* SPDX-License-Identifier: MIT */
/*
 * Starting, telling and ending a generation: the pipes, and the order of things.  Runs in the host,
 * under the pool's lock but for the start (nobody else has the generation then) and the sleep.
 */
#include "generation.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "../point.h"
#include "diary.h"

enum { LOOK_AGAIN_MS = 1000, LOOK_OFTEN_MS = 10, LAST_MS = 10000, NS_PER_MS = 1000000 };

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void close_all(struct generation *generation)
{
    if (mp_guard_lock() == 0) {
        mp_guard_remove(&generation->guard);
        for (size_t i = 0; i < GENERATION_FDS; i++)
            mp_guard_close(&generation->guard, i);
        mp_guard_unlock();
    }
}

/* Neither who writes, nor the host where it reads: somebody may have read the byte that poll() saw. */
static const enum generation_fd never_block[] = {WAKE_WRITE, CONTROL_WRITE, BELL_WRITE,
                                                 LOOP_WRITE, BELL_READ,     LOOP_READ,
                                                 NUDGE_READ, NUDGE_WRITE};

/* With the guard lock held.  On an error the caller closes what is open. */
static int open_pipes(struct generation *generation)
{
    const bool on_words = generation->region->on_words;
    int *fds = generation->fds;
    int r = mp_pipe(&fds[BELL_READ]);

    if (!r && !on_words)
        r = mp_pipe(&fds[WAKE_READ]);
    if (!r && !on_words)
        r = mp_pipe(&fds[NUDGE_READ]);
    if (!r)
        r = mp_pipe(&fds[LOOP_READ]);
    if (!r)
        r = mp_pipe(&fds[CONTROL_READ]);
    if (!r)
        r = mp_watch_open(&fds[WATCH]);
    for (size_t i = 0; !r && i < sizeof never_block / sizeof never_block[0]; i++)
        if (fds[never_block[i]] >= 0)
            r = mp_nonblocking(fds[never_block[i]]);
    return r;
}

static int open_channels(struct generation *generation)
{
    int r = mp_guard_lock();

    if (r)
        return r;
    generation->guard.fds = generation->fds;
    generation->guard.count = GENERATION_FDS;
    r = open_pipes(generation);
    mp_guard_add(&generation->guard);
    mp_guard_unlock();
    if (r)
        close_all(generation);
    return r;
}

static int start_crew(struct generation *generation, struct supervisor *sup)
{
    int r;

    generation->in_process = sup->options->in_process;
    if (!generation->in_process)
        return mp_crew_start(generation, sup);
    r = mp_guard_lock();
    if (r)
        return r;
    mp_guard_close(&generation->guard, WATCH);
    mp_guard_close(&generation->guard, WATCH_CHILD);
    mp_guard_unlock();
    return 0;
}

int mp_generation_start(struct generation *generation, const struct region *region,
                        const mproc_pool_options *options)
{
    struct supervisor sup = {.region = region, .options = options, .reaper = {-1, -1}};
    int r;

    mp_diary_open();
    *generation = GENERATION_NONE;
    generation->region = region;
    generation->looked = mp_now();
    sup.fds = generation->fds;
    sup.seats = calloc(region->workers, sizeof *sup.seats);
    if (!sup.seats)
        return -ENOMEM;
    for (uint32_t i = 0; i < region->workers; i++) {
        sup.seats[i].bond[0] = -1;
        sup.seats[i].bond[1] = -1;
    }
    mp_region_reset(region);
    r = mp_code_map_create(&generation->code);
    if (r)
        goto free_seats;
    r = open_channels(generation);
    if (r)
        goto free_code;
    CRASH_POINT("pipes open, nobody there");
    r = start_crew(generation, &sup);
    if (r)
        goto close_channels;
    CRASH_POINT("generation started");
    generation->alive = true;
    free(sup.seats);
    return 0;

close_channels:
    close_all(generation);
free_code:
    mp_code_map_free(generation->code);
    generation->code = NULL;
free_seats:
    free(sup.seats);
    return r;
}

/* ---- telling --------------------------------------------------------------------------------- */

int mp_generation_wake(struct generation *generation, uint32_t count)
{
    static const char bytes[PIPE_BUF];
    int pipe;

    if (generation->region->on_words)
        return count > 0 ? mp_queue_wake(generation->region, count) : 0;
    pipe = mp_guard_fd(&generation->guard, WAKE_WRITE);
    if (mp_guard_fd(&generation->guard, WAKE_READ) < 0)
        return -EBADF; /* with nobody else to read it, to write would be a SIGPIPE */
    while (count > 0) {
        ssize_t n = mp_write(pipe, bytes, count < sizeof bytes ? count : sizeof bytes);

        if (n <= 0)
            return n == -EAGAIN ? 0 : (int)n; /* a full pipe wakes all there are */
        count -= (uint32_t)n;
    }
    return 0;
}

static void close_end(struct generation *generation, enum generation_fd end)
{
    if (mp_guard_lock() == 0) {
        mp_guard_close(&generation->guard, end);
        mp_guard_unlock();
    }
}

/* The program closed a descriptor of ours, or the like.  Whoever sleeps, now or later, is told. */
static void tear(struct generation *generation)
{
    atomic_store_explicit(&generation->torn, true, memory_order_release);
    if (generation->region->on_words)
        mp_bell_ring(generation->region);
    else
        close_end(generation, NUDGE_WRITE);
}

/* A reading end that is lost counts, too: to write there could be a SIGPIPE. */
static void ring(struct generation *generation, enum generation_fd reads, enum generation_fd writes)
{
    int fd = mp_guard_fd(&generation->guard, writes);

    if (generation->fds[writes] < 0)
        return; /* it was told to end, or is torn already */
    if (fd < 0 || mp_guard_fd(&generation->guard, reads) < 0 || mp_ring(fd))
        tear(generation);
}

void mp_generation_poke(struct generation *generation)
{
    ring(generation, CONTROL_READ, CONTROL_WRITE);
}

void mp_generation_nudge(struct generation *generation)
{
    if (generation->region->on_words)
        mp_bell_ring(generation->region);
    else
        ring(generation, NUDGE_READ, NUDGE_WRITE);
}

void mp_generation_end_bells(struct generation *generation)
{
    if (mp_guard_lock() == 0) {
        mp_guard_close(&generation->guard, BELL_WRITE);
        mp_guard_close(&generation->guard, LOOP_WRITE);
        mp_guard_unlock();
    }
    atomic_store_explicit(&generation->bells_ended, true, memory_order_release);
    if (generation->region->on_words)
        mp_bell_ring(generation->region);
}

void mp_generation_shut(struct generation *generation)
{
    if (generation->shut || !generation->region)
        return;
    generation->shut = true;
    if (mp_queue_shut(generation->region))
        tear(generation); /* they cannot be woken, and will not leave */
    CRASH_POINT("queue shut, not its pipe");
    close_end(generation, WAKE_WRITE);
    CRASH_POINT("wake pipe shut");
}

void mp_generation_kill(struct generation *generation, int64_t grace_ms)
{
    if (!generation->alive || generation->grace != MP_FOREVER)
        return;
    mp_generation_shut(generation); /* who is idle leaves by itself */
    close_end(generation, CONTROL_WRITE);
    CRASH_POINT("told to end");
    generation->grace_ms = generation->in_process ? NO_HURRY_MS : grace_ms;
    generation->grace = mp_deadline(generation->grace_ms);
    mp_generation_nudge(generation); /* who sleeps is to wake when the grace is over */
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Poll until something is ready (its count) or the deadline has passed (0); negative: a descriptor is
 * not ours any more.  What is ready is looked at before it is read; what is quiet, now and then: the
 * program may have closed it, and nobody would wake us. */
static int poll_own(const struct generation *generation, struct pollfd *polled, size_t count,
                    int64_t deadline)
{
    const struct guard *guard = &generation->guard;

    for (;;) {
        int64_t look_again = mp_deadline(LOOK_AGAIN_MS);
        int ready;

        ready = mp_poll(polled, count, earlier(look_again, deadline));
        if (ready)
            return ready;
        if (mp_guard_fd(guard, BELL_READ) < 0 ||
            (!generation->region->on_words &&
             (mp_guard_fd(guard, NUDGE_READ) < 0 || mp_guard_fd(guard, WAKE_READ) < 0)))
            return -EBADF; /* without the last, waking could be a SIGPIPE */
        if (look_again >= deadline)
            return 0;
    }
}

/* Sleep in poll(). */
static enum awakening sleep_on_pipes(const struct generation *generation, int64_t deadline,
                                     bool supervised)
{
    enum { BELL, NUDGE, SUPERVISOR, POLLED };
    const struct guard *guard = &generation->guard;
    const int *fds = generation->fds;
    struct pollfd polled[POLLED] = {
        [BELL] = {.fd = fds[BELL_READ], .events = POLLIN},
        [NUDGE] = {.fd = fds[NUDGE_READ], .events = POLLIN},
        [SUPERVISOR] = {.fd = supervised ? fds[WATCH] : -1, .events = POLLIN}};
    char bytes[4096]; /* what is not read by this rings again at the next sleep: no harm */
    int ready = poll_own(generation, polled, POLLED, deadline);
    ssize_t n = -EAGAIN;

    if (ready == 0)
        return AWAKE_LATE;
    if (ready < 0 || (polled[BELL].revents | polled[NUDGE].revents) & (POLLNVAL | POLLERR))
        return AWAKE_FAILED;
    if (polled[NUDGE].revents) {
        n = mp_read(mp_guard_fd(guard, NUDGE_READ), bytes, sizeof bytes);
        if (n == 0 || (n < 0 && n != -EAGAIN))
            return AWAKE_FAILED;
        n = -EAGAIN;
    }
    if (polled[BELL].revents)
        n = mp_read(mp_guard_fd(guard, BELL_READ), bytes, sizeof bytes);
    if (n == 0)
        return AWAKE_BELL_ENDED;
    if (n < 0 && n != -EAGAIN)
        return AWAKE_FAILED;
    if (!polled[SUPERVISOR].revents)
        return AWAKE_RUNG;
    return mp_guard_fd(guard, WATCH) < 0 ? AWAKE_FAILED : AWAKE_UNSUPERVISED;
}

/* Will the word tell of everything?  Not when it has told of the supervisor's end: what there is to wait
 * for then are the ends of pipes. */
static bool word_suffices(struct generation *generation, uint32_t word)
{
    /* The first that it has had: not the process id, which is another in a namespace of its own. */
    if (!generation->owner)
        generation->owner = word & MP_OWNER;
    return (word & MP_OWNER) == generation->owner &&
           !atomic_load_explicit(&generation->bells_ended, memory_order_acquire);
}

/* When to look at the pipes beside the word, on which a worker may have scribbled.  Often, while it has
 * no owner: the supervisor has not come so far, or the kernel knows no owners. */
static int64_t next_look(const struct generation *generation)
{
    bool often = generation->supervisor > 0 && !generation->owner;

    return generation->looked + (int64_t)(often ? LOOK_OFTEN_MS : LOOK_AGAIN_MS) * NS_PER_MS;
}

/* Sleep on the bell as a word. */
static enum awakening sleep_on_word(struct generation *generation, int64_t deadline,
                                    bool supervised)
{
    for (;;) {
        uint32_t word = mp_bell_word(generation->region);
        bool rung = word & MP_RUNG, suffices = word_suffices(generation, word);
        int64_t now = mp_now(), look = next_look(generation);
        enum awakening seen = AWAKE_LATE;
        int r = 0;

        if (atomic_load_explicit(&generation->torn, memory_order_acquire))
            return AWAKE_FAILED;
        if (!suffices && !rung)
            seen = sleep_on_pipes(generation, earlier(deadline, mp_deadline(LOOK_OFTEN_MS)),
                                  supervised);
        else if (!suffices || now >= earlier(deadline, look)) {
            seen = sleep_on_pipes(generation, now, supervised);
            generation->looked = now;
        }
        if (seen != AWAKE_LATE)
            return seen;
        if (rung) {
            mp_bell_silence(generation->region);
            return AWAKE_RUNG;
        }
        if (now >= deadline)
            return AWAKE_LATE;
        if (suffices)
            r = mp_bell_sleep(generation->region, word, earlier(deadline, next_look(generation)));
        if (r && r != -ETIMEDOUT)
            return AWAKE_FAILED;
    }
}

enum awakening mp_generation_sleep(struct generation *generation, int64_t deadline, bool supervised)
{
    if (generation->region->on_words)
        return sleep_on_word(generation, deadline, supervised);
    return sleep_on_pipes(generation, deadline, supervised);
}

bool mp_generation_grace_over(struct generation *generation)
{
    if (generation->killed)
        return true;
    mp_crew_kill(generation);
    generation->killed = true;
    generation->grace = mp_deadline(generation->grace_ms);
    return false;
}

bool mp_generation_is_torn(const struct generation *generation)
{
    for (size_t i = 0; i < generation->guard.count; i++)
        if (generation->fds[i] >= 0 && mp_guard_fd(&generation->guard, i) < 0)
            return true;
    return false;
}

int mp_generation_finish(struct generation *generation)
{
    int status = generation->in_process ? 0 : mp_crew_wait(generation, mp_deadline(GRACE_MS));

    /* Held up; or the program has made a copy of the control pipe, which keeps it.  Killed it ends,
     * on a machine under whatever load. */
    if (status == -1) {
        mp_crew_kill(generation);
        mp_crew_wait(generation, mp_deadline(LAST_MS));
    }
    CRASH_POINT("supervisor reaped");
    close_all(generation);
    mp_code_map_free(generation->code);
    *generation = GENERATION_NONE;
    return status;
}
