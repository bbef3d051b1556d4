/* SPDX-License-Identifier: MIT */
/*
 * The descriptor massacre: a program closes descriptors of the library, one or all, and has files of
 * its own at their numbers.  Each call then succeeds or ends with an error, in time; no process and
 * no descriptor is left behind; and of the program's files, pipes, sockets and processes nothing is
 * read, written, moved, closed, signalled or reaped.
 *
 * Each trial is a process of its own, which dies with a line that says what does not hold.
 */
#define _GNU_SOURCE
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool.h"

enum { NUMBERS = 256, OURS_MAX = 16, WORKERS = 2, IN_FLIGHT = 20, PIDS = 64, ALL = -1 };
enum { WORKER_NUMBERS = 1024 };
enum { NO_SUCH = 3 }; /* exit code of a trial: the library has no such descriptor */

/* What a program may have at the number. */
enum kind { NOTHING, A_FILE, READ_END, WRITE_END, A_SOCKET, A_PROCESS, A_DEAD_PROCESS, KINDS };
static const char *const kind_names[] = {"nothing", "file",    "read end",    "write end",
                                         "socket",  "process", "dead process"};

enum moment { IDLE, BUSY, ASLEEP, CLOSED, RESTARTED, DESTROYED, FORKED, MOMENTS };
static const char *const moment_names[] = {"idle",      "busy",      "asleep", "closed",
                                           "restarted", "destroyed", "forked"};

struct trial {
    int victim; /* of the descriptors that the library opened, or ALL */
    enum kind kind;
    enum moment moment;
};

/* What the workers share with the trial. */
struct stage {
    _Atomic uint32_t started;
    _Atomic int32_t pids[PIDS];
    _Atomic int open; /* the gate */
    char path[64];    /* of a file for the workers */
};

static struct stage *stage;

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    _exit(1);
}

/* ---- the program's own things ---------------------------------------------------------------- */

static const char words[] = "what the program wrote";

struct thing {
    enum kind kind;
    int number;
    int own[2]; /* the same, and its other end if it has one */
    pid_t pid;
};

static void make_file(struct thing *thing)
{
    char path[] = "/tmp/mproc-descriptors-XXXXXX";

    thing->own[0] = mkstemp(path);
    unlink(path);
    need(write(thing->own[0], words, sizeof words) == (ssize_t)sizeof words &&
             lseek(thing->own[0], 4, SEEK_SET) == 4,
         "a file can be written");
}

static void make_pipe(struct thing *thing)
{
    int ends[2];

    need(pipe(ends) == 0 && write(ends[1], words, sizeof words) == (ssize_t)sizeof words,
         "a pipe can be written");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    thing->own[0] = thing->kind == READ_END ? ends[0] : ends[1];
    thing->own[1] = thing->kind == READ_END ? ends[1] : ends[0];
}

static void make_socket(struct thing *thing)
{
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, thing->own) == 0 &&
             write(thing->own[1], words, sizeof words) == (ssize_t)sizeof words,
         "a socket can be written");
}

/* It ends when this process does, or at once. */
static void make_process(struct thing *thing)
{
    int ends[2];
    char byte;

    need(pipe(ends) == 0, "a pipe is to be had");
    thing->pid = fork();
    if (thing->pid == 0) {
        close(ends[1]);
        if (thing->kind == A_PROCESS && read(ends[0], &byte, 1) < 0)
            _exit(1);
        _exit(7);
    }
    close(ends[0]);
    thing->own[1] = ends[1];
    thing->own[0] = -1;
#ifdef SYS_pidfd_open
    thing->own[0] = (int)syscall(SYS_pidfd_open, thing->pid, 0);
#endif
    if (thing->own[0] < 0) /* then another of its kind will do */
        thing->own[0] = dup(0);
}

static void make(struct thing *thing, enum kind kind)
{
    *thing = (struct thing){kind, -1, {-1, -1}, 0};
    if (kind == A_FILE)
        make_file(thing);
    else if (kind == READ_END || kind == WRITE_END)
        make_pipe(thing);
    else if (kind == A_SOCKET)
        make_socket(thing);
    else if (kind != NOTHING)
        make_process(thing);
}

