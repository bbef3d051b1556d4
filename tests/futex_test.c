/* SPDX-License-Identifier: MIT */
/*
 * To sleep on a word that processes share: who is woken and who is not, the deadline, and the word of
 * an owner that ends.
 */
#include "support.h"

#include "os/os.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLEEPERS = 5, LIMIT_S = 60 };

/* How a sleep ended: the exit code of a sleeper. */
enum { WOKEN, LATE, EARLY, FAILED };

static struct stage {
    _Atomic uint32_t word;
    _Atomic uint32_t next; /* another word */
    _Atomic uint32_t begun;
    _Atomic uint32_t ended; /* sleeps */
    _Atomic uint32_t signals;
    _Atomic bool forked;
    _Atomic int owned; /* 1, or an error */
    int64_t deadline;
} * stage;

static void open_stage(void)
{
    if (!mp_can_sleep_on_words())
        skip();
    stage = test_share(sizeof *stage);
    stage->deadline = MP_FOREVER;
}

static void close_stage(void)
{
    test_unshare(stage, sizeof *stage);
    stage = NULL;
}

/* Long enough: what is to happen before it has long happened. */
static int64_t at_last(void)
{
    return mp_deadline((int64_t)20000 * test_slowness());
}

static pid_t start(int (*f)(void))
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        alarm((unsigned)(LIMIT_S *
                         test_slowness())); /* whoever sleeps on ends with a test that failed */
        _exit(f());
    }
    return pid;
}

static int status_of(pid_t pid)
{
    int status = -1;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_ends_with(pid_t pid, int code)
{
    int status = status_of(pid);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static int sleep_on(_Atomic uint32_t *word)
{
    int r;

    atomic_fetch_add(&stage->begun, 1);
    r = mp_sleep_on_word(word, 0, stage->deadline);
    atomic_fetch_add(&stage->ended, 1);
    if (r == -ETIMEDOUT)
        return mp_now() >= stage->deadline ? LATE : EARLY;
    return r == 0 ? WOKEN : FAILED;
}

static int sleep_on_it(void)
{
    return sleep_on(&stage->word);
}

static pid_t start_sleeper(int (*f)(void))
{
    const uint32_t begun = atomic_load(&stage->begun);
    pid_t pid = start(f);

    while (atomic_load(&stage->begun) == begun)
        sched_yield();
    test_falls_asleep(pid);
    return pid;
}

/* Who was woken is not asleep, from the moment of the wake on, until it has said so. */
static void assert_sleeps_on(pid_t pid, uint32_t ended)
{
    assert_true(test_is_asleep(pid));
    assert_int_equal(atomic_load(&stage->ended), ended);
}

/* ---- sleepers -------------------------------------------------------------------------------- */

static void a_word_that_is_another_already_puts_nobody_to_sleep(void **state)
{
    (void)state;
    open_stage();
    atomic_store(&stage->word, 7);
    assert_int_equal(mp_sleep_on_word(&stage->word, 8, at_last()), 0);
    assert_int_equal(mp_sleep_on_word(&stage->word, 0, at_last()), 0);
    assert_int_equal(mp_sleep_on_word(&stage->word, 7 | MP_OWNED, at_last()), 0);
    assert_int_equal(mp_sleep_on_word(&stage->word, UINT32_MAX, MP_FOREVER), 0);
    atomic_store(&stage->word, UINT32_MAX);
    assert_int_equal(mp_sleep_on_word(&stage->word, 7, MP_FOREVER), 0);
    close_stage();
}

static void a_sleeper_in_another_process_is_woken(void **state)
{
    (void)state;
    open_stage();
    for (int i = 0; i < 20; i++) {
        pid_t pid = start_sleeper(sleep_on_it);

        mp_wake_on_word(&stage->word, 1);
        assert_ends_with(pid, WOKEN);
    }
    close_stage();
}

static void a_word_that_changes_wakes_nobody_by_itself(void **state)
{
    pid_t pid;

    (void)state;
    open_stage();
    pid = start_sleeper(sleep_on_it);
    atomic_store(&stage->word, 1);
    assert_sleeps_on(pid, 0);
    mp_wake_on_word(&stage->word, 1);
    assert_ends_with(pid, WOKEN);
    close_stage();
}

static int sleep_on_the_next(void)
{
    return sleep_on(&stage->next);
}

static void a_wake_on_another_word_wakes_him_not(void **state)
{
    pid_t pid, other;

    (void)state;
    open_stage();
    pid = start_sleeper(sleep_on_it);
    mp_wake_on_word(&stage->next, UINT32_MAX);
    assert_sleeps_on(pid, 0);
    other = start_sleeper(sleep_on_the_next);
    mp_wake_on_word(&stage->next, UINT32_MAX);
    assert_true(test_is_asleep(pid));
    assert_ends_with(other, WOKEN);
    assert_sleeps_on(pid, 1);
    mp_wake_on_word(&stage->word, 1);
    assert_ends_with(pid, WOKEN);
    close_stage();
}

/* Exactly so many of the sleepers end, and are struck out. */
static void assert_wakes(pid_t pids[SLEEPERS], uint32_t count, uint32_t expected)
{
    const uint32_t ended = atomic_load(&stage->ended);

    mp_wake_on_word(&stage->word, count);
    for (uint32_t i = 0; i < expected; i++) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);

        assert_int_equal(status, WOKEN << 8);
        for (int k = 0; k < SLEEPERS; k++)
            if (pids[k] == pid)
                pids[k] = 0;
    }
    for (int k = 0; k < SLEEPERS; k++)
        if (pids[k] > 0)
            assert_sleeps_on(pids[k], ended + expected);
}

