/* SPDX-License-Identifier: MIT */
/*
 * Call failure: in each of a few short lives of a pool and of a process, the k-th call of each
 * function of the C library that this library calls fails, in the host, in the supervisor or the
 * child, or in a worker, once or from then on.  Whatever fails, every call of the library returns
 * what its header says, what it says succeeded is right, and when all is over nothing is left: no
 * descriptor, process, mapping, memory, signal mask.
 *
 * The long form goes through every k until a run meets no failure; the short form is a sample.
 */
#include "lives.h"
#include "strike.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_FAILURES = 20 };

/* ---- what may be made to fail, and how ------------------------------------------------------- */

enum how {
    TWICE,  /* once, and for ever */
    AT_ONCE /* once only: no system says so time after time */
};

struct fault {
    enum call call;
    int error;
    enum how how;
};

/*
 * What no library can make good is not asked for:
 * - EAGAIN of a pipe, which says that it is full or empty; for an end of that the library waits.
 * - close and munmap, after whose failure there is nothing more to be done.
 * - A signal mask that cannot be put back after a fork stays as it is (strike.c lets that be).
 * - ECHILD in the host: who is told that there is no such child leaves it as a zombie.  The run
 *   reaps it itself, and it must be one that ends.
 * - EINVAL of waitid() is for the kinds of process id that a kernel does not know, not for all.
 * - Of a single byte there is no half.
 */
static const struct fault faults[] = {
    {CALL_fork, EAGAIN, TWICE},
    {CALL_fork, ENOMEM, TWICE},
    {CALL_pipe, EMFILE, TWICE},
    {CALL_pipe, ENFILE, TWICE},
    {CALL_pipe2, EMFILE, TWICE},
    {CALL_pipe2, ENFILE, TWICE},
    {CALL_memfd_create, EMFILE, TWICE},
    {CALL_memfd_create, ENFILE, TWICE},
    {CALL_memfd_create, ENOMEM, TWICE},
    {CALL_shm_open, EMFILE, TWICE},
    {CALL_shm_open, ENFILE, TWICE},
    {CALL_shm_open, ENOSPC, TWICE},
    {CALL_ftruncate, ENOMEM, TWICE},
    {CALL_ftruncate, EFBIG, TWICE},
    {CALL_ftruncate, EINTR, AT_ONCE},
    {CALL_mmap, ENOMEM, TWICE},
    {CALL_posix_fallocate, ENOSPC, TWICE},
    {CALL_posix_fallocate, ENOMEM, TWICE},
    {CALL_posix_fallocate, EINTR, AT_ONCE},
    {CALL_fallocate, EOPNOTSUPP, TWICE},
    {CALL_malloc, ENOMEM, TWICE},
    {CALL_calloc, ENOMEM, TWICE},
    {CALL_realloc, ENOMEM, TWICE},
    {CALL_read, EIO, TWICE},
    {CALL_read, EINTR, AT_ONCE},
    {CALL_read, STRIKE_SHORT, TWICE},
    {CALL_write, ENOMEM, TWICE}, /* a page for the pipe's buffer */
    {CALL_write, EINTR, AT_ONCE},
    {CALL_write, STRIKE_SHORT, TWICE},
    {CALL_poll, ENOMEM, TWICE},
    {CALL_poll, EINTR, AT_ONCE},
    {CALL_waitid, ECHILD, TWICE},
    {CALL_waitid, EINVAL, TWICE}, /* a kernel that cannot wait for a pidfd */
    {CALL_waitid, EINTR, AT_ONCE},
    {CALL_waitpid, ECHILD, TWICE},
    {CALL_waitpid, EINTR, AT_ONCE},
    {CALL_fcntl, EMFILE, TWICE},
    {CALL_fcntl, ENOMEM, TWICE},
    {CALL_open, EMFILE, TWICE},
    {CALL_fopen, EMFILE, TWICE},
    {CALL_syscall, ENOSYS, TWICE},
    {CALL_syscall, EMFILE, TWICE},
    {CALL_syscall, ENOMEM, TWICE},
    {CALL_prctl, EPERM, TWICE},
    {CALL_kill, EPERM, TWICE},
    {CALL_kill, ESRCH, AT_ONCE},
    {CALL_setpgid, EPERM, TWICE},
    {CALL_sigprocmask, EINVAL, TWICE},
    {CALL_pthread_sigmask, EINVAL, TWICE},
    {CALL_sigaction, EINVAL, TWICE},
    {CALL_pthread_atfork, ENOMEM, TWICE},
    {CALL_pthread_mutex_init, ENOMEM, TWICE},
    {CALL_pthread_cond_init, ENOMEM, TWICE},
    {CALL_pthread_condattr_init, ENOMEM, TWICE},
    {CALL_sched_getaffinity, EINVAL, TWICE},
};

enum { FAULTS = sizeof faults / sizeof faults[0] };

/* ---- a run ----------------------------------------------------------------------------------- */

struct run {
    void (*life)(void);
    struct strike plan;
    long kept; /* blocks of memory that a run without failures keeps (of the C library) */
};

static struct run *the_run; /* shared with the host of the run */

