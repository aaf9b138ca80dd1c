/*
 * The other side of the benchmark: many WebSocket clients in one thread, and a publisher.
 *
 * It opens its connections, prints one line "ready {json}", then obeys lines on stdin:
 *
 *   run SECONDS IN_FLIGHT RECEIVERS TARGET FILE
 *       Publish for SECONDS, wait until everything has arrived, print "run {json}".
 *       FILE holds the bytes of one publication. IN_FLIGHT publications are on their way at
 *       any time; each message in them reaches RECEIVERS connections. TARGET is "socket"
 *       (the first connection), "unix:PATH" (a Redis server), or "none": somebody else
 *       publishes, and the run ends after SECONDS.
 *
 * and ends when stdin does. A run goes from silence to silence: the server's CPU time covers
 * everything between the first byte published and the last one received.
 *
 * In FILE these are overwritten for each publication:
 *   "@T" + 20 digits + "@"      CLOCK_MONOTONIC in ns; one per message, it is also how a
 *                               message is recognised when it arrives
 *   "\xfe" "EVENTID" + 8 bytes  event ids: the 8 bytes become a number that never repeats
 *                               (the last byte tells the messages of one publication apart)
 *   the same in hexadecimal     the same number in hexadecimal
 *
 * build: cc -O2 -Wall -Wextra -o load load.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_READ (1 << 18)
#define MAX_TEMPLATE (1 << 18)
#define MAX_PLACES 64
#define MAX_SAMPLES (1 << 20)
#define CONNECT_SECONDS 60
#define DRAIN_SECONDS 5
#define MARK_DIGITS 20
#define MARK_SIZE (2 + MARK_DIGITS + 1)

enum state { CONNECTING, SHAKING, GREETING, SUBSCRIBING, READY, CLOSED };

struct client {
    int fd, index;
    enum state state;
    uint8_t *rest;                      /* an incomplete frame */
    uint32_t rest_size, rest_room;
};

static int o_port, o_connections = 1, o_ramp = 128, o_slow, o_sleep;
static const char *o_path = "/", *o_channel = "";
static int pids[16], n_pids;

static struct client *clients;
static int ep, n_opened, n_pending, n_ready, n_closed;
static char socket_id[64] = "";

static uint64_t received, bytes_in, idle_ns;
static uint32_t *samples;
static size_t n_samples, mark_hint;

static uint8_t template[MAX_TEMPLATE];
static size_t template_size;
static uint8_t *marks[MAX_PLACES], *ids[MAX_PLACES], *hex_ids[MAX_PLACES];
static int n_marks, n_ids, n_hex_ids;
static uint64_t next_id;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- what the server's processes use -------------------------------------- */

struct usage { double cpu_us, user_ticks, system_ticks, kib; };

static void add_threads(struct usage *u, int pid)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        unsigned long long ns;
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%llu", &ns) == 1)
            u->cpu_us += (double)ns / 1000;
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
}

static struct usage usage_now(void)
{
    struct usage u = {0};
    for (int i = 0; i < n_pids; i++) {
        char path[64];
        unsigned long user, system;
        long pages;
        add_threads(&u, pids[i]);
        snprintf(path, sizeof path, "/proc/%d/stat", pids[i]);
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu"
                        " %*d %*d %*d %*d %*d %*d %*u %*u %ld", &user, &system, &pages) == 3) {
            u.user_ticks += (double)user;
            u.system_ticks += (double)system;
            u.kib += (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
        }
        if (f)
            fclose(f);
    }
    return u;
}

/* ---- connecting ------------------------------------------------------------ */

static void drop(struct client *c, const char *why)
{
    if (c->state == CLOSED)
        return;
    --*(c->state == READY ? &n_ready : &n_pending);
    if (n_closed++ < 3 && c->index >= o_slow)
        fprintf(stderr, "load: connection %d: %s\n", c->index, why);
    c->state = CLOSED;
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
}

static void send_text(struct client *c, const char *text)
{
    uint8_t frame[1024];
    size_t length = strlen(text), head = 2;
    frame[0] = 0x81;
    if (length < 126) {
        frame[1] = (uint8_t)(0x80 | length);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (uint8_t)(length >> 8);
        frame[3] = (uint8_t)length;
        head = 4;
    }
    memcpy(frame + head, "\x5a\x17\xc3\x2b", 4);
    for (size_t i = 0; i < length; i++)
        frame[head + 4 + i] = (uint8_t)text[i] ^ frame[head + (i & 3)];
    if (send(c->fd, frame, head + 4 + length, MSG_NOSIGNAL) < 0)
        drop(c, strerror(errno));
}

