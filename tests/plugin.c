/* SPDX-License-Identifier: MIT */
/* Code for the tests to load after something was forked. */
#include <stdint.h>

int32_t mproc_test_plugin_square(const void *in, void *out, void *ctx);

int32_t mproc_test_plugin_square(const void *in, void *out, void *ctx)
{
    const int64_t *number = in;
    int64_t *square = out;

    (void)ctx;
    *square = *number * *number;
    return 0;
}
