/* SPDX-License-Identifier: MIT */
/*
 * Crash points: the library is built with a call at each place where a death leaves something
 * different behind (src/point.h).  For each of these points, in each process that comes by, a host
 * plays one scenario, and at the first, second or third visit the process that came there is
 * killed, exits, aborts or is stopped.  What has to be true then:
 *
 * - A worker: only a chunk that it held fails, as crashed; with retries not even that.  Stopped, it
 *   is found out by the time limit that all tasks have then, and again only a chunk that it held
 *   fails, by the limit.  Where nothing with a limit is open any more (restart, close), nobody
 *   promises to look, and the worker is continued.
 * - The supervisor: each open task ends, within a second, in a result or with MPROC_EBROKEN, and a
 *   restart brings the pool back.  While it is stopped no limit is enforced and nobody replaced; it
 *   is continued after a moment, and then nothing may have been lost.
 * - The host: every process it has made is gone within a second, whatever was made by then.
 *   Continued after a stop, it sees nothing amiss.
 * - No task runs more often than it was asked to, and no other fails than those said above.
 *
 * The list of points below must be what a run without a fault visits: no more, no less.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "point.h"

/* ---- the points ------------------------------------------------------------------------------ */

enum role { HOST, SUPERVISOR, WORKER }; /* SUPERVISOR: or another child of the host */

/* The worker holds a chunk here; there is such a point only where one can sleep on words. */
enum { HOLDS = 1, ON_WORDS = 2 };

static const struct point {
    enum role role;
    int flags;
    const char *label;
} points[] = {
    {WORKER, 0, "forked"},
    {WORKER, 0, "worker forked"},
    {WORKER, 0, "worker bonded"},
    {WORKER, 0, "worker ready, not up"},
    {WORKER, 0, "worker up"},
    {WORKER, 0, "idle, not asleep"},
    {WORKER, 0, "looking out"},
    {WORKER, 0, "looked away"},
    {WORKER, 0, "woken, still idle"},
    {WORKER, 0, "ticket popped"},
    {WORKER, 0, "ticket noted"},
    {WORKER, HOLDS, "claim noted, not its deadline"},
    {WORKER, 0, "about to claim"},
    {WORKER, HOLDS, "claimed"},
    {WORKER, HOLDS, "about to run"},
    {WORKER, HOLDS, "failure written"},
    {WORKER, HOLDS, "ran, not finished"},
    {WORKER, 0, "finished"},
    {WORKER, 0, "about to look back"},
    {WORKER, 0, "about to announce"},
    {WORKER, 0, "ready, not rung"},
    {WORKER, ON_WORDS, "rung, nobody woken"},
    {WORKER, 0, "rung, not for the loop"},
    {WORKER, 0, "announced"},
    {WORKER, 0, "served"},
    {WORKER, 0, "ticket given up"},
    {WORKER, 0, "retiring"},
    {WORKER, 0, "worker about to exit"},
    {SUPERVISOR, 0, "child forked"},
    {SUPERVISOR, 0, "child bonded"},
    {SUPERVISOR, 0, "supervisor forked"},
    {SUPERVISOR, 0, "supervisor set up"},
    {SUPERVISOR, 0, "about to fork a worker"},
    {SUPERVISOR, 0, "about to fork"},
    {SUPERVISOR, 0, "forked"},
    {SUPERVISOR, 0, "worker forked, not seated"},
    {SUPERVISOR, 0, "worker seated"},
    {SUPERVISOR, 0, "death seen"},
    {SUPERVISOR, 0, "group killed, not reaped"},
    {SUPERVISOR, 0, "reaped, not buried"},
    {SUPERVISOR, 0, "outcome written, not buried"},
    {SUPERVISOR, 0, "buried, not counted"},
    {SUPERVISOR, 0, "lost counted"},
    {SUPERVISOR, 0, "death counted, not rung"},
    {SUPERVISOR, ON_WORDS, "rung, nobody woken"},
    {SUPERVISOR, 0, "death rung, not for the loop"},
    {SUPERVISOR, 0, "death announced"},
    {SUPERVISOR, 0, "to be stopped, not killed"},
    {SUPERVISOR, 0, "found stopped, not killed"},
    {SUPERVISOR, 0, "limit over"},
    {SUPERVISOR, 0, "limit enforced, not noted"},
    {SUPERVISOR, 0, "expired, not killed"},
    {SUPERVISOR, 0, "expired and killed"},
    {SUPERVISOR, 0, "all have left"},
    {SUPERVISOR, 0, "about to kill all"},
    {SUPERVISOR, 0, "all killed, not reaped"},
    {HOST, 0, "memory open, no process"},
    {HOST, 0, "pipes open, nobody there"},
    {HOST, 0, "about to fork"},
    {HOST, 0, "forked"},
    {HOST, 0, "child forked, not kept"},
    {HOST, 0, "supervisor forked, not kept"},
    {HOST, 0, "generation started"},
    {HOST, 0, "slot taken"},
    {HOST, 0, "words published"},
    {HOST, 0, "limit announced"},
    {HOST, 0, "tickets pushed, nobody woken"},
    {HOST, 0, "tickets posted"},
    {HOST, 0, "host waits, has not looked"},
    {HOST, 0, "host awake, has not looked"},
    {HOST, 0, "ready bits taken"},
    {HOST, 0, "death heard"},
    {HOST, 0, "job seen ended"},
    {HOST, 0, "about to cancel"},
    {HOST, 0, "closed, not poked"},
    {HOST, 0, "loop to be rung, not poked"},
    {HOST, 0, "loop's bell empty, not looked"},
    {HOST, 0, "queue shut, not its pipe"},
    {HOST, 0, "wake pipe shut"},
    {HOST, ON_WORDS, "rung, nobody woken"},
    {HOST, 0, "told to end"},
    {HOST, 0, "bell has ended"},
    {HOST, 0, "supervisor reaped"},
    {HOST, 0, "old generation gone"},
    {HOST, 0, "about to give back"},
};

