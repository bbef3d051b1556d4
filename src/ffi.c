/* SPDX-License-Identifier: MIT */
/*
 * What the headers say, as tables to be asked at run time, for languages that do not read them; and
 * functions by their names.  Runs in any process; but for what mproc_function_load() loads it touches
 * nothing but its arguments.  tests/ffi_tables.sh holds the tables complete against the headers.
 */
#include "mproc/ffi.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mproc/error.h"
#include "mproc/pool.h"
#include "mproc/process.h"
#include "mproc/stats.h"

/* ---- tables ---------------------------------------------------------------------------------- */

enum kind { SIGNED, UNSIGNED, POINTER, ARRAY };

struct member {
    const char *name;
    enum kind kind;
    size_t offset;
    size_t size;
};

struct type {
    const char *name;
    const char *sizeof_name;
    size_t size;
    const struct member *members; /* the last one has no name */
};

#define MEMBER(type, member, kind)                                                                 \
    {                                                                                              \
#member, kind, offsetof(type, member), sizeof(((type *)NULL)->member)                      \
    }
#define LAST                                                                                       \
    {                                                                                              \
        NULL, SIGNED, 0, 0                                                                         \
    }

static const struct member pool_options[] = {
    MEMBER(mproc_pool_options, init, POINTER),
    MEMBER(mproc_pool_options, exit, POINTER),
    MEMBER(mproc_pool_options, arg, POINTER),
    MEMBER(mproc_pool_options, before_fork, POINTER),
    MEMBER(mproc_pool_options, parent_fork, POINTER),
    MEMBER(mproc_pool_options, child_fork, POINTER),
    MEMBER(mproc_pool_options, arena_size, UNSIGNED),
    MEMBER(mproc_pool_options, keep_bytes, UNSIGNED),
    MEMBER(mproc_pool_options, time_limit_ms, SIGNED),
    MEMBER(mproc_pool_options, retries, SIGNED),
    MEMBER(mproc_pool_options, tasks_per_worker, UNSIGNED),
    MEMBER(mproc_pool_options, keep_descriptors, SIGNED),
    MEMBER(mproc_pool_options, nice, SIGNED),
    MEMBER(mproc_pool_options, spin_us, SIGNED),
    MEMBER(mproc_pool_options, in_process, SIGNED),
    LAST,
};

static const struct member map_options[] = {
    MEMBER(mproc_map_options, chunk_size, UNSIGNED),
    MEMBER(mproc_map_options, ctx_size, UNSIGNED),
    MEMBER(mproc_map_options, timeout_ms, SIGNED),
    MEMBER(mproc_map_options, time_limit_ms, SIGNED),
    MEMBER(mproc_map_options, retries, SIGNED),
    MEMBER(mproc_map_options, output_max, UNSIGNED),
    MEMBER(mproc_map_options, statuses, POINTER),
    MEMBER(mproc_map_options, failure, POINTER),
    MEMBER(mproc_map_options, progress, POINTER),
    MEMBER(mproc_map_options, progress_arg, POINTER),
    LAST,
};

static const struct member submit_options[] = {
    MEMBER(mproc_submit_options, ctx_size, UNSIGNED),
    MEMBER(mproc_submit_options, output_max, UNSIGNED),
    MEMBER(mproc_submit_options, time_limit_ms, SIGNED),
    MEMBER(mproc_submit_options, retries, SIGNED),
    LAST,
};

static const struct member spawn_options[] = {
    MEMBER(mproc_spawn_options, name, POINTER),
    MEMBER(mproc_spawn_options, daemon, SIGNED),
    MEMBER(mproc_spawn_options, new_group, SIGNED),
    MEMBER(mproc_spawn_options, stdin_null, SIGNED),
    LAST,
};

static const struct member failure[] = {
    MEMBER(mproc_failure, index, UNSIGNED), MEMBER(mproc_failure, error, SIGNED),
    MEMBER(mproc_failure, code, SIGNED),    MEMBER(mproc_failure, signal, SIGNED),
    MEMBER(mproc_failure, pid, SIGNED),     MEMBER(mproc_failure, attempts, SIGNED),
    MEMBER(mproc_failure, text, ARRAY),     MEMBER(mproc_failure, worker, SIGNED),
    MEMBER(mproc_failure, ran_ms, SIGNED),  LAST,
};

