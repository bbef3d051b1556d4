/* SPDX-License-Identifier: MIT */
/*
 * How many system calls a task and a map cost: counted, not timed.  The host and all that descends
 * from it are traced; between two marks that the host makes, each call that a process of the pool
 * enters is counted.  Where nobody looks out for news before he sleeps, a task is held until the host
 * goes to sleep for it, so that what is counted is the longer way, each time.  Linux alone is asked for this; where tracing is not permitted, the tests are
 * skipped.
 */
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "support.h"

#include "os/os.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/ptrace.h>
#include <sys/syscall.h>
#endif

#ifdef PTRACE_GET_SYSCALL_INFO

enum {
    WORKERS = 4,
    MANY_TASKS = 100,
    WARM_MAPS = 2,
    MAPS = 4,
    MAX_PROCESSES = 64,
    MAX_CALLS = 512
};

/* ---- what is counted ------------------------------------------------------------------------- */

enum role { HOST, SUPERVISOR, WORKER, ROLES };

struct traced {
    pid_t pid;
    enum role role;
    bool sleeps;
    bool polls; /* and how */
};

struct counts {
    struct traced processes[MAX_PROCESSES];
    int process_count;
    uint64_t by_number[ROLES][MAX_CALLS];
    uint64_t total[ROLES];
    uint64_t sleeps;   /* of the host, */
    uint64_t timeouts; /* and those that only time ended: it looks around once in a while */
    bool counting;
    pid_t held;  /* a worker that is stopped until the host sleeps; 0: none */
    pid_t quiet; /* the host, stopped until all workers sleep; 0: it is not */
};

static struct traced *find_process(struct counts *counts, pid_t pid)
{
    for (int i = 0; i < counts->process_count; i++)
        if (counts->processes[i].pid == pid)
            return &counts->processes[i];
    return NULL;
}

static void add_process(struct counts *counts, pid_t pid, enum role role)
{
    if (find_process(counts, pid))
        return;
    assert_true(counts->process_count < MAX_PROCESSES);
    counts->processes[counts->process_count++] = (struct traced){.pid = pid, .role = role};
}

static void count_call(struct counts *counts, enum role role, uint64_t number)
{
    /* Who looks out for news for long gives way now and then: that is as good as to go on. */
    if (!counts->counting || number >= MAX_CALLS || number == SYS_sched_yield)
        return;
    counts->total[role]++;
    counts->by_number[role][number]++;
}

static const char *name_of(uint64_t number)
{
    static const struct {
        uint64_t number;
        const char *name;
    } names[] = {
        {SYS_read, "read"},
        {SYS_write, "write"},
        {SYS_ppoll, "ppoll"},
        {SYS_futex, "futex"},
        {SYS_fcntl, "fcntl"},
        {SYS_fallocate, "fallocate"},
        {SYS_madvise, "madvise"},
        {SYS_mmap, "mmap"},
        {SYS_munmap, "munmap"},
        {SYS_brk, "brk"},
        {SYS_getpid, "getpid"},
        {SYS_fstat, "fstat"},
        {SYS_sched_yield, "sched_yield"},
#ifdef SYS_poll
        {SYS_poll, "poll"},
#endif
#ifdef SYS_newfstatat
        {SYS_newfstatat, "newfstatat"},
#endif
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number)
            return names[i].name;
    return "another";
}

static void print_counts(const struct counts *counts, const char *what, uint64_t times)
{
    static const char *const roles[] = {"host", "supervisor", "workers"};

    print_message("%s, %llu times:\n", what, (unsigned long long)times);
    for (int role = 0; role < ROLES; role++) {
        print_message("    %-10s %6llu:", roles[role], (unsigned long long)counts->total[role]);
        for (uint64_t number = 0; number < MAX_CALLS; number++)
            if (counts->by_number[role][number])
                print_message(" %s(%d) %llu", name_of(number), (int)number,
                              (unsigned long long)counts->by_number[role][number]);
        print_message("\n");
    }
}

/* ---- marks ----------------------------------------------------------------------------------- */

/* Calls that nobody else makes, and that do nothing. */
enum { BEGIN = -1001, END = -1002, HOLD = -1003, QUIET = -1004 };

static void mark(int what)
{
    syscall(SYS_close, what);
}

static bool is_mark(const struct __ptrace_syscall_info *info, int what)
{
    return info->entry.nr == SYS_close && (int)info->entry.args[0] == what;
}

/* ---- the tracer ------------------------------------------------------------------------------ */

static bool is_poll(const struct __ptrace_syscall_info *info)
{
#ifdef SYS_poll
    if (info->entry.nr == SYS_poll)
        return true;
#endif
    return info->entry.nr == SYS_ppoll;
}

