#include "pending.h"

#include <stdio.h>
#include <string.h>

#define ROOT L"Software\\mtls-gateway\\issuing-app"
#define PATH_ROOM 512
#define KEY_NAME_MOST 255

static bool server_path(const struct address *server, const wchar_t *branch, wchar_t path[PATH_ROOM]) {
    int used = swprintf(path, PATH_ROOM, ROOT L"\\%hs_%u\\%ls", server->name, (unsigned)server->port, branch);
    return used > 0;
}

/* User IDs may hold what names of keys may not: hexadecimal. */
static bool whose_path(const struct address *server, const char *whose, wchar_t path[PATH_ROOM]) {
    if (!server_path(server, L"pending\\", path) || strlen(whose) * 2 > KEY_NAME_MOST) {
        return false;
    }
    size_t used = wcslen(path);
    if (used + strlen(whose) * 2 >= PATH_ROOM) {
        return false;
    }
    for (const char *at = whose; *at != '\0'; at++) {
        used += (size_t)swprintf(path + used, PATH_ROOM - used, L"%02x", (unsigned char)*at);
    }
    return true;
}

static bool read_text(HKEY key, const wchar_t *name, wchar_t *out, size_t room) {
    DWORD length = (DWORD)(room * sizeof *out);
    return RegGetValueW(key, NULL, name, RRF_RT_REG_SZ, NULL, out, &length) == 0;
}

bool pending_read(const struct address *server, const char *whose, struct pending *pending) {
    wchar_t path[PATH_ROOM];
    HKEY key;
    if (!whose_path(server, whose, path) || RegOpenKeyExW(HKEY_CURRENT_USER, path, 0, KEY_READ, &key) != 0) {
        return false;
    }
    DWORD sent = 0;
    DWORD length = sizeof sent;
    bool done = read_text(key, L"container", pending->container, KEY_CONTAINER_ROOM) &&
                read_text(key, L"provider", pending->provider, PENDING_PROVIDER_ROOM) &&
                RegGetValueW(key, NULL, L"sent", RRF_RT_REG_DWORD, NULL, &sent, &length) == 0;
    pending->sent = sent != 0;
    RegCloseKey(key);
    return done;
}

static DWORD write_text(HKEY key, const wchar_t *name, const wchar_t *value) {
    return (DWORD)RegSetValueExW(key, name, 0, REG_SZ, (const BYTE *)value,
                                 (DWORD)((wcslen(value) + 1) * sizeof *value));
}

DWORD pending_write(const struct address *server, const char *whose, const struct pending *pending) {
    wchar_t path[PATH_ROOM];
    HKEY key;
    if (!whose_path(server, whose, path)) {
        return ERROR_INVALID_NAME;
    }
    DWORD error = (DWORD)RegCreateKeyExW(HKEY_CURRENT_USER, path, 0, NULL, 0, KEY_READ | KEY_WRITE, NULL, &key, NULL);
    if (error != 0) {
        return error;
    }
    DWORD sent = pending->sent;
    error = write_text(key, L"container", pending->container);
    if (error == 0) {
        error = write_text(key, L"provider", pending->provider);
    }
    if (error == 0) {
        error = (DWORD)RegSetValueExW(key, L"sent", 0, REG_DWORD, (const BYTE *)&sent, sizeof sent);
    }
    if (error == 0) {
        /* On the disk before anything is sent: what it says must survive a power cut. */
        error = (DWORD)RegFlushKey(key);
    }
    RegCloseKey(key);
    return error;
}

void pending_forget(const struct address *server, const char *whose) {
    wchar_t path[PATH_ROOM];
    if (whose_path(server, whose, path)) {
        RegDeleteKeyW(HKEY_CURRENT_USER, path);
    }
}

DWORD superseded_add(const struct address *server, const wchar_t *thumbprint) {
    wchar_t path[PATH_ROOM];
    HKEY key;
    if (!server_path(server, L"superseded", path)) {
        return ERROR_INVALID_NAME;
    }
    DWORD error = (DWORD)RegCreateKeyExW(HKEY_CURRENT_USER, path, 0, NULL, 0, KEY_WRITE, NULL, &key, NULL);
    if (error == 0) {
        error = write_text(key, thumbprint, L"");
        RegCloseKey(key);
    }
    return error;
}

void superseded_forget(const struct address *server, const wchar_t *thumbprint) {
    wchar_t path[PATH_ROOM];
    if (server_path(server, L"superseded", path)) {
        RegDeleteKeyValueW(HKEY_CURRENT_USER, path, thumbprint);
    }
}

size_t superseded_list(const struct address *server, wchar_t thumbprints[][THUMBPRINT_ROOM], size_t most) {
    wchar_t path[PATH_ROOM];
    HKEY key;
    size_t count = 0;
    if (!server_path(server, L"superseded", path) || RegOpenKeyExW(HKEY_CURRENT_USER, path, 0, KEY_READ, &key) != 0) {
        return 0;
    }
    for (DWORD index = 0; count < most; index++) {
        wchar_t name[THUMBPRINT_ROOM];
        DWORD length = THUMBPRINT_ROOM;
        LSTATUS status = RegEnumValueW(key, index, name, &length, NULL, NULL, NULL, NULL);
        if (status == ERROR_NO_MORE_ITEMS) {
            break;
        }
        PCCERT_CONTEXT certificate = status == 0 ? store_find(name) : NULL;
        if (certificate != NULL) {
            wcscpy(thumbprints[count++], name);
            CertFreeCertificateContext(certificate);
        }
    }
    RegCloseKey(key);
    return count;
}
