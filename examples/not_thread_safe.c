/* SPDX-License-Identifier: MIT */
/*
 * A library that no two threads may use at once, used by all CPUs at once.
 *
 * The calculator below is of the kind that yacc made for decades: where it is in the text, the
 * variables, the way out on an error, all is in static variables.  Each worker has its own.
 */
#include <mproc/mproc.h>

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the library, as it was found ------------------------------------------------------------ */

static const char *cursor;
static long last_result; /* what `_` stands for */
static jmp_buf way_out;
static char message[64];

static long sum(void);

static long atom(void)
{
    long value = last_result;

    if (*cursor == '_') {
        cursor++;
    } else if (*cursor == '(') {
        cursor++;
        value = sum();
        if (*cursor++ != ')')
            longjmp(way_out, 1);
    } else {
        char *end;

        value = strtol(cursor, &end, 10);
        if (end == cursor)
            longjmp(way_out, 1);
        cursor = end;
    }
    return value;
}

static long product(void)
{
    long value = atom();

    while (*cursor == '*') {
        cursor++;
        value = value * atom() % 1000003;
    }
    return value;
}

static long sum(void)
{
    long value = product();

    while (*cursor == '+' || *cursor == '-')
        value += *cursor++ == '+' ? product() : -product();
    return value;
}

/* The value of an expression in words; good until the next call. */
static const char *calculate(const char *expression)
{
    cursor = expression;
    if (setjmp(way_out)) {
        snprintf(message, sizeof message, "error at %td", cursor - expression);
    } else {
        last_result = sum();
        snprintf(message, sizeof message, "= %ld", last_result);
    }
    return message;
}

/* ---- its use, in parallel -------------------------------------------------------------------- */

enum { COUNT = 4000, LONGEST = 64 };

struct line {
    char text[LONGEST];
};

/* One item is all that a worker may rely on: whatever the library keeps from one call to the next
 * must be set up in the same item, as the first calculation does for `_`. */
static int32_t calculate_line(const void *in, void *out, void *ctx)
{
    const struct line *expression = in;
    struct line *result = out;

    (void)ctx;
    calculate("7");
    strcpy(result->text, calculate(expression->text));
    return 0;
}

static int compare_with_serial(const struct line *expressions, const struct line *results)
{
    int different = 0;

    for (int i = 0; i < COUNT; i++) {
        struct line serial;

        calculate_line(&expressions[i], &serial, NULL);
        if (i % 1000 < 2)
            printf("%s %s\n", expressions[i].text, results[i].text);
        different += strcmp(serial.text, results[i].text) != 0;
    }
    printf("%d results, %d differ from those of one process\n", COUNT, different);
    return different ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(void)
{
    static struct line expressions[COUNT], results[COUNT];
    mproc_pool *pool;
    int error;

    for (int i = 0; i < COUNT; i++)
        snprintf(expressions[i].text, LONGEST, i % 5 == 1 ? "%d*(%d+" : "%d*(%d+_)*(_-3)+%d", i,
                 i % 13, i % 7);
    error = mproc_pool_create(&pool, 0, NULL);
    if (!error) {
        error = mproc_pool_map(pool, calculate_line, NULL, expressions, sizeof expressions[0],
                               results, sizeof results[0], COUNT, NULL);
        mproc_pool_destroy(pool);
    }
    if (error) {
        fprintf(stderr, "not_thread_safe: %s\n", mproc_strerror(error));
        return EXIT_FAILURE;
    }
    return compare_with_serial(expressions, results);
}
