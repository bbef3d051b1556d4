/* SPDX-License-Identifier: MIT */
/*
 * Texts for errors.  strerror() is not safe with threads and strerror_r() needs a buffer, so the
 * texts are constants: the library's own, and the errno values that POSIX knows.
 */
#include "mproc/error.h"

#include <errno.h>

#define OWN_ERRORS(X)                                                                              \
    X(MPROC_ETASK, "the task failed")                                                              \
    X(MPROC_ECRASHED, "the worker died while it ran the task")                                     \
    X(MPROC_ELIMIT, "the task was killed at its time limit")                                       \
    X(MPROC_EBROKEN, "the pool has lost its processes")                                            \
    X(MPROC_EFUNC, "the function was loaded after the workers were forked")                        \
    X(MPROC_EFOREIGN, "the handle belongs to another process")                                     \
    X(MPROC_ECLOSED, "the pool takes no more tasks")                                               \
    X(MPROC_ELOST, "the exit code went to another caller of wait")                                 \
    X(MPROC_ELOAD, "the shared object cannot be loaded")                                           \
    X(MPROC_ESYMBOL, "the shared object has no such symbol")

/* EWOULDBLOCK and EOPNOTSUPP are left out: they mostly have the value of another. */
#define SYSTEM_ERRORS(X)                                                                           \
    X(E2BIG, "argument list too long")                                                             \
    X(EACCES, "permission denied")                                                                 \
    X(EADDRINUSE, "address in use")                                                                \
    X(EADDRNOTAVAIL, "address not available")                                                      \
    X(EAGAIN, "resource unavailable, try again")                                                   \
    X(EALREADY, "already in progress")                                                             \
    X(EBADF, "bad file descriptor")                                                                \
    X(EBADMSG, "bad message")                                                                      \
    X(EBUSY, "device or resource busy")                                                            \
    X(ECANCELED, "canceled")                                                                       \
    X(ECHILD, "no child processes")                                                                \
    X(ECONNABORTED, "connection aborted")                                                          \
    X(ECONNREFUSED, "connection refused")                                                          \
    X(ECONNRESET, "connection reset")                                                              \
    X(EDEADLK, "resource deadlock would occur")                                                    \
    X(EDOM, "argument out of the domain of the function")                                          \
    X(EEXIST, "file exists")                                                                       \
    X(EFAULT, "bad address")                                                                       \
    X(EFBIG, "file too large")                                                                     \
    X(EILSEQ, "illegal byte sequence")                                                             \
    X(EINPROGRESS, "in progress")                                                                  \
    X(EINTR, "interrupted")                                                                        \
    X(EINVAL, "invalid argument")                                                                  \
    X(EIO, "input or output error")                                                                \
    X(EISDIR, "is a directory")                                                                    \
    X(ELOOP, "too many levels of symbolic links")                                                  \
    X(EMFILE, "too many open files in this process")                                               \
    X(EMSGSIZE, "message too large")                                                               \
    X(ENAMETOOLONG, "file name too long")                                                          \
    X(ENFILE, "too many open files in the system")                                                 \
    X(ENODEV, "no such device")                                                                    \
    X(ENOENT, "no such file or directory")                                                         \
    X(ENOEXEC, "not an executable file")                                                           \
    X(ENOLCK, "no locks available")                                                                \
    X(ENOMEM, "not enough memory")                                                                 \
    X(ENOSPC, "no space left")                                                                     \
    X(ENOSYS, "function not implemented")                                                          \
    X(ENOTDIR, "not a directory")                                                                  \
    X(ENOTEMPTY, "directory not empty")                                                            \
    X(ENOTSUP, "not supported")                                                                    \
    X(ENOTTY, "not a terminal")                                                                    \
    X(ENXIO, "no such device or address")                                                          \
    X(EOVERFLOW, "value too large")                                                                \
    X(EPERM, "operation not permitted")                                                            \
    X(EPIPE, "broken pipe")                                                                        \
    X(EPROTO, "protocol error")                                                                    \
    X(ERANGE, "result too large")                                                                  \
    X(EROFS, "read-only file system")                                                              \
    X(ESPIPE, "illegal seek")                                                                      \
    X(ESRCH, "no such process")                                                                    \
    X(ETIMEDOUT, "timed out")                                                                      \
    X(ETXTBSY, "program file busy")                                                                \
    X(EXDEV, "link across file systems")

#define OWN_TEXT(error, text)                                                                      \
    case error:                                                                                    \
        return text;
#define SYSTEM_TEXT(error, text)                                                                   \
    case -(error):                                                                                 \
        return text;

const char *mproc_strerror(int error)
{
    switch (error > 0 ? -error : error) {
    case 0:
        return "no error";
        OWN_ERRORS(OWN_TEXT)
        SYSTEM_ERRORS(SYSTEM_TEXT)
    default:
        return "unknown error";
    }
}
