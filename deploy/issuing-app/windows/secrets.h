/* What a person types: kept in one place that is never paged out and overwritten when it is no longer needed. */
#ifndef ISSUING_APP_SECRETS_H
#define ISSUING_APP_SECRETS_H

#include "code.h"

#include <stdbool.h>

#define SECRETS_TEXT_ROOM 1024
/* What a commonName holds (RFC 5280, appendix A.1). */
#define USER_ID_MOST_OCTETS 64

struct secrets {
    char user_id[SECRETS_TEXT_ROOM];
    char password[SECRETS_TEXT_ROOM];
    char code[CODE_PRINTED_ROOM];
};

/* NULL when there is no memory. */
struct secrets *secrets_open(void);
void secrets_wipe(struct secrets *secrets);
void secrets_close(struct secrets *secrets);

#endif
