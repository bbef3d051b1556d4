/* SPDX-License-Identifier: MIT */
/*
 * untrusted FILE...: decode files that nobody vouches for, with a decoder that has bugs.
 *
 * Such a file is a row of instructions that build a text; n, d and p are numbers in LEB128:
 *
 *   L n bytes   n bytes as they stand here        G p   go on at byte p of the file
 *   C d n       n bytes again, from d bytes back  E     the end
 *
 *   printf 'L\7Hello, C\7\14L\1!E' >hello; untrusted hello
 *
 * The decoder believes d, and so reads where nothing is; it believes p, and so goes round for ever,
 * or until the text has eaten all memory.  None of it is mended here: each file is decoded in a
 * worker, with a limit of time and one of memory, and a bad one spoils nothing but itself.
 */
#include <mproc/mproc.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- the decoder, with its bugs -------------------------------------------------------------- */

struct text {
    char *data;
    size_t length, room;
};

static size_t number(FILE *in)
{
    size_t value = 0;
    int byte, shift = 0;

    for (; (byte = getc(in)) >= 0x80 && shift < 56; shift += 7)
        value |= (size_t)(byte & 0x7f) << shift;
    return byte == EOF ? 0 : value | (size_t)byte << shift;
}

static int append(struct text *out, int byte)
{
    if (byte == EOF)
        return EINVAL;
    if (out->length == out->room) {
        char *data = realloc(out->data, 2 * out->room + 64);

        if (!data)
            return ENOMEM;
        out->data = data;
        out->room = 2 * out->room + 64;
    }
    out->data[out->length++] = (char)byte;
    return 0;
}

static int decode(FILE *in, struct text *out)
{
    int error = 0;

    while (!error) {
        int instruction = getc(in);
        size_t distance = instruction == 'C' ? number(in) : 0;
        size_t n = instruction == 'E' ? 0 : number(in);

        if (instruction == 'E')
            return 0;
        else if (instruction == 'G')
            error = fseek(in, (long)n, SEEK_SET) ? EINVAL : 0;
        else if (instruction == 'L')
            for (; n > 0 && !error; n--)
                error = append(out, getc(in));
        else if (instruction == 'C')
            for (; n > 0 && !error; n--)
                error = append(out, out->data[out->length - distance]);
        else
            error = EINVAL;
    }
    return error;
}

/* ---- in the workers -------------------------------------------------------------------------- */

/*
 * Runs once in each worker, before its first task.  RLIMIT_AS would be the wrong limit: it counts
 * the pool's shared memory, too, which is a large range of addresses that is hardly used.
 */
static int32_t limit_worker(int32_t worker, void *arg)
{
    const struct rlimit memory = {8 << 20, 8 << 20}, none = {0, 0};

    (void)worker;
    (void)arg;
    if (setrlimit(RLIMIT_DATA, &memory) || setrlimit(RLIMIT_CORE, &none))
        return mproc_fail(errno, strerror(errno));
    return 0;
}

/* A task: the input is the name of a file, the output its text. */
static int32_t decode_file(mproc_task *task, void *ctx)
{
    FILE *in = fopen(mproc_task_input(task, NULL), "rb");
    struct text text = {0};
    char *output;
    int error;

    (void)ctx;
    if (!in)
        return mproc_fail(errno, strerror(errno));
    error = decode(in, &text);
    fclose(in);
    output = mproc_task_output(task, error ? 0 : text.length);
    if (!output)
        error = EFBIG; /* more than the option output_max, which is 1 MiB by default */
    else if (!error && text.length > 0)
        memcpy(output, text.data, text.length);
    free(text.data);
    return error ? mproc_fail(error, strerror(error)) : 0;
}

/* ---- in the host ----------------------------------------------------------------------------- */

static void print_outcome(const char *name, mproc_future *future)
{
    mproc_failure failure = {.size = sizeof failure};
    const void *text;
    size_t length;
    int error = mproc_future_wait(future, -1);

    if (!error)
        error = mproc_future_result(future, &text, &length);
    if (!error) {
        printf("%s: %.*s\n", name, (int)length, (const char *)text);
        return;
    }
    mproc_future_failure(future, &failure);
    printf("%s: %s", name, mproc_strerror(error));
    if (error == MPROC_ETASK)
        printf(": %s", failure.text);
    if (error == MPROC_ECRASHED)
        printf(", by signal %d", failure.signal);
    putchar('\n');
}

int main(int argc, char **argv)
{
    mproc_pool_options options = {
        .size = sizeof options, .init = limit_worker, .time_limit_ms = 2000};
    mproc_pool *pool = NULL;
    mproc_future **futures = calloc((size_t)argc, sizeof *futures);
    int error = futures ? mproc_pool_create(&pool, 0, &options) : -ENOMEM;

    if (argc < 2)
        fprintf(stderr, "usage: untrusted FILE...\n");
    for (int i = 1; i < argc && !error; i++)
        error = mproc_pool_submit(pool, &futures[i], decode_file, NULL, argv[i],
                                  strlen(argv[i]) + 1, NULL);
    for (int i = 1; i < argc && !error; i++)
        print_outcome(argv[i], futures[i]);
    if (error)
        fprintf(stderr, "untrusted: %s\n", mproc_strerror(error));
    for (int i = 1; i < argc && futures; i++)
        mproc_future_free(futures[i]);
    mproc_pool_destroy(pool);
    free(futures);
    return error || argc < 2 ? EXIT_FAILURE : EXIT_SUCCESS;
}