static void became_ready(struct client *c)
{
    c->state = READY;
    n_pending--;
    n_ready++;
    if (c->index < o_slow)
        epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
}

static void open_next(void)
{
    struct client *c = &clients[n_opened];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o_port)};
    int one = 1, small = 4096;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->index = n_opened;
    c->state = CONNECTING;
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->index < o_slow)              /* one that never reads: let it be full early */
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        die("connect");
    struct epoll_event wanted = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &wanted) < 0)
        die("epoll_ctl");
    n_opened++;
    n_pending++;
}

static void on_connected(struct client *c)
{
    char request[1024];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        drop(c, strerror(error));
        return;
    }
    int n = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        o_path, o_port);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &wanted);
    c->state = SHAKING;
    if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        drop(c, "could not send the handshake");
}

static void on_greeting(struct client *c, const uint8_t *text, size_t size)
{
    static const char key[] = "socket_id\\\":\\\"";
    char subscribe[400];
    const uint8_t *at = memmem(text, size, key, sizeof key - 1);
    if (c->index == 0 && at) {
        at += sizeof key - 1;
        for (size_t i = 0; at < text + size && *at != '\\' && i < sizeof socket_id - 1; i++)
            socket_id[i] = (char)*at++;
    }
    snprintf(subscribe, sizeof subscribe,
             "{\"event\":\"pusher:subscribe\",\"data\":{\"auth\":\"\",\"channel\":\"%s\"}}",
             o_channel);
    c->state = SUBSCRIBING;
    send_text(c, subscribe);
}

/* ---- receiving ------------------------------------------------------------- */

static const uint8_t *find_mark(const uint8_t *text, size_t size)
{
    if (mark_hint + MARK_SIZE <= size && !memcmp(text + mark_hint, "@T", 2))
        return text + mark_hint;
    const uint8_t *mark = memmem(text, size, "@T", 2);
    if (mark)
        mark_hint = (size_t)(mark - text);
    return mark;
}

static void on_event(const uint8_t *text, size_t size, uint64_t now)
{
    const uint8_t *mark = find_mark(text, size);
    uint64_t sent = 0;
    if (!mark || mark + MARK_SIZE > text + size)
        return;
    received++;
    if (n_samples == MAX_SAMPLES)
        return;
    for (int i = 0; i < MARK_DIGITS; i++)
        sent = sent * 10 + (uint64_t)(mark[2 + i] - '0');
    samples[n_samples++] = now > sent ? (uint32_t)((now - sent) / 1000) : 0;
}

static void on_frame(struct client *c, int opcode, const uint8_t *data, size_t size, uint64_t now)
{
    if (opcode == 8) {
        drop(c, "closed by a frame from the server");
    } else if (opcode != 1) {
        return;
    } else if (c->state == READY) {
        if (size < 64 && memmem(data, size, "pusher:ping", 11))
            send_text(c, "{\"event\":\"pusher:pong\",\"data\":{}}");
        else
            on_event(data, size, now);
    } else if (c->state == GREETING && memmem(data, size, "connection_established", 22)) {
        on_greeting(c, data, size);
    } else if (c->state == SUBSCRIBING && memmem(data, size, "subscription_succeeded", 22)) {
        became_ready(c);
    }
}

/* Take what is whole of the answer to the handshake and of frames; return its size. */
static size_t consume(struct client *c, const uint8_t *data, size_t size, uint64_t now)
{
    size_t at = 0;
    if (c->state == SHAKING) {
        const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end)
            return 0;
        if (memcmp(data, "HTTP/1.1 101", 12)) {
            drop(c, "the handshake was refused");
            return size;
        }
        at = (size_t)(end - data) + 4;
        if (*o_channel)
            c->state = GREETING;
        else
            became_ready(c);
    }
    while (c->state != CLOSED && size - at >= 2) {
        const uint8_t *frame = data + at;
        size_t head = 2, length = frame[1] & 127;
        if (length == 126) {
            head = 4;
            if (size - at < head)
                break;
            length = (size_t)frame[2] << 8 | frame[3];
        } else if (length == 127) {
            drop(c, "a frame over 64 KiB");
            break;
        }
        if (size - at < head + length)
            break;
        on_frame(c, frame[0] & 15, frame + head, length, now);
        at += head + length;
    }
    return at;
}