enum {
    POINTS = sizeof points / sizeof points[0],
    NO_POINT = -1,
    VISITS = 3,
    ITEMS = 256,
    WORKERS = 2,
    MOST_OPEN = 16,     /* tasks at a time */
    PROMISED_MS = 1000, /* for the ends that the library promises */
    HUNG_MS = 20000,
    PLAYED = 33 /* exit code of a host whose scenario came to its end */
};

enum action { KILL, EXIT, ABORT, STOP, ACTIONS };
static const char *const action_names[ACTIONS] = {"SIGKILL", "_exit", "abort", "SIGSTOP"};

/* What the processes of one scenario share with the test. */
struct stage {
    int point; /* where the fault is; NO_POINT: none */
    enum action action;
    _Atomic int visits_left;
    _Atomic int32_t fired; /* the pid of the process that it hit */
    _Atomic int64_t fired_at;
    _Atomic int leaving; /* nothing with a limit is open */
    _Atomic int wrong;   /* the line that found something wrong */
    _Atomic int item;    /* the task that was looked at last, and how it ended */
    _Atomic int error;
    _Atomic int unknown; /* a point was visited that is not in the list */
    _Atomic int visits[POINTS];
    _Atomic int starts; /* of workers */
    _Atomic int32_t pids[WORKERS];
    _Atomic int runs[ITEMS];
};

static struct stage *stage; /* of this host, and what it forks */
static int depth;           /* forks from the host down to this process */

