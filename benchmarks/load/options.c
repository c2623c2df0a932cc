/* Arguments; whatever is not bounded, or not on this machine, is refused. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_SECONDS 600.0
#define MOST_CONNECTIONS 20000
#define MOST_HEADERS_OCTETS 16384

static const char usage[] =
    "load MODE --address 127.0.0.1:PORT [options]\n"
    "modes: handshake | resume | requests | bulk | idle\n"
    "  --server-name NAME       SNI and Host (localhost)\n"
    "  --certificate FILE --key FILE   PEM, the client's; the chain may follow in FILE\n"
    "  --connections N          at a time (32)\n"
    "  --seconds S              the measured window (5; at most 600)\n"
    "  --warm S                 before it (0.5)\n"
    "  --count N                end after so many, too (10000000)\n"
    "  --path PATH              what to ask for (/page)\n"
    "  --header 'Name: value'   may be repeated\n"
    "  --body OCTETS            POST so many octets instead of GET\n"
    "  --ask                    handshake, resume: one request on each connection\n"
    "  --pause-ms N             requests: rest between an answer and the next request\n"
    "  --tls 1.2|1.3            (1.3)   --plain   no TLS at all\n"
    "  --sources N              loopback addresses to come from (64)\n"
    "  --interval S             also one line for every S seconds of the window\n"
    "  --watch PID              take this process's CPU time over the window; may be repeated\n"
    "  --maximum-errors N       give up then (100)\n";

static void __attribute__((noreturn, format(printf, 1, 2))) refuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("; see load --help\n", stderr);
    va_end(arguments);
    exit(2);
}

static double number(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value >= least && value <= most)) {
        refuse("--%s %s: give a number from %.0f to %.0f", name, text, least, most);
    }
    return value;
}

static enum mode mode_of(const char *name) {
    static const char *const names[] = {"handshake", "resume", "requests", "bulk", "idle"};
    for (unsigned index = 0; index < sizeof names / sizeof *names; index++) {
        if (strcmp(name, names[index]) == 0) {
            return (enum mode)index;
        }
    }
    refuse("%s is no mode", name);
}

static void read_address(struct options *options, char *text) {
    char *colon = strrchr(text, ':');
    if (colon == NULL) {
        refuse("--address %s: give ADDRESS:PORT", text);
    }
    *colon = '\0';
    options->target.sin_family = AF_INET;
    options->target.sin_port = htons((uint16_t)number("address", colon + 1, 1, 65535));
    if (inet_pton(AF_INET, text, &options->target.sin_addr) != 1 ||
        (ntohl(options->target.sin_addr.s_addr) >> 24) != 127) {
        refuse("--address %s: only addresses in 127.0.0.0/8 are accepted", text);
    }
}

static void make_request(struct options *options, const char *path, const char *headers) {
    char length[64] = "";
    if (options->body > 0) {
        snprintf(length, sizeof length, "Content-Length: %llu\r\n", (unsigned long long)options->body);
    }
    int port = ntohs(options->target.sin_port);
    int written = asprintf(&options->request, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%s%s\r\n",
                           options->body > 0 ? "POST" : "GET", path, options->server_name, port, headers, length);
    if (written < 0) {
        refuse("no memory");
    }
    options->request_length = (size_t)written;
}

static void set_defaults(struct options *options) {
    memset(options, 0, sizeof *options);
    options->server_name = "localhost";
    options->connections = 32;
    options->sources = 64;
    options->seconds = 5;
    options->warm = 0.5;
    options->maximum_count = 10000000;
    options->maximum_errors = 100;
}

void options_read(struct options *options, int count, char **arguments) {
    static const struct option known[] = {
        {"address", 1, NULL, 'a'},     {"server-name", 1, NULL, 'n'}, {"certificate", 1, NULL, 'c'},
        {"key", 1, NULL, 'k'},         {"connections", 1, NULL, 'N'}, {"seconds", 1, NULL, 's'},
        {"warm", 1, NULL, 'w'},        {"count", 1, NULL, 'C'},       {"path", 1, NULL, 'p'},
        {"header", 1, NULL, 'H'},      {"body", 1, NULL, 'b'},        {"ask", 0, NULL, 'q'},
        {"pause-ms", 1, NULL, 'P'},    {"tls", 1, NULL, 't'},         {"plain", 0, NULL, 'l'},
        {"sources", 1, NULL, 'S'},     {"watch", 1, NULL, 'W'},       {"maximum-errors", 1, NULL, 'E'},
        {"interval", 1, NULL, 'I'},    {"help", 0, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    static char headers[MOST_HEADERS_OCTETS];
    const char *path = "/page";
    size_t used = 0;
    int found;
    set_defaults(options);
    while ((found = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (found) {
        case 'a': read_address(options, optarg); break;
        case 'n': options->server_name = optarg; break;
        case 'c': options->certificate = optarg; break;
        case 'k': options->key = optarg; break;
        case 'N': options->connections = (int)number("connections", optarg, 1, MOST_CONNECTIONS); break;
        case 's': options->seconds = number("seconds", optarg, 0.1, LONGEST_SECONDS); break;
        case 'w': options->warm = number("warm", optarg, 0, 60); break;
        case 'C': options->maximum_count = (long)number("count", optarg, 1, 1e7); break;
        case 'p': path = optarg; break;
        case 'b': options->body = (uint64_t)number("body", optarg, 1, 1e10); break;
        case 'q': options->ask = true; break;
        case 'P': options->pause_ms = (int)number("pause-ms", optarg, 0, 60000); break;
        case 'l': options->plain = true; break;
        case 'S': options->sources = (int)number("sources", optarg, 1, 1000); break;
        case 'I': options->interval = number("interval", optarg, 0.05, 60); break;
        case 'E': options->maximum_errors = (long)number("maximum-errors", optarg, 0, 1e7); break;
        case 't':
            options->tls12 = strcmp(optarg, "1.2") == 0;
            if (!options->tls12 && strcmp(optarg, "1.3") != 0) {
                refuse("--tls %s: give 1.2 or 1.3", optarg);
            }
            break;
        case 'W':
            if (options->watched_count == MAXIMUM_WATCHED) {
                refuse("more than %d processes to watch", MAXIMUM_WATCHED);
            }
            options->watched[options->watched_count++] = (int)number("watch", optarg, 1, 1 << 22);
            break;
        case 'H': {
            int added = snprintf(headers + used, sizeof headers - used, "%s\r\n", optarg);
            if (added < 0 || (size_t)added >= sizeof headers - used) {
                refuse("more than %d octets of headers", MOST_HEADERS_OCTETS);
            }
            used += (size_t)added;
            break;
        }
        case 'h': fputs(usage, stdout); exit(0);
        default: refuse("unknown argument");
        }
    }
    if (optind != count - 1) {
        refuse("give one mode");
    }
    options->mode_name = arguments[optind];
    options->mode = mode_of(options->mode_name);
    if (options->target.sin_port == 0) {
        refuse("--address is needed");
    }
    if (options->plain && (options->mode == MODE_HANDSHAKE || options->mode == MODE_RESUME)) {
        refuse("--plain has no handshake to measure");
    }
    if ((options->certificate == NULL) != (options->key == NULL)) {
        refuse("--certificate and --key come together");
    }
    if (options->mode == MODE_REQUESTS || options->mode == MODE_BULK || options->mode == MODE_IDLE) {
        options->ask = true;
    }
    make_request(options, path, headers);
}
