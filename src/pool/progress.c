/* SPDX-License-Identifier: MIT */
/*
 * How far a map has come: counted, told to the caller's function, and a bar for that.  Runs in the
 * host, in the thread that waits, for maps that ask for it; the others pay nothing.
 */
#include "pool.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "../env.h"
#include "../line.h"

enum { NS_PER_MS = 1000000, EVERY_MS = 100, SHARE_OF_COUNTING = 20 };

bool mp_progress_from_environment(void)
{
    const char *value = mp_env("MPROC_PROGRESS");

    return value && strcmp(value, "1") == 0;
}

void mp_progress_begin(struct progress *progress, const mproc_pool *pool,
                       const mproc_map_options *options, uint64_t total)
{
    *progress = (struct progress){
        .callback = options->progress, .arg = options->progress_arg, .total = total};
    if (!progress->callback && pool->shows_progress)
        progress->callback = mproc_progress_bar;
    progress->next = MP_FOREVER;
    if (!progress->callback)
        return;
    progress->began = mp_now();
    progress->next = progress->began + (int64_t)EVERY_MS * NS_PER_MS;
}

bool mp_progress_is_due(const struct progress *progress)
{
    return progress->callback && mp_now() >= progress->next;
}

void mp_progress_tell(struct progress *progress, const struct count *count, bool over)
{
    int64_t now;
    mproc_progress told = {.size = sizeof told,
                           .done = count->done,
                           .failed = count->failed,
                           .total = progress->total,
                           .over = over};

    if (!progress->callback)
        return;
    now = mp_now();
    told.elapsed_ms = (now - progress->began) / NS_PER_MS;
    progress->callback(&told, progress->arg);
    /* Not sooner than what was asked for, and no more than a small part of the time for it. */
    now = mp_now();
    progress->next = now + (int64_t)EVERY_MS * NS_PER_MS + SHARE_OF_COUNTING * progress->counting;
}

void mp_progress_count(struct progress *progress, const struct job *job, struct count *count)
{
    int64_t began;

    if (!progress->callback)
        return;
    began = mp_now();
    for (uint64_t chunk = 0; chunk < job->chunks; chunk++) {
        struct chunk_view view = mp_chunk_view(job, chunk);
        uint64_t items =
            chunk + 1 < job->chunks ? job->chunk_items : job->count - chunk * job->chunk_items;
        bool failed = view.state == CHUNK_FAILED || view.state == CHUNK_CRASHED ||
                      view.state == CHUNK_TIMED_OUT;

        if (view.id != job->id || (!failed && view.state != CHUNK_DONE))
            continue;
        count->done += items;
        count->failed += failed ? items : 0;
    }
    progress->counting = mp_now() - began;
}

/* ---- the bar --------------------------------------------------------------------------------- */

enum { LEAST_BAR = 10, MOST_BAR = 50, LINE_MAX_BYTES = 400 };

static void add_time(struct line *line, uint64_t seconds)
{
    if (seconds >= 3600)
        mp_line_add(line, "%" PRIu64 ":%02d:%02d", seconds / 3600, (int)(seconds / 60 % 60),
                    (int)(seconds % 60));
    else
        mp_line_add(line, "%d:%02d", (int)(seconds / 60), (int)(seconds % 60));
}

/* "420/1000, 3 failed, 1234/s, 0:12 left" */
static void add_figures(struct line *line, const mproc_progress *progress)
{
    double seconds = (double)progress->elapsed_ms / 1000;
    double rate = seconds > 0 ? (double)progress->done / seconds : 0;
    uint64_t left = progress->total > progress->done ? progress->total - progress->done : 0;

    mp_line_add(line, "%" PRIu64 "/%" PRIu64, progress->done, progress->total);
    if (progress->failed)
        mp_line_add(line, ", %" PRIu64 " failed", progress->failed);
    if (rate > 0)
        mp_line_add(line, ", %.*f/s", rate < 10 ? 1 : 0, rate);
    mp_line_add(line, ", ");
    if (progress->over)
        add_time(line, (uint64_t)progress->elapsed_ms / 1000);
    else if (rate > 0 && (double)left / rate < 360000) {
        add_time(line, (uint64_t)((double)left / rate + 0.5));
        mp_line_add(line, " left");
    } else
        mp_line_add(line, "?");
}

static void add_bar(struct line *line, const mproc_progress *progress, int width)
{
    double share = progress->total ? (double)progress->done / (double)progress->total : 1;
    int full = share < 1 ? (int)(share * width) : width;

    mp_line_add(line, "%3d%% [", share < 1 ? (int)(share * 100) : 100);
    for (int i = 0; i < width; i++)
        mp_line_add(line, "%c", i < full ? '#' : ' ');
    mp_line_add(line, "] ");
}

void mproc_progress_bar(const mproc_progress *progress, void *arg)
{
    char figures[LINE_MAX_BYTES], text[LINE_MAX_BYTES];
    struct line end = {figures, sizeof figures, 0}, line = {text, sizeof text, 0};
    int width, room;

    (void)arg;
    if (!progress || progress->size < sizeof *progress || !isatty(STDERR_FILENO))
        return;
    add_figures(&end, progress);
    width = mp_terminal_width(STDERR_FILENO);
    room = width - (int)end.length - (int)sizeof "100% [] ";
    mp_line_add(&line, "\r");
    if (room >= LEAST_BAR)
        add_bar(&line, progress, room < MOST_BAR ? room : MOST_BAR);
    mp_line_add(&line, "%s\033[K%s", figures, progress->over ? "\n" : "");
    mp_write(STDERR_FILENO, text, line.length < sizeof text ? line.length : sizeof text - 1);
}
