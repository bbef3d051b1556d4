/* SPDX-License-Identifier: MIT */
/* A program of somebody who has nothing but the installed library. */
#include <mproc/mproc.h>

#include <stdio.h>

static int32_t child(void *arg)
{
    (void)arg;
    return 7;
}

static int32_t square(const void *in, void *out, void *ctx)
{
    int value = *(const int *)in;

    (void)ctx;
    *(int *)out = value * value;
    return 0;
}

/* One call of each half of the library: both have to be there, with all that they need. */
static int run(int *squares, int32_t *code)
{
    const int numbers[] = {1, 2, 3};
    mproc_process *process;
    mproc_pool *pool;
    int r = mproc_spawn(&process, child, NULL, NULL);

    if (r)
        return r;
    r = mproc_join(process, -1, code);
    mproc_process_free(process);
    if (r == 0)
        r = mproc_pool_create(&pool, 2, NULL);
    if (r == 0) {
        r = mproc_pool_map(pool, square, NULL, numbers, sizeof numbers[0], squares,
                           sizeof squares[0], 3, NULL);
        mproc_pool_destroy(pool);
    }
    return r;
}

int main(void)
{
    int squares[3];
    int32_t code;
    int r = run(squares, &code);

    if (r) {
        fprintf(stderr, "%s\n", mproc_strerror(r));
        return 1;
    }
    printf("%d %d %d %d\n", (int)code, squares[0], squares[1], squares[2]);
    return 0;
}