static void go_deeper(void)
{
    depth++;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_here(int point)
{
    return !(points[point].flags & ON_WORDS) || mp_can_sleep_on_words();
}

static int find_point(const char *label)
{
    for (int i = 0; i < POINTS; i++)
        if ((int)points[i].role == depth && strcmp(points[i].label, label) == 0)
            return i;
    return NO_POINT;
}

static void suffer(enum action action)
{
    atomic_store(&stage->fired_at, now_ms());
    atomic_store(&stage->fired, (int32_t)getpid());
    switch (action) {
    case KILL:
        raise(SIGKILL);
        break;
    case EXIT:
        _exit(0);
    case ABORT:
        abort();
    case STOP:
        raise(SIGSTOP);
        break;
    case ACTIONS:
        break;
    }
}

void mp_point(const char *label)
{
    int saved = errno, point;

    if (!stage)
        return;
    point = find_point(label);
    if (point == NO_POINT)
        atomic_store(&stage->unknown, 1);
    else
        atomic_fetch_add(&stage->visits[point], 1);
    if (point != NO_POINT && point == stage->point && atomic_fetch_sub(&stage->visits_left, 1) == 1)
        suffer(stage->action);
    errno = saved;
}

/* ---- the tasks ------------------------------------------------------------------------------- */

enum kind { ANSWER, CRASH, CRASH_ONCE, FAIL, HANG };

struct order {
    uint32_t item;
    enum kind kind;
};

static uint64_t answer(uint64_t item)
{
    return item * 0x9e3779b97f4a7c15U + 1;
}

static int32_t obey(mproc_task *task, void *ctx)
{
    struct order order;
    int runs;

    (void)ctx;
    memcpy(&order, mproc_task_input(task, NULL), sizeof order);
    runs = atomic_fetch_add(&stage->runs[order.item], 1);
    if (order.kind == FAIL)
        return mproc_fail(7, "as it was told");
    if (order.kind == CRASH || (order.kind == CRASH_ONCE && runs == 0))
        raise(SIGKILL);
    while (order.kind == HANG)
        pause();
    *(uint64_t *)mproc_task_output(task, sizeof(uint64_t)) = answer(order.item);
    return 0;
}

static int32_t map_answer(const void *in, void *out, void *ctx)
{
    uint32_t item = *(const uint32_t *)in;

    (void)ctx;
    atomic_fetch_add(&stage->runs[item], 1);
    *(uint64_t *)out = answer(item);
    return 0;
}

static int32_t note_start(int32_t worker, void *arg)
{
    (void)arg;
    atomic_store(&stage->pids[worker], (int32_t)getpid());
    atomic_fetch_add(&stage->starts, 1);
    return 0;
}

/* ---- the host -------------------------------------------------------------------------------- */

static mproc_pool *pool;
static uint32_t next_item;
static int failed; /* chunks that did not end as they would without the fault */

static void check(bool holds, int line)
{
    if (holds)
        return;
    atomic_store(&stage->wrong, line);
    _exit(1);
}

#define CHECK(holds) check((holds), __LINE__)

static bool hits(enum role role)
{
    return stage->point != NO_POINT && points[stage->point].role == role &&
           atomic_load(&stage->fired);
}

/* For each task while a worker is to be stopped, so that this is found out. */
static int64_t limit_ms(void)
{
    return stage->point != NO_POINT && points[stage->point].role == WORKER && stage->action == STOP
               ? 500 * test_slowness()
               : 0;
}

/* May a task or item that was asked to be run up to 1 + retries times end with this error? */
static bool fault_explains(int error, const mproc_failure *failure, int32_t retries)
{
    static const int signals[ACTIONS] = {SIGKILL, 0, SIGABRT, 0};

    if (error == MPROC_EBROKEN)
        return hits(SUPERVISOR) && stage->action != STOP &&
               (!failure || strncmp(failure->text, "the supervisor ", 15) == 0);
    if (!hits(WORKER) || !(points[stage->point].flags & HOLDS) || failed++ > 0)
        return false;
    if (stage->action == STOP)
        return error == MPROC_ELIMIT;
    return error == MPROC_ECRASHED && retries == 0 &&
           (!failure || failure->signal == signals[stage->action]);
}

struct entry {
    mproc_future *future;
    struct order order;
    int32_t retries;
};

static mproc_future *open_futures[MOST_OPEN]; /* and NULL */

/* The pool said MPROC_EBROKEN, and can be restarted when each open task has ended. */
static void bring_back(void)
{
    CHECK(hits(SUPERVISOR) && stage->action != STOP);
    CHECK(mproc_future_wait_all(open_futures, MOST_OPEN, 5000 * test_slowness()) == 0);
    CHECK(mproc_pool_restart(pool) == 0);
}

static struct entry submit(enum kind kind, int32_t retries, int64_t limit)
{
    mproc_submit_options options = {
        .size = sizeof options, .retries = retries, .output_max = 64, .time_limit_ms = limit};
    struct entry entry = {NULL, {next_item++, kind}, retries};
    int r = mproc_pool_submit(pool, &entry.future, obey, NULL, &entry.order, sizeof entry.order,
                              &options);

    if (r == MPROC_EBROKEN) {
        bring_back();
        r = mproc_pool_submit(pool, &entry.future, obey, NULL, &entry.order, sizeof entry.order,
                              &options);
    }
    CHECK(r == 0);
    open_futures[entry.order.item % MOST_OPEN] = entry.future;
    return entry;
}

/* The task ends in time, as it would, or as the fault explains; then it has run as often as it
 * may. */
static void finish(struct entry *entry, int expected)
{
    mproc_failure failure = {.size = sizeof failure};
    int runs, r;
    const void *data;
    size_t length;

    CHECK(mproc_future_wait(entry->future, 5000 * test_slowness()) == 0);
    if (hits(SUPERVISOR) && stage->action != STOP)
        CHECK(now_ms() - atomic_load(&stage->fired_at) <= PROMISED_MS * test_slowness() ||
              mproc_future_result(entry->future, NULL, NULL) != MPROC_EBROKEN);
    CHECK(mproc_future_failure(entry->future, &failure) == 0);
    r = mproc_future_result(entry->future, &data, &length);
    atomic_store(&stage->item, (int)entry->order.item);
    atomic_store(&stage->error, r);
    CHECK(r == failure.error);
    CHECK(r == expected || fault_explains(r, &failure, entry->retries));
    runs = atomic_load(&stage->runs[entry->order.item]);
    CHECK(runs <= 1 + entry->retries && (r || runs >= 1));
    if (r == 0)
        CHECK(length == sizeof(uint64_t) &&
              memcmp(data, &(uint64_t){answer(entry->order.item)}, length) == 0);
    mproc_future_free(entry->future);
    open_futures[entry->order.item % MOST_OPEN] = NULL;
}

static void play_tasks(void)
{
    static const struct {
        enum kind kind;
        int32_t retries;
        int expected;
    } tasks[] = {{ANSWER, 0, 0}, {FAIL, 0, MPROC_ETASK},     {ANSWER, 3, 0},
                 {ANSWER, 0, 0}, {CRASH_ONCE, 2, 0},         {CRASH, 0, MPROC_ECRASHED},
                 {ANSWER, 0, 0}, {CRASH, 1, MPROC_ECRASHED}, {FAIL, 0, MPROC_ETASK},
                 {ANSWER, 1, 0}, {FAIL, 0, MPROC_ETASK},     {ANSWER, 0, 0}};
    enum { TASKS = sizeof tasks / sizeof tasks[0] };
    struct entry entries[TASKS];

    for (int i = 0; i < TASKS; i++)
        entries[i] = submit(tasks[i].kind, tasks[i].retries, limit_ms());
    for (int i = 0; i < TASKS; i++)
        finish(&entries[i], tasks[i].expected);
}

/* With `statuses` each item is for itself; without, the first failure ends the map. */
static void play_map(bool statuses)
{
    enum { COUNT = 12 };
    uint32_t in[COUNT];
    uint64_t out[COUNT];
    int32_t ends[COUNT] = {0};
    mproc_map_options options = {.size = sizeof options,
                                 .chunk_size = 3,
                                 .time_limit_ms = limit_ms(),
                                 .statuses = statuses ? ends : NULL};
    int r;

    for (uint32_t i = 0; i < COUNT; i++)
        in[i] = next_item++;
    r = mproc_pool_map(pool, map_answer, NULL, in, sizeof in[0], out, sizeof out[0], COUNT,
                       &options);
    if (r == MPROC_EBROKEN && atomic_load(&stage->runs[in[0]]) == 0) {
        bring_back();
        r = mproc_pool_map(pool, map_answer, NULL, in, sizeof in[0], out, sizeof out[0], COUNT,
                           &options);
    }
    CHECK(r == 0 || (statuses && r > 0) || fault_explains(r, NULL, 0));
    for (int i = 0; i < COUNT; i++) {
        int runs = atomic_load(&stage->runs[in[i]]);

        CHECK(runs <= 1);
        if (statuses && ends[i])
            CHECK(fault_explains(ends[i], NULL, 0));
        else if (r == 0 || statuses)
            CHECK(runs == 1 && out[i] == answer(in[i]));
    }
}

/* Until it runs, or has ended because of the fault; the wait lets the library do its part. */
static void await_run(const struct entry *entry)
{
    while (!atomic_load(&stage->runs[entry->order.item]) &&
           mproc_future_wait(entry->future, 1) == -ETIMEDOUT)
        ;
}

/* Of three tasks two run and one waits: all are cancelled. */
static void play_cancel(void)
{
    struct entry entries[WORKERS + 1];

    for (int i = 0; i <= WORKERS; i++)
        entries[i] = submit(HANG, 0, limit_ms() * 4);
    for (int i = 0; i < WORKERS; i++)
        await_run(&entries[i]);
    for (int i = WORKERS; i >= 0; i--) {
        int r = mproc_future_cancel(entries[i].future);

        CHECK(r == 0 || r == -EALREADY);
    }
    for (int i = 0; i <= WORKERS; i++)
        finish(&entries[i], -ECANCELED);
}

/* Tasks of each kind, one of them cancelled, and no wait but for the descriptor. */
static void play_loop(void)
{
    static const int expected[] = {0, MPROC_ETASK, MPROC_ECRASHED, 0, 0, -ECANCELED};
    static const enum kind kinds[] = {ANSWER, FAIL, CRASH, ANSWER, ANSWER, HANG};
    enum { TASKS = sizeof kinds / sizeof kinds[0] };
    int64_t end = now_ms() + 5000 * test_slowness();
    struct entry entries[TASKS];
    struct pollfd polled = {.events = POLLIN};
    int ended = 0;

    while (mproc_pool_step(pool) > 0) /* what ended before */
        ;
    for (int i = 0; i < TASKS; i++)
        entries[i] = submit(kinds[i], 0, limit_ms());
    polled.fd = mproc_pool_fd(pool);
    CHECK(polled.fd > 2 || (polled.fd == MPROC_EBROKEN && hits(SUPERVISOR)));
    mproc_future_cancel(entries[TASKS - 1].future);
    while (ended >= 0 && ended < TASKS) {
        int r;

        CHECK(polled.fd < 0 || poll(&polled, 1, (int)(end - now_ms())) == 1);
        r = mproc_pool_step(pool);
        ended = r < 0 ? r : ended + r;
    }
    CHECK(ended == TASKS || (ended == MPROC_EBROKEN && hits(SUPERVISOR)));
    for (int i = 0; i < TASKS; i++)
        CHECK(mproc_future_wait(entries[i].future, 0) == 0);
    for (int i = 0; i < TASKS; i++)
        finish(&entries[i], expected[i]);
}

/* One worker is stopped while it is idle, and the other hangs in a task with a limit. */
static void play_limit(void)
{
    int64_t end = now_ms() + 2000;
    struct entry entry;
    int32_t idle;

    while (atomic_load(&stage->starts) < WORKERS && now_ms() < end && !atomic_load(&stage->fired))
        poll(NULL, 0, 1);
    idle = atomic_load(&stage->pids[0]);
    if (idle > 1)
        kill(idle, SIGSTOP);
    entry = submit(HANG, 0, limit_ms() ? limit_ms() : 30 * test_slowness());
    while (!atomic_load(&stage->fired) && mproc_future_wait(entry.future, 10) == -ETIMEDOUT)
        ;
    /* Without a signal at a parent's death such as Linux has, nobody could end a worker that was
     * stopped in the moment in which the supervisor died. */
    if (idle > 1 && hits(SUPERVISOR) && stage->action != STOP)
        kill(idle, SIGCONT);
    finish(&entry, MPROC_ELIMIT);
    if (idle > 1)
        kill(idle, SIGCONT); /* the fault may have ended the task before its limit */
}

static void restart(void)
{
    atomic_store(&stage->leaving, 1);
    atomic_store(&stage->starts, 0);
    CHECK(mproc_pool_restart(pool) == 0);
    atomic_store(&stage->leaving, 0);
}

static int32_t sleep_for_ever(void *arg)
{
    (void)arg;
    while (pause())
        ;
    return 0;
}

static mproc_process *spawn(void)
{
    mproc_spawn_options options = {.size = sizeof options, .daemon = 1, .new_group = 1};
    mproc_process *process;

    CHECK(mproc_spawn(&process, sleep_for_ever, NULL, &options) == 0);
    return process;
}

static void end_spawned(mproc_process *process)
{
    int32_t code, r = mproc_process_kill(process);

    CHECK(r == 0 || r == -ESRCH);
    CHECK(mproc_join(process, 5000 * test_slowness(), &code) == 0);
    CHECK(code == -SIGKILL || atomic_load(&stage->fired) == mproc_process_pid(process));
    mproc_process_free(process);
}

/* Three generations; the last is destroyed while a task runs, the others leave. */
static void play(void)
{
    mproc_pool_options options = {.size = sizeof options,
                                  .init = note_start,
                                  .tasks_per_worker = 9,
                                  .keep_descriptors = 1}; /* the life pipe of the test */
    mproc_process *process = NULL;
    struct entry entry;

    for (int i = 0; i < VISITS; i++) {
        if (process)
            end_spawned(process);
        process = spawn();
    }
    CHECK(mproc_pool_create(&pool, WORKERS, &options) == 0);
    for (int round = 0; round < VISITS; round++) {
        if (round)
            restart();
        play_limit();
        play_tasks();
        play_map(round % 2 == 0);
        play_loop();
        play_cancel();
    }
    entry = submit(HANG, 0, limit_ms() * 4);
    await_run(&entry);
    atomic_store(&stage->leaving, 1);
    mproc_pool_destroy(pool);
    finish(&entry, -ECANCELED);
    end_spawned(process);
}

/* ---- cases ----------------------------------------------------------------------------------- */

struct a_case {
    struct stage *stage;
    int visit;
    pid_t host;
    int life; /* the read end of a pipe whose write end all the processes of the host hold */
    int64_t end;
};

static _Noreturn void run_host(struct stage *shared)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    depth = 0;
    stage = shared;
    play();
    _exit(PLAYED);
}