static void put_at(struct thing *thing, int number)
{
    thing->number = number;
    if (thing->kind == NOTHING)
        close(number);
    else
        need(dup2(thing->own[0], number) == number, "dup2 succeeds");
}

static bool same_file(int a, int b)
{
    struct stat of_a, of_b;

    return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
           of_a.st_ino == of_b.st_ino;
}

/* Does the descriptor give the words, and no more? */
static bool gives_the_words(int fd)
{
    char text[2 * sizeof words];

    return read(fd, text, sizeof text) == (ssize_t)sizeof words &&
           memcmp(text, words, sizeof words) == 0;
}

static void check_stream(const struct thing *thing)
{
    char byte;

    need(gives_the_words(thing->kind == WRITE_END ? thing->own[1] : thing->own[0]),
         "what is in the pipe or socket is what the program wrote");
    if (thing->kind == A_SOCKET)
        need(recv(thing->own[1], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN,
             "the program's socket was not written");
}

static void check_process(const struct thing *thing)
{
    siginfo_t info = {0};
    int flags = WEXITED | WNOWAIT | (thing->kind == A_PROCESS ? WNOHANG : 0);

    need(waitid(P_PID, (id_t)thing->pid, &info, flags) == 0, "the program's child is not reaped");
    need(thing->kind == A_PROCESS ? info.si_pid == 0 : info.si_status == 7,
         "the program's child is not signalled");
}

static void check_and_drop(struct thing *thing)
{
    if (thing->kind == NOTHING)
        return;
    need(same_file(thing->number, thing->own[0]), "the program's descriptor is open");
    if (thing->kind == A_FILE)
        need(lseek(thing->own[0], 0, SEEK_CUR) == 4 && lseek(thing->own[0], 0, SEEK_SET) == 0 &&
                 gives_the_words(thing->own[0]),
             "the program's file is as it was");
    else if (thing->pid)
        check_process(thing);
    else
        check_stream(thing);
    close(thing->number);
    close(thing->own[0]);
    close(thing->own[1]); /* which ends a process */
    if (thing->pid)
        need(waitpid(thing->pid, NULL, 0) == thing->pid, "the program's child ends");
}

/* ---- descriptors ----------------------------------------------------------------------------- */

struct numbers {
    bool open[NUMBERS];
};

static struct numbers open_numbers(void)
{
    struct numbers numbers;

    for (int fd = 0; fd < NUMBERS; fd++)
        numbers.open[fd] = fcntl(fd, F_GETFD) >= 0;
    return numbers;
}

/* What the library has opened since; how many. */
static int find_ours(const struct numbers *before, int ours[OURS_MAX])
{
    struct numbers now = open_numbers();
    int count = 0;

    for (int fd = 0; fd < NUMBERS; fd++)
        if (now.open[fd] && !before->open[fd] && count < OURS_MAX)
            ours[count++] = fd;
    return count;
}

struct massacre {
    struct thing things[OURS_MAX];
    int ours[OURS_MAX];
    int count;
    int victim;
};

/* Make things while the numbers are taken, so that none gets there by itself. */
static void prepare(struct massacre *m, const struct numbers *before, const struct trial *trial)
{
    int count = find_ours(before, m->ours);

    if (trial->victim >= count)
        _exit(NO_SUCH);
    m->count = trial->victim == ALL ? count : 1;
    if (trial->victim != ALL)
        m->ours[0] = m->ours[trial->victim];
    for (int i = 0; i < m->count; i++)
        make(&m->things[i], trial->kind);
}

static void strike(struct massacre *m)
{
    for (int i = 0; i < m->count; i++)
        put_at(&m->things[i], m->ours[i]);
}

static void check_things(struct massacre *m)
{
    for (int i = m->count - 1; i >= 0; i--) /* the later processes hold the pipes of the earlier */
        check_and_drop(&m->things[i]);
}

/* A fork of the program has the program's descriptors. */
static void check_fork(const struct massacre *m)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        for (int i = 0; i < m->count; i++)
            if (m->things[i].kind != NOTHING && !same_file(m->ours[i], m->things[i].own[0]))
                _exit(1);
        _exit(0);
    }
    need(waitpid(pid, &status, 0) == pid && status == 0, "a fork has the program's descriptors");
}

