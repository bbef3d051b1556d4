/* SPDX-License-Identifier: MIT */
/*
 * What pools write down where the environment asks for it.  That is read once in a process, so each
 * test has a process of its own make the pool, with its standard error in a file.
 */
#include "support.h"

#include <mproc/mproc.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 20, CRASHES = 7, HANGS = 9, FAILS = 4, MOST = 65536 };

/* ---- a program ------------------------------------------------------------------------------- */

static int32_t act(const void *in, void *out, void *ctx)
{
    uint64_t item = *(const uint64_t *)in;

    (void)out;
    (void)ctx;
    if (item == CRASHES)
        raise(SIGKILL);
    while (item == HANGS)
        pause();
    return item == FAILS;
}

static int32_t kill_the_host(mproc_task *task, void *ctx)
{
    (void)task;
    return kill(*(pid_t *)ctx, SIGKILL) ? 1 : poll(NULL, 0, 60000);
}

struct run {
    const char *trace;
    const char *log;
    bool by_another; /* as in a set-uid program */
    bool is_killed;
    bool in_process;
    int errors; /* where its standard error goes */
};

static int run_map(mproc_pool *pool, bool quiet)
{
    int32_t statuses[COUNT];
    mproc_map_options options = {.size = sizeof options, .statuses = statuses, .time_limit_ms = 50};
    int r = mproc_pool_map(pool, act, NULL, NULL, 0, NULL, 0, quiet ? 4 : COUNT, &options);

    return r == (quiet ? 0 : 3) ? 0 : 1;
}

static int play(void *arg)
{
    const struct run *run = arg;
    mproc_pool_options options = {.size = sizeof options, .in_process = run->in_process};
    pid_t self = getpid();
    mproc_pool *pool;
    int r;

    if (dup2(run->errors, STDERR_FILENO) < 0)
        return 10;
    if (run->trace)
        setenv("MPROC_TRACE", run->trace, 1);
    if (run->log)
        setenv("MPROC_LOG", run->log, 1);
    if (run->by_another && seteuid(65534))
        return 11;
    if (mproc_pool_create(&pool, 2, &options))
        return 12;
    r = run_map(pool, run->in_process);
    if (run->is_killed) {
        mproc_submit_options submit = {.size = sizeof submit, .ctx_size = sizeof self};

        mproc_pool_call(pool, kill_the_host, &self, NULL, 0, NULL, 0, NULL, &submit);
    }
    mproc_pool_close(pool);
    mproc_pool_join(pool, -1);
    mproc_pool_destroy(pool);
    return r;
}

/* ---- files ----------------------------------------------------------------------------------- */

struct place {
    char trace[64];
    char errors[64];
};

static char written[MOST];

static struct place make_place(void)
{
    struct place place = {"/tmp/mproc-trace-XXXXXX", "/tmp/mproc-errors-XXXXXX"};
    int fd = mkstemp(place.trace);

    assert_true(fd >= 0);
    close(fd);
    fd = mkstemp(place.errors);
    assert_true(fd >= 0);
    close(fd);
    return place;
}

static void clear_place(const struct place *place)
{
    unlink(place->trace);
    unlink(place->errors);
}

static const char *contents(const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t n;

    assert_true(fd >= 0);
    n = read(fd, written, sizeof written - 1);
    assert_true(n >= 0);
    written[n] = '\0';
    close(fd);
    return written;
}

static int run_at(const struct place *place, struct run run)
{
    int status;

    run.errors = open(place->errors, O_WRONLY | O_TRUNC);
    assert_true(run.errors >= 0);
    status = test_run_child(play, &run);
    close(run.errors);
    return status;
}

