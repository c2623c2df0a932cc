/* The little of HTTP/1.1 that tells where an answer ends: Content-Length, chunked, or the connection's end. */
#define _GNU_SOURCE
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_reset(struct answer *answer) {
    char *head = answer->head;
    memset(answer, 0, sizeof *answer);
    answer->head = head;
}

static bool starts_with(const char *line, const char *end, const char *name) {
    size_t length = strlen(name);
    return (size_t)(end - line) >= length && strncasecmp(line, name, length) == 0;
}

static void read_head(struct answer *answer) {
    const char *line = answer->head;
    const char *end = answer->head + answer->head_used;
    bool chunked = false;
    bool measured = false;
    if (answer->head_used < 14 || !starts_with(line, end, "HTTP/1.")) {
        answer->state = ANSWER_BAD;
        return;
    }
    answer->closes = line[7] == '0';
    answer->status = atoi(line + 9);
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line < end) {
        if (starts_with(line, end, "content-length:")) {
            answer->left = strtoull(line + 15, NULL, 10);
            measured = true;
        } else if (starts_with(line, end, "transfer-encoding: chunked")) {
            chunked = true;
        } else if (starts_with(line, end, "connection: close")) {
            answer->closes = true;
        }
    }
    if (answer->status < 100 || answer->status > 599) {
        answer->state = ANSWER_BAD;
    } else if (answer->status < 200) {
        answer_reset(answer);
    } else if (answer->status == 204 || answer->status == 304) {
        answer->state = ANSWER_DONE;
    } else if (chunked) {
        answer->left = 0;
        answer->line = 0;
        answer->state = ANSWER_CHUNK_SIZE;
    } else if (measured) {
        answer->state = answer->left > 0 ? ANSWER_LENGTH : ANSWER_DONE;
    } else {
        answer->closes = true;
        answer->state = ANSWER_TO_CLOSE;
    }
}

static size_t take_head(struct answer *answer, const char *data, size_t length) {
    size_t before = answer->head_used;
    size_t room = ANSWER_HEAD_OCTETS - 1 - before;
    size_t copied = length < room ? length : room;
    memcpy(answer->head + before, data, copied);
    size_t from = before > 3 ? before - 3 : 0;
    const char *end = memmem(answer->head + from, before + copied - from, "\r\n\r\n", 4);
    if (end == NULL) {
        answer->head_used = before + copied;
        if (answer->head_used >= ANSWER_HEAD_OCTETS - 1) {
            answer->state = ANSWER_BAD;
        }
        return copied;
    }
    answer->head_used = (size_t)(end + 4 - answer->head);
    size_t taken = answer->head_used - before;
    answer->head[answer->head_used] = '\0';
    read_head(answer);
    return taken;
}

static size_t take_body(struct answer *answer, size_t length, enum answer_state next) {
    size_t taken = length < answer->left ? length : (size_t)answer->left;
    answer->left -= taken;
    answer->body += taken;
    if (answer->left == 0) {
        answer->state = next;
    }
    return taken;
}

static int digit(char character) {
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    character |= 0x20;
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* One character of a chunk's frame. */
static void take_frame(struct answer *answer, char character) {
    switch (answer->state) {
    case ANSWER_CHUNK_SIZE:
        if (character == '\n') {
            answer->state = answer->line == 0 ? ANSWER_BAD : answer->left > 0 ? ANSWER_CHUNK_DATA : ANSWER_TRAILER;
            answer->line = 0;
        } else if (character != '\r') {
            int value = digit(character);
            if (value < 0 || ++answer->line > 15) {
                answer->state = ANSWER_BAD;
            } else {
                answer->left = answer->left * 16 + (uint64_t)value;
            }
        }
        break;
    case ANSWER_CHUNK_END:
        if (character == '\n') {
            answer->state = ANSWER_CHUNK_SIZE;
            answer->line = 0;
            answer->left = 0;
        }
        break;
    case ANSWER_TRAILER:
        if (character == '\n') {
            answer->state = answer->line == 0 ? ANSWER_DONE : ANSWER_TRAILER;
            answer->line = 0;
        } else if (character != '\r') {
            answer->line++;
        }
        break;
    default:
        answer->state = ANSWER_BAD;
    }
}

size_t answer_feed(struct answer *answer, const char *data, size_t length) {
    size_t used = 0;
    while (used < length) {
        switch (answer->state) {
        case ANSWER_HEAD:
            used += take_head(answer, data + used, length - used);
            break;
        case ANSWER_LENGTH:
            used += take_body(answer, length - used, ANSWER_DONE);
            break;
        case ANSWER_CHUNK_DATA:
            used += take_body(answer, length - used, ANSWER_CHUNK_END);
            break;
        case ANSWER_TO_CLOSE:
            answer->body += length - used;
            return length;
        case ANSWER_DONE:
        case ANSWER_BAD:
            return used;
        default:
            take_frame(answer, data[used++]);
        }
    }
    return used;
}
