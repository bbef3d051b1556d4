/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__) && defined(__GLIBC__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* ---- pipes ----------------------------------------------------------------------------------- */

static void a_pipe_carries_and_is_closed_on_exec(void **state)
{
    int ends[2];
    char text[8] = "";

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(ends[i] > 2);
        assert_true(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
        assert_false(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
    }
    assert_int_equal(mp_write(ends[1], "abc", 3), 3);
    assert_int_equal(mp_read(ends[0], text, sizeof text), 3);
    assert_string_equal(text, "abc");
    ends[1] = mp_close(ends[1]);
    assert_int_equal(ends[1], -1);
    assert_int_equal(mp_read(ends[0], text, sizeof text), 0);
    ends[0] = mp_close(ends[0]);
}

/* With each set of the standard streams closed. */
static int pipe_without_standard_streams(void *arg)
{
    int closed = *(int *)arg;
    int ends[2];

    for (int fd = 0; fd <= 2; fd++)
        if (closed & 1 << fd)
            close(fd);
    if (mp_pipe(ends) || ends[0] <= 2 || ends[1] <= 2 || ends[0] == ends[1])
        return 1;
    if (!(fcntl(ends[0], F_GETFD) & FD_CLOEXEC) || !(fcntl(ends[1], F_GETFD) & FD_CLOEXEC))
        return 2;
    for (int fd = 0; fd <= 2; fd++)
        if (is_open(fd) != !(closed & 1 << fd))
            return 3;
    return 0;
}

static void a_pipe_is_never_a_standard_stream(void **state)
{
    (void)state;
    for (int closed = 0; closed < 8; closed++)
        assert_int_equal(test_run_child(pipe_without_standard_streams, &closed), 0);
}

/* Descriptors 0 to 2 closed, and none free above: the pipe is had, but not where it may be.
 * *arg: nor is any open above. */
static int pipe_without_room(void *arg)
{
    struct rlimit limit;
    int ends[2] = {-5, -5};
    int last = 255;

    while (!is_open(last))
        last--;
    while (dup(2) < last)
        ;
    mp_close_range(last + 1, last + 1);
    if (*(bool *)arg) {
        mp_close_range(3, last);
        last = 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    for (rlim_t free = 0; free < 2; free++) {
        limit.rlim_cur = (rlim_t)last + 1 + free;
        setrlimit(RLIMIT_NOFILE, &limit);
        for (int fd = 0; fd <= 2; fd++)
            close(fd);
        if (mp_pipe(ends) != -EMFILE || ends[0] != -5 || ends[1] != -5)
            return 1;
        if (is_open(0) || is_open(1) || is_open(2) || is_open(last + 1))
            return 2;
    }
    return 0;
}

static void a_pipe_that_fails_leaves_nothing_open(void **state)
{
    bool none_above = false;

    (void)state;
    assert_int_equal(test_run_child(pipe_without_room, &none_above), 0);
    none_above = true;
    assert_int_equal(test_run_child(pipe_without_room, &none_above), 0);
}

static void above_standard_takes_what_a_call_returned(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    assert_int_equal(mp_above_standard(ends[0]), ends[0]);
    errno = ENOSYS;
    assert_int_equal(mp_above_standard(-1), -ENOSYS);
    mp_close(ends[0]);
    mp_close(ends[1]);
}

static void close_accepts_none(void **state)
{
    (void)state;
    assert_int_equal(mp_close(-1), -1);
}

/* ---- reading and writing --------------------------------------------------------------------- */

static void errors_are_returned(void **state)
{
    struct sigaction ignore = {0}, before;
    int ends[2];
    char byte;

    (void)state;
    ignore.sa_handler = SIG_IGN;
    assert_int_equal(mp_pipe(ends), 0);
    assert_int_equal(mp_nonblocking(ends[0]), 0);
    assert_int_equal(mp_read(ends[0], &byte, 1), -EAGAIN);
    mp_close(ends[0]);
    sigaction(SIGPIPE, &ignore, &before);
    assert_int_equal(mp_write(ends[1], "", 1), -EPIPE);
    sigaction(SIGPIPE, &before, NULL);
    mp_close(ends[1]);
    assert_int_equal(mp_nonblocking(-1), -EBADF);
    assert_int_equal(mp_read(-1, &byte, 1), -EBADF);
    assert_int_equal(mp_write(-1, &byte, 1), -EBADF);
}

static void a_full_pipe_can_be_rung(void **state)
{
    int ends[2];
    ssize_t written = 0, n;
    char bytes[4096] = "";

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    assert_int_equal(mp_nonblocking(ends[1]), 0);
    assert_int_equal(mp_nonblocking(ends[0]), 0);
    assert_int_equal(mp_ring(ends[1]), 0);
    assert_int_equal(mp_read(ends[0], bytes, sizeof bytes), 1);
    while ((n = mp_write(ends[1], bytes, sizeof bytes)) > 0)
        written += n;
    assert_int_equal(n, -EAGAIN);
    assert_int_equal(mp_ring(ends[1]), 0);
    while ((n = mp_read(ends[0], bytes, sizeof bytes)) > 0)
        written -= n;
    assert_int_equal(written, 0);
    mp_close(ends[0]);
    mp_close(ends[1]);
}

static void a_bell_that_is_gone_says_so(void **state)
{
    (void)state;
    assert_int_equal(mp_ring(-1), -EBADF);
}

static volatile sig_atomic_t interruptions;

static void interrupt(int signal)
{
    (void)signal;
    interruptions = interruptions + 1;
}

static void a_signal_does_not_end_a_read(void **state)
{
    struct sigaction action = {0}, before;
    pid_t parent = getpid(), child;
    int ends[2];
    char byte = 1;

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    action.sa_handler = interrupt; /* without SA_RESTART */
    sigaction(SIGUSR1, &action, &before);
    child = fork();
    if (child == 0) {
        for (int i = 0; i < 10; i++) {
            kill(parent, SIGUSR1);
            poll(NULL, 0, 2); /* for most of them to find it in read() */
        }
        mp_write(ends[1], "", 1);
        _exit(0);
    }
    assert_int_equal(mp_read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 0);
    assert_true(interruptions > 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    sigaction(SIGUSR1, &before, NULL);
    mp_close(ends[0]);
    mp_close(ends[1]);
}

static void a_signal_does_not_end_a_write(void **state)
{
    struct sigaction action = {0}, before;
    pid_t parent = getpid(), child;
    char bytes[4096] = "";
    int ends[2];

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    assert_int_equal(mp_nonblocking(ends[1]), 0);
    while (mp_write(ends[1], bytes, sizeof bytes) > 0)
        ;
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    interruptions = 0;
    action.sa_handler = interrupt; /* without SA_RESTART */
    sigaction(SIGUSR1, &action, &before);
    child = fork();
    if (child == 0) {
        for (int i = 0; i < 10; i++) {
            kill(parent, SIGUSR1);
            poll(NULL, 0, 2); /* for most of them to find it in write() */
        }
        _exit(mp_read(ends[0], bytes, sizeof bytes) != sizeof bytes);
    }
    assert_int_equal(mp_write(ends[1], "", 1), 1);
    assert_true(interruptions > 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    sigaction(SIGUSR1, &before, NULL);
    mp_close(ends[0]);
    mp_close(ends[1]);
}

static void a_descriptor_keeps_its_other_flags(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_APPEND), 0);
    assert_int_equal(mp_nonblocking(ends[1]), 0);
    assert_int_equal(fcntl(ends[1], F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
    mp_close(ends[0]);
    mp_close(ends[1]);
}

/* ---- closing all but some -------------------------------------------------------------------- */

enum { FIRST = 3, LAST = 60 };

/* Open everything up to LAST, close all but `keep`, and look. */
static bool closes_others(int *keep, size_t count, const char *kept)
{
    for (int fd = FIRST; fd <= LAST; fd++)
        if (!is_open(fd) && dup2(0, fd) < 0)
            return false;
    mp_close_others(keep, count);
    for (int fd = 0; fd <= LAST; fd++)
        if (is_open(fd) != (fd < FIRST || strchr(kept, '0' + fd) != NULL))
            return false;
    return true;
}

static int close_others(void *arg)
{
    struct rlimit limit;

    (void)arg;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 256; /* the variant that goes through all of them is faster by that */
    setrlimit(RLIMIT_NOFILE, &limit);
    if (!is_open(0) && dup2(2, 0) < 0)
        return 1;
    if (!closes_others(NULL, 0, ""))
        return 2;
    if (!closes_others((int[]){-1, -1}, 2, ""))
        return 3;
    if (!closes_others((int[]){9, -1, 3, 5, -1, 4}, 6, "3459"))
        return 4;
    if (!closes_others((int[]){7, 7, 1, 0, 2, 7}, 6, "7"))
        return 5;
    if (!closes_others((int[]){LAST + 100, 3}, 2, "3")) /* one that is not open */
        return 6;
    if (!closes_others((int[]){LAST, 3}, 2, "3l"))
        return 7;
    return 0;
}

static void all_but_the_kept_and_the_standard_streams_are_closed(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(close_others, NULL), 0);
}

static int close_a_range(void *arg)
{
    (void)arg;
    for (int fd = FIRST; fd <= LAST; fd++)
        if (!is_open(fd) && dup2(2, fd) < 0)
            return 1;
    mp_close_range(10, 12);
    mp_close_range(20, 20);
    for (int fd = FIRST; fd <= LAST; fd++)
        if (is_open(fd) == ((fd >= 10 && fd <= 12) || fd == 20))
            return 2;
    return 0;
}

static void a_range_includes_both_its_ends(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(close_a_range, NULL), 0);
}

#if defined(__linux__) && defined(__GLIBC__) && defined(SYS_close_range)
enum { NO_FILTER = 77 };

/* As on an old kernel, or in a container that forbids what it does not know. */
static int close_a_range_without_the_call(void *arg)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {.len = sizeof steps / sizeof steps[0], .filter = steps};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        return NO_FILTER;
    return close_a_range(arg) ? 1 : close_others(arg);
}

static void without_close_range_the_same_are_closed(void **state)
{
    int r = test_run_child(close_a_range_without_the_call, NULL);

    (void)state;
    if (WIFEXITED(r) && WEXITSTATUS(r) == NO_FILTER)
        skip();
    assert_int_equal(r, 0);
}
#endif

/* ---- standard input -------------------------------------------------------------------------- */

static int make_stdin_null(void *arg)
{
    int closed = *(int *)arg;
    struct stat null, input;
    char byte;

    for (int fd = 0; fd <= 2; fd++)
        if (closed & 1 << fd)
            close(fd);
    mp_stdin_null();
    if (stat("/dev/null", &null) || fstat(0, &input) || null.st_rdev != input.st_rdev)
        return 1;
    for (int fd = 1; fd <= 2; fd++)
        if (is_open(fd) != !(closed & 1 << fd))
            return 2;
    return read(0, &byte, 1) == 0 ? 0 : 3;
}

static void stdin_becomes_null(void **state)
{
    (void)state;
    for (int closed = 0; closed < 8; closed++)
        assert_int_equal(test_run_child(make_stdin_null, &closed), 0);
}

static void a_descriptor_is_known_until_its_number_is_anothers(void **state)
{
    int ours[2], theirs[2];
    struct mark mark;

    (void)state;
    assert_int_equal(mp_pipe(ours), 0);
    assert_int_equal(mp_pipe(theirs), 0);
    mark = mp_mark(ours[1]);
    assert_true(mp_is_marked(ours[1], &mark));
    assert_false(mp_is_marked(-1, &mark));
    assert_int_equal(dup2(theirs[1], ours[1]), ours[1]);
    assert_false(mp_is_marked(ours[1], &mark));
    mp_close(ours[1]);
    assert_false(mp_is_marked(ours[1], &mark));
    mp_close(ours[0]);
    mp_close(theirs[0]);
    mp_close(theirs[1]);
}

static void a_descriptor_moved_up_is_the_same_out_of_the_way(void **state)
{
    int ends[2], moved;
    struct mark mark;

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    mark = mp_mark(ends[0]);
    moved = mp_move_up(ends[0]);
    assert_true(moved >= ends[0]);
    assert_true(mp_is_marked(moved, &mark));
    assert_true(fcntl(moved, F_GETFD) & FD_CLOEXEC);
    mp_close(moved);
    mp_close(ends[1]);
}

/* The high numbers of such a limit begin with those of the standard streams. */
static int move_up_below_a_low_limit(void *arg)
{
    struct rlimit limit;
    int ends[2];

    (void)arg;
    if (mp_pipe(ends) || getrlimit(RLIMIT_NOFILE, &limit))
        return 1;
    mp_close(STDOUT_FILENO);
    limit.rlim_cur = 17;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        return 2;
    return mp_move_up(ends[0]) > STDERR_FILENO ? 0 : 3;
}

static void a_descriptor_is_not_moved_to_the_standard_ones(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(move_up_below_a_low_limit, NULL), 0);
}

static void a_number_is_appended_in_decimal(void **state)
{
    static const unsigned numbers[] = {0, 9, 10, 4095, UINT_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[32] = "n", wanted[32];

        snprintf(wanted, sizeof wanted, "n%u", numbers[i]);
        mp_append_number(text, numbers[i]);
        assert_string_equal(text, wanted);
    }
}

/* Both are closed on exec, and read what is in the pipe. */
static void a_copy_and_one_over_another_stand_for_the_same(void **state)
{
    int ends[2], other[2], copy;
    char byte = 0;

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    assert_int_equal(mp_pipe(other), 0);
    copy = mp_dup(ends[0]);
    assert_true(copy > 2);
    assert_int_equal(mp_dup_over(ends[0], other[0]), 0);
    assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(other[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(mp_write(ends[1], "ab", 2), 2);
    assert_int_equal(mp_read(copy, &byte, 1), 1);
    assert_int_equal(byte, 'a');
    assert_int_equal(mp_read(other[0], &byte, 1), 1);
    assert_int_equal(byte, 'b');
    assert_int_equal(mp_dup(-1), -EBADF);
    assert_int_equal(mp_dup_over(-1, copy), -EBADF);
    assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
    mp_close(copy);
    for (int i = 0; i < 2; i++) {
        mp_close(ends[i]);
        mp_close(other[i]);
    }
}

static const struct CMUnitTest tests[] = {
    TEST(a_pipe_carries_and_is_closed_on_exec),
    TEST(a_pipe_is_never_a_standard_stream),
    TEST(a_pipe_that_fails_leaves_nothing_open),
    TEST(above_standard_takes_what_a_call_returned),
    TEST(close_accepts_none),
    TEST(errors_are_returned),
    TEST(a_full_pipe_can_be_rung),
    TEST(a_bell_that_is_gone_says_so),
    TEST(a_signal_does_not_end_a_read),
    TEST(a_signal_does_not_end_a_write),
    TEST(a_descriptor_keeps_its_other_flags),
    TEST(all_but_the_kept_and_the_standard_streams_are_closed),
    TEST(a_range_includes_both_its_ends),
#if defined(__linux__) && defined(__GLIBC__) && defined(SYS_close_range)
    TEST(without_close_range_the_same_are_closed),
#endif
    TEST(stdin_becomes_null),
    TEST(a_descriptor_is_known_until_its_number_is_anothers),
    TEST(a_descriptor_moved_up_is_the_same_out_of_the_way),
    TEST(a_descriptor_is_not_moved_to_the_standard_ones),
    TEST(a_number_is_appended_in_decimal),
    TEST(a_copy_and_one_over_another_stand_for_the_same),
};

int main(void)
{
    return TEST_MAIN(tests);
}
