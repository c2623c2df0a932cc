#include "base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice data, size_t line, struct octets *out) {
    size_t column = 0;
    for (size_t from = 0; from < data.length; from += 3) {
        size_t left = data.length - from;
        uint32_t three = (uint32_t)data.at[from] << 16;
        three |= left > 1 ? (uint32_t)data.at[from + 1] << 8 : 0;
        three |= left > 2 ? (uint32_t)data.at[from + 2] : 0;
        char four[4] = {alphabet[three >> 18 & 63], alphabet[three >> 12 & 63], '=', '='};
        if (left > 1) {
            four[2] = alphabet[three >> 6 & 63];
        }
        if (left > 2) {
            four[3] = alphabet[three & 63];
        }
        octets_add(out, four, sizeof four);
        wipe(four, sizeof four);
        column += 4;
        if (line > 0 && (column >= line || left <= 3)) {
            octets_add(out, "\n", 1);
            column = 0;
        }
    }
}

static int value_of(uint8_t symbol) {
    if (symbol >= 'A' && symbol <= 'Z') {
        return symbol - 'A';
    }
    if (symbol >= 'a' && symbol <= 'z') {
        return symbol - 'a' + 26;
    }
    if (symbol >= '0' && symbol <= '9') {
        return symbol - '0' + 52;
    }
    if (symbol == '+') {
        return 62;
    }
    return symbol == '/' ? 63 : -1;
}

bool base64_decode(struct slice text, struct octets *out) {
    uint32_t bits = 0;
    unsigned symbols = 0;
    unsigned padding = 0;
    for (size_t index = 0; index < text.length; index++) {
        uint8_t symbol = text.at[index];
        if (symbol == ' ' || symbol == '\t' || symbol == '\r' || symbol == '\n') {
            continue;
        }
        if (symbol == '=') {
            padding++;
            continue;
        }
        int value = value_of(symbol);
        if (value < 0 || padding > 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        if (++symbols == 4) {
            uint8_t three[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
            octets_add(out, three, sizeof three);
            bits = 0;
            symbols = 0;
        }
    }
    if (symbols == 0) {
        return padding == 0 && !out->failed;
    }
    /* RFC 4648, section 3.5: the bits that carry nothing are zero. */
    if (symbols == 2 && padding == 2 && (bits & 15) == 0) {
        uint8_t one = (uint8_t)(bits >> 4);
        octets_add(out, &one, 1);
    } else if (symbols == 3 && padding == 1 && (bits & 3) == 0) {
        uint8_t two[2] = {(uint8_t)(bits >> 10), (uint8_t)(bits >> 2)};
        octets_add(out, two, sizeof two);
    } else {
        return false;
    }
    return !out->failed;
}
