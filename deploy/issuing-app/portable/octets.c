#include "octets.h"

#include <stdlib.h>
#include <string.h>

void wipe(void *data, size_t length) {
    volatile uint8_t *at = data;
    while (length-- > 0) {
        *at++ = 0;
    }
}

void octets_open(struct octets *octets, size_t most) {
    *octets = (struct octets){.most = most};
}

static bool grow(struct octets *octets, size_t wanted) {
    size_t room = octets->room < 64 ? 64 : octets->room;
    while (room < wanted) {
        room *= 2;
    }
    uint8_t *at = malloc(room);
    if (at == NULL) {
        return false;
    }
    if (octets->length > 0) {
        memcpy(at, octets->at, octets->length);
        wipe(octets->at, octets->length);
    }
    free(octets->at);
    octets->at = at;
    octets->room = room;
    return true;
}

void octets_add(struct octets *octets, const void *data, size_t length) {
    if (octets->failed || length == 0) {
        return;
    }
    if (length > octets->most - octets->length) {
        octets->failed = true;
        return;
    }
    if (length > octets->room - octets->length && !grow(octets, octets->length + length)) {
        octets->failed = true;
        return;
    }
    memcpy(octets->at + octets->length, data, length);
    octets->length += length;
}

void octets_add_text(struct octets *octets, const char *text) {
    octets_add(octets, text, strlen(text));
}

void octets_close(struct octets *octets) {
    if (octets->at != NULL) {
        wipe(octets->at, octets->room);
        free(octets->at);
    }
    *octets = (struct octets){.failed = true};
}
