/* SPDX-License-Identifier: MIT */
/* The chunk word: every transition from every state, and of two that want it one wins. */
#include "support.h"

#include "shm/word.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

enum { ID = 0x00070003, WORKER = 5, ATTEMPTS = 3, NO_STATE = 200, LAST_STATE = 256 };

static uint64_t word_of(uint32_t id, unsigned worker, unsigned attempts, unsigned state)
{
    return (uint64_t)id << 32 | (uint64_t)worker << 16 | (uint64_t)attempts << 8 | state;
}

/* The word as it stands in a state: a worker is named in it while one holds it. */
static uint64_t word_in(unsigned state)
{
    bool held = state == CHUNK_RUNNING || state == CHUNK_STOPPING;

    return word_of(ID, held ? WORKER : 0, ATTEMPTS, state);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

/* ---- every state, every call ----------------------------------------------------------------- */

enum call {
    CLAIM,
    FINISH_DONE,
    FINISH_FAILED,
    STOP,
    CANCEL,
    BURY,
    BURY_EXPIRED,
    BURY_RETRY,
    BURY_EXPIRED_RETRY,
    CALLS
};

/* What the call makes of the state; none (NONE, 0) where it is refused. */
static const enum chunk_state becomes[CHUNK_STATE_COUNT][CALLS] = {
    [CHUNK_WAITING] = {[CLAIM] = CHUNK_RUNNING, [CANCEL] = CHUNK_CANCELLED},
    [CHUNK_RUNNING] = {[FINISH_DONE] = CHUNK_DONE,
                       [FINISH_FAILED] = CHUNK_FAILED,
                       [STOP] = CHUNK_STOPPING,
                       [BURY] = CHUNK_CRASHED,
                       [BURY_EXPIRED] = CHUNK_CRASHED,
                       [BURY_RETRY] = CHUNK_WAITING,
                       [BURY_EXPIRED_RETRY] = CHUNK_WAITING},
    [CHUNK_STOPPING] = {[BURY] = CHUNK_STOPPED,
                        [BURY_EXPIRED] = CHUNK_TIMED_OUT,
                        [BURY_RETRY] = CHUNK_STOPPED,
                        [BURY_EXPIRED_RETRY] = CHUNK_TIMED_OUT},
};

/* True: the call says that it changed the word. */
static bool make(enum call call, chunk_word *word, int *outcomes)
{
    uint64_t claimed = word_of(ID, WORKER, ATTEMPTS, CHUNK_RUNNING);
    bool retry = call == BURY_RETRY || call == BURY_EXPIRED_RETRY;
    bool expired = call == BURY_EXPIRED || call == BURY_EXPIRED_RETRY;

    switch (call) {
    case CLAIM:
        return mp_word_claim(word, ID, WORKER, &claimed);
    case FINISH_DONE:
        return mp_word_finish(word, claimed, CHUNK_DONE);
    case FINISH_FAILED:
        return mp_word_finish(word, claimed, CHUNK_FAILED);
    case STOP:
        return mp_word_stop(word, atomic_load(word));
    case CANCEL:
        return mp_word_cancel(word, ID);
    default:
        return mp_word_bury(word, WORKER, retry ? ATTEMPTS : ATTEMPTS - 1, expired, count_call,
                            outcomes) != CHUNK_NONE;
    }
}

static void each_state_allows_its_own_transitions_and_no_others(void **state)
{
    (void)state;
    for (unsigned from = 0; from < LAST_STATE; from++)
        for (enum call call = 0; call < CALLS; call++) {
            enum chunk_state to = from < CHUNK_STATE_COUNT ? becomes[from][call] : CHUNK_NONE;
            uint64_t expected = to == CHUNK_NONE ? word_in(from) : word_in(to);
            chunk_word word = word_in(from);
            int outcomes = 0;

            if (to == CHUNK_RUNNING)
                expected = word_of(ID, WORKER, ATTEMPTS + 1, CHUNK_RUNNING);
            if (make(call, &word, &outcomes) != (to != CHUNK_NONE) ||
                atomic_load(&word) != expected)
                fail_msg("call %d in state %u (%s) made it %llx, not %llx", (int)call, from,
                         mp_chunk_state_name(from), (unsigned long long)atomic_load(&word),
                         (unsigned long long)expected);
            assert_int_equal(outcomes, call >= BURY && mp_chunk_is_terminal(to));
        }
}

static void a_published_word_waits_whatever_it_was(void **state)
{
    (void)state;
    for (unsigned from = 0; from < LAST_STATE; from++) {
        chunk_word word = word_of(ID + 1, 77, 99, from);

        mp_word_publish(&word, ID);
        assert_int_equal(atomic_load(&word), word_of(ID, 0, 0, CHUNK_WAITING));
        assert_true(mp_word_is_waiting(&word, ID));
    }
}

static void only_waiting_is_waiting_and_only_what_has_ended_is_terminal(void **state)
{
    (void)state;
    for (unsigned from = 0; from < LAST_STATE; from++) {
        chunk_word word = word_in(from);

        assert_int_equal(mp_word_is_waiting(&word, ID), from == CHUNK_WAITING);
        assert_int_equal(mp_chunk_is_terminal(from),
                         from >= CHUNK_DONE && from < CHUNK_STATE_COUNT);
    }
    assert_false(mp_chunk_is_terminal(UINT32_MAX));
}

static void each_state_has_a_name_of_its_own(void **state)
{
    static const char *const names[] = {"NONE",   "WAITING", "RUNNING",   "STOPPING", "DONE",
                                        "FAILED", "CRASHED", "TIMED_OUT", "STOPPED",  "CANCELLED"};

    (void)state;
    assert_int_equal(sizeof names / sizeof names[0], CHUNK_STATE_COUNT);
    for (unsigned i = 0; i < CHUNK_STATE_COUNT; i++)
        assert_string_equal(mp_chunk_state_name(i), names[i]);
    assert_string_equal(mp_chunk_state_name(CHUNK_STATE_COUNT), "?");
    assert_string_equal(mp_chunk_state_name(NO_STATE), "?");
    assert_string_equal(mp_chunk_state_name(UINT32_MAX), "?");
}

/* ---- the parts of a word --------------------------------------------------------------------- */

static void a_view_gives_the_parts_that_a_word_was_made_of(void **state)
{
    uint64_t seed = test_seed();

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t value = test_random(&seed);
        struct chunk_view view = mp_word_view(value);

        assert_int_equal(word_of(view.id, view.worker, view.attempts, view.state), value);
        assert_int_equal(view.id, value >> 32);
        assert_int_equal(view.worker, value >> 16 & 0xffff);
        assert_int_equal(view.attempts, value >> 8 & 0xff);
        assert_int_equal(view.state, value & 0xff);
    }
}

