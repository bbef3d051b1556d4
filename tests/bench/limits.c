/* SPDX-License-Identifier: MIT */
/*
 * What forks, pipes and memory give by themselves: the least code that does the work, without
 * anything that a library owes its user.  Each function measures in a process of its own, whose
 * children end with it or when their pipe does.
 */
#include "bench.h"
#include "load.h"
#include "pipes.h"
#include "timing.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 200 };

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
    while (receive_bytes(crew->to[0], &number, sizeof number)) {
        number = square_of(number);
        send_bytes(crew->from[1], &number, sizeof number);
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

    send_bytes(crew->to[1], &number, sizeof number);
    must(receive_bytes(crew->from[0], &number, sizeof number) && number == 9 ? 0 : -EPROTO);
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
        must(receive_bytes(flight->crew.from[0], &number, sizeof number) ? 0 : -EPROTO);
        number = 3;
        send_bytes(flight->crew.to[1], &number, sizeof number);
    }
}

MEASURE(limit_pipe_tasks)
{
    struct flight flight = {.window = contender->count};
    int64_t number = 3;
    double value;

    crew_begin(&flight.crew, contender->workers);
    for (uint64_t i = 0; i < flight.window; i++)
        send_bytes(flight.crew.to[1], &number, sizeof number);
    value = 1e-6 * 10 * (double)flight.window / median_seconds(seconds, fly, &flight);
    for (uint64_t i = 0; i < flight.window; i++)
        receive_bytes(flight.crew.from[0], &number, sizeof number);
    crew_end(&flight.crew);
    return value;
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

MEASURE(limit_idle_kib)
{
    double before = tree_kib(), value;
    struct crew crew;

    (void)seconds;
    crew_begin(&crew, contender->workers);
    ping_pong(&crew);
    value = tree_kib() - before;
    crew_end(&crew);
    return value;
}

/* ---- tasks of unequal length ------------------------------------------------------------------- */

MEASURE(limit_schedule_as_given)
{
    (void)seconds;
    return load_speed_up((size_t)contender->count, contender->workers, AS_GIVEN);
}

MEASURE(limit_schedule_longest_first)
{
    (void)seconds;
    return load_speed_up((size_t)contender->count, contender->workers, LONGEST_FIRST);
}
