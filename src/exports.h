/* SPDX-License-Identifier: MIT */
/*
 * What the public headers declare leaves the library, and nothing else does: the build hides all, and
 * has this file included before anything else in each source file that defines a public function.  So
 * the public headers need no macro for it, and those who parse them (cffi, LuaJIT) no preprocessor.
 */
#ifndef MP_EXPORTS_H
#define MP_EXPORTS_H

#pragma GCC visibility push(default)
#include <mproc/mproc.h>
#pragma GCC visibility pop

#endif
