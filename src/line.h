/* SPDX-License-Identifier: MIT */
/* Text that grows in a caller's memory and is cut where that ends. */
#ifndef MP_LINE_H
#define MP_LINE_H

#include <stddef.h>

struct line {
    char *text;
    size_t room;
    size_t length; /* of the whole, without its zero */
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void mp_line_add(struct line *line, const char *format, ...);

#endif
