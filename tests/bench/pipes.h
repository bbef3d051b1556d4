/* SPDX-License-Identifier: MIT */
/* Forks and pipes, for the raw limits: each ends the measurement when it fails. */
#ifndef PIPES_H
#define PIPES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

void make_pipe(int ends[2]);
pid_t fork_one(void);
void wait_for(pid_t pid);
void send_bytes(int fd, const void *data, size_t length);
/* False at the end of the pipe. */
bool receive_bytes(int fd, void *data, size_t length);

#endif
