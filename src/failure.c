/* SPDX-License-Identifier: MIT */
/* How a task failed, in words.  Runs in any process. */
#include "mproc/error.h"

#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- signals --------------------------------------------------------------------------------- */

#define SIGNALS(X)                                                                                 \
    X(SIGABRT)                                                                                     \
    X(SIGALRM) X(SIGBUS) X(SIGCHLD) X(SIGCONT) X(SIGFPE) X(SIGHUP) X(SIGILL) X(SIGINT) X(SIGKILL)  \
        X(SIGPIPE) X(SIGPROF) X(SIGQUIT) X(SIGSEGV) X(SIGSTOP) X(SIGSYS) X(SIGTERM) X(SIGTRAP)     \
            X(SIGTSTP) X(SIGTTIN) X(SIGTTOU) X(SIGURG) X(SIGUSR1) X(SIGUSR2) X(SIGVTALRM)          \
                X(SIGXCPU) X(SIGXFSZ)
#define SIGNAL_ROW(signal) {signal, #signal},

/* Its name, or NULL: the C library's own function for that is newer than the library. */
static const char *signal_name(int32_t signal)
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

/* A line that grows, cut where its room ends. */
struct line {
    char *text;
    size_t room;
    size_t length; /* of the whole */
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
add(struct line *line, const char *format, ...)
{
    size_t left = line->length < line->room ? line->room - line->length : 0;
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(left ? line->text + line->length : NULL, left, format, arguments);
    va_end(arguments);
    if (n > 0)
        line->length += (size_t)n;
}

static void add_signal(struct line *line, const char *what, int32_t signal)
{
    const char *name = signal_name(signal);

    if (name)
        add(line, " %s %s", what, name);
    else
        add(line, " %s signal %" PRId32, what, signal);
}

/* "worker 3 (pid 4242) killed by SIGSEGV after 0.8 s" */
static void add_end_of_run(struct line *line, const mproc_failure *failure)
{
    if (failure->worker >= 0)
        add(line, "worker %" PRId32, failure->worker);
    else
        add(line, "the worker");
    if (failure->pid > 0)
        add(line, " (pid %" PRId32 ")", failure->pid);
    if (failure->error == MPROC_ETASK)
        add(line, " returned %" PRId32, failure->code);
    else if (failure->error == MPROC_ELIMIT)
        add(line, " killed at the time limit");
    else if (failure->signal)
        add_signal(line, "killed by", failure->signal);
    else
        add(line, " exited with status %" PRId32, failure->code);
    if (failure->worker >= 0)
        add(line, " after %" PRId64 ".%" PRId64 " s", failure->ran_ms / 1000,
            failure->ran_ms / 100 % 10);
    if (failure->attempts > 1)
        add(line, ", attempt %" PRId32, failure->attempts);
}

static void add_failure(struct line *line, const mproc_failure *failure)
{
    if (failure->error == 0) {
        add(line, "no failure");
        return;
    }
    add(line, "item %" PRIu64 ": ", failure->index);
    if (failure->error == MPROC_ETASK || failure->error == MPROC_ECRASHED ||
        failure->error == MPROC_ELIMIT)
        add_end_of_run(line, failure);
    else
        add(line, "%s", mproc_strerror(failure->error));
    if (failure->text[0])
        add(line, ": %s", failure->text);
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
