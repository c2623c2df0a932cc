/* Base64 as EST carries it (RFC 4648, section 4; RFC 8951): lines of any length on the way in. */
#ifndef ISSUING_APP_BASE64_H
#define ISSUING_APP_BASE64_H

#include "octets.h"

/* `line` characters and then a line feed; 0: one line without an end. */
void base64_encode(struct slice data, size_t line, struct octets *out);
/* White space is passed over. False, and `out` is of no use, when anything else is not base64 or the padding is wrong. */
bool base64_decode(struct slice text, struct octets *out);

#endif