static void of_many_sleepers_so_many_are_woken_as_one_says(void **state)
{
    pid_t pids[SLEEPERS];

    (void)state;
    open_stage();
    for (int i = 0; i < SLEEPERS; i++)
        pids[i] = start_sleeper(sleep_on_it);
    assert_wakes(pids, 1, 1);
    assert_wakes(pids, 2, 2);
    assert_wakes(pids, UINT32_MAX, SLEEPERS - 3);
    mp_wake_on_word(&stage->word, UINT32_MAX); /* nobody is there */
    close_stage();
}

/* ---- the deadline ---------------------------------------------------------------------------- */

static void a_sleep_ends_at_the_deadline_and_not_before(void **state)
{
    (void)state;
    open_stage();
    for (int i = 0; i < 20; i++) {
        int64_t deadline = mp_now() + (int64_t)i * 1000001;

        assert_int_equal(mp_sleep_on_word(&stage->word, 0, deadline), -ETIMEDOUT);
        assert_true(mp_now() >= deadline);
    }
    close_stage();
}

static void a_deadline_of_more_than_a_second_is_kept(void **state)
{
    int64_t deadline;

    (void)state;
    open_stage();
    deadline = mp_deadline(1100);
    assert_int_equal(mp_sleep_on_word(&stage->word, 0, deadline), -ETIMEDOUT);
    assert_true(mp_now() >= deadline);
    close_stage();
}

static void after_the_deadline_nobody_falls_asleep(void **state)
{
    (void)state;
    open_stage();
    assert_int_equal(mp_sleep_on_word(&stage->word, 0, mp_now()), -ETIMEDOUT);
    assert_int_equal(mp_sleep_on_word(&stage->word, 0, mp_now() - 1), -ETIMEDOUT);
    assert_int_equal(mp_sleep_on_word(&stage->word, 0, 1), -ETIMEDOUT);
    assert_int_equal(mp_sleep_on_word(&stage->word, 0, 0), -ETIMEDOUT);
    close_stage();
}

static void a_deadline_in_thirty_years_is_one(void **state)
{
    const int64_t years = (int64_t)30 * 365 * 86400 * 1000; /* the longest there is */
    pid_t pid;

    (void)state;
    open_stage();
    stage->deadline = mp_deadline(years);
    assert_true(stage->deadline != MP_FOREVER);
    pid = start_sleeper(sleep_on_it);
    mp_wake_on_word(&stage->word, 1);
    assert_ends_with(pid, WOKEN);
    close_stage();
}

