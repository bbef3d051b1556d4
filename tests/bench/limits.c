/* SPDX-License-Identifier: MIT */
/*
 * What forks, pipes and memory give by themselves: the least code that does the work, without
 * anything that a library owes its user.  Each function measures in a process of its own, whose
 * children end with it or when their pipe does.
 */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 200, MEBIBYTE = 1 << 20 };

/* ---- helpers --------------------------------------------------------------------------------- */

static void make_pipe(int ends[2])
{
    must(pipe(ends) ? -errno : 0);
}

static pid_t fork_one(void)
{
    pid_t pid = fork();

    must(pid < 0 ? -errno : 0);
    return pid;
}

static void send(int fd, const void *data, size_t length)
{
    must(write(fd, data, length) == (ssize_t)length ? 0 : -EPIPE);
}

static bool receive(int fd, void *data, size_t length)
{
    return read(fd, data, length) == (ssize_t)length;
}

static void wait_for(pid_t pid)
{
    int status;

    must(waitpid(pid, &status, 0) == pid ? 0 : -errno);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void fork_and_wait(void *arg)
{
    pid_t pid = fork_one();

    (void)arg;
    if (pid == 0)
        _exit(0);
    wait_for(pid);
}

MEASURE(limit_fork)
{
    (void)contender;
    return 1e6 * median_seconds(seconds, fork_and_wait, NULL);
}

MEASURE(limit_fork_big)
{
    touched_memory(contender->size);
    return 1e3 * median_seconds(seconds, fork_and_wait, NULL);
}

/* Forks that answer each number with its square, until the pipe ends. */
struct crew {
    int to[2];
    int from[2];
    int32_t workers;
    pid_t pids[64];
};

static _Noreturn void answer_all(struct crew *crew)
{
    int64_t number;

    close(crew->to[1]);
    close(crew->from[0]);
    while (receive(crew->to[0], &number, sizeof number)) {
        number = square_of(number);
        send(crew->from[1], &number, sizeof number);
    }
    _exit(0);
}

static void crew_begin(struct crew *crew, int32_t workers)
{
    make_pipe(crew->to);
    make_pipe(crew->from);
    crew->workers = workers;
    for (int32_t i = 0; i < workers; i++) {
        crew->pids[i] = fork_one();
        if (crew->pids[i] == 0)
            answer_all(crew);
    }
    close(crew->to[0]);
    close(crew->from[1]);
}

static void crew_end(struct crew *crew)
{
    close(crew->to[1]);
    close(crew->from[0]);
    for (int32_t i = 0; i < crew->workers; i++)
        wait_for(crew->pids[i]);
}

static void ask_crew(struct crew *crew)
{
    int64_t number = 3;

    send(crew->to[1], &number, sizeof number);
    must(receive(crew->from[0], &number, sizeof number) && number == 9 ? 0 : -EPROTO);
}

static void create_and_end(void *arg)
{
    const struct contender *contender = arg;
    struct crew crew;

    crew_begin(&crew, contender->workers);
    ask_crew(&crew);
    crew_end(&crew);
}

MEASURE(limit_create)
{
    struct contender copy = *contender;

    return 1e3 * median_seconds(seconds, create_and_end, &copy);
}

/* ---- single tasks ---------------------------------------------------------------------------- */

static void ping_pong(void *crew)
{
    for (int i = 0; i < BATCH; i++)
        ask_crew(crew);
}

MEASURE(limit_pipe_ping_pong)
{
    struct crew crew;
    double value;

    crew_begin(&crew, contender->workers);
    ping_pong(&crew);
    value = 1e6 * median_seconds(seconds, ping_pong, &crew) / BATCH;
    crew_end(&crew);
    return value;
}

/* Two words on cache lines of their own: a question, and its answer. */
struct table {
    _Alignas(64) _Atomic uint64_t question;
    _Alignas(64) _Atomic uint64_t answer;
};

static void spin_ping_pong(void *arg)
{
    struct table *table = arg;
    uint64_t turn = atomic_load_explicit(&table->answer, memory_order_relaxed);

    for (int i = 0; i < BATCH; i++) {
        turn++;
        atomic_store_explicit(&table->question, turn, memory_order_release);
        while (atomic_load_explicit(&table->answer, memory_order_acquire) != turn)
            ;
    }
}

static _Noreturn void spin_and_answer(struct table *table)
{
    for (uint64_t turn = 1;; turn++) {
        uint64_t question;

        do
            question = atomic_load_explicit(&table->question, memory_order_acquire);
        while (question < turn);
        if (question == UINT64_MAX)
            _exit(0);
        atomic_store_explicit(&table->answer, turn, memory_order_release);
    }
}

MEASURE(limit_spin_ping_pong)
{
    struct table *table = shared_memory(sizeof *table);
    pid_t pid = fork_one();
    double value;

    (void)contender;
    if (pid == 0)
        spin_and_answer(table);
    spin_ping_pong(table);
    value = 1e6 * median_seconds(seconds, spin_ping_pong, table) / BATCH;
    atomic_store_explicit(&table->question, UINT64_MAX, memory_order_release);
    wait_for(pid);
    return value;
}

/* As many in flight as asked for, each a write and a read: what a pool of pipes alone can do. */
struct flight {
    struct crew crew;
    uint64_t window;
};

static void fly(void *arg)
{
    struct flight *flight = arg;
    int64_t number = 3;

    for (uint64_t i = 0; i < 10 * flight->window; i++) {
        must(receive(flight->crew.from[0], &number, sizeof number) ? 0 : -EPROTO);
        number = 3;
        send(flight->crew.to[1], &number, sizeof number);
    }
}

MEASURE(limit_pipe_tasks)
{
    struct flight flight = {.window = contender->count};
    int64_t number = 3;
    double value;

    crew_begin(&flight.crew, contender->workers);
    for (uint64_t i = 0; i < flight.window; i++)
        send(flight.crew.to[1], &number, sizeof number);
    value = 1e-6 * 10 * (double)flight.window / median_seconds(seconds, fly, &flight);
    for (uint64_t i = 0; i < flight.window; i++)
        receive(flight.crew.from[0], &number, sizeof number);
    crew_end(&flight.crew);
    return value;
}

/* ---- a warm pool: forks, tickets by a pipe, one shared counter of chunks --------------------------- */

struct warm;
typedef void (*range_fn)(const struct warm *warm, uint64_t first, uint64_t end);

struct counters {
    _Alignas(64) _Atomic uint64_t next;
    _Alignas(64) _Atomic uint64_t left;
};

struct warm {
    struct counters *counters;
    range_fn work;
    uint64_t count;
    uint64_t chunk;
    size_t size; /* of an item, and of a result */
    char *in;    /* both shared */
    char *out;
    const char *user_in; /* copied from and to; NULL: in place */
    char *user_out;
    int32_t workers;
    int tickets[2];
    int bell[2];
    pid_t pids[64];
};

static void square_range(const struct warm *warm, uint64_t first, uint64_t end)
{
    const int64_t *in = (const int64_t *)(const void *)warm->in;
    int64_t *out = (int64_t *)(void *)warm->out;

    for (uint64_t i = first; i < end; i++)
        out[i] = square_of(in[i]);
}

static void copy_range(const struct warm *warm, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++)
        memcpy(warm->out + i * warm->size, warm->in + i * warm->size, warm->size);
}

