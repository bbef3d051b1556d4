/* SPDX-License-Identifier: MIT */
/* What process.h promises.  Children wait at gates (pipes), so that nothing depends on who is
 * faster. */
#include "support.h"

#include "mproc/error.h"
#include "mproc/process.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { UNTOUCHED = 12345 };

/* ---- helpers --------------------------------------------------------------------------------- */

/* A pipe of the test: a byte in it lets one child through, or says that one has come so far. */
struct gate {
    int ends[2];
};

static struct gate open_gate(void)
{
    struct gate gate = {{-1, -1}};

    assert_int_equal(pipe(gate.ends), 0);
    return gate;
}

static void close_gate(struct gate *gate)
{
    close(gate->ends[0]);
    close(gate->ends[1]);
}

/* These two are called by children too: no asserts. */
static bool pass(const struct gate *gate)
{
    ssize_t n;
    char byte;

    do
        n = read(gate->ends[0], &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static bool let(const struct gate *gate)
{
    return write(gate->ends[1], "", 1) == 1;
}

/* Wait until nobody holds the gate's write end any more. */
static void assert_abandoned(struct gate *gate)
{
    char byte;

    close(gate->ends[1]);
    gate->ends[1] = -1;
    assert_int_equal(read(gate->ends[0], &byte, 1), 0);
}

static int32_t pass_and_return_7(void *gate)
{
    return pass(gate) ? 7 : 1;
}

static int32_t return_arg(void *arg)
{
    return *(int32_t *)arg;
}

static mproc_process *spawn(mproc_main_fn main, void *arg)
{
    mproc_process *process = NULL;

    assert_int_equal(mproc_spawn(&process, main, arg, NULL), 0);
    assert_non_null(process);
    return process;
}

static void assert_ends_with(mproc_process *process, int32_t expected)
{
    int32_t code = UNTOUCHED;

    assert_int_equal(mproc_join(process, -1, &code), 0);
    assert_int_equal(code, expected);
    mproc_process_free(process);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd end = {fd, POLLIN, 0};

    return poll(&end, 1, timeout_ms) == 1;
}

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- how a process ends ---------------------------------------------------------------------- */

static void the_exit_code_is_the_low_8_bits_of_what_main_returned(void **state)
{
    static const int32_t codes[][2] = {{0, 0}, {7, 7}, {255, 255}, {256, 0}, {-1, 255}};

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        int32_t code = codes[i][0];

        assert_ends_with(spawn(return_arg, &code), codes[i][1]);
    }
}

static int32_t exit_with_3(void *arg)
{
    (void)arg;
    _exit(3);
}

static void the_exit_code_may_be_given_to_exit(void **state)
{
    (void)state;
    assert_ends_with(spawn(exit_with_3, NULL), 3);
}

static int32_t raise_arg(void *arg)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    signal(*(int *)arg, SIG_DFL);
    raise(*(int *)arg);
    return 0;
}

static void a_signal_is_a_negative_exit_code(void **state)
{
    static const int signals[] = {SIGKILL, SIGSEGV, SIGABRT, SIGTERM};

    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        int number = signals[i];

        assert_ends_with(spawn(raise_arg, &number), -number);
    }
}

static int32_t execute_a_shell(void *arg)
{
    (void)arg;
    execl("/bin/sh", "sh", "-c", "exit 9", (char *)NULL);
    return 1;
}

static void a_child_that_executes_a_program_is_joined(void **state)
{
    (void)state;
    assert_ends_with(spawn(execute_a_shell, NULL), 9);
}

static int32_t execute_a_patient_shell(void *arg)
{
    const struct gate *gate = arg;

    dup2(gate->ends[0], 0);
    execl("/bin/sh", "sh", "-c", "read line; exit 9", (char *)NULL);
    return 1;
}

static void a_child_that_executed_a_program_is_alive_until_that_ends(void **state)
{
    struct gate gate = open_gate();
    mproc_process *process = spawn(execute_a_patient_shell, &gate);

    (void)state;
    assert_int_equal(mproc_join(process, 50, NULL), -ETIMEDOUT);
    assert_int_equal(mproc_process_is_alive(process), 1);
    assert_int_equal(write(gate.ends[1], "\n", 1), 1);
    assert_ends_with(process, 9);
    close_gate(&gate);
}

static int32_t spawn_and_add_1(void *arg)
{
    int32_t *left = arg;
    mproc_process *process;
    int32_t code = 0;

    if (*left == 0)
        return 10;
    --*left;
    if (mproc_spawn(&process, spawn_and_add_1, left, NULL) || mproc_join(process, -1, &code))
        return 1;
    mproc_process_free(process);
    return code + 1;
}

