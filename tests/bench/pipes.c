/* SPDX-License-Identifier: MIT */
/* Forks and pipes, for the raw limits. */
#include "pipes.h"
#include "bench.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

void make_pipe(int ends[2])
{
    must(pipe(ends) ? -errno : 0);
}

pid_t fork_one(void)
{
    pid_t pid = fork();

    must(pid < 0 ? -errno : 0);
    return pid;
}

void send_bytes(int fd, const void *data, size_t length)
{
    must(write(fd, data, length) == (ssize_t)length ? 0 : -EPIPE);
}

bool receive_bytes(int fd, void *data, size_t length)
{
    return read(fd, data, length) == (ssize_t)length;
}

void wait_for(pid_t pid)
{
    int status;

    must(waitpid(pid, &status, 0) == pid ? 0 : -errno);
}
