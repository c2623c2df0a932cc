#include "utf8.h"

uint32_t utf8_next(const char **text) {
    const uint8_t *at = (const uint8_t *)*text;
    uint32_t first = at[0];
    if (first == 0) {
        return 0;
    }
    unsigned more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : 4;
    if (more == 4) {
        *text += 1;
        return UTF8_BROKEN;
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    static const uint8_t bits[] = {0x7f, 0x1f, 0x0f, 0x07};
    uint32_t character = first & bits[more];
    for (unsigned index = 1; index <= more; index++) {
        if ((at[index] & 0xc0) != 0x80) {
            *text += index;
            return UTF8_BROKEN;
        }
        character = character << 6 | (at[index] & 0x3f);
    }
    *text += 1 + more;
    bool surrogate = character >= 0xd800 && character <= 0xdfff;
    return character < least[more] || surrogate || character > 0x10ffff ? UTF8_BROKEN : character;
}

bool utf8_valid(const char *text) {
    uint32_t character;
    while ((character = utf8_next(&text)) != 0) {
        /* U+FFFD itself is valid, but stands for something that was lost before it came here. */
        if (character == UTF8_BROKEN) {
            return false;
        }
    }
    return true;
}
