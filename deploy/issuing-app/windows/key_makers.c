/* The order of preference of the app as it is delivered. */
#include "key_cng.h"

const struct key_maker *const key_makers[] = {&key_cng_tpm, &key_cng_software, NULL};
