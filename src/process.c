/* SPDX-License-Identifier: MIT */
/*
 * One process at a time: spawn, join, signal, free.  Runs in the process that spawns; what runs in
 * the child is in the child_* functions.
 *
 * A handle's lock guards what is known of its end, so that of several threads that join one process
 * exactly one reaps it, and none signals it after that.  Nobody waits with the lock held, but for
 * the moment between the end of a process and its being reaped (see watch.c).
 *
 * A handle that is freed while its process runs goes to the orphans, which the guard lock of os.h
 * guards: thereby every fork finds that list whole.
 */
#include "mproc/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mproc/error.h"
#include "options.h"
#include "os/os.h"
#include "point.h"

enum { WATCH = 0, BOND = 2, FDS = 4 }; /* places in fds[] */
enum { LAST_SIGNAL = 64 };
enum {
    GRACE_NS = 20 * 1000 * 1000,
    UNWATCHED_NS = 10 * 1000 * 1000,   /* between two looks at a process whose watch is lost */
    LOOK_AGAIN_NS = 1000 * 1000 * 1000 /* whether it is lost */
};

enum end {
    RUNS,  /* as far as is known */
    ENDED, /* reaped: exit_code holds */
    LOST   /* it has ended, and somebody else has its exit code */
};

struct mproc_process {
    /* Constant once the handle is given out. */
    pid_t pid;
    unsigned epoch; /* the process it belongs to */
    bool group;     /* it leads a process group */
    int fds[FDS];   /* the watch, then the bond: see os.h */

    /* How it ended. */
    pthread_mutex_t lock;
    enum end end;
    int32_t exit_code;

    /* Under the guard lock. */
    struct guard guard; /* of fds */
    struct list link;   /* in orphans, once freed */
};

/* What the child needs of mproc_spawn(). */
struct birth {
    mproc_spawn_options options;
    mproc_main_fn main;
    void *arg;
    pid_t parent;
    sigset_t mask;
};

static struct list orphans = LIST_INIT(orphans); /* under the guard lock */

/* ---- the end of a process -------------------------------------------------------------------- */

