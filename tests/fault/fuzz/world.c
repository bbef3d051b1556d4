/* SPDX-License-Identifier: MIT */
/* The os layer and the crew of a world without processes; see world.h. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NS_PER_MS = 1000000, QUIET_MAX = 1000, PRETENDED_PID = 1 };

struct input input;
struct crew crews[CREWS];
void (*workers_turn)(void);
void (*worker_sleeps)(void);
uint32_t commits_left;

static int64_t now;
static bool on_words;

void must(bool holds)
{
    if (!holds)
        abort();
}

void world_begin(const uint8_t *data, size_t size, void (*turn)(void))
{
    input = (struct input){data, size, 0};
    now = NS_PER_MS;
    workers_turn = turn;
    on_words = size % 2; /* of each the half */
    commits_left = UINT32_MAX;
    for (size_t i = 0; i < CREWS; i++)
        must(!crews[i].generation);
}

/* ---- input ----------------------------------------------------------------------------------- */

bool input_is_over(void)
{
    return input.at >= input.size;
}

uint8_t take_byte(void)
{
    return input_is_over() ? 0 : input.data[input.at++];
}

uint64_t take_number(void)
{
    static const uint64_t bounds[] = {
        0,          1,          8,          64,           4096,
        65536,      UINT16_MAX, UINT32_MAX, INT32_MAX,    INT64_MAX,
        UINT64_MAX, 1ULL << 63, 1000000,    SIZE_MAX / 4, SIZE_MAX / 8};
    uint8_t kind = take_byte();
    uint64_t number = 0;

    if (kind < 128)
        return kind;
    if (kind < 240)
        return bounds[kind % (sizeof bounds / sizeof bounds[0])] + (uint64_t)(kind % 5) - 2;
    for (int i = 0; i < 8; i++)
        number = number << 8 | take_byte();
    return number;
}

/* ---- the workers' turn ----------------------------------------------------------------------- */

static bool at_their_turn;

static void give_turn(void)
{
    at_their_turn = true;
    workers_turn();
    at_their_turn = false;
}

/* A worker has no news to wait for: there is nobody else. */
bool mp_linger(struct patience *patience, bool (*news)(const void *arg), const void *arg,
               int64_t deadline)
{
    (void)deadline;
    if (patience->spin_us < 0 || at_their_turn)
        return false;
    now += NS_PER_MS / 10;
    give_turn();
    return news(arg);
}

/* ---- time ------------------------------------------------------------------------------------ */

int64_t mp_now(void)
{
    now += 1000;
    return now;
}

int64_t mp_now_coarse(void)
{
    return mp_now();
}

int64_t mp_deadline(int64_t timeout_ms)
{
    if (timeout_ms < 0 || timeout_ms > INT64_MAX / NS_PER_MS / 2)
        return MP_FOREVER;
    return now + timeout_ms * NS_PER_MS;
}

void mp_pause(void)
{
}

static unsigned quiet; /* in a row: the host looks again and again, and nobody will come */

static void all_die(void)
{
    quiet = 0;
    for (size_t i = 0; i < CREWS; i++)
        crew_dies(&crews[i]);
}

int mp_poll(struct pollfd *fds, size_t count, int64_t deadline)
{
    int ready;

    now += NS_PER_MS / 10;
    give_turn();
    ready = poll(fds, (nfds_t)count, 0);
    quiet = ready ? 0 : quiet + 1;
    if (ready == 0 && (deadline == MP_FOREVER || quiet > QUIET_MAX)) {
        all_die();
        ready = poll(fds, (nfds_t)count, 0);
        must(ready > 0); /* else the host would sleep for ever, with nobody left to wake it */
    }
    if (ready == 0 && now < deadline)
        now = deadline;
    return ready;
}

/* ---- words ----------------------------------------------------------------------------------- */

bool mp_can_sleep_on_words(void)
{
    return on_words;
}

int mp_sleep_on_word(_Atomic uint32_t *word, uint32_t seen, int64_t deadline)
{
    if (at_their_turn)
        worker_sleeps(); /* does not return */
    now += NS_PER_MS / 10;
    give_turn();
    if (atomic_load(word) == seen && quiet++ > QUIET_MAX)
        all_die();
    if (atomic_load(word) != seen) {
        quiet = 0;
        return 0;
    }
    if (now < deadline)
        now = deadline;
    return -ETIMEDOUT;
}

