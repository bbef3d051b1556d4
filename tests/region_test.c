/* SPDX-License-Identifier: MIT */
/* The layout of a pool's shared memory, and which offsets that come out of it are believed. */
#include "support.h"

#include "shm/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

enum { WORKERS = 3, SKIPPED = 77 };

static struct region open_region(uint32_t workers, uint64_t heap_size)
{
    struct region region;

    assert_int_equal(mp_region_open(&region, workers, heap_size), 0);
    return region;
}

/* ---- layout ---------------------------------------------------------------------------------- */

static size_t end_of_words(const struct region *region)
{
    return region->words_offset + region->words_size;
}

static void assert_in_order(const struct region *region)
{
    assert_true(sizeof(struct pool_shm) <= region->workers_offset);
    assert_true(region->workers_offset + region->workers * sizeof(struct worker_shm) <=
                region->ready_offset);
    assert_true(region->ready_offset + MP_SLOTS / 8 <= region->jobs_offset);
    assert_true(region->jobs_offset + MP_SLOTS * sizeof(struct job_shm) <= region->words_offset);
    assert_true(end_of_words(region) <= region->heap_offset);
    assert_true(region->heap_offset + region->heap_size <= region->memory.size);
}

static void the_parts_do_not_overlap(void **state)
{
    const uint32_t workers[] = {1, 2, 63, 64, 65, 4096};
    const uint64_t heaps[] = {1, 65535, 65536, MIB, 64 * MIB + 1, 1024 * MIB};

    (void)state;
    for (size_t w = 0; w < sizeof workers / sizeof workers[0]; w++)
        for (size_t h = 0; h < sizeof heaps / sizeof heaps[0]; h++) {
            struct region region = open_region(workers[w], heaps[h]);

            assert_int_equal(region.workers, workers[w]);
            assert_true(region.heap_size >= heaps[h]);
            assert_true(region.words_size >= heaps[h] / 8);
            assert_in_order(&region);
            mp_region_close(&region);
            assert_null(region.memory.base);
        }
}

static void assert_aligned(const void *address, size_t unit)
{
    assert_int_equal((uintptr_t)address % unit, 0);
}

static void each_part_is_aligned_for_what_it_holds(void **state)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uint32_t workers[] = {1, 2, 3, 7, 4096};

    (void)state;
    for (size_t w = 0; w < sizeof workers / sizeof workers[0]; w++) {
        struct region region = open_region(workers[w], MIB);

        assert_aligned(mp_region_pool(&region), _Alignof(struct pool_shm));
        for (uint32_t i = 0; i < workers[w]; i++)
            assert_aligned(mp_region_worker(&region, i), 2 * CACHE_LINE);
        assert_aligned(mp_region_ready(&region), CACHE_LINE);
        assert_aligned(mp_region_job(&region, 0), _Alignof(struct job_shm));
        assert_aligned(mp_region_job(&region, MP_SLOTS - 1), _Alignof(struct job_shm));
        assert_aligned(region.memory.base + region.words_offset, page);
        assert_aligned(region.memory.base + region.heap_offset, page);
        mp_region_close(&region);
    }
}

static void words_of_different_writers_lie_on_different_lines(void **state)
{
    (void)state;
    assert_true(offsetof(struct pool_shm, deaths) / CACHE_LINE !=
                offsetof(struct pool_shm, host_waits) / CACHE_LINE);
    assert_true(offsetof(struct pool_shm, bell) / CACHE_LINE !=
                offsetof(struct pool_shm, loop_asks) / CACHE_LINE);
    assert_true(offsetof(struct pool_shm, bell) / CACHE_LINE !=
                offsetof(struct pool_shm, deaths) / CACHE_LINE);
    assert_true(offsetof(struct queue_shm, wakes) / CACHE_LINE !=
                offsetof(struct queue_shm, head) / CACHE_LINE);
    assert_true(offsetof(struct job_shm, word) / CACHE_LINE >
                (offsetof(struct job_shm, retries) + 3) / CACHE_LINE);
    assert_true(offsetof(struct job_shm, outcome) / CACHE_LINE >
                offsetof(struct job_shm, word) / CACHE_LINE);
    assert_int_equal(sizeof(struct worker_shm) % (2 * (size_t)CACHE_LINE), 0);
    assert_int_equal(sizeof(struct job_shm) % (size_t)CACHE_LINE, 0);
}

