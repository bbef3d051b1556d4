/* SPDX-License-Identifier: MIT */
/*
 * libmproc's part of compare.py: `compare TASKS WORKERS TASK-US RETRIES SEED` submits so many tasks
 * while a thread kills a random worker every 0 to 20 ms, and prints one line: completed, reported as
 * failed, kills, seconds; and whether the pool still works.
 */
#include <mproc/mproc.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 64, PAUSE_US = 20000 };

/* What workers and killer share. */
struct shared {
    _Atomic int32_t pids[WORKERS_MAX]; /* by worker; 0: killed, and not yet replaced */
};

static struct shared *shared;
static int32_t workers;
static uint64_t seed;
static _Atomic bool stop;
static _Atomic unsigned kills;

static int32_t note_pid(int32_t worker, void *arg)
{
    (void)arg;
    atomic_store(&shared->pids[worker], (int32_t)getpid());
    return 0;
}

static uint64_t next_random(void)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return seed >> 33;
}

static void sleep_us(uint64_t us)
{
    const struct timespec pause = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

    nanosleep(&pause, NULL);
}

static void *kill_workers(void *arg)
{
    for (;;) {
        int32_t victim;

        sleep_us(next_random() % PAUSE_US);
        if (atomic_load(&stop))
            return arg;
        victim = atomic_exchange(&shared->pids[next_random() % (uint64_t)workers], 0);
        if (victim > 1 && kill(victim, SIGKILL) == 0)
            atomic_fetch_add(&kills, 1);
    }
}

static int32_t twice(mproc_task *task, void *task_us)
{
    const uint64_t *in = mproc_task_input(task, NULL);
    uint64_t *out = mproc_task_output(task, sizeof *out);

    if (*(const uint64_t *)task_us)
        sleep_us(*(const uint64_t *)task_us);
    *out = *in * 2;
    return 0;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Wait for a task.  Has it given its result? */
static bool complete(mproc_future *future, uint64_t index)
{
    const void *data;
    bool done = mproc_future_wait(future, -1) == 0 &&
                mproc_future_result(future, &data, NULL) == 0 &&
                *(const uint64_t *)data == index * 2;

    mproc_future_free(future);
    return done;
}

int main(int argc, char **argv)
{
    mproc_pool_options options = {.size = sizeof options, .init = note_pid};
    mproc_submit_options submit = {.size = sizeof submit, .output_max = 64};
    uint64_t tasks = argc == 6 ? strtoull(argv[1], NULL, 10) : 0, task_us, completed = 0, sent = 0;
    mproc_future **futures = calloc(tasks + 1, sizeof(mproc_future *));
    bool works = false;
    pthread_t killer;
    mproc_pool *pool;
    double begin, seconds;

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!tasks || !futures || shared == MAP_FAILED)
        return 2;
    workers = atoi(argv[2]);
    task_us = strtoull(argv[3], NULL, 10);
    submit.retries = atoi(argv[4]);
    submit.ctx_size = sizeof task_us;
    seed = strtoull(argv[5], NULL, 10);
    if (workers < 1 || workers > WORKERS_MAX || mproc_pool_create(&pool, workers, &options) ||
        pthread_create(&killer, NULL, kill_workers, NULL))
        return 2;
    begin = now();
    while (sent < tasks &&
           !mproc_pool_submit(pool, &futures[sent], twice, &task_us, &sent, sizeof sent, &submit))
        sent++;
    for (uint64_t i = 0; i < sent; i++)
        completed += complete(futures[i], i);
    seconds = now() - begin;
    atomic_store(&stop, true);
    pthread_join(killer, NULL);
    if (!mproc_pool_submit(pool, &futures[0], twice, &task_us, &tasks, sizeof tasks, &submit))
        works = complete(futures[0], tasks);
    printf("%llu %llu %u %.2f %s\n", (unsigned long long)completed,
           (unsigned long long)(sent - completed), atomic_load(&kills), seconds,
           works ? "works" : "broken");
    mproc_pool_destroy(pool);
    free(futures);
    return works && sent == tasks ? 0 : 1;
}
