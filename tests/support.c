/* SPDX-License-Identifier: MIT */
/*
 * The census that each test is held to, its time limit, and helpers for tests.
 *
 * A census is a text, a line for each fact: that makes it easy to compare, and the difference reads
 * as what was left behind.  Memory is not in it (malloc maps and keeps as it likes; the sanitizers
 * and valgrind look after that).
 */
#include "support.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __has_include
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

enum {
    LAST_SIGNAL = 64,
    LAST_DESCRIPTOR = 1023, /* where /proc does not tell which are open */
    LIMIT_DEFAULT = 60,     /* seconds */
    LIMIT_LONG = 3600,      /* seconds */
    GRACE_MS = 1000,        /* what the library promises for the end of orphans */
    STEP_MS = 5,
    CHILD_WENT_ON = 70 /* exit code of a child that came to the end of a test */
};

/* ---- environment ----------------------------------------------------------------------------- */

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    char *end;
    uint64_t number;

    if (!text || !*text)
        return otherwise;
    number = strtoull(text, &end, 0);
    return *end ? otherwise : number;
}

int test_slowness(void)
{
    uint64_t slowness = number_from("MPROC_TEST_SLOWNESS", 1);

    return slowness < 1 || slowness > 1000 ? 1 : (int)slowness;
}

bool test_under_valgrind(void)
{
    return number_from("MPROC_TEST_VALGRIND", 0) != 0;
}

uint64_t test_count(uint64_t few, uint64_t many)
{
    uint64_t count = (number_from("MPROC_TEST_LONG", 0) ? many : few) / (uint64_t)test_slowness();

    return count ? count : 1;
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* ---- census: descriptors and mappings -------------------------------------------------------- */

static void write_descriptor(FILE *out, int fd)
{
    char link[64];
    char target[512];
    ssize_t length;
    struct stat status;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, target, sizeof target);
    if (length >= 0)
        fprintf(out, "descriptor %d: %.*s\n", fd, (int)length, target);
    else if (fstat(fd, &status) == 0)
        fprintf(out, "descriptor %d: inode %llu\n", fd, (unsigned long long)status.st_ino);
}

static void write_descriptors(FILE *out)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!directory) {
        for (int fd = 0; fd <= LAST_DESCRIPTOR; fd++)
            write_descriptor(out, fd);
        return;
    }
    while ((entry = readdir(directory)) != NULL) {
        int fd = atoi(entry->d_name);

        if (isdigit((unsigned char)entry->d_name[0]) && fd != dirfd(directory))
            write_descriptor(out, fd);
    }
    closedir(directory);
}

/* Shared mappings, and any of ours.  Private ones come and go with malloc and the loader; and where
 * coverage is counted, its files with the objects loaded. */
static void write_mappings(FILE *out)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t room = 0;

    if (!maps)
        return;
    while (getline(&line, &room, maps) > 0) {
        char flags[5] = "";

        sscanf(line, "%*s %4s", flags);
        if (strstr(line, ".profraw"))
            continue;
        if (flags[3] == 's' || strstr(line, "/memfd:mproc") || strstr(line, "/dev/shm/mproc"))
            fprintf(out, "mapping %s", line);
    }
    free(line);
    fclose(maps);
}

/* ---- census: signals ------------------------------------------------------------------------- */

static void write_signals(FILE *out)
{
    sigset_t mask;
    struct sigaction action;

    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int signal = 1; signal <= LAST_SIGNAL; signal++) {
        if (sigismember(&mask, signal) == 1)
            fprintf(out, "signal %d: blocked\n", signal);
        if (sigaction(signal, NULL, &action) || action.sa_handler == SIG_DFL)
            continue;
        if (action.sa_handler == SIG_IGN)
            fprintf(out, "signal %d: ignored\n", signal);
        else
            fprintf(out, "signal %d: handler %#llx, flags %#x\n", signal,
                    (unsigned long long)(uintptr_t)action.sa_handler, (unsigned)action.sa_flags);
    }
}

/* ---- census: threads and processes ----------------------------------------------------------- */

/* The children of each thread, zombies among them; and how many threads there are. */
static void write_threads(FILE *out)
{
    DIR *directory = opendir("/proc/self/task");
    struct dirent *entry;
    int threads = 0;

    while (directory && (entry = readdir(directory)) != NULL) {
        char path[300];
        FILE *children;
        long pid;

        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        threads++;
        snprintf(path, sizeof path, "/proc/self/task/%s/children", entry->d_name);
        children = fopen(path, "re");
        while (children && fscanf(children, "%ld", &pid) == 1)
            fprintf(out, "child %ld\n", pid);
        if (children)
            fclose(children);
    }
    fprintf(out, "threads: %d\n", threads);
    if (directory)
        closedir(directory);
}