static bool all_bytes_are(const void *memory, size_t size, unsigned char value)
{
    const unsigned char *bytes = memory;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static void writing_one_record_changes_no_other(void **state)
{
    struct region region = open_region(WORKERS, MIB);
    const uint32_t slots[] = {0, MP_SLOTS / 2, MP_SLOTS - 1};
    _Atomic uint64_t *ready = mp_region_ready(&region);

    (void)state;
    memset(mp_region_pool(&region), 1, sizeof(struct pool_shm));
    for (uint32_t i = 0; i < WORKERS; i++)
        memset(mp_region_worker(&region, i), (int)(2 + i), sizeof(struct worker_shm));
    memset(ready, 9, MP_SLOTS / 8);
    for (int i = 0; i < 3; i++)
        memset(mp_region_job(&region, slots[i]), 10 + i, sizeof(struct job_shm));
    memset(region.memory.base + region.words_offset, 20, region.words_size);
    memset(region.memory.base + region.heap_offset, 21, region.heap_size);

    assert_true(all_bytes_are(mp_region_pool(&region), sizeof(struct pool_shm), 1));
    for (uint32_t i = 0; i < WORKERS; i++)
        assert_true(all_bytes_are(mp_region_worker(&region, i), sizeof(struct worker_shm),
                                  (unsigned char)(2 + i)));
    assert_true(all_bytes_are(ready, MP_SLOTS / 8, 9));
    for (int i = 0; i < 3; i++)
        assert_true(all_bytes_are(mp_region_job(&region, slots[i]), sizeof(struct job_shm),
                                  (unsigned char)(10 + i)));
    assert_true(all_bytes_are(region.memory.base + region.words_offset, region.words_size, 20));
    assert_true(all_bytes_are(region.memory.base + region.heap_offset, region.heap_size, 21));
    mp_region_close(&region);
}

static void fresh_memory_reads_as_zero(void **state)
{
    struct region region = open_region(WORKERS, MIB);

    (void)state;
    assert_true(all_bytes_are(region.memory.base, region.memory.size, 0));
    mp_region_close(&region);
}

/* ---- one word -------------------------------------------------------------------------------- */

/* May a chunk word begin at this offset?  Written apart from the code under test. */
static bool is_word(const struct region *region, uint64_t offset)
{
    uint64_t jobs_end = region->jobs_offset + (uint64_t)MP_SLOTS * sizeof(struct job_shm);

    if (offset >= region->jobs_offset && offset < jobs_end)
        return (offset - region->jobs_offset) % sizeof(struct job_shm) ==
               offsetof(struct job_shm, word);
    return offset >= region->words_offset && offset <= end_of_words(region) - sizeof(chunk_word) &&
           offset % sizeof(chunk_word) == 0;
}

static void a_reset_leaves_nothing_of_an_earlier_generation(void **state)
{
    struct region region = open_region(3, MIB);
    struct pool_shm *pool = mp_region_pool(&region);
    _Atomic uint32_t *era = &mp_region_queue(&region)->era;

    (void)state;
    atomic_store(&pool->host_waits, HOST_HAS_BACKLOG);
    atomic_store(&pool->bell, MP_OWNED | MP_RUNG | 4);
    atomic_store(&pool->least_limit_ns, 5);
    atomic_store(&pool->deaths, 6);
    atomic_store(&pool->lost, 7);
    atomic_store(&pool->broken_reason, BROKEN_INIT);
    pool->init_text[0] = 'x';
    for (uint32_t i = 0; i < 3; i++) {
        atomic_store(&mp_region_worker(&region, i)->ticket, 8);
        atomic_store(&mp_region_worker(&region, i)->deadline, 9);
    }
    for (uint32_t i = 0; i < MP_SLOTS / 64; i++)
        atomic_store(&mp_region_ready(&region)[i], UINT64_MAX);
    atomic_store(&mp_region_idle(&region)[0], UINT64_MAX);
    atomic_store(&mp_region_queue(&region)->head, 10);
    atomic_store(&mp_region_queue(&region)->tail, 11);
    atomic_store(era, 12);
    mp_region_reset(&region);
    assert_int_equal(atomic_load(&pool->host_waits), HOST_AWAKE);
    assert_int_equal(atomic_load(&pool->bell), MP_OWNED);
    assert_int_equal(atomic_load(&pool->least_limit_ns), 0);
    assert_int_equal(atomic_load(&pool->deaths), 0);
    assert_int_equal(atomic_load(&pool->lost), 0);
    assert_int_equal(atomic_load(&pool->broken_reason), BROKEN_NOT);
    assert_int_equal(pool->init_text[0], '\0');
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(atomic_load(&mp_region_worker(&region, i)->ticket), 0);
        assert_int_equal(atomic_load(&mp_region_worker(&region, i)->deadline), 0);
    }
    for (uint32_t i = 0; i < MP_SLOTS / 64; i++)
        assert_int_equal(atomic_load(&mp_region_ready(&region)[i]), 0);
    assert_int_equal(atomic_load(&mp_region_idle(&region)[0]), 0);
    assert_int_equal(atomic_load(&mp_region_queue(&region)->head), 0);
    assert_int_equal(atomic_load(&mp_region_queue(&region)->tail), 0);
    assert_int_equal(atomic_load(era) % 2, 0);
    assert_int_not_equal(atomic_load(era), 12);
    mp_region_close(&region);
}

