/* The backend behind every peer: HTTP/1.1 over keep-alive, one thread, nothing computed while asked.
 *
 *   backend PORT SECONDS     listens on 127.0.0.1:PORT and ends by itself after SECONDS
 *
 *   GET  /page        2,048 octets of HTML          GET  /octets/N   N octets
 *   POST anything     swallows the body (Content-Length or chunked) and answers 2 octets
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_OCTETS 16384
#define PAGE_OCTETS 2048
#define BLOCK_OCTETS (1 << 20)

enum reading { READ_HEAD, READ_LENGTH, READ_CHUNK_SIZE, READ_CHUNK_DATA, READ_CHUNK_END, READ_TRAILER };

struct connection {
    int descriptor;
    enum reading reading;
    bool blocked;
    size_t used;
    size_t line;
    uint64_t body_left;
    uint64_t answer_left;
    char head[HEAD_OCTETS];
};

static char incoming[1 << 18];
static char block[BLOCK_OCTETS];
static char page[PAGE_OCTETS + 512];
static size_t page_length;

static void make_page(void) {
    int head = snprintf(page, sizeof page,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n"
                        "Cache-Control: no-store\r\n\r\n",
                        PAGE_OCTETS);
    page_length = (size_t)head + PAGE_OCTETS;
    memset(page + head, 'x', PAGE_OCTETS);
    memcpy(page + head, "<!doctype html><title>page</title>", 34);
    memset(block, 'y', sizeof block);
}

static void end(struct connection *connection) {
    close(connection->descriptor);
    free(connection);
}

/* What of the large body fits; false when the connection is over. */
static bool go_on(struct connection *connection) {
    while (connection->answer_left > 0) {
        size_t piece = connection->answer_left < sizeof block ? (size_t)connection->answer_left : sizeof block;
        ssize_t sent = send(connection->descriptor, block, piece, MSG_NOSIGNAL);
        if (sent < 0) {
            connection->blocked = errno == EAGAIN;
            return connection->blocked;
        }
        connection->answer_left -= (uint64_t)sent;
    }
    connection->blocked = false;
    return true;
}