static void on_readable(struct client *c)
{
    static uint8_t data[MAX_READ + 70000];
    size_t size = c->rest_size;
    if (size)
        memcpy(data, c->rest, size);
    ssize_t got = recv(c->fd, data + size, MAX_READ, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(c, got ? strerror(errno) : "closed by the server");
        return;
    }
    bytes_in += (uint64_t)got;
    size += (size_t)got;
    size_t used = consume(c, data, size, now_ns());
    if (c->state == CLOSED)
        return;
    c->rest_size = (uint32_t)(size - used);
    if (c->rest_size > c->rest_room) {
        c->rest_room = c->rest_size;
        c->rest = realloc(c->rest, c->rest_room);
    }
    if (c->rest_size)
        memcpy(c->rest, data + used, c->rest_size);
}

/* One look at the sockets. Without --sleep it never blocks, but lets others on this core run:
   a reader that sleeps makes the sender pay for waking it, frame by frame. */
static void look(void)
{
    struct epoll_event ready[512];
    uint64_t before = now_ns();
    int n = epoll_wait(ep, ready, 512, o_sleep ? 10 : 0);
    if (n <= 0 && !o_sleep)
        sched_yield();
    if (n <= 0 || o_sleep)
        idle_ns += now_ns() - before;
    for (int i = 0; i < n; i++) {
        struct client *c = ready[i].data.ptr;
        if (c->state == CONNECTING)
            on_connected(c);
        else if (c->state != CLOSED)
            on_readable(c);
    }
}

/* ---- publishing ------------------------------------------------------------ */

static int find_all(const char *what, size_t size, size_t whole, uint8_t **places)
{
    int n = 0;
    uint8_t *at = template, *end = template + template_size;
    while (n < MAX_PLACES && (at = memmem(at, (size_t)(end - at), what, size))) {
        if (at + whole > end)
            break;
        places[n++] = at;
        at += whole;
    }
    return n;
}

static void load_template(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        die(path);
    template_size = fread(template, 1, sizeof template, f);
    fclose(f);
    n_marks = find_all("@T", 2, MARK_SIZE, marks);
    n_ids = find_all("\xfe" "EVENTID", 8, 16, ids);
    n_hex_ids = find_all("fe4556454e544944", 16, 32, hex_ids);
    mark_hint = 0;
}

static void fill_template(void)
{
    char digits[40];
    uint64_t now = now_ns();
    for (int i = 0; i < n_marks; i++) {
        snprintf(digits, sizeof digits, "%020llu", (unsigned long long)now);
        memcpy(marks[i] + 2, digits, MARK_DIGITS);
    }
    next_id += 256;
    for (int i = 0; i < n_ids; i++) {
        for (int b = 0; b < 7; b++)
            ids[i][8 + b] = (uint8_t)(next_id >> (56 - 8 * b));
    }
    for (int i = 0; i < n_hex_ids; i++) {
        snprintf(digits, sizeof digits, "%014llx", (unsigned long long)(next_id >> 8));
        memcpy(hex_ids[i] + 16, digits, 14);
    }
}

