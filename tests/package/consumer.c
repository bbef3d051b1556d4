/* SPDX-License-Identifier: MIT */
/* A program of somebody who has nothing but the installed library. */
#include <mproc/mproc.h>

#include <stdio.h>

static int32_t child(void *arg)
{
    (void)arg;
    return 7;
}

int main(void)
{
    mproc_process *process;
    int32_t code;
    int r = mproc_spawn(&process, child, NULL, NULL);

    if (r == 0)
        r = mproc_join(process, -1, &code);
    if (r) {
        fprintf(stderr, "%s\n", mproc_strerror(r));
        return 1;
    }
    mproc_process_free(process);
    printf("%d\n", (int)code);
    return 0;
}
