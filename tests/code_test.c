/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "os/os.h"

#include <stdlib.h>
#include <string.h>

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

static void code_of_no_object_is_taken_as_known(void **state)
{
    struct code_map *map = NULL;
    void *made = malloc(64);

    (void)state;
    assert_int_equal(mp_code_map_create(&map), 0);
    assert_true(mp_code_map_knows(map, (uintptr_t)made));
    assert_true(mp_code_map_knows(map, 0));
    mp_code_map_free(map);
    free(made);
}

#ifdef MPROC_TEST_PLUGIN
static void what_is_loaded_later_is_not_known(void **state)
{
    struct code_map *before = NULL, *after = NULL;
    uintptr_t square;
    void *plugin;

    (void)state;
    assert_int_equal(mp_code_map_create(&before), 0);
    plugin = dlopen(MPROC_TEST_PLUGIN, RTLD_NOW);
    assert_non_null(plugin);
    assert_int_equal(mp_code_map_create(&after), 0);
    square = (uintptr_t)dlsym(plugin, "mproc_test_plugin_square");
    assert_true(square != 0);
    assert_true(mp_code_map_knows(after, square));
    if (mp_code_map_knows(before, square)) {
        /* Only the variant that knows nothing of the loaded objects may say so, and its maps are
         * one. */
        assert_ptr_equal(before, after);
    }
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
    TEST(code_of_no_object_is_taken_as_known),
    TEST(what_is_loaded_later_is_not_known),
};

int main(void)
{
    return TEST_MAIN(tests);
}
