/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "os/os.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MS = 1000000 };

static void time_does_not_go_back(void **state)
{
    int64_t last = mp_now();

    (void)state;
    assert_true(last > 0);
    for (int i = 0; i < 1000; i++) {
        int64_t now = mp_now();

        assert_true(now >= last);
        last = now;
    }
}

static void a_deadline_lies_its_timeout_ahead(void **state)
{
    static const int64_t timeouts[] = {0, 1, 10, 60 * 1000, INT64_C(1) << 39};

    (void)state;
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t before = mp_now();
        int64_t deadline = mp_deadline(timeouts[i]);

        assert_true(deadline >= before + timeouts[i] * MS);
        assert_true(deadline <= mp_now() + timeouts[i] * MS);
    }
}

static void a_timeout_beyond_all_time_is_for_ever(void **state)
{
    static const int64_t timeouts[] = {-1, -2, INT64_MIN, INT64_MAX, INT64_MAX / MS};

    (void)state;
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++)
        assert_true(mp_deadline(timeouts[i]) == MP_FOREVER);
}

static void poll_lasts_until_the_deadline(void **state)
{
    int64_t deadline = mp_deadline(20);

    (void)state;
    assert_int_equal(mp_poll(NULL, 0, deadline), 0);
    assert_true(mp_now() >= deadline);
}

static void poll_of_a_past_deadline_only_looks(void **state)
{
    struct pollfd fd = {-1, POLLIN, 0};
    int ends[2];

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    fd.fd = ends[0];
    assert_int_equal(mp_poll(&fd, 1, 0), 0);
    assert_int_equal(mp_poll(&fd, 1, mp_now() - MS), 0);
    assert_int_equal(mp_write(ends[1], "", 1), 1);
    assert_int_equal(mp_poll(&fd, 1, 0), 1);
    assert_int_equal(fd.revents, POLLIN);
    assert_int_equal(mp_poll(&fd, 1, MP_FOREVER), 1);
    mp_close(ends[1]);
    mp_close(ends[0]);
}

static volatile sig_atomic_t interruptions;

static void interrupt(int signal)
{
    (void)signal;
    interruptions = interruptions + 1;
}

/* A byte from a child ends the wait, after a signal from it did not. */
static void poll_does_not_end_with_a_signal(void **state)
{
    struct sigaction action = {0}, before;
    struct pollfd fd = {-1, POLLIN, 0};
    pid_t parent = getpid(), child;
    int ends[2];

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    fd.fd = ends[0];
    action.sa_handler = interrupt;
    sigaction(SIGUSR1, &action, &before);
    child = fork();
    if (child == 0) {
        for (int i = 0; i < 10; i++) {
            kill(parent, SIGUSR1);
            poll(NULL, 0, 2); /* for most of them to find it in poll() */
        }
        mp_write(ends[1], "", 1);
        _exit(0);
    }
    assert_int_equal(mp_poll(&fd, 1, MP_FOREVER), 1);
    assert_int_equal(fd.revents, POLLIN);
    assert_true(interruptions > 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    sigaction(SIGUSR1, &before, NULL);
    mp_close(ends[0]);
    mp_close(ends[1]);
}

static const struct CMUnitTest tests[] = {
    TEST(time_does_not_go_back),
    TEST(a_deadline_lies_its_timeout_ahead),
    TEST(a_timeout_beyond_all_time_is_for_ever),
    TEST(poll_lasts_until_the_deadline),
    TEST(poll_of_a_past_deadline_only_looks),
    TEST(poll_does_not_end_with_a_signal),
};

int main(void)
{
    return TEST_MAIN(tests);
}
