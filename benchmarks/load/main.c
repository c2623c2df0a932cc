/* Runs the slots over one epoll until the time or the count is over, then prints one line of JSON. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A connection that does nothing for so long is an error. */
#define SILENCE (15 * UINT64_C(1000000000))
#define SECOND 1e9
/* With mode idle, and with pauses: how many connect at a time. */
#define OPENING 64

static volatile sig_atomic_t told_to_stop;

static void stop(int number) {
    (void)number;
    told_to_stop = 1;
}

uint64_t monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static double cpu_seconds(clockid_t clock) {
    struct timespec used;
    if (clock_gettime(clock, &used) != 0) {
        return 0;
    }
    return (double)used.tv_sec + (double)used.tv_nsec / SECOND;
}

static double watched_seconds(const struct options *options) {
    double total = 0;
    for (int index = 0; index < options->watched_count; index++) {
        clockid_t clock;
        if (clock_getcpuclockid(options->watched[index], &clock) == 0) {
            total += cpu_seconds(clock);
        }
    }
    return total;
}

static void print_text(const char *name, const char *text) {
    printf("\"%s\": \"", name);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
    }
    fputs("\", ", stdout);
}

static void print_results(struct run *run, double seconds, double own, double watched) {
    const char *separator = "";
    printf("{");
    print_text("mode", run->options.mode_name);
    print_text("protocol", run->protocol);
    print_text("cipher", run->cipher);
    print_text("group", run->group);
    print_text("first_error", run->first_error);
    printf("\"connections\": %d, \"count\": %llu, \"errors\": %llu, \"seconds\": %.4f, \"rate\": %.2f, ",
           run->options.connections, (unsigned long long)run->count, (unsigned long long)run->errors, seconds,
           (double)run->count / seconds);
    printf("\"p50_ms\": %.4f, \"p90_ms\": %.4f, \"p99_ms\": %.4f, ", histogram_quantile_ms(&run->latencies, 0.5),
           histogram_quantile_ms(&run->latencies, 0.9), histogram_quantile_ms(&run->latencies, 0.99));
    printf("\"cpu_seconds\": %.4f, \"watched_cpu_seconds\": %.4f, ", own, watched);
    printf("\"body_in\": %llu, \"body_out\": %llu, \"resumed\": %llu, \"full\": %llu, \"reconnects\": %llu, ",
           (unsigned long long)run->body_in, (unsigned long long)run->body_out, (unsigned long long)run->resumed,
           (unsigned long long)run->full, (unsigned long long)run->reconnects);
    printf("\"held\": %d, \"lost\": %llu, \"statuses\": {", run->held, (unsigned long long)run->lost);
    for (int status = 0; status < 1000; status++) {
        if (run->statuses[status] > 0) {
            printf("%s\"%d\": %llu", separator, status, (unsigned long long)run->statuses[status]);
            separator = ", ";
        }
    }
    printf("}}\n");
    fflush(stdout);
}

/* Opens what is closed, wakes what rested, ends what hangs. */
static void tend(struct run *run) {
    bool idle = run->options.mode == MODE_IDLE;
    for (int index = 0; index < run->options.connections && !run->stopping; index++) {
        struct connection *connection = &run->connections[index];
        if (connection->state == CONNECTION_CLOSED) {
            if (idle && (run->lost > 0 || run->in_flight - run->held >= OPENING)) {
                continue;
            }
            /* Who rests between requests is not in a hurry: thousands that greet at once would time out. */
            if (run->options.pause_ms > 0 && run->greeting >= OPENING) {
                continue;
            }
            connection_open(connection);
            if (connection->state != CONNECTION_CLOSED) {
                connection_step(connection);
            }
        } else if (connection->state == CONNECTION_PAUSING) {
            if (connection->wake <= run->now) {
                connection->began = run->now;
                connection->state = CONNECTION_SENDING;
                connection_step(connection);
            }
        } else if (connection->state != CONNECTION_HOLDING && run->now - connection->last_step > SILENCE) {
            errno = 0;
            ERR_clear_error();
            connection_fail(connection, "silence");
        }
    }
}

static bool input_ended(void) {
    struct timespec nothing = {0, 0};
    fd_set set;
    char discarded[64];
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    return pselect(STDIN_FILENO + 1, &set, NULL, NULL, &nothing, NULL) == 1 &&
           read(STDIN_FILENO, discarded, sizeof discarded) <= 0;
}