/* ---- signals --------------------------------------------------------------------------------- */

static void count_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&stage->signals, 1);
}

static int sleep_with_a_handler(void)
{
    struct sigaction action = {0}; /* no SA_RESTART */

    action.sa_handler = count_signal;
    sigaction(SIGUSR1, &action, NULL);
    return sleep_on_it();
}

static void signals_end_no_sleep(void **state)
{
    pid_t pid;

    (void)state;
    open_stage();
    pid = start_sleeper(sleep_with_a_handler);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(kill(pid, SIGUSR1), 0);
        assert_true(test_falls_asleep(pid));
        assert_int_equal(atomic_load(&stage->ended), 0);
    }
    mp_wake_on_word(&stage->word, 1);
    assert_ends_with(pid, WOKEN);
    assert_true(atomic_load(&stage->signals) > 0);
    close_stage();
}

/* As long as it sleeps they go on. */
static int end_of_one_that_is_disturbed(void)
{
    int64_t end;
    pid_t pid;

    stage->deadline = mp_deadline(300);
    pid = start_sleeper(sleep_with_a_handler);
    for (end = at_last(); test_falls_asleep(pid) && mp_now() < end;)
        kill(pid, SIGUSR1);
    if (mp_now() >= end)
        kill(pid, SIGKILL);
    return status_of(pid);
}

static void nor_do_they_make_it_shorter_or_longer(void **state)
{
    (void)state;
    open_stage();
    do /* on a busy machine it may be over before the first */
        assert_int_equal(end_of_one_that_is_disturbed(), LATE << 8);
    while (atomic_load(&stage->signals) == 0);
    close_stage();
}

/* ---- an owner -------------------------------------------------------------------------------- */

static bool own(void)
{
    int r = mp_own_word(&stage->word);

    atomic_store(&stage->owned, r ? r : 1);
    return r == 0;
}

static pid_t start_owner(int (*f)(void))
{
    pid_t pid;

    atomic_store(&stage->owned, 0);
    atomic_store(&stage->begun, 0);
    pid = start(f);
    while (atomic_load(&stage->owned) == 0)
        sched_yield();
    if (atomic_load(&stage->owned) != -ENOSYS) {
        assert_int_equal(atomic_load(&stage->owned), 1);
        return pid;
    }
    status_of(pid);
    close_stage();
    skip();
    return -1;
}

/* The owner's part: who began the test says that it will sleep, and does. */
static bool parent_sleeps(void)
{
    while (atomic_load(&stage->begun) == 0)
        sched_yield();
    return test_falls_asleep(getppid());
}

/* And the parent's: the owner ends when this sleeps. */
static void assert_woken_from(uint32_t word)
{
    atomic_store(&stage->begun, 1);
    assert_int_equal(mp_sleep_on_word(&stage->word, word, at_last()), 0);
}

static int own_and_exit(void)
{
    return own() && parent_sleeps() ? 0 : 1;
}

static int own_and_be_killed(void)
{
    if (own() && parent_sleeps())
        raise(SIGKILL);
    return 1;
}

static int own_and_crash(void)
{
    const struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGSEGV, SIG_DFL);
    if (own() && parent_sleeps())
        raise(SIGSEGV);
    return 1;
}

static void assert_rings_at_the_end(int (*f)(void), int expected)
{
    open_stage();
    for (int i = 0; i < 5; i++) {
        pid_t pid;

        atomic_store(&stage->word, MP_OWNED);
        pid = start_owner(f);
        assert_int_equal(atomic_load(&stage->word), MP_OWNED | (uint32_t)pid);
        assert_woken_from(MP_OWNED | (uint32_t)pid);
        assert_int_equal(atomic_load(&stage->word), MP_OWNED | MP_RUNG);
        assert_int_equal(status_of(pid) & ~0x80, expected); /* with a core or not */
    }
    close_stage();
}

static void an_owner_that_exits_rings(void **state)
{
    (void)state;
    assert_rings_at_the_end(own_and_exit, 0);
}

