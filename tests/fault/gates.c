/* SPDX-License-Identifier: MIT */
/* What gates.h says. */
#include "support.h"

#include "gates.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GONE_MS = 1000 };

/* ---- what all processes of a test share ------------------------------------------------------ */

struct stage *stage;

void set_stage(void)
{
    stage = test_share(sizeof *stage);
    for (int event = 0; event < EVENTS; event++)
        assert_int_equal(sem_init(&stage->events[event], 1, 0), 0);
}

void clear_stage(void)
{
    test_unshare(stage, sizeof *stage);
}

void take(enum event event)
{
    while (sem_wait(&stage->events[event]) && errno == EINTR)
        ;
}

void post(enum event event)
{
    sem_post(&stage->events[event]);
}

void note(pid_t pid)
{
    int at = atomic_fetch_add(&stage->pid_count, 1);

    if (at < PIDS)
        atomic_store(&stage->pids[at], (int)pid);
}

int32_t pass_gate(mproc_task *task, void *ctx)
{
    (void)task, (void)ctx;
    note(getpid());
    note(getppid());
    post(BEGUN);
    take(GO);
    post(ENDED);
    return 0;
}

void assert_all_gone(void)
{
    int count = atomic_load(&stage->pid_count);

    assert_in_range(count, 1, PIDS);
    for (int i = 0; i < count; i++)
        if (!test_process_gone(atomic_load(&stage->pids[i]), GONE_MS * test_slowness()))
            fail_msg("process %d is left", atomic_load(&stage->pids[i]));
}

/* ---- the host: a child of the test; each returns its exit code ------------------------------- */

static int32_t identity(const void *in, void *out, void *ctx)
{
    (void)ctx;
    *(uint64_t *)out = *(const uint64_t *)in;
    return 0;
}

bool is_usable(mproc_pool *pool)
{
    uint64_t out[8] = {0};

    return mproc_pool_map(pool, identity, NULL, NULL, 0, out, 8, 8, NULL) == 0 && out[7] == 7;
}

mproc_pool *make_gates(mproc_future *futures[WORKERS])
{
    mproc_pool *pool;

    if (mproc_pool_create(&pool, WORKERS, NULL))
        _exit(10);
    for (int i = 0; i < WORKERS; i++)
        if (mproc_pool_submit(pool, &futures[i], pass_gate, NULL, NULL, 0, NULL))
            _exit(11);
    return pool;
}

int finish_gates(mproc_pool *pool, mproc_future *futures[WORKERS])
{
    for (int i = 0; i < WORKERS; i++) {
        if (mproc_future_wait(futures[i], -1) || mproc_future_result(futures[i], NULL, NULL))
            return 12;
        mproc_future_free(futures[i]);
    }
    if (!is_usable(pool))
        return 13;
    mproc_pool_destroy(pool);
    return 0;
}

int end_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void open_gates(void)
{
    for (int i = 0; i < WORKERS; i++)
        post(GO);
}

void await_gates(void)
{
    for (int i = 0; i < WORKERS; i++)
        take(BEGUN);
}
