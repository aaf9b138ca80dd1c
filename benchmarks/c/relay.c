/*
 * The limit: a relay that does only what the kernel demands of any relay.
 *
 * Whatever text message one client sends goes to all clients, with one send() per
 * connection and nothing else: no protocol, no channels, no backpressure, no memory
 * management. What it costs per delivery is what this machine asks for a delivery; the
 * gateway is compared with that, in the same minute.
 *
 * usage: relay PORT          (listens on 127.0.0.1 only; ends with SIGTERM)
 * build: cc -O2 -Wall -Wextra -o relay relay.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS 65536
#define MAX_MESSAGE 65536

/* The load generator always sends the sample key of RFC 6455, so the answer is constant. */
static const char HANDSHAKE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int clients[MAX_CLIENTS];
static int n_clients;
static uint8_t shaken[MAX_CLIENTS];     /* by descriptor: the handshake was answered */

static void send_to_all(const uint8_t *payload, size_t length)
{
    static uint8_t frame[MAX_MESSAGE + 4];
    size_t head = 2;
    frame[0] = 0x81;
    if (length < 126) {
        frame[1] = (uint8_t)length;
    } else {
        frame[1] = 126;
        frame[2] = (uint8_t)(length >> 8);
        frame[3] = (uint8_t)length;
        head = 4;
    }
    memcpy(frame + head, payload, length);
    for (int i = 0; i < n_clients; i++)
        send(clients[i], frame, head + length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void forget(int fd)
{
    close(fd);
    shaken[fd] = 0;
    for (int i = 0; i < n_clients; i++) {
        if (clients[i] == fd) {
            clients[i] = clients[--n_clients];
            return;
        }
    }
}

/* Whole frames only: the load generator sends each message in one piece. */
static void on_frames(uint8_t *data, size_t size)
{
    while (size >= 6) {
        size_t length = data[1] & 127, head = 6;
        if (length == 126) {
            length = (size_t)data[2] << 8 | data[3];
            head = 8;
        }
        if (size < head + length)
            return;
        uint8_t *payload = data + head;
        for (size_t i = 0; i < length; i++)
            payload[i] ^= payload[(i & 3) - 4];
        if ((data[0] & 15) == 1)
            send_to_all(payload, length);
        data = payload + length;
        size -= head + length;
    }
}

static void on_readable(int fd)
{
    static uint8_t data[1 << 18];
    ssize_t got = recv(fd, data, sizeof data, 0);
    if (got <= 0) {
        forget(fd);
        return;
    }
    if (shaken[fd]) {
        on_frames(data, (size_t)got);
        return;
    }
    uint8_t *end = memmem(data, (size_t)got, "\r\n\r\n", 4);
    if (!end)
        return;
    shaken[fd] = 1;
    send(fd, HANDSHAKE, sizeof HANDSHAKE - 1, MSG_NOSIGNAL);
    clients[n_clients++] = fd;
    on_frames(end + 4, (size_t)(data + got - (end + 4)));
}

static void accept_all(int listener, int ep)
{
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_CLIENTS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &wanted);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: relay PORT\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(argv[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) {
        perror("relay: cannot listen");
        return 1;
    }
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener}, ready[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &wanted);
    for (;;) {
        int n = epoll_wait(ep, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == listener)
                accept_all(listener, ep);
            else
                on_readable(ready[i].data.fd);
        }
    }
}
