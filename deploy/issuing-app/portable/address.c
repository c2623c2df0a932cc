#include "address.h"

#include <stdio.h>
#include <string.h>

static bool name_good(const char *name) {
    size_t label = 0;
    size_t labels = 1;
    for (const char *at = name; *at != '\0'; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (letter || (*at == '-' && label > 0 && at[1] != '.' && at[1] != '\0')) {
            label++;
        } else if (*at == '.' && label > 0) {
            label = 0;
            labels++;
        } else {
            return false;
        }
        if (label > 63) {
            return false;
        }
    }
    /* One label alone is somebody's mistake, and a name that ends in a number would be an IP address. */
    const char *last = strrchr(name, '.');
    return label > 0 && labels > 1 && strspn(last + 1, "0123456789") != strlen(last + 1);
}

static bool port_read(const char *text, size_t length, uint16_t *port) {
    unsigned value = 0;
    if (length == 0 || length > 5) {
        return false;
    }
    for (size_t index = 0; index < length; index++) {
        if (text[index] < '0' || text[index] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text[index] - '0');
    }
    *port = (uint16_t)value;
    return value > 0 && value <= 0xffff;
}

static bool read_parts(const char *text, size_t length, char separator, struct address *address) {
    const char *port = memchr(text, separator, length);
    size_t name = port == NULL ? length : (size_t)(port - text);
    *address = (struct address){.port = HTTPS_PORT};
    if (name == 0 || name >= sizeof address->name) {
        return false;
    }
    if (port != NULL && !port_read(port + 1, length - name - 1, &address->port)) {
        return false;
    }
    for (size_t index = 0; index < name; index++) {
        char character = text[index];
        address->name[index] = character >= 'A' && character <= 'Z' ? (char)(character + 'a' - 'A') : character;
    }
    return name_good(address->name);
}

bool address_read(const char *text, struct address *address) {
    static const char scheme[] = "https://";
    text += strspn(text, " \t");
    if (strncmp(text, scheme, sizeof scheme - 1) == 0) {
        text += sizeof scheme - 1;
    }
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) {
        length--;
    }
    if (length > 0 && text[length - 1] == '/') {
        length--;
    }
    return read_parts(text, length, ':', address);
}

bool address_from_file_name(const char *path, struct address *address) {
    for (const char *at = path; *at != '\0'; at++) {
        if (*at == '\\' || *at == '/') {
            path = at + 1;
        }
    }
    const char *open;
    while ((open = strchr(path, '(')) != NULL) {
        path = open + 1;
        const char *shut = strchr(path, ')');
        if (shut != NULL && read_parts(path, (size_t)(shut - path), '_', address)) {
            return true;
        }
    }
    return false;
}

void address_print(const struct address *address, char printed[ADDRESS_PRINTED_ROOM]) {
    if (address->port == HTTPS_PORT) {
        snprintf(printed, ADDRESS_PRINTED_ROOM, "%s", address->name);
    } else {
        snprintf(printed, ADDRESS_PRINTED_ROOM, "%s:%u", address->name, (unsigned)address->port);
    }
}

bool address_within(const struct address *address, const char *domain) {
    size_t length = strlen(address->name);
    size_t wanted = strlen(domain);
    if (wanted == 0 || strcmp(address->name, domain) == 0) {
        return true;
    }
    return length > wanted && address->name[length - wanted - 1] == '.' &&
           strcmp(address->name + length - wanted, domain) == 0;
}