static const struct member stats[] = {
    MEMBER(mproc_stats, items, UNSIGNED),
    MEMBER(mproc_stats, failed, UNSIGNED),
    MEMBER(mproc_stats, deaths, UNSIGNED),
    MEMBER(mproc_stats, restarts, UNSIGNED),
    MEMBER(mproc_stats, bytes_in, UNSIGNED),
    MEMBER(mproc_stats, bytes_out, UNSIGNED),
    MEMBER(mproc_stats, elapsed_ms, SIGNED),
    MEMBER(mproc_stats, busy_ms, SIGNED),
    MEMBER(mproc_stats, idle_ms, SIGNED),
    MEMBER(mproc_stats, peak_memory, UNSIGNED),
    LAST,
};

static const struct member worker_stats[] = {
    MEMBER(mproc_worker_stats, pid, SIGNED),           MEMBER(mproc_worker_stats, items, UNSIGNED),
    MEMBER(mproc_worker_stats, failed, UNSIGNED),      MEMBER(mproc_worker_stats, deaths, UNSIGNED),
    MEMBER(mproc_worker_stats, busy_ms, SIGNED),       MEMBER(mproc_worker_stats, idle_ms, SIGNED),
    MEMBER(mproc_worker_stats, peak_memory, UNSIGNED), LAST,
};

static const struct member progress[] = {
    MEMBER(mproc_progress, done, UNSIGNED),  MEMBER(mproc_progress, failed, UNSIGNED),
    MEMBER(mproc_progress, total, UNSIGNED), MEMBER(mproc_progress, elapsed_ms, SIGNED),
    MEMBER(mproc_progress, over, SIGNED),    LAST,
};

static const struct member slow_item[] = {
    MEMBER(mproc_slow_item, index, UNSIGNED),
    MEMBER(mproc_slow_item, count, UNSIGNED),
    MEMBER(mproc_slow_item, ran_ms, SIGNED),
    MEMBER(mproc_slow_item, worker, SIGNED),
    LAST,
};

#define TYPE(type, members)                                                                        \
    {                                                                                              \
#type, "sizeof(" #type ")", sizeof(type), members                                          \
    }

static const struct type types[] = {
    TYPE(mproc_pool_options, pool_options),
    TYPE(mproc_map_options, map_options),
    TYPE(mproc_submit_options, submit_options),
    TYPE(mproc_spawn_options, spawn_options),
    TYPE(mproc_failure, failure),
    TYPE(mproc_stats, stats),
    TYPE(mproc_progress, progress),
    TYPE(mproc_worker_stats, worker_stats),
    TYPE(mproc_slow_item, slow_item),
};

#define CONSTANT(name)                                                                             \
    {                                                                                              \
#name, name                                                                                \
    }

static const struct constant {
    const char *name;
    int64_t value;
} constants[] = {
    CONSTANT(MPROC_ETASK),   CONSTANT(MPROC_ECRASHED), CONSTANT(MPROC_ELIMIT),
    CONSTANT(MPROC_EBROKEN), CONSTANT(MPROC_EFUNC),    CONSTANT(MPROC_EFOREIGN),
    CONSTANT(MPROC_ECLOSED), CONSTANT(MPROC_ELOST),    CONSTANT(MPROC_ELOAD),
    CONSTANT(MPROC_ESYMBOL), CONSTANT(MPROC_TEXT_MAX),
};

enum {
    TYPE_COUNT = sizeof types / sizeof types[0],
    CONSTANT_COUNT = sizeof constants / sizeof constants[0]
};

/* ---- constants ------------------------------------------------------------------------------- */

int mproc_constant(const char *name, int64_t *value)
{
    if (!name || !value)
        return -EINVAL;
    for (size_t i = 0; i < CONSTANT_COUNT; i++)
        if (strcmp(name, constants[i].name) == 0) {
            *value = constants[i].value;
            return 0;
        }
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (strcmp(name, types[i].sizeof_name) == 0) {
            *value = (int64_t)types[i].size;
            return 0;
        }
    return -ENOENT;
}

