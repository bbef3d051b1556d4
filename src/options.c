/* SPDX-License-Identifier: MIT */
/* Options structs of any release, taken into the one of this release.  Runs in any process. */
#include "options.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { LARGEST = 4096 }; /* no release will have more; a size never set is mostly above it */

static bool all_zero(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i])
            return false;
    return true;
}

int mp_options_copy(void *to, size_t room, const void *from)
{
    size_t size;

    memset(to, 0, room);
    if (!from)
        return 0;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size || size > LARGEST)
        return -EINVAL;
    if (size > room && !all_zero((const char *)from + room, size - room))
        return -EINVAL;
    memcpy(to, from, size < room ? size : room);
    return 0;
}
