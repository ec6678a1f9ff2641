/* A TCP echo server on one event loop, epoll, edge-triggered: epoll PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct client { int fd; ssize_t start, end; char data[16384]; };

/* Echoes until reading or writing would wait; 0 when the client is done. */
static int serve(struct client *c) {
    for (ssize_t n;; c->start += n) {
        if (c->start == c->end && (c->start = 0, c->end = read(c->fd, c->data, sizeof c->data)) <= 0)
            return c->end < 0 && errno == EAGAIN ? (c->end = 0, 1) : 0;
        if ((n = write(c->fd, c->data + c->start, c->end - c->start)) < 0) return errno == EAGAIN;
    }
}

int main(int count, char **words) {
    int one = 1, fd, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), loop = epoll_create1(0);
    struct sockaddr_in here = {AF_INET, htons(count > 1 ? atoi(words[1]) : 0), {htonl(INADDR_LOOPBACK)}, {0}};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) return 1;
    signal(SIGPIPE, SIG_IGN);
    struct epoll_event ready[64], event = {.events = EPOLLIN};
    for (epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);;)
        for (int i = 0, n = epoll_wait(loop, ready, 64, -1); i < n; i++) {
            struct client *c = ready[i].data.ptr;
            if (c && !serve(c)) close(c->fd), free(c);
            while (!c && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                struct client *new = calloc(1, sizeof *new);
                new->fd = fd;
                epoll_ctl(loop, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLET, {new}});
            }
        }
}
