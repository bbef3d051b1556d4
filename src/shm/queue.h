/* SPDX-License-Identifier: MIT */
/*
 * queue.h: the ticket queue, a ring in shared memory that the host fills and the workers empty, and
 * who of them is idle.  No entry belongs to a process: a worker that dies with a ticket in hand has
 * lost one, no more, and the ring goes on.
 *
 * Who sleeps is woken, and nobody sleeps in vain:
 *
 *     host     push; look who is idle; where somebody is, wake
 *     worker   say that it is idle; look at the queue; nothing there: sleep
 *
 * All of that is sequentially consistent: of a push and a worker that goes to sleep, either the
 * host sees the idle worker or the worker sees the ticket.  To wake is to write a byte into a pipe that
 * the worker reads; or, where a process can sleep on a word, to count `wakes` up and then wake on it.
 * The worker reads `wakes` before it says that it is idle, and sleeps only while it is the same: so
 * whoever is seen idle does not go to sleep after he was woken.  To be woken for nothing does no harm.
 *
 * Nobody need be woken where enough workers look out for tickets already.  A worker says that it
 * does not any more before it pops, so each that the host sees looking will pop a ticket that was
 * there by then, or look once more before it sleeps; if there are no fewer of them than tickets, each
 * ticket has one.  Of a worker that died while it looked the supervisor takes that back before it
 * tells the death, and its replacement looks for tickets first of all.
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
/* Host, after a push of `pushed`: how many workers to wake. */
uint32_t mp_queue_sleepers(const struct region *region, struct queue_end *end, uint32_t pushed);

/* The same for all tickets that are there, whoever says that he looks out for them: he may be
 * stopped, or have gone wrong. */
uint32_t mp_queue_stranded(const struct region *region, struct queue_end *end);

/* Host, where workers sleep on a word: wake so many of them. */
int mp_queue_wake(const struct region *region, uint32_t count);
/* Host: no more tickets will come.  Wakes all, where they sleep on a word: 0, or an error of that. */
int mp_queue_shut(const struct region *region);

/* Worker.  False: the queue is empty. */
bool mp_queue_pop(const struct region *region, uint32_t *id);
/* Worker: a guess. */
bool mp_queue_is_empty(const struct region *region);
/* Worker: from the first to the second it looks for tickets; the second before it pops.  Supervisor:
 * the second, for who is dead. */
void mp_queue_look_out(const struct region *region, uint32_t worker);
void mp_queue_look_away(const struct region *region, uint32_t worker);
/* Worker: before it goes idle, for mp_queue_sleep(). */
uint32_t mp_queue_wakes(const struct region *region);
/* Worker: false, and it is not idle: there is a ticket. */
bool mp_queue_go_idle(const struct region *region, uint32_t worker);
void mp_queue_leave_idle(const struct region *region, uint32_t worker);
/* Worker: sleep until it is woken, or not at all if somebody was since mp_queue_wakes().  As
 * mp_sleep_on_word(). */
int mp_queue_sleep(const struct region *region, uint32_t wakes);
/* Worker: see records.h. */
uint32_t mp_queue_era(const struct region *region);

#endif
