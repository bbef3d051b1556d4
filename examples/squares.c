/* SPDX-License-Identifier: MIT */
/* A pool of four workers squares the numbers from 1 to 5; the results come in the order of the
 * inputs. */
#include <mproc/mproc.h>

#include <stdio.h>
#include <stdlib.h>

static int32_t square(const void *in, void *out, void *ctx)
{
    const int *number = in;
    int *result = out;

    (void)ctx;
    *result = *number * *number;
    return 0;
}

int main(void)
{
    const int numbers[] = {1, 2, 3, 4, 5};
    enum { COUNT = sizeof numbers / sizeof numbers[0] };
    int squares[COUNT];
    mproc_pool *pool;
    int error = mproc_pool_create(&pool, 4, NULL);

    if (!error) {
        error = mproc_pool_map(pool, square, NULL, numbers, sizeof numbers[0], squares,
                               sizeof squares[0], COUNT, NULL);
        mproc_pool_destroy(pool);
    }
    if (error) {
        fprintf(stderr, "squares: %s\n", mproc_strerror(error));
        return EXIT_FAILURE;
    }
    for (int i = 0; i < COUNT; i++)
        printf("%s%d", i ? ", " : "[", squares[i]);
    puts("]");
    return EXIT_SUCCESS;
}
