/* One connection: connect, handshake, ask, read the answer, and again or close; never waits. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum outcome { DONE, AGAIN, ENDED, FAILED };

static char incoming[1 << 17];
static const char outgoing[1 << 16];

/* What the peer sends stays with the slot for its next handshake (RFC 8446, section C.4: each ticket once). */
static int keep_session(SSL *tls, SSL_SESSION *session) {
    struct connection *connection = SSL_get_app_data(tls);
    SSL_SESSION_free(connection->session);
    connection->session = session;
    return 1;
}

static int accept_chain(X509_STORE_CTX *chain, void *unused) {
    (void)chain;
    (void)unused;
    return 1;
}

SSL_CTX *tls_context(const struct options *options) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        return NULL;
    }
    int version = options->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    /* The peer is a process of this machine and of this run: its name and chain are not what is measured. */
    SSL_CTX_set_cert_verify_callback(context, accept_chain, NULL);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    if (options->mode == MODE_BULK) {
        SSL_CTX_set_default_read_buffer_len(context, 1 << 17);
    }
    if (options->mode == MODE_IDLE) {
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (options->mode == MODE_RESUME) {
        SSL_CTX_sess_set_new_cb(context, keep_session);
    }
    if (options->certificate != NULL && (SSL_CTX_use_certificate_chain_file(context, options->certificate) != 1 ||
                                         SSL_CTX_use_PrivateKey_file(context, options->key, SSL_FILETYPE_PEM) != 1)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

void connection_close(struct connection *connection) {
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    if (connection->state == CONNECTION_HOLDING) {
        connection->run->held--;
    }
    if (connection->state == CONNECTION_HANDSHAKING) {
        connection->run->greeting--;
    }
    if (connection->tls != NULL) {
        /* Else OpenSSL takes an end without close_notify for a truncation and spoils the ticket. */
        SSL_set_shutdown(connection->tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(connection->tls);
    connection->tls = NULL;
    close(connection->descriptor);
    connection->state = CONNECTION_CLOSED;
    connection->run->in_flight--;
}

void connection_fail(struct connection *connection, const char *what) {
    struct run *run = connection->run;
    run->errors++;
    if (run->first_error[0] == '\0') {
        unsigned long code = ERR_peek_last_error();
        const char *reason = code != 0 ? ERR_reason_error_string(code) : errno != 0 ? strerror(errno) : NULL;
        snprintf(run->first_error, sizeof run->first_error, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    }
    connection_close(connection);
}

static int reach(struct connection *connection) {
    struct run *run = connection->run;
    int one = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return -1;
    }
    connection->descriptor = descriptor;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* One address has some 28,000 ports, each of them unusable for a while after use: come from many addresses. */
    uint32_t source = (uint32_t)(run->opened++ % (uint64_t)run->options.sources);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000000U | (1U + source / 250U) << 8 | (1U + source % 250U));
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(descriptor, (struct sockaddr *)&from, sizeof from) != 0) {
        return -1;
    }
    if (connect(descriptor, (struct sockaddr *)&run->options.target, sizeof run->options.target) != 0 &&
        errno != EINPROGRESS) {
        return -1;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    return epoll_ctl(run->epoll, EPOLL_CTL_ADD, descriptor, &event);
}

void connection_open(struct connection *connection) {
    struct run *run = connection->run;
    ERR_clear_error();
    errno = 0;
    connection->began = connection->last_step = run->now = monotonic();
    connection->request_sent = 0;
    connection->body_left = run->options.body;
    connection->descriptor = -1;
    answer_reset(&connection->answer);
    run->in_flight++;
    run->greeting++;
    connection->state = CONNECTION_HANDSHAKING;
    if (reach(connection) != 0) {
        connection_fail(connection, "connect");
        return;
    }
    if (run->options.plain) {
        run->greeting--;
        connection->state = CONNECTION_SENDING;
        return;
    }
    connection->tls = SSL_new(run->context);
    if (connection->tls == NULL || SSL_set_fd(connection->tls, connection->descriptor) != 1 ||
        SSL_set_tlsext_host_name(connection->tls, run->options.server_name) != 1) {
        connection_fail(connection, "a new connection");
        return;
    }
    SSL_set_app_data(connection->tls, connection);
    SSL_set_connect_state(connection->tls);
    connection->offered = connection->session != NULL;
    if (connection->offered) {
        SSL_set_session(connection->tls, connection->session);
        SSL_SESSION_free(connection->session);
        connection->session = NULL;
    }
}

static enum outcome outcome_of(struct connection *connection, int result) {
    switch (SSL_get_error(connection->tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return AGAIN;
    case SSL_ERROR_ZERO_RETURN: return ENDED;
    case SSL_ERROR_SYSCALL: return errno == 0 ? ENDED : FAILED;
    default: return FAILED;
    }
}

static enum outcome receive(struct connection *connection, size_t *received) {
    *received = 0;
    errno = 0;
    if (connection->tls == NULL) {
        ssize_t result = recv(connection->descriptor, incoming, sizeof incoming, 0);
        if (result > 0) {
            *received = (size_t)result;
            return DONE;
        }
        return result == 0 ? ENDED : errno == EAGAIN ? AGAIN : FAILED;
    }
    int result = SSL_read_ex(connection->tls, incoming, sizeof incoming, received);
    return result == 1 ? DONE : outcome_of(connection, result);
}

static enum outcome transmit(struct connection *connection, const char *data, size_t length, size_t *sent) {
    *sent = 0;
    errno = 0;
    if (connection->tls == NULL) {
        ssize_t result = send(connection->descriptor, data, length, MSG_NOSIGNAL);
        if (result >= 0) {
            *sent = (size_t)result;
            return DONE;
        }
        return errno == EAGAIN ? AGAIN : FAILED;
    }
    int result = SSL_write_ex(connection->tls, data, length, sent);
    return result == 1 ? DONE : outcome_of(connection, result);
}

static void count_one(struct connection *connection) {
    struct run *run = connection->run;
    if (run->measuring) {
        run->count++;
        uint64_t taken = monotonic() - connection->began;
        histogram_add(&run->latencies, taken);
        if (run->options.interval > 0) {
            histogram_add(&run->lately, taken);
        }
        if (run->count >= (uint64_t)run->options.maximum_count) {
            run->stopping = true;
        }
    }
}

static void note_parameters(struct run *run, SSL *tls) {
    snprintf(run->protocol, sizeof run->protocol, "%s", SSL_get_version(tls));
    snprintf(run->cipher, sizeof run->cipher, "%s", SSL_get_cipher_name(tls));
    const char *group = SSL_group_to_name(tls, (int)SSL_get_negotiated_group(tls));
    snprintf(run->group, sizeof run->group, "%s", group != NULL ? group : "none");
}

static void after_handshake(struct connection *connection) {
    struct run *run = connection->run;
    bool reused = SSL_session_reused(connection->tls) == 1;
    if (run->protocol[0] == '\0') {
        note_parameters(run, connection->tls);
    }
    if (run->measuring) {
        run->resumed += reused;
        run->full += !reused;
    }
    if (connection->offered && !reused) {
        connection_fail(connection, "the ticket was not accepted");
    } else if (run->options.ask) {
        connection->state = CONNECTION_SENDING;
    } else {
        SSL_shutdown(connection->tls);
        connection->state = CONNECTION_CLOSING;
    }
}

/* The answer is complete: what comes next is the mode's. */
static void after_answer(struct connection *connection) {
    struct run *run = connection->run;
    const struct options *options = &run->options;
    run->statuses[connection->answer.status] += run->measuring;
    if (connection->answer.status != 200) {
        char what[32];
        errno = 0;
        ERR_clear_error();
        snprintf(what, sizeof what, "status %d", connection->answer.status);
        connection_fail(connection, what);
        return;
    }
    if (options->mode == MODE_HANDSHAKE || options->mode == MODE_RESUME) {
        SSL_shutdown(connection->tls);
        connection->state = CONNECTION_CLOSING;
        return;
    }
    if (options->mode == MODE_IDLE) {
        connection->state = CONNECTION_HOLDING;
        run->held++;
        return;
    }
    count_one(connection);
    if (connection->answer.closes) {
        run->reconnects++;
        connection_close(connection);
        return;
    }
    connection->request_sent = 0;
    connection->body_left = options->body;
    answer_reset(&connection->answer);
    connection->began = monotonic();
    connection->wake = connection->began + (uint64_t)options->pause_ms * 1000000U;
    connection->state = options->pause_ms > 0 ? CONNECTION_PAUSING : CONNECTION_SENDING;
}

static bool send_more(struct connection *connection) {
    const struct options *options = &connection->run->options;
    size_t sent;
    enum outcome outcome;
    if (connection->request_sent < options->request_length) {
        outcome = transmit(connection, options->request + connection->request_sent,
                           options->request_length - connection->request_sent, &sent);
        connection->request_sent += sent;
    } else if (connection->body_left > 0) {
        size_t piece = connection->body_left < sizeof outgoing ? (size_t)connection->body_left : sizeof outgoing;
        outcome = transmit(connection, outgoing, piece, &sent);
        connection->body_left -= sent;
        connection->run->body_out += connection->run->measuring ? sent : 0;
    } else {
        connection->state = CONNECTION_RECEIVING;
        return true;
    }
    if (outcome == FAILED || outcome == ENDED) {
        connection_fail(connection, "while sending");
    } else if (outcome == DONE && connection->request_sent == options->request_length && connection->body_left == 0) {
        /* The answer comes as an event of its own: asking for it now would be a wasted system call. */
        connection->state = CONNECTION_RECEIVING;
        return false;
    }
    return outcome == DONE;
}

static bool receive_more(struct connection *connection) {
    struct run *run = connection->run;
    size_t received;
    enum outcome outcome = receive(connection, &received);
    if (outcome == AGAIN) {
        return false;
    }
    if (outcome == ENDED && connection->answer.state == ANSWER_TO_CLOSE) {
        connection->answer.state = ANSWER_DONE;
    } else if (outcome != DONE) {
        connection_fail(connection, "while receiving");
        return false;
    }
    uint64_t before = connection->answer.body;
    size_t used = answer_feed(&connection->answer, incoming, received);
    run->body_in += run->measuring ? connection->answer.body - before : 0;
    if (connection->answer.state == ANSWER_BAD || used < received) {
        connection_fail(connection, "not an answer, or more than one");
        return false;
    }
    if (connection->answer.state == ANSWER_DONE) {
        after_answer(connection);
    }
    return true;
}

/* Waits for the peer's end: what it had to check it has checked, and its tickets are here. */
static bool close_more(struct connection *connection) {
    size_t received;
    enum outcome outcome = receive(connection, &received);
    if (outcome == ENDED) {
        if (connection->run->options.mode == MODE_HANDSHAKE || connection->offered) {
            count_one(connection);
        }
        connection_close(connection);
    } else if (outcome == FAILED) {
        connection_fail(connection, "while closing");
    }
    return outcome == DONE;
}

static bool hold_more(struct connection *connection) {
    size_t received;
    enum outcome outcome = receive(connection, &received);
    if (outcome == AGAIN) {
        return false;
    }
    connection->run->lost++;
    connection_close(connection);
    return false;
}

static bool handshake_more(struct connection *connection) {
    errno = 0;
    int result = SSL_do_handshake(connection->tls);
    if (result == 1) {
        connection->run->greeting--;
        connection->state = CONNECTION_CLOSING;
        after_handshake(connection);
        return true;
    }
    if (outcome_of(connection, result) == AGAIN) {
        return false;
    }
    connection_fail(connection, "handshake");
    return false;
}

void connection_step(struct connection *connection) {
    bool more = true;
    connection->last_step = connection->run->now;
    ERR_clear_error();
    while (more && !connection->run->stopping) {
        switch (connection->state) {
        case CONNECTION_HANDSHAKING: more = handshake_more(connection); break;
        case CONNECTION_SENDING: more = send_more(connection); break;
        case CONNECTION_RECEIVING: more = receive_more(connection); break;
        case CONNECTION_CLOSING: more = close_more(connection); break;
        case CONNECTION_HOLDING: more = hold_more(connection); break;
        default: more = false;
        }
    }
}
