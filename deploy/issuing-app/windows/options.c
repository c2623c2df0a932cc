#include "options.h"

#include <shellapi.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_TEXT_ROOM 512

bool options_server_allowed(const struct address *server) {
    return address_within(server, ISSUING_APP_DOMAIN);
}

static bool to_utf8(const wchar_t *wide, char *out, int room) {
    return WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, wide, -1, out, room, NULL, NULL) > 0;
}

static bool read_address(const wchar_t *value, struct address *address) {
    char narrow[ADDRESS_TEXT_ROOM];
    return to_utf8(value, narrow, sizeof narrow) && address_read(narrow, address);
}

static bool copy(const wchar_t *value, wchar_t *out, size_t room) {
    if (wcslen(value) >= room) {
        return false;
    }
    wcscpy(out, value);
    return true;
}

static bool read_thumbprint(const wchar_t *value, wchar_t out[THUMBPRINT_ROOM]) {
    size_t used = 0;
    for (; *value != 0; value++) {
        if (*value == L' ' || *value == L':') {
            continue;
        }
        if (!iswxdigit(*value) || used == THUMBPRINT_ROOM - 1) {
            return false;
        }
        out[used++] = *value;
    }
    out[used] = 0;
    return used == THUMBPRINT_ROOM - 1;
}

static bool read_language(const wchar_t *value, enum language *language) {
    if (_wcsicmp(value, L"ja") == 0) {
        *language = LANGUAGE_JAPANESE;
    } else if (_wcsicmp(value, L"en") == 0) {
        *language = LANGUAGE_ENGLISH;
    } else {
        return false;
    }
    return true;
}

static bool read_value(struct options *options, const wchar_t *name, const wchar_t *value) {
    if (_wcsicmp(name, L"/server") == 0) {
        return read_address(value, &options->server);
    }
    if (_wcsicmp(name, L"/certificate-host") == 0) {
        return read_address(value, &options->certificate_host);
    }
    if (_wcsicmp(name, L"/thumbprint") == 0) {
        return read_thumbprint(value, options->thumbprint);
    }
    if (_wcsicmp(name, L"/secrets") == 0) {
        return copy(value, options->secrets_path, MAX_PATH);
    }
    if (_wcsicmp(name, L"/log") == 0) {
        return copy(value, options->log_path, MAX_PATH);
    }
    return _wcsicmp(name, L"/language") == 0 && read_language(value, &options->language);
}

static bool read_arguments(struct options *options, int count, wchar_t **arguments) {
    for (int index = 1; index < count; index++) {
        const wchar_t *name = arguments[index];
        if (_wcsicmp(name, L"/quiet") == 0) {
            options->quiet = true;
        } else if (_wcsicmp(name, L"/renew") == 0) {
            options->work = WORK_RENEW;
        } else if (_wcsicmp(name, L"/remove-superseded") == 0) {
            options->work = WORK_REMOVE_SUPERSEDED;
        } else if (wcscmp(name, L"/?") == 0 || _wcsicmp(name, L"/help") == 0) {
            options->help = true;
        } else if (index + 1 == count || !read_value(options, name, arguments[++index])) {
            return false;
        }
    }
    return true;
}

static bool same_server(const struct address *one, const struct address *other) {
    return one->port == other->port && strcmp(one->name, other->name) == 0;
}

/* What the file name says stands: nobody's shortcut sends a customer elsewhere. */
static bool read_file_name(struct options *options) {
    wchar_t path[MAX_PATH];
    char narrow[MAX_PATH * 3];
    struct address named;
    DWORD length = GetModuleFileNameW(NULL, path, MAX_PATH);
    if (length == 0 || length == MAX_PATH || !to_utf8(path, narrow, sizeof narrow) ||
        !address_from_file_name(narrow, &named)) {
        return true;
    }
    if (options->server.port != 0 && !same_server(&options->server, &named)) {
        return false;
    }
    options->server = named;
    return true;
}

bool options_read(struct options *options) {
    int count = 0;
    *options = (struct options){0};
    wchar_t **arguments = CommandLineToArgvW(GetCommandLineW(), &count);
    if (arguments == NULL) {
        return false;
    }
    bool done = read_arguments(options, count, arguments) && read_file_name(options);
    LocalFree(arguments);
    done = done && (options->server.port == 0 || options_server_allowed(&options->server));
    done = done && (options->certificate_host.port == 0 || options_server_allowed(&options->certificate_host));
    return done && (!options->quiet || options->server.port != 0);
}