static void a_child_can_spawn(void **state)
{
    int32_t generations = 4;

    (void)state;
    assert_ends_with(spawn(spawn_and_add_1, &generations), 14);
}

/* ---- join ------------------------------------------------------------------------------------ */

static void join_gives_up_at_its_timeout_and_not_before(void **state)
{
    static const int64_t timeouts[] = {0, 10, 50};
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);

    (void)state;
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t begin = now_ms();
        int32_t code = UNTOUCHED;

        assert_int_equal(mproc_join(process, timeouts[i], &code), -ETIMEDOUT);
        assert_true(now_ms() - begin >= timeouts[i] - 1); /* the clock was cut to milliseconds */
        assert_int_equal(code, UNTOUCHED);
        assert_int_equal(mproc_process_is_alive(process), 1);
    }
    let(&gate);
    assert_ends_with(process, 7);
    close_gate(&gate);
}

static void join_gives_the_same_answer_again(void **state)
{
    int32_t seven = 7;
    mproc_process *process = spawn(return_arg, &seven);

    (void)state;
    assert_int_equal(mproc_join(process, -1, NULL), 0);
    for (int64_t timeout = -1; timeout <= 1; timeout++) {
        int32_t code = UNTOUCHED;

        assert_int_equal(mproc_join(process, timeout, &code), 0);
        assert_int_equal(code, 7);
    }
    assert_int_equal(mproc_process_is_alive(process), 0);
    assert_ends_with(process, 7);
}

struct joiner {
    mproc_process *process;
    int32_t code;
    int r;
};

static void *join_in_thread(void *arg)
{
    struct joiner *joiner = arg;

    joiner->r = mproc_join(joiner->process, -1, &joiner->code);
    return NULL;
}

static void many_threads_can_join_one_process(void **state)
{
    enum { THREADS = 6 };
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);
    struct joiner joiners[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        joiners[i] = (struct joiner){process, UNTOUCHED, 1};
        assert_int_equal(pthread_create(&threads[i], NULL, join_in_thread, &joiners[i]), 0);
    }
    let(&gate);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(joiners[i].r, 0);
        assert_int_equal(joiners[i].code, 7);
    }
    mproc_process_free(process);
    close_gate(&gate);
}

static void *spawn_and_join_in_thread(void *wrong)
{
    for (int32_t i = 0; i < 20; i++) {
        mproc_process *process;
        int32_t code = UNTOUCHED;

        if (mproc_spawn(&process, return_arg, &i, NULL)) {
            ++*(int *)wrong;
            continue;
        }
        *(int *)wrong += mproc_join(process, -1, &code) != 0 || code != i;
        mproc_process_free(process);
    }
    return NULL;
}

static void many_threads_can_spawn(void **state)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    int wrong[THREADS] = {0};

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, spawn_and_join_in_thread, &wrong[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
}

static void join_all_has_one_deadline(void **state)
{
    enum { COUNT = 8, TIMEOUT = 200 };
    struct gate gate = open_gate();
    mproc_process *processes[COUNT + 1] = {NULL};
    int64_t begin;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        processes[i + 1] = spawn(pass_and_return_7, &gate);
    assert_int_equal(mproc_join_all(processes, COUNT + 1, 0), -ETIMEDOUT);
    begin = now_ms();
    assert_int_equal(mproc_join_all(processes, COUNT + 1, TIMEOUT), -ETIMEDOUT);
    assert_true(now_ms() - begin >= TIMEOUT - 1);
    assert_true(now_ms() - begin < COUNT * TIMEOUT * test_slowness());
    for (int i = 0; i < COUNT; i++)
        let(&gate);
    assert_int_equal(mproc_join_all(processes, COUNT + 1, -1), 0);
    for (int i = 0; i < COUNT; i++)
        assert_ends_with(processes[i + 1], 7);
    assert_int_equal(mproc_join_all(NULL, 0, -1), 0);
    close_gate(&gate);
}

/* ---- an exit code that went to another ------------------------------------------------------- */

static void assert_lost(mproc_process *process)
{
    int32_t code = UNTOUCHED;

    assert_int_equal(mproc_join(process, -1, &code), MPROC_ELOST);
    assert_int_equal(mproc_join(process, 0, &code), MPROC_ELOST);
    assert_int_equal(code, UNTOUCHED);
    assert_int_equal(mproc_process_is_alive(process), 0);
    assert_true(is_readable(mproc_process_fd(process), -1));
    assert_int_equal(mproc_process_kill(process), -ESRCH);
    mproc_process_free(process);
}

