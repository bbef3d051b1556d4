/* SPDX-License-Identifier: MIT */
/* Several processes at once: all are started before the first is waited for. */
#include <mproc/mproc.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROCESSES = 4 };

static int32_t print_number(void *arg)
{
    const int32_t *number = arg;

    printf("Process %" PRId32 ": %" PRId32 "\n", *number, *number);
    return 0;
}

int main(void)
{
    mproc_process *processes[PROCESSES] = {NULL};
    int32_t numbers[PROCESSES];
    int r = 0;
    int joined;

    for (int32_t i = 0; i < PROCESSES && r == 0; i++) {
        numbers[i] = i + 1;
        r = mproc_spawn(&processes[i], print_number, &numbers[i], NULL);
    }
    if (r)
        fprintf(stderr, "spawn: %s\n", mproc_strerror(r));

    joined = mproc_join_all(processes, PROCESSES, -1); /* passes over those that are still NULL */
    if (joined)
        fprintf(stderr, "join: %s\n", mproc_strerror(joined));

    for (int i = 0; i < PROCESSES; i++)
        mproc_process_free(processes[i]);
    return r || joined ? EXIT_FAILURE : EXIT_SUCCESS;
}
