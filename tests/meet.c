/* SPDX-License-Identifier: MIT */
#include "meet.h"

#include "support.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/ptrace.h>
#endif

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define SANITIZED
#endif

/* With sanitizers most instructions are theirs, and a fork takes long. */
#if defined __linux__ && !defined SANITIZED

static struct way {
    _Atomic bool begun;
    _Atomic bool over;
} * way; /* of the child */

static _Noreturn void be_stepped(void (*act)(void))
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
        _exit(1);
    raise(SIGSTOP);
    atomic_store(&way->begun, true);
    act();
    atomic_store(&way->over, true);
    _exit(0);
}

/* So many steps into it the other acts.  False: it was over sooner; -1 in *status: cannot be. */
static bool meet_after(const struct meeting *meeting, uint32_t steps, int *status)
{
    bool met = false;
    pid_t pid;

    *way = (struct way){.begun = false};
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        be_stepped(meeting->stepped);
    while (waitpid(pid, status, 0) == pid && WIFSTOPPED(*status)) {
        if (!met && atomic_load(&way->begun) && !atomic_load(&way->over) && steps-- == 0) {
            meeting->other();
            met = true;
        }
        if (ptrace(met || atomic_load(&way->over) ? PTRACE_CONT : PTRACE_SINGLESTEP, pid, NULL,
                   NULL))
            kill(pid, SIGKILL);
    }
    return met;
}

uint32_t test_meet(const struct meeting *meeting)
{
    uint32_t steps = 0;
    int status = 0;
    bool met = true;

    if (test_under_valgrind())
        return 0;
    way = test_share(sizeof *way);
    for (; met; steps++) {
        meeting->begin();
        met = meet_after(meeting, steps, &status);
        if (status)
            break;
        if (met && !meeting->holds())
            fail_msg("not after %u instructions", steps);
    }
    test_unshare(way, sizeof *way);
    return status ? 0 : steps; /* 0: nobody may trace here */
}

#else

uint32_t test_meet(const struct meeting *meeting)
{
    (void)meeting;
    return 0;
}

#endif