/* The children in turn: one that ends at once, and one that is joined before it has ended. */
static void lose_with_disposition(const struct sigaction *action)
{
    struct gate gate = open_gate();
    struct sigaction before;
    int32_t seven = 7;
    mproc_process *process;

    sigaction(SIGCHLD, action, &before);
    assert_lost(spawn(return_arg, &seven));
    process = spawn(pass_and_return_7, &gate);
    assert_int_equal(mproc_join(process, 10, NULL), -ETIMEDOUT);
    assert_int_equal(mproc_process_is_alive(process), 1);
    let(&gate);
    assert_lost(process);
    sigaction(SIGCHLD, &before, NULL);
    close_gate(&gate);
}

static void with_sigchld_ignored_the_exit_code_is_lost(void **state)
{
    struct sigaction action = {0};

    (void)state;
    action.sa_handler = SIG_IGN;
    lose_with_disposition(&action);
}

static void with_nocldwait_the_exit_code_is_lost(void **state)
{
    struct sigaction action = {0};

    (void)state;
    action.sa_handler = SIG_DFL;
    action.sa_flags = SA_NOCLDWAIT;
    lose_with_disposition(&action);
}

static void an_exit_code_that_wait_took_is_lost(void **state)
{
    int32_t seven = 7;
    mproc_process *process = spawn(return_arg, &seven);

    (void)state;
    assert_int_equal(waitpid(-1, NULL, 0), mproc_process_pid(process));
    assert_lost(process);
}

static void a_lost_one_does_not_keep_join_all_from_the_others(void **state)
{
    struct gate gate = open_gate();
    int32_t seven = 7;
    mproc_process *processes[2] = {spawn(return_arg, &seven), NULL};

    (void)state;
    assert_int_equal(waitpid(-1, NULL, 0), mproc_process_pid(processes[0]));
    processes[1] = spawn(pass_and_return_7, &gate);
    assert_int_equal(mproc_join_all(processes, 2, 10), -ETIMEDOUT);
    let(&gate);
    assert_int_equal(mproc_join_all(processes, 2, -1), MPROC_ELOST);
    assert_int_equal(mproc_process_is_alive(processes[1]), 0);
    assert_ends_with(processes[1], 7);
    assert_lost(processes[0]);
    close_gate(&gate);
}

/* ---- the living ------------------------------------------------------------------------------ */

static void the_descriptor_is_readable_at_the_end(void **state)
{
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);
    int32_t code = UNTOUCHED;

    (void)state;
    assert_true(mproc_process_fd(process) > 2);
    assert_false(is_readable(mproc_process_fd(process), 0));
    let(&gate);
    assert_true(is_readable(mproc_process_fd(process), -1));
    assert_int_equal(mproc_join(process, 0, &code), 0);
    assert_int_equal(code, 7);
    assert_int_equal(mproc_process_is_alive(process), 0);
    assert_true(is_readable(mproc_process_fd(process), 0));
    mproc_process_free(process);
    close_gate(&gate);
}

static int32_t is_arg_my_parent(void *arg)
{
    return getppid() == *(pid_t *)arg ? 7 : 1;
}

static void the_pid_is_that_of_a_child_of_ours(void **state)
{
    pid_t parent = getpid();
    mproc_process *process = spawn(is_arg_my_parent, &parent);
    siginfo_t info;

    (void)state;
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(mproc_process_pid(process), info.si_pid);
    assert_ends_with(process, 7);
}

static void terminate_and_kill_end_the_process(void **state)
{
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);

    (void)state;
    assert_int_equal(mproc_process_terminate(process), 0);
    assert_ends_with(process, -SIGTERM);
    process = spawn(pass_and_return_7, &gate);
    assert_int_equal(mproc_process_kill(process), 0);
    assert_ends_with(process, -SIGKILL);
    process = spawn(pass_and_return_7, &gate);
    assert_int_equal(mproc_process_signal(process, SIGUSR1), 0);
    assert_ends_with(process, -SIGUSR1);
    close_gate(&gate);
}

static void after_the_end_there_is_nobody_to_signal(void **state)
{
    int32_t seven = 7;
    mproc_process *process = spawn(return_arg, &seven);
    siginfo_t info;

    (void)state;
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(mproc_process_kill(process), -ESRCH); /* a zombie */
    assert_int_equal(mproc_join(process, -1, NULL), 0);
    assert_int_equal(mproc_process_kill(process), -ESRCH);
    assert_ends_with(process, 7);
}

/* ---- options --------------------------------------------------------------------------------- */

static int32_t lead_a_group(void *arg)
{
    struct gate *gates = arg; /* [0]: "here I am", [1]: what never comes */

    if (getpgrp() != getpid())
        return 1;
    if (fork() == 0) {
        let(&gates[0]);
        pass(&gates[1]);
        _exit(0);
    }
    pass(&gates[1]);
    return 2;
}

