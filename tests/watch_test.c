/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a watched child ------------------------------------------------------------------------- */

struct watched {
    int watch[2];
    struct guard guard;
    pid_t pid;
    int gate[2]; /* a byte lets the child end */
    int r;       /* of mp_watch_parent() */
};

static int pass(int gate)
{
    char byte;

    return mp_read(gate, &byte, 1) == 1 ? 7 : 1;
}

static void open_watched(struct watched *watched)
{
    *watched = (struct watched){.watch = {-1, -1}};
    watched->guard.fds = watched->watch;
    watched->guard.count = 2;
    assert_int_equal(mp_pipe(watched->gate), 0);
    assert_int_equal(mp_guard_lock(), 0);
    assert_int_equal(mp_watch_open(watched->watch), 0);
    mp_guard_add(&watched->guard);
    mp_guard_unlock();
}

/* The child calls f and ends with what it returns. */
static void fork_watched(struct watched *watched, int (*f)(int gate))
{
    sigset_t mask;

    watched->pid = mp_fork(&mask, &watched->guard);
    assert_true(watched->pid >= 0);
    if (watched->pid == 0) {
        mp_watch_child(watched->watch);
        sigprocmask(SIG_SETMASK, &mask, NULL);
        _exit(f(watched->gate[0]));
    }
    assert_int_equal(mp_guard_lock(), 0);
    watched->r = mp_watch_parent(watched->watch, watched->pid);
    mp_guard_unlock();
}

static void start(struct watched *watched, int (*f)(int gate))
{
    open_watched(watched);
    fork_watched(watched, f);
    assert_int_equal(watched->r, 0);
}

static void let(struct watched *watched)
{
    assert_int_equal(mp_write(watched->gate[1], "", 1), 1);
}

static void finish(struct watched *watched)
{
    assert_int_equal(mp_guard_lock(), 0);
    mp_guard_remove(&watched->guard);
    for (int i = 0; i < 2; i++)
        mp_close(watched->watch[i]);
    mp_guard_unlock();
    mp_close(watched->gate[0]);
    mp_close(watched->gate[1]);
}

static int wait_for(struct watched *watched, int64_t timeout_ms, int *status)
{
    return mp_watch_wait(watched->watch, watched->pid, mp_deadline(timeout_ms), status);
}

static void await_end(const struct watched *watched)
{
    struct pollfd end = {watched->watch[0], POLLIN, 0};

    assert_int_equal(mp_poll(&end, 1, MP_FOREVER), 1);
    assert_true(end.revents & (POLLIN | POLLHUP));
}

/* ---- wait ------------------------------------------------------------------------------------ */

static void wait_gives_the_status_and_reaps(void **state)
{
    struct watched watched;
    int status = -1;

    (void)state;
    start(&watched, pass);
    let(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(waitpid(watched.pid, NULL, WNOHANG), -1);
    assert_int_equal(wait_for(&watched, -1, &status), -ECHILD);
    finish(&watched);
}

static int abort_with_core(int gate)
{
    struct rlimit none = {0, 0};

    (void)gate;
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    return 0;
}

static void wait_gives_the_signal(void **state)
{
    struct watched watched;
    int status = -1;

    (void)state;
    start(&watched, abort_with_core);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    finish(&watched);
}

static void wait_ends_at_the_deadline(void **state)
{
    struct watched watched;
    int64_t deadline = mp_deadline(20);
    int status = -1;

    (void)state;
    start(&watched, pass);
    assert_int_equal(mp_watch_wait(watched.watch, watched.pid, 0, &status), -ETIMEDOUT);
    assert_int_equal(mp_watch_wait(watched.watch, watched.pid, deadline, &status), -ETIMEDOUT);
    assert_true(mp_now() >= deadline);
    assert_int_equal(status, -1);
    let(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    finish(&watched);
}

static void the_descriptor_is_quiet_until_the_end(void **state)
{
    struct watched watched;
    struct pollfd end;
    int status;

    (void)state;
    start(&watched, pass);
    end = (struct pollfd){watched.watch[0], POLLIN, 0};
    assert_int_equal(mp_poll(&end, 1, 0), 0);
    assert_true(watched.watch[0] > 2);
    assert_int_equal(watched.watch[1], -1);
    assert_true(fcntl(watched.watch[0], F_GETFD) & FD_CLOEXEC);
    let(&watched);
    await_end(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    finish(&watched);
}

static void one_that_is_stopped_has_not_ended(void **state)
{
    struct watched watched;
    siginfo_t info;
    int status;

    (void)state;
    start(&watched, pass);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, false, SIGSTOP), 0);
    assert_int_equal(waitid(P_PID, (id_t)watched.pid, &info, WSTOPPED | WNOWAIT), 0);
    assert_int_equal(wait_for(&watched, 10, &status), -ETIMEDOUT);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, false, SIGCONT), 0);
    let(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    finish(&watched);
}

/* ---- the status of another ------------------------------------------------------------------- */

static void one_that_wait_took_is_lost(void **state)
{
    struct watched watched;
    int status;

    (void)state;
    start(&watched, pass);
    let(&watched);
    assert_int_equal(waitpid(-1, NULL, 0), watched.pid);
    assert_int_equal(wait_for(&watched, -1, &status), -ECHILD);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, false, SIGKILL), -ESRCH);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, true, SIGKILL), -ESRCH);
    finish(&watched);
}

static int end_at_once(int gate)
{
    (void)gate;
    return 0;
}