static struct a_case begin(int point, enum action action, int visit)
{
    struct a_case c = {.stage = test_share(sizeof *c.stage), .visit = visit};
    int life[2];

    c.stage->point = point;
    c.stage->action = action;
    atomic_store(&c.stage->visits_left, visit);
    assert_int_equal(pipe(life), 0);
    fflush(NULL);
    c.host = fork();
    assert_true(c.host >= 0);
    if (c.host == 0)
        run_host(c.stage);
    close(life[1]);
    c.life = life[0];
    c.end = now_ms() + (int64_t)HUNG_MS * test_slowness();
    return c;
}

/* A process that was stopped goes on, where nobody else promises to see to it. */
static void go_on(const struct a_case *c)
{
    const struct stage *s = c->stage;
    int32_t pid = atomic_load(&s->fired);

    if (pid && s->action == STOP && (points[s->point].role != WORKER || atomic_load(&s->leaving)))
        kill(pid, SIGCONT);
}

/* Did the host end as it should? */
static bool right_end(const struct stage *s, int status)
{
    if (s->point != NO_POINT && points[s->point].role == HOST && atomic_load(&s->fired))
        switch (s->action) {
        case KILL:
            return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        case EXIT:
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        case ABORT:
            return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
        case STOP:
        case ACTIONS:
            break;
        }
    return WIFEXITED(status) && WEXITSTATUS(status) == PLAYED;
}