static void a_group_is_killed_whole(void **state)
{
    mproc_spawn_options options = {.size = sizeof options, .new_group = 1};
    struct gate gates[2];
    mproc_process *process;

    (void)state;
    gates[0] = open_gate();
    gates[1] = open_gate();
    assert_int_equal(mproc_spawn(&process, lead_a_group, gates, &options), 0);
    assert_true(getpgid(mproc_process_pid(process)) == mproc_process_pid(process));
    assert_true(pass(&gates[0]));
    assert_int_equal(mproc_process_kill(process), 0);
    assert_abandoned(&gates[0]);
    assert_ends_with(process, -SIGKILL);
    close(gates[0].ends[0]);
    close_gate(&gates[1]);
}

static int32_t is_arg_my_group(void *arg)
{
    return getpgrp() == *(pid_t *)arg ? 7 : 1;
}

static void without_the_option_the_group_is_the_parents(void **state)
{
    pid_t group = getpgrp();

    (void)state;
    assert_ends_with(spawn(is_arg_my_group, &group), 7);
}

static int32_t is_stdin_null(void *arg)
{
    struct stat null, input;
    char byte;

    (void)arg;
    if (stat("/dev/null", &null) || fstat(0, &input) || null.st_rdev != input.st_rdev)
        return 1;
    return read(0, &byte, 1) == 0 ? 7 : 2;
}

static void stdin_can_be_null(void **state)
{
    mproc_spawn_options options = {.size = sizeof options, .stdin_null = 1};
    mproc_process *process;

    (void)state;
    assert_int_equal(mproc_spawn(&process, is_stdin_null, NULL, &options), 0);
    assert_ends_with(process, 7);
}

/* 7: it is the argument, 8: something else, 9: there is no such file. */
static int32_t is_my_name(void *arg)
{
    char name[64] = "";
    FILE *file = fopen("/proc/self/comm", "r");

    if (!file)
        return 9;
    if (!fgets(name, sizeof name, file))
        name[0] = '\0';
    fclose(file);
    name[strcspn(name, "\n")] = '\0';
    return strcmp(name, arg) == 0 ? 7 : 8;
}

static void the_name_is_what_ps_shows(void **state)
{
    char name[] = "fifteen letters";
    mproc_spawn_options options = {.size = sizeof options, .name = "fifteen letters and more"};
    mproc_process *process;

    (void)state;
    if (mp_pidfd_open(getpid()) == -EBADF) /* the fallback may have no way to set a name */
        skip();
    assert_int_equal(mproc_spawn(&process, is_my_name, name, &options), 0);
    assert_ends_with(process, 7);
}

static void bad_options_are_refused(void **state)
{
    mproc_spawn_options options = {.size = sizeof options};
    struct {
        mproc_spawn_options known;
        int32_t newer[2];
    } larger = {{.size = sizeof larger}, {0, 0}};
    mproc_process *process = NULL;
    int32_t seven = 7;

    (void)state;
    options.reserved = 1;
    assert_int_equal(mproc_spawn(&process, return_arg, &seven, &options), -EINVAL);
    options.reserved = 0;
    options.size = 0;
    assert_int_equal(mproc_spawn(&process, return_arg, &seven, &options), -EINVAL);
    larger.newer[1] = 1;
    assert_int_equal(mproc_spawn(&process, return_arg, &seven, &larger.known), -EINVAL);
    assert_null(process);
    larger.newer[1] = 0;
    assert_int_equal(mproc_spawn(&process, return_arg, &seven, &larger.known), 0);
    assert_ends_with(process, 7);
    options.size = offsetof(mproc_spawn_options, daemon);
    assert_int_equal(mproc_spawn(&process, return_arg, &seven, &options), 0);
    assert_ends_with(process, 7);
}

static void null_is_refused(void **state)
{
    mproc_process *process = NULL;

    (void)state;
    assert_int_equal(mproc_spawn(NULL, return_arg, NULL, NULL), -EINVAL);
    assert_int_equal(mproc_spawn(&process, NULL, NULL, NULL), -EINVAL);
    assert_null(process);
    assert_int_equal(mproc_join(NULL, -1, NULL), -EINVAL);
    assert_int_equal(mproc_join_all(NULL, 1, -1), -EINVAL);
    assert_int_equal(mproc_process_pid(NULL), -EINVAL);
    assert_int_equal(mproc_process_is_alive(NULL), -EINVAL);
    assert_int_equal(mproc_process_fd(NULL), -EINVAL);
    assert_int_equal(mproc_process_signal(NULL, SIGTERM), -EINVAL);
    assert_int_equal(mproc_process_terminate(NULL), -EINVAL);
    assert_int_equal(mproc_process_kill(NULL), -EINVAL);
    mproc_process_free(NULL);
}

