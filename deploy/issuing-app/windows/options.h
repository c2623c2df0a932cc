/* The command line, and the server that the app is pinned to. */
#ifndef ISSUING_APP_OPTIONS_H
#define ISSUING_APP_OPTIONS_H

#include <windows.h>

#include "address.h"
#include "store.h"
#include "texts.h"

#include <stdbool.h>

/* `make issuing-app DOMAIN=example.co.jp` builds an app that talks to nothing outside it, whatever it is renamed to. */
#ifndef ISSUING_APP_DOMAIN
#define ISSUING_APP_DOMAIN ""
#endif

enum work { WORK_ENROL, WORK_RENEW, WORK_REMOVE_SUPERSEDED };

struct options {
    bool quiet;
    bool help;
    enum work work;
    enum language language;
    /* Port 0: not known. */
    struct address server;
    struct address certificate_host;
    wchar_t thumbprint[THUMBPRINT_ROOM];
    wchar_t secrets_path[MAX_PATH];
    wchar_t log_path[MAX_PATH];
};

/* False when the command line makes no sense; the server's name comes from the app's own file name where that has one. */
bool options_read(struct options *options);
bool options_server_allowed(const struct address *server);

#endif
