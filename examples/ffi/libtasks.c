/* SPDX-License-Identifier: MIT */
/*
 * Native task functions, for the programs beside this file to run in workers: any language that can
 * load this as a shared object has them, and needs no runtime of its own in the workers.
 */
#include <mproc/mproc.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int32_t square(const void *in, void *out, void *ctx);
int32_t inverse(const void *in, void *out, void *ctx);
int32_t repeat(mproc_task *task, void *ctx);
int32_t hang(mproc_task *task, void *ctx);

int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(int64_t *)out = *(const int64_t *)in * *(const int64_t *)in;
    return 0;
}

/* 8 / x, and a crash for 0. */
int32_t inverse(const void *in, void *out, void *ctx)
{
    (void)ctx;
    if (*(const int64_t *)in == 0)
        abort();
    *(int64_t *)out = 8 / *(const int64_t *)in;
    return 0;
}

/* A string, as often as it is long. */
int32_t repeat(mproc_task *task, void *ctx)
{
    size_t length;
    const char *string = mproc_task_input(task, &length);
    char *output = mproc_task_output(task, length * length);

    (void)ctx;
    if (!output)
        return mproc_fail(1, "the string is too long");
    for (size_t i = 0; i < length; i++)
        memcpy(output + i * length, string, length);
    return 0;
}

/* Never ends by itself. */
int32_t hang(mproc_task *task, void *ctx)
{
    (void)task;
    (void)ctx;
    for (;;)
        pause();
}
