/* SPDX-License-Identifier: MIT */
/* What the environment asks of the library. */
#ifndef MP_ENV_H
#define MP_ENV_H

/* The value of a variable, or NULL; always NULL in a set-uid program or one that its file gives
 * capabilities: whoever runs that has no say in what it does. */
const char *mp_env(const char *name);

#endif
