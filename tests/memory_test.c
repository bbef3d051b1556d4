/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void what_is_mapped_is_zero_and_can_be_written(void **state)
{
    struct memory memory = MEMORY_NONE;
    size_t size = 16 * page();

    (void)state;
    assert_int_equal(mp_memory_open(&memory, size), 0);
    assert_non_null(memory.base);
    assert_int_equal(memory.size, size);
    assert_true(memory.fd > 2);
    assert_true(fcntl(memory.fd, F_GETFD) & FD_CLOEXEC);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(memory.base[i], 0);
    memset(memory.base, 1, size);
    mp_memory_close(&memory);
}

static int write_a_word(void *arg)
{
    strcpy(arg, "from a fork");
    return 0;
}

static void forks_share_it(void **state)
{
    struct memory memory = MEMORY_NONE;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, page()), 0);
    assert_int_equal(test_run_child(write_a_word, memory.base), 0);
    assert_string_equal(memory.base, "from a fork");
    mp_memory_close(&memory);
}

static void closed_is_none_and_can_be_closed_again(void **state)
{
    struct memory memory = MEMORY_NONE;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, page()), 0);
    mp_memory_close(&memory);
    assert_null(memory.base);
    assert_int_equal(memory.size, 0);
    assert_int_equal(memory.fd, -1);
    mp_memory_close(&memory);
}

static void two_objects_are_not_one(void **state)
{
    struct memory first = MEMORY_NONE, second = MEMORY_NONE;

    (void)state;
    assert_int_equal(mp_memory_open(&first, page()), 0);
    assert_int_equal(mp_memory_open(&second, page()), 0);
    first.base[0] = 1;
    assert_int_equal(second.base[0], 0);
    mp_memory_close(&first);
    mp_memory_close(&second);
}

static void much_of_it_takes_no_memory(void **state)
{
    struct memory memory = MEMORY_NONE;
    size_t size = (size_t)1 << (sizeof(size_t) > 4 ? 34 : 28);
    struct stat status;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, size), 0);
    memory.base[size - 1] = 1;
    assert_int_equal(fstat(memory.fd, &status), 0);
    assert_int_equal(status.st_size, size);
    assert_true(status.st_blocks * 512 < 64 * (blkcnt_t)page());
    mp_memory_close(&memory);
}

static void more_than_there_are_addresses_is_an_error(void **state)
{
    struct memory memory = MEMORY_NONE;

    (void)state;
    assert_true(mp_memory_open(&memory, (size_t)PTRDIFF_MAX & ~(page() - 1)) < 0);
    assert_null(memory.base);
    assert_int_equal(memory.fd, -1);
}

static void what_is_committed_is_there(void **state)
{
    struct memory memory = MEMORY_NONE;
    struct stat status;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, 64 * page()), 0);
    assert_int_equal(mp_memory_commit(&memory, 8 * page(), 16 * page()), 0);
    assert_int_equal(fstat(memory.fd, &status), 0);
    assert_true(status.st_blocks * 512 >= 16 * (blkcnt_t)page());
    assert_int_equal(memory.base[8 * page()], 0);
    memory.base[8 * page()] = 1;
    assert_int_equal(mp_memory_commit(&memory, 8 * page(), page()), 0); /* once more: it stays */
    assert_int_equal(memory.base[8 * page()], 1);
    mp_memory_close(&memory);
}

static void what_is_discarded_reads_as_zero(void **state)
{
    struct memory memory = MEMORY_NONE;
    size_t size = 8 * page();
    struct stat before, after;
    int r;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, size), 0);
    memset(memory.base, 1, size);
    assert_int_equal(fstat(memory.fd, &before), 0);
    r = mp_memory_discard(&memory, 2 * page(), 4 * page());
    assert_true(r == 0 || r == -ENOTSUP);
    assert_int_equal(fstat(memory.fd, &after),
                     0); /* before they are read, which brings them back */
    assert_int_equal(after.st_size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(memory.base[i],
                         r == -ENOTSUP || i < 2 * page() || i >= 6 * page() ? 1 : 0);
    if (r == 0)
        assert_true(after.st_blocks < before.st_blocks);
    mp_memory_close(&memory);
}

