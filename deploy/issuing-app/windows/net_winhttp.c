/* WinHTTP, asynchronous, so that cancelling and the whole exchange's deadline hold at every step. */
#include "net.h"

#include "log.h"
#include "proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winhttp.h>

/* Milliseconds. */
#define RESOLVE_TIME 15000
#define CONNECT_TIME 20000
#define SEND_TIME 30000
#define RECEIVE_TIME 60000
#define WHOLE_TIME 120000
#define CLOSING_TIME 3000
#define PIECE_OCTETS 8192
#define PROXY_ROUNDS 4

#ifndef WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2
#define WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2 0x00000800
#endif
#ifndef WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_3
#define WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_3 0x00002000
#endif
#ifndef WINHTTP_OPTION_IGNORE_CERT_REVOCATION_OFFLINE
#define WINHTTP_OPTION_IGNORE_CERT_REVOCATION_OFFLINE 155
#endif

struct exchange {
    HINTERNET request;
    HANDLE cancel;
    HANDLE event;
    HANDLE closed;
    ULONGLONG deadline;
    /* Written by WinHTTP's threads before `event` is set. */
    DWORD status;
    DWORD error;
    DWORD length;
    DWORD untrusted;
    /* WinHTTP did not let go in time: what it may still write to is never freed. */
    bool held;
    struct octets body;
    uint8_t piece[PIECE_OCTETS];
};

static void CALLBACK on_status(HINTERNET handle, DWORD_PTR context, DWORD status, LPVOID information, DWORD length) {
    struct exchange *exchange = (struct exchange *)context;
    (void)handle;
    if (exchange == NULL) {
        return;
    }
    switch (status) {
    case WINHTTP_CALLBACK_STATUS_SECURE_FAILURE:
        exchange->untrusted = information != NULL ? *(DWORD *)information : 0;
        return;
    case WINHTTP_CALLBACK_STATUS_REQUEST_ERROR:
        exchange->error = ((WINHTTP_ASYNC_RESULT *)information)->dwError;
        break;
    case WINHTTP_CALLBACK_STATUS_READ_COMPLETE:
        exchange->length = length;
        break;
    case WINHTTP_CALLBACK_STATUS_SENDREQUEST_COMPLETE:
    case WINHTTP_CALLBACK_STATUS_HEADERS_AVAILABLE:
        break;
    case WINHTTP_CALLBACK_STATUS_HANDLE_CLOSING:
        SetEvent(exchange->closed);
        return;
    default:
        return;
    }
    exchange->status = status;
    SetEvent(exchange->event);
}

bool net_open(struct net *net, HANDLE cancel, HWND window, bool quiet) {
    *net = (struct net){.cancel = cancel, .window = window, .quiet = quiet};
    for (size_t index = 0; index < net_proxy_settings_count && net->session == NULL; index++) {
        net->session = WinHttpOpen(L"mtls-gateway-issuing-app", net_proxy_settings[index], WINHTTP_NO_PROXY_NAME,
                                   WINHTTP_NO_PROXY_BYPASS, WINHTTP_FLAG_ASYNC);
    }
    if (net->session == NULL) {
        return false;
    }
    /* A Windows that does not know TLS 1.3 refuses the whole value. */
    DWORD newest = WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2 | WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_3;
    DWORD settled = WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2;
    bool done = WinHttpSetOption(net->session, WINHTTP_OPTION_SECURE_PROTOCOLS, &newest, sizeof newest) ||
                WinHttpSetOption(net->session, WINHTTP_OPTION_SECURE_PROTOCOLS, &settled, sizeof settled);
    done = done && WinHttpSetTimeouts(net->session, RESOLVE_TIME, CONNECT_TIME, SEND_TIME, RECEIVE_TIME);
    if (!done || WinHttpSetStatusCallback(net->session, on_status, WINHTTP_CALLBACK_FLAG_ALL_NOTIFICATIONS, 0) ==
                     WINHTTP_INVALID_STATUS_CALLBACK) {
        net_close(net);
        return false;
    }
    return true;
}

void net_close(struct net *net) {
    if (net->session != NULL) {
        WinHttpCloseHandle(net->session);
        net->session = NULL;
    }
}

void net_answer_close(struct net_answer *answer) {
    octets_close(&answer->body);
}