static void turn(struct run *run, int wait_ms) {
    struct epoll_event events[256];
    int ready = epoll_wait(run->epoll, events, 256, wait_ms);
    run->now = monotonic();
    for (int index = 0; index < ready && !run->stopping; index++) {
        struct connection *connection = events[index].data.ptr;
        if (connection->state == CONNECTION_CLOSED) {
            continue;
        }
        connection_step(connection);
        if (connection->state == CONNECTION_CLOSED && run->options.mode != MODE_IDLE && !run->stopping) {
            connection_open(connection);
            if (connection->state != CONNECTION_CLOSED) {
                connection_step(connection);
            }
        }
    }
}

/* One line for the interval that is over, which began `began` seconds into the window. */
static void print_interval(struct run *run, double began) {
    printf("{\"event\": \"interval\", \"began\": %.3f, \"count\": %llu, \"p50_ms\": %.4f, \"p99_ms\": %.4f}\n", began,
           (unsigned long long)run->lately.count, histogram_quantile_ms(&run->lately, 0.5),
           histogram_quantile_ms(&run->lately, 0.99));
    fflush(stdout);
    memset(&run->lately, 0, sizeof run->lately);
}

/* Until the deadline; false when there were too many errors. */
static bool drive(struct run *run, uint64_t deadline) {
    uint64_t next_tending = 0;
    uint64_t window = run->now;
    uint64_t interval = run->measuring ? (uint64_t)(run->options.interval * SECOND) : 0;
    uint64_t interval_began = window;
    bool announced = false;
    /* Slots that rest need a finer clock; opening thousands must not wait for it. */
    uint64_t every = run->options.pause_ms > 0 || run->options.mode == MODE_IDLE ? 2000000 : 100000000;
    while (!run->stopping && !told_to_stop && run->now < deadline) {
        if (run->now >= next_tending) {
            tend(run);
            next_tending = run->now + every;
            if (run->options.mode == MODE_IDLE) {
                if (!announced && run->held == run->options.connections) {
                    printf("{\"event\": \"ready\", \"held\": %d}\n", run->held);
                    fflush(stdout);
                    announced = true;
                }
                if (announced && (input_ended() || run->lost > 0)) {
                    return true;
                }
            }
        }
        turn(run, (int)(every / 1000000));
        if (interval > 0 && run->now - interval_began >= interval) {
            print_interval(run, (double)(interval_began - window) / SECOND);
            interval_began = run->now;
        }
        if (run->errors > (uint64_t)run->options.maximum_errors) {
            return false;
        }
    }
    return true;
}

static bool prepare(struct run *run) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    run->connections = calloc((size_t)run->options.connections, sizeof *run->connections);
    if (!run->options.plain) {
        run->context = tls_context(&run->options);
    }
    if (run->epoll < 0 || run->connections == NULL || (!run->options.plain && run->context == NULL)) {
        return false;
    }
    for (int index = 0; index < run->options.connections; index++) {
        run->connections[index].run = run;
        run->connections[index].answer.head = malloc(ANSWER_HEAD_OCTETS);
        if (run->connections[index].answer.head == NULL) {
            return false;
        }
    }
    return true;
}

int main(int count, char **arguments) {
    static struct run run;
    options_read(&run.options, count, arguments);
    if (!prepare(&run)) {
        unsigned long code = ERR_peek_last_error();
        fprintf(stderr, "load: cannot begin: %s\n", code != 0 ? ERR_reason_error_string(code) : strerror(errno));
        return 2;
    }
    /* Whatever hangs, the process ends. */
    alarm((unsigned)(run.options.seconds + run.options.warm) + 60);
    run.now = monotonic();
    bool good = drive(&run, run.now + (uint64_t)(run.options.warm * SECOND));
    run.measuring = true;
    double own = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
    double watched = watched_seconds(&run.options);
    uint64_t began = run.now = monotonic();
    good = good && drive(&run, began + (uint64_t)(run.options.seconds * SECOND));
    double seconds = (double)(monotonic() - began) / SECOND;
    print_results(&run, seconds > 0 ? seconds : 1e-9, cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - own,
                  watched_seconds(&run.options) - watched);
    return good && run.errors == 0 ? 0 : 1;
}
