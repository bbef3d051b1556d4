/* SPDX-License-Identifier: MIT */
/*
 * Real limits: the life of a pool and of a process under a limit of the system, from the smallest
 * up until all goes well.  Each time every call ends with what it is to come to or with an error
 * that its header names, and nothing is left.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#ifdef __SANITIZE_ADDRESS__
#define ADDRESS_SPACE_IS_FREE 0
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define ADDRESS_SPACE_IS_FREE 0
#endif
#endif
#ifndef ADDRESS_SPACE_IS_FREE
#define ADDRESS_SPACE_IS_FREE 1
#endif

enum { WORKERS = 2, HANG_SECONDS = 30 };
enum { WELL, REFUSED, WRONG, CANNOT }; /* exit codes: the last, that there is no such limit here */

/* ---- a life ---------------------------------------------------------------------------------- */

static _Noreturn void wrong(const char *what, long value)
{
    fprintf(stderr, "%s: %ld (%s)\n", what, value, value < 0 ? mproc_strerror((int)value) : "");
    _exit(WRONG);
}

static bool may_break; /* the pool may come to lack a process that it cannot do without */

/* Did a call come to what it is to come to?  Else it has to be for want of something. */
static bool came_to(const char *what, int r, int expected)
{
    if (r == expected)
        return true;
    if (r != -ENOMEM && r != -ENOSPC && r != -EAGAIN && r != -EMFILE && r != -ENFILE &&
        !(may_break && r == MPROC_EBROKEN))
        wrong(what, r);
    return false;
}

static int32_t echo(mproc_task *task, void *ctx)
{
    size_t length;
    const void *in = mproc_task_input(task, &length);

    (void)ctx;
    memcpy(mproc_task_output(task, length), in, length);
    return 0;
}

enum { ITEMS = 600, FATAL = 3 };

struct item {
    uint64_t number;
    char more[504];
};

static int32_t fill(const void *in, void *out, void *ctx)
{
    uint64_t number = *(const uint64_t *)in;

    (void)ctx;
    if (number % 100 == FATAL)
        raise(SIGKILL);
    if (out) {
        memset(out, (int)number, sizeof(struct item));
        ((struct item *)out)->number = number;
    }
    return 0;
}

/* An item that found no page for its result died of that: no result is wrong.  Without results
 * there is memory enough to begin, but perhaps not to say how an item died. */
static bool map(mproc_pool *pool, bool with_results)
{
    static struct item out[ITEMS];
    static int32_t statuses[ITEMS];
    mproc_map_options options = {.size = sizeof options, .statuses = statuses};
    int crashed = 0;
    int r = mproc_pool_map(pool, fill, NULL, NULL, 0, with_results ? out : NULL,
                           with_results ? sizeof out[0] : 0, ITEMS, &options);

    if (r < 0)
        return came_to("map", r, ITEMS / 100);
    for (uint64_t i = 0; i < ITEMS; i++) {
        if (statuses[i] != 0 && statuses[i] != MPROC_ECRASHED)
            wrong("status", statuses[i]);
        if (i % 100 == FATAL && statuses[i] == 0)
            wrong("an item that died", (long)i);
        if (with_results && statuses[i] == 0 && (out[i].number != i || out[i].more[503] != (char)i))
            wrong("result", (long)i);
        crashed += statuses[i] != 0;
    }
    if (r != crashed)
        wrong("the number of failures", r);
    return crashed == ITEMS / 100;
}

static bool live_with(mproc_pool *pool)
{
    uint64_t out = 0;
    size_t length;
    int r = mproc_pool_call(pool, echo, NULL, &(uint64_t){77}, sizeof out, &out, sizeof out,
                            &length, NULL);

    if (r == 0 && (length != sizeof out || out != 77))
        wrong("result of call", (long)out);
    if (r == MPROC_ECRASHED) /* no page for its output */
        return false;
    return came_to("call", r, 0) && map(pool, false) && map(pool, true);
}

static int32_t seven(void *arg)
{
    (void)arg;
    return 7;
}

static bool live_with_process(void)
{
    mproc_process *process;
    int32_t code = 0;
    int r = mproc_spawn(&process, seven, NULL, NULL);

    if (!came_to("spawn", r, 0))
        return false;
    r = mproc_join(process, -1, &code);
    if (r || code != 7)
        wrong("join", r ? r : code);
    mproc_process_free(process);
    return true;
}

