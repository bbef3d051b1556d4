/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"

#ifdef MPROC_TEST_PLUGIN
#include <dlfcn.h>
#endif

/* ---- functions ------------------------------------------------------------------------------- */

static void a_function_without_a_name_or_a_place_is_refused(void **state)
{
    void *function = state;

    assert_int_equal(mproc_function_load(NULL, NULL, &function), -EINVAL);
    assert_int_equal(mproc_function_load(NULL, "", &function), -EINVAL);
    assert_int_equal(mproc_function_load("", "malloc", &function), -EINVAL);
    assert_int_equal(mproc_function_load(NULL, "malloc", NULL), -EINVAL);
    assert_ptr_equal(function, state);
}

#ifdef MPROC_TEST_PLUGIN

static void what_cannot_be_loaded_is_told_from_what_is_not_in_it(void **state)
{
    void *function = state;

    assert_int_equal(mproc_function_load("/nowhere/lib.so", "f", &function), MPROC_ELOAD);
    assert_non_null(strstr(dlerror(), "/nowhere/lib.so"));
    assert_int_equal(mproc_function_load("/dev/null", "f", &function), MPROC_ELOAD);
    assert_int_equal(mproc_function_load(MPROC_TEST_PLUGIN, "f", &function), MPROC_ESYMBOL);
    assert_int_equal(mproc_function_load(NULL, "mproc_no_such_function", &function), MPROC_ESYMBOL);
    assert_ptr_equal(function, state);
}

static void the_program_and_what_it_has_loaded_have_no_path(void **state)
{
    pid_t (*function)(void) = NULL;

    (void)state;
    assert_int_equal(mproc_function_load(NULL, "getpid", (void **)&function), 0);
    assert_int_equal(function(), getpid());
}

static void a_function_loaded_again_is_the_same(void **state)
{
    void *one, *two;

    (void)state;
    assert_int_equal(mproc_function_load(MPROC_TEST_PLUGIN, "mproc_test_plugin_square", &one), 0);
    assert_int_equal(mproc_function_load(MPROC_TEST_PLUGIN, "mproc_test_plugin_square", &two), 0);
    assert_ptr_equal(one, two);
}

static int map_with(mproc_pool *pool, void *function, int64_t *out)
{
    const int64_t in[] = {1, 2, 3};
    mproc_map_fn fn;

    memcpy(&fn, &function, sizeof fn);
    return mproc_pool_map(pool, fn, NULL, in, sizeof in[0], out, sizeof out[0], 3, NULL);
}

/* In a fork, where the plugin was not loaded before: it stays loaded. */
static int load_late(void *arg)
{
    int64_t out[3];
    struct code_map *one, *two;
    mproc_pool *pool;
    void *function;
    int late;

    (void)arg;
    if (mp_code_map_create(&one) || mp_code_map_create(&two))
        return 1;
    late = one == two ? 0 : MPROC_EFUNC; /* one is all: this system cannot tell */
    mp_code_map_free(one);
    mp_code_map_free(two);
    if (dlopen(MPROC_TEST_PLUGIN, RTLD_NOW | RTLD_NOLOAD))
        return 2;
    if (mproc_pool_create(&pool, 2, NULL) ||
        mproc_function_load(MPROC_TEST_PLUGIN, "mproc_test_plugin_square", &function))
        return 3;
    if (late && map_with(pool, function, out) != late)
        return 4;
    if (mproc_pool_restart(pool) || map_with(pool, function, out))
        return 5;
    mproc_pool_destroy(pool);
    return out[2] == 9 ? 0 : 6;
}

static void a_function_is_loaded_before_the_pool_or_a_restart(void **state)
{
    int64_t out[3];
    mproc_pool *pool;
    void *function;

    (void)state;
    assert_int_equal(test_run_child(load_late, NULL), 0);
    assert_int_equal(mproc_function_load(MPROC_TEST_PLUGIN, "mproc_test_plugin_square", &function),
                     0);
    assert_int_equal(mproc_pool_create(&pool, 2, NULL), 0);
    assert_int_equal(map_with(pool, function, out), 0);
    assert_int_equal(out[0], 1);
    assert_int_equal(out[2], 9);
    mproc_pool_destroy(pool);
}

static void a_variable_is_no_function_for_a_pool(void **state)
{
    int64_t out[3];
    struct code_map *one, *two;
    mproc_pool *pool;
    void *variable;
    bool blind;

    (void)state;
    assert_int_equal(mp_code_map_create(&one), 0);
    assert_int_equal(mp_code_map_create(&two), 0);
    blind = one == two;
    mp_code_map_free(one);
    mp_code_map_free(two);
    if (blind)
        skip();
    assert_int_equal(mproc_function_load(NULL, "environ", &variable), 0);
    assert_int_equal(mproc_pool_create(&pool, 1, NULL), 0);
    assert_int_equal(map_with(pool, variable, out), MPROC_EFUNC);
    mproc_pool_destroy(pool);
}

