/* SPDX-License-Identifier: MIT */
/*
 * The rounds.  Each measurement is made by a process of its own, this program again or a peer's,
 * which prints the value: so none finds the heap, the threads or the children of another.  The
 * contenders of a row take turns, so that what the machine does meanwhile hits all alike.
 *
 *   bench [--quick | --smoke] [--rounds N] [--json FILE] [--svg FILE] [--table FILE] [ROW...]
 *   bench --list
 *   bench --measure ROW PLACE COUNT SIZE SECONDS     one measurement: for us, and for a profiler
 *
 * --smoke sees that all of it works, and measures nothing that means anything.
 */
#include "bench.h"
#include "timing.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/mproc.h>

enum { MAX_ROWS = 64, SMOKE_COUNT = 16, SMOKE_SIZE = 1 << 16 };

struct plan {
    int rounds;
    double seconds; /* for each measurement */
    bool smoke;
    const char *json; /* NULL: not wanted */
    const char *svg;
    const char *table;
    const char *program;
    char directory[4096]; /* of this program and of the peers */
};

void must(int r)
{
    if (r >= 0)
        return;
    fprintf(stderr, "bench: %s\n", mproc_strerror(r));
    _exit(1);
}

/* ---- one measurement ------------------------------------------------------------------------- */

/* What is executed, and the texts of its numbers. */
struct command {
    char *words[16];
    int count;
    char program[4200];
    char numbers[5][32];
};

static void add(struct command *command, const char *word)
{
    command->words[command->count++] = (char *)(uintptr_t)word;
}

static void add_program(struct command *command, const struct plan *plan, const char *name)
{
    snprintf(command->program, sizeof command->program, "%s/%s", plan->directory, name);
    add(command, command->program);
}

static void add_launcher(struct command *command, const struct plan *plan,
                         const struct contender *contender, const char *ranks)
{
    switch (contender->by) {
    case OPENMP:
        add_program(command, plan, "peer_openmp");
        break;
    case OPEN_MPI:
        for (const char *const *word = (const char *const[]){"mpirun", "--allow-run-as-root",
                                                             "--oversubscribe", "-n", ranks, NULL};
             *word; word++)
            add(command, *word);
        add_program(command, plan, "peer_mpi");
        break;
    default:
        add(command, "python3");
        add_program(command, plan, "peer_python.py");
        add(command, contender->by == PYTHON_PROCESS ? "process"
                     : contender->by == PYTHON_POOL  ? "pool"
                                                     : "executor");
    }
}

/* Peers: ROW WORKERS COUNT SIZE SECONDS, after what starts them. */
static void compose(struct command *command, const struct plan *plan, const struct row *row,
                    const struct contender *contender)
{
    uint64_t count = contender->count;
    size_t size = contender->size;

    if (plan->smoke && count > SMOKE_COUNT)
        count = SMOKE_COUNT;
    if (plan->smoke && size > SMOKE_SIZE)
        size = SMOKE_SIZE;
    snprintf(command->numbers[0], sizeof command->numbers[0], "%d", (int)contender->workers);
    snprintf(command->numbers[1], sizeof command->numbers[1], "%llu", (unsigned long long)count);
    snprintf(command->numbers[2], sizeof command->numbers[2], "%zu", size);
    snprintf(command->numbers[3], sizeof command->numbers[3], "%g", plan->seconds);
    if (contender->measure) {
        add(command, plan->program);
        add(command, "--measure");
        add(command, row->name);
        snprintf(command->numbers[0], sizeof command->numbers[0], "%td",
                 contender - row->contenders);
    } else {
        snprintf(command->numbers[4], sizeof command->numbers[4], "%d",
                 (int)contender->workers + (contender->size != 0));
        add_launcher(command, plan, contender, command->numbers[4]);
        add(command, row->name);
    }
    for (int i = 0; i < 4; i++)
        add(command, command->numbers[i]);
}

/* False: it failed.  The value is NAN then, or where the contender says that it is not for here. */
static bool measure(const struct plan *plan, const struct row *row,
                    const struct contender *contender, double *value)
{
    struct command command = {.count = 0};
    int answer[2], status;
    bool done;
    FILE *file;
    pid_t pid;

    compose(&command, plan, row, contender);
    must(pipe(answer) ? -errno : 0);
    fflush(NULL);
    pid = fork();
    must(pid < 0 ? -errno : 0);
    if (pid == 0) {
        dup2(answer[1], STDOUT_FILENO);
        close(answer[0]);
        close(answer[1]);
        execvp(command.words[0], command.words);
        _exit(127);
    }
    close(answer[1]);
    file = fdopen(answer[0], "r");
    must(file ? 0 : -errno);
    done = fscanf(file, "%lf", value) == 1;
    fclose(file);
    done = waitpid(pid, &status, 0) == pid && !status && done;
    if (!done)
        *value = NAN;
    return done;
}

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < row_count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    fprintf(stderr, "bench: there is no row %s; see --list\n", name);
    exit(2);
}

