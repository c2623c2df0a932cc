#include "explain.h"

#include "texts.h"

#include <stdarg.h>
#include <stdio.h>
#include <winhttp.h>

#define SYSTEM_ROOM 512

static void add(wchar_t *out, size_t room, const wchar_t *format, ...) {
    size_t used = wcslen(out);
    va_list arguments;
    va_start(arguments, format);
    vswprintf(out + used, room - used, format, arguments);
    va_end(arguments);
    out[room - 1] = 0;
}

static void add_utf8(wchar_t *out, size_t room, const char *said) {
    wchar_t wide[EST_SENTENCE_ROOM];
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, said, -1, wide, EST_SENTENCE_ROOM) > 0) {
        add(out, room, L"%ls", wide);
    }
}

static void add_pair(wchar_t *out, size_t room, unsigned happened) {
    add(out, room, L"%ls\r\n\r\n%ls", text(happened), text(happened + 1));
}

void explain(const struct outcome *outcome, enum errand_kind kind, wchar_t *out, size_t room) {
    out[0] = 0;
    bool said = outcome->kind == OUTCOME_REFUSED || outcome->kind == OUTCOME_TRY_LATER;
    if (said && outcome->refusal == EST_OTHER_REFUSAL) {
        add_utf8(out, room, texts_japanese() ? outcome->japanese : outcome->english);
    } else if (outcome->refusal == EST_ENROLMENT_REFUSED && outcome->renewal) {
        add_pair(out, room, TEXT_RENEWAL_REFUSED);
    } else if (said && outcome->refusal != EST_NOT_REFUSED) {
        add_pair(out, room, TEXT_REFUSAL + 2 * (unsigned)outcome->refusal);
    } else if (outcome->kind == OUTCOME_NOTHING_FOUND && kind != ERRAND_LIST && kind != ERRAND_RENEW) {
        add_pair(out, room, TEXT_NOTHING_TO_REMOVE);
    } else {
        add_pair(out, room, TEXT_OUTCOME + 2 * (unsigned)outcome->kind);
    }
    if (outcome->retry_after > 0 && outcome->kind == OUTCOME_TRY_LATER) {
        add(out, room, L"\r\n\r\n");
        add(out, room, text(TEXT_RETRY_AFTER), (outcome->retry_after + 59) / 60);
    }
}

static unsigned reason(DWORD untrusted) {
    if (untrusted & WINHTTP_CALLBACK_STATUS_FLAG_CERT_REVOKED) {
        return TEXT_UNTRUSTED_REVOKED;
    }
    if (untrusted & WINHTTP_CALLBACK_STATUS_FLAG_CERT_CN_INVALID) {
        return TEXT_UNTRUSTED_NAME;
    }
    if (untrusted & WINHTTP_CALLBACK_STATUS_FLAG_CERT_DATE_INVALID) {
        return TEXT_UNTRUSTED_DATE;
    }
    return untrusted & WINHTTP_CALLBACK_STATUS_FLAG_INVALID_CA ? TEXT_UNTRUSTED_AUTHORITY : TEXT_UNTRUSTED_OTHER;
}

static void add_system(wchar_t *out, size_t room, DWORD error) {
    wchar_t said[SYSTEM_ROOM] = L"";
    HMODULE library = GetModuleHandleW(L"winhttp.dll");
    DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK |
                  (library != NULL ? FORMAT_MESSAGE_FROM_HMODULE : 0);
    FormatMessageW(flags, library, error, 0, said, SYSTEM_ROOM, NULL);
    add(out, room, L"%ls: 0x%08lx %ls\r\n", text(TEXT_DETAILS_WINDOWS), error, said);
}

void explain_details(const struct outcome *outcome, const struct address *server, wchar_t *out, size_t room) {
    char printed[ADDRESS_PRINTED_ROOM];
    out[0] = 0;
    if (outcome->code[0] != '\0') {
        add(out, room, L"%ls: %hs\r\n", text(TEXT_DETAILS_CODE), outcome->code);
    }
    address_print(server, printed);
    add(out, room, L"%ls: %hs\r\n", text(TEXT_DETAILS_SERVER), printed);
    if (outcome->status != 0) {
        add(out, room, L"%ls: %u\r\n", text(TEXT_DETAILS_STATUS), outcome->status);
    }
    if (outcome->kind == OUTCOME_UNTRUSTED_SERVER) {
        add(out, room, L"%ls: %ls\r\n", text(TEXT_DETAILS_UNTRUSTED), text(reason(outcome->untrusted)));
    }
    if (outcome->error != 0) {
        add_system(out, room, outcome->error);
    }
}