static void check_nothing_is_left(const struct numbers *before)
{
    struct numbers after = open_numbers();

    need(memcmp(before, &after, sizeof after) == 0, "no descriptor is left");
    need(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "no child is left");
    for (uint32_t i = 0; i < PIDS && stage->pids[i]; i++)
        need(test_process_gone(stage->pids[i], 1000 * test_slowness()), "no worker is left");
}

/* ---- work for a pool ------------------------------------------------------------------------- */

static int32_t note_pid(int32_t worker, void *arg)
{
    uint32_t n = atomic_fetch_add(&stage->started, 1);

    (void)worker;
    (void)arg;
    if (n < PIDS)
        atomic_store(&stage->pids[n], (int32_t)getpid());
    return 0;
}

static int32_t answer(mproc_task *task, void *ctx)
{
    uint64_t *out = mproc_task_output(task, sizeof *out);

    (void)ctx;
    *out = *(const uint64_t *)mproc_task_input(task, NULL) + 1;
    return 0;
}

static int32_t answer_through_the_gate(mproc_task *task, void *ctx)
{
    while (!atomic_load(&stage->open))
        poll(NULL, 0, 1);
    return answer(task, ctx);
}

static int32_t add_one(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in + 1;
    return 0;
}

/* What the headers say that a call may return when the program closed a descriptor. */
static bool is_documented(int r)
{
    return r == MPROC_EBROKEN || r == -EBADF;
}

static void wait_and_free(mproc_future *future, uint64_t in)
{
    const void *out;
    size_t length;
    int r;

    need(mproc_future_wait(future, 10000) == 0, "a task ends");
    r = mproc_future_result(future, &out, &length);
    need(r ? is_documented(r) : length == sizeof in && *(const uint64_t *)out == in + 1,
         "a task has a result or an error");
    mproc_future_free(future);
}

static int submit(mproc_pool *pool, mproc_task_fn fn, mproc_future **futures, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        int r = mproc_pool_submit(pool, &futures[i], fn, NULL, &i, sizeof i, NULL);

        if (r) {
            futures[i] = NULL;
            return r;
        }
    }
    return 0;
}

/* Every kind of call.  True: all of them succeeded. */
static bool use(mproc_pool *pool)
{
    static uint64_t out[100];
    mproc_future *future;
    uint64_t in = 41, result = 0;
    void *memory = NULL;
    int submitted = submit(pool, answer, &future, 1);
    int mapped, called, allocated;

    if (submitted == 0)
        wait_and_free(future, 0);
    memset(out, 0, sizeof out);
    mapped = mproc_pool_map(pool, add_one, NULL, NULL, 0, out, sizeof out[0], 100, NULL);
    for (uint64_t i = 0; mapped == 0 && i < 100; i++)
        need(out[i] == i + 1, "a map that succeeds has its results");
    called =
        mproc_pool_call(pool, answer, NULL, &in, sizeof in, &result, sizeof result, NULL, NULL);
    need(called || result == 42, "a call that succeeds has its result");
    allocated = mproc_pool_alloc(pool, 1 << 20, &memory);
    if (allocated == 0)
        need(mproc_pool_dealloc(pool, memory) == 0, "memory can be given back");
    need((!submitted || is_documented(submitted)) && (!mapped || is_documented(mapped)) &&
             (!called || is_documented(called)) && (!allocated || is_documented(allocated)),
         "calls succeed or end with a documented error");
    return !submitted && !mapped && !called && !allocated;
}

struct sleeper {
    mproc_future *future;
    mproc_process *process; /* if there is no future */
    pthread_t thread;
    _Atomic pid_t tid;
};

