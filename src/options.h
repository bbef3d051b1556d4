/* SPDX-License-Identifier: MIT */
/* The options structs of callers that may have been built against another release. */
#ifndef MP_OPTIONS_H
#define MP_OPTIONS_H

#include <stddef.h>

/*
 * Copy a caller's options, whose first member is its size_t `size`, into `room` bytes at `to`.
 * What an older struct does not have becomes 0; NULL gives all 0.  -EINVAL: the size cannot be, or
 * a newer struct asks for something that this release does not know.
 */
int mp_options_copy(void *to, size_t room, const void *from);

#endif
