/* SHA-256 from Windows. */
#ifndef ISSUING_APP_DIGEST_H
#define ISSUING_APP_DIGEST_H

#include "octets.h"

#define DIGEST_OCTETS 32

bool digest_sha256(struct slice data, uint8_t out[DIGEST_OCTETS]);

#endif
