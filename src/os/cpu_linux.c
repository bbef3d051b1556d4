/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of the affinity mask, and the CPU quotas of the cgroups this process is in, of version
 * 2, of version 1, and of both at once.  What cannot be read or understood grants everything: a
 * count too high costs some speed, and a refusal would cost the work.
 */
#define _GNU_SOURCE
#include "os.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_CPUS = 1024, MOST_CPUS = 1 << 20, LINE_ROOM = 2 * PATH_MAX + 256 };

/* ---- affinity -------------------------------------------------------------------------------- */

/* The CPUs of a mask with room for `cpus`; -EINVAL: the kernel's is larger. */
static int count_affinity(int cpus)
{
    cpu_set_t *set = CPU_ALLOC((size_t)cpus);
    size_t size = CPU_ALLOC_SIZE((size_t)cpus);
    int r;

    if (!set)
        return -ENOMEM;
    CPU_ZERO_S(size, set);
    r = sched_getaffinity(0, size, set) ? -errno : CPU_COUNT_S(size, set);
    CPU_FREE(set);
    return r;
}

int32_t mp_cpu_allowed(void)
{
    int count = -EINVAL;

    for (int cpus = FIRST_CPUS; count == -EINVAL && cpus <= MOST_CPUS; cpus *= 2)
        count = count_affinity(cpus);
    if (count <= 0)
        count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The next line that has room, without its end; those that are longer are passed over. */
static bool read_line(FILE *file, char line[LINE_ROOM])
{
    bool whole = true; /* the last piece that was read began at the start of a line */

    while (fgets(line, LINE_ROOM, file)) {
        size_t length = strlen(line);
        bool ended = length > 0 && line[length - 1] == '\n';

        if (whole && (ended || feof(file))) {
            if (ended)
                line[length - 1] = '\0';
            return true;
        }
        whole = ended;
    }
    return false;
}

static FILE *open_file(const char *root, const char *directory, const char *name)
{
    char path[LINE_ROOM];
    int length = snprintf(path, sizeof path, "%s%s/%s", root, directory, name);

    return length < 0 || (size_t)length >= sizeof path ? NULL : fopen(path, "re");
}

/* Read the only line of a cgroup's file. */
static bool read_value(const char *root, const char *directory, const char *name,
                       char line[LINE_ROOM])
{
    FILE *file = open_file(root, directory, name);
    bool found = file && read_line(file, line);

    if (file)
        fclose(file);
    return found;
}

/* ---- quotas ---------------------------------------------------------------------------------- */

/* Take a positive decimal number off *text; 0: there is none, or one beyond all sense. */
static int64_t take_number(const char **text)
{
    int64_t n = 0;

    for (; isdigit((unsigned char)**text); ++*text) {
        if (n > INT64_MAX / 100)
            return 0;
        n = n * 10 + (**text - '0');
    }
    return n;
}

/* The CPUs of a quota, rounded up; 0: there is none. */
static int32_t quota_cpus(int64_t quota, int64_t period)
{
    int64_t cpus;

    if (quota <= 0 || period <= 0)
        return 0;
    cpus = (quota - 1) / period + 1;
    return cpus > INT32_MAX ? INT32_MAX : (int32_t)cpus;
}

/* cpu.max is "max 100000" or "150000 100000". */
static int32_t quota_v2(const char *root, const char *directory)
{
    char line[LINE_ROOM];
    const char *text = line;
    int64_t quota, period;

    if (!read_value(root, directory, "cpu.max", line))
        return 0;
    quota = take_number(&text);
    if (*text++ != ' ')
        return 0;
    period = take_number(&text);
    return *text ? 0 : quota_cpus(quota, period);
}

static int64_t read_number(const char *root, const char *directory, const char *name)
{
    char line[LINE_ROOM];
    const char *text = line;
    int64_t n;

    if (!read_value(root, directory, name, line))
        return 0;
    n = take_number(&text);
    return *text ? 0 : n;
}

/* The quota is -1 where there is none. */
static int32_t quota_v1(const char *root, const char *directory)
{
    return quota_cpus(read_number(root, directory, "cpu.cfs_quota_us"),
                      read_number(root, directory, "cpu.cfs_period_us"));
}

/* ---- where the cgroup lies ------------------------------------------------------------------- */

/* Is the word one of a list that commas separate? */
static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (; list; list = strchr(list, ',')) {
        list += *list == ',';
        if (strncmp(list, word, length) == 0 && (list[length] == ',' || list[length] == '\0'))
            return true;
    }
    return false;
}

