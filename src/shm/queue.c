/* SPDX-License-Identifier: MIT */
/*
 * The ticket queue.  Runs in the host (push) and the workers (pop); decides nothing but by one
 * compare-and-swap on the head, so each ticket is popped once.
 */
#include "queue.h"

static _Atomic uint32_t *entry(const struct region *region, uint64_t at)
{
    return &mp_region_queue(region)->tickets[at % MP_QUEUE_SIZE];
}

bool mp_queue_push(const struct region *region, struct queue_end *end, uint32_t id)
{
    struct queue_shm *queue = mp_region_queue(region);

    /* Not at each push: the workers write there.  Sequentially consistent: after host_waits, see
     * take_ticket() in worker.c.  It is an acquire, too: the worker that moved the head has read the
     * entry that is overwritten here. */
    if (end->tail - end->head >= MP_QUEUE_SIZE)
        end->head = atomic_load_explicit(&queue->head, memory_order_seq_cst);
    if (end->tail - end->head >= MP_QUEUE_SIZE)
        return false;
    atomic_store_explicit(entry(region, end->tail), id, memory_order_relaxed);
    /* Sequentially consistent, and a release for the entry: mp_queue_sleepers() follows. */
    atomic_store_explicit(&queue->tail, ++end->tail, memory_order_seq_cst);
    return true;
}

bool mp_queue_is_plausible(const struct region *region, const struct queue_end *end)
{
    struct queue_shm *queue = mp_region_queue(region);
    /* Relaxed: it only grows. */
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);

    return head >= end->head && head <= end->tail &&
           atomic_load_explicit(&queue->tail, memory_order_relaxed) == end->tail;
}

static uint32_t count_bits(uint64_t bits)
{
    uint32_t count = 0;

    for (; bits; bits &= bits - 1)
        count++;
    return count;
}

/* How many workers have their bit set.  Sequentially consistent: see queue.h. */
static uint32_t count_workers(const struct region *region, _Atomic uint64_t *set)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < (region->workers + 63) / 64; i++)
        count += count_bits(atomic_load_explicit(&set[i], memory_order_seq_cst));
    return count;
}

/* How many tickets are there, or were a moment ago.  Sequentially consistent: whoever is seen to look
 * out after this has not popped one of them yet. */
static uint64_t count_tickets(const struct region *region, struct queue_end *end)
{
    uint64_t head = atomic_load_explicit(&mp_region_queue(region)->head, memory_order_seq_cst);

    if (head < end->head || head > end->tail) /* somebody scribbled: see mp_queue_is_plausible() */
        return end->tail - end->head;
    end->head = head;
    return end->tail - head;
}

uint32_t mp_queue_sleepers(const struct region *region, struct queue_end *end, uint32_t pushed)
{
    uint32_t idle = count_workers(region, mp_region_idle(region));

    if (!pushed || !idle)
        return 0;
    /* First with the head as it was: it can only have moved on, and the workers write there. */
    if (end->tail - end->head <= count_workers(region, mp_region_looking(region)) ||
        count_tickets(region, end) <= count_workers(region, mp_region_looking(region)))
        return 0;
    return pushed < idle ? pushed : idle;
}

uint32_t mp_queue_stranded(const struct region *region, struct queue_end *end)
{
    uint32_t idle = count_workers(region, mp_region_idle(region));
    uint64_t tickets = idle ? count_tickets(region, end) : 0;

    return tickets < idle ? (uint32_t)tickets : idle;
}

bool mp_queue_pop(const struct region *region, uint32_t *id)
{
    struct queue_shm *queue = mp_region_queue(region);
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);

    /* An acquire: pairs with the push, for the entry, and for all that the host wrote of the job.
     * Sequentially consistent: after mp_queue_look_away(). */
    while (head < atomic_load_explicit(&queue->tail, memory_order_seq_cst)) {
        /* Relaxed: valid if the head has not moved when the exchange is made. */
        *id = atomic_load_explicit(entry(region, head), memory_order_relaxed);
        /* Sequentially consistent: host_waits is looked at next, see take_ticket() in worker.c.  A
         * release for the reading of the entry. */
        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, head + 1,
                                                  memory_order_seq_cst, memory_order_relaxed))
            return true;
    }
    return false;
}

bool mp_queue_is_empty(const struct region *region)
{
    struct queue_shm *queue = mp_region_queue(region);
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);

    mp_prefetch(entry(region, head)); /* it comes with the tail, and not after it */
    return head >= atomic_load_explicit(&queue->tail, memory_order_relaxed);
}

int mp_queue_wake(const struct region *region, uint32_t count)
{
    struct queue_shm *queue = mp_region_queue(region);

    /* Sequentially consistent: after who is idle was looked at; see queue.h. */
    atomic_fetch_add_explicit(&queue->wakes, count, memory_order_seq_cst);
    return mp_wake_on_word(&queue->wakes, count);
}

int mp_queue_shut(const struct region *region)
{
    /* Sequentially consistent, before `wakes`: a worker looks here after it has read that. */
    atomic_fetch_or_explicit(&mp_region_queue(region)->era, 1, memory_order_seq_cst);
    /* All: others may sleep there who have no business to. */
    return region->on_words ? mp_queue_wake(region, UINT32_MAX) : 0;
}

uint32_t mp_queue_wakes(const struct region *region)
{
    return atomic_load_explicit(&mp_region_queue(region)->wakes, memory_order_seq_cst);
}

int mp_queue_sleep(const struct region *region, uint32_t wakes)
{
    return mp_sleep_on_word(&mp_region_queue(region)->wakes, wakes, MP_FOREVER);
}

uint32_t mp_queue_era(const struct region *region)
{
    return atomic_load_explicit(&mp_region_queue(region)->era, memory_order_seq_cst);
}

static void set_bit(_Atomic uint64_t *set, uint32_t worker)
{
    atomic_fetch_or_explicit(&set[worker / 64], (uint64_t)1 << worker % 64, memory_order_seq_cst);
}

void mp_queue_look_out(const struct region *region, uint32_t worker)
{
    set_bit(mp_region_looking(region), worker);
}

void mp_queue_look_away(const struct region *region, uint32_t worker)
{
    /* Sequentially consistent, before the pop or the last look. */
    atomic_fetch_and_explicit(&mp_region_looking(region)[worker / 64],
                              ~((uint64_t)1 << worker % 64), memory_order_seq_cst);
}

bool mp_queue_go_idle(const struct region *region, uint32_t worker)
{
    struct queue_shm *queue = mp_region_queue(region);

    set_bit(mp_region_idle(region), worker);
    if (atomic_load_explicit(&queue->head, memory_order_seq_cst) >=
        atomic_load_explicit(&queue->tail, memory_order_seq_cst))
        return true;
    mp_queue_leave_idle(region, worker);
    return false;
}

void mp_queue_leave_idle(const struct region *region, uint32_t worker)
{
    /* Relaxed: that the host sees it late makes a byte too many. */
    atomic_fetch_and_explicit(&mp_region_idle(region)[worker / 64], ~((uint64_t)1 << worker % 64),
                              memory_order_relaxed);
}
