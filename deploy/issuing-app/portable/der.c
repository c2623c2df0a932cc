#include "der.h"

/* Nothing that is read here comes near it. */
#define LONGEST_CONTENT 0xffffff

bool der_next(struct slice *from, struct der *element) {
    if (from->length < 2) {
        return false;
    }
    size_t head = 2;
    size_t length = from->at[1];
    /* Tags of more than one octet occur in none of the structures that are read here. */
    if ((from->at[0] & 0x1f) == 0x1f) {
        return false;
    }
    if (length >= 0x80) {
        size_t octets = length & 0x7f;
        if (octets == 0 || octets > 3 || from->length < 2 + octets) {
            return false;
        }
        length = 0;
        for (size_t index = 0; index < octets; index++) {
            length = length << 8 | from->at[2 + index];
        }
        if (length < 0x80 || length < (size_t)1 << 8 * (octets - 1)) {
            return false;
        }
        head += octets;
    }
    if (length > from->length - head) {
        return false;
    }
    element->tag = from->at[0];
    element->content = (struct slice){from->at + head, length};
    element->whole = (struct slice){from->at, head + length};
    from->at += head + length;
    from->length -= head + length;
    return true;
}

bool der_expect(struct slice *from, uint8_t tag, struct der *element) {
    struct slice rest = *from;
    if (!der_next(&rest, element) || element->tag != tag) {
        return false;
    }
    *from = rest;
    return true;
}

static void add_head(struct octets *out, uint8_t tag, size_t length) {
    uint8_t head[5] = {tag};
    size_t used = 1;
    if (length > LONGEST_CONTENT) {
        out->failed = true;
        return;
    }
    if (length < 0x80) {
        head[used++] = (uint8_t)length;
    } else {
        unsigned octets = length > 0xffff ? 3 : length > 0xff ? 2 : 1;
        head[used++] = (uint8_t)(0x80 | octets);
        while (octets-- > 0) {
            head[used++] = (uint8_t)(length >> 8 * octets);
        }
    }
    octets_add(out, head, used);
}

void der_add(struct octets *out, uint8_t tag, struct slice content) {
    add_head(out, tag, content.length);
    octets_add(out, content.at, content.length);
}

void der_add_unsigned(struct octets *out, struct slice number) {
    while (number.length > 1 && number.at[0] == 0) {
        number.at++;
        number.length--;
    }
    if (number.length == 0) {
        out->failed = true;
        return;
    }
    bool sign = (number.at[0] & 0x80) != 0;
    add_head(out, DER_INTEGER, number.length + sign);
    octets_add(out, "", sign);
    octets_add(out, number.at, number.length);
}
