#include "key.h"

#include "log.h"
#include "random.h"

#include <stdio.h>

bool key_create(const wchar_t *container, struct key *key, DWORD *error) {
    *error = (DWORD)NTE_NOT_SUPPORTED;
    for (const struct key_maker *const *maker = key_makers; *maker != NULL; maker++) {
        *error = (*maker)->create(*maker, container, key);
        if (*error == 0) {
            log_line("key made: %s, %ls", (*maker)->storage, (*maker)->provider);
            return true;
        }
        log_line("no key from %ls: 0x%08lx", (*maker)->provider, *error);
    }
    return false;
}

const struct key_maker *key_maker_of(const wchar_t *provider) {
    for (const struct key_maker *const *maker = key_makers; *maker != NULL; maker++) {
        if (wcscmp((*maker)->provider, provider) == 0) {
            return *maker;
        }
    }
    return NULL;
}

bool key_new_container(wchar_t container[KEY_CONTAINER_ROOM]) {
    uint8_t random[16];
    if (!random_octets(random, sizeof random)) {
        return false;
    }
    int used = swprintf(container, KEY_CONTAINER_ROOM, L"issuing-app-");
    for (size_t index = 0; index < sizeof random; index++) {
        used += swprintf(container + used, KEY_CONTAINER_ROOM - (size_t)used, L"%02x", random[index]);
    }
    return true;
}

void key_close(struct key *key) {
    if (key->maker != NULL) {
        key->maker->close(key);
    }
    *key = (struct key){0};
}
