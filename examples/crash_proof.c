/* SPDX-License-Identifier: MIT */
/*
 * A map in which some items crash, hang or exit.  Each item has its own status; the bad ones take
 * nothing but themselves along.
 */
#include <mproc/mproc.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COUNT = 10 };

/* Whatever is not to be trusted: a parser, a plug-in, old code that nobody dares to touch. */
static int32_t fragile(const void *in, void *out, void *ctx)
{
    int number = *(const int *)in;

    (void)ctx;
    switch (number) {
    case 2:
        return mproc_fail(42, "two is not a number for me");
    case 3:
        abort();
    case 5:
        for (;;)
            pause();
    case 7:
        exit(0);
    default:
        *(int *)out = number * number;
        return 0;
    }
}

static int run(mproc_pool *pool)
{
    int numbers[COUNT], squares[COUNT];
    int32_t statuses[COUNT];
    mproc_map_options options = {
        .size = sizeof options, .statuses = statuses, .time_limit_ms = 500};
    int failed;

    for (int i = 0; i < COUNT; i++)
        numbers[i] = i;
    failed = mproc_pool_map(pool, fragile, NULL, numbers, sizeof numbers[0], squares,
                            sizeof squares[0], COUNT, &options);
    if (failed < 0)
        return failed;
    for (int i = 0; i < COUNT; i++)
        if (statuses[i] == 0)
            printf("item %d: %d\n", i, squares[i]);
        else
            printf("item %d: %s\n", i, mproc_strerror(statuses[i]));
    printf("%d of %d failed\n", failed, COUNT);
    return 0;
}

int main(void)
{
    mproc_pool *pool;
    int error = mproc_pool_create(&pool, 3, NULL);

    if (!error) {
        error = run(pool);
        mproc_pool_destroy(pool);
    }
    if (error) {
        fprintf(stderr, "crash_proof: %s\n", mproc_strerror(error));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
