/* SPDX-License-Identifier: MIT */
/*
 * Each test has a parent (a child of the test) and its bonded child.  The child holds the write end
 * of the `alive` pipe, so that the end of file there says that it is gone.
 */
#include "support.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

struct family {
    enum bond_kind kind;
    int alive[2]; /* held by the parent and the child; a byte: the child is bonded */
    int gate[2];  /* what never comes, or a byte that lets one on */
    bool late;    /* the child is bonded once its parent is gone */
    bool execute; /* and becomes another program */
};

static struct family open_family(enum bond_kind kind)
{
    struct family family = {.kind = kind};

    assert_int_equal(mp_pipe(family.alive), 0);
    assert_int_equal(mp_pipe(family.gate), 0);
    return family;
}

static void pass(int gate)
{
    char byte;

    mp_read(gate, &byte, 1);
}

static _Noreturn void run_child(struct family *family, int bond[2], pid_t parent,
                                const sigset_t *mask)
{
    pthread_sigmask(SIG_SETMASK, mask, NULL);
    if (family->late) {
        mp_write(family->alive[1], "", 1);
        pass(family->gate[0]);
    }
    mp_bond_child(bond, family->kind, parent);
    if (family->execute) { /* it is the other program that writes the byte */
        dup2(family->gate[0], 0);
        dup2(family->alive[1], 1);
        execl("/bin/sh", "sh", "-c", "echo; read line", (char *)NULL);
    }
    mp_write(family->alive[1], "", 1);
    pass(family->gate[0]);
    _exit(7);
}

static int run_parent(struct family *family)
{
    int bond[2] = {-1, -1};
    struct guard guard = {.fds = bond, .count = 2};
    pid_t self = getpid(), child;
    sigset_t mask;

    if (mp_guard_lock() || mp_bond_open(bond, family->kind))
        return 1;
    mp_guard_add(&guard);
    mp_guard_unlock();
    child = mp_fork(&mask, &guard);
    if (child == 0)
        run_child(family, bond, self, &mask);
    mp_bond_parent(bond);
    if (bond[1] >= 0)
        return 3;
    mp_close(family->alive[1]);
    pass(family->gate[0]);
    return 2;
}

static pid_t start_parent(struct family *family)
{
    pid_t parent = fork();

    assert_true(parent >= 0);
    if (parent == 0)
        _exit(run_parent(family));
    family->alive[1] = mp_close(family->alive[1]);
    return parent;
}

static void await_byte(const struct family *family)
{
    char byte;

    assert_int_equal(mp_read(family->alive[0], &byte, 1), 1);
}

static void end_parent(pid_t parent)
{
    int status;

    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_true(WIFSIGNALED(status));
}

static void await_childs_end(struct family *family)
{
    char byte;

    assert_int_equal(mp_read(family->alive[0], &byte, 1), 0);
    mp_close(family->alive[0]);
    mp_close(family->gate[0]);
    mp_close(family->gate[1]);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static const enum bond_kind kinds[] = {BOND_PROCESS, BOND_THREAD};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void the_child_ends_with_its_parent(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct family family = open_family(kinds[i]);
        pid_t parent = start_parent(&family);

        await_byte(&family);
        end_parent(parent);
        await_childs_end(&family);
    }
}

static void a_child_that_comes_too_late_ends_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        struct family family = open_family(kinds[i]);
        pid_t parent;

        family.late = true;
        parent = start_parent(&family);
        await_byte(&family);
        end_parent(parent);
        mp_write(family.gate[1], "", 1);
        await_childs_end(&family); /* and no second byte before it */
    }
}

