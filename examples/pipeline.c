/* SPDX-License-Identifier: MIT */
/*
 * pipeline <FILE: the lines, words and bytes of a text, as `wc` counts them; of any length, also
 * without an end of line, and in memory that does not grow with it.
 *
 * The input is read in blocks, and each block is a task.  A window of tasks is under way: when it is
 * full, the oldest is waited for before the next block is read.  Results are taken in the order of
 * the blocks, which matters here: a word may begin in one block and end in the next.
 */
#include <mproc/mproc.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = 1 << 16, WINDOW = 64 };

struct count {
    uint64_t lines, words, bytes;
    int begins_in_word, ends_in_word;
};

/* A task: the input is a block, the output its count. */
static int32_t count_block(mproc_task *task, void *ctx)
{
    size_t length;
    const unsigned char *block = mproc_task_input(task, &length);
    struct count *count = mproc_task_output(task, sizeof *count);
    int in_word = 0;

    (void)ctx;
    if (!count)
        return ENOMEM;
    *count = (struct count){.bytes = length, .begins_in_word = length > 0 && !isspace(block[0])};
    for (size_t i = 0; i < length; i++) {
        int is_space = isspace(block[i]);

        count->lines += block[i] == '\n';
        count->words += !is_space && !in_word;
        in_word = !is_space;
    }
    count->ends_in_word = in_word;
    return 0;
}

/* A word that goes on from one block to the next is one word. */
static void add(struct count *total, const struct count *count)
{
    total->lines += count->lines;
    total->words += count->words - (total->ends_in_word && count->begins_in_word);
    total->bytes += count->bytes;
    total->ends_in_word = count->ends_in_word;
}

static int take(mproc_future **future, struct count *total)
{
    const void *count;
    int error = mproc_future_wait(*future, -1);

    if (!error)
        error = mproc_future_result(*future, &count, NULL);
    if (!error)
        add(total, count);
    mproc_future_free(*future);
    *future = NULL;
    return error;
}

static int count_stream(mproc_pool *pool, FILE *stream, struct count *total)
{
    static unsigned char block[BLOCK]; /* submit copies it, so it serves for the next one, too */
    mproc_submit_options options = {.size = sizeof options, .output_max = sizeof *total};
    mproc_future *window[WINDOW] = {NULL};
    size_t length, oldest = 0, next = 0;
    int error = 0;

    while (!error && (length = fread(block, 1, sizeof block, stream)) > 0) {
        if (next - oldest == WINDOW)
            error = take(&window[oldest++ % WINDOW], total);
        if (!error)
            error = mproc_pool_submit(pool, &window[next % WINDOW], count_block, NULL, block,
                                      length, &options);
        next += !error;
    }
    if (!error && ferror(stream))
        error = -EIO;
    while (!error && oldest < next)
        error = take(&window[oldest++ % WINDOW], total);
    for (; oldest < next; oldest++)
        mproc_future_free(window[oldest % WINDOW]);
    return error;
}

int main(void)
{
    /* All that the pool can ever take, to show that it is enough. */
    mproc_pool_options options = {.size = sizeof options, .arena_size = 4 * WINDOW * BLOCK};
    struct count total = {0};
    mproc_pool *pool;
    int error = mproc_pool_create(&pool, 0, &options);

    if (!error) {
        error = count_stream(pool, stdin, &total);
        mproc_pool_destroy(pool);
    }
    if (error) {
        fprintf(stderr, "pipeline: %s\n", mproc_strerror(error));
        return EXIT_FAILURE;
    }
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", total.lines, total.words, total.bytes);
    return EXIT_SUCCESS;
}
