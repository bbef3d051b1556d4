/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int exit_code_of(pid_t pid)
{
    int status;

    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---- guards ---------------------------------------------------------------------------------- */

struct owner {
    int fds[3]; /* a pipe, and none */
    struct guard guard;
};

static void open_owner(struct owner *owner)
{
    *owner = (struct owner){.fds = {-1, -1, -1}};
    owner->guard.fds = owner->fds;
    owner->guard.count = 3;
    assert_int_equal(mp_guard_lock(), 0);
    assert_int_equal(mp_pipe(owner->fds), 0);
    mp_guard_add(&owner->guard);
    mp_guard_unlock();
}

static void close_owner(struct owner *owner)
{
    assert_int_equal(mp_guard_lock(), 0);
    mp_guard_remove(&owner->guard);
    mp_guard_remove(&owner->guard);
    mp_close(owner->fds[0]);
    mp_close(owner->fds[1]);
    mp_guard_unlock();
}

struct saved {
    const struct owner *owner;
    int fds[2];
};

static int are_closed(void *arg)
{
    const struct saved *saved = arg;

    if (saved->owner->fds[0] != -1 || saved->owner->fds[1] != -1)
        return 1;
    return is_open(saved->fds[0]) || is_open(saved->fds[1]) ? 2 : 0;
}

static void any_fork_closes_what_is_guarded(void **state)
{
    struct owner owner;
    struct saved saved;

    (void)state;
    open_owner(&owner);
    saved = (struct saved){&owner, {owner.fds[0], owner.fds[1]}};
    assert_int_equal(test_run_child(are_closed, &saved), 0);
    assert_true(is_open(owner.fds[0]));
    assert_true(is_open(owner.fds[1]));
    close_owner(&owner);
}

static void mp_fork_keeps_those_of_its_own_guard_alone(void **state)
{
    struct owner own, other;
    sigset_t mask;
    pid_t pid;

    (void)state;
    open_owner(&own);
    open_owner(&other);
    pid = mp_fork(&mask, &own.guard);
    if (pid == 0)
        _exit(is_open(own.fds[0]) && is_open(own.fds[1]) && other.fds[0] == -1 && other.fds[1] == -1
                  ? 7
                  : 1);
    assert_int_equal(exit_code_of(pid), 7);
    pid = mp_fork(&mask, NULL);
    if (pid == 0)
        _exit(own.fds[0] == -1 && other.fds[1] == -1 ? 7 : 1);
    assert_int_equal(exit_code_of(pid), 7);
    close_owner(&own);
    close_owner(&other);
}

static void a_guard_that_was_removed_guards_nothing(void **state)
{
    struct owner owner;
    struct saved saved;

    (void)state;
    open_owner(&owner);
    saved = (struct saved){&owner, {owner.fds[0], owner.fds[1]}};
    assert_int_equal(mp_guard_lock(), 0);
    mp_guard_remove(&owner.guard);
    mp_guard_unlock();
    assert_int_equal(test_run_child(are_closed, &saved), 1 << 8);
    close_owner(&owner);
}

static void a_guard_that_was_never_added_can_be_removed(void **state)
{
    struct guard guard = {.fds = NULL};

    (void)state;
    assert_int_equal(mp_guard_lock(), 0);
    mp_guard_remove(&guard);
    mp_guard_unlock();
}

/* Threads add and remove guards while the test forks: in no child is the list half-made. */
struct churn {
    int gate; /* end of file: stop */
};

static void *churn(void *arg)
{
    const struct churn *churn = arg;
    struct pollfd stop = {churn->gate, POLLIN, 0};
    struct owner owner;

    while (mp_poll(&stop, 1, 0) == 0) {
        open_owner(&owner);
        close_owner(&owner);
    }
    return NULL;
}

static int add_and_remove(void *arg)
{
    struct owner owner;

    (void)arg;
    open_owner(&owner);
    close_owner(&owner);
    return 0;
}

static void forks_among_threads_find_the_list_whole(void **state)
{
    enum { THREADS = 3, FORKS = 50 };
    pthread_t threads[THREADS];
    struct churn shared;
    int ends[2];

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    shared.gate = ends[0];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &shared), 0);
    for (int i = 0; i < FORKS; i++)
        assert_int_equal(test_run_child(add_and_remove, NULL), 0);
    mp_close(ends[1]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    mp_close(ends[0]);
}

/* ---- epoch ----------------------------------------------------------------------------------- */

static int has_another_epoch(void *arg)
{
    unsigned epoch = mp_epoch();
    pid_t pid;
    int status;

    if (epoch == *(unsigned *)arg)
        return 1;
    pid = fork();
    if (pid == 0)
        _exit(mp_epoch() != epoch && mp_epoch() != *(unsigned *)arg ? 0 : 1);
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 2;
}

