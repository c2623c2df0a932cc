/* What must outlive the app: enrolments under way, and certificates that a renewal has superseded. Below HKCU. */
#ifndef ISSUING_APP_PENDING_H
#define ISSUING_APP_PENDING_H

#include <windows.h>

#include "address.h"
#include "key.h"
#include "store.h"

#define PENDING_PROVIDER_ROOM 128

struct pending {
    wchar_t container[KEY_CONTAINER_ROOM];
    wchar_t provider[PENDING_PROVIDER_ROOM];
    /* The request has left, and whether it was met is not known. */
    bool sent;
};

/* `whose`: "enrol " and the user ID, or "renew " and the thumbprint of the certificate that is renewed. */
bool pending_read(const struct address *server, const char *whose, struct pending *pending);
DWORD pending_write(const struct address *server, const char *whose, const struct pending *pending);
void pending_forget(const struct address *server, const char *whose);

DWORD superseded_add(const struct address *server, const wchar_t *thumbprint);
void superseded_forget(const struct address *server, const wchar_t *thumbprint);
/* How many were put into `thumbprints`; those that are no longer in the store are left out. */
size_t superseded_list(const struct address *server, wchar_t thumbprints[][THUMBPRINT_ROOM], size_t most);

#endif
