/* SPDX-License-Identifier: MIT */
/*
 * Lines on the standard error (MPROC_LOG=warn or debug) and a timeline in Chrome's trace format, for
 * Perfetto and its like (MPROC_TRACE=file).  Opened by the host, written by host, supervisor and
 * workers, each line by one write: so the file is whole up to the last line whoever is killed, but
 * for the bracket at its end, which the format does without.  An existing file is continued.
 *
 * Nothing that is written here holds anybody up: a standard error that would block is passed over.
 */
#include "diary.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../env.h"
#include "../names.h"
#include "../os/os.h"

enum level { QUIET, WARN, DEBUG };

/* Set once in the host; every child has it from the fork. */
static enum level level;
static int trace = -1;
static struct mark trace_mark;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- a line ---------------------------------------------------------------------------------- */

enum { ENTRY_MAX = 512, DIGITS_MAX = 20 }; /* below PIPE_BUF of any system */

struct entry {
    char text[ENTRY_MAX];
    size_t length;
};

static void add(struct entry *entry, const char *text)
{
    size_t length = strlen(text);

    if (length > sizeof entry->text - entry->length)
        length = sizeof entry->text - entry->length;
    memcpy(entry->text + entry->length, text, length);
    entry->length += length;
}

static void add_number(struct entry *entry, uint64_t number)
{
    char digits[DIGITS_MAX + 1];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    add(entry, digits + at);
}

static void add_pid(struct entry *entry, pid_t pid)
{
    add_number(entry, pid > 0 ? (uint64_t)pid : 0);
}

/* Microseconds, as the format wants them. */
static void add_time(struct entry *entry, int64_t ns)
{
    uint64_t time = ns > 0 ? (uint64_t)ns : 0;
    char rest[] = {'.', (char)('0' + time % 1000 / 100), (char)('0' + time % 100 / 10),
                   (char)('0' + time % 10), '\0'};

    add_number(entry, time / 1000);
    add(entry, rest);
}

/* ---- the standard error ---------------------------------------------------------------------- */

static bool begin_log(struct entry *entry, enum level least)
{
    entry->length = 0;
    if (level < least)
        return false;
    add(entry, "mproc[");
    add_pid(entry, getpid());
    add(entry, "]: ");
    return true;
}

static void end_log(struct entry *entry)
{
    struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};

    add(entry, "\n");
    /* A pipe with nobody at its end would be a SIGPIPE in the host. */
    if (poll(&polled, 1, 0) == 1 && polled.revents == POLLOUT)
        mp_write(STDERR_FILENO, entry->text, entry->length);
}

static void add_worker(struct entry *entry, uint32_t worker, pid_t pid)
{
    add(entry, "worker ");
    add_number(entry, worker);
    if (pid > 0) {
        add(entry, " (pid ");
        add_pid(entry, pid);
        add(entry, ")");
    }
}

/* ---- the timeline ---------------------------------------------------------------------------- */

int mp_diary_fd(void)
{
    return trace;
}

bool mp_diary_traces(void)
{
    return trace >= 0;
}

/* {"ph":"X","pid":1,"tid":2,"ts":3.000 -- and what the caller adds. */
static bool begin_event(struct entry *entry, const char *kind, pid_t pool, uint64_t thread,
                        int64_t at)
{
    entry->length = 0;
    if (!mp_is_marked(trace, &trace_mark)) /* none, or the program closed it */
        return false;
    add(entry, "{\"ph\":\"");
    add(entry, kind);
    add(entry, "\",\"pid\":");
    add_pid(entry, pool);
    add(entry, ",\"tid\":");
    add_number(entry, thread);
    add(entry, ",\"ts\":");
    add_time(entry, at);
    return true;
}

static void end_event(struct entry *entry)
{
    add(entry, "}},\n");
    mp_write(trace, entry->text, entry->length);
}

static void name_row(const char *what, pid_t pool, uint64_t thread, const char *name,
                     uint64_t number)
{
    struct entry entry;

    if (!begin_event(&entry, "M", pool, thread, 0))
        return;
    add(&entry, ",\"name\":\"");
    add(&entry, what);
    add(&entry, "\",\"args\":{\"name\":\"");
    add(&entry, name);
    add_number(&entry, number);
    add(&entry, "\"");
    end_event(&entry);
}

static void add_items(struct entry *entry, uint64_t first, uint64_t count)
{
    add(entry, ",\"name\":\"item ");
    add_number(entry, first);
    if (count > 1) {
        add(entry, " to ");
        add_number(entry, first + count - 1);
    }
    add(entry, "\"");
}

void mp_diary_chunk(pid_t pool, uint32_t worker, uint64_t first, uint64_t count, int64_t began,
                    bool failed)
{
    struct entry entry;

    if (!begin_event(&entry, "X", pool, worker, began))
        return;
    add(&entry, ",\"dur\":");
    add_time(&entry, mp_now() - began);
    add_items(&entry, first, count);
    add(&entry, failed ? ",\"args\":{\"ended\":\"failed\"" : ",\"args\":{\"ended\":\"done\"");
    end_event(&entry);
}