static void the_largest_parts_do_not_spill_into_each_other(void **state)
{
    chunk_word word;
    uint64_t claimed = 0;
    struct chunk_view view;

    (void)state;
    mp_word_publish(&word, UINT32_MAX);
    assert_true(mp_word_claim(&word, UINT32_MAX, WORD_WORKER_MAX, &claimed));
    view = mp_word_view(claimed);
    assert_int_equal(view.id, UINT32_MAX);
    assert_int_equal(view.worker, WORD_WORKER_MAX);
    assert_int_equal(view.attempts, 1);
    assert_int_equal(view.state, CHUNK_RUNNING);
    assert_int_equal(atomic_load(&word), claimed);
}

/* ---- who may not ----------------------------------------------------------------------------- */

static void a_word_of_another_job_is_left_alone(void **state)
{
    /* The next tag of the slot, the one before, other slots with the same tag, none. */
    const uint32_t others[] = {ID + 1, ID - 1, ID + 0x10000, ID ^ 0x80000000U, 0, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        chunk_word word = word_in(CHUNK_WAITING);
        uint64_t claimed = 0;

        assert_false(mp_word_is_waiting(&word, others[i]));
        assert_false(mp_word_claim(&word, others[i], WORKER, &claimed));
        assert_false(mp_word_cancel(&word, others[i]));
        assert_int_equal(atomic_load(&word), word_in(CHUNK_WAITING));
        atomic_store(&word, word_in(CHUNK_RUNNING));
        claimed = word_of(others[i], WORKER, ATTEMPTS, CHUNK_RUNNING);
        assert_false(mp_word_finish(&word, claimed, CHUNK_DONE));
        assert_int_equal(atomic_load(&word), word_in(CHUNK_RUNNING));
    }
}

