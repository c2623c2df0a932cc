#include "code.h"

#include "utf8.h"

#include <string.h>

static const char alphabet[] = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";

static bool between(uint32_t character) {
    static const uint32_t passed_over[] = {' ',    '\t',   '\r',   '\n',   '-',    0x00a0, 0x00ad, 0x30fc,
                                           0x3000, 0x2212, 0x2500, 0xff0d, 0xff70, 0x200b, 0xfeff};
    for (size_t index = 0; index < sizeof passed_over / sizeof *passed_over; index++) {
        if (character == passed_over[index]) {
            return true;
        }
    }
    /* Hyphens and dashes of every width. */
    return character >= 0x2010 && character <= 0x2015;
}

static const char *symbol_of(uint32_t character) {
    if (character >= 0xff01 && character <= 0xff5e) {
        character -= 0xfee0;
    }
    if (character >= 'a' && character <= 'z') {
        character -= 'a' - 'A';
    }
    return character > 0 && character < 0x80 ? strchr(alphabet, (int)character) : NULL;
}

static enum code_verdict read_symbols(const char *typed, char printed[CODE_PRINTED_ROOM], int values[CODE_SYMBOLS]) {
    size_t count = 0;
    uint32_t character;
    memset(printed, 0, CODE_PRINTED_ROOM);
    while ((character = utf8_next(&typed)) != 0) {
        if (between(character)) {
            continue;
        }
        const char *symbol = symbol_of(character);
        if (symbol == NULL) {
            return CODE_FOREIGN_SYMBOL;
        }
        if (count == CODE_SYMBOLS) {
            return CODE_TOO_LONG;
        }
        printed[count + count / 4] = *symbol;
        values[count++] = (int)(symbol - alphabet);
    }
    if (count < CODE_SYMBOLS) {
        return CODE_TOO_SHORT;
    }
    int sum = 0;
    for (int index = 0; index < CODE_SYMBOLS - 1; index++) {
        sum += (index + 1) * values[index];
    }
    if (sum % (int)(sizeof alphabet - 1) != values[CODE_SYMBOLS - 1]) {
        return CODE_MISTYPED;
    }
    printed[4] = printed[9] = printed[14] = printed[19] = '-';
    return CODE_GOOD;
}

enum code_verdict code_read(const char *typed, char printed[CODE_PRINTED_ROOM]) {
    int values[CODE_SYMBOLS];
    enum code_verdict verdict = read_symbols(typed, printed, values);
    wipe(values, sizeof values);
    return verdict;
}