static void forks_have_epochs_of_their_own(void **state)
{
    unsigned epoch;

    (void)state;
    assert_int_equal(mp_guard_lock(), 0); /* from here on the forks are seen */
    mp_guard_unlock();
    epoch = mp_epoch();
    assert_int_equal(test_run_child(has_another_epoch, &epoch), 0);
    assert_int_equal(mp_epoch(), epoch);
}

/* ---- signals --------------------------------------------------------------------------------- */

static bool all_are_blocked(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT) &&
           sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGCHLD);
}

static void the_child_of_mp_fork_starts_with_all_signals_blocked(void **state)
{
    sigset_t usr1, before, mask, after;
    pid_t pid;

    (void)state;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, &before);
    pid = mp_fork(&mask, NULL);
    if (pid == 0)
        _exit(all_are_blocked() && sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGTERM) ? 7
                                                                                               : 1);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_true(sigismember(&after, SIGUSR1));
    assert_false(sigismember(&after, SIGTERM));
    assert_true(sigismember(&mask, SIGUSR1));
    assert_false(sigismember(&mask, SIGTERM));
    assert_int_equal(exit_code_of(pid), 7);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int fork_at_the_limit(void *arg)
{
    struct rlimit limit = {0, 0};
    sigset_t mask;

    (void)arg;
    if (geteuid() == 0 && setuid(65534)) /* root has no limit */
        return 77;
    setrlimit(RLIMIT_NPROC, &limit);
    if (mp_fork(&mask, NULL) != -EAGAIN)
        return 1;
    return all_are_blocked() ? 2 : 0;
}

static void a_fork_that_fails_restores_the_mask(void **state)
{
    int status = test_run_child(fork_at_the_limit, NULL);

    (void)state;
    if (status == 77 << 8)
        skip();
    assert_int_equal(status, 0);
}

static void ignore(int signal)
{
    (void)signal;
}

static int reset_signals(void *arg)
{
    struct sigaction action = {0};

    (void)arg;
    action.sa_handler = ignore;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGRTMAX, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    mp_signals_default();
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        if (sigaction(signal, NULL, &action))
            continue; /* it is the C library's own */
        if (action.sa_handler != (signal == SIGTTOU ? SIG_IGN : SIG_DFL))
            return 1;
    }
    return 0;
}

static void signals_become_default(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(reset_signals, NULL), 0);
}

/* ---- kill ------------------------------------------------------------------------------------ */

static void kill_refuses_what_would_reach_many(void **state)
{
    static const pid_t pids[] = {1, 0, -1, -2};

    (void)state;
    for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++) {
        assert_int_equal(mp_kill(pids[i], false, 0), -EINVAL);
        assert_int_equal(mp_kill(pids[i], true, 0), -EINVAL);
    }
}

static void kill_reaches_one_or_its_group(void **state)
{
    pid_t pid;
    int ends[2], status;

    (void)state;
    assert_int_equal(mp_pipe(ends), 0);
    for (int group = 0; group < 2; group++) {
        char byte;

        pid = fork();
        if (pid == 0) {
            setpgid(0, 0);
            mp_write(ends[1], "", 1);
            pause();
            _exit(1);
        }
        assert_int_equal(mp_read(ends[0], &byte, 1), 1);
        assert_int_equal(mp_kill(pid, group, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(mp_kill(pid, group, SIGKILL), -ESRCH);
    }
    mp_close(ends[0]);
    mp_close(ends[1]);
}

static int renice(void *arg)
{
    int before = getpriority(PRIO_PROCESS, 0);

    (void)arg;
    mp_renice(3);
    if (getpriority(PRIO_PROCESS, 0) != (before + 3 > 19 ? 19 : before + 3))
        return 1;
    mp_renice(INT_MAX);
    return getpriority(PRIO_PROCESS, 0) == 19 ? 0 : 2;
}

static void renice_adds(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(renice, NULL), 0);
}

static const struct CMUnitTest tests[] = {
    TEST(any_fork_closes_what_is_guarded),
    TEST(mp_fork_keeps_those_of_its_own_guard_alone),
    TEST(a_guard_that_was_removed_guards_nothing),
    TEST(a_guard_that_was_never_added_can_be_removed),
    TEST(forks_among_threads_find_the_list_whole),
    TEST(forks_have_epochs_of_their_own),
    TEST(the_child_of_mp_fork_starts_with_all_signals_blocked),
    TEST(a_fork_that_fails_restores_the_mask),
    TEST(signals_become_default),
    TEST(kill_refuses_what_would_reach_many),
    TEST(kill_reaches_one_or_its_group),
    TEST(renice_adds),
};

int main(void)
{
    return TEST_MAIN(tests);
}