/* The fallback cannot do that; where pages can be given back (Linux) there are seals too. */
static void it_cannot_be_made_smaller_or_larger(void **state)
{
    struct memory memory = MEMORY_NONE;
    bool sealed;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, 4 * page()), 0);
    sealed = mp_memory_discard(&memory, 0, page()) == 0;
    if (sealed) {
        assert_int_equal(ftruncate(memory.fd, 0), -1);
        assert_int_equal(ftruncate(memory.fd, (off_t)(8 * page())), -1);
        memory.base[3 * page()] = 1;
    }
    mp_memory_close(&memory);
    if (!sealed)
        skip();
}

/* The flags in the paragraph of /proc/self/smaps about the mapping that begins at `base`; none: "". */
static void flags_of(const void *base, char *flags, int size)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[512], begin[32];
    bool here = false;

    flags[0] = 0;
    snprintf(begin, sizeof begin, "%lx-", (unsigned long)base);
    while (smaps && fgets(line, sizeof line, smaps)) {
        if (strncmp(line, begin, strlen(begin)) == 0)
            here = true;
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            snprintf(flags, (size_t)size, "%s", line);
            break;
        }
    }
    if (smaps)
        fclose(smaps);
}

/* A crash with a large arena would else take minutes and all memory, to write zeros. */
static void it_is_not_in_core_files(void **state)
{
    struct memory memory = MEMORY_NONE;
    char flags[512];
    bool left_out;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, 4 * page()), 0);
    left_out = mp_memory_discard(&memory, 0, page()) == 0;
    flags_of(memory.base, flags, sizeof flags);
    mp_memory_close(&memory);
    if (!left_out || !flags[0])
        skip();
    assert_non_null(strstr(flags, " dd"));
}

static long faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* 0: by one fault for many pages; 1: by one for each; 2: what was there is lost. */
static int touch_and_write(void *arg)
{
    const struct memory *memory = arg;
    long before = faults(), after;

    mp_memory_touch(memory->base, memory->size);
    for (size_t i = 0; i < memory->size; i += page())
        memory->base[i] = 3;
    after = faults();
    for (size_t i = 0; i < memory->size; i++)
        if (memory->base[i] != (i % page() ? 1 : 3))
            return 2;
    return after - before > (long)(memory->size / page() / 2);
}

static void what_another_has_written_is_mapped_by_the_stretch(void **state)
{
    struct memory memory = MEMORY_NONE;
    int result;

    (void)state;
    assert_int_equal(mp_memory_open(&memory, (size_t)4 << 20), 0);
    assert_int_equal(mp_memory_commit(&memory, 0, memory.size), 0);
    memset(memory.base, 1, memory.size);
    result = test_run_child(touch_and_write, &memory);
    mp_memory_touch(memory.base, 0);
    mp_memory_touch(NULL, 0);
    mp_memory_close(&memory);
    assert_int_not_equal(result, 2);
#if !defined(__linux__)
    if (result == 1)
        skip(); /* it goes on, only slower */
#endif
    assert_int_equal(result, 0);
}

static const struct CMUnitTest tests[] = {
    TEST(what_is_mapped_is_zero_and_can_be_written),
    TEST(forks_share_it),
    TEST(closed_is_none_and_can_be_closed_again),
    TEST(two_objects_are_not_one),
    TEST(much_of_it_takes_no_memory),
    TEST(more_than_there_are_addresses_is_an_error),
    TEST(what_is_committed_is_there),
    TEST(what_is_discarded_reads_as_zero),
    TEST(it_cannot_be_made_smaller_or_larger),
    TEST(it_is_not_in_core_files),
    TEST(what_another_has_written_is_mapped_by_the_stretch),
};

int main(void)
{
    return TEST_MAIN(tests);
}
