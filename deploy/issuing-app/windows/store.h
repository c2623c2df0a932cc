/* The user's certificate stores. */
#ifndef ISSUING_APP_STORE_H
#define ISSUING_APP_STORE_H

#include <windows.h>

#include "bag.h"
#include "key.h"

#include <wincrypt.h>

#define STORE_MOST_LISTED 32
#define STORE_TEXT_ROOM 256
#define THUMBPRINT_OCTETS 20
#define THUMBPRINT_ROOM (2 * THUMBPRINT_OCTETS + 1)

struct listed {
    wchar_t thumbprint[THUMBPRINT_ROOM];
    wchar_t subject[STORE_TEXT_ROOM];
    wchar_t expiry[STORE_TEXT_ROOM];
    FILETIME not_after;
};

struct listing {
    size_t count;
    struct listed certificates[STORE_MOST_LISTED];
};

/* The certificates with a key that one of `authorities` has issued and that have not expired, soonest end first. */
DWORD store_list(const struct bag *authorities, struct listing *listing);
/* To be freed with CertFreeCertificateContext; NULL when it is not there. */
PCCERT_CONTEXT store_find(const wchar_t *thumbprint);
/* Is the certificate signed by one of them? */
bool store_issued_by(PCCERT_CONTEXT certificate, const struct bag *authorities);
void store_describe(PCCERT_CONTEXT certificate, struct listed *listed);
/* The authorities' certificates into the user's intermediate ones, then the certificate, its key named, into the
   user's own: one step that either happens or does not. */
DWORD store_install(PCCERT_CONTEXT certificate, struct key *key, const struct bag *authorities);
/* The certificate and its key. */
DWORD store_remove(const wchar_t *thumbprint);

#endif