static bool all_gone(const struct a_case *c)
{
    struct pollfd life = {.fd = c->life, .events = POLLIN};

    return poll(&life, 1, PROMISED_MS * test_slowness()) == 1 && (life.revents & POLLHUP);
}

/* Has the case ended?  Then *bad counts it if it went wrong. */
static bool has_ended(struct a_case *c, int *bad)
{
    const struct stage *s = c->stage;
    const char *why = NULL;
    int status;

    go_on(c);
    if (waitpid(c->host, &status, WNOHANG) == 0) {
        if (now_ms() < c->end)
            return false;
        why = "the host hangs";
        kill(c->host, SIGKILL);
        waitpid(c->host, &status, 0);
    }
    if (!why && !right_end(s, status))
        why = "the host came to a wrong end";
    if (!all_gone(c))
        why = "a process is left";
    if (atomic_load(&s->unknown))
        why = "a point is not in the list";
    if (c->visit == 1 && s->point != NO_POINT && !atomic_load(&s->fired))
        why = "nobody came by";
    if (why) {
        (*bad)++;
        print_message("%s at \"%s\" (%s), visit %d: %s; status %#x, line %d, task %d: %d\n",
                      action_names[s->action], s->point < 0 ? "no point" : points[s->point].label,
                      (const char *[]){"host", "supervisor",
                                       "worker"}[s->point < 0 ? 0 : points[s->point].role],
                      c->visit, why, (unsigned)status, atomic_load(&s->wrong),
                      atomic_load(&s->item), atomic_load(&s->error));
    }
    close(c->life);
    return true;
}