static void only_the_claim_that_holds_a_chunk_finishes_it(void **state)
{
    const uint64_t strangers[] = {
        word_of(ID, WORKER + 1, ATTEMPTS, CHUNK_RUNNING),
        word_of(ID, 0, ATTEMPTS, CHUNK_RUNNING),
        word_of(ID, WORKER, ATTEMPTS - 1, CHUNK_RUNNING),
        word_of(ID, WORKER, ATTEMPTS + 1, CHUNK_RUNNING),
    };

    (void)state;
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        chunk_word word = word_in(CHUNK_RUNNING);

        assert_false(mp_word_finish(&word, strangers[i], CHUNK_DONE));
        assert_int_equal(atomic_load(&word), word_in(CHUNK_RUNNING));
    }
}

static void a_finished_word_names_no_worker_and_keeps_its_attempts(void **state)
{
    chunk_word word;
    uint64_t claimed = 0;

    (void)state;
    mp_word_publish(&word, ID);
    assert_true(mp_word_claim(&word, ID, WORKER, &claimed));
    assert_true(mp_word_finish(&word, claimed, CHUNK_FAILED));
    assert_int_equal(atomic_load(&word), word_of(ID, 0, 1, CHUNK_FAILED));
    assert_false(mp_word_finish(&word, claimed, CHUNK_DONE)); /* once */
}

static void a_stop_of_what_was_seen_earlier_changes_nothing(void **state)
{
    const uint64_t earlier[] = {
        word_of(ID, WORKER, ATTEMPTS - 1, CHUNK_RUNNING), /* a retry came in between */
        word_of(ID, WORKER + 1, ATTEMPTS, CHUNK_RUNNING),
        word_of(ID - 1, WORKER, ATTEMPTS, CHUNK_RUNNING),
        word_in(CHUNK_WAITING),
    };

    (void)state;
    for (size_t i = 0; i < sizeof earlier / sizeof earlier[0]; i++) {
        chunk_word word = word_in(CHUNK_RUNNING);

        assert_false(mp_word_stop(&word, earlier[i]));
        assert_int_equal(atomic_load(&word), word_in(CHUNK_RUNNING));
    }
}

static void a_stopped_claim_cannot_finish(void **state)
{
    chunk_word word;
    uint64_t claimed = 0;

    (void)state;
    mp_word_publish(&word, ID);
    assert_true(mp_word_claim(&word, ID, WORKER, &claimed));
    assert_true(mp_word_stop(&word, claimed));
    assert_false(mp_word_finish(&word, claimed, CHUNK_DONE));
    assert_int_equal(atomic_load(&word), word_of(ID, WORKER, 1, CHUNK_STOPPING));
}

static void the_dead_leave_the_chunks_of_others_alone(void **state)
{
    const unsigned held[] = {CHUNK_RUNNING, CHUNK_STOPPING};

    (void)state;
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
        chunk_word word = word_in(held[i]);
        int outcomes = 0;

        assert_int_equal(mp_word_bury(&word, WORKER + 1, 9, true, count_call, &outcomes),
                         CHUNK_NONE);
        assert_int_equal(mp_word_bury(&word, 0, 9, false, count_call, &outcomes), CHUNK_NONE);
        assert_int_equal(atomic_load(&word), word_in(held[i]));
        assert_int_equal(outcomes, 0);
    }
}

/* ---- attempts -------------------------------------------------------------------------------- */

/* How often a chunk is begun whose worker dies each time, and what becomes of it. */
static unsigned begin_until_it_ends(unsigned retries, enum chunk_state *end, int *outcomes)
{
    chunk_word word;
    unsigned begun = 0;
    uint64_t claimed = 0;

    *outcomes = 0;
    mp_word_publish(&word, ID);
    do {
        if (!mp_word_claim(&word, ID, WORKER, &claimed))
            break;
        begun++;
        *end = mp_word_bury(&word, WORKER, retries, false, count_call, outcomes);
    } while (*end == CHUNK_WAITING);
    *end = (enum chunk_state)mp_word_view(atomic_load(&word)).state;
    return begun;
}

