/* SPDX-License-Identifier: MIT */
/* How a task failed, in words.  Runs in any process. */
#include "mproc/error.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "line.h"
#include "names.h"
#include "options.h"

/* ---- signals --------------------------------------------------------------------------------- */

#define SIGNALS(X)                                                                                 \
    X(SIGABRT)                                                                                     \
    X(SIGALRM)                                                                                     \
    X(SIGBUS)                                                                                      \
    X(SIGCHLD)                                                                                     \
    X(SIGCONT)                                                                                     \
    X(SIGFPE)                                                                                      \
    X(SIGHUP)                                                                                      \
    X(SIGILL)                                                                                      \
    X(SIGINT)                                                                                      \
    X(SIGKILL)                                                                                     \
    X(SIGPIPE)                                                                                     \
    X(SIGPROF)                                                                                     \
    X(SIGQUIT)                                                                                     \
    X(SIGSEGV)                                                                                     \
    X(SIGSTOP)                                                                                     \
    X(SIGSYS)                                                                                      \
    X(SIGTERM)                                                                                     \
    X(SIGTRAP)                                                                                     \
    X(SIGTSTP)                                                                                     \
    X(SIGTTIN) X(SIGTTOU) X(SIGURG) X(SIGUSR1) X(SIGUSR2) X(SIGVTALRM) X(SIGXCPU) X(SIGXFSZ)
#define SIGNAL_ROW(signal) {signal, #signal},

/* A table, because the C library's own function for that, sigabbrev_np(), is too new to count on. */
const char *mp_signal_name(int signal)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {SIGNALS(SIGNAL_ROW)};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == signal)
            return names[i].name;
    return NULL;
}

/* ---- the line -------------------------------------------------------------------------------- */

static void add_signal(struct line *line, const char *what, int32_t signal)
{
    const char *name = mp_signal_name(signal);

    if (name)
        mp_line_add(line, " %s %s", what, name);
    else
        mp_line_add(line, " %s signal %" PRId32, what, signal);
}

/* "worker 3 (pid 4242) killed by SIGSEGV after 0.8 s" */
static void add_end_of_run(struct line *line, const mproc_failure *failure)
{
    if (failure->worker >= 0)
        mp_line_add(line, "worker %" PRId32, failure->worker);
    else
        mp_line_add(line, "the worker");
    if (failure->pid > 0)
        mp_line_add(line, " (pid %" PRId32 ")", failure->pid);
    if (failure->error == MPROC_ETASK)
        mp_line_add(line, " returned %" PRId32, failure->code);
    else if (failure->error == MPROC_ELIMIT)
        mp_line_add(line, " killed at the time limit");
    else if (failure->signal)
        add_signal(line, "killed by", failure->signal);
    else
        mp_line_add(line, " exited with status %" PRId32, failure->code);
    if (failure->worker >= 0)
        mp_line_add(line, " after %" PRId64 ".%" PRId64 " s", failure->ran_ms / 1000,
                    failure->ran_ms / 100 % 10);
    if (failure->attempts > 1)
        mp_line_add(line, ", attempt %" PRId32, failure->attempts);
}

static void add_failure(struct line *line, const mproc_failure *failure)
{
    if (failure->error == 0) {
        mp_line_add(line, "no failure");
        return;
    }
    mp_line_add(line, "item %" PRIu64 ": ", failure->index);
    if (failure->error == MPROC_ETASK || failure->error == MPROC_ECRASHED ||
        failure->error == MPROC_ELIMIT)
        add_end_of_run(line, failure);
    else
        mp_line_add(line, "%s", mproc_strerror(failure->error));
    if (failure->text[0])
        mp_line_add(line, ": %s", failure->text);
}

int mproc_failure_describe(const mproc_failure *failure, char *text, size_t size)
{
    struct line line = {text, size, 0};
    mproc_failure whole;

    if (!failure || (size && !text) || mp_options_copy(&whole, sizeof whole, failure))
        return -EINVAL;
    if (failure->size < sizeof whole) /* of an older header: it does not say */
        whole.worker = -1;
    if (whole.ran_ms < 0)
        whole.ran_ms = 0;
    whole.text[sizeof whole.text - 1] = '\0';
    if (size)
        text[0] = '\0';
    add_failure(&line, &whole);
    return (int)line.length; /* far below INT_MAX: a text has a limit, and numbers do */
}
