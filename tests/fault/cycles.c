/* SPDX-License-Identifier: MIT */
/*
 * Pools and processes that come and go: after thousands of them the host has no more memory,
 * mappings, descriptors or children than after the first few.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

/* A page for every twenty cycles would be far more. */
enum { WARM_UP = 50, RESIDENT_GROWTH_KB = 512, ALLOCATORS_OWN = 4 };

/* ---- what the process has -------------------------------------------------------------------- */

struct belongings {
    size_t heap;     /* bytes in use; 0: nobody tells */
    size_t resident; /* KiB */
    size_t mappings;
    size_t objects; /* of these, those of files and shared memory */
    size_t descriptors;
    bool children;
};

static size_t count_entries(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;

    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

/* The number after `key` at the start of a line. */
static size_t scan(const char *path, const char *key)
{
    FILE *file = fopen(path, "re");
    size_t number = 0;
    char line[1024];

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            number = strtoul(line + strlen(key), NULL, 10);
    if (file)
        fclose(file);
    return number;
}

/* Lines of the maps; neighbours of no name count as one, as which the system may or may not show
 * them. */
static size_t count_mappings(size_t *objects)
{
    FILE *file = fopen("/proc/self/maps", "r");
    unsigned long begin, end, last_end = 0;
    char line[512], access[8], last_access[8] = "";
    size_t count = 0;

    while (file && fgets(line, sizeof line, file)) {
        unsigned long inode = 1;

        if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &begin, &end, access, &inode) != 4)
            continue;
        count += inode || strchr(line, '[') || begin != last_end || strcmp(access, last_access);
        *objects += inode != 0;
        last_end = inode ? 0 : end;
        memcpy(last_access, access, sizeof access);
    }
    if (file)
        fclose(file);
    return count;
}

static size_t heap_in_use(void)
{
#if defined __GLIBC__ && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    return mallinfo2().uordblks + mallinfo2().hblkhd;
#else
    return 0;
#endif
}

/* A checker of memory keeps what was freed. */
static bool has_checker(void)
{
#if defined __SANITIZE_ADDRESS__
    return true;
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
    return true;
#endif
#endif
    return test_under_valgrind();
}

static struct belongings take_stock(void)
{
    struct belongings stock = {.heap = heap_in_use()};

    stock.resident = scan("/proc/self/status", "VmRSS:");
    stock.mappings = count_mappings(&stock.objects);
    stock.descriptors = count_entries("/proc/self/fd");
    stock.children = waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD;
    return stock;
}

static void repeat(void (*cycle)(uint64_t number), uint64_t count)
{
    struct belongings before, after;

    for (uint64_t i = 0; i < WARM_UP; i++)
        cycle(i);
    before = take_stock();
    for (uint64_t i = 0; i < count; i++)
        cycle(i);
    after = take_stock();
    print_message("%llu: heap %zu to %zu bytes, resident %zu to %zu KiB, %zu mappings\n",
                  (unsigned long long)count, before.heap, after.heap, before.resident,
                  after.resident, after.mappings);
    assert_int_equal(before.heap, after.heap);
    assert_int_equal(before.descriptors, after.descriptors);
    assert_false(before.children);
    assert_false(after.children);
    assert_int_equal(before.objects, after.objects);
    if (has_checker())
        return;
    if (before.heap)
        assert_int_equal(before.mappings, after.mappings);
    else /* an allocator that does not tell has some of its own, which come and go */
        assert_true(after.mappings <= before.mappings + ALLOCATORS_OWN);
    assert_true(after.resident <= before.resident + RESIDENT_GROWTH_KB);
}

/* ---- pools ----------------------------------------------------------------------------------- */

static int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in * *(const uint64_t *)in;
    return 0;
}

static int32_t echo(mproc_task *task, void *ctx)
{
    size_t length;
    const void *in = mproc_task_input(task, &length);
    void *out = mproc_task_output(task, length);

    (void)ctx;
    if (*(const char *)in == 'c')
        raise(SIGKILL);
    memcpy(out, in, length);
    return 0;
}

/* The ways to use a pool and to end it come in turn. */
static void make_and_end_pool(uint64_t number)
{
    uint64_t out[100];
    mproc_future *future = NULL;
    mproc_pool *pool;
    void *memory;

    assert_int_equal(mproc_pool_create(&pool, 1 + (int32_t)(number % 2), NULL), 0);
    switch (number % 8) {
    case 0:
        assert_int_equal(mproc_pool_map(pool, square, NULL, NULL, 0, out, 8, 100, NULL), 0);
        break;
    case 1:
        assert_int_equal(mproc_pool_submit(pool, &future, echo, NULL, "hello", 6, NULL), 0);
        assert_int_equal(mproc_future_wait(future, -1), 0);
        break;
    case 2: /* a task that is open at the end */
        assert_int_equal(mproc_pool_submit(pool, &future, echo, NULL, "hello", 6, NULL), 0);
        break;
    case 3:
        assert_int_equal(mproc_pool_alloc(pool, 100000, &memory), 0);
        memset(memory, 1, 100000);
        break;
    case 4:
        assert_int_equal(mproc_pool_restart(pool), 0);
        break;
    case 5:
        assert_int_equal(mproc_pool_call(pool, echo, NULL, "crash", 6, NULL, 0, NULL, NULL),
                         MPROC_ECRASHED);
        break;
    case 6:
        assert_int_equal(mproc_pool_close(pool), 0);
        assert_int_equal(mproc_pool_join(pool, -1), 0);
        break;
    default:
        break;
    }
    mproc_pool_destroy(pool);
    mproc_future_free(future);
}

static void pools_that_come_and_go_leave_nothing(void **state)
{
    (void)state;
    repeat(make_and_end_pool, test_count(500, 10000));
}

static void one_shot_map(uint64_t number)
{
    uint64_t out[4];

    assert_int_equal(mproc_map(square, NULL, NULL, 0, out, 8, 4, 1 + (int32_t)(number % 2), NULL),
                     0);
    assert_int_equal(out[3], 9);
}

static void maps_with_workers_of_their_own_leave_nothing(void **state)
{
    (void)state;
    repeat(one_shot_map, test_count(200, 10000));
}

/* ---- processes ------------------------------------------------------------------------------- */

static int32_t give_code(void *arg)
{
    return *(const int32_t *)arg;
}

static void start_and_join(uint64_t number)
{
    mproc_spawn_options options = {
        .size = sizeof options, .daemon = number % 2 == 0, .new_group = number % 3 == 0};
    int32_t code = (int32_t)(number % 256), got;
    mproc_process *process;

    assert_int_equal(mproc_spawn(&process, give_code, &code, &options), 0);
    assert_int_equal(mproc_join(process, -1, &got), 0);
    assert_int_equal(got, code);
    mproc_process_free(process);
}

static void processes_that_come_and_go_leave_nothing(void **state)
{
    (void)state;
    repeat(start_and_join, test_count(1000, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pools_that_come_and_go_leave_nothing),
        TEST(maps_with_workers_of_their_own_leave_nothing),
        TEST(processes_that_come_and_go_leave_nothing),
    };

    return TEST_MAIN(tests);
}
