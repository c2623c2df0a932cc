/* The two key makers of CNG. */
#ifndef ISSUING_APP_KEY_CNG_H
#define ISSUING_APP_KEY_CNG_H

#include "key.h"

extern const struct key_maker key_cng_tpm;
extern const struct key_maker key_cng_software;

#endif
