/* SPDX-License-Identifier: MIT */
/* What the environment asks of the library.  Runs in the host. */
#include "env.h"

#include <stddef.h>
#include <stdlib.h>

#include "os/os.h"

const char *mp_env(const char *name)
{
    if (mp_is_privileged())
        return NULL;
    return getenv(name);
}
