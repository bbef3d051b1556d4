/* SPDX-License-Identifier: MIT */
/*
 * strike.h: make a chosen call of the C library fail.  The linker leads every such call of the
 * program (--wrap) to strike.c, which counts it and, where the plan says so, fails it.  A plan lies
 * in memory that the processes of the library share; who they are is told by how many forks lie
 * between them and the process that began.
 */
#ifndef STRIKE_H
#define STRIKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STRIKE_CALLS(X)                                                                            \
    X(fork)                                                                                        \
    X(pipe)                                                                                        \
    X(pipe2)                                                                                       \
    X(memfd_create)                                                                                \
    X(shm_open)                                                                                    \
    X(ftruncate)                                                                                   \
    X(mmap)                                                                                        \
    X(posix_fallocate)                                                                             \
    X(fallocate)                                                                                   \
    X(malloc)                                                                                      \
    X(calloc)                                                                                      \
    X(realloc)                                                                                     \
    X(read)                                                                                        \
    X(write)                                                                                       \
    X(poll)                                                                                        \
    X(waitid)                                                                                      \
    X(waitpid)                                                                                     \
    X(fcntl)                                                                                       \
    X(open)                                                                                        \
    X(fopen)                                                                                       \
    X(syscall)                                                                                     \
    X(prctl)                                                                                       \
    X(kill)                                                                                        \
    X(setpgid)                                                                                     \
    X(sigprocmask)                                                                                 \
    X(pthread_sigmask)                                                                             \
    X(sigaction)                                                                                   \
    X(pthread_atfork)                                                                              \
    X(pthread_mutex_init)                                                                          \
    X(pthread_cond_init)                                                                           \
    X(pthread_condattr_init)                                                                       \
    X(sched_getaffinity)

#define STRIKE_ENUM(name) CALL_##name,
enum call { STRIKE_CALLS(STRIKE_ENUM) CALLS };
#undef STRIKE_ENUM

enum role { ROLE_HOST, ROLE_CHILD, ROLE_GRANDCHILD, ROLES };

/* An errno, or: half of what was asked for is read or written. */
enum { STRIKE_SHORT = -1 };

struct strike {
    /* The plan: constant while it is carried out. */
    enum call call;
    enum role role;
    uint32_t at; /* which of these calls in each process of the role, from 1; 0: none fails */
    int error;
    bool sticky; /* that one and all later; else one, once */

    _Atomic uint32_t fired;              /* calls that were made to fail */
    _Atomic uint32_t seen[ROLES][CALLS]; /* the most that one process has made */
};

/* From here on the plan is carried out, in this process as the host and in its forks. */
void strike_begin(struct strike *plan);
bool strike_fired(void); /* did any call fail? */
/* No more, in this process.  How many blocks of memory it has more than at the beginning. */
long strike_end(void);

#endif
