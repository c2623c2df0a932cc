/* One exchange over HTTPS, with the certificate of the server checked and no way around that. */
#ifndef ISSUING_APP_NET_H
#define ISSUING_APP_NET_H

#include <windows.h>

#include "address.h"
#include "octets.h"

#include <wincrypt.h>

#define NET_TYPE_ROOM 128

enum net_result {
    NET_ANSWERED,
    NET_CANCELLED,
    NET_NO_NAME,
    NET_NO_CONNECTION,
    NET_TIMED_OUT,
    NET_CUT,
    NET_UNTRUSTED,
    NET_TOO_LARGE,
    NET_PROXY_SIGN_IN,
    NET_CLIENT_CERTIFICATE,
    NET_FAILED
};

struct net_request {
    const struct address *server;
    const char *path;
    /* Base64 of a PKCS#10; with length 0 the request is a GET. */
    struct slice body;
    /* The value of the Authorization header, or nothing. */
    struct slice authorization;
    /* The value of X-Key-Storage, or NULL. */
    const char *key_storage;
    /* The client's, for the certificate host; NULL for none. */
    PCCERT_CONTEXT certificate;
    size_t most_octets;
};

struct net_answer {
    unsigned status;
    char content_type[NET_TYPE_ROOM];
    char certificate_host[ADDRESS_PRINTED_ROOM];
    unsigned retry_after;
    struct octets body;
    /* Of WinHTTP, for the log and the help desk. */
    DWORD error;
    /* WINHTTP_CALLBACK_STATUS_FLAG_*: what is wrong with the server's certificate. */
    DWORD untrusted;
};

struct net {
    void *session;
    /* Set to end whatever is under way. */
    HANDLE cancel;
    /* Parent of the proxy's sign-in window; `quiet` never shows one. */
    HWND window;
    bool quiet;
};

/* Where a proxy's address comes from, WINHTTP_ACCESS_TYPE_*: the first that this Windows knows. */
extern const DWORD net_proxy_settings[];
extern const size_t net_proxy_settings_count;

bool net_open(struct net *net, HANDLE cancel, HWND window, bool quiet);
void net_close(struct net *net);
enum net_result net_exchange(struct net *net, const struct net_request *request, struct net_answer *answer);
void net_answer_close(struct net_answer *answer);

#endif