static void note_end(mproc_process *process, int r, int status)
{
    process->end = r ? LOST : ENDED;
    process->exit_code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reap the process if it has ended; one whose descriptor says so already is on the point of it. */
static void look(mproc_process *process)
{
    int watch[2] = {mp_guard_fd(&process->guard, WATCH), -1};
    struct pollfd end = {.fd = watch[0], .events = POLLIN};
    int status = 0;
    int r = mp_watch_wait(watch, process->pid, 0, &status);

    if (r == -ETIMEDOUT && mp_poll(&end, 1, 0) > 0)
        r = mp_watch_wait(watch, process->pid, mp_now() + GRACE_NS, &status);
    if (r != -ETIMEDOUT)
        note_end(process, r, status);
}

/* 0 and the exit code, -EAGAIN: it runs, or MPROC_ELOST. */
static int collect(mproc_process *process, int32_t *exit_code)
{
    enum end end;

    pthread_mutex_lock(&process->lock);
    if (process->end == RUNS)
        look(process);
    end = process->end;
    pthread_mutex_unlock(&process->lock);
    if (end == RUNS)
        return -EAGAIN;
    if (end == LOST)
        return MPROC_ELOST;
    if (exit_code)
        *exit_code = process->exit_code; /* it changes no more */
    return 0;
}

static int check_handle(const mproc_process *process)
{
    if (!process)
        return -EINVAL;
    return process->epoch == mp_epoch() ? 0 : MPROC_EFOREIGN;
}

/* ---- handles; all with the guard lock held --------------------------------------------------- */

/* Of a foreign handle the atfork handler has closed the descriptors, and its lock may be held by a
 * thread that this process does not have. */
static void discard(mproc_process *process)
{
    mp_guard_remove(&process->guard);
    for (size_t i = 0; i < FDS; i++)
        mp_guard_close(&process->guard, i);
    if (process->epoch == mp_epoch())
        pthread_mutex_destroy(&process->lock);
    free(process);
}

/* Nobody else uses an orphan, and nobody is to wait for one here. */
static bool has_ended(mproc_process *process)
{
    int watch[2] = {-1, -1};
    int status;

    if (process->end != RUNS)
        return true;
    watch[0] = mp_guard_fd(&process->guard, WATCH);
    return mp_watch_wait(watch, process->pid, 0, &status) != -ETIMEDOUT;
}

static void reap_orphans(void)
{
    struct list *next;

    for (struct list *link = orphans.next; link != &orphans; link = next) {
        mproc_process *process = LIST_ENTRY(link, mproc_process, link);

        next = link->next;
        if (process->epoch != mp_epoch() || has_ended(process)) {
            list_remove(link);
            discard(process);
        }
    }
}

/* Open what a process of these options needs, guarded. */
static int open_fds(mproc_process *process, const mproc_spawn_options *options)
{
    int r = mp_watch_open(&process->fds[WATCH]);

    if (!r && options->daemon)
        r = mp_bond_open(&process->fds[BOND], BOND_PROCESS);
    mp_guard_add(&process->guard); /* on an error for the close of what was opened */
    return r;
}

static int process_create(mproc_process **process, const mproc_spawn_options *options)
{
    mproc_process *made = calloc(1, sizeof *made);
    int r;

    if (!made)
        return -ENOMEM;
    for (size_t i = 0; i < FDS; i++)
        made->fds[i] = -1;
    made->epoch = mp_epoch();
    made->group = options->new_group != 0;
    made->guard.fds = made->fds;
    made->guard.count = FDS;
    list_init(&made->link);
    pthread_mutex_init(&made->lock, NULL); /* with default attributes it does not fail */
    r = open_fds(made, options);
    if (r) {
        discard(made);
        return r;
    }
    *process = made;
    return 0;
}

/* The process was forked: make the descriptors the parent's. */
static void take_parent_ends(mproc_process *process)
{
    int r = mp_watch_parent(&process->fds[WATCH], process->pid);

    mp_guard_mark(&process->guard, WATCH);
    mp_bond_parent(&process->fds[BOND]);
    if (r) /* it has ended, that soon: its descriptor says so, and nobody is to wait for it */
        note_end(process, r, 0);
}

/* ---- the child ------------------------------------------------------------------------------- */

/* What this process keeps of its own birth; its children are not to hold it.  The handle, of which
 * it has a copy, goes where it is freed later: free() is no call to make so soon after a fork. */
static int child_fds[FDS];
static struct guard child_guard = {.fds = child_fds, .count = FDS};

static void child_take_ends(mproc_process *process)
{
    mp_watch_child(&process->fds[WATCH]);
    for (size_t i = 0; i < FDS; i++) {
        child_fds[i] = process->fds[i];
        process->fds[i] = -1;
    }
    mp_guard_lock();
    mp_guard_add(&child_guard);
    list_append(&orphans, &process->link);
    mp_guard_unlock();
}

static _Noreturn void child_run(mproc_process *process, const struct birth *birth)
{
    int32_t code;

    CRASH_POINT("child forked");
    child_take_ends(process);
    if (birth->options.new_group)
        setpgid(0, 0);
    if (birth->options.stdin_null)
        mp_stdin_null();
    if (birth->options.name)
        mp_set_name(birth->options.name);
    pthread_sigmask(SIG_SETMASK, &birth->mask, NULL);
    if (birth->options.daemon) /* after the mask, of which it may need a signal */
        mp_bond_child(&child_fds[BOND], BOND_PROCESS, birth->parent);
    CRASH_POINT("child bonded");
    code = birth->main(birth->arg);
    mp_flush_child();
    _exit(code & 0xff);
}

/* ---- spawn ----------------------------------------------------------------------------------- */

/* Fork, and become the parent of what came of it; on an error there is no child. */
static int give_birth(mproc_process *process, struct birth *birth)
{
    fflush(stdout); /* not NULL: that waits for a thread that reads from a terminal */
    fflush(stderr);
    process->pid = mp_fork(&birth->mask, &process->guard);
    if (process->pid < 0)
        return process->pid;
    if (process->pid == 0)
        child_run(process, birth);
    CRASH_POINT("child forked, not kept");
    if (process->group)
        setpgid(process->pid, process->pid); /* the child does so too: whoever comes first */
    mp_guard_lock();
    take_parent_ends(process);
    mp_guard_unlock();
    return 0;
}

int mproc_spawn(mproc_process **process, mproc_main_fn main, void *arg,
                const mproc_spawn_options *options)
{
    struct birth birth = {.main = main, .arg = arg, .parent = getpid()};
    mproc_process *made;
    int r = mp_options_copy(&birth.options, sizeof birth.options, options);

    if (!process || !main || r || birth.options.reserved)
        return -EINVAL;
    r = mp_guard_lock();
    if (r)
        return r;
    reap_orphans();
    r = process_create(&made, &birth.options);
    mp_guard_unlock();
    if (r)
        return r;
    r = give_birth(made, &birth);
    if (r) {
        mp_guard_lock();
        discard(made);
        mp_guard_unlock();
        return r;
    }
    *process = made;
    return 0;
}

/* ---- join ------------------------------------------------------------------------------------ */

static int join(mproc_process *process, int64_t deadline, int32_t *exit_code)
{
    int r = check_handle(process);

    if (r)
        return r;
    for (;;) {
        struct pollfd end = {.events = POLLIN};
        int64_t until;

        r = collect(process, exit_code);
        if (r != -EAGAIN)
            return r;
        end.fd = mp_guard_fd(&process->guard, WATCH);
        until = mp_now() + (end.fd < 0 ? UNWATCHED_NS : LOOK_AGAIN_NS);
        if (deadline != MP_FOREVER && mp_now() >= deadline)
            return -ETIMEDOUT;
        if (mp_poll(&end, 1, until < deadline ? until : deadline) < 0) /* no memory, perhaps */
            mp_pause();
    }
}

int mproc_join(mproc_process *process, int64_t timeout_ms, int32_t *exit_code)
{
    return join(process, mp_deadline(timeout_ms), exit_code);
}

int mproc_join_all(mproc_process *const *processes, size_t count, int64_t timeout_ms)
{
    int64_t deadline = mp_deadline(timeout_ms);
    int result = 0;

    if (!processes && count > 0)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        int r = processes[i] ? join(processes[i], deadline, NULL) : 0;

        if (r && r != MPROC_ELOST)
            return r;
        if (r)
            result = r;
    }
    return result;
}

