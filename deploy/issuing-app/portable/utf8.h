/* Strict UTF-8 (RFC 3629). */
#ifndef ISSUING_APP_UTF8_H
#define ISSUING_APP_UTF8_H

#include "octets.h"

/* What stands for octets that are no UTF-8. */
#define UTF8_BROKEN 0xfffd

/* The next character of a closed text, and one step forward; 0 at its end. Overlong forms and surrogates are broken. */
uint32_t utf8_next(const char **text);
bool utf8_valid(const char *text);

#endif
