/* SPDX-License-Identifier: MIT */
/*
 * checksum FILE...: what cksum prints for the files, in the order of the arguments, computed by a
 * pool with one worker for each CPU.
 */
#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct sum {
    uint32_t crc;
    uint64_t length;
};

/* ---- in the workers -------------------------------------------------------------------------- */

static uint32_t table[256]; /* filled before the pool is made, so that the workers have it */

static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i << 24;

        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc & 0x80000000U ? 0x04c11db7U : 0);
        table[i] = crc;
    }
}

static uint32_t add_byte(uint32_t crc, unsigned byte)
{
    return crc << 8 ^ table[(crc >> 24 ^ byte) & 0xff];
}

/* The checksum of POSIX cksum: the bytes, then the length, the least significant byte first. */
static int sum_descriptor(int fd, struct sum *sum)
{
    static unsigned char buffer[1 << 16];
    ssize_t n;

    *sum = (struct sum){0, 0};
    while ((n = read(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            sum->crc = add_byte(sum->crc, buffer[i]);
        sum->length += (uint64_t)n;
    }
    if (n < 0)
        return errno;
    for (uint64_t rest = sum->length; rest; rest >>= 8)
        sum->crc = add_byte(sum->crc, rest & 0xff);
    sum->crc = ~sum->crc;
    return 0;
}

/* A task: the input is the name of a file, the output its sum.  The failing code is an errno. */
static int32_t sum_file(mproc_task *task, void *ctx)
{
    const char *name = mproc_task_input(task, NULL);
    struct sum *sum = mproc_task_output(task, sizeof *sum);
    int fd = open(name, O_RDONLY);
    int error;

    (void)ctx;
    if (!sum)
        return ENOMEM;
    if (fd < 0)
        return mproc_fail(errno, strerror(errno));
    error = sum_descriptor(fd, sum);
    close(fd);
    return error ? mproc_fail(error, strerror(error)) : 0;
}

/* ---- in the host ----------------------------------------------------------------------------- */

/* Submit some files ahead of the one that is printed, so that the workers never wait. */
enum { AHEAD = 256 };

static int print_sum(mproc_future *future, const char *name)
{
    mproc_failure failure = {.size = sizeof failure};
    const void *data;
    int error = mproc_future_wait(future, -1);

    if (!error)
        error = mproc_future_result(future, &data, NULL);
    if (!error) {
        const struct sum *sum = data;

        printf("%" PRIu32 " %" PRIu64 " %s\n", sum->crc, sum->length, name);
        return EXIT_SUCCESS;
    }
    fflush(stdout); /* so that messages and sums come in order on a terminal */
    if (error == MPROC_ETASK && mproc_future_failure(future, &failure) == 0)
        fprintf(stderr, "checksum: %s: %s\n", name, failure.text);
    else
        fprintf(stderr, "checksum: %s: %s\n", name, mproc_strerror(error));
    return EXIT_FAILURE;
}

static int sum_all(mproc_pool *pool, char **names, int count)
{
    mproc_submit_options options = {.size = sizeof options, .output_max = sizeof(struct sum)};
    mproc_future *futures[AHEAD];
    int status = EXIT_SUCCESS;

    for (int i = 0; i < count + AHEAD; i++) {
        if (i >= AHEAD && i - AHEAD < count) {
            if (print_sum(futures[i % AHEAD], names[i - AHEAD]))
                status = EXIT_FAILURE;
            mproc_future_free(futures[i % AHEAD]);
        }
        if (i < count) {
            int error = mproc_pool_submit(pool, &futures[i % AHEAD], sum_file, NULL, names[i],
                                          strlen(names[i]) + 1, &options);

            if (error) {
                fprintf(stderr, "checksum: %s\n", mproc_strerror(error));
                return EXIT_FAILURE;
            }
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    mproc_pool *pool;
    int error, status;

    if (argc < 2) {
        fprintf(stderr, "usage: checksum FILE...\n");
        return EXIT_FAILURE;
    }
    fill_table();
    error = mproc_pool_create(&pool, 0, NULL);
    if (error) {
        fprintf(stderr, "checksum: %s\n", mproc_strerror(error));
        return EXIT_FAILURE;
    }
    status = sum_all(pool, argv + 1, argc - 1);
    mproc_pool_destroy(pool);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "checksum: standard output: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    return status;
}
