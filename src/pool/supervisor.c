/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: forks the workers (child.c is what they do first), reaps them, has what a dead one
 * left mended (bury.c), replaces it, enforces deadlines, and ends everything when the host is gone.
 * It has a process of its own with one thread and the memory of the moment the generation was
 * started; it runs no user code but in the workers it forks, and allocates nothing.  It never
 * touches a result, and trusts nothing that a worker can write.
 */
#include "supervisor.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../point.h"
#include "diary.h"
#include "worker.h"

enum {
    /* In a row, with no worker up, the pool gives up: so many, and at least four for each
     * worker. */
    MAX_FAILED_STARTS = 16,
    MAX_BACKOFF_SHIFT = 7, /* 128 ms between starts at most */
    NS_PER_MS = 1000000,
};

/* ---- starting workers ------------------------------------------------------------------------ */

/* The supervisor keeps both ends of a worker's bond.  Should it die while this process has copies of
 * them still, they are the last, and the group of that worker is to be told by their closing: the
 * writing end goes first, when there is still a reading end that has an owner. */
void mp_close_bond(struct seat *seat)
{
    seat->bond[0] = mp_close(seat->bond[0]);
    seat->bond[1] = mp_close(seat->bond[1]);
}

static bool any_worker_up(const struct supervisor *sup)
{
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (sup->seats[i].pid > 0 &&
            atomic_load_explicit(&mp_region_worker(sup->region, i)->up, memory_order_acquire))
            return true;
    return false;
}

/* A worker and what its task started; by its own number, too, should the task have left the group.
 * False: it cannot be killed. */
static bool kill_worker(pid_t pid)
{
    mp_kill(pid, true, SIGKILL);
    return mp_kill(pid, false, SIGKILL) == 0;
}

static void reap_killed(const struct supervisor *sup, uint32_t number)
{
    while (waitpid(sup->seats[number].pid, NULL, 0) < 0 && errno == EINTR)
        ;
    mp_bury_untold(sup, number);
}

static _Noreturn void kill_all(struct supervisor *sup)
{
    CRASH_POINT("about to kill all");
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (sup->seats[i].pid > 0 && !kill_worker(sup->seats[i].pid))
            sup->seats[i].pid = 0; /* its bond ends it, when this process is gone */
    CRASH_POINT("all killed, not reaped");
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (sup->seats[i].pid > 0)
            reap_killed(sup, i);
    _exit(0);
}

static _Noreturn void give_up(struct supervisor *sup, enum broken_reason reason, int value)
{
    struct pool_shm *pool = mp_region_pool(sup->region);

    /* Relaxed: the host reads them after the end of file on the bell. */
    atomic_store_explicit(&pool->broken_value, value, memory_order_relaxed);
    atomic_store_explicit(&pool->broken_reason, reason, memory_order_relaxed);
    kill_all(sup);
}

static void ring(struct supervisor *sup, enum generation_fd bell)
{
    if (mp_ring(sup->fds[bell]))
        kill_all(sup); /* the end of the bell tells, too */
}

static void ring_bell(struct supervisor *sup)
{
    if (!sup->region->on_words)
        ring(sup, BELL_WRITE);
    else if (mp_bell_ring(sup->region))
        kill_all(sup);
}

/* Tell the host of a death, after what it left was mended: the counts, and then the bell, whatever
 * host_waits says, because nobody else tells.  Sequentially consistent: the host says that it waits
 * and then looks at the counts. */
static void announce_death(struct supervisor *sup, bool ticket_may_be_lost)
{
    struct pool_shm *pool = mp_region_pool(sup->region);

    CRASH_POINT("buried, not counted");
    if (ticket_may_be_lost)
        atomic_fetch_add_explicit(&pool->lost, 1, memory_order_seq_cst);
    CRASH_POINT("lost counted");
    atomic_fetch_add_explicit(&pool->deaths, 1, memory_order_seq_cst);
    CRASH_POINT("death counted, not rung");
    ring_bell(sup);
    CRASH_POINT("death rung, not for the loop");
    ring(sup, LOOP_WRITE);
    CRASH_POINT("death announced");
}

