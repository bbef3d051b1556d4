/* SPDX-License-Identifier: MIT */
/* The calls that the linker leads here: each counts itself, and fails or goes through. */
#define _GNU_SOURCE
#include "strike.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct strike *plan; /* NULL: every call goes through */
static unsigned depth;      /* forks since strike_begin() */
static uint32_t made[CALLS];
static long live; /* blocks of memory */

void strike_begin(struct strike *shared)
{
    depth = 0;
    live = 0;
    for (int i = 0; i < CALLS; i++)
        made[i] = 0;
    plan = shared;
}

long strike_end(void)
{
    plan = NULL;
    return live;
}

bool strike_fired(void)
{
    return plan && atomic_load(&plan->fired) > 0;
}

static void note_most(_Atomic uint32_t *most, uint32_t count)
{
    uint32_t seen = atomic_load(most);

    while (seen < count && !atomic_compare_exchange_weak(most, &seen, count))
        ;
}

/* Is this call to fail?  Then errno is set; the value is what the plan says. */
static int strike(enum call call)
{
    uint32_t number, none = 0;

    if (!plan || depth >= ROLES)
        return 0;
    number = ++made[call];
    note_most(&plan->seen[depth][call], number);
    if (!plan->at || call != plan->call || depth != plan->role || number < plan->at)
        return 0;
    if (plan->sticky)
        atomic_fetch_add(&plan->fired, 1);
    else if (number > plan->at || !atomic_compare_exchange_strong(&plan->fired, &none, 1))
        return 0;
    if (plan->error != STRIKE_SHORT)
        errno = plan->error;
    return plan->error;
}

/* ---- calls that just fail -------------------------------------------------------------------- */

/* `failed` may use `error`. */
#define WRAP(type, name, parameters, arguments, failed)                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        int error = strike(CALL_##name);                                                           \
                                                                                                   \
        return error ? failed : __real_##name arguments;                                           \
    }

#define FAILS (error ? -1 : 0)

WRAP(int, pipe, (int ends[2]), (ends), FAILS)
WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), FAILS)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), FAILS)
WRAP(int, shm_open, (const char *name, int flags, mode_t mode), (name, flags, mode), FAILS)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), FAILS)
WRAP(void *, mmap, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
     (at, size, prot, flags, fd, offset), MAP_FAILED)
WRAP(int, posix_fallocate, (int fd, off_t offset, off_t size), (fd, offset, size), error)
WRAP(int, fallocate, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size), FAILS)
WRAP(int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout), FAILS)
WRAP(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags), FAILS)
WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL)
WRAP(int, kill, (pid_t pid, int signal), (pid, signal), FAILS)
WRAP(int, setpgid, (pid_t pid, pid_t group), (pid, group), FAILS)
WRAP(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old), FAILS)
WRAP(int, sigaction, (int signal, const struct sigaction *action, struct sigaction *old),
     (signal, action, old), FAILS)
WRAP(int, pthread_atfork, (void (*before)(void), void (*parent)(void), void (*child)(void)),
     (before, parent, child), error)
WRAP(int, pthread_mutex_init, (pthread_mutex_t * lock, const pthread_mutexattr_t *attributes),
     (lock, attributes), error)
WRAP(int, pthread_cond_init, (pthread_cond_t * condition, const pthread_condattr_t *attributes),
     (condition, attributes), error)
WRAP(int, pthread_condattr_init, (pthread_condattr_t * attributes), (attributes), error)
WRAP(int, sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *set), (pid, size, set), FAILS)

/* ---- calls that fail only so far -------------------------------------------------------------- */

int __real_waitid(idtype_t type, id_t id, siginfo_t *info, int flags);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int flags);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int flags)
{
    bool of_old = type == P_ALL || type == P_PID || type == P_PGID;

    /* EINVAL is for a kind of process id that the kernel does not know. */
    if (!(plan && plan->error == EINVAL && of_old) && strike(CALL_waitid))
        return -1;
    return __real_waitid(type, id, info, flags);
}

int __real_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    /* Where a mask cannot be put back after a fork, it cannot be what it was. */
    int error = depth <= ROLE_CHILD && how == SIG_SETMASK ? 0 : strike(CALL_pthread_sigmask);

    return error ? error : __real_pthread_sigmask(how, set, old);
}

/* ---- calls that can do half their work ------------------------------------------------------- */

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size)
{
    int error = strike(CALL_read);

    if (error == STRIKE_SHORT)
        return __real_read(fd, to, size > 1 ? size / 2 : size);
    return error ? -1 : __real_read(fd, to, size);
}

ssize_t __real_write(int fd, const void *from, size_t size);
ssize_t __wrap_write(int fd, const void *from, size_t size);
ssize_t __wrap_write(int fd, const void *from, size_t size)
{
    int error = strike(CALL_write);

    if (error == STRIKE_SHORT)
        return __real_write(fd, from, size > 1 ? size / 2 : size);
    return error ? -1 : __real_write(fd, from, size);
}

/* ---- calls of any number of arguments -------------------------------------------------------- */

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list list;
    long argument;

    va_start(list, command);
    argument = va_arg(list, long);
    va_end(list);
    return strike(CALL_fcntl) ? -1 : __real_fcntl(fd, command, argument);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
    return strike(CALL_open) ? -1 : __real_open(path, flags, mode);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long arguments[4]; /* the library gives no more */
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 4; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (strike(CALL_syscall))
        return -1;
    return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3]);
}

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
    va_list list;
    unsigned long argument;

    va_start(list, option);
    argument = va_arg(list, unsigned long);
    va_end(list);
    return strike(CALL_prctl) ? -1 : __real_prctl(option, argument, 0UL, 0UL, 0UL);
}

/* ---- fork and memory, of which the counts are kept ------------------------------------------- */

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
    pid_t pid = strike(CALL_fork) ? -1 : __real_fork();

    if (pid == 0) {
        depth++;
        for (int i = 0; i < CALLS; i++)
            made[i] = 0;
    }
    return pid;
}

static bool inside; /* a static C library calls malloc from its calloc: that is one block */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    void *memory;

    if (inside)
        return __real_malloc(size);
    memory = strike(CALL_malloc) ? NULL : __real_malloc(size);
    live += memory != NULL;
    return memory;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    void *memory;

    if (inside)
        return __real_calloc(count, size);
    inside = true;
    memory = strike(CALL_calloc) ? NULL : __real_calloc(count, size);
    inside = false;
    live += memory != NULL;
    return memory;
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    void *memory;

    if (inside)
        return __real_realloc(old, size);
    inside = true;
    memory = strike(CALL_realloc) ? NULL : __real_realloc(old, size);
    inside = false;
    live += memory && !old;
    return memory;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    live -= memory && !inside;
    __real_free(memory);
}
