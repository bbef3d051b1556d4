/* SPDX-License-Identifier: MIT */
/*
 * The tasks of hostile workers.  Run in workers; what they know of the pool is what the host knew
 * when it forked them, and where its memory lies.
 */
#define _GNU_SOURCE
#include "hostile.h"
#include "support.h"

#include "pool/pool.h"

#include "os/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { SLOTS_NEAR = 70, STRAY_S = 4, RECORD = 64, MOST_WRITES = 3000, FLOOD = 1 << 16 };

static pid_t supervisor; /* of this worker */

int32_t hostile_init(int32_t worker, void *arg)
{
    (void)arg;
    supervisor = getppid();
    close(2); /* what sanitizers say of a worker with a spoilt descriptor is no finding */
    atomic_store(&stage->pids[worker], (int32_t)getpid());
    return 0;
}

/* A hostile task while it runs. */
struct deed {
    struct enemy enemy;
    uint64_t random;
    unsigned tastes;      /* the parts it writes to, a bit each; 0: all */
    struct region region; /* size 0: not found */
};

static uint64_t draw(struct deed *deed, uint64_t below)
{
    return test_random(&deed->random) % below;
}

/* ---- where to write -------------------------------------------------------------------------- */

/* The mapping of a pool that the worker does not know, and whose parts it does not know either. */
static void find_memory(struct region *region)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long begin, end;
    char line[512];

    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "mproc") && sscanf(line, "%lx-%lx rw-s", &begin, &end) == 2)
            region->memory = (struct memory){.base = (char *)begin, .size = end - begin, .fd = -1};
    if (maps)
        fclose(maps);
}

static void begin_deed(struct deed *deed, const struct enemy *enemy)
{
    *deed = (struct deed){.enemy = *enemy, .random = enemy->seed ^ (uint64_t)mp_now()};
    if (enemy->pool)
        deed->region = enemy->pool->region;
    else
        find_memory(&deed->region);
    deed->tastes = enemy->seed % 4 ? (unsigned)(enemy->seed >> 8 & 0x1ff) : 0;
}

/* A place where the host or the supervisor will look, more often than elsewhere.  A call has its
 * tastes: what spoils a word breaks the pool, and hides what else there is. */
static char *place(struct deed *deed, size_t size)
{
    enum { OUTCOME = offsetof(struct job_shm, outcome), PARTS = 10 };
    const struct region *r = &deed->region;
    size_t slot = r->jobs_offset + draw(deed, SLOTS_NEAR) * sizeof(struct job_shm);
    const size_t parts[PARTS][2] = {
        {0, r->workers_offset},
        {r->workers_offset, r->ready_offset - r->workers_offset},
        {r->ready_offset, SLOTS_NEAR},
        {r->idle_offset, sizeof(uint64_t)},
        {r->queue_offset, offsetof(struct queue_shm, tickets) + SLOTS_NEAR},
        {slot, offsetof(struct job_shm, word)},
        {slot + OUTCOME, sizeof(struct outcome_shm)},
        {slot, sizeof(struct job_shm)},
        {r->heap_offset, 65536},
        {0, r->memory.size}};
    size_t part = PARTS - 1;
    size_t at;

    if (r->words_offset)
        do
            part = draw(deed, PARTS);
        while (deed->tastes && !(deed->tastes >> part & 1));
    at = parts[part][0] + draw(deed, parts[part][1] + 1) / 8 * 8;
    return r->memory.base + (at < r->memory.size - size ? at : r->memory.size - size);
}

static chunk_word *some_word(struct deed *deed)
{
    const struct region *r = &deed->region;

    if (r->words_offset && draw(deed, 2))
        return &mp_region_job(r, (uint32_t)draw(deed, SLOTS_NEAR))->word;
    return (chunk_word *)(void *)(r->memory.base + r->words_offset + draw(deed, 100) * 8);
}

/* ---- what to write --------------------------------------------------------------------------- */

