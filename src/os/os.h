/* SPDX-License-Identifier: MIT */
/*
 * os.h: what the library asks of the kernel, but for plain calls of POSIX that are the same on every
 * system (the supervisor's waitpid(), the diary's open()).  Below it stand the only platform
 * conditionals.  Where Linux has a mechanism of its own there are two files, <name>_linux.c and
 * <name>_posix.c, and the build takes one of them (MPROC_POSIX forces the second).
 *
 * Every function returns 0 or a count, or -errno: errno is read here, once, and above in supervisor.c
 * alone, for the children that it reaps.
 * "Child" after a function says that it may be called between fork and the child's main: it makes
 * only async-signal-safe calls.
 */
#ifndef MP_OS_H
#define MP_OS_H

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../list.h"

/* ---- clock.c: time, and waiting with a deadline ---------------------------------------------- */

#define MP_FOREVER INT64_MAX

int64_t mp_now(void); /* nanoseconds of the monotonic clock.  Child. */
/* The same clock as it was at its last tick, some milliseconds ago at most: cheap.  Child. */
int64_t mp_now_coarse(void);
int64_t mp_deadline(int64_t timeout_ms); /* as mp_now(); MP_FOREVER for a negative timeout */
/* poll() until something is ready (its count) or the deadline has passed (0); EINTR is not seen. */
int mp_poll(struct pollfd *fds, size_t count, int64_t deadline);
void mp_pause(void); /* a millisecond, for who is to look again where poll() cannot tell when */

/* A hint: this will be read soon, and lies in another CPU's cache.  Any address will do. */
static inline void mp_prefetch(const void *address)
{
#if defined(__GNUC__)
    __builtin_prefetch(address);
#else
    (void)address;
#endif
}

/* ---- linger.c: to look for news for a while before going to sleep ---------------------------- */

/* Zeroed: as seems good, giving way to others who want the CPU. */
struct patience {
    int32_t spin_us; /* above 0: so long, seldom giving way; below 0: not at all */
    uint32_t rounds;
};

/* True: there is news.  False, at the deadline at the latest: not yet. */
bool mp_linger(struct patience *patience, bool (*news)(const void *arg), const void *arg,
               int64_t deadline);

/* ---- futex_*.c: to sleep on a word that processes share -------------------------------------- */

/* Where it cannot be done there are pipes for it, and none of these is called. */
bool mp_can_sleep_on_words(void);
/* Sleep while the word is `seen`, until somebody wakes.  0: woken, or it is another by now; -ETIMEDOUT;
 * -EPERM and the like: a filter of system calls forbids it.  Child. */
int mp_sleep_on_word(_Atomic uint32_t *word, uint32_t seen, int64_t deadline);
/* Wake `count` who sleep on it, which is not 0, or fewer if there are no more.  0 or an error, as above.
 * Child. */
int mp_wake_on_word(_Atomic uint32_t *word, uint32_t count);

/*
 * A word with an owner: MP_OWNED, the process id of the owner, and MP_RUNG, which is for whoever wakes.
 * When the owner ends, in whatever way, the kernel takes its number out, sets MP_RUNG, and wakes.
 */
#define MP_OWNED 0x80000000U
#define MP_RUNG  0x40000000U
#define MP_OWNER 0x3fffffffU

/* This process, which has one thread, becomes the owner.  -ENOSYS: nobody will, then.  Child. */
int mp_own_word(_Atomic uint32_t *word);

/* ---- fd.c, fd_*.c: descriptors --------------------------------------------------------------- */

/* A pipe: [0] reads, [1] writes; close-on-exec, and never 0 to 2, so that a host that closed its
 * standard streams does not find a pipe of ours there. */
int mp_pipe(int ends[2]);
int mp_close(int fd);       /* accepts -1; returns -1: fd = mp_close(fd).  Child. */
int mp_nonblocking(int fd); /* Child. */
ssize_t mp_read(int fd, void *to, size_t size);          /* one read, EINTR repeated.  Child. */
ssize_t mp_write(int fd, const void *from, size_t size); /* one write, EINTR repeated.  Child. */
/* Write the one byte that means "look" into a non-blocking pipe.  A full one is not empty, so that
 * is as good, and a reader that is gone needs no bell.  An error: nobody is told.  Child. */
int mp_ring(int fd);
/* Close every descriptor from 3 up but those in keep[] (any order, -1 passed over; the array is
 * sorted in place).  Child. */
void mp_close_others(int *keep, size_t count);
void mp_stdin_null(void); /* make descriptor 0 /dev/null.  Child. */
/* Takes what a call has just returned: a descriptor, or -1 with errno.  The same one or a copy
 * above the standard ones; on failure the given one is closed. */
