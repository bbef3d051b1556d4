/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "os/os.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef MPROC_TEST_PLUGIN
#include <dlfcn.h>
#endif

static uintptr_t address_of(void (*function)(void))
{
    return (uintptr_t)function;
}

static void here(void)
{
}

static void what_is_loaded_is_known(void **state)
{
    struct code_map *map = NULL;

    (void)state;
    assert_int_equal(mp_code_map_create(&map), 0);
    assert_true(mp_code_map_knows(map, address_of(here)));
    assert_true(mp_code_map_knows(map, (uintptr_t)strlen));
    assert_true(mp_code_map_knows(map, (uintptr_t)_cmocka_run_group_tests));
    mp_code_map_free(map);
}

/* The variant that knows nothing refuses nothing, and its maps are one. */
static void need_knowledge(void)
{
    struct code_map *one = NULL, *two = NULL;
    bool same;

    assert_int_equal(mp_code_map_create(&one), 0);
    assert_int_equal(mp_code_map_create(&two), 0);
    same = one == two;
    mp_code_map_free(one);
    mp_code_map_free(two);
    if (same)
        skip();
}

static void what_is_no_code_is_not_known(void **state)
{
    struct code_map *map = NULL;
    static int data;

    (void)state;
    need_knowledge();
    assert_int_equal(mp_code_map_create(&map), 0);
    assert_false(mp_code_map_knows(map, (uintptr_t)&data));
    assert_false(mp_code_map_knows(map, (uintptr_t)&map));
    assert_false(mp_code_map_knows(map, 0));
    assert_false(mp_code_map_knows(map, UINTPTR_MAX));
    mp_code_map_free(map);
}

/* ---- code that was made, not loaded ---------------------------------------------------------- */

enum { PAGE = 1 << 16, MANY = 1 << 20, SLOT = 64 };

static char *map_code(size_t size, int protection)
{
    void *code = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(code, MAP_FAILED);
    return code;
}

static void code_that_was_made_before_is_known_and_later_is_not(void **state)
{
    struct code_map *map = NULL;
    char *early, *late;

    (void)state;
    need_knowledge();
    early = map_code(PAGE, PROT_READ | PROT_EXEC);
    assert_int_equal(mp_code_map_create(&map), 0);
    late = map_code(PAGE, PROT_READ | PROT_EXEC);
    assert_true(mp_code_map_knows(map, (uintptr_t)early));
    assert_true(mp_code_map_knows(map, (uintptr_t)early + PAGE - 1));
    assert_false(mp_code_map_knows(map, (uintptr_t)late));
    mp_code_map_free(map);
    munmap(late, PAGE);
    munmap(early, PAGE);
}