/* In poll(), or on a word. */
static bool is_sleep(const struct __ptrace_syscall_info *info)
{
    enum { WAIT = 0, WAIT_BITSET = 9, OPERATION = 0x7f };
    uint64_t operation = info->entry.args[1] & OPERATION;

    if (info->entry.nr == SYS_futex)
        return operation == WAIT || operation == WAIT_BITSET;
    return is_poll(info);
}

static bool may_sleep(const struct __ptrace_syscall_info *info)
{
    return is_sleep(info) || info->entry.nr == SYS_read;
}

static bool host_sleeps(const struct counts *counts)
{
    for (int i = 0; i < counts->process_count; i++)
        if (counts->processes[i].role == HOST && counts->processes[i].sleeps)
            return true;
    return false;
}

static bool all_workers_sleep(const struct counts *counts)
{
    for (int i = 0; i < counts->process_count; i++)
        if (counts->processes[i].role == WORKER && !counts->processes[i].sleeps)
            return false;
    return true;
}

static void let_go_on(pid_t *stopped)
{
    if (*stopped)
        ptrace(PTRACE_SYSCALL, *stopped, NULL, NULL);
    *stopped = 0;
}

/* False: it is to stay stopped. */
static bool see_call(struct counts *counts, pid_t pid)
{
    struct traced *traced = find_process(counts, pid);
    struct __ptrace_syscall_info info;

    if (!traced || ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) <= 0)
        return true;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT && traced->role == HOST && traced->sleeps &&
        counts->counting && info.exit.rval == (traced->polls ? 0 : -ETIMEDOUT))
        counts->timeouts++;
    traced->sleeps = false;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return true;
    traced->sleeps = traced->role == HOST ? is_sleep(&info) : may_sleep(&info);
    traced->polls = is_poll(&info);
    if (traced->role == HOST && traced->sleeps && counts->counting)
        counts->sleeps++;
    if (is_mark(&info, HOLD)) {
        if (host_sleeps(counts))
            return true;
        counts->held = pid;
        return false;
    }
    if (is_mark(&info, QUIET)) {
        if (all_workers_sleep(counts))
            return true;
        counts->quiet = pid;
        return false;
    }
    if (traced->role == HOST && is_mark(&info, BEGIN))
        counts->counting = true;
    else if (traced->role == HOST && is_mark(&info, END))
        counts->counting = false;
    else
        count_call(counts, traced->role, info.entry.nr);
    if (traced->role == HOST && may_sleep(&info))
        let_go_on(&counts->held);
    return true;
}

/* Sooner or later it has, or it has made another stop. */
static bool has_fallen_asleep(pid_t pid)
{
    char path[64], state = 'R';

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    while (state == 'R') {
        FILE *file = fopen(path, "r");

        if (!file || fscanf(file, "%*s (%*[^)]) %c", &state) != 1)
            state = 'S'; /* any moment will do */
        if (file)
            fclose(file);
        sched_yield();
    }
    return state == 'S';
}

/* A new process is known when its parent's fork is told, or when it stops for the first time. */
static void see_fork(struct counts *counts, pid_t parent)
{
    const struct traced *traced = find_process(counts, parent);
    unsigned long child = 0;

    if (traced && ptrace(PTRACE_GETEVENTMSG, parent, NULL, &child) == 0)
        add_process(counts, (pid_t)child, traced->role == HOST ? SUPERVISOR : WORKER);
}

static void see_stop(struct counts *counts, pid_t pid, int status)
{
    int signal = WSTOPSIG(status), event = status >> 16;

    if (signal == (SIGTRAP | 0x80)) {
        if (see_call(counts, pid))
            ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
        if (counts->quiet && all_workers_sleep(counts) && has_fallen_asleep(pid))
            let_go_on(&counts->quiet);
        return;
    }
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE)
        see_fork(counts, pid);
    ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(event ? 0L : (long)signal));
}

/* Follow all processes until the host has ended; the value is its wait status. */
static int follow(struct counts *counts, pid_t host)
{
    int ended = -1;

    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);

        if (pid < 0) {
            assert_int_equal(errno, ECHILD);
            return ended;
        }
        if (!WIFSTOPPED(status)) {
            if (pid == host)
                ended = status;
            continue;
        }
        see_stop(counts, pid, status);
    }
}

/* Count what `body` does between its marks, in a process of its own.  False: nobody may trace. */
static bool count_calls(struct counts *counts, int (*body)(const void *), const void *arg)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                         PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    int go[2];
    bool traced;
    char byte;
    pid_t pid;

    memset(counts, 0, sizeof *counts);
    assert_int_equal(pipe(go), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        _exit(read(go[0], &byte, 1) == 1 ? body(arg) : 0);
    }
    close(go[0]);
    traced = ptrace(PTRACE_SEIZE, pid, NULL, (void *)options) == 0 &&
             ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0;
    if (traced) {
        add_process(counts, pid, HOST);
        assert_int_equal(write(go[1], "", 1), 1);
    }
    close(go[1]);
    assert_int_equal(follow(counts, pid), 0);
    return traced;
}

