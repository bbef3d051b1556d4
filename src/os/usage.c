/* SPDX-License-Identifier: MIT */
/* How much memory processes had in use.  For people to read: what the system does not tell is 0. */
#define _GNU_SOURCE
#include "os.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#if defined(__APPLE__)
enum { MAXRSS_UNIT = 1 };
#else
enum { MAXRSS_UNIT = 1024 };
#endif

static uint64_t peak_of(int whom)
{
    struct rusage usage;

    if (getrusage(whom, &usage) || usage.ru_maxrss < 0)
        return 0;
    return (uint64_t)usage.ru_maxrss * MAXRSS_UNIT;
}

uint64_t mp_peak_of_self(void)
{
    return peak_of(RUSAGE_SELF);
}

uint64_t mp_peak_of_children(void)
{
    return peak_of(RUSAGE_CHILDREN);
}

/* The line `VmHWM:     1234 kB` of a file that Linux has. */
uint64_t mp_peak_of(pid_t pid)
{
    char path[40], text[4096];
    const char *line;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : mp_read(fd, text, sizeof text - 1);
    mp_close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    line = strstr(text, "\nVmHWM:");
    return line ? (uint64_t)strtoull(line + sizeof "\nVmHWM:" - 1, NULL, 10) * 1024 : 0;
}
