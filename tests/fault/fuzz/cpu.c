/* SPDX-License-Identifier: MIT */
/*
 * The reading of CPU quotas, of files that the fuzzer writes: its input is cut into pieces at each
 * byte 1.  The first is /proc/self/cgroup, the second /proc/self/mountinfo, and the rest go round
 * among the files of cgroups in the order in which they are opened; an empty piece is a file that is
 * not there.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_piece(const char *path, const char *mode);

#define fopen open_piece
#include "os/cpu_linux.c"
#undef fopen

enum { PIECES_MAX = 32, CUT = 1 };

static struct piece {
    char *bytes;
    size_t size;
} pieces[PIECES_MAX];
static size_t count, next;

static FILE *open_piece(const char *path, const char *mode)
{
    const struct piece *piece;

    (void)mode;
    if (strcmp(path, "/proc/self/cgroup") == 0)
        piece = &pieces[0];
    else if (strcmp(path, "/proc/self/mountinfo") == 0)
        piece = &pieces[1];
    else if (count > 2)
        piece = &pieces[2 + next++ % (count - 2)];
    else
        return NULL;
    return piece->size ? fmemopen(piece->bytes, piece->size, "r") : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1);

    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    memset(pieces, 0, sizeof pieces);
    next = 0;
    pieces[0].bytes = bytes;
    count = 1;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == CUT && count < PIECES_MAX)
            pieces[count++].bytes = bytes + i + 1;
        else
            pieces[count - 1].size++;
    }
    if (mp_cpu_quota("") < 0)
        abort();
    free(bytes);
    return 0;
}