static int open_target(const char *target)
{
    if (!strcmp(target, "socket"))
        return clients[0].fd;
    if (strncmp(target, "unix:", 5))
        return -1;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strnlen(target + 5, sizeof to.sun_path - 1);
    memcpy(to.sun_path, target + 5, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die(target);
    return fd;
}

/* Throw Redis's answers away, but count the errors among them. */
static int refusals(int fd)
{
    static char answers[65536];
    int n = 0;
    ssize_t got = recv(fd, answers, sizeof answers - 1, MSG_DONTWAIT);
    if (got <= 0)
        return 0;
    answers[got] = 0;
    for (char *line = answers; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (*line == '-' && n++ == 0)
            fprintf(stderr, "load: Redis says %.100s\n", line);
    }
    return n;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double p)
{
    return n_samples ? samples[(size_t)((double)(n_samples - 1) * p)] : 0;
}

static void run(double seconds, int in_flight, int receivers, const char *target)
{
    int fd = open_target(target), is_redis = !strncmp(target, "unix:", 5), errors = 0;
    int closed_before = n_closed;
    uint64_t published = 0, each = (uint64_t)n_marks * (uint64_t)receivers;
    received = bytes_in = idle_ns = 0;
    n_samples = 0;
    struct usage before = usage_now();
    uint64_t start = now_ns(), stop = start + (uint64_t)(seconds * 1e9), now = start;
    uint64_t last_seen = 0, last_news = start;
    for (;;) {
        now = now_ns();
        if (fd < 0 && now >= stop)
            break;
        if (fd >= 0 && now >= stop && received >= published * each)
            break;
        if (received != last_seen) {
            last_seen = received;
            last_news = now;
        } else if (fd >= 0 && now - last_news > DRAIN_SECONDS * 1000000000ull) {
            break;
        }
        while (fd >= 0 && now < stop
               && (published + 1) * each <= received + (uint64_t)in_flight * each) {
            fill_template();
            if (send(fd, template, template_size, MSG_NOSIGNAL) != (ssize_t)template_size)
                die("publish");
            published++;
        }
        if (is_redis)
            errors += refusals(fd);
        look();
    }
    struct usage after = usage_now();
    double wall = (double)(now - start) / 1e9;
    double ticks = after.user_ticks + after.system_ticks - before.user_ticks - before.system_ticks;
    uint64_t wanted = published * each;
    if (is_redis)
        close(fd);
    qsort(samples, n_samples, sizeof *samples, ascending);
    printf("run {\"published\":%llu,\"received\":%llu,\"missing\":%lld,\"closed\":%d,"
           "\"refused\":%d,\"seconds\":%.4f,\"cpu_us\":%.1f,\"user_share\":%.3f,"
           "\"client_idle\":%.3f,\"bytes\":%llu,\"p50_us\":%.0f,\"p99_us\":%.0f}\n",
           (unsigned long long)published, (unsigned long long)received,
           fd < 0 ? 0 : (long long)(wanted - received), n_closed - closed_before, errors, wall,
           after.cpu_us - before.cpu_us,
           ticks > 0 ? (after.user_ticks - before.user_ticks) / ticks : 0,
           (double)idle_ns / 1e9 / wall, (unsigned long long)bytes_in,
           percentile(.5), percentile(.99));
}

/* ---- command line ---------------------------------------------------------- */

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'}, {"path", 1, 0, 'a'}, {"channel", 1, 0, 'c'},
        {"connections", 1, 0, 'n'}, {"ramp", 1, 0, 'r'}, {"slow", 1, 0, 's'},
        {"pid", 1, 0, 'q'}, {"sleep", 0, 0, 'l'}, {0, 0, 0, 0}};
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'p': o_port = atoi(optarg); break;
        case 'a': o_path = optarg; break;
        case 'c': o_channel = optarg; break;
        case 'n': o_connections = atoi(optarg); break;
        case 'r': o_ramp = atoi(optarg); break;
        case 's': o_slow = atoi(optarg); break;
        case 'q': if (n_pids < 16) pids[n_pids++] = atoi(optarg); break;
        case 'l': o_sleep = 1; break;
        default: o_port = 0;
        }
    }
    if (o_port < 1 || o_connections < 1 || o_slow >= o_connections || strlen(o_channel) > 200) {
        fprintf(stderr, "usage: load --port P [--path /app/KEY] [--channel NAME] "
                "[--connections N] [--ramp N] [--slow N] [--pid PID]... [--sleep]\n");
        exit(2);
    }
}

static void connect_all(void)
{
    struct usage before = usage_now();
    uint64_t start = now_ns(), limit = start + CONNECT_SECONDS * 1000000000ull;
    while (n_ready < o_connections && !n_closed && now_ns() < limit) {
        while (n_opened < o_connections && n_pending < o_ramp)
            open_next();
        look();
    }
    double wall = (double)(now_ns() - start) / 1e9;
    struct usage after = usage_now();
    if (n_ready < o_connections) {
        fprintf(stderr, "load: %d of %d connections ready after %.1f s\n",
                n_ready, o_connections, wall);
        exit(2);
    }
    printf("ready {\"connections\":%d,\"seconds\":%.4f,\"cpu_us\":%.1f,\"kib_before\":%.0f,"
           "\"kib_after\":%.0f,\"socket_id\":\"%s\"}\n", n_ready, wall,
           after.cpu_us - before.cpu_us, before.kib, after.kib, socket_id);
}

int main(int argc, char **argv)
{
    char line[1024], target[256], path[512];
    double seconds;
    int in_flight, receivers;
    read_options(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    ep = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)o_connections, sizeof *clients);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    next_id = now_ns() << 8;
    connect_all();
    for (;;) {
        struct pollfd wait[2] = {{.fd = 0, .events = POLLIN}, {.fd = ep, .events = POLLIN}};
        poll(wait, 2, -1);
        if (wait[1].revents)
            look();
        if (!wait[0].revents)
            continue;
        if (!fgets(line, sizeof line, stdin))
            return 0;
        if (sscanf(line, "run %lf %d %d %255s %511s", &seconds, &in_flight, &receivers, target,
                   path) != 5 || in_flight < 1 || receivers < 1) {
            fprintf(stderr, "load: cannot read %s", line);
            return 2;
        }
        if (strcmp(target, "none"))
            load_template(path);
        run(seconds, in_flight, receivers, target);
    }
}