/* A limit is set by a function: 0, or CANNOT. */
typedef int (*limit_fn)(uint64_t value);

struct trial {
    limit_fn before; /* this limit is there before the pool is made, and the other after; or NULL */
    limit_fn after;
    limit_fn lift; /* before it is looked what was left */
    bool may_break;
    bool may_kill; /* the system may kill the host, too */
    uint64_t value;
};

static int live(void *arg)
{
    const struct trial *trial = arg;
    char *census;
    mproc_pool *pool;
    bool well;
    int r;

    alarm((unsigned)(HANG_SECONDS * test_slowness()));
    r = trial->before && trial->lift == NULL ? trial->before(trial->value) : 0;
    census = test_census();
    if (trial->before && trial->lift)
        r = trial->before(trial->value);
    if (r)
        return r;
    well = came_to("create", mproc_pool_create(&pool, WORKERS, NULL), 0);
    if (well) {
        if (trial->after && trial->after(trial->value))
            return CANNOT;
        well = live_with(pool);
        mproc_pool_destroy(pool);
    }
    well &= live_with_process();
    if (trial->lift)
        trial->lift(trial->value);
    if (!test_census_holds(census))
        return WRONG;
    return well ? WELL : REFUSED;
}

/* From the smallest up, until all goes well. */
static void climb(struct trial *trial, uint64_t first, uint64_t (*next)(uint64_t value))
{
    unsigned refused = 0;

    may_break = trial->may_break;
    for (trial->value = first;; trial->value = next(trial->value)) {
        char *census = test_census();
        int status = test_run_child(live, trial);

        assert_true(test_census_holds(census)); /* of a host that was killed, too */
        if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
            skip();
        if (status == 0)
            break;
        if (!(WIFEXITED(status) && WEXITSTATUS(status) == REFUSED) &&
            !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && trial->may_kill))
            fail_msg("at %llu: status %#x", (unsigned long long)trial->value, (unsigned)status);
        refused++;
    }
    print_message("well at %llu, after %u that were refused\n", (unsigned long long)trial->value,
                  refused);
}

static uint64_t one_more(uint64_t value)
{
    return value + 1;
}

/* ---- limits of a process --------------------------------------------------------------------- */

static int limited;         /* the resource of the trial */
static struct rlimit usual; /* its limit before */

static int set_rlimit(uint64_t value)
{
    struct rlimit limit;

    getrlimit(limited, &usual);
    limit = usual;
    if (value < limit.rlim_cur)
        limit.rlim_cur = (rlim_t)value;
    return setrlimit(limited, &limit) ? CANNOT : 0;
}

static int lift_rlimit(uint64_t value)
{
    (void)value;
    return setrlimit(limited, &usual) ? CANNOT : 0;
}

static void with_few_descriptors_it_is_refused_or_well(void **state)
{
    struct trial trial = {.before = set_rlimit, .lift = lift_rlimit, .may_break = true};

    (void)state;
    limited = RLIMIT_NOFILE;
    climb(&trial, 3, one_more);
}

/* What it has now, and so much more; in steps that grow. */
static uint64_t size_now;

static int set_rlimit_above(uint64_t value)
{
    return set_rlimit(size_now + value);
}

static uint64_t somewhat_more(uint64_t value)
{
    return value + value / (test_count(1, 8) > 1 ? 16 : 2) + 65536;
}