/* A worker could not be started, or died before it was up: try again, but not at once.  Nobody
 * takes up the ticket in its record meanwhile, so the host is told that it may be lost. */
static void start_failed(struct supervisor *sup, uint32_t number, enum broken_reason reason,
                         int value)
{
    unsigned shift;

    sup->failed_starts++;
    if (sup->failed_starts >= MAX_FAILED_STARTS && sup->failed_starts >= 4 * sup->region->workers &&
        !any_worker_up(sup))
        give_up(sup, reason, value);
    shift = sup->failed_starts < MAX_BACKOFF_SHIFT ? sup->failed_starts : MAX_BACKOFF_SHIFT;
    sup->seats[number].start_at = mp_now() + ((int64_t)NS_PER_MS << shift);
    announce_death(sup, true);
}

/* Numbers that were the host's, and are closed here, stay free: a library of the host that knows its
 * own by number (libuv does, for one) may renew it in the child of any fork, and that is our worker.
 * Of a bond the parent's end keeps the higher number, see bond_linux.c. */
static void keep_clear(const struct supervisor *sup, int fds[2])
{
    int highest = 0;

    for (size_t i = 0; i < GENERATION_FDS; i++)
        if (sup->fds[i] > highest)
            highest = sup->fds[i];
    fds[1] = mp_move_above(fds[1], highest);
    fds[0] = mp_move_above(fds[0], highest);
}

static void start_worker(struct supervisor *sup, uint32_t number)
{
    struct worker_shm *record = mp_region_worker(sup->region, number);
    struct seat *seat = &sup->seats[number];
    sigset_t mask;
    pid_t pid;

    /* Relaxed: its next writer is forked below. */
    atomic_store_explicit(&record->up, 0, memory_order_relaxed);
    atomic_store_explicit(&record->left, 0, memory_order_relaxed);
    atomic_store_explicit(&record->deadline, 0, memory_order_relaxed);
    seat->expired = false;
    seat->since = 0;
    CRASH_POINT("about to fork a worker");
    pid = mp_bond_open(seat->bond, BOND_THREAD);
    if (pid == 0) {
        keep_clear(sup, seat->bond);
        pid = mp_fork(&mask, NULL);
        if (pid == 0)
            mp_worker_main(sup, number);
    }
    if (pid < 0) {
        mp_close_bond(seat);
        mp_diary_not_started(number, pid);
        start_failed(sup, number, BROKEN_FORK, pid);
        return;
    }
    CRASH_POINT("worker forked, not seated");
    setpgid(pid, pid); /* here and in the child: whoever is first */
    seat->pid = pid;
    seat->start_at = MP_FOREVER;
    mp_diary_started(sup->self, number, pid);
    CRASH_POINT("worker seated");
}

/* Start one worker that is due, no more: a fork can take its time, and limits and the end of the
 * host are to be seen in between.  When the next one is due. */
static int64_t start_due(struct supervisor *sup)
{
    int64_t next = MP_FOREVER;
    bool started = false;

    for (uint32_t i = 0; i < sup->region->workers; i++) {
        struct seat *seat = &sup->seats[i];

        if (seat->pid == 0 && seat->start_at != MP_FOREVER && mp_now() >= seat->start_at) {
            if (started)
                return 0;
            start_worker(sup, i);
            started = true;
        }
        if (seat->pid == 0 && seat->start_at < next)
            next = seat->start_at;
    }
    return next;
}

/* ---- reaping --------------------------------------------------------------------------------- */

/* The system tells of the largest of all that were reaped.  0: the one just reaped was not larger
 * than those before it. */
static uint64_t new_peak(struct supervisor *sup)
{
    uint64_t peak = mp_peak_of_children();

    if (peak <= sup->peak)
        return 0;
    sup->peak = peak;
    return peak;
}

/* May there be work that no living worker knows of?  What the dead one took and did not note; and what
 * its replacement has from its record, but others should have now: that one may be long in starting, or
 * hang there.  Not where it ended its chunk, or retired: that is so often, and nothing waits. */
static bool may_have_lost_ticket(const struct worker_shm *record, enum chunk_state became,
                                 int status)
{
    return became == CHUNK_WAITING || (became == CHUNK_NONE && WIFSIGNALED(status)) ||
           !atomic_load_explicit(&record->ticket, memory_order_acquire);
}

