/* SPDX-License-Identifier: MIT */
/*
 * What the life of a host brings: a terminal with its Ctrl-C, Ctrl-Z and hangup, signals, becoming a
 * daemon, atexit functions.  The workers go on while the host does, and end when it ends.
 */
#include "support.h"

#include "gates.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* ---- hosts: each is a child of the test, and returns its exit code --------------------------- */

static int run_gates(void *arg)
{
    mproc_future *futures[WORKERS];
    mproc_pool *pool;

    (void)arg;
    pool = make_gates(futures);
    return finish_gates(pool, futures);
}

static void on_interrupt(int signal)
{
    (void)signal;
    post(INTERRUPTED);
}

static int run_gates_with_handler(void *arg)
{
    struct sigaction action = {.sa_handler = on_interrupt};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    return run_gates(arg);
}

/* ---- a terminal, and a shell that runs the host in its foreground ---------------------------- */

struct terminal {
    int master;
    int (*host)(void *arg);
    char *slave;
};

static int host_in_foreground(const struct terminal *terminal, int tty)
{
    setpgid(0, 0);
    signal(SIGINT,
           SIG_DFL); /* who is started in the background by a script has these two ignored */
    signal(SIGQUIT, SIG_DFL);
    signal(SIGTTOU, SIG_IGN);
    if (tcsetpgrp(tty, getpgrp()))
        return 20;
    signal(SIGTTOU, SIG_DFL);
    note(getpid());
    return terminal->host(NULL);
}

/* As a shell with job control would; the value is the host's exit code, or 128 and its signal. */
static int run_shell(void *arg)
{
    const struct terminal *terminal = arg;
    int tty, status;
    pid_t host;

    close(terminal->master);
    setsid();
    tty = open(terminal->slave, O_RDWR | O_CLOEXEC);
    if (tty < 0)
        return 21;
#ifdef TIOCSCTTY
    ioctl(tty, TIOCSCTTY, 0);
#endif
    host = fork();
    if (host == 0)
        _exit(host_in_foreground(terminal, tty));
    while (waitpid(host, &status, WUNTRACED) == host && WIFSTOPPED(status)) {
        atomic_store(&stage->answer, WSTOPSIG(status));
        post(STOPPED);
        take(RESUME);
        kill(-host, SIGCONT);
        waitpid(host, &status, WCONTINUED); /* before that a stop would be forgotten */
        post(CONTINUED);
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Begins with each worker at a gate; the pid of the shell. */
static pid_t open_terminal(struct terminal *terminal, int (*host)(void *arg))
{
    pid_t shell;

    set_stage();
    terminal->host = host;
    terminal->master = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal->master < 0)
        skip();
    fcntl(terminal->master, F_SETFD, FD_CLOEXEC);
    assert_int_equal(grantpt(terminal->master), 0);
    assert_int_equal(unlockpt(terminal->master), 0);
    terminal->slave = ptsname(terminal->master);
    assert_non_null(terminal->slave);
    fflush(NULL);
    shell = fork();
    assert_true(shell >= 0);
    if (shell == 0)
        _exit(run_shell(terminal));
    await_gates();
    return shell;
}

static void type(const struct terminal *terminal, char key)
{
    assert_int_equal(write(terminal->master, &key, 1), 1);
}

static void a_ctrl_c_that_ends_the_host_ends_everything(void **state)
{
    static const struct {
        char key;
        int signal;
    } keys[] = {{'\x03', SIGINT}, {'\x1c', SIGQUIT}};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct terminal terminal;
        pid_t shell = open_terminal(&terminal, run_gates);

        type(&terminal, keys[i].key);
        assert_int_equal(end_of(shell), 128 + keys[i].signal);
        assert_all_gone();
        close(terminal.master);
        clear_stage();
    }
}

static void a_ctrl_c_that_the_host_handles_is_nothing_to_its_tasks(void **state)
{
    struct terminal terminal;
    pid_t shell = open_terminal(&terminal, run_gates_with_handler);

    (void)state;
    type(&terminal, '\x03');
    take(INTERRUPTED);
    open_gates();
    assert_int_equal(end_of(shell), 0);
    assert_all_gone();
    close(terminal.master);
    clear_stage();
}

static void tasks_go_on_while_ctrl_z_has_stopped_the_host_and_it_finds_them_done(void **state)
{
    struct terminal terminal;
    pid_t shell = open_terminal(&terminal, run_gates);

    (void)state;
    for (int round = 0; round < 3; round++) {
        type(&terminal, '\x1a');
        take(STOPPED);
        assert_int_equal(atomic_load(&stage->answer), SIGTSTP);
        if (round == 2) { /* only now do the tasks end, and the host is stopped */
            open_gates();
            for (int i = 0; i < WORKERS; i++)
                take(ENDED);
        }
        post(RESUME);
        take(CONTINUED);
    }
    assert_int_equal(end_of(shell), 0);
    assert_all_gone();
    close(terminal.master);
    clear_stage();
}

static void a_terminal_that_hangs_up_ends_everything(void **state)
{
    struct terminal terminal;
    pid_t shell = open_terminal(&terminal, run_gates);

    (void)state;
    close(terminal.master);
    assert_int_equal(end_of(shell), 128 + SIGHUP);
    assert_all_gone();
    clear_stage();
}