static void what_is_no_signal_is_refused(void **state)
{
    static const int32_t none[] = {0, -1, -SIGKILL, 65, INT32_MAX, INT32_MIN};
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(mproc_process_signal(process, none[i]), -EINVAL);
    let(&gate);
    assert_ends_with(process, 7);
    close_gate(&gate);
}

/* ---- daemons --------------------------------------------------------------------------------- */

/* [0]: "here I am", [1]: what never comes */
static int32_t stay(void *arg)
{
    struct gate *gates = arg;

    let(&gates[0]);
    pass(&gates[1]);
    return 0;
}

struct daemon_case {
    struct gate gates[2];
    bool block_sigio;
    bool free_handle;
    bool fork_another; /* that outlives the parent, and is not to hold the bond */
};

static int spawn_a_daemon_and_stay(void *arg)
{
    struct daemon_case *how = arg;
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1};
    mproc_process *process;
    sigset_t all;

    sigfillset(&all);
    if (how->block_sigio)
        sigprocmask(SIG_BLOCK, &all, NULL);
    if (mproc_spawn(&process, stay, how->gates, &options))
        return 1;
    if (how->free_handle)
        mproc_process_free(process);
    if (how->fork_another && fork() == 0) {
        close(how->gates[0].ends[1]);
        pass(&how->gates[1]);
        _exit(0);
    }
    pass(&how->gates[1]);
    return 2;
}

static void assert_daemon_ends_with_its_parent(struct daemon_case how)
{
    pid_t parent;

    how.gates[0] = open_gate();
    how.gates[1] = open_gate();
    parent = fork();
    if (parent == 0)
        _exit(spawn_a_daemon_and_stay(&how));
    assert_true(pass(&how.gates[0]));
    assert_int_equal(waitpid(parent, NULL, WNOHANG), 0);
    kill(parent, SIGKILL);
    assert_abandoned(&how.gates[0]); /* the parent held it too, and the daemon */
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    let(&how.gates[1]);
    close(how.gates[0].ends[0]);
    close_gate(&how.gates[1]);
}

static void a_daemon_ends_with_its_parent(void **state)
{
    (void)state;
    assert_daemon_ends_with_its_parent((struct daemon_case){.block_sigio = false});
}

static void a_daemon_of_a_parent_that_blocks_all_signals_ends_with_it(void **state)
{
    (void)state;
    assert_daemon_ends_with_its_parent((struct daemon_case){.block_sigio = true});
}

static void a_daemon_whose_handle_was_freed_ends_with_its_parent(void **state)
{
    (void)state;
    assert_daemon_ends_with_its_parent((struct daemon_case){.free_handle = true});
}

static void a_daemon_ends_with_its_parent_whose_other_child_lives(void **state)
{
    (void)state;
    assert_daemon_ends_with_its_parent((struct daemon_case){.fork_another = true});
}

/* [0]: the question, [1]: the answer */
static int32_t answer(void *arg)
{
    struct gate *gates = arg;

    return pass(&gates[0]) && let(&gates[1]) && pass(&gates[0]) ? 7 : 1;
}

struct spawner {
    struct gate gates[2];
    mproc_process *process;
    int r;
};

static void *spawn_a_daemon_in_thread(void *arg)
{
    struct spawner *spawner = arg;
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1};

    spawner->r = mproc_spawn(&spawner->process, answer, spawner->gates, &options);
    return NULL;
}

static void a_daemon_outlives_the_thread_that_spawned_it(void **state)
{
    struct spawner spawner = {.r = 1};
    pthread_t thread;

    (void)state;
    spawner.gates[0] = open_gate();
    spawner.gates[1] = open_gate();
    assert_int_equal(pthread_create(&thread, NULL, spawn_a_daemon_in_thread, &spawner), 0);
    pthread_join(thread, NULL);
    assert_int_equal(spawner.r, 0);
    let(&spawner.gates[0]);
    assert_true(pass(&spawner.gates[1]));
    assert_int_equal(mproc_join(spawner.process, 50, NULL), -ETIMEDOUT);
    let(&spawner.gates[0]);
    assert_ends_with(spawner.process, 7);
    close_gate(&spawner.gates[0]);
    close_gate(&spawner.gates[1]);
}

static int spawn_and_leave(void *arg)
{
    mproc_process *process;

    return mproc_spawn(&process, answer, arg, NULL) ? 1 : 0;
}

static void one_that_is_no_daemon_outlives_its_parent(void **state)
{
    struct gate gates[2];

    (void)state;
    gates[0] = open_gate();
    gates[1] = open_gate();
    assert_int_equal(test_run_child(spawn_and_leave, gates), 0);
    let(&gates[0]);
    assert_true(pass(&gates[1]));
    let(&gates[0]);
    assert_abandoned(&gates[1]);
    close(gates[1].ends[0]);
    close_gate(&gates[0]);
}

