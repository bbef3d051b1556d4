/* SPDX-License-Identifier: MIT */
/*
 * Time limits: who is over his is stopped, by a decision that only one of supervisor and worker can
 * win, and then killed.  Runs in the supervisor, which trusts nothing that it reads in shared memory.
 */
#include "supervisor.h"

#include <sys/wait.h>

#include "../point.h"

enum { LEAST_LIMIT_NS = 1000000 };

/* Has somebody stopped the worker (SIGSTOP), at this moment?  The report is left where it is. */
static bool is_stopped(pid_t pid)
{
    siginfo_t info;

    info.si_pid = 0;
    return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* A worker that is stopped with no chunk running may keep back a ticket that it has not noted, a
 * chunk that it is about to claim, or the news of one that has ended; no deadline tells.  Its death
 * harms no task and has all of that mended.  (Who lets it go on in this very moment may see a task
 * that it has just begun reported as crashed by SIGKILL.) */
static void kill_stopped(struct supervisor *sup)
{
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (sup->seats[i].pid > 0 && is_stopped(sup->seats[i].pid) &&
            !mp_holds_chunk(sup, i, CHUNK_RUNNING)) {
            CRASH_POINT("found stopped, not killed");
            mp_must_kill(sup, i);
        }
}

/* Until when the chunk that the worker runs may take.  The worker says so once it has claimed it;
 * should it stand still between the two, the time counts from when it was first seen there. */
static int64_t deadline_of(struct seat *seat, int64_t noted, uint64_t claim, uint64_t seen)
{
    if (noted > 0)
        return noted;
    if (seat->since == 0 || seat->claim != claim || seat->seen != seen) {
        seat->claim = claim;
        seat->seen = seen;
        seat->since = mp_now();
    }
    return noted > -(MP_FOREVER - seat->since) ? seat->since - noted : MP_FOREVER;
}

/* When the claim that the worker noted is over its limit, decide between "ended in time" and
 * "killed", and in the latter case kill.  Returns when to look again. */
static int64_t expire(struct supervisor *sup, uint32_t number)
{
    struct worker_shm *record = mp_region_worker(sup->region, number);
    struct seat *seat = &sup->seats[number];
    /* Acquire, each: note_claim() in worker.c stores deadline 0, claim, deadline.  If the deadline
     * is still the same after the word was loaded, the word was that of the claim whose time is up;
     * and the CAS is from the value loaded, so a claim that begins only now is not hit. */
    int64_t deadline = atomic_load_explicit(&record->deadline, memory_order_acquire);
    uint64_t claim = atomic_load_explicit(&record->claim, memory_order_acquire);
    chunk_word *word = mp_region_word(sup->region, claim);
    struct chunk_view view;
    uint64_t seen;

    if (deadline == 0 || !word || seat->pid == 0 || seat->expired)
        return MP_FOREVER;
    if (mp_now() < deadline)
        return deadline;
    CRASH_POINT("limit over");
    seen = atomic_load_explicit(word, memory_order_acquire);
    if (atomic_load_explicit(&record->deadline, memory_order_relaxed) != deadline)
        return mp_now(); /* it went on to another meanwhile */
    view = mp_word_view(seen);
    if (view.state != CHUNK_RUNNING || view.worker != number)
        return MP_FOREVER; /* it ended in time, or has not begun */
    deadline = deadline_of(seat, deadline, claim, seen);
    if (mp_now() < deadline)
        return deadline;
    if (!mp_word_stop(word, seen))
        return MP_FOREVER;
    CRASH_POINT("limit enforced, not noted");
    seat->expired = true;
    CRASH_POINT("expired, not killed");
    mp_must_kill(sup, number);
    CRASH_POINT("expired and killed");
    return MP_FOREVER;
}

/* Enforce limits, where there are any; when to look again.  A chunk that begins after this look ends
 * its time no sooner than the least limit from now, so looking then is never too late. */
int64_t mp_expire_all(struct supervisor *sup)
{
    int64_t least =
        atomic_load_explicit(&mp_region_pool(sup->region)->least_limit_ns, memory_order_acquire);
    int64_t now = mp_now(), next;

    if (least <= 0)
        return MP_FOREVER;
    if (least < LEAST_LIMIT_NS) /* there is no shorter one: somebody scribbled */
        least = LEAST_LIMIT_NS;
    next = least < MP_FOREVER - now ? now + least : MP_FOREVER;
    if (now >= sup->stopped_at || sup->stopped_at > next) {
        kill_stopped(sup); /* not at each look: it asks the system about each worker */
        sup->stopped_at = next;
    }
    next = sup->stopped_at;
    for (uint32_t i = 0; i < sup->region->workers; i++) {
        int64_t at = expire(sup, i);

        if (at < next)
            next = at;
    }
    return next;
}
