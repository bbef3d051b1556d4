/* SPDX-License-Identifier: MIT */
/* Whether this program may do more than who started it. */
#include "os.h"

#include <unistd.h>

#if defined(__linux__)
#include <sys/auxv.h>
#endif

bool mp_is_privileged(void)
{
#if defined(__linux__)
    if (getauxval(AT_SECURE)) /* capabilities of its file count, too */
        return true;
#endif
    return getuid() != geteuid() || getgid() != getegid();
}