static void a_chunk_is_begun_once_and_again_for_each_retry(void **state)
{
    (void)state;
    for (unsigned retries = 0; retries < WORD_ATTEMPTS_MAX; retries++) {
        enum chunk_state end = CHUNK_NONE;
        int outcomes;

        assert_int_equal(begin_until_it_ends(retries, &end, &outcomes), retries + 1);
        assert_int_equal(end, CHUNK_CRASHED);
        assert_int_equal(outcomes, 1); /* none for an attempt that is followed by another */
    }
}

/* The supervisor reads `retries` from shared memory, where it may have become anything. */
static void no_number_of_retries_leaves_a_chunk_waiting_that_nobody_can_claim(void **state)
{
    const unsigned retries[] = {WORD_ATTEMPTS_MAX, WORD_ATTEMPTS_MAX + 1, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof retries / sizeof retries[0]; i++) {
        enum chunk_state end = CHUNK_NONE;
        int outcomes;

        assert_int_equal(begin_until_it_ends(retries[i], &end, &outcomes), WORD_ATTEMPTS_MAX);
        assert_int_equal(end, CHUNK_CRASHED);
        assert_int_equal(outcomes, 1);
    }
}

static void a_chunk_begun_as_often_as_can_be_counted_is_not_claimed(void **state)
{
    chunk_word word = word_of(ID, 0, WORD_ATTEMPTS_MAX, CHUNK_WAITING);
    uint64_t claimed = 0;

    (void)state;
    assert_false(mp_word_claim(&word, ID, WORKER, &claimed));
    assert_int_equal(atomic_load(&word), word_of(ID, 0, WORD_ATTEMPTS_MAX, CHUNK_WAITING));
    assert_true(mp_word_cancel(&word, ID));
    assert_int_equal(atomic_load(&word), word_of(ID, 0, WORD_ATTEMPTS_MAX, CHUNK_CANCELLED));
}

/* ---- what happens in between ----------------------------------------------------------------- */

/* A burial in which something else befalls the word, once, when the outcome is asked for. */
struct interference {
    chunk_word *word;
    uint64_t becomes; /* 0: it is made STOPPING as the host does it */
    int calls;
    bool was_held; /* at each call */
};

static void interfere(void *arg)
{
    struct interference *other = arg;
    uint64_t now = atomic_load(other->word);
    unsigned state = mp_word_view(now).state;

    other->was_held &= state == CHUNK_RUNNING || state == CHUNK_STOPPING;
    if (other->calls++ > 0)
        return;
    if (other->becomes)
        atomic_store(other->word, other->becomes);
    else
        mp_word_stop(other->word, now);
}

static void a_stop_during_the_burial_decides_how_the_chunk_ended(void **state)
{
    (void)state;
    for (int expired = 0; expired <= 1; expired++) {
        chunk_word word = word_in(CHUNK_RUNNING);
        struct interference host = {.word = &word, .was_held = true};
        enum chunk_state end = expired ? CHUNK_TIMED_OUT : CHUNK_STOPPED;

        assert_int_equal(mp_word_bury(&word, WORKER, 0, expired, interfere, &host), end);
        assert_int_equal(atomic_load(&word), word_of(ID, 0, ATTEMPTS, end));
        assert_int_equal(host.calls, 2); /* the outcome is that of the last state */
        assert_true(host.was_held);
    }
}

static void the_outcome_is_there_before_the_word_says_so(void **state)
{
    chunk_word word = word_in(CHUNK_STOPPING);
    struct interference nobody = {.word = &word, .was_held = true, .calls = 1};

    (void)state;
    assert_int_equal(mp_word_bury(&word, WORKER, 0, true, interfere, &nobody), CHUNK_TIMED_OUT);
    assert_int_equal(nobody.calls, 2);
    assert_true(nobody.was_held);
}

