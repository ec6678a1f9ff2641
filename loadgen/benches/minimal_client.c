/* The least that an epoll client can do: the ceiling that loadgen is measured against in peers.rs.
 *
 * One thread, level-triggered epoll, a fixed number of messages under way on each connection. It compares nothing, keeps
 * no histogram, reads the clock once a turn, and counts whole messages by bytes. Prints: messages seconds.
 *
 *     minimal_client PORT CLIENTS SIZE DEPTH SECONDS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, RECEIVE_BYTES = 256 * 1024 };

struct client {
    int fd;
    int wants_write;
    size_t to_send;  /* bytes not yet handed to the kernel */
    size_t received; /* bytes of the message under way that have come back */
};

static char payload[RECEIVE_BYTES], received[RECEIVE_BYTES];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void ask_for(int epoll, struct client *client, unsigned interest) {
    struct epoll_event event = {.events = interest, .data.ptr = client};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event) < 0)
        die("epoll_ctl");
}

static void flush(int epoll, struct client *client) {
    while (client->to_send > 0) {
        size_t piece = client->to_send < sizeof payload ? client->to_send : sizeof payload;
        ssize_t sent = send(client->fd, payload, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            if (!client->wants_write)
                ask_for(epoll, client, EPOLLIN | EPOLLOUT);
            client->wants_write = 1;
            return;
        }
        if (sent < 0)
            die("send");
        client->to_send -= (size_t)sent;
    }
    if (client->wants_write)
        ask_for(epoll, client, EPOLLIN);
    client->wants_write = 0;
}

static int connected(const struct sockaddr_in *address) {
    /* Cubic as in loadgen: the default of some kernels, bbr, paces even on loopback. */
    static const char congestion[] = "cubic";
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, sizeof congestion - 1);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        die("connect");
    return fd;
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: minimal_client PORT CLIENTS SIZE DEPTH SECONDS\n");
        return 2;
    }
    size_t clients = strtoul(arguments[2], NULL, 10), size = strtoul(arguments[3], NULL, 10);
    size_t depth = strtoul(arguments[4], NULL, 10), messages = 0;
    double seconds = strtod(arguments[5], NULL);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(arguments[1])),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct client *all = calloc(clients, sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!all || epoll < 0)
        die("start");
    for (size_t i = 0; i < clients; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = connected(&address);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) < 0)
            die("epoll_ctl");
    }
    double begun = now_s(), now = begun;
    for (size_t i = 0; i < clients; i++) {
        all[i].to_send = size * depth;
        flush(epoll, &all[i]);
    }
    while ((now = now_s()) - begun < seconds) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                ssize_t bytes = recv(client->fd, received, sizeof received, MSG_DONTWAIT);
                if (bytes == 0 || (bytes < 0 && errno != EAGAIN))
                    die("recv");
                if (bytes > 0) {
                    client->received += (size_t)bytes;
                    size_t whole = client->received / size;
                    client->received %= size;
                    messages += whole;
                    client->to_send += whole * size;
                }
            }
            flush(epoll, client);
        }
    }
    printf("%zu %.6f\n", messages, now - begun);
    return 0;
}
