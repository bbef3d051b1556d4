/* SPDX-License-Identifier: MIT */
/* Text that grows in a caller's memory.  Runs in any process. */
#include "line.h"

#include <stdarg.h>
#include <stdio.h>

void mp_line_add(struct line *line, const char *format, ...)
{
    size_t left = line->length < line->room ? line->room - line->length : 0;
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(left ? line->text + line->length : NULL, left, format, arguments);
    va_end(arguments);
    if (n > 0)
        line->length += (size_t)n;
}
