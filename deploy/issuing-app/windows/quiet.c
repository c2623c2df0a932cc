#include "quiet.h"

#include "errand.h"
#include "log.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

#define SECRETS_MOST_OCTETS 4096

static bool default_log(wchar_t path[MAX_PATH]) {
    static const wchar_t name[] = L"issuing-app.log";
    DWORD length = GetTempPathW(MAX_PATH, path);
    if (length == 0 || length + sizeof name / sizeof *name > MAX_PATH) {
        return false;
    }
    wcscat(path, name);
    return true;
}

static bool read_file(const wchar_t *path, char *out, DWORD room) {
    bool standard = wcscmp(path, L"-") == 0;
    HANDLE file = standard ? GetStdHandle(STD_INPUT_HANDLE)
                           : CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == NULL || file == INVALID_HANDLE_VALUE) {
        return false;
    }
    DWORD used = 0;
    DWORD more = 0;
    bool done = true;
    while (used < room - 1 && (done = ReadFile(file, out + used, room - 1 - used, &more, NULL)) && more > 0) {
        used += more;
    }
    /* The other end of a pipe has closed it. */
    done = done || GetLastError() == ERROR_BROKEN_PIPE;
    out[used] = '\0';
    if (!standard) {
        CloseHandle(file);
    }
    return done && used > 0 && strlen(out) == used && utf8_valid(out);
}

/* `name=value`, the value to the end of the line. */
static bool read_line(const char *line, size_t length, struct secrets *secrets) {
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    const char *names[] = {"user=", "password=", "code="};
    char code[SECRETS_TEXT_ROOM];
    char *fields[] = {secrets->user_id, secrets->password, code};
    if (length >= 3 && memcmp(line, byte_order_mark, 3) == 0) {
        line += 3;
        length -= 3;
    }
    if (length == 0) {
        return true;
    }
    for (size_t index = 0; index < sizeof names / sizeof *names; index++) {
        size_t name = strlen(names[index]);
        if (length < name || memcmp(line, names[index], name) != 0) {
            continue;
        }
        if (length - name >= SECRETS_TEXT_ROOM) {
            return false;
        }
        memcpy(fields[index], line + name, length - name);
        fields[index][length - name] = '\0';
        bool done = index != 2 || code_read(code, secrets->code) == CODE_GOOD;
        if (index == 2) {
            wipe(code, sizeof code);
        }
        if (!done) {
            log_line("the enrolment code is mistyped");
        }
        return done;
    }
    return false;
}

static bool read_secrets(const struct options *options, struct secrets *secrets) {
    static char content[SECRETS_MOST_OCTETS];
    bool done = read_file(options->secrets_path, content, sizeof content);
    for (const char *at = content; done && *at != '\0';) {
        size_t length = strcspn(at, "\r\n");
        done = read_line(at, length, secrets);
        at += length;
        at += strspn(at, "\r\n");
    }
    SecureZeroMemory(content, sizeof content);
    if (!done) {
        log_line("/secrets: lines user=, password= and code= are wanted, in UTF-8");
        return false;
    }
    if (options->work == WORK_ENROL) {
        return secrets->user_id[0] != '\0' && secrets->password[0] != '\0' && secrets->code[0] != '\0';
    }
    return secrets->password[0] != '\0';
}

/* The one that was named, or the only one there is. */
static bool choose(struct errand *errand, struct outcome *outcome) {
    if (errand->thumbprint[0] != 0) {
        return true;
    }
    errand->kind = ERRAND_LIST;
    errand_run(errand, outcome);
    if (outcome->kind != OUTCOME_DONE) {
        return false;
    }
    const struct listing *listing = &outcome->listing;
    for (size_t index = 0; index < listing->count; index++) {
        log_line("can be renewed: %ls", listing->certificates[index].thumbprint);
    }
    if (listing->count > 1) {
        log_line("several certificates: name one with /thumbprint");
        outcome->kind = OUTCOME_WRONG_USE;
        return false;
    }
    wcscpy(errand->thumbprint, listing->certificates[0].thumbprint);
    return true;
}

static void work(const struct options *options, struct errand *errand, struct outcome *outcome) {
    if (options->work != WORK_REMOVE_SUPERSEDED && !read_secrets(options, errand->secrets)) {
        outcome->kind = OUTCOME_WRONG_USE;
        return;
    }
    switch (options->work) {
    case WORK_ENROL:
        errand->kind = ERRAND_ENROL;
        break;
    case WORK_RENEW:
        if (!choose(errand, outcome)) {
            return;
        }
        errand->kind = ERRAND_RENEW;
        break;
    case WORK_REMOVE_SUPERSEDED:
        errand->kind = ERRAND_REMOVE;
        break;
    }
    errand_run(errand, outcome);
}

enum outcome_kind quiet_run(const struct options *options) {
    wchar_t path[MAX_PATH];
    wcscpy(path, options->log_path);
    if ((path[0] == 0 && !default_log(path)) || !log_open(path)) {
        return OUTCOME_LOG_FAILED;
    }
    static struct outcome outcome;
    struct errand errand = {
        .server = options->server,
        .certificate_host = options->certificate_host,
        .secrets = secrets_open(),
        .quiet = true,
        .cancel = CreateEventW(NULL, TRUE, FALSE, NULL),
    };
    wcscpy(errand.thumbprint, options->thumbprint);
    if (errand.secrets == NULL || errand.cancel == NULL) {
        outcome.kind = OUTCOME_KEY_FAILED;
    } else {
        work(options, &errand, &outcome);
    }
    secrets_close(errand.secrets);
    log_line("ended with %d", outcome.kind);
    if (!log_close() && outcome.kind == OUTCOME_DONE) {
        return OUTCOME_LOG_FAILED;
    }
    return outcome.kind;
}
