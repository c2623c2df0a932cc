/* The little DER (X.690) that a certificate request and a bag of certificates need. */
#ifndef ISSUING_APP_DER_H
#define ISSUING_APP_DER_H

#include "octets.h"

enum der_tag {
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_UTF8_STRING = 0x0c,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_CONTEXT_0 = 0xa0,
    DER_CONTEXT_1 = 0xa1,
    DER_CONTEXT_2 = 0xa2,
    DER_CONTEXT_3 = 0xa3
};

/* One element: its tag, what is in it, and the whole of it with its head. */
struct der {
    uint8_t tag;
    struct slice content;
    struct slice whole;
};

/* Takes the first element off `from`. False when there is none, or its length is not DER's shortest form or runs over. */
bool der_next(struct slice *from, struct der *element);
/* The same, and it must have this tag. */
bool der_expect(struct slice *from, uint8_t tag, struct der *element);

void der_add(struct octets *out, uint8_t tag, struct slice content);
/* A signed INTEGER out of an unsigned big-endian number of any length. */
void der_add_unsigned(struct octets *out, struct slice number);

#endif
