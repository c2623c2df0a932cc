/* The load generator: many TLS connections in one thread, bounded in count and in time, to loopback only. */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mode { MODE_HANDSHAKE, MODE_RESUME, MODE_REQUESTS, MODE_BULK, MODE_IDLE };

/* Processes whose CPU time is taken in the same window as everything else. */
#define MAXIMUM_WATCHED 16

struct options {
    enum mode mode;
    const char *mode_name;
    struct sockaddr_in target;
    const char *server_name;
    const char *certificate;
    const char *key;
    bool plain;
    bool tls12;
    /* With handshake and resume: ask for the path once on each connection. */
    bool ask;
    int connections;
    int sources;
    int pause_ms;
    long maximum_count;
    long maximum_errors;
    double seconds;
    double warm;
    /* Seconds; 0: no lines in between. */
    double interval;
    uint64_t body;
    char *request;
    size_t request_length;
    int watched[MAXIMUM_WATCHED];
    int watched_count;
};

/* Exits with status 2 and one line on standard error when the arguments make no sense. */
void options_read(struct options *options, int count, char **arguments);

/* Latencies in nanoseconds; buckets of at most 1/64 of their value. */
#define HISTOGRAM_BUCKETS (64 * 60)
struct histogram {
    uint64_t count;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};
void histogram_add(struct histogram *histogram, uint64_t nanoseconds);
double histogram_quantile_ms(const struct histogram *histogram, double quantile);

/* One HTTP/1.1 answer, fed piece by piece. */
enum answer_state {
    ANSWER_HEAD,
    ANSWER_LENGTH,
    ANSWER_TO_CLOSE,
    ANSWER_CHUNK_SIZE,
    ANSWER_CHUNK_DATA,
    ANSWER_CHUNK_END,
    ANSWER_TRAILER,
    ANSWER_DONE,
    ANSWER_BAD
};
#define ANSWER_HEAD_OCTETS 16384
struct answer {
    enum answer_state state;
    int status;
    bool closes;
    uint64_t left;
    uint64_t body;
    size_t line;
    size_t head_used;
    char *head;
};
void answer_reset(struct answer *answer);
/* Takes what belongs to the answer and returns how much that was. */
size_t answer_feed(struct answer *answer, const char *data, size_t length);

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_HANDSHAKING,
    CONNECTION_SENDING,
    CONNECTION_RECEIVING,
    CONNECTION_PAUSING,
    CONNECTION_HOLDING,
    CONNECTION_CLOSING
};

struct run;

struct connection {
    struct run *run;
    enum connection_state state;
    int descriptor;
    SSL *tls;
    /* The newest ticket of this slot. */
    SSL_SESSION *session;
    uint64_t began;
    uint64_t last_step;
    uint64_t wake;
    size_t request_sent;
    uint64_t body_left;
    bool offered;
    struct answer answer;
};

struct run {
    struct options options;
    SSL_CTX *context;
    struct connection *connections;
    int epoll;
    uint64_t now;
    uint64_t opened;
    int in_flight;
    int held;
    /* Connections whose handshake is under way. */
    int greeting;
    bool measuring;
    bool stopping;
    uint64_t count;
    uint64_t errors;
    uint64_t resumed;
    uint64_t full;
    uint64_t reconnects;
    uint64_t lost;
    uint64_t body_in;
    uint64_t body_out;
    uint64_t statuses[1000];
    struct histogram latencies;
    /* Of the interval that is under way. */
    struct histogram lately;
    char first_error[200];
    char protocol[64];
    char cipher[64];
    char group[64];
};

SSL_CTX *tls_context(const struct options *options);
uint64_t monotonic(void);
/* Opens the slot's connection anew. */
void connection_open(struct connection *connection);
/* Does all that can be done without waiting. */
void connection_step(struct connection *connection);
/* Counts an error and closes; what is to come next is the caller's. */
void connection_fail(struct connection *connection, const char *what);
void connection_close(struct connection *connection);

#endif