int mp_above_standard(int fd);
/* The same descriptor at a high number, where neither what a program opens next nor its second
 * close() of something comes; or as it is, if that cannot be.  Child. */
int mp_move_up(int fd);
int mp_move_above(int fd, int number); /* or, in the same way, at one above that.  Child. */
/* Append a number in decimal, for where printf is no call to make.  Child. */
void mp_append_number(char *text, unsigned number);
/* Another number for what `fd` stands for, close-on-exec, and never 0 to 2. */
int mp_dup(int fd);
/* `over`, which is open, stands for what `fd` does from now on. */
int mp_dup_over(int fd, int over);
int mp_pipe_cloexec(int ends[2]);         /* a pipe at any number, for mp_pipe() */
void mp_close_range(int first, int last); /* both included, for mp_close_others().  Child. */

/*
 * What a descriptor stands for.  A program may close what is not its own and get the number for a
 * file that is: a number that it could have had is looked at before each use, and is no more ours
 * when it stands for something else.  Another thread that closes and opens between that look and
 * the use is not seen.
 */
struct mark {
    dev_t dev;
    ino_t ino;
    pid_t pid; /* of a pidfd whose inode is not its own, else 0 */
};

struct mark mp_mark(int fd);                        /* Child. */
bool mp_is_marked(int fd, const struct mark *mark); /* false for -1.  Child. */

/* ---- memory.c, memory_*.c: anonymous memory that forks share --------------------------------- */

struct memory {
    char *base;
    size_t size;
    int fd; /* -1: none, or given up in a child */
    struct mark mark;
};

#define MEMORY_NONE                                                                                \
    (struct memory)                                                                                \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Map `size` bytes that take no memory until they are used; -ENOMEM: no such address space. */
int mp_memory_open(struct memory *memory, size_t size);
/* See to it that touching the range cannot fail later; -ENOSPC: the machine has no more memory;
 * -EBADF: the program closed the descriptor. */
int mp_memory_commit(const struct memory *memory, size_t offset, size_t length);
/* Memory that will be written, and that has its pages already: have this process map them by the
 * stretch.  Reads a byte of each.  Child. */
void mp_memory_touch(const void *from, size_t length);
/* Give the pages of the range back (they read as zero then).  -ENOTSUP: they stay. */
int mp_memory_discard(const struct memory *memory, size_t offset, size_t length);
void mp_memory_close(struct memory *memory);
/* Zeroed memory of this process alone, whose pages are there when they are touched, however often it
 * was had before; NULL: there is none.  The second accepts NULL. */
void *mp_pages(size_t size);
void mp_pages_free(void *pages, size_t size);
int mp_memory_object(size_t size); /* an unnamed memory object's descriptor, for mp_memory_open() */
int mp_memory_size(int fd, size_t size); /* ftruncate(), for mp_memory_object() */
/* Not in a core file: to write one would read, and so make real, all that was never used.  Nothing
 * is done where the system cannot. */
void mp_memory_leave_out_of_core(void *base, size_t size);

/* ---- fork.c: fork, and who must not inherit what --------------------------------------------- */

/*
 * Descriptors that no other child of this process may hold, or an end of file would not mean what
 * it says.  An owner opens them and adds the guard under the lock, by which they are marked; a
 * pthread_atfork handler closes them in every child that is not its own.  `fds` points into the
 * owner and may hold -1.
 */
enum { GUARD_FDS = 12 }; /* at most */

struct guard {
    struct list link;
    int *fds;
    size_t count;
    struct mark marks[GUARD_FDS];
};

int mp_guard_lock(void); /* -ENOMEM: the atfork handlers could not be registered */
void mp_guard_unlock(void);
void mp_guard_add(struct guard *guard); /* with the lock held */
/* With the lock held; accepts one that was never added. */
void mp_guard_remove(struct guard *guard);
/* Descriptor i was opened anew, with the lock held. */
void mp_guard_mark(struct guard *guard, size_t i);
/* Descriptor i for the next call; -1: there is none, or the program closed it. */
int mp_guard_fd(const struct guard *guard, size_t i);
void mp_guard_close(struct guard *guard, size_t i); /* with the lock held.  Child. */

/* A number that differs between a process and its forks: what a handle remembers its maker by. */
unsigned mp_epoch(void);

/*
 * fork with every signal blocked from before it until after it in the parent, where the mask is
 * restored on every path.  The child starts with all blocked; *mask is what was in force.  The
 * child keeps the descriptors of `own` (may be NULL) and loses those of all other guards.
 */
pid_t mp_fork(sigset_t *mask, const struct guard *own);
/* Flush stdout and stderr before a child of ours ends, as exit would; but not a stream whose lock
 * another thread had at the fork: not every C library frees that in the child, and then it is never
 * to be had. */
