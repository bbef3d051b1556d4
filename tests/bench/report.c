/* SPDX-License-Identifier: MIT */
/* What was measured, as tables and as JSON. */
#include "bench.h"

#include <math.h>
#include <string.h>

/* ---- goals ----------------------------------------------------------------------------------- */

static double median_of(const struct result *result, const char *name)
{
    const struct contender *contenders = result->row->contenders;

    for (int i = 0; contenders[i].name; i++)
        if (strcmp(contenders[i].name, name) == 0)
            return result->medians[i];
    return NAN;
}

/* A goal, and how it was met. */
struct verdict {
    double measured; /* the ratio, or the value where there is nothing to compare with; NAN: none */
    bool met;
};

static struct verdict judge(const struct result *result, const struct goal *goal)
{
    struct verdict verdict = {.measured = median_of(result, goal->ours)};

    if (goal->against)
        verdict.measured /= median_of(result, goal->against);
    verdict.met = goal->relation == AT_MOST ? verdict.measured <= goal->factor
                                            : verdict.measured >= goal->factor;
    return verdict;
}

static void report_goal(const struct result *result, const struct goal *goal)
{
    struct verdict verdict = judge(result, goal);
    char text[200];

    snprintf(text, sizeof text, "%s %s %g %s %s", goal->ours,
             goal->relation == AT_MOST ? "<=" : ">=", goal->factor,
             goal->against ? "x" : result->row->unit, goal->against ? goal->against : "");
    if (isnan(verdict.measured))
        printf("  goal: %-62s   not measured\n", text);
    else
        printf("  goal: %-62s %8.3g   %s\n", text, verdict.measured,
               verdict.met ? "met" : "NOT MET");
}

void report_goals(const struct result *results)
{
    int goals = 0, measured = 0, met = 0;

    for (size_t i = 0; i < row_count; i++)
        for (const struct goal *goal = rows[i].goals; results[i].rounds && goal->ours; goal++) {
            struct verdict verdict = judge(&results[i], goal);

            goals++;
            measured += !isnan(verdict.measured);
            met += !isnan(verdict.measured) && verdict.met;
        }
    printf("\n%d goals, %d measured, %d met\n", goals, measured, met);
}

/* ---- rows ------------------------------------------------------------------------------------ */

void report_row(const struct result *result)
{
    const struct row *row = result->row;

    printf("\n%s: %s, in %s (%s is better)\n", row->name, row->title, row->unit,
           row->more_is_better ? "more" : "less");
    for (int i = 0; row->contenders[i].name; i++) {
        double least = INFINITY, most = -INFINITY;

        for (int round = 0; round < result->rounds; round++) {
            least = fmin(least, result->values[i][round]);
            most = fmax(most, result->values[i][round]);
        }
        if (isnan(result->medians[i]))
            printf("  %-34s not here\n", row->contenders[i].name);
        else
            printf("  %-34s %10.4g   (%.4g to %.4g)\n", row->contenders[i].name, result->medians[i],
                   least, most);
    }
    for (const struct goal *goal = row->goals; goal->ours; goal++)
        report_goal(result, goal);
    fflush(stdout);
}

/* ---- Markdown -------------------------------------------------------------------------------- */

static void write_markdown_goal(FILE *file, const struct result *result, const struct goal *goal)
{
    struct verdict verdict = judge(result, goal);
    bool first = goal == result->row->goals;

    fprintf(file, "| %s | %s | %s %g %s%s | %.*f %s | ", first ? result->row->title : "",
            goal->ours, goal->relation == AT_MOST ? "\u2264" : "\u2265", goal->factor,
            goal->against ? "\u00d7 " : "", goal->against ? goal->against : result->row->unit,
            verdict.measured < 1 ? 3 : (verdict.measured < 100 ? 2 : 0), verdict.measured,
            goal->against ? "\u00d7" : result->row->unit);
    fprintf(file, "%s |\n", verdict.met ? "yes" : "**no**");
}

void report_markdown(const struct result *results, int cores, FILE *file)
{
    fprintf(file,
            "%d cores, medians.\n\n| work | what of ours | goal | measured | met |\n"
            "|---|---|---|--:|---|\n",
            cores);
    for (size_t i = 0; i < row_count; i++)
        for (const struct goal *goal = rows[i].goals; results[i].rounds && goal->ours; goal++)
            if (!isnan(judge(&results[i], goal).measured))
                write_markdown_goal(file, &results[i], goal);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* NAN is no number there. */
static void write_number(FILE *file, double value)
{
    if (isnan(value))
        fprintf(file, "null");
    else
        fprintf(file, "%.6g", value);
}

/* None of our texts needs to be escaped. */
static void write_contenders(FILE *file, const struct result *result)
{
    const struct contender *contenders = result->row->contenders;

    for (int i = 0; contenders[i].name; i++) {
        fprintf(file, "%s\n      {\"name\": \"%s\", \"median\": ", i ? "," : "",
                contenders[i].name);
        write_number(file, result->medians[i]);
        fprintf(file, ", \"rounds\": [");
        for (int round = 0; round < result->rounds; round++) {
            fprintf(file, "%s", round ? ", " : "");
            write_number(file, result->values[i][round]);
        }
        fprintf(file, "]}");
    }
}

static void write_goals(FILE *file, const struct result *result)
{
    const struct goal *goals = result->row->goals;

    for (const struct goal *goal = goals; goal->ours; goal++) {
        struct verdict verdict = judge(result, goal);

        fprintf(file, "%s\n      {\"ours\": \"%s\", \"%s\": %g", goal == goals ? "" : ",",
                goal->ours, goal->relation == AT_MOST ? "at_most" : "at_least", goal->factor);
        if (goal->against)
            fprintf(file, ", \"times\": \"%s\"", goal->against);
        fprintf(file, ", \"measured\": ");
        write_number(file, verdict.measured);
        fprintf(file, ", \"met\": %s}",
                isnan(verdict.measured) ? "null" : (verdict.met ? "true" : "false"));
    }
}

void report_json(const struct result *results, int cores, FILE *file)
{
    const char *separator = "";

    fprintf(file, "{\n  \"cores\": %d,\n  \"rows\": [", cores);
    for (size_t i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];

        if (!results[i].rounds)
            continue;
        fprintf(file,
                "%s\n    {\"name\": \"%s\", \"title\": \"%s\", \"unit\": \"%s\", "
                "\"better\": \"%s\",\n     \"contenders\": [",
                separator, row->name, row->title, row->unit, row->more_is_better ? "more" : "less");
        write_contenders(file, &results[i]);
        fprintf(file, "],\n     \"goals\": [");
        write_goals(file, &results[i]);
        fprintf(file, "]}");
        separator = ",";
    }
    fprintf(file, "\n  ]\n}\n");
}
