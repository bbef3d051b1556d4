/* SPDX-License-Identifier: MIT */
/*
 * Start a process, give it something, wait for it.
 *
 * The child is a fork: it sees the person as a copy of its own.
 */
#include <mproc/mproc.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct person {
    int32_t id;
};

/* Runs in the child; what it returns is the exit code. */
static int32_t start(void *arg)
{
    const struct person *person = arg;

    printf("Person %" PRId32 " started\n", person->id);
    return 0;
}

int main(void)
{
    struct person person = {.id = 1};
    mproc_process *process;
    int32_t exit_code;
    int r;

    r = mproc_spawn(&process, start, &person, NULL);
    if (r) {
        fprintf(stderr, "spawn: %s\n", mproc_strerror(r));
        return EXIT_FAILURE;
    }
    r = mproc_join(process, -1, &exit_code);
    mproc_process_free(process);
    if (r) {
        fprintf(stderr, "join: %s\n", mproc_strerror(r));
        return EXIT_FAILURE;
    }
    return exit_code == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