#endif

/* ---- constants ------------------------------------------------------------------------------- */

/* Each of them: tests/ffi_tables.sh. */
static void constants_have_the_values_of_the_headers(void **state)
{
    int64_t value = 17;

    (void)state;
    assert_int_equal(mproc_constant("MPROC_ECRASHED", &value), 0);
    assert_int_equal(value, MPROC_ECRASHED);
    assert_int_equal(mproc_constant("sizeof(mproc_map_options)", &value), 0);
    assert_int_equal(value, sizeof(mproc_map_options));
}

static void there_are_no_other_constants(void **state)
{
    static const char *const names[] = {"", "MPROC_", "MPROC_ECRASHED ", "mproc_map_options",
                                        "sizeof(mproc_pool)"};
    int64_t value = 17;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(mproc_constant(names[i], &value), -ENOENT);
    assert_int_equal(mproc_constant(NULL, &value), -EINVAL);
    assert_int_equal(mproc_constant("MPROC_ECRASHED", NULL), -EINVAL);
    assert_int_equal(value, 17);
}

/* ---- structs --------------------------------------------------------------------------------- */

static void a_new_struct_has_every_default(void **state)
{
    mproc_map_options expected = {.size = sizeof expected}, *made;

    (void)state;
    assert_int_equal(mproc_struct_new("mproc_map_options", (void **)&made), 0);
    assert_memory_equal(made, &expected, sizeof expected);
    mproc_struct_free(made);
    mproc_struct_free(NULL);
}

static void there_are_no_other_structs(void **state)
{
    void *made = state;

    assert_int_equal(mproc_struct_new("mproc_pool", &made), -ENOENT);
    assert_int_equal(mproc_struct_new("", &made), -ENOENT);
    assert_int_equal(mproc_struct_new(NULL, &made), -EINVAL);
    assert_int_equal(mproc_struct_new("mproc_failure", NULL), -EINVAL);
    assert_ptr_equal(made, state);
}