/* Its end is its own; or it was killed, where that can be. */
static void join_process(mproc_process *process, bool may_be_killed)
{
    int32_t code = 0;

    need(mproc_join(process, 10000, &code) == 0, "a process can be joined");
    need(code == 7 || (may_be_killed && code == -SIGKILL), "it has its exit code");
}

static void *sleep_in_wait(void *arg)
{
    struct sleeper *sleeper = arg;

    atomic_store(&sleeper->tid, (pid_t)syscall(SYS_gettid));
    if (sleeper->future)
        wait_and_free(sleeper->future, 0);
    else
        join_process(sleeper->process, true);
    return NULL;
}

/* Start a thread, and wait until it sleeps in the library. */
static void start_sleeper(struct sleeper *sleeper)
{
    char path[64], state = 0;

    need(pthread_create(&sleeper->thread, NULL, sleep_in_wait, sleeper) == 0, "a thread starts");
    while (!atomic_load(&sleeper->tid))
        sched_yield();
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", (long)atomic_load(&sleeper->tid));
    while (state != 'S') {
        FILE *file = fopen(path, "r");

        if (!file)
            return; /* no /proc, and any moment will do */
        if (fscanf(file, "%*s %*s %c", &state) != 1)
            state = 'S';
        fclose(file);
    }
}

/* ---- a pool ---------------------------------------------------------------------------------- */

static mproc_pool *make_pool(void)
{
    mproc_pool_options options = {.size = sizeof options, .init = note_pid};
    mproc_pool *pool;
    uint64_t in = 1, out;

    need(mproc_pool_create(&pool, WORKERS, &options) == 0, "a pool is made");
    need(mproc_pool_call(pool, answer, NULL, &in, sizeof in, &out, sizeof out, NULL, NULL) == 0,
         "it works");
    return pool;
}

static void strike_in_time(mproc_pool *pool, struct massacre *m, enum moment moment)
{
    mproc_future *futures[IN_FLIGHT] = {NULL};
    struct sleeper sleeper = {0};

    if (moment == BUSY)
        need(submit(pool, answer, futures, IN_FLIGHT) == 0, "tasks are taken");
    else if (moment == ASLEEP) {
        need(submit(pool, answer_through_the_gate, &sleeper.future, 1) == 0, "a task is taken");
        start_sleeper(&sleeper);
    } else if (moment == CLOSED)
        need(submit(pool, answer, futures, 1) == 0 && mproc_pool_close(pool) == 0,
             "a pool can be closed");
    mp_pool_lock(pool); /* or a thread that the first wakes would be at work before the last */
    strike(m);
    mp_pool_unlock(pool);
    atomic_store(&stage->open, 1);
    for (uint64_t i = 0; i < IN_FLIGHT && futures[i]; i++)
        wait_and_free(futures[i], i);
    if (moment == ASLEEP)
        pthread_join(sleeper.thread, NULL);
}

static void go_on(mproc_pool *pool, const struct massacre *m, enum moment moment)
{
    if (moment == DESTROYED)
        return;
    if (moment == FORKED) {
        check_fork(m);
        return;
    }
    if (moment != CLOSED) {
        if (moment != RESTARTED)
            use(pool);
        need(mproc_pool_restart(pool) == 0, "a pool can be restarted");
        need(use(pool) || m->victim == ALL || !m->victim, "a pool that was restarted works");
        need(mproc_pool_close(pool) == 0, "a pool can be closed");
    }
    need(mproc_pool_join(pool, 10000) == 0, "a pool that was closed can be joined");
}

static int try_on_a_pool(void *arg)
{
    const struct trial *trial = arg;
    struct numbers before = open_numbers();
    struct massacre m = {.victim = trial->victim};
    mproc_pool *pool;

    alarm((unsigned)(30 * test_slowness()));
    pool = make_pool();
    prepare(&m, &before, trial);
    strike_in_time(pool, &m, trial->moment);
    go_on(pool, &m, trial->moment);
    mproc_pool_destroy(pool);
    check_things(&m);
    check_nothing_is_left(&before);
    return 0;
}