/* A worker is dead and reaped: nothing of it runs any more. */
static void worker_gone(struct supervisor *sup, uint32_t number, pid_t pid, int status)
{
    struct worker_shm *record = mp_region_worker(sup->region, number);
    struct seat *seat = &sup->seats[number];
    bool up = atomic_load_explicit(&record->up, memory_order_acquire);
    bool left = atomic_load_explicit(&record->left, memory_order_acquire);
    enum chunk_state became = mp_bury(sup, number, pid, status);

    mp_queue_look_away(sup->region, number); /* before the death is told: see queue.h */
    mp_diary_ended(sup->self, number, pid, status, left, seat->expired);
    mp_meter_bury(record, new_peak(sup));
    seat->pid = 0;
    mp_close_bond(seat);
    if (!up && !left) {
        start_failed(sup, number, sup->options->init ? BROKEN_INIT : BROKEN_START,
                     WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
        return;
    }
    sup->failed_starts = 0;
    seat->start_at = left ? MP_FOREVER : 0;
    announce_death(sup, left || may_have_lost_ticket(record, became, status));
}

static bool any_worker(const struct supervisor *sup)
{
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (sup->seats[i].pid > 0)
            return true;
    return false;
}

static void reap(struct supervisor *sup)
{
    for (;;) {
        siginfo_t info;
        int status;

        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT)) {
            if (errno == EINTR)
                continue;
            if (any_worker(sup)) /* who cannot see them die is no supervisor */
                kill_all(sup);
            return;
        }
        if (info.si_pid == 0)
            return;
        CRASH_POINT("death seen");
        /* Its process group, while its number cannot be anybody else's: what the task started. */
        mp_kill(info.si_pid, true, SIGKILL);
        CRASH_POINT("group killed, not reaped");
        if (waitpid(info.si_pid, &status, 0) != info.si_pid) {
            if (errno == EINTR)
                continue;
            kill_all(sup);
        }
        CRASH_POINT("reaped, not buried");
        for (uint32_t i = 0; i < sup->region->workers; i++)
            if (sup->seats[i].pid == info.si_pid)
                worker_gone(sup, i, info.si_pid, status);
    }
}

/* ---- stopping -------------------------------------------------------------------------------- */

void mp_must_kill(struct supervisor *sup, uint32_t number)
{
    if (!kill_worker(sup->seats[number].pid))
        kill_all(sup); /* who cannot enforce a limit is no supervisor */
}