/* A system that denies that there was a child leaves it to be reaped; so does this plan. */
static bool leaves_zombies(const struct strike *plan)
{
    return plan->at && plan->role == ROLE_HOST && plan->error == ECHILD;
}

static int host(void *arg)
{
    struct run *run = arg;
    char *census = test_census();
    long kept;

    alarm((unsigned)(LIFE_SECONDS * test_slowness()));
    strike_begin(&run->plan);
    run->life();
    kept = strike_end();
    while (leaves_zombies(&run->plan) && waitpid(-1, NULL, 0) > 0)
        ;
    alarm(0);
    if (!run->plan.at)
        run->kept = kept;
    else
        life_check(kept <= run->kept, "blocks of memory that were kept", kept - run->kept);
    return test_census_holds(census) ? 0 : LIFE_WRONG;
}

static const char *const call_names[] = {
#define STRIKE_NAME(name) #name,
    STRIKE_CALLS(STRIKE_NAME)
#undef STRIKE_NAME
};

/* True if all was well. */
static bool run_once(void)
{
    static const char *const roles[] = {"host", "child", "grandchild"};
    const struct strike *plan = &the_run->plan;
    int status;

    atomic_store(&the_run->plan.fired, 0);
    status = test_run_child(host, the_run);
    if (status == 0)
        return true;
    fprintf(stderr, "  so it went with %s %u in the %s, error %d, %s%s; status %#x\n",
            call_names[plan->call], (unsigned)plan->at, roles[plan->role], plan->error,
            plan->sticky ? "sticky" : "once", WIFSIGNALED(status) ? " (SIGALRM: it hung)" : "",
            (unsigned)status);
    return false;
}

/* A run without failures: it has to be well, and says how many calls there are. */
static void set_run(void (*life)(void))
{
    the_run = test_share(sizeof *the_run);
    the_run->life = life;
    assert_true(run_once());
}

static void plan_failure(const struct fault *fault, enum role role, uint32_t at, bool sticky)
{
    struct strike *plan = &the_run->plan;

    plan->call = fault->call;
    plan->role = role;
    plan->at = at;
    plan->error = fault->error;
    plan->sticky = sticky;
}

/* Every k until a run meets no failure. */
static unsigned run_all(const struct fault *fault, enum role role, bool sticky, unsigned *runs)
{
    unsigned failures = 0;

    for (uint32_t at = 1; at == 1 || atomic_load(&the_run->plan.fired); at++) {
        plan_failure(fault, role, at, sticky);
        failures += !run_once();
        ++*runs;
    }
    return failures;
}

static unsigned run_any(uint64_t *seed)
{
    for (;;) {
        const struct fault *fault = &faults[test_random(seed) % FAULTS];
        enum role role = (enum role)(test_random(seed) % ROLES);
        uint32_t seen = atomic_load(&the_run->plan.seen[role][fault->call]);
        bool sticky = fault->how == TWICE && test_random(seed) % 2;

        if (!seen)
            continue;
        plan_failure(fault, role, 1 + (uint32_t)(test_random(seed) % seen), sticky);
        return !run_once();
    }
}

static void live(void (*life)(void), uint64_t sample)
{
    uint64_t seed = test_seed(), count = test_count(sample, UINT64_MAX);
    unsigned failures = 0, runs = 0;

    set_run(life);
    for (; count <= sample && runs < count && failures < MOST_FAILURES; runs++)
        failures += run_any(&seed);
    for (size_t i = 0; count > sample && i < FAULTS; i++)
        for (unsigned role = 0; role < ROLES && failures < MOST_FAILURES; role++)
            if (atomic_load(&the_run->plan.seen[role][faults[i].call]))
                for (int sticky = 0; sticky <= (faults[i].how == TWICE); sticky++)
                    failures += run_all(&faults[i], (enum role)role, sticky, &runs);
    print_message("%u runs\n", runs);
    test_unshare(the_run, sizeof *the_run);
    assert_int_equal(failures, 0);
}

static void any_call_may_fail_in_the_life_of_a_pool(void **state)
{
    (void)state;
    live(life_of_a_pool, 40);
}

static void any_call_may_fail_where_tasks_die(void **state)
{
    (void)state;
    live(life_where_tasks_die, 30);
}

static void any_call_may_fail_in_the_life_of_a_process(void **state)
{
    (void)state;
    live(life_of_a_process, 60);
}

static void any_call_may_fail_in_a_one_shot_map(void **state)
{
    FILE *file = tmpfile();

    (void)state;
    assert_non_null(file);
    life_prints_to = fileno(file);
    live(life_of_a_one_shot_map, 40);
    fclose(file);
}

static void any_call_may_fail_in_a_host_without_standard_streams(void **state)
{
    (void)state;
    live(life_without_standard_streams, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_call_may_fail_in_the_life_of_a_pool),
        TEST(any_call_may_fail_where_tasks_die),
        TEST(any_call_may_fail_in_the_life_of_a_process),
        TEST(any_call_may_fail_in_a_one_shot_map),
        TEST(any_call_may_fail_in_a_host_without_standard_streams),
    };

    return TEST_MAIN(tests);
}
