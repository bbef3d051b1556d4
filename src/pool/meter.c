/* SPDX-License-Identifier: MIT */
/*
 * What a worker notes of its own doings, for people to read: nothing else depends on it.  Runs in the
 * worker, once for each chunk, so it is cheap: a clock that costs no system call, and plain stores
 * into the worker's own record.
 */
#include "worker.h"

void mp_meter_begin(struct worker *worker)
{
    struct worker_shm *self = mp_region_worker(worker->region, worker->number);

    worker->began = mp_now_coarse();
    /* Relaxed: read only when this process is dead. */
    atomic_store_explicit(&self->began, worker->began, memory_order_relaxed);
}

int64_t mp_meter_ran(const struct worker *worker)
{
    return mp_now_coarse() - worker->began;
}
