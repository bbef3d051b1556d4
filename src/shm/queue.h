/* SPDX-License-Identifier: MIT */
/*
 * queue.h: the ticket queue, a ring in shared memory that the host fills and the workers empty, and
 * who of them is idle.  No entry belongs to a process: a worker that dies with a ticket in hand has
 * lost one, no more, and the ring goes on.
 *
 * Who sleeps is woken through a pipe, and nobody sleeps in vain:
 *
 *     host     push; look who is idle; where somebody is, a byte into the pipe
 *     worker   say that it is idle; look at the queue; nothing there: read the pipe
 *
 * All of that is sequentially consistent: of a push and a worker that goes to sleep, either the
 * host sees the idle worker or the worker sees the ticket.  A byte too many wakes somebody for
 * nothing.
 */
#ifndef MP_QUEUE_H
#define MP_QUEUE_H

#include "region.h"

/* The host's end, in its private memory.  Zeroed with the queue. */
struct queue_end {
    uint64_t tail; /* tickets ever pushed */
    uint64_t head; /* popped, when it last looked */
};

/* Host.  False: the queue is full. */
bool mp_queue_push(const struct region *region, struct queue_end *end, uint32_t id);
/* Host: could the workers' count of tickets ever popped be true, and has nobody touched the host's? */
bool mp_queue_is_plausible(const struct region *region, const struct queue_end *end);
/* Host: how many workers are idle, or are dead and were. */
uint32_t mp_queue_idle(const struct region *region);

/* Worker.  False: the queue is empty. */
bool mp_queue_pop(const struct region *region, uint32_t *id);
/* Worker: a guess. */
bool mp_queue_is_empty(const struct region *region);
/* Worker: false, and it is not idle: there is a ticket. */
bool mp_queue_go_idle(const struct region *region, uint32_t worker);
void mp_queue_leave_idle(const struct region *region, uint32_t worker);

#endif