/* ---- what the host does ---------------------------------------------------------------------- */

/* Until every worker is up and has come. */
static int32_t meet(mproc_task *task, void *ctx)
{
    _Atomic int32_t *come = ctx;

    (void)task;
    atomic_fetch_add(come, 1);
    while (atomic_load(come) < WORKERS)
        ;
    return 0;
}

static int begin(mproc_pool **pool, int32_t spin_us)
{
    const mproc_pool_options options = {.size = sizeof options, .spin_us = spin_us};
    mproc_future *futures[WORKERS];
    void *come;
    int r = mproc_pool_create(pool, WORKERS, &options);

    r = r ? r : mproc_pool_alloc(*pool, sizeof(_Atomic int32_t), &come);
    if (r)
        return r;
    atomic_init((_Atomic int32_t *)come, 0);
    for (int i = 0; i < WORKERS && !r; i++)
        r = mproc_pool_submit(*pool, &futures[i], meet, come, NULL, 0, NULL);
    for (int i = 0; i < WORKERS && !r; i++) {
        r = mproc_future_wait(futures[i], -1);
        mproc_future_free(futures[i]);
    }
    return r;
}

static int32_t square_task(mproc_task *task, void *ctx)
{
    const uint64_t *in = mproc_task_input(task, NULL);

    (void)ctx;
    *(uint64_t *)mproc_task_output(task, sizeof *in) = *in * *in;
    return 0;
}

static int32_t square_held(mproc_task *task, void *ctx)
{
    mark(HOLD);
    return square_task(task, ctx);
}

/* The item 3 holds its worker; the others are 1. */
static int32_t square(const void *in, void *out, void *ctx)
{
    (void)ctx;
    if (*(const uint64_t *)in == 3)
        mark(HOLD);
    *(uint64_t *)out = *(const uint64_t *)in * *(const uint64_t *)in;
    return 0;
}

static int call_tasks(mproc_pool *pool, mproc_task_fn fn, int count)
{
    uint64_t in = 3, out = 0;
    int r = 0;

    for (int i = 0; i < count && !r; i++)
        r = mproc_pool_call(pool, fn, NULL, &in, sizeof in, &out, sizeof out, NULL, NULL);
    return r ? r : out != 9;
}

/* All sleep as soon as there is nothing to do. */
static int host_of_tasks(const void *arg)
{
    mproc_pool *pool;
    int r = begin(&pool, -1);

    (void)arg;
    r = r ? r : call_tasks(pool, square_held, 2 * WORKERS);
    if (r)
        return 1;
    mark(QUIET);
    mark(BEGIN);
    for (int i = 0; i < MANY_TASKS && !r; i++) {
        r = call_tasks(pool, square_held, 1);
        mark(QUIET); /* what the worker does when the host has its result is of the task, too */
    }
    mark(END);
    mproc_pool_destroy(pool);
    return r != 0;
}

/* All look out for news for longer than the test takes. */
static int host_that_spins(const void *arg)
{
    mproc_pool *pool;
    int r = begin(&pool, 1000000);

    (void)arg;
    r = r ? r : call_tasks(pool, square_task, 2 * WORKERS);
    if (r)
        return 1;
    mark(BEGIN);
    r = call_tasks(pool, square_task, MANY_TASKS);
    mark(END);
    mproc_pool_destroy(pool);
    return r != 0;
}

struct map {
    const char *name;
    size_t count;
    size_t chunk;
    bool arena;
};

/* Items and room for results: the last item is 3, and holds the worker that has it. */
static int get_memory(const struct map *map, mproc_pool *pool, void **in, void **out)
{
    size_t bytes = map->count * sizeof(uint64_t);
    int r;

    if (!map->arena) {
        *in = malloc(bytes);
        *out = malloc(bytes);
        r = *in && *out ? 0 : -ENOMEM;
    } else {
        r = mproc_pool_alloc(pool, bytes, in);
        r = r ? r : mproc_pool_alloc(pool, bytes, out);
    }
    for (size_t i = 0; i < map->count && !r; i++)
        ((uint64_t *)*in)[i] = i + 1 < map->count ? 1 : 3;
    return r;
}