/* ---- structs --------------------------------------------------------------------------------- */

/* What mproc_struct_new() gives is `object`; what it is stands before it. */
struct box {
    const struct type *type;
    _Alignas(max_align_t) char object[];
};

int mproc_struct_new(const char *type, void **made)
{
    if (!type || !made)
        return -EINVAL;
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (strcmp(type, types[i].name) == 0) {
            struct box *box = calloc(1, sizeof *box + types[i].size);

            if (!box)
                return -ENOMEM;
            box->type = &types[i];
            memcpy(box->object, &types[i].size, sizeof types[i].size);
            *made = box->object;
            return 0;
        }
    return -ENOENT;
}

void mproc_struct_free(void *made)
{
    if (made)
        free((char *)made - offsetof(struct box, object));
}

/* Find a member that is a pointer (or an array), or one that is a number. */
static int find_member(const void *made, const char *name, bool pointer,
                       const struct member **member)
{
    const struct type *type;

    if (!made || !name)
        return -EINVAL;
    memcpy(&type, (const char *)made - offsetof(struct box, object), sizeof type);
    for (const struct member *m = type->members; m->name; m++)
        if (strcmp(name, m->name) == 0) {
            *member = m;
            return pointer == (m->kind == POINTER || m->kind == ARRAY) ? 0 : -EINVAL;
        }
    return -ENOENT;
}

int mproc_struct_set(void *made, const char *name, int64_t value)
{
    const struct member *member;
    bool narrow;
    int r = find_member(made, name, false, &member);

    if (r)
        return r;
    narrow = member->size == sizeof(int32_t);
    if (member->kind == UNSIGNED && (value < 0 || (narrow && value > UINT32_MAX)))
        return -ERANGE;
    if (member->kind == SIGNED && narrow && (value < INT32_MIN || value > INT32_MAX))
        return -ERANGE;
    if (narrow) {
        uint32_t half = (uint32_t)value;

        memcpy((char *)made + member->offset, &half, sizeof half);
    } else {
        memcpy((char *)made + member->offset, &value, sizeof value);
    }
    return 0;
}

int mproc_struct_get(const void *made, const char *name, int64_t *value)
{
    const struct member *member;
    const char *at;
    int64_t whole;
    int32_t half;
    int r = find_member(made, name, false, &member);

    if (!value)
        return -EINVAL;
    if (r)
        return r;
    at = (const char *)made + member->offset;
    if (member->size == sizeof half) {
        memcpy(&half, at, sizeof half);
        whole = member->kind == SIGNED ? half : (int64_t)(uint32_t)half;
    } else {
        memcpy(&whole, at, sizeof whole);
        if (member->kind == UNSIGNED && whole < 0)
            return -ERANGE;
    }
    *value = whole;
    return 0;
}

int mproc_struct_set_pointer(void *made, const char *name, const void *value)
{
    const struct member *member;
    int r = find_member(made, name, true, &member);

    if (!r && member->kind == ARRAY)
        r = -EINVAL;
    if (!r)
        memcpy((char *)made + member->offset, &value, sizeof value);
    return r;
}

int mproc_struct_get_pointer(const void *made, const char *name, const void **value)
{
    const struct member *member;
    const char *at;
    int r = find_member(made, name, true, &member);

    if (!value)
        return -EINVAL;
    if (r)
        return r;
    at = (const char *)made + member->offset;
    if (member->kind == ARRAY)
        *value = at;
    else
        memcpy(value, at, sizeof *value);
    return 0;
}

/* ---- functions ------------------------------------------------------------------------------- */

int mproc_function_load(const char *path, const char *symbol, void **function)
{
    void *object, *found;

    if (!symbol || !*symbol || !function || (path && !*path))
        return -EINVAL;
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* not lazily: not in a worker */
    if (!object)
        return MPROC_ELOAD;
    found = dlsym(object, symbol);
    if (!found) {
        dlclose(object);
        return MPROC_ESYMBOL;
    }
    *function = found; /* the object stays: its handle is not given back */
    return 0;
}