void mp_diary_lost_chunk(pid_t pool, uint32_t worker, uint64_t item, int64_t began)
{
    int64_t now = trace >= 0 ? mp_now() : 0;
    struct entry entry;

    /* A worker that scribbled over its record began when it likes. */
    if (!begin_event(&entry, "X", pool, worker, began > 0 && began < now ? began : now))
        return;
    add(&entry, ",\"dur\":");
    add_time(&entry, began > 0 && began < now ? now - began : 0);
    add_items(&entry, item, 1);
    add(&entry, ",\"args\":{\"ended\":\"its worker died\"");
    end_event(&entry);
}

static void add_mark(struct entry *entry, pid_t pid)
{
    add(entry, "\",\"args\":{\"pid\":");
    add_pid(entry, pid);
    end_event(entry);
}

/* ---- what happens ---------------------------------------------------------------------------- */

void mp_diary_generation(pid_t pool, pid_t host)
{
    struct entry entry;

    name_row("process_name", pool, 0, "mproc pool of process ", (uint64_t)host);
    if (begin_log(&entry, DEBUG)) {
        add(&entry, "a pool of process ");
        add_pid(&entry, host);
        end_log(&entry);
    }
}

void mp_diary_started(pid_t pool, uint32_t worker, pid_t pid)
{
    struct entry entry;

    name_row("thread_name", pool, worker, "worker ", worker);
    if (begin_event(&entry, "i", pool, worker, mp_now())) {
        add(&entry, ",\"s\":\"t\",\"name\":\"started");
        add_mark(&entry, pid);
    }
    if (begin_log(&entry, DEBUG)) {
        add_worker(&entry, worker, pid);
        add(&entry, " started");
        end_log(&entry);
    }
}

static void add_end(struct entry *entry, int status, bool left, bool expired)
{
    const char *name;

    if (expired) {
        add(entry, "killed at the time limit");
    } else if (WIFSIGNALED(status)) {
        name = mp_signal_name(WTERMSIG(status));
        add(entry, name ? "killed by " : "killed by signal ");
        if (name)
            add(entry, name);
        else
            add_number(entry, (uint64_t)WTERMSIG(status));
    } else if (left) {
        add(entry, "left");
    } else {
        add(entry, "exited with status ");
        add_number(entry, (uint64_t)WEXITSTATUS(status));
    }
}

void mp_diary_ended(pid_t pool, uint32_t worker, pid_t pid, int status, bool left, bool expired)
{
    bool in_peace = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    struct entry entry;

    if (begin_event(&entry, "i", pool, worker, mp_now())) {
        add(&entry, ",\"s\":\"t\",\"name\":\"");
        add_end(&entry, status, left, expired);
        add_mark(&entry, pid);
    }
    if (begin_log(&entry, in_peace ? DEBUG : WARN)) {
        add_worker(&entry, worker, pid);
        add(&entry, " ");
        add_end(&entry, status, left, expired);
        end_log(&entry);
    }
}

void mp_diary_not_started(uint32_t worker, int error)
{
    struct entry entry;

    if (!begin_log(&entry, WARN))
        return;
    add_worker(&entry, worker, 0);
    add(&entry, " cannot be started: errno ");
    add_number(&entry, (uint64_t)(error < 0 ? -error : error));
    end_log(&entry);
}

void mp_diary_broken(const char *why)
{
    struct entry entry;

    if (!begin_log(&entry, WARN))
        return;
    add(&entry, "the pool has lost its processes: ");
    add(&entry, why);
    end_log(&entry);
}

/* ---- the environment ------------------------------------------------------------------------- */

/* A file of the user's own, or a new one; nothing that could hold up who writes. */
static int open_trace(const char *path)
{
    int fd =
        mp_above_standard(open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666));
    struct stat status;

    if (fd < 0)
        return fd;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
        mp_close(fd);
        return -EINVAL;
    }
    fd = mp_move_up(fd);
    if (status.st_size == 0)
        mp_write(fd, "[\n", 2);
    return fd;
}

static void read_environment(void)
{
    const char *log = mp_env("MPROC_LOG");
    const char *path = mp_env("MPROC_TRACE");
    struct entry entry;

    if (log)
        level = strcmp(log, "debug") == 0 ? DEBUG : strcmp(log, "warn") == 0 ? WARN : QUIET;
    if (!path || !path[0])
        return;
    trace = open_trace(path);
    trace_mark = mp_mark(trace);
    if (trace < 0 && begin_log(&entry, WARN)) {
        add(&entry, "MPROC_TRACE names no file that can be written");
        end_log(&entry);
    }
}

void mp_diary_open(void)
{
    pthread_once(&once, read_environment);
}
