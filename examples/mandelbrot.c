/* SPDX-License-Identifier: MIT */
/*
 * mandelbrot [WIDTH HEIGHT] >picture.ppm: a picture of the Mandelbrot set, a row for each item.
 *
 * Rows through the middle of the set cost a hundred times what those at its edge do.  That needs no
 * care: a worker that is done with its rows takes the next ones, until there are none.
 */
#include <mproc/mproc.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_SIDE = 20000, MOST_STEPS = 1000 };

struct view {
    int width, height;
};

/* After how many steps z = z * z + c has left the circle of radius 2. */
static int steps_of(double c_real, double c_imaginary)
{
    double real = 0, imaginary = 0;
    int steps = 0;

    while (steps < MOST_STEPS && real * real + imaginary * imaginary <= 4) {
        double next = real * real - imaginary * imaginary + c_real;

        imaginary = 2 * real * imaginary + c_imaginary;
        real = next;
        steps++;
    }
    return steps;
}

/* One item: `in` is the number of the row, `out` its pixels, three bytes for each. */
static int32_t draw_row(const void *in, void *out, void *ctx)
{
    const struct view *view = ctx;
    double y = (double)*(const uint64_t *)in;
    unsigned char *pixel = out;

    for (int x = 0; x < view->width; x++, pixel += 3) {
        int steps = steps_of(3.0 * x / view->width - 2.2, 2.4 * y / view->height - 1.2);

        pixel[0] = (unsigned char)(steps == MOST_STEPS ? 0 : 9 * steps % 256);
        pixel[1] = (unsigned char)(steps == MOST_STEPS ? 0 : 5 * steps % 256);
        pixel[2] = (unsigned char)(steps == MOST_STEPS ? 0 : (48 + 7 * steps) % 256);
    }
    return 0;
}

static int draw(struct view *view)
{
    size_t row = 3 * (size_t)view->width, height = (size_t)view->height;
    unsigned char *picture = malloc(row * height);
    mproc_pool *pool = NULL;
    int error = picture ? mproc_pool_create(&pool, 0, NULL) : -ENOMEM;

    /* `in` is NULL: the items are the numbers from 0 to height - 1. */
    if (!error)
        error = mproc_pool_map(pool, draw_row, view, NULL, 0, picture, row, height, NULL);
    mproc_pool_destroy(pool);
    if (!error) {
        printf("P6\n%d %d\n255\n", view->width, view->height);
        fwrite(picture, row, height, stdout);
        if (fflush(stdout) || ferror(stdout))
            error = -errno;
    }
    free(picture);
    return error;
}

int main(int argc, char **argv)
{
    struct view view = {argc == 3 ? atoi(argv[1]) : 900, argc == 3 ? atoi(argv[2]) : 720};
    int error;

    if (argc == 2 || argc > 3 || view.width < 1 || view.height < 1 || view.width > LONGEST_SIDE ||
        view.height > LONGEST_SIDE) {
        fprintf(stderr, "usage: mandelbrot [WIDTH HEIGHT] >picture.ppm, sides from 1 to %d\n",
                LONGEST_SIDE);
        return EXIT_FAILURE;
    }
    error = draw(&view);
    if (error) {
        fprintf(stderr, "mandelbrot: %s\n", mproc_strerror(error));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
