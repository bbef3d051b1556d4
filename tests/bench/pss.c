/* SPDX-License-Identifier: MIT */
/* How much memory processes take, as Linux tells; NAN elsewhere. */
#include "bench.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pid_t parent_of(pid_t pid)
{
    char name[64], line[1024];
    int parent = 0;
    char *end;
    FILE *file;

    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    file = fopen(name, "r");
    if (!file)
        return 0;
    /* The name of the program stands in parentheses, and may have some itself. */
    end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (!end || sscanf(end, ") %*c %d", &parent) != 1)
        parent = 0;
    fclose(file);
    return (pid_t)parent;
}

static bool descends_from(pid_t pid, pid_t ancestor)
{
    while (pid > 1 && pid != ancestor)
        pid = parent_of(pid);
    return pid == ancestor;
}

/* The proportional set size: a page that k processes share counts for a k-th in each. */
static double pss_kib(pid_t pid)
{
    char name[64], line[256];
    double value = NAN;
    FILE *file;

    snprintf(name, sizeof name, "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(name, "r");
    while (file && isnan(value) && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %lf kB", &value) != 1)
            value = NAN;
    if (file)
        fclose(file);
    return value;
}

double tree_kib(void)
{
    DIR *processes = opendir("/proc");
    const struct dirent *entry;
    double total = 0;

    if (!processes)
        return NAN;
    while ((entry = readdir(processes))) {
        pid_t pid = (pid_t)atoi(entry->d_name);

        if (pid > 1 && descends_from(pid, getpid()))
            total += pss_kib(pid);
    }
    closedir(processes);
    return total > 0 ? total : NAN;
}

double arena_kib(void)
{
    DIR *descriptors = opendir("/proc/self/fd");
    const struct dirent *entry;
    double kib = NAN;

    while (descriptors && (entry = readdir(descriptors))) {
        char name[300], target[256];
        struct stat status;
        ssize_t length;

        snprintf(name, sizeof name, "/proc/self/fd/%s", entry->d_name);
        length = readlink(name, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = '\0';
        if (strstr(target, "/memfd:mproc") && stat(name, &status) == 0)
            kib = (double)status.st_blocks / 2;
    }
    if (descriptors)
        closedir(descriptors);
    return kib;
}
