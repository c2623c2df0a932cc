/* Random octets from Windows. */
#ifndef ISSUING_APP_RANDOM_H
#define ISSUING_APP_RANDOM_H

#include "octets.h"

bool random_octets(uint8_t *out, size_t length);

#endif
