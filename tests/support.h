/* SPDX-License-Identifier: MIT */
/*
 * What every test program is made with:
 *
 *   static void what_holds(void **state) { ... }
 *
 *   static const struct CMUnitTest tests[] = {TEST(what_holds)};
 *
 *   int main(void)
 *   {
 *       return TEST_MAIN(tests);
 *   }
 *
 * A TEST runs under a time limit, and fails when it leaves behind a child, a descriptor, a shared
 * mapping, a thread, a changed signal mask or a changed disposition.
 *
 * Only the process that began a test may use cmocka's assert_ macros: one that fails in a child
 * would go on with the tests there.  A child tells what it found by its exit code.
 */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <cmocka.h>

struct test_case {
    CMUnitTestFunction function;
};

/* An entry of a table at file scope. */
#define TEST(function)                                                                             \
    {                                                                                              \
        .name = #function, .test_func = test_call, .setup_func = test_setup,                       \
        .teardown_func = test_teardown, .initial_state = &(struct test_case)                       \
        {                                                                                          \
            function                                                                               \
        }                                                                                          \
    }

#define TEST_MAIN(tests) test_main(__FILE__, tests, sizeof(tests) / sizeof((tests)[0]))

/*
 * Runs the tests; the value is for main() to return.  From the environment: MPROC_TEST_FILTER, a
 * pattern of the names to run (* and ?); MPROC_TEST_LIMIT, seconds for each test (60, or an hour with
 * MPROC_TEST_LONG).
 */
int test_main(const char *name, const struct CMUnitTest *tests, size_t count);

/* The parts of a TEST, named here for the macro alone. */
void test_call(void **state);
int test_setup(void **state);
int test_teardown(void **state);

/*
 * What a TEST is held to, for a process of its own: the census now, and whether it is the same later
 * (waiting a moment for orphans to go; what has changed is printed).  The second frees the first.
 */
char *test_census(void);
bool test_census_holds(char *before);

/* Run f(arg) in a fork that exits with what it returns; the value is its wait status. */
int test_run_child(int (*f)(void *), void *arg);

/*
 * Has a process ended, or does it within the time?  For one that is not our child: that can only be
 * looked at again and again.  A zombie has ended.
 */
bool test_process_gone(pid_t pid, int64_t timeout_ms);

/*
 * Does the process sleep in a system call; and does it, once it does or has ended?  Who has said that
 * it will make a call that blocks, and makes no other before, is in that call then.  For Linux alone.
 */
bool test_is_asleep(pid_t pid);
bool test_falls_asleep(pid_t pid);

/* How many times slower than usual this run is: for limits, and for counts of repetitions. */
int test_slowness(void);
bool test_under_valgrind(void);
/* The repetitions of this run: `many` with MPROC_TEST_LONG, else `few`; by the slowness less, and
 * at least 1. */
uint64_t test_count(uint64_t few, uint64_t many);

/* Zeroed memory that a test shares with its forks; test_unshare() accepts NULL. */
void *test_share(size_t size);
void test_unshare(void *shared, size_t size);

/* MPROC_TEST_SEED or a new one; printed, so that a failure can be repeated. */
uint64_t test_seed(void);
uint64_t test_random(uint64_t *state); /* the state begins as any number */

#endif
