/*
 * A null upstream: takes HTTP/1.1 requests on loopback and gives each the same small answer at once. A request for
 * embeddings gets a vector for each text of its input.
 *
 * What a dispatcher costs shows only against a server that costs nothing, so this one reads no more of a request than
 * it must: the end of its head, its Content-Length, and that many bytes; of an input of embeddings, how many texts it
 * has (it takes `","` for what is between two of them). One thread, epoll, keep-alive, pipelining.
 *
 *     cc -O2 -o null_upstream null_upstream.c && ./null_upstream
 *
 * Prints its port, then "first" when the first request with a body has come, and on SIGTERM how many there were.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES = 16384, EVENTS = 512, CHUNK = 65536, ANSWER_BODY = 800, DIMENSIONS = 384, TEXTS = 4096 };

struct peer {
    int fd;
    size_t head_length;      /* bytes of `head` that are filled */
    size_t body_left;        /* bytes of the current body still to be skipped */
    int embeds;              /* the current body asks for embeddings, */
    int texts;               /* of so many texts so far, */
    int matched;             /* and so much of what comes next was seen */
    char head[HEAD_BYTES];
};

static volatile sig_atomic_t ending;
static unsigned long requests;
static char answer[2048];
static size_t answer_length;
static char vectors[TEXTS * (DIMENSIONS * 11 + 64)]; /* items of `data`, one after the other */
static size_t vectors_end[TEXTS + 1];                /* where those of so many texts end */

static void make_answer(void) {
    char body[ANSWER_BODY + 1];
    static const char front[] =
        "{\"id\":\"chatcmpl-null\",\"object\":\"chat.completion\",\"created\":0,\"model\":\"null\",\"choices\":[{\"index\":0,"
        "\"message\":{\"role\":\"assistant\",\"content\":\"";
    static const char back[] =
        "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":400,\"completion_tokens\":100,\"total_tokens\":500}}";
    size_t words = ANSWER_BODY - strlen(front) - strlen(back);
    strcpy(body, front);
    memset(body + strlen(front), 'w', words);
    strcpy(body + strlen(front) + words, back);
    answer_length = (size_t)snprintf(answer, sizeof answer,
        "HTTP/1.1 200 OK\r\nserver: null\r\ncontent-type: application/json\r\nx-request-id: req-0123456789abcdef\r\n"
        "content-length: %zu\r\n\r\n%s", strlen(body), body);
}

static void make_vectors(void) {
    static char vector[DIMENSIONS * 11 + 1];
    size_t end = 0;
    for (int at = 0; at < DIMENSIONS; at++) end += (size_t)sprintf(vector + end, "%s0.0%d", at ? "," : "", 1234567 + at);
    end = 0;
    for (int text = 0; text < TEXTS; text++) {
        end += (size_t)sprintf(vectors + end, "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":[%s]}",
            text ? "," : "", text, vector);
        vectors_end[text + 1] = end;
    }
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) fail("socket");
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0) fail("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0) fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void drop(struct peer *peer) {
    close(peer->fd);
    free(peer);
}

/* The value of Content-Length in a head that ends with a zero byte; 0 where there is none. */
static size_t content_length(const char *head) {
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, "content-length:", 15) == 0) return strtoul(line + 17, NULL, 10);
    return 0;
}

static void count_request(void) {
    if (requests++) return;
    puts("first");
    fflush(stdout);
}

/* Send all of it, and wait where the other side is slow to read. */
static int send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        struct pollfd slow = {.fd = fd, .events = POLLOUT};
        if (sent < 0 && (errno != EAGAIN || poll(&slow, 1, -1) < 0)) return -1;
        if (sent > 0) data += sent, size -= (size_t)sent;
    }
    return 0;
}

static int say_vectors(int fd, int texts) {
    static char message[sizeof vectors + 512];
    static const char front[] = "{\"object\":\"list\",\"data\":[";
    char back[128];
    if (texts > TEXTS) return -1;
    int back_size = sprintf(back, "],\"model\":\"null\",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d}}", 50 * texts, 50 * texts);
    size_t body = sizeof front - 1 + vectors_end[texts] + (size_t)back_size;
    size_t end = (size_t)sprintf(message,
        "HTTP/1.1 200 OK\r\nserver: null\r\ncontent-type: application/json\r\nx-request-id: req-0123456789abcdef\r\n"
        "content-length: %zu\r\n\r\n%s", body, front);
    memcpy(message + end, vectors, vectors_end[texts]);
    memcpy(message + end + vectors_end[texts], back, (size_t)back_size);
    return send_all(fd, message, end + vectors_end[texts] + (size_t)back_size);
}

/* Count the texts of an input: first its array must begin, then each `","` is one more. */
static void count_texts(struct peer *peer, const char *data, size_t size) {
    static const char begin[] = "\"input\":[", next[] = "\",\"";
    for (size_t at = 0; at < size; at++) {
        const char *wanted = peer->texts ? next : begin;
        peer->matched = data[at] == wanted[peer->matched] ? peer->matched + 1 : data[at] == '"';
        if (!wanted[peer->matched]) peer->texts++, peer->matched = 0;
    }
}

static int say(struct peer *peer) {
    return peer->embeds ? say_vectors(peer->fd, peer->texts ? peer->texts : 1) : send_all(peer->fd, answer, answer_length);
}

/* Eat bytes of requests and answer those that they finish; -1 where a head is too long or the other side is gone. */
static int eat(struct peer *peer, const char *data, size_t size) {
    while (size) {
        if (peer->body_left) {
            size_t skipped = size < peer->body_left ? size : peer->body_left;
            if (peer->embeds) count_texts(peer, data, skipped);
            data += skipped, size -= skipped, peer->body_left -= skipped;
            if (peer->body_left) continue;
            count_request();
            if (say(peer) < 0) return -1;
            continue;
        }
        size_t before = peer->head_length, room = HEAD_BYTES - 1 - before, taken = size < room ? size : room;
        if (!taken) return -1;
        memcpy(peer->head + before, data, taken);
        peer->head[before + taken] = 0;
        char *end = strstr(peer->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
        if (!end) {
            peer->head_length += taken;
            data += taken, size -= taken;
            continue;
        }
        size_t head_size = (size_t)(end - peer->head) + 4;
        end[2] = 0;
        data += head_size - before, size -= head_size - before;
        peer->head_length = 0;
        peer->body_left = content_length(peer->head);
        peer->embeds = strncmp(peer->head, "POST /v1/embeddings ", 20) == 0;
        peer->texts = peer->matched = 0;
        if (!peer->body_left && say(peer) < 0) return -1;
    }
    return 0;
}

static void serve(struct peer *peer) {
    static char chunk[CHUNK];
    ssize_t size = recv(peer->fd, chunk, sizeof chunk, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0 || eat(peer, chunk, (size_t)size) < 0) drop(peer);
}

static void welcome(int epoll, int door) {
    int on = 1, fd;
    while ((fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct peer *peer = calloc(1, sizeof *peer);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
        if (!peer) fail("calloc");
        peer->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
    }
}

static void end(int signal) {
    (void)signal;
    ending = 1;
}

int main(void) {
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    struct sigaction on_end = {.sa_handler = end};
    sigaction(SIGTERM, &on_end, NULL);
    make_answer();
    make_vectors();
    int door = listen_on_loopback(), epoll = epoll_create1(0);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, door, &event) < 0) fail("epoll");
    while (!ending) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            events[i].data.ptr ? serve(events[i].data.ptr) : welcome(epoll, door);
    }
    printf("%lu\n", requests);
    return 0;
}