/* ---- what a child has of its parent ---------------------------------------------------------- */

static int32_t print_child(void *arg)
{
    (void)arg;
    printf("child out\n");
    fprintf(stderr, "child err\n");
    return 0;
}

static int print_around_a_child(void *arg)
{
    static char buffers[2][4096]; /* of its own, for a stream that was used may keep its old one */
    int fd = *(int *)arg;
    mproc_process *process;

    if (dup2(fd, 1) < 0 || dup2(fd, 2) < 0 ||
        setvbuf(stdout, buffers[0], _IOFBF, sizeof buffers[0]) ||
        setvbuf(stderr, buffers[1], _IOFBF, sizeof buffers[1]))
        return 1;
    printf("before\n");
    if (mproc_spawn(&process, print_child, NULL, NULL) || mproc_join(process, -1, NULL))
        return 2;
    mproc_process_free(process);
    printf("after\n");
    fflush(stdout);
    return 0;
}

static void output_is_neither_lost_nor_doubled(void **state)
{
    static const char expected[] = "before\nchild out\nchild err\nafter\n";
    char text[256] = "";
    struct gate gate = open_gate();
    FILE *file = tmpfile();
    int fd;

    (void)state;
    assert_non_null(file);
    fd = fileno(file);
    assert_int_equal(test_run_child(print_around_a_child, &fd), 0);
    assert_int_equal(pread(fd, text, sizeof text - 1, 0), sizeof expected - 1);
    assert_string_equal(text, expected);
    fclose(file);

    memset(text, 0, sizeof text);
    assert_int_equal(test_run_child(print_around_a_child, &gate.ends[1]), 0);
    assert_int_equal(read(gate.ends[0], text, sizeof text - 1), sizeof expected - 1);
    assert_string_equal(text, expected);
    close_gate(&gate);
}

static struct gate exit_gate;

static void at_exit(void)
{
    let(&exit_gate);
}

static int spawn_with_atexit(void *arg)
{
    int32_t seven = 7;
    mproc_process *process;

    (void)arg;
    if (atexit(at_exit) || mproc_spawn(&process, return_arg, &seven, NULL) ||
        mproc_join(process, -1, NULL))
        _exit(1);
    _exit(0);
}

static void atexit_functions_of_the_parent_do_not_run(void **state)
{
    (void)state;
    exit_gate = open_gate();
    assert_int_equal(test_run_child(spawn_with_atexit, NULL), 0);
    assert_abandoned(&exit_gate);
    close(exit_gate.ends[0]);
}

static void ignore(int signal)
{
    (void)signal;
}

static int32_t has_mask_and_dispositions(void *arg)
{
    struct sigaction action;
    sigset_t mask;

    (void)arg;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    if (!sigismember(&mask, SIGUSR1) || sigismember(&mask, SIGTERM) || sigismember(&mask, SIGCHLD))
        return 1;
    sigaction(SIGUSR2, NULL, &action);
    return action.sa_handler == ignore ? 7 : 2;
}

static void mask_and_dispositions_are_the_parents(void **state)
{
    struct sigaction action = {0}, action_before;
    sigset_t usr1, mask_before;

    (void)state;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    action.sa_handler = ignore;
    sigaction(SIGUSR2, &action, &action_before);
    sigprocmask(SIG_BLOCK, &usr1, &mask_before);
    assert_ends_with(spawn(has_mask_and_dispositions, NULL), 7);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    sigaction(SIGUSR2, &action_before, NULL);
}

static int32_t leave_a_grandchild(void *arg)
{
    struct gate *gate = arg;
    pid_t pid = fork();

    if (pid == 0) {
        pass(gate);
        _exit(0);
    }
    return pid > 0 ? 7 : 1;
}

static void a_grandchild_does_not_put_off_the_end(void **state)
{
    struct gate gate = open_gate();
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1};
    mproc_process *process;

    (void)state;
    assert_int_equal(mproc_spawn(&process, leave_a_grandchild, &gate, &options), 0);
    assert_ends_with(process, 7);
    let(&gate);
    close_gate(&gate);
}

/* The descriptors that a grandchild has more than its grandparent had. */
static int32_t count_in_a_grandchild(void *arg)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(count_descriptors() == *(int *)arg ? 7 : 1);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

static void a_grandchild_inherits_no_descriptor_of_the_library(void **state)
{
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1};
    struct gate gate = open_gate();
    int before = count_descriptors();
    mproc_process *another = spawn(pass_and_return_7, &gate);
    mproc_process *process;

    (void)state;
    assert_int_equal(mproc_spawn(&process, count_in_a_grandchild, &before, &options), 0);
    assert_ends_with(process, 7);
    let(&gate);
    assert_ends_with(another, 7);
    close_gate(&gate);
}

