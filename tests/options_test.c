/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct known {
    size_t size;
    const char *text;
    int32_t first;
    int32_t second;
};

static struct known copied;

static int copy(const void *from)
{
    memset(&copied, 0xff, sizeof copied);
    return mp_options_copy(&copied, sizeof copied, from);
}

static void null_is_every_default(void **state)
{
    (void)state;
    assert_int_equal(copy(NULL), 0);
    assert_null(copied.text);
    assert_int_equal(copied.first, 0);
    assert_int_equal(copied.second, 0);
}

static void every_member_is_copied(void **state)
{
    struct known given = {sizeof given, "text", 1, 2};

    (void)state;
    assert_int_equal(copy(&given), 0);
    assert_ptr_equal(copied.text, given.text);
    assert_int_equal(copied.first, 1);
    assert_int_equal(copied.second, 2);
}

/* The older struct lies in memory of its own size, so that a read beyond it is seen. */
static void what_an_older_struct_does_not_have_is_a_default(void **state)
{
    struct known given = {offsetof(struct known, second), "text", 1, 2};
    struct known *older = malloc(given.size);

    (void)state;
    assert_non_null(older);
    memcpy((void *)older, &given, given.size);
    assert_int_equal(copy(older), 0);
    assert_ptr_equal(copied.text, given.text);
    assert_int_equal(copied.first, 1);
    assert_int_equal(copied.second, 0);
    free(older);
}

static void the_size_alone_will_do(void **state)
{
    size_t size = sizeof size;

    (void)state;
    assert_int_equal(copy(&size), 0);
    assert_null(copied.text);
    assert_int_equal(copied.second, 0);
}

static void a_size_that_cannot_be_is_refused(void **state)
{
    static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, 4097, 1 << 20, SIZE_MAX};
    struct known given = {0};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        given.size = sizes[i];
        assert_int_equal(copy(&given), -EINVAL);
    }
}

static void a_newer_struct_may_ask_for_nothing_new(void **state)
{
    struct {
        struct known known;
        unsigned char newer[24];
    } given = {{sizeof given, "text", 1, 2}, {0}};

    (void)state;
    assert_int_equal(copy(&given), 0);
    assert_int_equal(copied.second, 2);
    for (size_t i = 0; i < sizeof given.newer; i++) {
        given.newer[i] = 1;
        assert_int_equal(copy(&given), -EINVAL);
        given.newer[i] = 0;
    }
}

static const struct CMUnitTest tests[] = {
    TEST(null_is_every_default),
    TEST(every_member_is_copied),
    TEST(what_an_older_struct_does_not_have_is_a_default),
    TEST(the_size_alone_will_do),
    TEST(a_size_that_cannot_be_is_refused),
    TEST(a_newer_struct_may_ask_for_nothing_new),
};

int main(void)
{
    return TEST_MAIN(tests);
}