/* Another pool has the numbers: the first must leave it alone. */
static int try_with_another_pool(void *arg)
{
    const struct trial *trial = arg;
    struct numbers before = open_numbers();
    struct massacre m = {.victim = trial->victim};
    mproc_pool *pool, *other;

    alarm((unsigned)(30 * test_slowness()));
    pool = make_pool();
    prepare(&m, &before, trial);
    strike(&m);
    other = make_pool();
    use(pool);
    need(use(other), "the other pool works");
    mproc_pool_restart(pool);
    use(pool);
    need(use(other), "the other pool works still");
    mproc_pool_destroy(pool);
    need(use(other), "the other pool goes on");
    mproc_pool_destroy(other);
    check_nothing_is_left(&before);
    return 0;
}

/* ---- a process ------------------------------------------------------------------------------- */

static int32_t wait_at_the_gate(void *arg)
{
    (void)arg;
    while (!atomic_load(&stage->open))
        poll(NULL, 0, 1);
    return 7;
}

static void free_while_it_runs(mproc_process *process)
{
    siginfo_t info;
    id_t pid = (id_t)mproc_process_pid(process);

    mproc_process_free(process);
    atomic_store(&stage->open, 1);
    need(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0 || errno == ECHILD,
         "the process ends, or had ended for want of its bond and was reaped");
    need(mproc_spawn(&process, wait_at_the_gate, NULL, NULL) == 0, "the next is started");
    join_process(process, false);
    mproc_process_free(process);
}

static void strike_at_a_process(mproc_process *process, struct massacre *m, enum moment moment)
{
    struct sleeper sleeper = {.process = process};
    int fd = mproc_process_fd(process), r;

    if (moment == ASLEEP)
        start_sleeper(&sleeper);
    strike(m);
    if (moment == BUSY) {
        r = mproc_process_kill(process);
        need(r == 0 || r == -ESRCH, "a process can be killed");
    } else if (moment == CLOSED) {
        r = mproc_process_fd(process);
        need(r == fd || r == -EBADF, "a descriptor or none");
        r = mproc_join(process, 20, NULL);
        need(r == -ETIMEDOUT || r == 0, "a join has its timeout");
    } else if (moment == FORKED)
        check_fork(m);
    atomic_store(&stage->open, moment != BUSY && moment != DESTROYED);
    if (moment == ASLEEP)
        pthread_join(sleeper.thread, NULL);
}

static int try_on_a_process(void *arg)
{
    const struct trial *trial = arg;
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1};
    struct numbers before = open_numbers();
    struct massacre m = {.victim = trial->victim};
    mproc_process *process;

    alarm((unsigned)(30 * test_slowness()));
    need(mproc_spawn(&process, wait_at_the_gate, NULL, &options) == 0, "a process is started");
    prepare(&m, &before, trial);
    strike_at_a_process(process, &m, trial->moment);
    if (trial->moment == DESTROYED)
        free_while_it_runs(process);
    else {
        join_process(process, true);
        mproc_process_free(process);
    }
    check_things(&m);
    check_nothing_is_left(&before);
    return 0;
}

/* ---- in a worker ----------------------------------------------------------------------------- */

static void close_all(int from)
{
    for (int fd = from; fd < WORKER_NUMBERS; fd++)
        close(fd);
}

/* What a task does to the descriptors of its worker. */
static void close_them(void)
{
    close_all(3);
}

static void close_them_and_open_others(void)
{
    close_all(3);
    for (int i = 0; i < 60; i++)
        open(stage->path, O_RDWR);
}