/* The child may have ended, and been reaped by the system, before its parent comes to watch it. */
static void with_sigchld_ignored_it_is_lost(void **state)
{
    struct sigaction ignore = {0}, before;
    struct watched watched;
    int status;

    (void)state;
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGCHLD, &ignore, &before);
    for (int i = 0; i < 20; i++) {
        open_watched(&watched);
        fork_watched(&watched, end_at_once);
        assert_true(watched.r == 0 || watched.r == -ESRCH);
        await_end(&watched);
        assert_int_equal(wait_for(&watched, -1, &status), -ECHILD);
        finish(&watched);
    }
    start(&watched, pass);
    assert_int_equal(wait_for(&watched, 10, &status), -ETIMEDOUT);
    let(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), -ECHILD);
    finish(&watched);
    sigaction(SIGCHLD, &before, NULL);
}

static void one_that_was_reaped_before_it_is_watched_is_lost(void **state)
{
    struct watched watched;
    int status;
    sigset_t mask;

    (void)state;
    open_watched(&watched);
    watched.pid = mp_fork(&mask, &watched.guard);
    assert_true(watched.pid >= 0);
    if (watched.pid == 0)
        _exit(0);
    assert_int_equal(waitpid(-1, NULL, 0), watched.pid);
    assert_int_equal(mp_watch_parent(watched.watch, watched.pid), -ESRCH);
    await_end(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), -ECHILD);
    finish(&watched);
}

static void wait_reaps_no_other(void **state)
{
    struct watched first, second;
    int status;

    (void)state;
    start(&first, pass);
    start(&second, pass);
    let(&first);
    await_end(&first);
    assert_int_equal(wait_for(&second, 0, &status), -ETIMEDOUT);
    let(&second);
    assert_int_equal(wait_for(&second, -1, &status), 0);
    assert_int_equal(wait_for(&first, -1, &status), 0);
    finish(&first);
    finish(&second);
}

static int close_everything(int gate)
{
    mp_close_others(&gate, 1);
    return pass(gate);
}

static void one_that_closes_its_descriptors_is_watched_still(void **state)
{
    struct watched watched;
    int status;

    (void)state;
    start(&watched, close_everything);
    assert_int_equal(wait_for(&watched, 50, &status), -ETIMEDOUT);
    let(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    finish(&watched);
}

/* ---- signal ---------------------------------------------------------------------------------- */

static void a_signal_reaches_the_child(void **state)
{
    struct watched watched;
    int status;

    (void)state;
    start(&watched, pass);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, false, SIGTERM), 0);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    assert_int_equal(WTERMSIG(status), SIGTERM);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, false, SIGTERM), -ESRCH);
    finish(&watched);
}

static void what_is_no_signal_is_an_error(void **state)
{
    struct watched watched;
    int status;

    (void)state;
    start(&watched, pass);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, false, 1000), -EINVAL);
    let(&watched);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    finish(&watched);
}

static void a_zombie_is_not_signalled(void **state)
{
    struct watched watched;
    siginfo_t info;
    int status;

    (void)state;
    start(&watched, end_at_once);
    assert_int_equal(waitid(P_PID, (id_t)watched.pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, false, SIGKILL), -ESRCH);
    assert_int_equal(mp_watch_signal(watched.watch, watched.pid, true, SIGKILL), -ESRCH);
    assert_int_equal(wait_for(&watched, -1, &status), 0);
    assert_true(WIFEXITED(status));
    finish(&watched);
}

/* ---- no descriptors -------------------------------------------------------------------------- */

static int open_at_the_descriptor_limit(void *arg)
{
    int last = 255, fd, watch[2] = {-1, -1};
    struct rlimit limit;

    (void)arg;
    while (fcntl(last, F_GETFD) < 0)
        last--;
    do
        fd = dup(last);
    while (fd >= 0 && fd < last);
    mp_close(fd);
    getrlimit(RLIMIT_NOFILE, &limit);
    for (rlim_t free = 0; free < 4; free++) {
        int r;

        limit.rlim_cur = (rlim_t)last + 1 + free;
        setrlimit(RLIMIT_NOFILE, &limit);
        r = mp_watch_open(watch);
        if (r != (free < 2 ? -EMFILE : 0))
            return 1;
        watch[0] = mp_close(watch[0]);
        watch[1] = mp_close(watch[1]);
        fd = dup(0);
        if (free > 0 ? fd != last + 1 : fd >= 0)
            return 2;
        mp_close(fd);
    }
    return 0;
}

static void open_leaves_nothing_open_when_it_fails(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(open_at_the_descriptor_limit, NULL), 0);
}

static const struct CMUnitTest tests[] = {
    TEST(wait_gives_the_status_and_reaps),
    TEST(wait_gives_the_signal),
    TEST(wait_ends_at_the_deadline),
    TEST(the_descriptor_is_quiet_until_the_end),
    TEST(one_that_is_stopped_has_not_ended),
    TEST(one_that_wait_took_is_lost),
    TEST(with_sigchld_ignored_it_is_lost),
    TEST(one_that_was_reaped_before_it_is_watched_is_lost),
    TEST(wait_reaps_no_other),
    TEST(one_that_closes_its_descriptors_is_watched_still),
    TEST(a_signal_reaches_the_child),
    TEST(what_is_no_signal_is_an_error),
    TEST(a_zombie_is_not_signalled),
    TEST(open_leaves_nothing_open_when_it_fails),
};

int main(void)
{
    return TEST_MAIN(tests);
}
