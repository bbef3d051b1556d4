/* SPDX-License-Identifier: MIT */
/* How wide a terminal is. */
#define _GNU_SOURCE
#include "os.h"

#include <sys/ioctl.h>
#include <termios.h>

enum { USUAL_WIDTH = 80 };

int mp_terminal_width(int fd)
{
#ifdef TIOCGWINSZ
    struct winsize size = {0};

    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
#else
    (void)fd;
#endif
    return USUAL_WIDTH;
}