static int use_a_foreign_handle(void *arg)
{
    mproc_process *process = arg;
    int32_t code = UNTOUCHED;

    if (mproc_join(process, -1, &code) != MPROC_EFOREIGN || code != UNTOUCHED)
        return 1;
    if (mproc_join_all(&process, 1, -1) != MPROC_EFOREIGN)
        return 2;
    if (mproc_process_pid(process) != MPROC_EFOREIGN || mproc_process_fd(process) != MPROC_EFOREIGN)
        return 3;
    if (mproc_process_is_alive(process) != MPROC_EFOREIGN)
        return 4;
    if (mproc_process_signal(process, SIGTERM) != MPROC_EFOREIGN ||
        mproc_process_terminate(process) != MPROC_EFOREIGN ||
        mproc_process_kill(process) != MPROC_EFOREIGN)
        return 5;
    mproc_process_free(process);
    return 0;
}

static void a_handle_is_foreign_in_a_fork(void **state)
{
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);

    (void)state;
    assert_int_equal(test_run_child(use_a_foreign_handle, process), 0);
    assert_int_equal(mproc_process_is_alive(process), 1);
    let(&gate);
    assert_ends_with(process, 7);
    close_gate(&gate);
}

static int32_t use_a_foreign_handle_in_main(void *arg)
{
    return use_a_foreign_handle(arg);
}

static void a_handle_is_foreign_in_another_spawned_process(void **state)
{
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);

    (void)state;
    assert_ends_with(spawn(use_a_foreign_handle_in_main, process), 0);
    let(&gate);
    assert_ends_with(process, 7);
    close_gate(&gate);
}

/* ---- a parent in need ------------------------------------------------------------------------ */

static int32_t has_no_standard_streams(void *arg)
{
    (void)arg;
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return 1;
    return 7;
}

static int spawn_without_standard_streams(void *arg)
{
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1};
    mproc_process *process;
    int32_t code = UNTOUCHED;

    (void)arg;
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    if (mproc_spawn(&process, has_no_standard_streams, NULL, &options))
        return 2;
    if (mproc_process_fd(process) <= 2 || mproc_join(process, -1, &code) || code != 7)
        return 3;
    mproc_process_free(process);
    options.stdin_null = 1;
    if (mproc_spawn(&process, is_stdin_null, NULL, &options))
        return 4;
    if (mproc_join(process, -1, &code) || code != 7)
        return 5;
    mproc_process_free(process);
    return has_no_standard_streams(NULL) - 7;
}

static void a_parent_may_have_no_standard_streams(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(spawn_without_standard_streams, NULL), 0);
}

/* Leave no free number below the highest descriptor, and return that. */
static int fill_descriptors(void)
{
    int last = 255;
    int fd;

    while (fcntl(last, F_GETFD) < 0)
        last--;
    do
        fd = dup(last);
    while (fd >= 0 && fd < last);
    if (fd >= 0)
        close(fd);
    return last;
}

/* Under every limit from "not one more" up: an error that leaves nothing behind, or a process. */
static int spawn_at_the_descriptor_limit(void *arg)
{
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1};
    int last = fill_descriptors();
    int before = count_descriptors();
    int refused = 0;
    struct rlimit limit;

    (void)arg;
    for (rlim_t free = 0; free < 8; free++) {
        mproc_process *process = NULL;
        int32_t seven = 7, code = 0;
        int r;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = (rlim_t)last + 1 + free;
        setrlimit(RLIMIT_NOFILE, &limit);
        r = mproc_spawn(&process, return_arg, &seven, &options);
        if (r && (process || (r != -EMFILE && r != -ENFILE)))
            return 1;
        if (!r && (mproc_join(process, -1, &code) || code != 7))
            return 2;
        refused += r != 0;
        mproc_process_free(process);
        if (count_descriptors() != before || waitpid(-1, NULL, 0) != -1)
            return 3;
    }
    return refused > 0 && refused < 8 ? 0 : 4;
}

static void without_descriptors_spawn_fails_and_leaks_nothing(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(spawn_at_the_descriptor_limit, NULL), 0);
}

static int spawn_at_the_process_limit(void *arg)
{
    struct rlimit limit = {0, 0};
    int before = count_descriptors();
    mproc_process *process = NULL;
    sigset_t mask;
    int r;

    (void)arg;
    if (geteuid() == 0 && setuid(65534)) /* root has no limit */
        return 77;
    setrlimit(RLIMIT_NPROC, &limit);
    r = mproc_spawn(&process, stay, NULL, NULL);
    if (r != -EAGAIN || process)
        return 1;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    if (sigismember(&mask, SIGTERM))
        return 2;
    return count_descriptors() == before && waitpid(-1, NULL, 0) == -1 ? 0 : 3;
}