static int host_of_map(const void *arg)
{
    const struct map *map = arg;
    mproc_map_options options = {.size = sizeof options, .chunk_size = map->chunk};
    void *in = NULL, *out = NULL;
    mproc_pool *pool;
    int r = begin(&pool, -1);

    r = r ? r : get_memory(map, pool, &in, &out);
    if (r)
        return 1;
    for (int i = 0; i < WARM_MAPS + MAPS && !r; i++) {
        if (i == WARM_MAPS)
            mark(BEGIN);
        r = mproc_pool_map(pool, square, NULL, in, sizeof(uint64_t), out, sizeof(uint64_t),
                           map->count, &options);
    }
    mark(END);
    mproc_pool_destroy(pool);
    if (!map->arena) {
        free(in);
        free(out);
    }
    return r != 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/*
 * For each sleep of the host, and there are more than one where it is time to look around, or where a
 * worker that came late to the map before rings again.  A task: the host wakes and sleeps, the worker
 * rings and sleeps.  In pipes each of these is a write and a read, of the host's a poll besides; and
 * whoever writes or reads looks first whether the descriptor is still ours (fstat), because a program may
 * have closed it and opened a file of its own there.
 */
enum {
    CALLS_PER_TASK = 4,
    CALLS_PER_TASK_BY_PIPES = 10,
    HOST_CALLS_PER_SECTION = 8,
    WORKER_CALLS_PER_SECTION = 4,
    SPURIOUS = 4 * WORKERS /* in pipes: who was woken by what was left when another was faster */
};

static void a_lone_task_costs_no_system_call_where_both_look_out(void **state)
{
    static struct counts counts;

    (void)state;
    if (test_under_valgrind() || !count_calls(&counts, host_that_spins, NULL))
        skip();
    print_counts(&counts, "a lone task where both look out", MANY_TASKS);
    assert_true(counts.total[HOST] + counts.total[WORKER] <= 10); /* in all: memory, perhaps */
    assert_int_equal(counts.total[SUPERVISOR], 0);
}

static void a_lone_task_costs_four_where_both_sleep(void **state)
{
    static struct counts counts;
    uint64_t calls;

    (void)state;
    if (test_under_valgrind() || !count_calls(&counts, host_of_tasks, NULL))
        skip();
    print_counts(&counts, "a lone task", MANY_TASKS);
    assert_true(counts.total[HOST] > 0 && counts.total[WORKER] > 0);
    calls = mp_can_sleep_on_words() ? CALLS_PER_TASK : CALLS_PER_TASK_BY_PIPES;
    assert_true(counts.total[HOST] + counts.total[WORKER] <=
                calls * (MANY_TASKS + counts.timeouts) + SPURIOUS);
    assert_int_equal(counts.total[SUPERVISOR], 0);
}

/* What is copied goes in sections of 2 MiB, see map.c; in the arena all is one. */
static uint64_t sections_of(const struct map *map)
{
    uint64_t copied = map->arena ? 0 : map->count * 2 * sizeof(uint64_t);

    return copied / (2 << 20) + 1;
}

static void a_map_of_any_size_costs_a_few_system_calls(void **state)
{
    static const struct map maps[] = {
        {"a map of 1", 1, 0, false},
        {"a map of 1,000", 1000, 0, false},
        {"a map of 1,000, in the arena", 1000, 0, true},
        {"a map of 100,000 in chunks of 1", 100000, 1, false},
        {"a map of 1,000,000", 1000000, 0, false},
        {"a map of 1,000,000, in the arena", 1000000, 0, true},
        {"a map of 10,000,000", 10000000, 0, false},
    };
    static struct counts counts;

    (void)state;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        const uint64_t sections = sections_of(&maps[i]);

        if (test_under_valgrind() || !count_calls(&counts, host_of_map, &maps[i]))
            skip();
        print_counts(&counts, maps[i].name, MAPS);
        assert_true(counts.total[HOST] >= MAPS);
        assert_true(counts.sleeps <= MAPS * WORKERS * sections + counts.timeouts);
        assert_true(counts.total[HOST] <=
                    HOST_CALLS_PER_SECTION * (counts.sleeps + MAPS * sections));
        /* All of them: who comes late finds the tickets of several maps. */
        assert_true(counts.total[WORKER] <= WORKER_CALLS_PER_SECTION * WORKERS * MAPS * sections);
        assert_int_equal(counts.total[SUPERVISOR], 0);
    }
}

#else

static void a_lone_task_costs_no_system_call_where_both_look_out(void **state)
{
    (void)state;
    skip();
}

static void a_lone_task_costs_four_where_both_sleep(void **state)
{
    (void)state;
    skip();
}

static void a_map_of_any_size_costs_a_few_system_calls(void **state)
{
    (void)state;
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lone_task_costs_no_system_call_where_both_look_out),
        TEST(a_lone_task_costs_four_where_both_sleep),
        TEST(a_map_of_any_size_costs_a_few_system_calls),
    };

    return TEST_MAIN(tests);
}