static void a_signal_that_ends_the_host_ends_everything(void **state)
{
    static const int signals[] = {SIGTERM, SIGHUP,  SIGINT,  SIGABRT, SIGSEGV,
                                  SIGPIPE, SIGXCPU, SIGUSR1, SIGALRM, SIGKILL};

    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        pid_t host;

        set_stage();
        fflush(NULL);
        host = fork();
        assert_true(host >= 0);
        if (host == 0) {
            signal(signals[i], SIG_DFL); /* support.c has SIGALRM, a sanitizer SIGSEGV */
            _exit(run_gates(NULL));
        }
        await_gates();
        assert_int_equal(kill(host, signals[i]), 0);
        assert_int_equal(end_of(host), 128 + signals[i]);
        assert_all_gone();
        clear_stage();
    }
}

/* ---- daemons --------------------------------------------------------------------------------- */

/* No standard streams, no session of anybody's: the pool is made there, and works. */
static int live_as_daemon(mproc_pool *inherited)
{
    mproc_pool *pool;
    bool usable;

    if (mproc_pool_workers(inherited) != MPROC_EFOREIGN)
        return 30;
    mproc_pool_destroy(inherited);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    if (mproc_pool_create(&pool, WORKERS, NULL))
        return 31;
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            return 32;
    usable = is_usable(pool);
    mproc_pool_destroy(pool);
    return usable ? 0 : 33;
}

/* The pool that a process makes before it becomes a daemon is not the daemon's. */
static int become_daemon(void *arg)
{
    mproc_future *futures[WORKERS];
    mproc_pool *pool = make_gates(futures);

    (void)arg;
    if (fork())
        _exit(0);
    setsid();
    if (fork())
        _exit(0);
    note(getpid());
    atomic_store(&stage->answer, live_as_daemon(pool));
    post(ENDED);
    _exit(0);
}

static void a_daemon_has_pools_of_its_own_and_none_of_its_parents(void **state)
{
    (void)state;
    set_stage();
    atomic_store(&stage->answer, -1);
    assert_int_equal(test_run_child(become_daemon, NULL), 0);
    take(ENDED); /* of the daemon: the gates stay shut */
    assert_int_equal(atomic_load(&stage->answer), 0);
    assert_all_gone();
    clear_stage();
}

/* ---- atexit ---------------------------------------------------------------------------------- */

static mproc_pool *pool_at_exit;

static void count_handler(void)
{
    atomic_fetch_add(&stage->handlers, 1);
}

static void use_and_destroy_pool(void)
{
    int r = mproc_pool_workers(pool_at_exit);

    if (r == WORKERS ? !is_usable(pool_at_exit) : r != MPROC_EFOREIGN)
        atomic_store(&stage->answer, 40);
    mproc_pool_destroy(pool_at_exit);
}

/* Registered first, so that it runs last: what exit() does after it is not under test. */
static void end_here(void)
{
    _exit(atomic_load(&stage->answer));
}

static int32_t exit_with(const void *in, void *out, void *ctx)
{
    (void)out, (void)ctx;
    if (*(const uint64_t *)in % 2)
        exit(3);
    return 0;
}

static int exit_after(bool destroy, mproc_map_fn fn)
{
    mproc_pool_options options = {.size = sizeof options, .tasks_per_worker = 3};
    int32_t statuses[8];
    mproc_map_options map = {.size = sizeof map, .statuses = statuses};

    if (atexit(end_here) || atexit(count_handler) || (destroy && atexit(use_and_destroy_pool)) ||
        mproc_pool_create(&pool_at_exit, WORKERS, &options) ||
        mproc_pool_restart(pool_at_exit)) /* so that the workers know the handle, too */
        _exit(41);
    note(getpid());
    if (mproc_pool_map(pool_at_exit, fn, NULL, NULL, 0, NULL, 0, 8, &map) !=
        (fn == exit_with ? 4 : 0))
        _exit(42);
    for (int i = 0; i < 8; i++)
        if (statuses[i] != (fn == exit_with && i % 2 ? MPROC_ECRASHED : 0))
            _exit(43);
    exit(44);
}

static int32_t do_nothing(const void *in, void *out, void *ctx)
{
    (void)in, (void)out, (void)ctx;
    return 0;
}

static int exit_without_destroy(void *arg)
{
    (void)arg;
    return exit_after(false, do_nothing);
}

static int exit_with_destroy(void *arg)
{
    (void)arg;
    return exit_after(true, do_nothing);
}

static int exit_in_tasks(void *arg)
{
    (void)arg;
    return exit_after(true, exit_with);
}

static void atexit_functions_run_in_the_host_alone_and_may_use_and_destroy_a_pool(void **state)
{
    int (*const hosts[])(void *) = {exit_without_destroy, exit_with_destroy};

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        set_stage();
        assert_int_equal(test_run_child(hosts[i], NULL), 0);
        assert_int_equal(atomic_load(&stage->handlers), 1);
        clear_stage();
    }
}

/* It is the task that says exit(), so they do run there; on a handle that is foreign there. */
static void atexit_functions_that_a_task_runs_by_exit_harm_no_pool(void **state)
{
    (void)state;
    set_stage();
    assert_int_equal(test_run_child(exit_in_tasks, NULL), 0);
    assert_int_equal(atomic_load(&stage->handlers), 1 + 4);
    clear_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_ctrl_c_that_ends_the_host_ends_everything),
        TEST(a_ctrl_c_that_the_host_handles_is_nothing_to_its_tasks),
        TEST(tasks_go_on_while_ctrl_z_has_stopped_the_host_and_it_finds_them_done),
        TEST(a_terminal_that_hangs_up_ends_everything),
        TEST(a_signal_that_ends_the_host_ends_everything),
        TEST(a_daemon_has_pools_of_its_own_and_none_of_its_parents),
        TEST(atexit_functions_run_in_the_host_alone_and_may_use_and_destroy_a_pool),
        TEST(atexit_functions_that_a_task_runs_by_exit_harm_no_pool),
    };

    return TEST_MAIN(tests);
}
