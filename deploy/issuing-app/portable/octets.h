/* A growing row of octets with a hard limit, and a view of octets that belong to somebody else. */
#ifndef ISSUING_APP_OCTETS_H
#define ISSUING_APP_OCTETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
    const uint8_t *at;
    size_t length;
};

/* Once something did not fit, or memory was short, `failed` stays set and nothing more is taken. */
struct octets {
    uint8_t *at;
    size_t length;
    size_t room;
    size_t most;
    bool failed;
};

void octets_open(struct octets *octets, size_t most);
void octets_add(struct octets *octets, const void *data, size_t length);
void octets_add_text(struct octets *octets, const char *text);
/* Overwrites what is there before it is freed, as every growth does: secrets pass through here. */
void octets_close(struct octets *octets);

/* Overwrites in a way that no compiler leaves out. */
void wipe(void *data, size_t length);

#endif