static enum net_result result_of(DWORD error) {
    switch (error) {
    case ERROR_WINHTTP_NAME_NOT_RESOLVED:
        return NET_NO_NAME;
    case ERROR_WINHTTP_CANNOT_CONNECT:
        return NET_NO_CONNECTION;
    case ERROR_WINHTTP_TIMEOUT:
        return NET_TIMED_OUT;
    case ERROR_WINHTTP_CONNECTION_ERROR:
    case ERROR_WINHTTP_INVALID_SERVER_RESPONSE:
    case ERROR_WINHTTP_RESEND_REQUEST:
        return NET_CUT;
    case ERROR_WINHTTP_SECURE_FAILURE:
    case ERROR_WINHTTP_SECURE_CHANNEL_ERROR:
    case ERROR_WINHTTP_SECURE_CERT_DATE_INVALID:
    case ERROR_WINHTTP_SECURE_CERT_CN_INVALID:
    case ERROR_WINHTTP_SECURE_INVALID_CA:
    case ERROR_WINHTTP_SECURE_CERT_REV_FAILED:
    case ERROR_WINHTTP_SECURE_CERT_REVOKED:
    case ERROR_WINHTTP_SECURE_INVALID_CERT:
    case ERROR_WINHTTP_SECURE_CERT_WRONG_USAGE:
        return NET_UNTRUSTED;
    case ERROR_WINHTTP_CLIENT_AUTH_CERT_NEEDED:
    case ERROR_WINHTTP_CLIENT_CERT_NO_PRIVATE_KEY:
    case ERROR_WINHTTP_CLIENT_CERT_NO_ACCESS_PRIVATE_KEY:
        return NET_CLIENT_CERTIFICATE;
    default:
        return NET_FAILED;
    }
}

/* Until WinHTTP has done `wanted`, the person cancels, or the time is over. */
static enum net_result await(struct exchange *exchange, DWORD wanted) {
    HANDLE either[] = {exchange->event, exchange->cancel};
    ULONGLONG now = GetTickCount64();
    DWORD left = now < exchange->deadline ? (DWORD)(exchange->deadline - now) : 0;
    switch (WaitForMultipleObjects(2, either, FALSE, left)) {
    case WAIT_OBJECT_0:
        break;
    case WAIT_OBJECT_0 + 1:
        return NET_CANCELLED;
    case WAIT_TIMEOUT:
        exchange->error = ERROR_WINHTTP_TIMEOUT;
        return NET_TIMED_OUT;
    default:
        exchange->error = GetLastError();
        return NET_FAILED;
    }
    if (exchange->status == wanted) {
        return NET_ANSWERED;
    }
    return result_of(exchange->error);
}

static enum net_result failed(struct exchange *exchange) {
    exchange->error = GetLastError();
    return result_of(exchange->error);
}

static bool add_header(HINTERNET request, const wchar_t *name, struct slice value) {
    /* Values are ASCII: base64 and words of this app. */
    size_t room = wcslen(name) + value.length + 3;
    wchar_t *line = calloc(room, sizeof *line);
    if (line == NULL) {
        return false;
    }
    size_t used = (size_t)swprintf(line, room, L"%ls: ", name);
    for (size_t index = 0; index < value.length; index++) {
        line[used + index] = value.at[index];
    }
    bool done = WinHttpAddRequestHeaders(request, line, (DWORD)-1,
                                         WINHTTP_ADDREQ_FLAG_ADD | WINHTTP_ADDREQ_FLAG_REPLACE) != 0;
    wipe(line, room * sizeof *line);
    free(line);
    return done;
}