static void members_are_set_and_read_by_name(void **state)
{
    mproc_pool_options *made;
    int64_t value = 0;
    const void *pointer = NULL;

    assert_int_equal(mproc_struct_new("mproc_pool_options", (void **)&made), 0);
    assert_int_equal(mproc_struct_set(made, "retries", -7), 0);
    assert_int_equal(mproc_struct_set(made, "time_limit_ms", INT64_MIN), 0);
    assert_int_equal(mproc_struct_set(made, "tasks_per_worker", UINT32_MAX), 0);
    assert_int_equal(mproc_struct_set(made, "arena_size", INT64_MAX), 0);
    assert_int_equal(mproc_struct_set_pointer(made, "arg", state), 0);
    assert_int_equal(made->retries, -7);
    assert_true(made->time_limit_ms == INT64_MIN);
    assert_int_equal(made->tasks_per_worker, UINT32_MAX);
    assert_true(made->arena_size == INT64_MAX);
    assert_ptr_equal(made->arg, state);
    assert_int_equal(made->keep_descriptors, 0);
    assert_int_equal(mproc_struct_get(made, "retries", &value), 0);
    assert_int_equal(value, -7);
    assert_int_equal(mproc_struct_get(made, "tasks_per_worker", &value), 0);
    assert_true(value == UINT32_MAX);
    assert_int_equal(mproc_struct_get(made, "time_limit_ms", &value), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(mproc_struct_get_pointer(made, "arg", &pointer), 0);
    assert_ptr_equal(pointer, state);
    mproc_struct_free(made);
}

static void what_a_member_cannot_hold_is_refused(void **state)
{
    mproc_pool_options *made;
    int64_t value;

    (void)state;
    assert_int_equal(mproc_struct_new("mproc_pool_options", (void **)&made), 0);
    assert_int_equal(mproc_struct_set(made, "retries", (int64_t)INT32_MAX + 1), -ERANGE);
    assert_int_equal(mproc_struct_set(made, "retries", (int64_t)INT32_MIN - 1), -ERANGE);
    assert_int_equal(mproc_struct_set(made, "tasks_per_worker", -1), -ERANGE);
    assert_int_equal(mproc_struct_set(made, "tasks_per_worker", (int64_t)UINT32_MAX + 1), -ERANGE);
    assert_int_equal(mproc_struct_set(made, "arena_size", -1), -ERANGE);
    made->arena_size = UINT64_MAX;
    assert_int_equal(mproc_struct_get(made, "arena_size", &value), -ERANGE);
    assert_int_equal(made->retries, 0);
    mproc_struct_free(made);
}

static void a_member_that_is_not_there_or_of_the_other_kind_is_refused(void **state)
{
    mproc_failure *made;
    const void *pointer = state;
    int64_t value = 17;

    assert_int_equal(mproc_struct_new("mproc_failure", (void **)&made), 0);
    assert_int_equal(mproc_struct_set(made, "cause", 1), -ENOENT);
    assert_int_equal(mproc_struct_set(made, "size", 1), -ENOENT);
    assert_int_equal(mproc_struct_set(made, "", 1), -ENOENT);
    assert_int_equal(mproc_struct_set(made, "text", 1), -EINVAL);
    assert_int_equal(mproc_struct_set(made, NULL, 1), -EINVAL);
    assert_int_equal(mproc_struct_set(NULL, "code", 1), -EINVAL);
    assert_int_equal(mproc_struct_get(made, "text", &value), -EINVAL);
    assert_int_equal(mproc_struct_get(made, "code", NULL), -EINVAL);
    assert_int_equal(mproc_struct_set_pointer(made, "text", state), -EINVAL);
    assert_int_equal(mproc_struct_set_pointer(made, "code", state), -EINVAL);
    assert_int_equal(mproc_struct_get_pointer(made, "code", &pointer), -EINVAL);
    assert_int_equal(mproc_struct_get_pointer(made, "text", NULL), -EINVAL);
    assert_ptr_equal(pointer, state);
    assert_int_equal(value, 17);
    mproc_struct_free(made);
}

static int32_t refuse_two(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in;
    return *(const uint64_t *)in == 2 ? mproc_fail(5, "not two") : 0;
}

/* As a binding would, without a struct in sight. */
static void a_map_with_options_and_a_failure_made_by_name(void **state)
{
    uint64_t out[4];
    int32_t statuses[4];
    void *pool_options, *options, *failure;
    const void *text;
    mproc_pool *pool;
    int64_t value;

    (void)state;
    assert_int_equal(mproc_struct_new("mproc_pool_options", &pool_options), 0);
    assert_int_equal(mproc_struct_new("mproc_map_options", &options), 0);
    assert_int_equal(mproc_struct_new("mproc_failure", &failure), 0);
    assert_int_equal(mproc_struct_set(pool_options, "retries", 1), 0);
    assert_int_equal(mproc_struct_set_pointer(options, "statuses", statuses), 0);
    assert_int_equal(mproc_struct_set_pointer(options, "failure", failure), 0);
    assert_int_equal(mproc_pool_create(&pool, 2, pool_options), 0);
    assert_int_equal(mproc_pool_map(pool, refuse_two, NULL, NULL, 0, out, 8, 4, options), 1);
    mproc_pool_destroy(pool);
    assert_int_equal(statuses[2], MPROC_ETASK);
    assert_int_equal(statuses[3], 0);
    assert_int_equal(mproc_struct_get(failure, "index", &value), 0);
    assert_int_equal(value, 2);
    assert_int_equal(mproc_struct_get(failure, "error", &value), 0);
    assert_int_equal(value, MPROC_ETASK);
    assert_int_equal(mproc_struct_get(failure, "code", &value), 0);
    assert_int_equal(value, 5);
    assert_int_equal(mproc_struct_get_pointer(failure, "text", &text), 0);
    assert_string_equal(text, "not two");
    mproc_struct_free(failure);
    mproc_struct_free(options);
    mproc_struct_free(pool_options);
}

static const struct CMUnitTest tests[] = {
    TEST(a_function_without_a_name_or_a_place_is_refused),
#ifdef MPROC_TEST_PLUGIN
    TEST(what_cannot_be_loaded_is_told_from_what_is_not_in_it),
    TEST(a_function_is_loaded_before_the_pool_or_a_restart),
    TEST(the_program_and_what_it_has_loaded_have_no_path),
    TEST(a_function_loaded_again_is_the_same),
    TEST(a_variable_is_no_function_for_a_pool),
#endif
    TEST(constants_have_the_values_of_the_headers),
    TEST(there_are_no_other_constants),
    TEST(a_new_struct_has_every_default),
    TEST(there_are_no_other_structs),
    TEST(members_are_set_and_read_by_name),
    TEST(what_a_member_cannot_hold_is_refused),
    TEST(a_member_that_is_not_there_or_of_the_other_kind_is_refused),
    TEST(a_map_with_options_and_a_failure_made_by_name),
};

int main(void)
{
    return TEST_MAIN(tests);
}