enum { AT_ONCE = 8 }; /* many do nothing but wait for a limit */

/* Each point of the role with each action at each visit; in the short form a half of that, each at
 * one visit. */
static void run_cases(enum role role)
{
    uint64_t seed = test_seed();
    int visits = (int)test_count(1, VISITS), bad = 0, fired = 0, count = 0, next = 0;
    uint64_t one_of = (uint64_t)test_slowness() * (visits == 1 ? 2 : 1);
    struct a_case cases[AT_ONCE] = {{0}};
    bool busy;

    do {
        busy = false;
        for (int i = 0; i < AT_ONCE; i++) {
            if (cases[i].stage && has_ended(&cases[i], &bad)) {
                fired += atomic_load(&cases[i].stage->fired) != 0;
                test_unshare(cases[i].stage, sizeof *cases[i].stage);
                cases[i].stage = NULL;
            }
            for (; !cases[i].stage && next < POINTS * ACTIONS * visits; next++) {
                int point = next / visits / ACTIONS;
                uint64_t r = test_random(&seed);

                if (points[point].role != role || !is_here(point) || r % one_of != 0)
                    continue;
                cases[i] = begin(point, (enum action)(next / visits % ACTIONS),
                                 1 + (int)((visits == 1 ? r >> 32 : (uint64_t)next) % VISITS));
                count++;
            }
            busy |= cases[i].stage != NULL;
        }
        poll(NULL, 0, 2); /* the pace of the SIGCONTs, too */
    } while (busy);
    print_message("%d cases, the fault struck in %d\n", count, fired);
    assert_int_equal(bad, 0);
    assert_true(fired > count / 2);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void each_point_in_the_list_is_visited_and_no_other(void **state)
{
    struct a_case c;
    int bad = 0, missing = 0;

    (void)state;
    c = begin(NO_POINT, KILL, 1);
    while (!has_ended(&c, &bad))
        poll(NULL, 0, 2);
    for (int i = 0; i < POINTS; i++)
        if (is_here(i) && atomic_load(&c.stage->visits[i]) == 0) {
            print_message("nobody came by \"%s\"\n", points[i].label);
            missing++;
        }
    test_unshare(c.stage, sizeof *c.stage);
    assert_int_equal(bad, 0);
    assert_int_equal(missing, 0);
}

static void a_worker_may_fail_at_any_point(void **state)
{
    (void)state;
    run_cases(WORKER);
}

static void the_supervisor_may_fail_at_any_point(void **state)
{
    (void)state;
    run_cases(SUPERVISOR);
}

static void the_host_may_fail_at_any_point(void **state)
{
    (void)state;
    run_cases(HOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_point_in_the_list_is_visited_and_no_other),
        TEST(a_worker_may_fail_at_any_point),
        TEST(the_supervisor_may_fail_at_any_point),
        TEST(the_host_may_fail_at_any_point),
    };

    if (pthread_atfork(NULL, NULL, go_deeper))
        return 1;
    return TEST_MAIN(tests);
}
