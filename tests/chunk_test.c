/* SPDX-License-Identifier: MIT */
/* What the host makes of a chunk's word and outcome, which others write: jobs of this process alone. */
#include "support.h"

#include "pool/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 2, ITEMS = 10, CHUNK_ITEMS = 5, ATTEMPTS = 3 };

static struct mproc_pool *pool;
static chunk_word word;
static struct outcome_shm outcome;
static struct job job;

static uint64_t word_of(uint32_t id, unsigned worker, enum chunk_state state)
{
    return (uint64_t)id << 32 | (uint64_t)worker << 16 | ATTEMPTS << 8 | (uint64_t)state;
}

static void set_job(enum chunk_state state)
{
    pool = calloc(1, sizeof *pool);
    assert_non_null(pool);
    pool->region.workers = WORKERS;
    strcpy(pool->why_broken, "why");
    outcome = (struct outcome_shm){.code = 7, .pid = 77, .item = 4};
    memset(outcome.text, 'x', sizeof outcome.text);
    job = (struct job){.pool = pool,
                       .id = mp_job_id(3, 5),
                       .words = &word,
                       .chunks = 1,
                       .outcomes = &outcome,
                       .count = ITEMS,
                       .chunk_items = CHUNK_ITEMS,
                       .unfinished = -ECANCELED};
    atomic_store(&word, word_of(job.id, 0, state));
}

static void clear_job(void)
{
    free(pool);
}

static void each_state_has_its_error(void **state)
{
    static const struct {
        enum chunk_state state;
        int error;
    } table[] = {{CHUNK_DONE, 0},
                 {CHUNK_FAILED, MPROC_ETASK},
                 {CHUNK_CRASHED, MPROC_ECRASHED},
                 {CHUNK_TIMED_OUT, MPROC_ELIMIT},
                 {CHUNK_STOPPED, -ECANCELED},
                 {CHUNK_CANCELLED, -ECANCELED},
                 {CHUNK_WAITING, -ECANCELED}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        mproc_failure failure;

        set_job(table[i].state);
        assert_int_equal(mp_job_error(&job, 0), table[i].error);
        assert_int_equal(mp_job_status(&job, 0, &failure), table[i].error);
        assert_int_equal(failure.error, table[i].error);
        assert_int_equal(failure.attempts, ATTEMPTS);
        clear_job();
    }
}

static void the_outcome_is_copied_and_its_text_has_an_end(void **state)
{
    mproc_failure failure;

    (void)state;
    set_job(CHUNK_FAILED);
    assert_int_equal(mp_job_status(&job, 0, &failure), MPROC_ETASK);
    assert_int_equal(failure.code, 7);
    assert_int_equal(failure.pid, 77);
    assert_int_equal(failure.index, 4);
    assert_int_equal(strlen(failure.text), sizeof outcome.text - 1);
    clear_job();
}

static void an_item_that_is_not_of_the_chunk_is_not_believed(void **state)
{
    static const uint64_t items[] = {CHUNK_ITEMS, ITEMS - 1, ITEMS, UINT64_MAX};
    mproc_failure failure;

    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        set_job(CHUNK_CRASHED);
        outcome.item = items[i];
        assert_int_equal(mp_job_status(&job, 0, &failure), MPROC_ECRASHED);
        assert_int_equal(failure.index, 0);
        clear_job();
    }
}

static void assert_broken(uint64_t value)
{
    mproc_failure failure;

    atomic_store(&word, value);
    assert_int_equal(mp_job_error(&job, 0), MPROC_EBROKEN);
    assert_int_equal(mp_job_status(&job, 0, &failure), MPROC_EBROKEN);
    assert_string_equal(failure.text, "why");
}

static void a_word_that_cannot_be_says_nothing(void **state)
{
    (void)state;
    set_job(CHUNK_DONE);
    assert_broken(0);
    assert_broken(word_of(job.id + 1, 0, CHUNK_DONE));
    assert_broken(word_of(job.id, 1, CHUNK_DONE));
    assert_broken(word_of(job.id, WORKERS, CHUNK_RUNNING));
    assert_broken(word_of(job.id, 0, CHUNK_NONE));
    assert_broken(word_of(job.id, 0, CHUNK_STATE_COUNT));
    job.distrusted = true;
    assert_broken(word_of(job.id, 0, CHUNK_DONE));
    clear_job();
}

static const struct CMUnitTest tests[] = {
    TEST(each_state_has_its_error),
    TEST(the_outcome_is_copied_and_its_text_has_an_end),
    TEST(an_item_that_is_not_of_the_chunk_is_not_believed),
    TEST(a_word_that_cannot_be_says_nothing),
};

int main(void)
{
    return TEST_MAIN(tests);
}