/* Shut or not, as the one before was left. */
static void each_generation_has_a_queue_of_an_era_of_its_own(void **state)
{
    enum { GENERATIONS = 20 };
    struct region region = open_region(1, MIB);
    _Atomic uint32_t *era = &mp_region_queue(&region)->era;
    uint32_t eras[GENERATIONS];

    (void)state;
    for (int i = 0; i < GENERATIONS; i++) {
        mp_region_reset(&region);
        eras[i] = atomic_load(era);
        assert_int_equal(eras[i] % 2, 0);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(eras[i], eras[k]);
        if (i % 3 > 0)
            atomic_fetch_or(era, 1);
    }
    mp_region_close(&region);
}

static void check_word(const struct region *region, uint64_t offset)
{
    chunk_word *word = mp_region_word(region, offset);

    if ((word != NULL) != is_word(region, offset))
        fail_msg("the word at %#llx was %s", (unsigned long long)offset,
                 word ? "taken" : "refused");
    if (word && word != (void *)(region->memory.base + offset))
        fail_msg("the word at %#llx was sought elsewhere", (unsigned long long)offset);
}

/* Every place where something begins or ends. */
static size_t boundaries_of(const struct region *region, uint64_t *places)
{
    const uint64_t all[] = {
        0, region->workers_offset, region->ready_offset, region->idle_offset, region->queue_offset,
        region->jobs_offset, region->jobs_offset + offsetof(struct job_shm, word),
        region->jobs_offset + offsetof(struct job_shm, outcome),
        region->jobs_offset + sizeof(struct job_shm),
        region->jobs_offset + (MP_SLOTS - 1) * sizeof(struct job_shm) +
            offsetof(struct job_shm, word),
        region->jobs_offset + MP_SLOTS * sizeof(struct job_shm),
        /* where a job beyond the last would have its word */
        region->jobs_offset + MP_SLOTS * sizeof(struct job_shm) + offsetof(struct job_shm, word),
        region->words_offset, end_of_words(region), region->heap_offset, region->memory.size,
        UINT32_MAX, (uint64_t)1 << 32, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX,
        0 - (uint64_t)(uintptr_t)region->memory.base, /* address 0 */
    };

    memcpy(places, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static void no_offset_beside_the_words_is_taken_for_one(void **state)
{
    struct region region = open_region(WORKERS, MIB);
    uint64_t places[32];
    size_t count = boundaries_of(&region, places);
    uint64_t seed = test_seed();

    (void)state;
    for (size_t i = 0; i < count; i++)
        for (uint64_t by = 0; by <= 4 * CACHE_LINE; by++) {
            check_word(&region, places[i] + by);
            check_word(&region, places[i] - by);
        }
    for (int i = 0; i < 200000 / test_slowness(); i++) {
        uint64_t r = test_random(&seed);

        check_word(&region, r);
        check_word(&region, r % region.memory.size);
        check_word(&region, r % region.memory.size & ~(uint64_t)7);
    }
    mp_region_close(&region);
}

static void each_word_there_is_is_found(void **state)
{
    struct region region = open_region(WORKERS, MIB);

    (void)state;
    for (uint32_t slot = 0; slot < MP_SLOTS; slot++) {
        char *job = (char *)mp_region_job(&region, slot);
        uint64_t offset = (uint64_t)(job - region.memory.base) + offsetof(struct job_shm, word);

        assert_ptr_equal(mp_region_word(&region, offset), region.memory.base + offset);
    }
    for (uint64_t at = region.words_offset; at < end_of_words(&region); at += sizeof(chunk_word))
        assert_ptr_equal(mp_region_word(&region, at), region.memory.base + at);
    mp_region_close(&region);
}

/* ---- the words of a job ---------------------------------------------------------------------- */

static void check_words(const struct region *region, struct job_shm *job, uint64_t offset,
                        uint64_t count)
{
    uint64_t found = UINT64_MAX;
    bool fits = count == 1 && is_word(region, offset);
    chunk_word *words;

    if (is_word(region, offset) && offset >= region->words_offset)
        fits = count > 0 && count <= (end_of_words(region) - offset) / sizeof(chunk_word);
    atomic_store(&job->words, offset);
    atomic_store(&job->chunks, count);
    words = mp_region_words(region, job, &found);
    if ((words != NULL) != fits)
        fail_msg("%llu words at %#llx were %s", (unsigned long long)count,
                 (unsigned long long)offset, words ? "taken" : "refused");
    if (words && (found != count || words != (void *)(region->memory.base + offset)))
        fail_msg("%llu words at %#llx were sought elsewhere", (unsigned long long)count,
                 (unsigned long long)offset);
}

static void no_run_of_words_goes_beyond_their_memory(void **state)
{
    struct region region = open_region(WORKERS, MIB);
    struct job_shm *job = mp_region_job(&region, 0);
    const uint64_t room = region.words_size / sizeof(chunk_word);
    const uint64_t counts[] = {0,
                               1,
                               2,
                               room - 1,
                               room,
                               room + 1,
                               (uint64_t)1 << 60, /* times 8 that is 2^63, */
                               (uint64_t)1 << 61, /* and 0 */
                               ((uint64_t)1 << 61) + 1,
                               INT64_MAX,
                               UINT64_MAX};
    uint64_t places[32];
    size_t count = boundaries_of(&region, places);
    uint64_t seed = test_seed();

    (void)state;
    for (size_t i = 0; i < count; i++)
        for (uint64_t by = 0; by <= 2 * CACHE_LINE; by += 8)
            for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
                check_words(&region, job, places[i] + by, counts[k]);
                check_words(&region, job, places[i] - by, counts[k]);
            }
    for (int i = 0; i < 200000 / test_slowness(); i++) {
        uint64_t offset = region.words_offset + test_random(&seed) % region.words_size / 8 * 8;
        uint64_t left = (end_of_words(&region) - offset) / sizeof(chunk_word);

        check_words(&region, job, offset, left);
        check_words(&region, job, offset, left + 1);
        check_words(&region, job, offset, test_random(&seed) % (2 * room));
        check_words(&region, job, test_random(&seed), test_random(&seed));
    }
    mp_region_close(&region);
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void check_outcome(const struct region *region, struct job_shm *job, uint64_t offset,
                          uint64_t chunk)
{
    const uint64_t end = region->heap_offset + region->heap_size;
    struct outcome_shm *outcome;
    bool fits = offset >= region->jobs_offset && offset < end &&
                offset % _Alignof(struct outcome_shm) == 0 &&
                (end - offset) / sizeof(struct outcome_shm) > chunk;

    job->outcomes = offset;
    outcome = mp_region_outcome(region, job, chunk);
    if (outcome == NULL && !fits)
        return;
    if (!outcome || !fits)
        fail_msg("outcome %llu at %#llx was %s", (unsigned long long)chunk,
                 (unsigned long long)offset, outcome ? "taken" : "refused");
    if ((char *)outcome < region->memory.base + region->jobs_offset ||
        (char *)(outcome + 1) > region->memory.base + end)
        fail_msg("outcome %llu at %#llx was sought elsewhere", (unsigned long long)chunk,
                 (unsigned long long)offset);
}

static void no_outcome_lies_outside_the_jobs_and_the_heap(void **state)
{
    struct region region = open_region(WORKERS, MIB);
    struct job_shm *job = mp_region_job(&region, 0);
    const uint64_t room = region.heap_size / sizeof(struct outcome_shm);
    const uint64_t chunks[] = {0,
                               1,
                               room - 1,
                               room,
                               (uint64_t)1 << 61,
                               UINT64_MAX / sizeof(struct outcome_shm),
                               UINT64_MAX / sizeof(struct outcome_shm) + 1,
                               UINT64_MAX};
    uint64_t places[32];
    size_t count = boundaries_of(&region, places);
    uint64_t seed = test_seed();

    (void)state;
    for (size_t i = 0; i < count; i++)
        for (uint64_t by = 0; by <= sizeof(struct outcome_shm) + 8; by++)
            for (size_t k = 0; k < sizeof chunks / sizeof chunks[0]; k++) {
                check_outcome(&region, job, places[i] + by, chunks[k]);
                check_outcome(&region, job, places[i] - by, chunks[k]);
            }
    for (int i = 0; i < 200000 / test_slowness(); i++) {
        uint64_t offset = test_random(&seed) % region.memory.size;

        check_outcome(&region, job, offset, test_random(&seed) % (2 * room));
        check_outcome(&region, job, offset & ~(uint64_t)7, test_random(&seed) % (2 * room));
        check_outcome(&region, job, test_random(&seed), test_random(&seed));
    }
    mp_region_close(&region);
}

static void outcomes_follow_each_other(void **state)
{
    struct region region = open_region(WORKERS, MIB);
    struct job_shm *job = mp_region_job(&region, MP_SLOTS - 1);
    const size_t room = region.heap_size / sizeof(struct outcome_shm);

    (void)state;
    job->outcomes = region.heap_offset;
    for (size_t i = 0; i < room; i++)
        assert_ptr_equal(mp_region_outcome(&region, job, i),
                         region.memory.base + region.heap_offset + i * sizeof(struct outcome_shm));
    job->outcomes = (uint64_t)((char *)&job->outcome - region.memory.base);
    assert_ptr_equal(mp_region_outcome(&region, job, 0), &job->outcome);
    mp_region_close(&region);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void a_heap_larger_than_the_address_space_is_refused(void **state)
{
    const uint64_t sizes[] = {UINT64_MAX, (uint64_t)SIZE_MAX / 2, (uint64_t)SIZE_MAX / 4 + 1,
                              (uint64_t)SIZE_MAX / 4, (uint64_t)SIZE_MAX / 16};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct region region;

        assert_int_equal(mp_region_open(&region, WORKERS, sizes[i]), -ENOMEM);
        mp_region_close(&region); /* nothing: it accepts that */
    }
}

static void the_default_heap_is_large_and_costs_nothing(void **state)
{
    struct region region = open_region(WORKERS, 0);

    (void)state;
    assert_true(region.heap_size >= 256 * MIB);
    assert_in_order(&region);
    region.memory.base[region.heap_offset + region.heap_size - 1] = 1; /* all of it is there */
    mp_region_close(&region);
}

/* Bytes of address space that this process takes; 0: not to be known. */
static uint64_t address_space(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    if (statm) {
        if (fscanf(statm, "%llu", &pages) != 1)
            pages = 0;
        fclose(statm);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* In a child, because of the limit: 0, SKIPPED, or the number of what is wrong. */
static int open_under_a_limit(void *room)
{
    const uint64_t used = address_space();
    const uint64_t allowed = used + *(uint64_t *)room;
    struct rlimit limit = {(rlim_t)allowed, RLIM_INFINITY};
    struct region region;

    if (!used || setrlimit(RLIMIT_AS, &limit))
        return SKIPPED;
    if (mp_region_open(&region, WORKERS, 16384 * MIB) != -ENOMEM)
        return 1;
    if (mp_region_open(&region, WORKERS, 0))
        return 2;
    if (region.memory.size > *(uint64_t *)room)
        return 3;
    if (region.heap_size < *(uint64_t *)room / 4)
        return 4;
    region.memory.base[region.heap_offset + region.heap_size - 1] = 1;
    mp_region_close(&region);
    return 0;
}

static void under_a_limit_the_default_heap_shrinks_and_a_given_one_is_refused(void **state)
{
    uint64_t room = 700 * MIB;
    int status = test_run_child(open_under_a_limit, &room);

    (void)state;
    if (status == SKIPPED << 8)
        skip();
    assert_int_equal(status, 0);
}

static int open_under_a_tight_limit(void *unused)
{
    const uint64_t used = address_space();
    struct rlimit limit = {(rlim_t)(used + 8 * MIB), RLIM_INFINITY};
    struct region region;

    (void)unused;
    if (!used || setrlimit(RLIMIT_AS, &limit))
        return SKIPPED;
    return mp_region_open(&region, WORKERS, 0) == -ENOMEM ? 0 : 1; /* the job table alone is more */
}

static void where_nothing_fits_the_default_is_refused_too(void **state)
{
    int status = test_run_child(open_under_a_tight_limit, NULL);

    (void)state;
    if (status == SKIPPED << 8)
        skip();
    assert_int_equal(status, 0);
}

static void closing_twice_is_fine(void **state)
{
    struct region region = open_region(1, MIB);

    (void)state;
    mp_region_close(&region);
    mp_region_close(&region);
    assert_int_equal(region.memory.fd, -1);
}

/* ---- ids ------------------------------------------------------------------------------------- */

static void an_id_tells_its_slot_and_no_two_are_the_same(void **state)
{
    const uint32_t tags[] = {1, 2, (1U << MP_TAG_BITS) - 1};

    (void)state;
    for (uint32_t slot = 0; slot < MP_SLOTS; slot++)
        for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
            uint32_t id = mp_job_id(slot, tags[i]);

            assert_int_equal(mp_job_slot(id), slot);
            assert_int_equal(id & ((1U << MP_TAG_BITS) - 1), tags[i]); /* so no two are the same */
            assert_int_not_equal(id, 0);
        }
}

static const struct CMUnitTest tests[] = {
    TEST(the_parts_do_not_overlap),
    TEST(each_part_is_aligned_for_what_it_holds),
    TEST(words_of_different_writers_lie_on_different_lines),
    TEST(writing_one_record_changes_no_other),
    TEST(fresh_memory_reads_as_zero),
    TEST(a_reset_leaves_nothing_of_an_earlier_generation),
    TEST(each_generation_has_a_queue_of_an_era_of_its_own),
    TEST(no_offset_beside_the_words_is_taken_for_one),
    TEST(each_word_there_is_is_found),
    TEST(no_run_of_words_goes_beyond_their_memory),
    TEST(no_outcome_lies_outside_the_jobs_and_the_heap),
    TEST(outcomes_follow_each_other),
    TEST(a_heap_larger_than_the_address_space_is_refused),
    TEST(the_default_heap_is_large_and_costs_nothing),
    TEST(under_a_limit_the_default_heap_shrinks_and_a_given_one_is_refused),
    TEST(where_nothing_fits_the_default_is_refused_too),
    TEST(closing_twice_is_fine),
    TEST(an_id_tells_its_slot_and_no_two_are_the_same),
};

int main(void)
{
    return TEST_MAIN(tests);
}