void mp_flush_child(void);
/* Every disposition to SIG_DFL, but SIGTTOU ignored.  Child. */
void mp_signals_default(void);
void mp_renice(int by); /* add to the nice value, as far as that is allowed.  Child. */
/* The only caller of kill(): -EINVAL for a pid of 1 or less.  Child. */
int mp_kill(pid_t pid, bool group, int signal);

/* ---- watch.c, watch_*.c: to watch a child and to signal it, never a stranger with its pid ---- */

/*
 * watch[0] is the parent's: readable when the child has ended.  watch[1] is the child's, -1 in the
 * parent.  Open before the fork with the guard lock held; then _parent (with the lock held too: it
 * replaces the descriptors) or _child.  On an error _open leaves nothing open.
 */
int mp_watch_open(int watch[2]);
/* -ESRCH: it has already ended, and somebody else has its status; watch[0] is readable then. */
int mp_watch_parent(int watch[2], pid_t pid);
void mp_watch_child(int watch[2]); /* Child. */

/* Wait until the child has ended and reap it.  0 and its wait status, -ETIMEDOUT, or -ECHILD: it
 * has ended, and somebody else has its status. */
int mp_watch_wait(int watch[2], pid_t pid, int64_t deadline, int *status);
int mp_watch_signal(int watch[2], pid_t pid, bool group, int signal); /* -ESRCH: it has ended */

/* For the functions above; a descriptor that is no pidfd, or a system that has none: -EBADF.  Open:
 * -ECHILD: it is no child of this process, or not any more. */
int mp_pidfd_open(pid_t pid);
/* Does not block: -EAGAIN; -ECHILD as above; -EBADF: another's. */
int mp_pidfd_wait(int fd, pid_t pid, int *status);
int mp_pidfd_signal(int fd, int signal);
/* For mp_mark(): the pid of a pidfd that shares its inode with others, -1 if that process is gone; 0
 * for whatever else.  Child. */
pid_t mp_pidfd_pid(int fd, mode_t mode);

/* ---- bond_*.c: a child that does not outlive its parent -------------------------------------- */

enum bond_kind {
    BOND_PROCESS, /* until the parent process ends */
    BOND_THREAD   /* until the thread that forked ends: enough where the parent has but one.  The
                     process group that the child leads, if it does, ends with it. */
};

/*
 * bond[0] is the parent's end, bond[1] the child's; either may be -1.  Open before the fork with
 * the guard lock held; then _parent (with the lock held too) or _child.  After _child the kernel
 * kills the caller when the parent ends; if it is gone already, the caller ends here and now.  A
 * change of user id undoes a BOND_THREAD: call again.  For the group of a BOND_THREAD the parent keeps
 * both ends, and calls no _parent.  Where it takes a signal (fallback), _child unblocks that, so the
 * mask that the child is to run with is set before.
 */
int mp_bond_open(int bond[2], enum bond_kind kind);
void mp_bond_parent(int bond[2]);
void mp_bond_child(int bond[2], enum bond_kind kind, pid_t parent); /* Child. */

/* What ps shows for this process, where it can be set.  Child. */
void mp_set_name(const char *name);

/* ---- code_*.c: which functions a fork of this moment will know ------------------------------- */

struct code_map; /* where there is code at one moment */

int mp_code_map_create(struct code_map **map);
/* False: there was no code at this address when the map was made, or, where closures are made, other
 * code.  What cannot be judged is taken as known. */
bool mp_code_map_knows(const struct code_map *map, uintptr_t function);
void mp_code_map_free(struct code_map *map);

/* ---- privilege.c ----------------------------------------------------------------------------- */

/* A set-uid program or the like: who started it has no say in what it opens and writes. */
bool mp_is_privileged(void);

/* ---- terminal.c ------------------------------------------------------------------------------ */

int mp_terminal_width(int fd); /* in columns; 80 where that is not known */

/* ---- usage.c: how much memory processes had in use, at most, in bytes; 0: not known ----------- */

uint64_t mp_peak_of(pid_t pid);     /* of a living process */
uint64_t mp_peak_of_self(void);     /* Child. */
uint64_t mp_peak_of_children(void); /* the largest of those that were reaped.  Child. */

/* ---- cpu_*.c: how many CPUs there are for us ------------------------------------------------- */

int32_t mp_cpu_allowed(void); /* CPUs that this process may run on; at least 1 */
/* The CPU quota of the process's cgroup and all above it, rounded up; 0: none.  `root` stands
 * before /proc and the mount points: "" but in tests. */
int32_t mp_cpu_quota(const char *root);

#endif