/* The process's path in the hierarchy, from "9:cpu,cpuacct:/path" or, of version 2, "0::/path". */
static bool find_path(const char *root, bool v2, char path[LINE_ROOM])
{
    FILE *file = open_file(root, "/proc/self", "cgroup");
    bool found = false;

    while (file && !found && read_line(file, path)) {
        char *controllers = strchr(path, ':');
        char *name = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!name || name[1] != '/')
            continue;
        *name++ = '\0';
        controllers++;
        found = v2 ? *controllers == '\0' : list_has(controllers, "cpu");
        if (found)
            memmove(path, name, strlen(name) + 1);
    }
    if (file)
        fclose(file);
    return found;
}

/* The kernel writes a blank, a tab, a newline and a backslash as "\040". */
static void unescape(char *text)
{
    char *to = text;

    while (*text) {
        int value = 0, used = 0;

        if (*text == '\\')
            while (used < 3 && text[used + 1] >= '0' && text[used + 1] <= '7')
                value = value * 8 + (text[++used] - '0');
        *to++ = (char)(used == 3 ? value : *text);
        text += used == 3 ? 4 : 1;
    }
    *to = '\0';
}

/* What a line of mountinfo says; the strings point into the line. */
struct mount {
    char *root;  /* what of the file system is mounted */
    char *point; /* where */
    char *type;
    char *options; /* of the file system: here the controllers of a version 1 hierarchy are named */
};

/* "36 35 98:0 /root /point rw,noatime shared:1 - type source options", with any number of fields
 * before the dash. */
static bool parse_mount(char *line, struct mount *mount)
{
    char *fields[5], *rest = strstr(line, " - "), *save = NULL;

    if (!rest)
        return false;
    *rest = '\0';
    for (size_t i = 0; i < 5; i++) {
        fields[i] = strtok_r(i ? NULL : line, " ", &save);
        if (!fields[i])
            return false;
    }
    mount->root = fields[3];
    mount->point = fields[4];
    mount->type = strtok_r(rest + 3, " ", &save);
    if (!mount->type || !strtok_r(NULL, " ", &save))
        return false;
    mount->options = strtok_r(NULL, " ", &save);
    unescape(mount->root);
    unescape(mount->point);
    return mount->options != NULL;
}

/* What of the path lies below the mount's root: "" for the root itself, NULL: it lies elsewhere. */
static const char *below(const char *path, const char *mount_root)
{
    size_t length = strlen(mount_root);

    if (length == 1) /* "/" */
        length = 0;
    if (strncmp(path, mount_root, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return NULL;
    path += length;
    if (strstr(path, "/.."))
        return NULL; /* outside of the cgroup namespace, and so of what is mounted */
    return strcmp(path, "/") == 0 ? "" : path;
}

/* ---- together -------------------------------------------------------------------------------- */

static int32_t smaller_quota(int32_t a, int32_t b)
{
    if (!a || !b)
        return a ? a : b;
    return a < b ? a : b;
}

/* The smallest quota from the process's cgroup up to the mount point. */
static int32_t quota_upward(const char *root, bool v2, const char *point, const char *path)
{
    char directory[LINE_ROOM];
    int length = snprintf(directory, sizeof directory, "%s%s", point, path);
    size_t top = strlen(point);
    int32_t quota = 0;

    if (length < 0 || (size_t)length >= sizeof directory)
        return 0;
    for (;;) {
        quota = smaller_quota(quota, v2 ? quota_v2(root, directory) : quota_v1(root, directory));
        if (strlen(directory) <= top)
            return quota;
        *strrchr(directory, '/') = '\0';
    }
}

static int32_t quota_of_hierarchy(const char *root, bool v2)
{
    char path[LINE_ROOM], line[LINE_ROOM];
    FILE *file = find_path(root, v2, path) ? open_file(root, "/proc/self", "mountinfo") : NULL;
    int32_t quota = 0;

    while (file && read_line(file, line)) {
        struct mount mount;
        const char *rest;

        if (!parse_mount(line, &mount) || strcmp(mount.type, v2 ? "cgroup2" : "cgroup") != 0)
            continue;
        if (!v2 && !list_has(mount.options, "cpu"))
            continue;
        rest = below(path, mount.root);
        if (rest)
            quota = smaller_quota(quota, quota_upward(root, v2, mount.point, rest));
    }
    if (file)
        fclose(file);
    return quota;
}

int32_t mp_cpu_quota(const char *root)
{
    return smaller_quota(quota_of_hierarchy(root, true), quota_of_hierarchy(root, false));
}