static uint64_t number(struct deed *deed)
{
    const struct region *r = &deed->region;
    const uint64_t numbers[] = {0,
                                1,
                                UINT64_MAX,
                                INT64_MAX,
                                (uint64_t)INT64_MIN,
                                UINT32_MAX,
                                (uint64_t)mp_now(),
                                r->memory.size,
                                r->words_offset,
                                r->words_offset + r->words_size,
                                r->heap_offset,
                                r->jobs_offset,
                                (uint64_t)(uintptr_t)r->memory.base,
                                5000,
                                test_random(&deed->random)};

    return numbers[draw(deed, sizeof numbers / sizeof numbers[0])] + draw(deed, 5) - 2;
}

/* A word as one might be: the id of another, any worker, any state and one more. */
static uint64_t word(struct deed *deed)
{
    uint64_t id = atomic_load(some_word(deed)) >> 32;
    uint64_t worker = draw(deed, 3) ? 0 : draw(deed, 5);

    return id << 32 | worker << 16 | draw(deed, 4) << 8 | draw(deed, CHUNK_STATE_COUNT + 1);
}

static void write_one(struct deed *deed)
{
    uint64_t value = test_random(&deed->random);
    char *to = place(deed, RECORD);

    switch (draw(deed, deed->tastes ? 6 : 8)) {
    case 0:
        memcpy(to, &value, 1 + draw(deed, 8));
        break;
    case 1:
        *to = (char)(*to ^ 1 << draw(deed, 8));
        break;
    case 2:
        memmove(to, place(deed, RECORD), RECORD);
        break;
    case 3:
        memset(to, (int)draw(deed, 256), RECORD);
        break;
    case 4:
    case 5:
        value = number(deed);
        memcpy(to, &value, sizeof value);
        break;
    default:
        atomic_store(some_word(deed), word(deed));
    }
    atomic_fetch_add(&stage->writes, 1);
}

/* Every byte of all of it. */
static void write_all(struct deed *deed)
{
    size_t words = deed->region.memory.size / sizeof(uint64_t);
    uint64_t *to = (uint64_t *)(void *)deed->region.memory.base;

    for (size_t i = 0; i < words; i++)
        to[i] = test_random(&deed->random);
    atomic_fetch_add(&stage->writes, words);
}

static void write_much(struct deed *deed)
{
    if (draw(deed, 200) == 0)
        write_all(deed);
    for (uint64_t i = draw(deed, MOST_WRITES); i > 0; i--)
        write_one(deed);
#ifdef MADV_REMOVE
    if (draw(deed, 20) == 0)
        madvise(deed->region.memory.base + draw(deed, 4) * 65536, 65536, MADV_REMOVE);
#endif
}

/* ---- the queue ------------------------------------------------------------------------------- */

/* As one who is not content with scribbling. */
static void abuse_queue(struct deed *deed)
{
    const struct region *r = &deed->region;
    struct queue_shm *queue = mp_region_queue(r);
    uint64_t head = atomic_load(&queue->head);
    uint32_t id;

    switch (draw(deed, 8)) {
    case 0: /* take tickets, for nobody */
        for (int i = 0; i < MP_QUEUE_SIZE && mp_queue_pop(r, &id); i++)
            ;
        break;
    case 1: /* make others take them again */
        atomic_store(&queue->head, head - (head ? draw(deed, head) : 0));
        break;
    case 2: /* hide them */
        atomic_store(&queue->tail, head);
        break;
    case 3:
        atomic_store(&queue->head, number(deed));
        break;
    case 4: /* more than there ever were, and they never end */
        atomic_store(&queue->tail, number(deed));
        break;
    case 5:
        for (uint32_t i = 0; i < MP_QUEUE_SIZE; i++)
            atomic_store(&queue->tickets[i], (uint32_t)test_random(&deed->random));
        break;
    case 6:
        atomic_store(mp_region_idle(r), test_random(&deed->random));
        break;
    default:
        for (uint32_t i = 0; i < HOSTILE_WORKERS; i++)
            mp_queue_leave_idle(r, i);
    }
    atomic_fetch_add(&stage->writes, 1);
}

/* ---- words ----------------------------------------------------------------------------------- */