/* --measure: in the process made for it. */
static int measure_here(char **argument)
{
    struct contender contender = find_row(argument[0])->contenders[atoi(argument[1])];

    contender.count = strtoull(argument[2], NULL, 10);
    contender.size = (size_t)strtoull(argument[3], NULL, 10);
    printf("%.9g\n", contender.measure(&contender, strtod(argument[4], NULL)));
    return 0;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* A peer that could not be measured at first is not here. */
static bool is_skipped(const struct plan *plan, const struct result *result, int place, int round)
{
    bool is_peer = !result->row->contenders[place].measure;

    return is_peer && (plan->smoke || (round > 0 && isnan(result->values[place][0])));
}

static double median_of_rounds(const double *values, int rounds)
{
    double sorted[MAX_ROUNDS];
    int count = 0;

    for (int round = 0; round < rounds; round++)
        if (!isnan(values[round]))
            sorted[count++] = values[round];
    return count ? median(sorted, count) : NAN;
}

/* False: one of our own failed. */
static bool run_row(const struct row *row, const struct plan *common, struct result *result)
{
    struct plan own = *common;
    const struct plan *plan = &own;
    bool whole = true;

    if (row->often && plan->rounds > 1) {
        own.rounds =
            plan->rounds * row->often < MAX_ROUNDS ? plan->rounds * row->often : MAX_ROUNDS;
        own.seconds /= row->often;
    }
    result->row = row;
    result->rounds = plan->rounds;
    for (int round = 0; round < plan->rounds; round++)
        for (int i = 0; row->contenders[i].name; i++) {
            const struct contender *contender = &row->contenders[i];

            result->values[i][round] = NAN;
            if (!is_skipped(plan, result, i, round) &&
                !measure(plan, row, contender, &result->values[i][round]) && contender->measure)
                whole = false;
        }
    for (int i = 0; row->contenders[i].name; i++)
        result->medians[i] = median_of_rounds(result->values[i], plan->rounds);
    return whole;
}

static void write_file(const char *name, const struct result *results, int cores,
                       void (*write)(const struct result *, int, FILE *))
{
    FILE *file = fopen(name, "w");

    must(file ? 0 : -errno);
    write(results, cores, file);
    must(fclose(file) ? -errno : 0);
}

static int run_rows(const struct plan *plan, char **names)
{
    static struct result results[MAX_ROWS];
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    bool whole = true;

    for (char **name = names; *name; name++)
        find_row(*name);
    printf("%d cores; %s of %d round%s\n", cores, plan->rounds > 1 ? "medians" : "values",
           plan->rounds, plan->rounds > 1 ? "s" : "");
    for (size_t i = 0; i < row_count; i++) {
        bool wanted = !*names;

        for (char **name = names; *name; name++)
            wanted = wanted || strcmp(*name, rows[i].name) == 0;
        if (!wanted)
            continue;
        whole = run_row(&rows[i], plan, &results[i]) && whole;
        report_row(&results[i]);
    }
    report_goals(results);
    if (plan->json)
        write_file(plan->json, results, cores, report_json);
    if (plan->table)
        write_file(plan->table, results, cores, report_markdown);
    if (plan->svg)
        write_file(plan->svg, results, cores, draw_chart);
    return whole ? 0 : 1;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int usage(void)
{
    fprintf(stderr, "bench [--quick | --smoke] [--rounds N] [--json FILE] [--svg FILE] [--table "
                    "FILE] [ROW...]\n"
                    "bench --list\n");
    return 2;
}

static int list_rows(void)
{
    for (size_t i = 0; i < row_count; i++)
        printf("%-14s %s\n", rows[i].name, rows[i].title);
    return 0;
}

/* The options; the value is where the rows begin, or NULL for a mistake. */
static char **parse(struct plan *plan, char **argument)
{
    for (; *argument && **argument == '-'; argument++) {
        if (strcmp(*argument, "--quick") == 0)
            plan->rounds = 1, plan->seconds = 0.02;
        else if (strcmp(*argument, "--smoke") == 0)
            plan->rounds = 1, plan->seconds = 0, plan->smoke = true;
        else if (!argument[1])
            return NULL;
        else if (strcmp(*argument, "--rounds") == 0)
            plan->rounds = atoi(*++argument);
        else if (strcmp(*argument, "--json") == 0)
            plan->json = *++argument;
        else if (strcmp(*argument, "--table") == 0)
            plan->table = *++argument;
        else if (strcmp(*argument, "--svg") == 0)
            plan->svg = *++argument;
        else
            return NULL;
    }
    return plan->rounds > 0 && plan->rounds <= MAX_ROUNDS ? argument : NULL;
}

int main(int argc, char **argv)
{
    struct plan plan = {.rounds = 5, .seconds = 0.3, .program = argv[0]};
    const char *slash = strrchr(argv[0], '/');
    char **names;

    if (argc == 7 && strcmp(argv[1], "--measure") == 0)
        return measure_here(argv + 2);
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list_rows();
    snprintf(plan.directory, sizeof plan.directory, "%.*s", slash ? (int)(slash - argv[0]) : 1,
             slash ? argv[0] : ".");
    names = parse(&plan, argv + 1);
    return names ? run_rows(&plan, names) : usage();
}