static void a_word_scribbled_over_during_the_burial_is_no_longer_the_dead_ones(void **state)
{
    const uint64_t scribbles[] = {word_of(ID, WORKER + 1, ATTEMPTS, CHUNK_RUNNING),
                                  word_of(ID, 0, ATTEMPTS, CHUNK_DONE), UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof scribbles / sizeof scribbles[0]; i++) {
        chunk_word word = word_in(CHUNK_RUNNING);
        struct interference other = {.word = &word, .becomes = scribbles[i]};

        assert_int_equal(mp_word_bury(&word, WORKER, 0, false, interfere, &other), CHUNK_NONE);
        assert_int_equal(atomic_load(&word), scribbles[i]);
        assert_int_equal(other.calls, 1);
    }
}

/* ---- several at once ------------------------------------------------------------------------- */

enum { THREADS = 4, WORDS = 20000 };

static struct {
    chunk_word words[WORDS];
    uint64_t claims[WORDS]; /* by word: the claim to be finished */
    _Atomic int winners[WORDS];
    _Atomic int ready;
    int count; /* of words */
    int threads;
} contest;

struct contestant {
    pthread_t thread;
    unsigned number;
    bool (*try)(int word, unsigned number);
    int won;
};

static void *contend(void *arg)
{
    struct contestant *self = arg;

    atomic_fetch_add(&contest.ready, 1);
    while (atomic_load(&contest.ready) < contest.threads) /* all begin at once */
        sched_yield();
    for (int i = 0; i < contest.count; i++)
        if (self->try(i, self->number)) {
            atomic_fetch_add(&contest.winners[i], 1);
            self->won++;
        }
    return NULL;
}

/* Let each contestant try each word; afterwards each word has one winner. */
static void hold_contest(struct contestant *contestants, int threads)
{
    int won = 0;

    contest.threads = threads;
    atomic_store(&contest.ready, 0);
    memset(contest.winners, 0, sizeof contest.winners);
    for (int i = 0; i < threads; i++) {
        contestants[i].number = (unsigned)i;
        assert_int_equal(pthread_create(&contestants[i].thread, NULL, contend, &contestants[i]), 0);
    }
    for (int i = 0; i < threads; i++) {
        assert_int_equal(pthread_join(contestants[i].thread, NULL), 0);
        won += contestants[i].won;
    }
    for (int i = 0; i < contest.count; i++)
        assert_int_equal(atomic_load(&contest.winners[i]), 1);
    assert_int_equal(won, contest.count);
}

static void publish_all(void)
{
    contest.count = test_under_valgrind() ? WORDS / 20 : WORDS;
    for (int i = 0; i < contest.count; i++)
        mp_word_publish(&contest.words[i], ID);
}

static void claim_all(void)
{
    publish_all();
    for (int i = 0; i < contest.count; i++)
        assert_true(mp_word_claim(&contest.words[i], ID, WORKER, &contest.claims[i]));
}

static bool claim(int word, unsigned number)
{
    uint64_t claimed;

    if (!mp_word_claim(&contest.words[word], ID, number, &claimed))
        return false;
    contest.claims[word] = claimed; /* the winner alone writes here */
    return true;
}

static bool finish(int word, unsigned number)
{
    (void)number;
    return mp_word_finish(&contest.words[word], contest.claims[word], CHUNK_DONE);
}

static bool stop(int word, unsigned number)
{
    (void)number;
    return mp_word_stop(&contest.words[word], contest.claims[word]);
}

static bool cancel(int word, unsigned number)
{
    (void)number;
    return mp_word_cancel(&contest.words[word], ID);
}

static void of_many_that_claim_a_chunk_one_gets_it(void **state)
{
    struct contestant contestants[THREADS] = {
        {.try = claim}, {.try = claim}, {.try = claim}, {.try = claim}};

    (void)state;
    publish_all();
    hold_contest(contestants, THREADS);
    for (int i = 0; i < contest.count; i++) {
        struct chunk_view view = mp_word_view(atomic_load(&contest.words[i]));

        assert_int_equal(atomic_load(&contest.words[i]), contest.claims[i]);
        assert_int_equal(view.state, CHUNK_RUNNING);
        assert_int_equal(view.attempts, 1);
    }
}