static uint64_t warm_serve(const struct warm *warm)
{
    uint64_t done = 0;

    for (;;) {
        uint64_t first =
            atomic_fetch_add_explicit(&warm->counters->next, warm->chunk, memory_order_acquire);
        uint64_t end = first + warm->chunk < warm->count ? first + warm->chunk : warm->count;

        if (first >= warm->count)
            return done;
        warm->work(warm, first, end);
        done += end - first;
    }
}

static _Noreturn void warm_work(const struct warm *warm)
{
    char ticket;

    close(warm->tickets[1]);
    while (receive(warm->tickets[0], &ticket, 1)) {
        uint64_t done = warm_serve(warm);

        if (done &&
            atomic_fetch_sub_explicit(&warm->counters->left, done, memory_order_acq_rel) == done)
            send(warm->bell[1], "", 1);
    }
    _exit(0);
}

static void warm_begin(struct warm *warm, const struct contender *contender, uint64_t chunk)
{
    warm->count = contender->count;
    warm->workers = contender->workers;
    warm->chunk = chunk ? chunk : (warm->count - 1) / (4 * (uint64_t)warm->workers) + 1;
    warm->counters = shared_memory(sizeof *warm->counters);
    warm->in = shared_memory(warm->count * warm->size);
    warm->out = shared_memory(warm->count * warm->size);
    make_pipe(warm->tickets);
    make_pipe(warm->bell);
    atomic_store(&warm->counters->next, warm->count);
    for (int32_t i = 0; i < warm->workers; i++) {
        warm->pids[i] = fork_one();
        if (warm->pids[i] == 0)
            warm_work(warm);
    }
    close(warm->tickets[0]);
}