static void signals_that_are_blocked_do_not_matter(void **state)
{
    sigset_t all, before;

    (void)state;
    sigfillset(&all);
    sigdelset(&all, SIGALRM);
    sigprocmask(SIG_BLOCK, &all, &before);
    for (size_t i = 0; i < KINDS; i++) {
        struct family family = open_family(kinds[i]);
        pid_t parent = start_parent(&family);

        await_byte(&family);
        end_parent(parent);
        await_childs_end(&family);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static bool has_pidfd(void)
{
    return mp_pidfd_open(getpid()) != -EBADF;
}

static void the_bond_holds_over_an_exec(void **state)
{
    (void)state;
    if (!has_pidfd()) /* not the Linux variant: there the handler of a signal is the bond */
        skip();
    for (size_t i = 0; i < KINDS; i++) {
        struct family family = open_family(kinds[i]);
        pid_t parent;

        family.execute = true;
        parent = start_parent(&family);
        await_byte(&family);
        end_parent(parent);
        await_childs_end(&family);
    }
}

/* A thread forks the child and ends; the parent itself lives on. */
struct thread_family {
    struct family family;
    int bond[2];
    struct guard guard;
    pid_t child;
};

static void *fork_in_thread(void *arg)
{
    struct thread_family *thread = arg;
    pid_t self = getpid();
    sigset_t mask;

    thread->child = mp_fork(&mask, &thread->guard);
    if (thread->child == 0)
        run_child(&thread->family, thread->bond, self, &mask);
    return NULL;
}

static void the_bond_of_a_process_outlives_its_thread(void **state)
{
    struct thread_family shared = {.family = open_family(BOND_PROCESS)};
    pthread_t thread;
    int status;

    (void)state;
    shared.guard.fds = shared.bond;
    shared.guard.count = 2;
    assert_int_equal(mp_guard_lock(), 0);
    assert_int_equal(mp_bond_open(shared.bond, BOND_PROCESS), 0);
    mp_guard_add(&shared.guard);
    mp_guard_unlock();
    assert_int_equal(pthread_create(&thread, NULL, fork_in_thread, &shared), 0);
    pthread_join(thread, NULL);
    mp_bond_parent(shared.bond);
    await_byte(&shared.family);
    assert_int_equal(waitpid(shared.child, &status, WNOHANG), 0);
    mp_write(shared.family.gate[1], "", 1);
    assert_int_equal(waitpid(shared.child, &status, 0), shared.child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);

    assert_int_equal(mp_guard_lock(), 0);
    mp_guard_remove(&shared.guard);
    mp_close(shared.bond[0]);
    mp_close(shared.bond[1]);
    mp_guard_unlock();
    mp_close(shared.family.alive[1]);
    await_childs_end(&shared.family);
}

/* The fallback's signal may come from elsewhere, too. */
static int bond_and_raise(void *arg)
{
    int bond[2];
    pid_t child;
    int status;

    (void)arg;
    if (mp_bond_open(bond, BOND_PROCESS))
        return 1;
    child = fork();
    if (child == 0) {
        struct sigaction action;

        mp_bond_child(bond, BOND_PROCESS, getppid());
        sigaction(SIGIO, NULL, &action);
        if (action.sa_handler != SIG_DFL)
            raise(SIGIO);
        _exit(7);
    }
    mp_bond_parent(bond);
    return waitpid(child, &status, 0) == child && status == 7 << 8 ? 0 : 2;
}

static void a_signal_without_the_parents_end_does_nothing(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(bond_and_raise, NULL), 0);
}

static int set_names(void *arg)
{
    (void)arg;
    mp_set_name("");
    mp_set_name("a name that is longer than any system can keep");
    return 0;
}

static void any_name_will_do(void **state)
{
    (void)state;
    assert_int_equal(test_run_child(set_names, NULL), 0);
}

static const struct CMUnitTest tests[] = {
    TEST(the_child_ends_with_its_parent),
    TEST(a_child_that_comes_too_late_ends_at_once),
    TEST(signals_that_are_blocked_do_not_matter),
    TEST(the_bond_holds_over_an_exec),
    TEST(the_bond_of_a_process_outlives_its_thread),
    TEST(a_signal_without_the_parents_end_does_nothing),
    TEST(any_name_will_do),
};

int main(void)
{
    return TEST_MAIN(tests);
}