static void put_a_file_at_each(void)
{
    int file = open(stage->path, O_RDWR);

    for (int fd = 3; fd < WORKER_NUMBERS; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            dup2(file, fd);
}

static int32_t strike_in_a_worker(mproc_task *task, void *ctx)
{
    (*(void (*const *)(void))ctx)();
    return answer(task, NULL);
}

/* Each of the tasks strikes, has its result all the same, and nothing is written to the file. */
static void strike_in_workers(void (*how)(void))
{
    mproc_submit_options options = {.size = sizeof options, .ctx_size = sizeof how};
    mproc_future *futures[IN_FLIGHT];
    mproc_pool *pool;
    int fd;

    stage = test_share(sizeof *stage);
    strcpy(stage->path, "/tmp/mproc-descriptors-XXXXXX");
    fd = mkstemp(stage->path);
    assert_int_equal(write(fd, words, sizeof words), sizeof words);
    assert_int_equal(mproc_pool_create(&pool, WORKERS, NULL), 0);
    for (uint64_t i = 0; i < IN_FLIGHT; i++)
        assert_int_equal(
            mproc_pool_submit(pool, &futures[i], strike_in_a_worker, &how, &i, sizeof i, &options),
            0);
    for (uint64_t i = 0; i < IN_FLIGHT; i++) {
        const void *out;

        assert_int_equal(mproc_future_wait(futures[i], 10000 * test_slowness()), 0);
        assert_int_equal(mproc_future_result(futures[i], &out, NULL), 0);
        assert_int_equal(*(const uint64_t *)out, i + 1);
        mproc_future_free(futures[i]);
    }
    assert_int_equal(mproc_pool_close(pool), 0);
    assert_int_equal(mproc_pool_join(pool, 10000), 0);
    mproc_pool_destroy(pool);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_true(gives_the_words(fd));
    close(fd);
    unlink(stage->path);
    test_unshare(stage, sizeof *stage);
}

/* ---- trials ---------------------------------------------------------------------------------- */

/* False: there is no such descriptor. */
static bool hold_trial(int (*f)(void *), struct trial *trial)
{
    int status;

    stage = test_share(sizeof *stage);
    status = test_run_child(f, trial);
    test_unshare(stage, sizeof *stage);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SUCH)
        return false;
    if (status)
        fail_msg("descriptor %d, %s, %s: status %#x", trial->victim, kind_names[trial->kind],
                 moment_names[trial->moment], (unsigned)status);
    return true;
}

/* Each descriptor and all, each thing in its place, and some moments or each.  How many descriptors
 * there were. */
static int hold_trials(int (*f)(void *), int kinds, uint64_t moments)
{
    uint64_t seed = test_seed(), trials = 0;
    int victim = ALL;
    bool more = true;

    for (; more; victim++)
        for (int kind = 0; more && kind < kinds; kind++)
            for (uint64_t i = 0, first = test_random(&seed); more && i < moments; i++, trials++) {
                struct trial trial = {victim, (enum kind)kind,
                                      (enum moment)((first + i) % MOMENTS)};

                more = hold_trial(f, &trial);
            }
    print_message("%d descriptors, %llu trials\n", victim - 1, (unsigned long long)trials - 1);
    return victim - 1;
}

static void each_descriptor_of_a_pool_can_be_lost(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_count(1, 20); i++)
        assert_true(hold_trials(try_on_a_pool, KINDS, test_count(1, MOMENTS)) >= 6);
}

static void a_pool_leaves_another_alone_that_has_its_numbers(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_count(1, 20); i++)
        assert_true(hold_trials(try_with_another_pool, NOTHING + 1, 1) >= 6);
}

static void each_descriptor_of_a_process_can_be_lost(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_count(1, 20); i++)
        assert_int_equal(hold_trials(try_on_a_process, KINDS, test_count(2, MOMENTS)), 2);
}

static void a_task_that_closes_descriptors_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < test_count(1, 100); i++) {
        strike_in_workers(close_them);
        strike_in_workers(close_them_and_open_others);
        strike_in_workers(put_a_file_at_each);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_descriptor_of_a_pool_can_be_lost),
        TEST(a_pool_leaves_another_alone_that_has_its_numbers),
        TEST(each_descriptor_of_a_process_can_be_lost),
        TEST(a_task_that_closes_descriptors_loses_nothing),
    };

    return TEST_MAIN(tests);
}
