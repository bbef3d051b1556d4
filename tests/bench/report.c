/* SPDX-License-Identifier: MIT */
/* What was measured, as a table. */
#include "bench.h"

#include <math.h>
#include <stdio.h>

static double target(const struct result *result, const struct goal *goal)
{
    return goal->against == ABSOLUTE ? goal->factor : goal->factor * result->medians[goal->against];
}

static void report_goal(const struct result *result, const struct goal *goal)
{
    const struct row *row = result->row;
    double ours = result->medians[goal->ours], bound = target(result, goal);
    bool met = goal->relation == AT_MOST ? ours <= bound : ours >= bound;

    printf("  %s: %s %g", row->contenders[goal->ours].name,
           goal->relation == AT_MOST ? "at most" : "at least", goal->factor);
    if (goal->against == ABSOLUTE)
        printf(" %s", row->unit);
    else
        printf(" x %s", row->contenders[goal->against].name);
    if (isnan(ours) || isnan(bound))
        printf(": not measured\n");
    else
        printf(": %.3g, %s\n", goal->against == ABSOLUTE ? ours : ours / bound * goal->factor,
               met ? "met" : "NOT MET");
}

void report_row(const struct result *result)
{
    const struct row *row = result->row;

    printf("\n%s: %s, in %s (%s is better)\n", row->name, row->title, row->unit,
           row->more_is_better ? "more" : "less");
    for (int i = 0; i < MAX_CONTENDERS && row->contenders[i].name; i++) {
        double least = INFINITY, most = -INFINITY;

        for (int round = 0; round < result->rounds; round++) {
            least = fmin(least, result->values[i][round]);
            most = fmax(most, result->values[i][round]);
        }
        if (isnan(result->medians[i]))
            printf("  %-44s not measured\n", row->contenders[i].name);
        else
            printf("  %-44s %10.4g   (%.4g to %.4g)\n", row->contenders[i].name, result->medians[i],
                   least, most);
    }
    for (int i = 0; i < MAX_GOALS && row->goals[i].factor > 0; i++)
        report_goal(result, &row->goals[i]);
    fflush(stdout);
}
