/* SPDX-License-Identifier: MIT */
/*
 * event_loop NUMBER...: a server with one thread, whose poll loop serves sockets while a pool works.
 *
 * Whoever connects sends a number in a line and is told its smallest factor.  Small ones are found
 * at once; a large prime takes longer than the time limit, and the others do not wait for it.  Each
 * NUMBER is asked by a client process of its own.
 */
#include <mproc/mproc.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 64, LONGEST = 128 };

/* ---- in the workers -------------------------------------------------------------------------- */

static int32_t find_factor(mproc_task *task, void *ctx)
{
    uint64_t n = *(const uint64_t *)mproc_task_input(task, NULL), factor = 2;
    uint64_t *output = mproc_task_output(task, sizeof *output);

    (void)ctx;
    if (!output)
        return ENOMEM;
    while (n % factor && factor <= n / factor)
        factor++;
    *output = n % factor ? n : factor;
    return 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

struct client {
    int fd; /* -1: not there */
    char line[LONGEST];
    size_t length;
    mproc_future *future; /* the answer, once the whole line is here */
};

static void reply(struct client *client, int error)
{
    const void *factor;
    char text[LONGEST];

    if (!error)
        error = mproc_future_result(client->future, &factor, NULL);
    if (!error)
        snprintf(text, sizeof text, "%" PRIu64 "\n", *(const uint64_t *)factor);
    else
        snprintf(text, sizeof text, "%s\n", mproc_strerror(error));
    send(client->fd, text, strlen(text), MSG_NOSIGNAL); /* a client that has gone misses it */
    mproc_future_free(client->future);
    close(client->fd);
    *client = (struct client){.fd = -1};
}

static void hear(mproc_pool *pool, struct client *client)
{
    ssize_t got = recv(client->fd, client->line + client->length, LONGEST - 1 - client->length, 0);
    int error = 0;

    if (got > 0)
        client->length += (size_t)got;
    client->line[client->length] = 0;
    if (strchr(client->line, '\n')) {
        uint64_t number = strtoull(client->line, NULL, 10);

        error = mproc_pool_submit(pool, &client->future, find_factor, NULL, &number, sizeof number,
                                  NULL);
    } else if (got <= 0 || client->length == LONGEST - 1) {
        error = -EINVAL;
    }
    if (error)
        reply(client, error);
}

static int serve(mproc_pool *pool, int listener, int count)
{
    struct client clients[MOST];
    struct pollfd polled[MOST + 2] = {{listener, POLLIN, 0}, {mproc_pool_fd(pool), POLLIN, 0}};
    int come = 0, served = 0, error = polled[1].fd < 0 ? polled[1].fd : 0;

    while (!error && served < count) {
        for (int i = 0; i < come; i++) /* one that waits for its answer is not listened to */
            polled[i + 2] = (struct pollfd){clients[i].future ? -1 : clients[i].fd, POLLIN, 0};
        if (poll(polled, (nfds_t)come + 2, -1) < 0)
            return -errno;

        for (int i = 0; i < come; i++)
            if (polled[i + 2].revents)
                hear(pool, &clients[i]);
        if (polled[0].revents) {
            clients[come] = (struct client){.fd = accept(listener, NULL, NULL)};
            come += clients[come].fd >= 0;
            polled[0].fd = come < count ? listener : -1;
        }
        if (polled[1].revents && mproc_pool_step(pool) < 0)
            error = MPROC_EBROKEN;
        for (int i = served = 0; i < come; i++) {
            if (clients[i].future && mproc_future_is_done(clients[i].future) == 1)
                reply(&clients[i], 0);
            served += clients[i].fd < 0;
        }
    }
    return error;
}

/* ---- the clients ----------------------------------------------------------------------------- */

static struct sockaddr_in address = {.sin_family = AF_INET};

static int32_t ask(void *number)
{
    char line[LONGEST];
    int length = snprintf(line, sizeof line, "%.20s\n", (const char *)number);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ssize_t got;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) ||
        send(fd, line, (size_t)length, MSG_NOSIGNAL) != length)
        return EXIT_FAILURE;
    got = recv(fd, line, sizeof line, MSG_WAITALL);
    if (got <= 0)
        return EXIT_FAILURE;
    printf("%s: %.*s", (const char *)number, (int)got, line);
    return EXIT_SUCCESS;
}

/* Listen at a port of the loopback interface that the system chooses. */
static int listen_somewhere(void)
{
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, length) || listen(fd, MOST) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        return -errno;
    return fd;
}

int main(int argc, char **argv)
{
    mproc_pool_options options = {.size = sizeof options, .time_limit_ms = 1000};
    mproc_process *clients[MOST] = {NULL};
    mproc_pool *pool = NULL;
    int error, listener, count = argc - 1;

    if (count < 1 || count > MOST) {
        fprintf(stderr, "usage: event_loop NUMBER..., at most %d\n", MOST);
        return EXIT_FAILURE;
    }
    error = mproc_pool_create(&pool, 0, &options);
    listener = error ? error : listen_somewhere();
    if (listener < 0)
        error = listener;
    for (int i = 0; i < count && !error; i++)
        error = mproc_spawn(&clients[i], ask, argv[i + 1], NULL);
    if (!error)
        error = serve(pool, listener, count);
    if (!error)
        error = mproc_join_all(clients, (size_t)count, -1);
    if (error)
        fprintf(stderr, "event_loop: %s\n", mproc_strerror(error));
    for (int i = 0; i < count; i++)
        mproc_process_free(clients[i]);
    mproc_pool_destroy(pool);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