static bool prepare(struct exchange *exchange, const struct net_request *wish) {
    HINTERNET request = exchange->request;
    DWORD off = WINHTTP_DISABLE_REDIRECTS | WINHTTP_DISABLE_COOKIES;
    DWORD policy = WINHTTP_AUTOLOGON_SECURITY_LEVEL_HIGH;
    DWORD redirects = WINHTTP_OPTION_REDIRECT_POLICY_NEVER;
    DWORD head = 65536;
    bool done = WinHttpSetOption(request, WINHTTP_OPTION_DISABLE_FEATURE, &off, sizeof off) != 0;
    WinHttpSetOption(request, WINHTTP_OPTION_REDIRECT_POLICY, &redirects, sizeof redirects);
    WinHttpSetOption(request, WINHTTP_OPTION_AUTOLOGON_POLICY, &policy, sizeof policy);
    WinHttpSetOption(request, WINHTTP_OPTION_MAX_RESPONSE_HEADER_SIZE, &head, sizeof head);
    if (wish->certificate != NULL) {
        done = done && WinHttpSetOption(request, WINHTTP_OPTION_CLIENT_CERT_CONTEXT, (LPVOID)wish->certificate,
                                        sizeof(CERT_CONTEXT));
    } else {
        WinHttpSetOption(request, WINHTTP_OPTION_CLIENT_CERT_CONTEXT, WINHTTP_NO_CLIENT_CERT_CONTEXT, 0);
    }
    /* Revocation of the server's certificate is asked for where Windows can go on when nobody answers (Windows 10 and
       later): behind a proxy that only lets the bank through, nobody does. */
    BOOL go_on = TRUE;
    if (WinHttpSetOption(request, WINHTTP_OPTION_IGNORE_CERT_REVOCATION_OFFLINE, &go_on, sizeof go_on)) {
        DWORD check = WINHTTP_ENABLE_SSL_REVOCATION;
        WinHttpSetOption(request, WINHTTP_OPTION_ENABLE_FEATURE, &check, sizeof check);
    }
    if (wish->authorization.length > 0) {
        done = done && add_header(request, L"Authorization", wish->authorization);
    }
    if (wish->key_storage != NULL) {
        struct slice storage = {(const uint8_t *)wish->key_storage, strlen(wish->key_storage)};
        done = done && add_header(request, L"X-Key-Storage", storage);
    }
    if (wish->body.length > 0) {
        static const char type[] = "application/pkcs10";
        static const char encoding[] = "base64";
        done = done &&
               add_header(request, L"Content-Type", (struct slice){(const uint8_t *)type, sizeof type - 1}) &&
               add_header(request, L"Content-Transfer-Encoding",
                          (struct slice){(const uint8_t *)encoding, sizeof encoding - 1});
    }
    return done;
}

static void read_header(HINTERNET request, const wchar_t *name, char *out, size_t room) {
    wchar_t value[512];
    DWORD length = sizeof value;
    out[0] = '\0';
    if (!WinHttpQueryHeaders(request, WINHTTP_QUERY_CUSTOM, name, value, &length, WINHTTP_NO_HEADER_INDEX)) {
        return;
    }
    size_t used = 0;
    for (const wchar_t *at = value; *at != 0; at++) {
        if (*at < 0x20 || *at > 0x7e || used + 1 == room) {
            out[0] = '\0';
            return;
        }
        out[used++] = (char)*at;
    }
    out[used] = '\0';
}

static bool read_head(struct exchange *exchange, struct net_answer *answer) {
    DWORD status = 0;
    DWORD length = sizeof status;
    char seconds[16];
    if (!WinHttpQueryHeaders(exchange->request, WINHTTP_QUERY_STATUS_CODE | WINHTTP_QUERY_FLAG_NUMBER,
                             WINHTTP_HEADER_NAME_BY_INDEX, &status, &length, WINHTTP_NO_HEADER_INDEX)) {
        return false;
    }
    answer->status = status;
    read_header(exchange->request, L"Content-Type", answer->content_type, sizeof answer->content_type);
    read_header(exchange->request, L"X-Certificate-Host", answer->certificate_host, sizeof answer->certificate_host);
    read_header(exchange->request, L"Retry-After", seconds, sizeof seconds);
    answer->retry_after = (unsigned)strtoul(seconds, NULL, 10);
    return true;
}

static enum net_result send_and_receive(struct exchange *exchange) {
    DWORD length = (DWORD)exchange->body.length;
    if (!WinHttpSendRequest(exchange->request, WINHTTP_NO_ADDITIONAL_HEADERS, 0, exchange->body.at, length, length,
                            (DWORD_PTR)exchange)) {
        return failed(exchange);
    }
    enum net_result result = await(exchange, WINHTTP_CALLBACK_STATUS_SENDREQUEST_COMPLETE);
    if (result != NET_ANSWERED) {
        return result;
    }
    if (!WinHttpReceiveResponse(exchange->request, NULL)) {
        return failed(exchange);
    }
    return await(exchange, WINHTTP_CALLBACK_STATUS_HEADERS_AVAILABLE);
}

/* To the end of the body, or to the limit. */
static enum net_result read_body(struct exchange *exchange, struct octets *body) {
    for (;;) {
        if (!WinHttpReadData(exchange->request, exchange->piece, sizeof exchange->piece, NULL)) {
            return failed(exchange);
        }
        enum net_result result = await(exchange, WINHTTP_CALLBACK_STATUS_READ_COMPLETE);
        if (result != NET_ANSWERED) {
            return result;
        }
        if (exchange->length == 0) {
            return NET_ANSWERED;
        }
        octets_add(body, exchange->piece, exchange->length);
        if (body->failed) {
            return NET_TOO_LARGE;
        }
    }
}