static void without_processes_spawn_fails_and_leaks_nothing(void **state)
{
    int status = test_run_child(spawn_at_the_process_limit, NULL);

    (void)state;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* ---- free ------------------------------------------------------------------------------------ */

static void assert_is_zombie(pid_t pid)
{
    siginfo_t info;

    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void assert_was_reaped(pid_t pid)
{
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void one_that_was_freed_runs_on_and_leaves_no_zombie(void **state)
{
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);
    pid_t pid = mproc_process_pid(process);
    int32_t seven = 7;

    (void)state;
    mproc_process_free(process);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    let(&gate);
    assert_is_zombie(pid);
    process = spawn(return_arg, &seven); /* takes it in */
    assert_was_reaped(pid);

    pid = mproc_process_pid(process);
    assert_is_zombie(pid);
    mproc_process_free(process); /* takes itself in */
    assert_was_reaped(pid);
    close_gate(&gate);
}

static int spawn_in_a_fork(void *arg)
{
    int32_t seven = 7, code = 0;
    mproc_process *process;

    (void)arg;
    if (mproc_spawn(&process, return_arg, &seven, NULL) || mproc_join(process, -1, &code))
        return 1;
    mproc_process_free(process);
    return code == 7 ? 0 : 2;
}

static void the_freed_of_a_parent_are_not_the_forks(void **state)
{
    struct gate gate = open_gate();
    mproc_process *process = spawn(pass_and_return_7, &gate);
    pid_t pid = mproc_process_pid(process);
    int32_t seven = 7;

    (void)state;
    mproc_process_free(process);
    assert_int_equal(test_run_child(spawn_in_a_fork, NULL), 0);
    let(&gate);
    assert_is_zombie(pid);
    assert_ends_with(spawn(return_arg, &seven), 7);
    assert_was_reaped(pid);
    close_gate(&gate);
}

static const struct CMUnitTest tests[] = {
    TEST(the_exit_code_is_the_low_8_bits_of_what_main_returned),
    TEST(the_exit_code_may_be_given_to_exit),
    TEST(a_signal_is_a_negative_exit_code),
    TEST(a_child_that_executes_a_program_is_joined),
    TEST(a_child_that_executed_a_program_is_alive_until_that_ends),
    TEST(a_child_can_spawn),
    TEST(join_gives_up_at_its_timeout_and_not_before),
    TEST(join_gives_the_same_answer_again),
    TEST(many_threads_can_join_one_process),
    TEST(many_threads_can_spawn),
    TEST(join_all_has_one_deadline),
    TEST(with_sigchld_ignored_the_exit_code_is_lost),
    TEST(with_nocldwait_the_exit_code_is_lost),
    TEST(an_exit_code_that_wait_took_is_lost),
    TEST(a_lost_one_does_not_keep_join_all_from_the_others),
    TEST(the_descriptor_is_readable_at_the_end),
    TEST(the_pid_is_that_of_a_child_of_ours),
    TEST(terminate_and_kill_end_the_process),
    TEST(after_the_end_there_is_nobody_to_signal),
    TEST(a_group_is_killed_whole),
    TEST(without_the_option_the_group_is_the_parents),
    TEST(stdin_can_be_null),
    TEST(the_name_is_what_ps_shows),
    TEST(bad_options_are_refused),
    TEST(null_is_refused),
    TEST(what_is_no_signal_is_refused),
    TEST(a_daemon_ends_with_its_parent),
    TEST(a_daemon_of_a_parent_that_blocks_all_signals_ends_with_it),
    TEST(a_daemon_whose_handle_was_freed_ends_with_its_parent),
    TEST(a_daemon_ends_with_its_parent_whose_other_child_lives),
    TEST(a_daemon_outlives_the_thread_that_spawned_it),
    TEST(one_that_is_no_daemon_outlives_its_parent),
    TEST(output_is_neither_lost_nor_doubled),
    TEST(atexit_functions_of_the_parent_do_not_run),
    TEST(mask_and_dispositions_are_the_parents),
    TEST(a_grandchild_does_not_put_off_the_end),
    TEST(a_grandchild_inherits_no_descriptor_of_the_library),
    TEST(a_handle_is_foreign_in_a_fork),
    TEST(a_handle_is_foreign_in_another_spawned_process),
    TEST(a_parent_may_have_no_standard_streams),
    TEST(without_descriptors_spawn_fails_and_leaks_nothing),
    TEST(without_processes_spawn_fails_and_leaks_nothing),
    TEST(one_that_was_freed_runs_on_and_leaves_no_zombie),
    TEST(the_freed_of_a_parent_are_not_the_forks),
};

int main(void)
{
    return TEST_MAIN(tests);
}