/* libffi has many closures in a page, and fills it as they come. */
static void a_closure_is_told_from_an_earlier_one_in_its_page(void **state)
{
    struct code_map *map = NULL;
    char *page, *last;

    (void)state;
    need_knowledge();
    if (test_under_valgrind())
        skip(); /* its heap is such pages, and they are too many to copy */
    page = map_code(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    last = page + PAGE - 8;
    memset(page, 1, SLOT);
    memset(last, 1, 8);
    assert_int_equal(mp_code_map_create(&map), 0);
    memset(page + SLOT, 1, SLOT);
    assert_true(mp_code_map_knows(map, (uintptr_t)page));
    assert_true(mp_code_map_knows(map, (uintptr_t)last));
    assert_false(mp_code_map_knows(map, (uintptr_t)page + SLOT));
    page[40] = 2; /* the same code for another function */
    assert_false(mp_code_map_knows(map, (uintptr_t)page));
    munmap(page, PAGE);
    assert_false(mp_code_map_knows(map, (uintptr_t)last));
    mp_code_map_free(map);
}

/* As libffi does it where memory may not be writable and executable at once. */
static void a_closure_is_told_that_was_written_through_another_mapping(void **state)
{
    struct code_map *map = NULL;
    char *code, *alias;
    int fd;

    (void)state;
    need_knowledge();
    fd = mp_memory_object(PAGE);
    assert_true(fd >= 0);
    assert_int_equal(mp_memory_size(fd, PAGE), 0);
    code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    alias = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(code, MAP_FAILED);
    assert_ptr_not_equal(alias, MAP_FAILED);
    memset(alias, 1, SLOT);
    assert_int_equal(mp_code_map_create(&map), 0);
    memset(alias + SLOT, 1, SLOT);
    if (!test_under_valgrind()) { /* its heap is such pages, too, and they are too many to copy */
        assert_true(mp_code_map_knows(map, (uintptr_t)code));
        assert_false(mp_code_map_knows(map, (uintptr_t)code + SLOT));
    }
    mp_code_map_free(map);
    munmap(code, PAGE);
    munmap(alias, PAGE);
    mp_close(fd);
}

/* As libffi does it with its static trampolines: its own code again, and pointers behind that. */
static void a_closure_is_told_by_the_page_behind_its_code(void **state)
{
    enum { STRIDE = 40 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct code_map *map = NULL;
    char *code, *pointers;
    int fd;

    (void)state;
    need_knowledge();
    fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    code = map_code(2 * page, PROT_READ | PROT_WRITE);
    pointers = code + page;
    assert_ptr_equal(mmap(code, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0), code);
    mp_close(fd);
    memset(pointers, 1, STRIDE);
    assert_int_equal(mp_code_map_create(&map), 0);
    memset(pointers + STRIDE, 1, STRIDE);
    if (!test_under_valgrind()) {
        assert_true(mp_code_map_knows(map, (uintptr_t)code));
        assert_false(mp_code_map_knows(map, (uintptr_t)code + STRIDE));
        pointers[0] = 2;
        assert_false(mp_code_map_knows(map, (uintptr_t)code));
    }
    mp_code_map_free(map);
    munmap(code, 2 * page);
}

static void pages_that_are_too_many_to_copy_are_taken_as_known(void **state)
{
    struct code_map *map = NULL;
    char *pages;

    (void)state;
    need_knowledge();
    pages = map_code(MANY, PROT_READ | PROT_WRITE | PROT_EXEC);
    assert_int_equal(mp_code_map_create(&map), 0);
    pages[0] = 1;
    assert_true(mp_code_map_knows(map, (uintptr_t)pages));
    mp_code_map_free(map);
    munmap(pages, MANY);
}

static void many_pieces_of_code_are_found(void **state)
{
    enum { COUNT = 200 };
    struct code_map *map = NULL;
    char *pieces;

    (void)state;
    need_knowledge();
    pieces = map_code((size_t)COUNT * 2 * PAGE, PROT_NONE);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(mprotect(pieces + 2 * i * PAGE, PAGE, PROT_READ | PROT_EXEC), 0);
    assert_int_equal(mp_code_map_create(&map), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(mp_code_map_knows(map, (uintptr_t)(pieces + 2 * i * PAGE)));
        assert_false(mp_code_map_knows(map, (uintptr_t)(pieces + (2 * i + 1) * PAGE)));
    }
    mp_code_map_free(map);
    munmap(pieces, (size_t)COUNT * 2 * PAGE);
}

/* ---- code that is loaded --------------------------------------------------------------------- */

#ifdef MPROC_TEST_PLUGIN
static void what_is_loaded_later_is_not_known(void **state)
{
    struct code_map *before = NULL, *after = NULL;
    uintptr_t square;
    void *plugin;

    (void)state;
    need_knowledge();
    assert_int_equal(mp_code_map_create(&before), 0);
    plugin = dlopen(MPROC_TEST_PLUGIN, RTLD_NOW);
    assert_non_null(plugin);
    assert_int_equal(mp_code_map_create(&after), 0);
    square = (uintptr_t)dlsym(plugin, "mproc_test_plugin_square");
    assert_true(square != 0);
    assert_true(mp_code_map_knows(after, square));
    assert_false(mp_code_map_knows(before, square));
    assert_true(mp_code_map_knows(before, address_of(here)));
    mp_code_map_free(after);
    mp_code_map_free(before);
    dlclose(plugin);
}
#else
static void what_is_loaded_later_is_not_known(void **state)
{
    (void)state;
    skip(); /* a static program loads nothing */
}
#endif

static const struct CMUnitTest tests[] = {
    TEST(what_is_loaded_is_known),
    TEST(what_is_no_code_is_not_known),
    TEST(code_that_was_made_before_is_known_and_later_is_not),
    TEST(a_closure_is_told_from_an_earlier_one_in_its_page),
    TEST(a_closure_is_told_that_was_written_through_another_mapping),
    TEST(a_closure_is_told_by_the_page_behind_its_code),
    TEST(pages_that_are_too_many_to_copy_are_taken_as_known),
    TEST(many_pieces_of_code_are_found),
    TEST(what_is_loaded_later_is_not_known),
};

int main(void)
{
    return TEST_MAIN(tests);
}