/* Those whose chunk the host has made STOPPING. */
static void kill_stopping(struct supervisor *sup)
{
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (sup->seats[i].pid > 0 && mp_holds_chunk(sup, i, CHUNK_STOPPING)) {
            CRASH_POINT("to be stopped, not killed");
            mp_must_kill(sup, i);
        }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static int reaper_pipe; /* for the handler */

static void on_child(int signal)
{
    int saved = errno;

    (void)signal;
    if (mp_ring(reaper_pipe))
        _exit(EXIT_CANNOT_START); /* a death that nobody hears of; the bonds end the workers */
    errno = saved;
}

/* Everything that this process may still have from the host, but what it needs. */
static void drop_inheritance(struct supervisor *sup)
{
    int keep[] = {
        sup->fds[WAKE_READ], sup->fds[BELL_WRITE], sup->fds[LOOP_WRITE], sup->fds[CONTROL_READ], -1,
        mp_diary_fd()};

    sup->fds[WAKE_WRITE] = mp_close(sup->fds[WAKE_WRITE]);
    sup->fds[BELL_READ] = mp_close(sup->fds[BELL_READ]);
    sup->fds[LOOP_READ] = mp_close(sup->fds[LOOP_READ]);
    sup->fds[CONTROL_WRITE] = mp_close(sup->fds[CONTROL_WRITE]);
    sup->fds[NUDGE_READ] = mp_close(sup->fds[NUDGE_READ]);
    sup->fds[NUDGE_WRITE] = mp_close(sup->fds[NUDGE_WRITE]);
    mp_watch_child(&sup->fds[WATCH]);
    keep[4] = sup->fds[WATCH_CHILD];
    if (!sup->options->keep_descriptors)
        mp_close_others(keep, sizeof keep / sizeof keep[0]);
    mp_stdin_null(); /* what is to be read there is the host's */
}

static void set_up(struct supervisor *sup)
{
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
    sigset_t all_but_child;
    int r;

    setpgid(0, 0);        /* a Ctrl-C at the terminal is for the host alone */
    mp_signals_default(); /* once, and not in each worker */
    mp_set_name("mproc:super");
    drop_inheritance(sup);
    sup->self = getpid();
    if (sup->region->on_words)
        mp_bell_own(sup->region);
    mp_diary_generation(sup->self, getppid());
    r = mp_pipe(sup->reaper);
    keep_clear(sup, sup->reaper);
    if (!r)
        r = mp_nonblocking(sup->reaper[0]);
    if (!r)
        r = mp_nonblocking(sup->reaper[1]);
    if (!r)
        r = mp_nonblocking(sup->fds[CONTROL_READ]);
    reaper_pipe = sup->reaper[1];
    sigemptyset(&action.sa_mask);
    signal(SIGPIPE, SIG_IGN); /* ringing for a host that is gone */
    sigfillset(&all_but_child);
    sigdelset(&all_but_child, SIGCHLD);
    sigdelset(&all_but_child, SIGBUS); /* see bury.c */
    if (!r && (sigaction(SIGCHLD, &action, NULL) || sigprocmask(SIG_SETMASK, &all_but_child, NULL)))
        r = -errno;
    if (r)
        give_up(sup, BROKEN_FORK, r);
}

/* Read a pipe empty.  False: end of file, or there is no reading it. */
static bool drain(int fd)
{
    char bytes[256];
    ssize_t n;

    do
        n = mp_read(fd, bytes, sizeof bytes);
    while (n > 0);
    return n == -EAGAIN;
}

static bool all_have_left(const struct supervisor *sup)
{
    for (uint32_t i = 0; i < sup->region->workers; i++)
        if (sup->seats[i].pid != 0 || sup->seats[i].start_at != MP_FOREVER)
            return false;
    return true;
}

/* Remember how many slots there are, before somebody scribbles over that. */
static void note_slots(struct supervisor *sup)
{
    uint32_t slots =
        atomic_load_explicit(&mp_region_pool(sup->region)->slots, memory_order_acquire);

    if (slots > sup->slots)
        sup->slots = slots < MP_SLOTS ? slots : MP_SLOTS;
}

/* The host has no writing end of the loop's bell, and asks for it to be rung: see loop.c. */
static void ring_if_asked(struct supervisor *sup)
{
    /* Sequentially consistent: whoever asks from here on pokes again. */
    if (atomic_exchange_explicit(&mp_region_pool(sup->region)->loop_asks, 0, memory_order_seq_cst))
        ring(sup, LOOP_WRITE);
}

_Noreturn void mp_supervisor_run(struct supervisor *sup)
{
    int64_t next = 0;

    CRASH_POINT("supervisor forked");
    set_up(sup);
    CRASH_POINT("supervisor set up");
    note_slots(sup);
    for (;;) {
        struct pollfd polled[] = {{.fd = sup->fds[CONTROL_READ], .events = POLLIN},
                                  {.fd = sup->reaper[0], .events = POLLIN}};
        int64_t due;

        if (mp_poll(polled, 2, next) < 0) { /* no memory, perhaps: look at everything instead */
            mp_pause();
            polled[0].revents = polled[1].revents = POLLIN;
        }
        if (polled[1].revents) {
            drain(sup->reaper[0]); /* first, so that a death after the reaping writes again */
            reap(sup);
        }
        if (polled[0].revents) {
            if (!drain(sup->fds[CONTROL_READ]))
                kill_all(sup); /* the host is gone, or wants it so */
            kill_stopping(sup);
            ring_if_asked(sup);
        }
        note_slots(sup);
        next = mp_expire_all(sup);
        due = start_due(sup);
        if (due < next)
            next = due;
        if (all_have_left(sup)) {
            CRASH_POINT("all have left");
            _exit(0);
        }
    }
}