static void warm_map(void *arg)
{
    static const char tickets[64];
    struct warm *warm = arg;
    char rung;

    if (warm->user_in)
        memcpy(warm->in, warm->user_in, warm->count * warm->size);
    atomic_store_explicit(&warm->counters->left, warm->count, memory_order_relaxed);
    atomic_store_explicit(&warm->counters->next, 0, memory_order_release);
    send(warm->tickets[1], tickets, (size_t)warm->workers);
    must(receive(warm->bell[0], &rung, 1) ? 0 : -EPROTO);
    if (warm->user_out)
        memcpy(warm->user_out, warm->out, warm->count * warm->size);
}

static void warm_end(struct warm *warm)
{
    close(warm->tickets[1]);
    for (int32_t i = 0; i < warm->workers; i++)
        wait_for(warm->pids[i]);
}

/* The median seconds of one map. */
static double warm_measure(struct warm *warm, const struct contender *contender, bool copies,
                           uint64_t chunk, double seconds)
{
    double value;

    if (copies) {
        warm->user_in = touched_memory(contender->count * warm->size);
        warm->user_out = touched_memory(contender->count * warm->size);
    }
    warm_begin(warm, contender, chunk);
    warm_map(warm);
    value = median_seconds(seconds, warm_map, warm);
    warm_end(warm);
    return value;
}

/* Millions of items in a second; size is the chunk. */
static double warm_squares(const struct contender *contender, bool copies, double seconds)
{
    struct warm warm = {.work = square_range, .size = sizeof(int64_t)};

    return 1e-6 * (double)contender->count /
           warm_measure(&warm, contender, copies, contender->size, seconds);
}

MEASURE(limit_pool_copies)
{
    return warm_squares(contender, true, seconds);
}

MEASURE(limit_pool_in_place)
{
    return warm_squares(contender, false, seconds);
}

/* GiB in a second, as in and out count both; size is that of an item. */
static double warm_large(const struct contender *contender, bool copies, double seconds)
{
    struct warm warm = {.work = copy_range, .size = contender->size};
    double bytes = (double)contender->count * (double)contender->size;

    return bytes / (1 << 30) / warm_measure(&warm, contender, copies, 1, seconds);
}

MEASURE(limit_large_copies)
{
    return warm_large(contender, true, seconds);
}

MEASURE(limit_large_in_place)
{
    return warm_large(contender, false, seconds);
}

/* ---- memory ---------------------------------------------------------------------------------- */

struct blocks {
    char *from;
    char *to;
    uint64_t count;
    size_t size;
};

static void copy_blocks(void *arg)
{
    struct blocks *blocks = arg;

    for (uint64_t i = 0; i < blocks->count; i++)
        memcpy(blocks->to + i * blocks->size, blocks->from + i * blocks->size, blocks->size);
}

MEASURE(limit_memcpy)
{
    struct blocks blocks = {.count = contender->count, .size = contender->size};
    size_t bytes = contender->count * contender->size;

    blocks.from = touched_memory(bytes);
    blocks.to = touched_memory(bytes);
    return (double)bytes / (1 << 30) / median_seconds(seconds, copy_blocks, &blocks);
}