int mp_wake_on_word(_Atomic uint32_t *word, uint32_t count)
{
    (void)word;
    (void)count;
    return 0;
}

int mp_own_word(_Atomic uint32_t *word)
{
    (void)word;
    return -ENOSYS;
}

/* ---- memory ---------------------------------------------------------------------------------- */

enum { OBJECTS = 2, OBJECT_MAX = 1 << 18 };

/* Kept, because they are large; poisoned but for what of them is in use. */
static _Alignas(2 * CACHE_LINE) char objects[OBJECTS][OBJECT_MAX];
static bool taken[OBJECTS];

int mp_memory_open(struct memory *memory, size_t size)
{
    size_t i = taken[0];

    if (size > OBJECT_MAX || taken[i])
        return -ENOMEM;
    ASAN_POISON_MEMORY_REGION(objects[i], OBJECT_MAX);
    ASAN_UNPOISON_MEMORY_REGION(objects[i], size);
    memset(objects[i], 0, size);
    taken[i] = true;
    *memory = (struct memory){objects[i], size, -1};
    return 0;
}

int mp_memory_commit(const struct memory *memory, size_t offset, size_t length)
{
    must(offset <= memory->size && length <= memory->size - offset);
    if (commits_left-- > 0)
        return 0;
    return -ENOSPC;
}

void mp_memory_touch(const void *from, size_t length)
{
    (void)from;
    (void)length;
}

int mp_memory_discard(const struct memory *memory, size_t offset, size_t length)
{
    must(offset <= memory->size && length <= memory->size - offset);
    memset(memory->base + offset, 0, length);
    return 0;
}

void mp_memory_close(struct memory *memory)
{
    if (memory->base) {
        ASAN_POISON_MEMORY_REGION(memory->base, memory->size);
        taken[memory->base == objects[1]] = false;
    }
    *memory = MEMORY_NONE;
}

void *mp_pages(size_t size)
{
    return calloc(1, size);
}

void mp_pages_free(void *pages, size_t size)
{
    (void)size;
    free(pages);
}

/* ---- nobody to watch ------------------------------------------------------------------------- */

pid_t mp_pidfd_pid(int fd, mode_t mode)
{
    (void)fd;
    (void)mode;
    return 0;
}

int mp_watch_open(int watch[2])
{
    watch[0] = -1;
    watch[1] = -1;
    return 0;
}

void mp_watch_child(int watch[2])
{
    (void)watch;
}

/* ---- the crew -------------------------------------------------------------------------------- */

static struct crew *crew_of(const struct generation *generation)
{
    for (size_t i = 0; i < CREWS; i++)
        if (crews[i].generation == generation)
            return &crews[i];
    return NULL;
}

int mp_crew_start(struct generation *generation, struct supervisor *sup)
{
    struct crew *crew = crew_of(NULL);

    if (!crew)
        return -EAGAIN;
    *crew = (struct crew){generation, sup->region, sup->options, generation->fds[BELL_WRITE]};
    generation->fds[BELL_WRITE] = -1;
    if (on_words) {
        generation->supervisor = PRETENDED_PID;
        atomic_fetch_or(&mp_region_pool(sup->region)->bell, PRETENDED_PID);
    } else {
        must(mp_nonblocking(generation->fds[WAKE_READ]) == 0);
    }
    return 0;
}

void crew_rings(const struct crew *crew)
{
    if (on_words)
        mp_bell_ring(crew->region);
    else
        mp_ring(crew->bell);
}

void crew_dies(struct crew *crew)
{
    if (!crew->generation)
        return;
    crew->bell = mp_close(crew->bell);
    if (on_words) /* as the kernel does it */
        atomic_store(&mp_region_pool(crew->region)->bell, MP_OWNED | MP_RUNG);
}

void mp_crew_kill(struct generation *generation)
{
    crew_dies(crew_of(generation));
}

int mp_crew_wait(struct generation *generation, int64_t deadline)
{
    struct crew *crew = crew_of(generation);

    (void)deadline;
    crew_dies(crew);
    crew->generation = NULL;
    return 0;
}