/* The same as POSIX can tell it: is there a child, and has one ended that nobody waited for? */
static void write_children(FILE *out)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT))
        return;
    if (info.si_pid)
        fprintf(out, "zombie %ld\n", (long)info.si_pid);
    else
        fprintf(out, "children: running\n");
}

static size_t read_file(const char *path, char *to, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t length = 0;

    if (file) {
        length = fread(to, 1, size, file);
        fclose(file);
    }
    return length;
}

/*
 * A worker that outlived its supervisor is nobody's child here.  It is known by what a fork keeps:
 * the program, its arguments and the session.
 */
static bool is_our_fork(pid_t pid)
{
    char path[64];
    char ours[1024];
    char theirs[1024];
    size_t length;
    struct stat our_program;
    struct stat program;

    snprintf(path, sizeof path, "/proc/%ld/exe", (long)pid);
    if (getsid(pid) != getsid(0) || stat("/proc/self/exe", &our_program) || stat(path, &program))
        return false;
    if (program.st_dev != our_program.st_dev || program.st_ino != our_program.st_ino)
        return false;
    snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)pid);
    length = read_file("/proc/self/cmdline", ours, sizeof ours);
    return length == read_file(path, theirs, sizeof theirs) && memcmp(ours, theirs, length) == 0;
}

static void write_processes(FILE *out)
{
    DIR *directory = opendir("/proc");
    struct dirent *entry;

    if (!directory)
        return;
    while ((entry = readdir(directory)) != NULL) {
        pid_t pid = (pid_t)atol(entry->d_name);

        if (isdigit((unsigned char)entry->d_name[0]) && pid != getpid() && is_our_fork(pid))
            fprintf(out, "process %ld\n", (long)pid);
    }
    closedir(directory);
}

/* ---- census: the whole, and the difference --------------------------------------------------- */

char *test_census(void)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (!out)
        abort();
    write_descriptors(out);
    write_mappings(out);
    write_signals(out);
    write_threads(out);
    write_children(out);
    write_processes(out);
    fclose(out);
    return text;
}

static bool has_line(const char *census, const char *line, size_t length)
{
    for (; *census; census = strchr(census, '\n') + 1)
        if (strncmp(census, line, length) == 0)
            return true;
    return false;
}

/* The lines of one census that are not in the other, each printed with its sign; how many. */
static int print_missing(const char *from, const char *in, char sign)
{
    int count = 0;
    size_t length;

    for (; *from; from += length) {
        length = (size_t)(strchr(from, '\n') - from) + 1;
        if (!has_line(in, from, length)) {
            fprintf(stderr, "  %c %.*s", sign, (int)length, from);
            count++;
        }
    }
    return count;
}

/*
 * Orphans and joined threads go by themselves, a moment after the test could know; for these alone
 * a second look is fair.
 */
static char *take_settled_census(const char *before)
{
    int64_t end = now_ms() + (int64_t)GRACE_MS * test_slowness();
    char *after = test_census();

    while (strcmp(before, after) != 0 && now_ms() < end) {
        wait_ms(STEP_MS);
        free(after);
        after = test_census();
    }
    return after;
}

bool test_census_holds(char *before)
{
    char *after = take_settled_census(before);
    bool changed = strcmp(before, after) != 0;

    if (changed) {
        fprintf(stderr, "things were left changed:\n");
        changed = print_missing(before, after, '-') + print_missing(after, before, '+') > 0;
    }
    free(after);
    free(before);
    return !changed;
}

/* ---- a test ---------------------------------------------------------------------------------- */

/* cmocka's own handlers for these would send a child that crashes on through the tests. */
static const int exceptions[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS};

enum { EXCEPTIONS = sizeof exceptions / sizeof exceptions[0] };

static struct sigaction exceptions_before[EXCEPTIONS];
static pid_t runner;
static char *census_before;

/* A fork ends with its parent's memory unfreed: no leak of its own. */
static void child_ignores_leaks(void)
{
#ifdef VALGRIND_CLO_CHANGE
    VALGRIND_CLO_CHANGE("--leak-check=no");
#endif
}

static void *end_at_once(void *arg)
{
    return arg;
}

/* TSan starts a thread of its own beside the first of the program; no test has left that behind. */
static void start_tsan_thread(void)
{
#ifdef __SANITIZE_THREAD__
    pthread_t thread;

    if (pthread_create(&thread, NULL, end_at_once, NULL) == 0)
        pthread_join(thread, NULL);
#else
    (void)end_at_once;
#endif
}

