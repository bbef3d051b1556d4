/* SPDX-License-Identifier: MIT */
/* POSIX knows neither affinity nor quotas; the number of CPUs that are on line is common to all. */
#define _GNU_SOURCE
#define _DARWIN_C_SOURCE
#define __BSD_VISIBLE 1
#include "os.h"

#include <unistd.h>

int32_t mp_cpu_allowed(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    return count < 1 || count > INT32_MAX ? 1 : (int32_t)count;
}

int32_t mp_cpu_quota(const char *root)
{
    (void)root;
    return 0;
}
