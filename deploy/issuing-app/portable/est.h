/* Enrolment over Secure Transport (RFC 7030, RFC 8951): what is sent, and what an answer means. */
#ifndef ISSUING_APP_EST_H
#define ISSUING_APP_EST_H

#include "bag.h"
#include "octets.h"

#define EST_CACERTS "/.well-known/est/cacerts"
#define EST_SIMPLEENROLL "/.well-known/est/simpleenroll"
#define EST_SIMPLEREENROLL "/.well-known/est/simplereenroll"

/* A chain of certificates is a few kilobytes. */
#define EST_MOST_ANSWER_OCTETS 262144
#define EST_CODE_ROOM 64
#define EST_SENTENCE_ROOM 512

enum est_refusal {
    EST_NOT_REFUSED,
    EST_ENROLMENT_REFUSED,
    EST_ENROLMENT_CODE_USED,
    EST_ENROLMENT_CODE_EXPIRED,
    EST_ENROLMENT_CODE_EXHAUSTED,
    EST_CERTIFICATE_EXISTS,
    EST_RENEWAL_TOO_EARLY,
    EST_CSR_MALFORMED,
    EST_CSR_WRONG_SIGNATURE,
    EST_CSR_WEAK_KEY,
    EST_CSR_KEY_REUSED,
    EST_CSR_EXTENSION_REFUSED,
    EST_REQUEST_TOO_LARGE,
    EST_THROTTLED,
    EST_UNAVAILABLE,
    EST_USER_SUSPENDED,
    EST_USER_STOPPED,
    EST_COMPANY_SUSPENDED,
    EST_COMPANY_NOT_ON_CERTIFICATE_METHOD,
    EST_CERTIFICATE_MISSING,
    EST_CERTIFICATE_EXPIRED,
    EST_CERTIFICATE_REVOKED,
    EST_CERTIFICATE_SUPERSEDED,
    EST_CERTIFICATE_NOT_REGISTERED,
    EST_OTHER_REFUSAL, /* a code that this app does not know: the server's own sentences are shown */
    EST_REFUSALS
};

enum est_verdict {
    EST_CERTIFICATES, /* 200 and a bag of certificates */
    EST_REFUSED,      /* the server says why, with a code */
    EST_FOREIGN       /* anything else: a proxy's page, a torn answer, another server */
};

struct est_answer {
    enum est_verdict verdict;
    enum est_refusal refusal;
    /* The stable code and the two sentences of a refusal; printable UTF-8, cut where they are too long. */
    char code[EST_CODE_ROOM];
    char japanese[EST_SENTENCE_ROOM];
    char english[EST_SENTENCE_ROOM];
    /* The decoded answer, which the bag points into; closed by est_answer_close. */
    struct octets der;
    struct bag bag;
};

void est_read(unsigned status, const char *content_type, struct slice body, struct est_answer *answer);
void est_answer_close(struct est_answer *answer);

/* After such a refusal a key that was sent only now has certainly no certificate. */
bool est_refusal_is_final(enum est_refusal refusal);

/* `Basic ...` (RFC 7617, UTF-8). False when the user ID holds a colon or any part a control character. `code` may be NULL. */
bool est_authorization(const char *user_id, const char *code, const char *password, struct octets *out);

#endif