/* Make who sleeps on one word sleep on another, or, if that cannot be, wake them. */
static void move_sleepers(_Atomic uint32_t *from, _Atomic uint32_t *to)
{
#ifdef SYS_futex
    enum { REQUEUE = 3 };

    syscall(SYS_futex, from, REQUEUE, 0, INT_MAX, to, 0);
#else
    (void)to;
    mp_wake_on_word(from, UINT32_MAX);
#endif
}

/* Those that others sleep on. */
static void abuse_words(struct deed *deed)
{
    struct queue_shm *queue = mp_region_queue(&deed->region);
    _Atomic uint32_t *bell = &mp_region_pool(&deed->region)->bell;

    switch (draw(deed, 8)) {
    case 0: /* wake them for nothing */
        for (uint64_t i = draw(deed, 1000); i > 0; i--)
            mp_wake_on_word(draw(deed, 2) ? bell : &queue->wakes, UINT32_MAX);
        break;
    case 1: /* it has rung, as it seems, and nobody was woken */
        atomic_fetch_or(bell, MP_RUNG);
        break;
    case 2: /* it will ring at the end of this process; and the supervisor is another, as it seems */
        mp_own_word(bell);
        break;
    case 3:
        atomic_store(bell, (uint32_t)number(deed));
        break;
    case 4:
        move_sleepers(bell, &queue->wakes);
        break;
    case 5:
        move_sleepers(&queue->wakes, bell);
        break;
    case 6: /* the queue is shut, or it is another's */
        atomic_store(&queue->era, (uint32_t)number(deed));
        break;
    default: /* take a wake-up away */
        mp_sleep_on_word(&queue->wakes, mp_queue_wakes(&deed->region), mp_deadline(1));
    }
}

/* ---- pipes ----------------------------------------------------------------------------------- */

static void flood(int fd)
{
    static char bytes[FLOOD];
    ssize_t n = write(fd, bytes, sizeof bytes);

    (void)n;
}

/* Wake the others for nothing: the reading end of a pipe is a way to its writing end. */
static void wake_others(struct deed *deed, int wake)
{
    char path[64];
    int fd;

    snprintf(path, sizeof path, "/proc/self/fd/%d", wake);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    for (uint64_t i = draw(deed, 8); fd >= 0 && i > 0; i--)
        flood(fd);
    close(fd);
}

/* Read what was to wake others. */
static void swallow_bytes(int wake)
{
    int flags = fcntl(wake, F_GETFL);
    char bytes[256];

    fcntl(wake, F_SETFL, flags | O_NONBLOCK);
    while (read(wake, bytes, sizeof bytes) > 0)
        ;
    fcntl(wake, F_SETFL, flags);
}

static void abuse_pipes(struct deed *deed)
{
    int bell = deed->enemy.pool->generation.fds[BELL_WRITE];
    int wake = deed->enemy.pool->generation.fds[WAKE_READ];
    int fd = draw(deed, 2) ? bell : wake;

    switch (draw(deed, 8)) {
    case 0:
        for (uint64_t i = draw(deed, 1000); i > 0; i--)
            flood(bell);
        break;
    case 1:
        swallow_bytes(wake);
        break;
    case 2:
        wake_others(deed, wake);
        break;
    case 3: /* of the open file, which others share */
        fcntl(fd, F_SETFL, (fcntl(fd, F_GETFL) ^ O_NONBLOCK));
        break;
    case 4:
        close(fd);
        break;
    case 5:
        close(dup2(draw(deed, 2) ? 0 : wake, bell));
        break;
#ifdef F_SETPIPE_SZ
    case 6:
        fcntl(fd, F_SETPIPE_SZ, (int)draw(deed, 2) ? 4096 : 1 << 20);
        break;
#endif
    default:
        for (uint64_t i = draw(deed, 10000); i > 0; i--)
            mp_ring(bell);
    }
}

/* ---- processes ------------------------------------------------------------------------------- */

/* What ties this process to the supervisor is undone. */
static void break_bond(void)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, 0);
#endif
    signal(SIGIO, SIG_IGN);
    alarm(STRAY_S); /* in case that the test ends too soon to do it */
    atomic_store(&stage->strays[atomic_fetch_add(&stage->stray_count, 1) % HOSTILE_STRAYS],
                 (int32_t)getpid());
}