static void of_finish_and_stop_one_wins(void **state)
{
    struct contestant contestants[2] = {{.try = finish}, {.try = stop}};

    (void)state;
    claim_all();
    hold_contest(contestants, 2);
    for (int i = 0; i < contest.count; i++) {
        unsigned end = mp_word_view(atomic_load(&contest.words[i])).state;

        assert_true(end == CHUNK_DONE || end == CHUNK_STOPPING);
        contestants[0].won -= end == CHUNK_DONE;
        contestants[1].won -= end == CHUNK_STOPPING;
    }
    assert_int_equal(contestants[0].won, 0);
    assert_int_equal(contestants[1].won, 0);
}

static void of_claim_and_cancel_one_wins(void **state)
{
    struct contestant contestants[2] = {{.try = claim}, {.try = cancel}};

    (void)state;
    publish_all();
    hold_contest(contestants, 2);
    for (int i = 0; i < contest.count; i++) {
        unsigned end = mp_word_view(atomic_load(&contest.words[i])).state;

        assert_true(end == CHUNK_RUNNING || end == CHUNK_CANCELLED);
        contestants[0].won -= end == CHUNK_RUNNING;
        contestants[1].won -= end == CHUNK_CANCELLED;
    }
    assert_int_equal(contestants[0].won, 0);
    assert_int_equal(contestants[1].won, 0);
}

/* A stop races the burial of each chunk: whoever is first, the chunk ends as what it was then. */
static bool bury(int word, unsigned number)
{
    int outcomes = 0;
    enum chunk_state end =
        mp_word_bury(&contest.words[word], WORKER, 0, false, count_call, &outcomes);

    (void)number;
    contest.claims[word] |= (uint64_t)(unsigned)outcomes << 32; /* read when the threads are gone */
    return end == CHUNK_CRASHED;
}

static bool stop_as_seen(int word, unsigned number)
{
    (void)number;
    return mp_word_stop(&contest.words[word], word_of(ID, WORKER, 1, CHUNK_RUNNING));
}

static void of_a_stop_and_a_burial_the_first_decides(void **state)
{
    struct contestant contestants[2] = {{.try = bury}, {.try = stop_as_seen}};

    (void)state;
    claim_all();
    memset(contest.claims, 0, sizeof contest.claims);
    hold_contest(contestants, 2); /* CRASHED, or stopped in time: one of them, for each word */
    for (int i = 0; i < contest.count; i++) {
        struct chunk_view view = mp_word_view(atomic_load(&contest.words[i]));

        assert_true(view.state == CHUNK_CRASHED || view.state == CHUNK_STOPPED);
        assert_int_equal(view.worker, 0);
        assert_in_range(contest.claims[i] >> 32, 1, view.state == CHUNK_CRASHED ? 1 : 2);
    }
}

static const struct CMUnitTest tests[] = {
    TEST(each_state_allows_its_own_transitions_and_no_others),
    TEST(a_published_word_waits_whatever_it_was),
    TEST(only_waiting_is_waiting_and_only_what_has_ended_is_terminal),
    TEST(each_state_has_a_name_of_its_own),
    TEST(a_view_gives_the_parts_that_a_word_was_made_of),
    TEST(the_largest_parts_do_not_spill_into_each_other),
    TEST(a_word_of_another_job_is_left_alone),
    TEST(only_the_claim_that_holds_a_chunk_finishes_it),
    TEST(a_finished_word_names_no_worker_and_keeps_its_attempts),
    TEST(a_stop_of_what_was_seen_earlier_changes_nothing),
    TEST(a_stopped_claim_cannot_finish),
    TEST(the_dead_leave_the_chunks_of_others_alone),
    TEST(a_chunk_is_begun_once_and_again_for_each_retry),
    TEST(no_number_of_retries_leaves_a_chunk_waiting_that_nobody_can_claim),
    TEST(a_chunk_begun_as_often_as_can_be_counted_is_not_claimed),
    TEST(a_stop_during_the_burial_decides_how_the_chunk_ended),
    TEST(the_outcome_is_there_before_the_word_says_so),
    TEST(a_word_scribbled_over_during_the_burial_is_no_longer_the_dead_ones),
    TEST(of_many_that_claim_a_chunk_one_gets_it),
    TEST(of_finish_and_stop_one_wins),
    TEST(of_claim_and_cancel_one_wins),
    TEST(of_a_stop_and_a_burial_the_first_decides),
};

int main(void)
{
    return TEST_MAIN(tests);
}
