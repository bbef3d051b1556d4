/* SPDX-License-Identifier: MIT */
/* What the environment asks of the library.  Runs in the host. */
#include "env.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

const char *mp_env(const char *name)
{
    if (getuid() != geteuid() || getgid() != getegid())
        return NULL;
    return getenv(name);
}
