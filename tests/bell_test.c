/* SPDX-License-Identifier: MIT */
/*
 * The bell as a word: it remembers that it rang, it wakes the host, it tells the end of its owner, and
 * of a host that goes to sleep and one who rings one sees the other.
 */
#include "meet.h"
#include "support.h"

#include "shm/bell.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_S = 60, OWNER = 4711 };

#define MIB ((uint64_t)1 << 20)

static struct region region;

/* What the two share beside the region. */
static struct parties {
    uint32_t saw;          /* the host, of what was left */
    uint32_t word;         /* on which it would sleep */
    _Atomic uint32_t left; /* by the other */
    _Atomic uint32_t seen; /* by the host */
    _Atomic bool about_to_sleep;
    _Atomic bool owned;
    _Atomic uint32_t spare; /* a word to own, to see whether one can */
} * parties;

static void open_bell(void)
{
    if (!mp_can_sleep_on_words())
        skip();
    assert_int_equal(mp_region_open(&region, 1, MIB), 0);
    mp_region_reset(&region);
    parties = test_share(sizeof *parties);
}

static void close_bell(void)
{
    test_unshare(parties, sizeof *parties);
    mp_region_close(&region);
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
        alarm((unsigned)(LIMIT_S * test_slowness())); /* ends with a test that failed */
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

/* In the child: once the test sleeps, which said that it will. */
static bool parent_sleeps(void)
{
    while (!atomic_load(&parties->about_to_sleep))
        sched_yield();
    return test_falls_asleep(getppid());
}

static int sleep_on_bell(void)
{
    uint32_t word = mp_bell_word(&region);

    atomic_store(&parties->about_to_sleep, true);
    return mp_bell_sleep(&region, word, at_last());
}

/* ---- one at a time --------------------------------------------------------------------------- */

static void it_remembers_that_it_rang(void **state)
{
    uint32_t silent;

    (void)state;
    open_bell();
    silent = mp_bell_word(&region);
    assert_int_equal(silent, MP_OWNED);
    for (int i = 0; i < 3; i++) {
        mp_bell_ring(&region);
        assert_int_equal(mp_bell_word(&region), MP_OWNED | MP_RUNG);
        assert_int_equal(mp_bell_sleep(&region, silent, at_last()), 0);
    }
    close_bell();
}

static void a_bell_that_is_silenced_has_not_rung(void **state)
{
    (void)state;
    open_bell();
    mp_bell_silence(&region);
    assert_int_equal(mp_bell_word(&region), MP_OWNED);
    for (int i = 0; i < 3; i++) {
        mp_bell_ring(&region);
        mp_bell_ring(&region);
        mp_bell_silence(&region);
        assert_int_equal(mp_bell_word(&region), MP_OWNED);
        assert_int_equal(mp_bell_sleep(&region, MP_OWNED, mp_deadline(1)), -ETIMEDOUT);
    }
    close_bell();
}

static void neither_changes_whose_it_is(void **state)
{
    (void)state;
    open_bell();
    atomic_store(&mp_region_pool(&region)->bell, MP_OWNED | OWNER);
    mp_bell_ring(&region);
    assert_int_equal(mp_bell_word(&region), MP_OWNED | MP_RUNG | OWNER);
    mp_bell_silence(&region);
    assert_int_equal(mp_bell_word(&region), MP_OWNED | OWNER);
    close_bell();
}

/* ---- another process ------------------------------------------------------------------------- */

static int ring_while_parent_sleeps(void)
{
    if (!parent_sleeps())
        return 1;
    mp_bell_ring(&region);
    return 0;
}

static void who_rings_wakes_the_host(void **state)
{
    (void)state;
    open_bell();
    for (int i = 0; i < 20; i++) {
        pid_t pid;

        atomic_store(&parties->about_to_sleep, false);
        pid = start(ring_while_parent_sleeps);
        assert_int_equal(sleep_on_bell(), 0);
        assert_int_equal(mp_bell_word(&region), MP_OWNED | MP_RUNG);
        mp_bell_silence(&region);
        assert_int_equal(status_of(pid), 0);
    }
    close_bell();
}

enum { CANNOT_OWN = 77 };

static int own_until_parent_sleeps(void)
{
    bool can = mp_own_word(&parties->spare) != -ENOSYS;

    mp_bell_own(&region);
    atomic_store(&parties->owned, true);
    if (!can)
        return CANNOT_OWN;
    if (parent_sleeps())
        raise(SIGKILL);
    return 1;
}

static void the_end_of_its_owner_rings(void **state)
{
    bool can = true;

    (void)state;
    open_bell();
    for (int i = 0; i < 5 && can; i++) {
        uint32_t word;
        int slept = 0, status;
        pid_t pid;

        mp_region_reset(&region);
        atomic_store(&parties->owned, false);
        atomic_store(&parties->about_to_sleep, false);
        pid = start(own_until_parent_sleeps);
        while (!atomic_load(&parties->owned))
            sched_yield();
        word = mp_bell_word(&region);
        if (word != MP_OWNED)
            slept = sleep_on_bell();
        atomic_store(&parties->about_to_sleep, true);
        status = status_of(pid);
        can = status != CANNOT_OWN << 8;
        if (!can)
            break;
        assert_int_equal(word, MP_OWNED | (uint32_t)pid);
        assert_int_equal(slept, 0);
        assert_int_equal(mp_bell_word(&region), MP_OWNED | MP_RUNG);
        assert_int_equal(status, SIGKILL);
    }
    close_bell();
    if (!can)
        skip();
}

/* ---- at the same time ------------------------------------------------------------------------ */

static void leave_and_ring(uint32_t what)
{
    atomic_store(&parties->left, what);
    if (atomic_load(&mp_region_pool(&region)->host_waits) != HOST_AWAKE)
        mp_bell_ring(&region);
}

static uint32_t rounds(void)
{
    return (uint32_t)test_count(50000, 5000000);
}

/* The next is left when the last was seen: whoever slept on would not see it. */
static int leave_one_after_the_other(void)
{
    for (uint32_t i = 1; i <= rounds(); i++) {
        leave_and_ring(i);
        while (atomic_load(&parties->seen) < i)
            sched_yield();
    }
    return 0;
}

static uint32_t say_so_and_look(void)
{
    atomic_store(&mp_region_pool(&region)->host_waits, HOST_WAITS);
    return atomic_load(&parties->left);
}

/* As the host does: 0, or what the sleep said. */
static int sleep_until_more_than(uint32_t seen)
{
    int r = 0;

    if (say_so_and_look() == seen) {
        uint32_t word = mp_bell_word(&region);

        if (!(word & MP_RUNG))
            r = mp_bell_sleep(&region, word, at_last());
        mp_bell_silence(&region);
    }
    atomic_store(&mp_region_pool(&region)->host_waits, HOST_AWAKE);
    return r;
}

static void no_ring_is_lost(void **state)
{
    int r = 0;
    pid_t pid;

    (void)state;
    open_bell();
    pid = start(leave_one_after_the_other);
    for (uint32_t seen = 0; r == 0 && seen < rounds();) {
        r = sleep_until_more_than(seen);
        seen = atomic_load(&parties->left);
        atomic_store(&parties->seen, seen);
    }
    if (r)
        kill(pid, SIGKILL);
    assert_int_equal(status_of(pid), 0);
    assert_int_equal(r, 0);
    close_bell();
}

/* ---- between any two instructions -------------------------------------------------------------- */

static void begin_silent(void)
{
    mp_region_reset(&region);
    atomic_store(&parties->left, 0);
    parties->saw = 0;
    parties->word = 0;
}

/* It was rung for what is seen by now, and again the host waits. */
static void begin_rung(void)
{
    begin_silent();
    mp_bell_ring(&region);
    atomic_store(&mp_region_pool(&region)->host_waits, HOST_WAITS);
}

static void begin_owned(void)
{
    begin_rung();
    atomic_fetch_or(&mp_region_pool(&region)->bell, OWNER);
}

static void go_to_sleep(void)
{
    parties->saw = say_so_and_look();
    parties->word = mp_bell_word(&region);
}

static void silence_and_go_to_sleep(void)
{
    mp_bell_silence(&region);
    go_to_sleep();
}

static void silence(void)
{
    mp_bell_silence(&region);
}

static void leave_something_and_ring(void)
{
    leave_and_ring(1);
}

/* What the system does, in one step. */
static void own(void)
{
    atomic_fetch_or(&mp_region_pool(&region)->bell, OWNER);
}

static void own_no_more(void)
{
    atomic_store(&mp_region_pool(&region)->bell, MP_OWNED | MP_RUNG);
}

/* The host saw what was left; or it has rung; or another word is there than it would sleep on. */
static bool it_does_not_sleep_on(void)
{
    return parties->saw || parties->word & MP_RUNG || parties->word != mp_bell_word(&region);
}

static bool it_is_owned(void)
{
    return (mp_bell_word(&region) & MP_OWNER) == OWNER;
}

static bool nobody_owns_it(void)
{
    return (mp_bell_word(&region) & MP_OWNER) == 0;
}

static void assert_holds_wherever_they_meet(const struct meeting *meeting)
{
    uint32_t steps;

    open_bell();
    steps = test_meet(meeting);
    close_bell();
    if (!steps)
        skip();
    assert_true(steps > 2); /* to silence it takes no more */
}

static void a_host_that_goes_to_sleep_sees_or_is_rung_for(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(&(struct meeting){
        begin_silent, go_to_sleep, leave_something_and_ring, it_does_not_sleep_on});
}

static void who_leaves_something_rings_or_is_seen(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(&(struct meeting){begin_silent, leave_something_and_ring,
                                                      go_to_sleep, it_does_not_sleep_on});
}

static void what_is_rung_for_is_not_silenced_unseen(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(&(struct meeting){
        begin_rung, silence_and_go_to_sleep, leave_something_and_ring, it_does_not_sleep_on});
    assert_holds_wherever_they_meet(&(struct meeting){
        begin_rung, leave_something_and_ring, silence_and_go_to_sleep, it_does_not_sleep_on});
}

static void silence_takes_no_notice_of_whose_it_becomes(void **state)
{
    (void)state;
    assert_holds_wherever_they_meet(&(struct meeting){begin_rung, silence, own, it_is_owned});
    assert_holds_wherever_they_meet(
        &(struct meeting){begin_owned, silence, own_no_more, nobody_owns_it});
}

static const struct CMUnitTest tests[] = {
    TEST(it_remembers_that_it_rang),
    TEST(a_bell_that_is_silenced_has_not_rung),
    TEST(neither_changes_whose_it_is),
    TEST(who_rings_wakes_the_host),
    TEST(the_end_of_its_owner_rings),
    TEST(no_ring_is_lost),
    TEST(a_host_that_goes_to_sleep_sees_or_is_rung_for),
    TEST(who_leaves_something_rings_or_is_seen),
    TEST(what_is_rung_for_is_not_silenced_unseen),
    TEST(silence_takes_no_notice_of_whose_it_becomes),
};

int main(void)
{
    return TEST_MAIN(tests);
}
