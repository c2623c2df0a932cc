#include "est.h"

#include "base64.h"
#include "utf8.h"

#include <string.h>

#define USER_AND_PASSWORD_OCTETS 4096

static const char *const codes[EST_REFUSALS] = {
    [EST_ENROLMENT_REFUSED] = "enrolment_refused",
    [EST_ENROLMENT_CODE_USED] = "enrolment_code_used",
    [EST_ENROLMENT_CODE_EXPIRED] = "enrolment_code_expired",
    [EST_ENROLMENT_CODE_EXHAUSTED] = "enrolment_code_exhausted",
    [EST_CERTIFICATE_EXISTS] = "certificate_exists",
    [EST_RENEWAL_TOO_EARLY] = "renewal_too_early",
    [EST_CSR_MALFORMED] = "csr_malformed",
    [EST_CSR_WRONG_SIGNATURE] = "csr_wrong_signature",
    [EST_CSR_WEAK_KEY] = "csr_weak_key",
    [EST_CSR_KEY_REUSED] = "csr_key_reused",
    [EST_CSR_EXTENSION_REFUSED] = "csr_extension_refused",
    [EST_REQUEST_TOO_LARGE] = "request_too_large",
    [EST_THROTTLED] = "throttled",
    [EST_UNAVAILABLE] = "unavailable",
    [EST_USER_SUSPENDED] = "user_suspended",
    [EST_USER_STOPPED] = "user_stopped",
    [EST_COMPANY_SUSPENDED] = "company_suspended",
    [EST_COMPANY_NOT_ON_CERTIFICATE_METHOD] = "company_not_on_certificate_method",
    [EST_CERTIFICATE_MISSING] = "certificate_missing",
    [EST_CERTIFICATE_EXPIRED] = "certificate_expired",
    [EST_CERTIFICATE_REVOKED] = "certificate_revoked",
    [EST_CERTIFICATE_SUPERSEDED] = "certificate_superseded",
    [EST_CERTIFICATE_NOT_REGISTERED] = "certificate_not_registered",
};

static enum est_refusal refusal_of(const char *code) {
    for (int refusal = 0; refusal < EST_REFUSALS; refusal++) {
        if (codes[refusal] != NULL && strcmp(codes[refusal], code) == 0) {
            return (enum est_refusal)refusal;
        }
    }
    return EST_OTHER_REFUSAL;
}

static char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? (char)(letter + 'a' - 'A') : letter;
}

/* The media type before any parameter, without regard to case (RFC 9110, section 8.3.1). */
static bool is_type(const char *content_type, const char *wanted) {
    while (*wanted != '\0') {
        if (lower(*content_type++) != *wanted++) {
            return false;
        }
    }
    return *content_type == '\0' || *content_type == ';' || *content_type == ' ' || *content_type == '\t';
}

/* One line of UTF-8 without control characters into `line`, cut at a character; what was read is taken off `text`. */
static bool take_line(struct slice *text, char *line, size_t room) {
    size_t used = 0;
    while (text->length > 0) {
        uint8_t octet = *text->at++;
        text->length--;
        if (octet == '\n') {
            break;
        }
        if (octet == '\r' && text->length > 0 && *text->at == '\n') {
            continue;
        }
        if (octet < 0x20 || octet == 0x7f) {
            return false;
        }
        if (used < room) {
            line[used++] = (char)octet;
        }
    }
    if (used == room) {
        do {
            used--;
        } while (used > 0 && ((uint8_t)line[used] & 0xc0) == 0x80);
    }
    line[used] = '\0';
    return utf8_valid(line);
}

static bool code_shaped(const char *code) {
    size_t length = strlen(code);
    return length > 0 && strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static bool read_refusal(struct slice body, struct est_answer *answer) {
    if (!take_line(&body, answer->code, sizeof answer->code) || !code_shaped(answer->code) ||
        !take_line(&body, answer->japanese, sizeof answer->japanese) ||
        !take_line(&body, answer->english, sizeof answer->english)) {
        return false;
    }
    answer->refusal = refusal_of(answer->code);
    return true;
}

void est_read(unsigned status, const char *content_type, struct slice body, struct est_answer *answer) {
    memset(answer, 0, sizeof *answer);
    octets_open(&answer->der, EST_MOST_ANSWER_OCTETS);
    answer->verdict = EST_FOREIGN;
    if (status == 200 && is_type(content_type, "application/pkcs7-mime")) {
        if (base64_decode(body, &answer->der) &&
            bag_read((struct slice){answer->der.at, answer->der.length}, &answer->bag)) {
            answer->verdict = EST_CERTIFICATES;
        }
    } else if (status >= 400 && status <= 599 && is_type(content_type, "text/plain")) {
        if (read_refusal(body, answer)) {
            answer->verdict = EST_REFUSED;
        } else {
            answer->code[0] = answer->japanese[0] = answer->english[0] = '\0';
        }
    }
}

void est_answer_close(struct est_answer *answer) {
    octets_close(&answer->der);
    answer->bag.count = 0;
}

bool est_refusal_is_final(enum est_refusal refusal) {
    switch (refusal) {
    case EST_NOT_REFUSED:
    case EST_THROTTLED:
    case EST_UNAVAILABLE:
    case EST_OTHER_REFUSAL:
        return false;
    default:
        return true;
    }
}

static bool printable(const char *text) {
    for (const char *at = text; *at != '\0'; at++) {
        if ((uint8_t)*at < 0x20 || *at == 0x7f) {
            return false;
        }
    }
    return utf8_valid(text);
}

bool est_authorization(const char *user_id, const char *code, const char *password, struct octets *out) {
    if (strchr(user_id, ':') != NULL || !printable(user_id) || !printable(password) ||
        (code != NULL && !printable(code))) {
        return false;
    }
    struct octets plain;
    octets_open(&plain, USER_AND_PASSWORD_OCTETS);
    octets_add_text(&plain, user_id);
    octets_add_text(&plain, ":");
    if (code != NULL) {
        octets_add_text(&plain, code);
        octets_add_text(&plain, ":");
    }
    octets_add_text(&plain, password);
    octets_add_text(out, "Basic ");
    base64_encode((struct slice){plain.at, plain.length}, 0, out);
    bool done = !plain.failed && !out->failed;
    octets_close(&plain);
    return done;
}
