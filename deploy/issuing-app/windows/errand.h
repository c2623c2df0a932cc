/* What the app does over the network, apart from how it is shown: runs in a thread of the wizard, or alone. */
#ifndef ISSUING_APP_ERRAND_H
#define ISSUING_APP_ERRAND_H

#include <windows.h>

#include "address.h"
#include "outcome.h"
#include "secrets.h"
#include "store.h"

enum errand_kind {
    ERRAND_ENROL,
    ERRAND_LIST,       /* which certificates can be renewed? */
    ERRAND_RENEW,
    ERRAND_SUPERSEDED, /* which certificates has a renewal superseded, as the bank sees it? */
    ERRAND_REMOVE      /* removes those */
};

enum errand_step { STEP_CONNECTING, STEP_MAKING_KEY, STEP_ASKING, STEP_INSTALLING, STEPS };

struct errand {
    enum errand_kind kind;
    struct address server;
    /* Port 0: the server says it with its CA certificates. */
    struct address certificate_host;
    struct secrets *secrets;
    wchar_t thumbprint[THUMBPRINT_ROOM];
    HWND window;
    bool quiet;
    HANDLE cancel;
    void (*on_step)(void *whom, enum errand_step step);
    void *whom;
};

void errand_run(const struct errand *errand, struct outcome *outcome);

#endif