/* ---- the living ------------------------------------------------------------------------------ */

int32_t mproc_process_pid(const mproc_process *process)
{
    int r = check_handle(process);

    return r ? r : process->pid;
}

int mproc_process_is_alive(mproc_process *process)
{
    int r = check_handle(process);

    if (r)
        return r;
    return collect(process, NULL) == -EAGAIN;
}

int mproc_process_fd(const mproc_process *process)
{
    int r = check_handle(process);

    if (r)
        return r;
    r = mp_guard_fd(&process->guard, WATCH);
    return r < 0 ? -EBADF : r;
}

int mproc_process_signal(mproc_process *process, int32_t signal)
{
    int watch[2] = {-1, -1};
    int r = check_handle(process);

    if (r)
        return r;
    if (signal <= 0 || signal > LAST_SIGNAL)
        return -EINVAL;
    r = -ESRCH;
    pthread_mutex_lock(&process->lock);
    watch[0] = mp_guard_fd(&process->guard, WATCH);
    if (process->end == RUNS)
        r = mp_watch_signal(watch, process->pid, process->group, signal);
    pthread_mutex_unlock(&process->lock);
    return r;
}

int mproc_process_terminate(mproc_process *process)
{
    return mproc_process_signal(process, SIGTERM);
}

int mproc_process_kill(mproc_process *process)
{
    return mproc_process_signal(process, SIGKILL);
}

/* ---- free ------------------------------------------------------------------------------------ */

void mproc_process_free(mproc_process *process)
{
    if (!process || mp_guard_lock())
        return;
    list_append(&orphans, &process->link);
    reap_orphans();
    mp_guard_unlock();
}