static int count(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

/* ---- the timeline ---------------------------------------------------------------------------- */

/* Each line is an event by itself, whole. */
static void check_lines(const char *text)
{
    assert_memory_equal(text, "[\n", 2);
    for (text += 2; *text;) {
        const char *end = strchr(text, '\n');

        assert_non_null(end);
        assert_memory_equal(text, "{\"ph\":\"", 7);
        assert_memory_equal(end - 3, "}},", 3);
        text = end + 1;
    }
}

static bool has_python(void)
{
    return system("python3 -c 'import json' >/dev/null 2>&1") == 0;
}

/* With the bracket that the format does without.  An event has what a viewer asks for. */
static void check_json(const char *path)
{
    static const char program[] =
        "import json, sys\n"
        "events = json.loads(open(sys.argv[1]).read() + '{}]')[:-1]\n"
        "for e in events:\n"
        "    assert e['ph'] in 'XiM' and e['pid'] > 1 and e['tid'] >= 0 and e['name'], e\n"
        "    assert e['ph'] != 'X' or (e['ts'] > 0 and e['dur'] >= 0), e\n"
        "rows = {}\n"
        "for e in events:\n"
        "    if e['ph'] == 'X':\n"
        "        rows.setdefault((e['pid'], e['tid']), []).append((e['ts'], e['ts'] + e['dur']))\n"
        "for row in rows.values():\n"
        "    row.sort()\n"
        "    for a, b in zip(row, row[1:]):\n"
        "        assert a[1] <= b[0] + 0.002, (a, b)\n";
    char command[2048];

    if (!has_python())
        return;
    snprintf(command, sizeof command, "python3 -c \"%s\" %s", program, path);
    assert_int_equal(system(command), 0);
}

static void the_timeline_has_each_chunk_once_and_what_the_dead_were_doing(void **state)
{
    struct place place = make_place();
    const char *text;

    (void)state;
    assert_int_equal(run_at(&place, (struct run){.trace = place.trace}), 0);
    text = contents(place.trace);
    check_lines(text);
    for (int item = 0; item < COUNT; item++) {
        char name[32];

        snprintf(name, sizeof name, "\"name\":\"item %d\"", item);
        assert_int_equal(count(text, name), 1);
    }
    assert_int_equal(count(text, "\"ended\":\"its worker died\""), 2);
    assert_int_equal(count(text, "\"ended\":\"failed\""), 1);
    assert_int_equal(count(text, "\"ended\":\"done\""), COUNT - 3);
    assert_int_equal(count(text, "\"name\":\"killed by SIGKILL\""), 1);
    assert_int_equal(count(text, "\"name\":\"killed at the time limit\""), 1);
    assert_int_equal(count(text, "\"name\":\"started\""), 4);
    assert_int_equal(count(text, "\"name\":\"left\""), 2);
    assert_true(count(text, "\"thread_name\",\"args\":{\"name\":\"worker 1\"}") >= 1);
    check_json(place.trace);
    assert_string_equal(contents(place.errors), "");
    clear_place(&place);
}

static void a_file_that_is_there_is_continued(void **state)
{
    struct place place = make_place();
    const char *text;

    (void)state;
    assert_int_equal(run_at(&place, (struct run){.trace = place.trace}), 0);
    assert_int_equal(run_at(&place, (struct run){.trace = place.trace, .in_process = true}), 0);
    text = contents(place.trace);
    check_lines(text);
    assert_int_equal(count(text, "[\n"), 1);
    assert_int_equal(count(text, "\"name\":\"item 3\""), 2);
    check_json(place.trace);
    clear_place(&place);
}

/* The supervisor outlives its host by as much as it takes to write that down. */
static void the_file_is_whole_when_the_program_is_killed(void **state)
{
    struct place place = make_place();
    int status;

    (void)state;
    status = run_at(&place, (struct run){.trace = place.trace, .is_killed = true});
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (count(contents(place.trace), "\"ended\":\"its worker died\"") < 3)
        poll(NULL, 0, 5);
    check_lines(contents(place.trace));
    check_json(place.trace);
    clear_place(&place);
}

static void what_is_no_file_is_not_written_to_and_harms_nobody(void **state)
{
    struct place place = make_place();

    (void)state;
    assert_int_equal(unlink(place.trace), 0);
    assert_int_equal(mkfifo(place.trace, 0600), 0);
    assert_int_equal(run_at(&place, (struct run){.trace = place.trace}), 0);
    assert_int_equal(run_at(&place, (struct run){.trace = "/"}), 0);
    assert_string_equal(contents(place.errors), "");
    assert_int_equal(run_at(&place, (struct run){.trace = "/", .log = "warn"}), 0);
    assert_non_null(strstr(contents(place.errors), "MPROC_TRACE names no file"));
    clear_place(&place);
}

/* ---- the log --------------------------------------------------------------------------------- */

static void warn_tells_of_deaths_and_debug_of_more(void **state)
{
    struct place place = make_place();
    const char *text;

    (void)state;
    assert_int_equal(run_at(&place, (struct run){.log = "warn"}), 0);
    text = contents(place.errors);
    assert_int_equal(count(text, "\n"), 2);
    assert_int_equal(count(text, "mproc["), 2);
    assert_int_equal(count(text, ") killed by SIGKILL\n"), 1);
    assert_int_equal(count(text, ") killed at the time limit\n"), 1);
    assert_int_equal(run_at(&place, (struct run){.log = "debug"}), 0);
    text = contents(place.errors);
    assert_int_equal(count(text, " started\n"), 4);
    assert_int_equal(count(text, " left\n"), 2);
    assert_int_equal(count(text, " killed "), 2);
    assert_int_equal(run_at(&place, (struct run){.log = "loud"}), 0);
    assert_string_equal(contents(place.errors), "");
    clear_place(&place);
}

static void in_a_set_uid_program_nothing_is_heeded(void **state)
{
    struct place place = make_place();

    (void)state;
    if (geteuid() == 0) {
        assert_int_equal(chmod(place.trace, 0666), 0); /* so that it is not that which forbids it */
        assert_int_equal(
            run_at(&place, (struct run){.trace = place.trace, .log = "debug", .by_another = true}),
            0);
        assert_string_equal(contents(place.trace), "");
        assert_string_equal(contents(place.errors), "");
    }
    clear_place(&place);
    if (geteuid() != 0)
        skip();
}

static const struct CMUnitTest tests[] = {
    TEST(the_timeline_has_each_chunk_once_and_what_the_dead_were_doing),
    TEST(a_file_that_is_there_is_continued),
    TEST(the_file_is_whole_when_the_program_is_killed),
    TEST(what_is_no_file_is_not_written_to_and_harms_nobody),
    TEST(warn_tells_of_deaths_and_debug_of_more),
    TEST(in_a_set_uid_program_nothing_is_heeded),
};

int main(void)
{
    return TEST_MAIN(tests);
}