static void an_owner_that_is_killed_rings(void **state)
{
    (void)state;
    assert_rings_at_the_end(own_and_be_killed, SIGKILL);
}

static void an_owner_that_crashes_rings(void **state)
{
    (void)state;
    assert_rings_at_the_end(own_and_crash, SIGSEGV);
}

static void what_has_rung_before_it_has_an_owner_has_rung(void **state)
{
    pid_t pid;

    (void)state;
    open_stage();
    atomic_store(&stage->word, MP_OWNED | MP_RUNG);
    pid = start_owner(own_and_exit);
    assert_int_equal(atomic_load(&stage->word), MP_OWNED | MP_RUNG | (uint32_t)pid);
    assert_woken_from(MP_OWNED | MP_RUNG | (uint32_t)pid);
    assert_int_equal(atomic_load(&stage->word), MP_OWNED | MP_RUNG);
    assert_int_equal(status_of(pid), 0);
    close_stage();
}

static int own_and_fork(void)
{
    pid_t pid;
    int status;

    if (!own())
        return 1;
    pid = fork();
    if (pid == 0)
        _exit(0);
    if (waitpid(pid, &status, 0) != pid)
        return 2;
    atomic_store(&stage->forked, true);
    return parent_sleeps() ? 0 : 3;
}

static void the_end_of_a_fork_of_the_owner_does_not_ring(void **state)
{
    pid_t pid;

    (void)state;
    open_stage();
    atomic_store(&stage->word, MP_OWNED);
    pid = start_owner(own_and_fork);
    while (!atomic_load(&stage->forked))
        sched_yield();
    assert_int_equal(atomic_load(&stage->word), MP_OWNED | (uint32_t)pid);
    assert_woken_from(MP_OWNED | (uint32_t)pid);
    assert_int_equal(atomic_load(&stage->word), MP_OWNED | MP_RUNG);
    assert_int_equal(status_of(pid), 0);
    close_stage();
}

static int own_until_told(void)
{
    if (!own())
        return 1;
    while (atomic_load(&stage->begun) == 0)
        sched_yield();
    return 0;
}

static void a_word_with_the_number_of_another_is_left_alone(void **state)
{
    (void)state;
    open_stage();
    for (int i = 0; i < 6; i++) {
        pid_t pid;
        uint32_t words[6] = {0, 1, MP_OWNED, MP_OWNED | MP_RUNG, UINT32_MAX};

        atomic_store(&stage->word, MP_OWNED);
        pid = start_owner(own_until_told);
        words[5] = MP_OWNED | ((uint32_t)pid + 1);
        atomic_store(&stage->word, words[i]);
        atomic_store(&stage->begun, 1);
        assert_int_equal(status_of(pid), 0);
        assert_int_equal(atomic_load(&stage->word), words[i]);
    }
    close_stage();
}

static const struct CMUnitTest tests[] = {
    TEST(a_word_that_is_another_already_puts_nobody_to_sleep),
    TEST(a_sleeper_in_another_process_is_woken),
    TEST(a_word_that_changes_wakes_nobody_by_itself),
    TEST(a_wake_on_another_word_wakes_him_not),
    TEST(of_many_sleepers_so_many_are_woken_as_one_says),
    TEST(a_sleep_ends_at_the_deadline_and_not_before),
    TEST(a_deadline_of_more_than_a_second_is_kept),
    TEST(after_the_deadline_nobody_falls_asleep),
    TEST(a_deadline_in_thirty_years_is_one),
    TEST(signals_end_no_sleep),
    TEST(nor_do_they_make_it_shorter_or_longer),
    TEST(an_owner_that_exits_rings),
    TEST(an_owner_that_is_killed_rings),
    TEST(an_owner_that_crashes_rings),
    TEST(what_has_rung_before_it_has_an_owner_has_rung),
    TEST(the_end_of_a_fork_of_the_owner_does_not_ring),
    TEST(a_word_with_the_number_of_another_is_left_alone),
};

int main(void)
{
    return TEST_MAIN(tests);
}
