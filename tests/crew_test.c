/* SPDX-License-Identifier: MIT */
/* The one fork of a generation: its hooks, what the host keeps of it, and how it ends. */
#include "support.h"

#include "pool/generation.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2, MIB = 1 << 20 };

static struct region region;
static struct generation generation;
static char order[8]; /* of the hooks; each process has its own copy */
static int told[2];   /* a worker writes what its copy says */

static void before(void)
{
    strcat(order, "b");
}

static void parent(void)
{
    strcat(order, "p");
}

static void child(void)
{
    strcat(order, "c");
}

static int32_t tell_order(int32_t worker, void *arg)
{
    (void)worker;
    (void)arg;
    return write(told[1], order, 4) == 4 ? 0 : 1;
}

static void start(void)
{
    mproc_pool_options options = {.size = sizeof options,
                                  .before_fork = before,
                                  .parent_fork = parent,
                                  .child_fork = child,
                                  .init = tell_order,
                                  .keep_descriptors = 1};

    memset(order, 0, sizeof order);
    assert_int_equal(pipe(told), 0);
    assert_int_equal(mp_region_open(&region, WORKERS, MIB), 0);
    assert_int_equal(mp_generation_start(&generation, &region, &options), 0);
}

static void until_bell_ends(void)
{
    while (mp_generation_sleep(&generation, MP_FOREVER, false) != AWAKE_BELL_ENDED)
        ;
}

static void finish(void)
{
    mp_region_close(&region);
    close(told[0]);
    close(told[1]);
}

static void the_hooks_of_the_host_run_around_its_fork_and_the_childs_in_each_worker(void **state)
{
    char text[4];

    (void)state;
    start();
    assert_string_equal(order, "bp");
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(read(told[0], text, sizeof text), sizeof text);
        assert_memory_equal(text, "bc\0", 4);
    }
    mp_generation_kill(&generation, GRACE_MS);
    until_bell_ends();
    assert_int_equal(mp_generation_finish(&generation), 0);
    finish();
}

static void the_writing_end_of_the_bell_is_the_crews_alone(void **state)
{
    (void)state;
    start();
    assert_int_equal(generation.fds[BELL_WRITE], -1);
    mp_generation_kill(&generation, GRACE_MS);
    until_bell_ends();
    mp_generation_finish(&generation);
    finish();
}

static void a_crew_that_is_killed_says_so_when_it_is_waited_for(void **state)
{
    int status;

    (void)state;
    start();
    mp_crew_kill(&generation);
    until_bell_ends(); /* the workers go with their supervisor */
    status = mp_crew_wait(&generation, mp_deadline(10000));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(mp_crew_wait(&generation, mp_deadline(1000)), -1); /* it was reaped */
    mp_generation_finish(&generation);
    finish();
}

static void a_crew_that_goes_on_is_waited_for_until_the_deadline(void **state)
{
    (void)state;
    start();
    assert_int_equal(mp_crew_wait(&generation, mp_deadline(20)), -1);
    assert_int_equal(waitpid(generation.supervisor, NULL, WNOHANG), 0); /* alive */
    mp_generation_kill(&generation, GRACE_MS);
    until_bell_ends();
    mp_generation_finish(&generation);
    finish();
}

static const struct CMUnitTest tests[] = {
    TEST(the_hooks_of_the_host_run_around_its_fork_and_the_childs_in_each_worker),
    TEST(the_writing_end_of_the_bell_is_the_crews_alone),
    TEST(a_crew_that_is_killed_says_so_when_it_is_waited_for),
    TEST(a_crew_that_goes_on_is_waited_for_until_the_deadline),
};

int main(void)
{
    return TEST_MAIN(tests);
}
