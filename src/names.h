/* SPDX-License-Identifier: MIT */
/* What things are called. */
#ifndef MP_NAMES_H
#define MP_NAMES_H

/* "SIGSEGV", or NULL for a signal that POSIX has no name for.  Async-signal-safe. */
const char *mp_signal_name(int signal);

#endif