/* Small answers fit the socket's buffer: a peer that lets them pile up is cut. */
static bool send_small(struct connection *connection, const char *data, size_t length) {
    return send(connection->descriptor, data, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static bool answer_get(struct connection *connection, const char *path) {
    char head[256];
    if (strncmp(path, "/octets/", 8) != 0) {
        return send_small(connection, page, page_length);
    }
    connection->answer_left = strtoull(path + 8, NULL, 10);
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %llu\r\n\r\n",
                          (unsigned long long)connection->answer_left);
    return send_small(connection, head, (size_t)length) && go_on(connection);
}

static bool answer_post(struct connection *connection) {
    static const char swallowed[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
    connection->reading = READ_HEAD;
    connection->used = 0;
    return send_small(connection, swallowed, sizeof swallowed - 1);
}

/* A complete head, ended by a NUL in place of its last line end. */
static bool take_request(struct connection *connection) {
    char *head = connection->head;
    bool chunked = strcasestr(head, "\r\ntransfer-encoding: chunked") != NULL;
    const char *length = strcasestr(head, "\r\ncontent-length:");
    connection->body_left = length != NULL ? strtoull(length + 17, NULL, 10) : 0;
    if (strncmp(head, "GET ", 4) == 0) {
        connection->used = 0;
        return answer_get(connection, head + 4);
    }
    if (strncmp(head, "POST ", 5) != 0) {
        return false;
    }
    if (strcasestr(head, "\r\nexpect: 100-continue") != NULL &&
        !send_small(connection, "HTTP/1.1 100 Continue\r\n\r\n", 25)) {
        return false;
    }
    if (chunked) {
        connection->body_left = 0;
        connection->line = 0;
        connection->reading = READ_CHUNK_SIZE;
        return true;
    }
    if (connection->body_left == 0) {
        return answer_post(connection);
    }
    connection->reading = READ_LENGTH;
    return true;
}

static bool take_frame(struct connection *connection, char character) {
    if (connection->reading == READ_CHUNK_END) {
        if (character == '\n') {
            connection->reading = READ_CHUNK_SIZE;
            connection->line = 0;
            connection->body_left = 0;
        }
        return true;
    }
    if (connection->reading == READ_TRAILER) {
        if (character == '\n' && connection->line == 0) {
            return answer_post(connection);
        }
        connection->line = character == '\n' ? 0 : connection->line + (character != '\r');
        return true;
    }
    if (character == '\n') {
        connection->reading = connection->body_left > 0 ? READ_CHUNK_DATA : READ_TRAILER;
        connection->line = 0;
        return true;
    }
    if (character == '\r') {
        return true;
    }
    int value = character >= '0' && character <= '9' ? character - '0' : (character | 0x20) - 'a' + 10;
    connection->body_left = connection->body_left * 16 + (uint64_t)value;
    return value >= 0 && value < 16 && ++connection->line < 16;
}

static size_t take_head(struct connection *connection, const char *data, size_t length, bool *good) {
    size_t before = connection->used;
    size_t room = HEAD_OCTETS - 1 - before;
    size_t copied = length < room ? length : room;
    memcpy(connection->head + before, data, copied);
    size_t from = before > 3 ? before - 3 : 0;
    char *found = memmem(connection->head + from, before + copied - from, "\r\n\r\n", 4);
    connection->used = before + copied;
    if (found == NULL) {
        *good = copied == length;
        return copied;
    }
    size_t taken = (size_t)(found + 4 - connection->head) - before;
    found[2] = '\0';
    *good = take_request(connection);
    return taken;
}

static bool take(struct connection *connection, const char *data, size_t length) {
    size_t used = 0;
    bool good = true;
    while (good && used < length) {
        if (connection->reading == READ_HEAD) {
            if (connection->answer_left > 0) {
                return false; /* No peer here pipelines behind a large body. */
            }
            used += take_head(connection, data + used, length - used, &good);
        } else if (connection->reading == READ_LENGTH || connection->reading == READ_CHUNK_DATA) {
            size_t piece = length - used < connection->body_left ? length - used : (size_t)connection->body_left;
            connection->body_left -= piece;
            used += piece;
            if (connection->body_left == 0) {
                if (connection->reading == READ_LENGTH) {
                    good = answer_post(connection);
                } else {
                    connection->reading = READ_CHUNK_END;
                }
            }
        } else {
            good = take_frame(connection, data[used++]);
        }
    }
    return good;
}

static bool serve(struct connection *connection, uint32_t events) {
    if (connection->blocked && !go_on(connection)) {
        return false;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) == 0) {
        return true;
    }
    for (;;) {
        ssize_t received = recv(connection->descriptor, incoming, sizeof incoming, 0);
        if (received <= 0) {
            return received < 0 && errno == EAGAIN;
        }
        if (!take(connection, incoming, (size_t)received)) {
            return false;
        }
        /* What was less than asked for was all there is; the next arrival is an event of its own. */
        if ((size_t)received < sizeof incoming && (events & (EPOLLHUP | EPOLLRDHUP)) == 0) {
            return true;
        }
    }
}

static void accept_all(int listener, int epoll) {
    int one = 1;
    for (;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) {
            return;
        }
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) {
            close(descriptor);
            return;
        }
        connection->descriptor = descriptor;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0) {
            end(connection);
        }
    }
}

static int listen_on(const char *port) {
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) {
        perror("backend: listen");
        exit(2);
    }
    return listener;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fputs("usage: backend PORT SECONDS\n", stderr);
        return 2;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    alarm((unsigned)atoi(arguments[2]));
    make_page();
    int listener = listen_on(arguments[1]);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening) != 0) {
        perror("backend: epoll");
        return 2;
    }
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int index = 0; index < ready; index++) {
            struct connection *connection = events[index].data.ptr;
            if (connection == NULL) {
                accept_all(listener, epoll);
            } else if (!serve(connection, events[index].events)) {
                end(connection);
            }
        }
    }
}
