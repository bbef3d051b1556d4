/* SPDX-License-Identifier: MIT */
/*
 * The same work by MPI: mpirun -n RANKS peer_mpi ROW WORKERS COUNT SIZE SECONDS prints the value of
 * the row.  With a SIZE rank 0 is a master that hands out single items to the others; with a SIZE of
 * 0 it scatters all at once, and works too.
 */
#include "timing.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_SAMPLES = 10000,
    LEAST_SAMPLES = 5,
    PING_PONGS = 200,
    MAX_RANKS = 64,
    STOP = 0,
    WORK = 1
};

struct work {
    int rank;
    int ranks;
    int count;
    int size; /* bytes of an item */
    char *in; /* all in rank 0, a part in the others */
    char *out;
};

static void ping_pong(const struct work *work)
{
    int64_t number = 3;

    for (int i = 0; i < PING_PONGS; i++) {
        if (work->rank == 0)
            MPI_Send(&number, 1, MPI_INT64_T, 1, 0, MPI_COMM_WORLD);
        MPI_Recv(&number, 1, MPI_INT64_T, !work->rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (work->rank == 1)
            MPI_Send(&number, 1, MPI_INT64_T, 0, 0, MPI_COMM_WORLD);
    }
}

static void scatter_gather(const struct work *work)
{
    int share = work->count / work->ranks;
    int64_t *in = (int64_t *)(void *)work->in, *out = (int64_t *)(void *)work->out;

    if (work->rank == 0)
        MPI_Scatter(in, share, MPI_INT64_T, MPI_IN_PLACE, share, MPI_INT64_T, 0, MPI_COMM_WORLD);
    else
        MPI_Scatter(NULL, 0, MPI_INT64_T, in, share, MPI_INT64_T, 0, MPI_COMM_WORLD);
    for (int i = 0; i < share; i++)
        out[i] = square_of(in[i]);
    if (work->rank == 0)
        MPI_Gather(MPI_IN_PLACE, share, MPI_INT64_T, out, share, MPI_INT64_T, 0, MPI_COMM_WORLD);
    else
        MPI_Gather(out, share, MPI_INT64_T, NULL, 0, MPI_INT64_T, 0, MPI_COMM_WORLD);
}

static void give(const struct work *work, int rank, int item)
{
    MPI_Send(work->in + (size_t)item * (size_t)work->size, work->size, MPI_BYTE, rank, WORK,
             MPI_COMM_WORLD);
}

static void be_master(const struct work *work)
{
    int item_of[MAX_RANKS], given = 0;

    for (int rank = 1; rank < work->ranks && given < work->count; rank++) {
        item_of[rank] = given;
        give(work, rank, given++);
    }
    for (int taken = 0; taken < work->count; taken++) {
        MPI_Status status;
        int rank;

        MPI_Probe(MPI_ANY_SOURCE, WORK, MPI_COMM_WORLD, &status);
        rank = status.MPI_SOURCE;
        MPI_Recv(work->out + (size_t)item_of[rank] * (size_t)work->size, work->size, MPI_BYTE, rank,
                 WORK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (given < work->count) {
            item_of[rank] = given;
            give(work, rank, given++);
        }
    }
    for (int rank = 1; rank < work->ranks; rank++)
        MPI_Send(NULL, 0, MPI_BYTE, rank, STOP, MPI_COMM_WORLD);
}

static void be_worker(const struct work *work)
{
    for (;;) {
        MPI_Status status;

        MPI_Recv(work->in, work->size, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
        if (status.MPI_TAG == STOP)
            return;
        if (work->size == (int)sizeof(int64_t))
            *(int64_t *)(void *)work->out = square_of(*(int64_t *)(void *)work->in);
        else
            memcpy(work->out, work->in, (size_t)work->size);
        MPI_Send(work->out, work->size, MPI_BYTE, 0, WORK, MPI_COMM_WORLD);
    }
}

static void one_by_one(const struct work *work)
{
    if (work->rank == 0)
        be_master(work);
    else
        be_worker(work);
}

/* The median time of it, in rank 0. */
static double measure(const struct work *work, void (*body)(const struct work *), double seconds)
{
    static double samples[MAX_SAMPLES];
    double begin = seconds_now();
    int count = 0, more = 1;

    body(work);
    while (more) {
        double before = seconds_now(), after;

        body(work);
        after = seconds_now();
        samples[count++] = after - before;
        more = count < LEAST_SAMPLES || (count < MAX_SAMPLES && after - begin < seconds);
        MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    return median(samples, count);
}

static double run(struct work *work, const char *row, double seconds)
{
    double count = work->count;
    size_t bytes = (size_t)work->count * (size_t)work->size;

    work->in = touched_memory(bytes);
    work->out = touched_memory(bytes);
    if (strcmp(row, "round_trip") == 0)
        return 1e6 * measure(work, ping_pong, seconds) / PING_PONGS;
    if (strcmp(row, "map_chunk1") == 0)
        return 1e-6 * count / measure(work, one_by_one, seconds);
    if (strcmp(row, "large") == 0)
        return count * work->size / (1 << 30) / measure(work, one_by_one, seconds);
    return 1e-6 * count / measure(work, scatter_gather, seconds);
}

int main(int argc, char **argv)
{
    struct work work = {.size = sizeof(int64_t)};
    double value;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &work.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &work.ranks);
    if (argc != 6 || work.ranks > MAX_RANKS)
        MPI_Abort(MPI_COMM_WORLD, 2);
    work.count = atoi(argv[3]);
    if (strcmp(argv[1], "large") == 0)
        work.size = atoi(argv[4]);
    value = run(&work, argv[1], strtod(argv[5], NULL));
    if (work.rank == 0)
        printf("%.9g\n", value);
    MPI_Finalize();
    return 0;
}
