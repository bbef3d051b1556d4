/* SPDX-License-Identifier: MIT */
/*
 * The chart: a panel for each row, in it a bar for each contender.  A longer bar is always better:
 * where less is better, its length is the inverse.
 */
#include "bench.h"

#include <math.h>

enum {
    WIDTH = 860,
    MARGIN = 12,
    COLUMNS = 2,
    COLUMN = (WIDTH - MARGIN) / COLUMNS,
    HEADER = 40,
    TITLE = 30,
    BAR = 13,
    STEP = 17,
    NAMES = 192, /* room for the names */
    BARS = 140   /* the longest bar */
};

static const char style[] =
    "<style>text{font:12px system-ui,sans-serif;fill:#1f2328}"
    ".t{font-weight:600}.n{text-anchor:end}.v{font-size:11px}"
    ".ours{fill:#1a7f64}.limit{fill:#8c959f}.peer{fill:#c69026}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#3fb68b}}"
    "</style>\n";

static const char *class_of(const struct contender *contender)
{
    return contender->by == OURS ? "ours" : contender->by == LIMIT ? "limit" : "peer";
}

/* How good a value is: more is better. */
static double merit(const struct row *row, double value)
{
    return row->more_is_better ? value : 1 / value;
}

static int bars_of(const struct result *result)
{
    int bars = 0;

    for (int i = 0; result->row->contenders[i].name; i++)
        bars += !isnan(result->medians[i]);
    return bars;
}

static bool is_drawn(const struct result *result)
{
    return result->rounds && result->row->charted && bars_of(result);
}

static int height_of(const struct result *result)
{
    return TITLE + STEP * bars_of(result) + MARGIN;
}

/* Three figures that count, and no exponent. */
static int decimals_of(double value)
{
    int decimals = 0;

    while (value < 100 && decimals < 4) {
        value *= 10;
        decimals++;
    }
    return decimals;
}

static void draw_panel(const struct result *result, int x, int y, FILE *file)
{
    const struct row *row = result->row;
    double best = 0;

    for (int i = 0; row->contenders[i].name; i++)
        if (!isnan(result->medians[i]))
            best = fmax(best, merit(row, result->medians[i]));
    fprintf(file, "<text class=\"t\" x=\"%d\" y=\"%d\">%s (%s)</text>\n", x, y + TITLE - 11,
            row->title, row->unit);
    y += TITLE;
    for (int i = 0; row->contenders[i].name; i++) {
        double value = result->medians[i], length = fmax(1, BARS * merit(row, value) / best);

        if (isnan(value))
            continue;
        fprintf(file, "<text class=\"n\" x=\"%d\" y=\"%d\">%s</text>", x + NAMES - 6, y + BAR - 2,
                row->contenders[i].name);
        fprintf(file, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>",
                class_of(&row->contenders[i]), x + NAMES, y, length, BAR);
        fprintf(file, "<text class=\"v\" x=\"%.1f\" y=\"%d\">%.*f</text>\n", x + NAMES + length + 5,
                y + BAR - 2, decimals_of(value), value);
        y += STEP;
    }
}

/* Each panel goes to the column that is shortest by then; the value is the height of the chart.
 * Without a file nothing is drawn. */
static int draw_panels(const struct result *results, FILE *file)
{
    int ends[COLUMNS], height = 0;

    for (int i = 0; i < COLUMNS; i++)
        ends[i] = HEADER;
    for (size_t i = 0; i < row_count; i++) {
        int column = 0;

        if (!is_drawn(&results[i]))
            continue;
        for (int other = 1; other < COLUMNS; other++)
            if (ends[other] < ends[column])
                column = other;
        if (file)
            draw_panel(&results[i], MARGIN + column * COLUMN, ends[column], file);
        ends[column] += height_of(&results[i]);
        if (ends[column] > height)
            height = ends[column];
    }
    return height;
}

void draw_chart(const struct result *results, int cores, FILE *file)
{
    int height = draw_panels(results, NULL);

    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\">\n%s",
            WIDTH, height, WIDTH, height, style);
    fprintf(file,
            "<rect class=\"ours\" x=\"%d\" y=\"12\" width=\"13\" height=\"13\"/>"
            "<text x=\"%d\" y=\"23\">libmproc</text>"
            "<rect class=\"limit\" x=\"%d\" y=\"12\" width=\"13\" height=\"13\"/>"
            "<text x=\"%d\" y=\"23\">raw limit</text>"
            "<rect class=\"peer\" x=\"%d\" y=\"12\" width=\"13\" height=\"13\"/>"
            "<text x=\"%d\" y=\"23\">others</text>",
            MARGIN, MARGIN + 19, MARGIN + 90, MARGIN + 109, MARGIN + 180, MARGIN + 199);
    fprintf(file,
            "<text x=\"%d\" y=\"23\">Longer is better, in each panel; 4 workers where nothing else "
            "is said; %d cores</text>\n",
            MARGIN + 260, cores);
    draw_panels(results, file);
    fprintf(file, "</svg>\n");
}