/* A child that no atfork handler knows of, in a session of its own, which goes on for a while. */
static void leave_a_stray(struct deed *deed)
{
#ifdef SYS_fork
    if (syscall(SYS_fork) != 0)
        return;
    setsid();
    break_bond();
    for (;;) {
        for (int i = 0; i < 100; i++)
            write_one(deed);
        mp_ring(deed->enemy.pool->generation.fds[BELL_WRITE]);
    }
#else
    (void)deed;
#endif
}

static void signal_others(struct deed *deed)
{
    int sign = draw(deed, 3) ? SIGSTOP : SIGKILL;
    pid_t sibling;

    switch (draw(deed, 4)) {
    case 0:
        break_bond();
        if (getppid() == supervisor)
            kill(supervisor, sign);
        break;
    case 1:
        sibling = atomic_exchange(&stage->pids[draw(deed, HOSTILE_WORKERS)], 0);
        if (sibling > 1 && sibling != getpid() && getpgid(sibling) == sibling)
            kill(sibling, sign);
        break;
    default:
        leave_a_stray(deed);
    }
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int32_t be_hostile(void)
{
    const struct enemy enemy = stage->enemy;
    struct deed deed;

    begin_deed(&deed, &enemy);
    if (!deed.region.memory.size)
        return 0;
    write_one(&deed);
    if (draw(&deed, 4) == 0)
        write_much(&deed);
    if (enemy.pool && draw(&deed, 16) == 0)
        abuse_queue(&deed);
    if (enemy.pool && enemy.hostility >= HOSTILE_TO_PIPES && draw(&deed, 4) == 0)
        abuse_pipes(&deed);
    if (enemy.pool && enemy.hostility >= HOSTILE_TO_PIPES && deed.region.on_words &&
        draw(&deed, 4) == 0)
        abuse_words(&deed);
    if (enemy.pool && enemy.hostility >= HOSTILE_TO_ALL && draw(&deed, 16) == 0)
        signal_others(&deed);
    switch (draw(&deed, 32)) {
    case 0:
        abort();
    case 1:
        _exit(3);
    case 2:
        return mproc_fail(7, "hostile");
    case 3:
        for (;;)
            write_one(&deed);
    default:
        return 0;
    }
}

int32_t hostile_item(const void *in, void *out, void *ctx)
{
    (void)in;
    (void)out;
    (void)ctx;
    return be_hostile();
}

int32_t hostile_batch(const void *in, void *out, size_t count, void *ctx)
{
    (void)in;
    (void)out;
    (void)count;
    (void)ctx;
    return be_hostile();
}

int32_t hostile_task(mproc_task *task, void *ctx)
{
    (void)ctx;
    mproc_task_output(task, 100);
    return be_hostile();
}

/* ---- the object of the memory ---------------------------------------------------------------- */

/* 1: it cannot be shrunk by this way; 0: this is no way to it. */
static int32_t shrink(const char *path, const char *name)
{
    char target[256] = "";
    ssize_t length = readlink(path, target, sizeof target - 1);
    int fd = length > 0 && strstr(target, name) ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return 0;
    if (ftruncate(fd, 0) == 0)
        _exit(1);
    close(fd);
    return 1;
}

/* Try every link of a folder of /proc. */
static int32_t shrink_in(const char *folder)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    char path[512];
    int32_t ways = 0;

    while (directory && (entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof path, "%s/%.100s", folder, entry->d_name);
        ways += shrink(path, "memfd:mproc");
    }
    if (directory)
        closedir(directory);
    return ways;
}

int32_t shrink_memory(mproc_task *task, void *ctx)
{
    int32_t *ways = mproc_task_output(task, sizeof *ways);
    char folder[64];

    snprintf(folder, sizeof folder, "/proc/%ld/fd", (long)*(const pid_t *)ctx);
    *ways = shrink_in("/proc/self/map_files") + shrink_in("/proc/self/fd") + shrink_in(folder);
    return *ways ? 0 : 1;
}
