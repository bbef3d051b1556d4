/* SPDX-License-Identifier: MIT */
/*
 * One process: start it, wait for it, end it.
 *
 *   1. mproc_spawn() forks; the child calls `main` and ends with what it returns.
 *   2. mproc_join() waits and gives the exit code.  It may be called again: the answer stays.
 *   3. mproc_process_free() releases the handle.
 *
 * A program that closes the descriptors of a handle loses mproc_process_fd(), which is -EBADF then,
 * and a `daemon` is killed; a file that the program has at such a number is left alone.
 *
 * Any thread may use a handle, several at once too, except that nobody may use it during or after
 * mproc_process_free().
 */
#ifndef MPROC_PROCESS_H
#define MPROC_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mproc_process mproc_process;

/* What the child runs.  Its return value is the exit code: the low 8 bits of it, as everywhere. */
typedef int32_t (*mproc_main_fn)(void *arg);

typedef struct mproc_spawn_options {
    size_t size;
    const char *name;   /* as ps shows it; the system may keep only the first 15 bytes */
    int32_t daemon;     /* non-zero: the child is killed when its parent ends, by whatever cause */
    int32_t new_group;  /* non-zero: it leads a process group of its own, and signals sent with
                           mproc_process_signal() reach the whole group */
    int32_t stdin_null; /* non-zero: its standard input is /dev/null */
    int32_t reserved;   /* 0 */
} mproc_spawn_options;

/*
 * Start a process that runs main(arg).
 *
 * The child is a fork: it sees the memory of this moment, as a copy.  stdout and stderr are flushed
 * before the fork and, in the child, after `main`; the child ends with _exit, so that no atexit
 * function of the parent runs in it.  Signal dispositions and the signal mask are the parent's.  Of
 * a parent with more threads the child has only the calling one; what a lock of another thread
 * guarded at that moment stays locked in the child.
 *
 * Does not block.  Returns 0 and the new handle, or -EINVAL (NULL, bad options), -EAGAIN or -ENOMEM
 * (no process or memory to be had), -EMFILE or -ENFILE (no descriptor to be had).
 */
int mproc_spawn(mproc_process **process, mproc_main_fn main, void *arg,
                const mproc_spawn_options *options);

/*
 * Wait until the process has ended.  Blocks up to timeout_ms.  *exit_code (may be NULL) becomes
 * what `main` returned or the child gave to exit, 0 to 255, or -N when signal N ended it.
 *
 * Returns 0, -ETIMEDOUT, or MPROC_ELOST when the process has ended but its exit code went to
 * somebody else: a parent that ignores SIGCHLD, or calls wait() for any child.
 */
int mproc_join(mproc_process *process, int64_t timeout_ms, int32_t *exit_code);

/*
 * Wait until each of `count` processes has ended; NULL entries are passed over.  Blocks up to
 * timeout_ms in all.  Returns 0 or the first error of mproc_join(); an MPROC_ELOST does not stop it
 * from waiting for the others.
 */
int mproc_join_all(mproc_process *const *processes, size_t count, int64_t timeout_ms);

/* The process id, or an error.  Good for display: after the process was joined it may be another's.
 * Does not block. */
int32_t mproc_process_pid(const mproc_process *process);

/* 1 while the process runs, 0 when it has ended, or an error.  Does not block. */
int mproc_process_is_alive(mproc_process *process);

/*
 * A descriptor that becomes readable (POLLIN or POLLHUP) when the process has ended, for poll() and
 * its like.  It stays the handle's: do not read or close it.  Does not block.  Returns the
 * descriptor, or -EBADF if the program closed it.
 */
int mproc_process_fd(const mproc_process *process);

/*
 * Send a signal; to the whole process group if it was started with `new_group`.  terminate sends
 * SIGTERM, kill sends SIGKILL.  Never reaches a stranger that has got the same process id.
 * Returns 0, -ESRCH when the process has ended, -EINVAL for no signal, -EPERM.
 */
int mproc_process_signal(mproc_process *process, int32_t signal);
int mproc_process_terminate(mproc_process *process);
int mproc_process_kill(mproc_process *process);

/*
 * Release the handle.  A process that was not joined runs on; once it has ended, a later call of
 * mproc_spawn() or mproc_process_free() collects it, so that no zombie piles up.  A `daemon` runs
 * on too, and still ends with its parent.  Of a foreign handle only this process's copy is released.
 */
void mproc_process_free(mproc_process *process);

/*
 * How many processes can usefully run at once: MPROC_WORKERS from the environment if it is a number
 * from 1 to 4096 (ignored in a set-uid program), else the CPUs this process may run on, but not
 * more than the CPU quota of its cgroup (v1 or v2) and each cgroup above it, rounded up.  At least
 * 1.
 */
int32_t mproc_cpu_count(void);

#ifdef __cplusplus
}
#endif

#endif
