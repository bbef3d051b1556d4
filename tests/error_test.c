/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "mproc/error.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

static const int own[] = {MPROC_ETASK, MPROC_ECRASHED, MPROC_ELIMIT,  MPROC_EBROKEN,
                          MPROC_EFUNC, MPROC_EFOREIGN, MPROC_ECLOSED, MPROC_ELOST,
                          MPROC_ELOAD, MPROC_ESYMBOL};

/* What the calls of the library can return. */
static const int system_errors[] = {EINVAL, EAGAIN,    ENOMEM, EMFILE, ENFILE,  ETIMEDOUT, ESRCH,
                                    EPERM,  ECANCELED, ENOSPC, ECHILD, ENOTSUP, EOVERFLOW, E2BIG};

enum { OWN = sizeof own / sizeof own[0], SYSTEM = sizeof system_errors / sizeof system_errors[0] };

static void every_error_has_a_text_of_its_own(void **state)
{
    const char *texts[OWN + SYSTEM + 2];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < OWN; i++)
        texts[count++] = mproc_strerror(own[i]);
    for (size_t i = 0; i < SYSTEM; i++)
        texts[count++] = mproc_strerror(-system_errors[i]);
    texts[count++] = mproc_strerror(0);
    texts[count++] = mproc_strerror(-9999);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(texts[i]);
        assert_true(islower((unsigned char)texts[i][0]));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(texts[i], texts[k]);
    }
}

static void the_sign_does_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN; i++)
        assert_ptr_equal(mproc_strerror(own[i]), mproc_strerror(-own[i]));
    for (size_t i = 0; i < SYSTEM; i++)
        assert_ptr_equal(mproc_strerror(system_errors[i]), mproc_strerror(-system_errors[i]));
}

static void any_number_has_a_text(void **state)
{
    static const int numbers[] = {INT_MIN, INT_MIN + 1, INT_MAX, -10000, -10011, 10011, 4096};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        assert_string_equal(mproc_strerror(numbers[i]), "unknown error");
    for (int error = -200; error <= 200; error++)
        assert_non_null(mproc_strerror(error));
}

static const struct CMUnitTest tests[] = {
    TEST(every_error_has_a_text_of_its_own),
    TEST(the_sign_does_not_matter),
    TEST(any_number_has_a_text),
};

int main(void)
{
    return TEST_MAIN(tests);
}