static bool whole_length_came(struct exchange *exchange, const struct octets *body) {
    DWORD announced = 0;
    DWORD length = sizeof announced;
    if (!WinHttpQueryHeaders(exchange->request, WINHTTP_QUERY_CONTENT_LENGTH | WINHTTP_QUERY_FLAG_NUMBER,
                             WINHTTP_HEADER_NAME_BY_INDEX, &announced, &length, WINHTTP_NO_HEADER_INDEX)) {
        return true;
    }
    return announced == body->length;
}

static enum net_result run(struct net *net, struct exchange *exchange, const struct net_request *wish,
                           struct net_answer *answer) {
    for (int round = 0;; round++) {
        enum net_result result = send_and_receive(exchange);
        if (result != NET_ANSWERED) {
            return result;
        }
        if (!read_head(exchange, answer)) {
            return failed(exchange);
        }
        result = read_body(exchange, &answer->body);
        if (result != NET_ANSWERED) {
            return result;
        }
        if (answer->status != HTTP_STATUS_PROXY_AUTH_REQ) {
            return whole_length_came(exchange, &answer->body) ? NET_ANSWERED : NET_CUT;
        }
        if (round == PROXY_ROUNDS || !proxy_sign_in(exchange->request, net->window, net->quiet, round)) {
            return NET_PROXY_SIGN_IN;
        }
        octets_close(&answer->body);
        octets_open(&answer->body, wish->most_octets);
        exchange->deadline = GetTickCount64() + WHOLE_TIME;
    }
}

static enum net_result with_request(struct net *net, struct exchange *exchange, HINTERNET connection,
                                    const struct net_request *wish, struct net_answer *answer) {
    wchar_t path[64];
    swprintf(path, sizeof path / sizeof *path, L"%hs", wish->path);
    exchange->request = WinHttpOpenRequest(connection, wish->body.length > 0 ? L"POST" : L"GET", path, NULL,
                                           WINHTTP_NO_REFERER, WINHTTP_DEFAULT_ACCEPT_TYPES, WINHTTP_FLAG_SECURE);
    if (exchange->request == NULL) {
        return failed(exchange);
    }
    DWORD_PTR context = (DWORD_PTR)exchange;
    bool told = WinHttpSetOption(exchange->request, WINHTTP_OPTION_CONTEXT_VALUE, &context, sizeof context) != 0;
    enum net_result result =
        told && prepare(exchange, wish) ? run(net, exchange, wish, answer) : failed(exchange);
    /* Nothing of `exchange` may go before WinHTTP has let go of it. */
    WinHttpCloseHandle(exchange->request);
    exchange->held = told && WaitForSingleObject(exchange->closed, CLOSING_TIME) != WAIT_OBJECT_0;
    return result;
}

static void exchange_close(struct exchange *exchange) {
    if (exchange->event != NULL) {
        CloseHandle(exchange->event);
    }
    if (exchange->closed != NULL) {
        CloseHandle(exchange->closed);
    }
    octets_close(&exchange->body);
    wipe(exchange, sizeof *exchange);
    free(exchange);
}

enum net_result net_exchange(struct net *net, const struct net_request *wish, struct net_answer *answer) {
    wchar_t name[ADDRESS_NAME_ROOM];
    *answer = (struct net_answer){0};
    octets_open(&answer->body, wish->most_octets);
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL) {
        return NET_FAILED;
    }
    octets_open(&exchange->body, wish->body.length);
    octets_add(&exchange->body, wish->body.at, wish->body.length);
    exchange->cancel = net->cancel;
    exchange->deadline = GetTickCount64() + WHOLE_TIME;
    exchange->event = CreateEventW(NULL, FALSE, FALSE, NULL);
    exchange->closed = CreateEventW(NULL, TRUE, FALSE, NULL);
    swprintf(name, sizeof name / sizeof *name, L"%hs", wish->server->name);
    HINTERNET connection = NULL;
    enum net_result result = NET_FAILED;
    if (exchange->event != NULL && exchange->closed != NULL && !exchange->body.failed) {
        connection = WinHttpConnect(net->session, name, wish->server->port, 0);
        result = connection != NULL ? with_request(net, exchange, connection, wish, answer) : failed(exchange);
    }
    answer->error = exchange->error;
    answer->untrusted = exchange->untrusted;
    if (connection != NULL) {
        WinHttpCloseHandle(connection);
    }
    if (!exchange->held) {
        exchange_close(exchange);
    }
    log_line("%s https://%s:%u%s: result %d, status %u, error %lu, certificate flags 0x%lx",
             wish->body.length > 0 ? "POST" : "GET", wish->server->name, (unsigned)wish->server->port, wish->path, result,
             answer->status, answer->error, answer->untrusted);
    return result;
}
