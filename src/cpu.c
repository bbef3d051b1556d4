/* SPDX-License-Identifier: MIT */
/* How many processes are worth starting: what the environment says, else what the system grants. */
#include "mproc/process.h"

#include "env.h"
#include "os/os.h"

enum { WORKERS_MAX = 4096 };

/* A plain decimal number from 1 to WORKERS_MAX; 0 for anything else. */
static int32_t parse_workers(const char *text)
{
    int32_t n = 0;

    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        n = n * 10 + (*text - '0');
        if (n > WORKERS_MAX)
            return 0;
    }
    return n;
}

/* 0: it says nothing. */
static int32_t workers_from_environment(void)
{
    const char *text = mp_env("MPROC_WORKERS");

    return text ? parse_workers(text) : 0;
}

int32_t mproc_cpu_count(void)
{
    int32_t count = workers_from_environment();
    int32_t quota;
    int r;

    if (count)
        return count;
    r = mp_guard_lock(); /* files are read, which no fork of another thread is to have */
    count = mp_cpu_allowed();
    quota = mp_cpu_quota("");
    if (!r)
        mp_guard_unlock();
    return quota && quota < count ? quota : count;
}