static uint64_t read_size_now(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;

    if (!file || fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void with_little_address_space_it_is_refused_or_well(void **state)
{
    struct trial trial = {.before = set_rlimit_above, .lift = lift_rlimit};

    (void)state;
    size_now = read_size_now();
    if (!ADDRESS_SPACE_IS_FREE || test_under_valgrind() || !size_now)
        skip();
    limited = RLIMIT_AS;
    climb(&trial, 0, somewhat_more);
}

static void with_little_data_it_is_refused_or_well(void **state)
{
    struct trial trial = {.before = set_rlimit_above, .lift = lift_rlimit};

    (void)state;
    size_now = 0;
    if (!ADDRESS_SPACE_IS_FREE || test_under_valgrind())
        skip();
    limited = RLIMIT_DATA;
    climb(&trial, 1, somewhat_more); /* of 0 Linux thinks that it is not meant */
}

static uint64_t four_times(uint64_t value)
{
    return value ? value * 4 : 1;
}

static void with_small_files_it_is_refused_or_well(void **state)
{
    struct trial trial = {.before = set_rlimit, .lift = lift_rlimit};

    (void)state;
    limited = RLIMIT_FSIZE;
    climb(&trial, 0, four_times);
}

static void a_limit_of_files_that_comes_later_kills_nobody(void **state)
{
    struct trial trial = {.after = set_rlimit, .lift = lift_rlimit};

    (void)state;
    limited = RLIMIT_FSIZE;
    getrlimit(limited, &usual);
    climb(&trial, 0, four_times);
}

/* ---- limits of a user ------------------------------------------------------------------------ */

enum { FIRST_USER = 60000, USERS = 5000 };

/* As a user whom nobody else is. */
static int set_processes(uint64_t value)
{
    const struct rlimit limit = {(rlim_t)value, (rlim_t)value};
    uid_t user = (uid_t)(FIRST_USER + getpid() % USERS);

    if (getuid() != 0 || setrlimit(RLIMIT_NPROC, &limit) || setgid(user) || setuid(user))
        return CANNOT;
#ifdef __linux__
    prctl(PR_SET_DUMPABLE, 1); /* or it may not look at itself in /proc */
#endif
    return 0;
}

static void with_few_processes_it_is_refused_or_well(void **state)
{
    struct trial trial = {.before = set_processes, .may_break = true};

    (void)state;
    climb(&trial, 0, one_more);
}

/* ---- limits of memory ------------------------------------------------------------------------ */

#ifdef __linux__

enum { NEW_MOUNTS = 0x20000 }; /* CLONE_NEWNS, which glibc names with _GNU_SOURCE alone */

/* Where the arena is POSIX shared memory, it lies here. */
static int mount_small(uint64_t value)
{
    char options[64];

    snprintf(options, sizeof options, "size=%llu", (unsigned long long)value);
    if (syscall(SYS_unshare, NEW_MOUNTS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("mproc-test", "/dev/shm", "tmpfs", 0, options))
        return CANNOT;
    return 0;
}

static uint64_t some_pages_more(uint64_t value)
{
    return value + (test_count(1, 8) > 1 ? 4096 : 8 * 4096);
}

static void with_little_shared_memory_it_is_refused_or_well(void **state)
{
    struct trial trial = {.before = mount_small};

    (void)state;
    climb(&trial, 4096, some_pages_more);
}

/* A memory cgroup of version 1 or 2, for one trial after the other. */
static char cgroup[128];

static bool write_line(const char *directory, const char *name, uint64_t value)
{
    char path[256];
    FILE *file;
    bool written;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "we");
    if (!file)
        return false;
    written = fprintf(file, "%llu\n", (unsigned long long)value) > 0;
    return fclose(file) == 0 && written;
}

static bool make_cgroup(void)
{
    static const char *const roots[] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};

    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        snprintf(cgroup, sizeof cgroup, "%s/mproc-test-%ld", roots[i], (long)getpid());
        if (mkdir(cgroup, 0755))
            continue;
        if (write_line(cgroup, i ? "memory.max" : "memory.limit_in_bytes", 1 << 30))
            return true;
        rmdir(cgroup);
    }
    return false;
}

static int enter_cgroup(uint64_t value)
{
    bool entered = write_line(cgroup, "cgroup.procs", (uint64_t)getpid());

    if (entered && !write_line(cgroup, "memory.limit_in_bytes", value))
        entered = write_line(cgroup, "memory.max", value);
    return entered ? 0 : CANNOT;
}

static uint64_t half_more(uint64_t value)
{
    return value + value / 2;
}

static void with_little_memory_for_its_cgroup_it_is_refused_or_well(void **state)
{
    struct trial trial = {.before = enter_cgroup, .may_break = true, .may_kill = true};

    (void)state;
    if (!make_cgroup())
        skip();
    climb(&trial, 65536, half_more);
    assert_int_equal(rmdir(cgroup), 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_few_descriptors_it_is_refused_or_well),
        TEST(with_little_address_space_it_is_refused_or_well),
        TEST(with_little_data_it_is_refused_or_well),
        TEST(with_small_files_it_is_refused_or_well),
        TEST(a_limit_of_files_that_comes_later_kills_nobody),
        TEST(with_few_processes_it_is_refused_or_well),
#ifdef __linux__
        TEST(with_little_shared_memory_it_is_refused_or_well),
        TEST(with_little_memory_for_its_cgroup_it_is_refused_or_well),
#endif
    };

    return TEST_MAIN(tests);
}