static void limit_reached(int signal)
{
    static const char text[] = "the test's time limit is over\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);

    (void)ignored;
    raise(signal);
}

int test_setup(void **state)
{
    uint64_t limit = number_from("MPROC_TEST_LONG", 0) ? LIMIT_LONG : LIMIT_DEFAULT;

    (void)state;
    alarm((unsigned)(number_from("MPROC_TEST_LIMIT", limit) * (unsigned)test_slowness()));
    census_before = test_census();
    return 0;
}

void test_call(void **state)
{
    struct test_case *test = *state;
    void *own_state = NULL;

    for (int i = 0; i < EXCEPTIONS; i++)
        sigaction(exceptions[i], &exceptions_before[i], NULL);
    test->function(&own_state);
}

int test_teardown(void **state)
{
    bool holds;

    (void)state;
    if (getpid() != runner) {
        fprintf(stderr, "a child came back to the test's end: an assert_ in it has failed\n");
        fflush(stderr);
        _exit(CHILD_WENT_ON);
    }
    holds = test_census_holds(census_before);
    alarm(0);
    census_before = NULL;
    return holds ? 0 : -1;
}

int test_main(const char *name, const struct CMUnitTest *tests, size_t count)
{
    const char *filter = getenv("MPROC_TEST_FILTER");
    const char *base = strrchr(name, '/');
    struct sigaction limit;

    memset(&limit, 0, sizeof limit);
    limit.sa_handler = limit_reached;
    limit.sa_flags = (int)SA_RESETHAND | SA_NODEFER;
    sigemptyset(&limit.sa_mask);
    sigaction(SIGALRM, &limit, NULL);
    for (int i = 0; i < EXCEPTIONS; i++)
        sigaction(exceptions[i], NULL, &exceptions_before[i]);
    if (test_under_valgrind())
        pthread_atfork(NULL, NULL, child_ignores_leaks);
    start_tsan_thread();
    runner = getpid();
    if (filter && *filter)
        cmocka_set_test_filter(filter);
    return _cmocka_run_group_tests(base ? base + 1 : name, tests, count, NULL, NULL);
}

/* ---- helpers --------------------------------------------------------------------------------- */

void *test_share(size_t size)
{
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED)
        fail_msg("mmap: %s", strerror(errno));
    return shared;
}

void test_unshare(void *shared, size_t size)
{
    if (shared)
        munmap(shared, size);
}

int test_run_child(int (*f)(void *), void *arg)
{
    int status = -1;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(f(arg));
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail_msg("waitpid: %s", strerror(errno));
    return status;
}

/* As /proc tells it; '\0': there is no such process, or no /proc. */
static char state_of(pid_t pid)
{
    char path[64];
    char text[512];
    size_t length;
    const char *name_end;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    length = read_file(path, text, sizeof text - 1);
    text[length] = '\0';
    name_end = strrchr(text, ')');
    return name_end && strlen(name_end) > 2 ? name_end[2] : '\0';
}

static bool is_zombie(pid_t pid)
{
    char now = state_of(pid);

    return now == 'Z' || now == 'X';
}

bool test_is_asleep(pid_t pid)
{
    return state_of(pid) == 'S';
}

bool test_falls_asleep(pid_t pid)
{
    for (;;) {
        char now = state_of(pid);

        if (now == 'S')
            return true;
        if (now == 'Z' || now == 'X' || now == '\0')
            return false;
        sched_yield();
    }
}

bool test_process_gone(pid_t pid, int64_t timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;

    for (;;) {
        if ((kill(pid, 0) && errno == ESRCH) || is_zombie(pid))
            return true;
        if (now_ms() >= end)
            return false;
        wait_ms(STEP_MS);
    }
}

uint64_t test_random(uint64_t *state)
{
    uint64_t mix = *state += 0x9e3779b97f4a7c15U; /* splitmix64 */

    mix = (mix ^ (mix >> 30)) * 0xbf58476d1ce4e5b9U;
    mix = (mix ^ (mix >> 27)) * 0x94d049bb133111ebU;
    return mix ^ (mix >> 31);
}

uint64_t test_seed(void)
{
    struct timespec now;
    uint64_t seed;

    clock_gettime(CLOCK_REALTIME, &now);
    seed = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec + (uint64_t)getpid();
    seed = number_from("MPROC_TEST_SEED", test_random(&seed));
    printf("MPROC_TEST_SEED=%#llx\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}
