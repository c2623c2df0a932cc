/* How an errand ended. The numbers are the exit codes of unattended runs: never renumbered. */
#ifndef ISSUING_APP_OUTCOME_H
#define ISSUING_APP_OUTCOME_H

#include <windows.h>

#include "est.h"
#include "store.h"

enum outcome_kind {
    OUTCOME_DONE = 0,
    OUTCOME_WRONG_USE = 1,         /* of the command line, or of what was to be read from a file */
    OUTCOME_REFUSED = 2,           /* the bank says no; the stable code is in the log */
    OUTCOME_TRY_LATER = 3,         /* the bank is busy or closed at the moment */
    OUTCOME_NO_CONNECTION = 4,     /* name not found, nothing listens, time-out, cut in the middle */
    OUTCOME_UNTRUSTED_SERVER = 5,  /* the server's certificate is not good, or is another's */
    OUTCOME_FOREIGN_ANSWER = 6,    /* something other than the bank has answered: a proxy, mostly */
    OUTCOME_PROXY_SIGN_IN = 7,     /* the proxy wants a sign-in that did not succeed */
    OUTCOME_KEY_FAILED = 8,        /* Windows could not make, keep or use the key */
    OUTCOME_INSTALL_FAILED = 9,    /* the certificate came and could not be put into the store */
    OUTCOME_NOTHING_FOUND = 10,    /* no certificate to renew, or none to remove */
    OUTCOME_CANCELLED = 11,
    OUTCOME_WRONG_CERTIFICATE = 12, /* the answer is no certificate for this key by this bank */
    OUTCOME_ALREADY_RUNNING = 13,
    OUTCOME_LOG_FAILED = 14        /* what was to be done is done, but the log is not whole */
};

struct outcome {
    enum outcome_kind kind;
    /* What the server said, where it did. */
    enum est_refusal refusal;
    char code[EST_CODE_ROOM];
    char japanese[EST_SENTENCE_ROOM];
    char english[EST_SENTENCE_ROOM];
    unsigned status;
    unsigned retry_after;
    /* What Windows said, where it did. */
    DWORD error;
    DWORD untrusted;
    bool renewal;
    /* What was installed, and where its key is. */
    struct listed certificate;
    bool in_tpm;
    /* What can be renewed or removed. */
    struct listing listing;
};

#endif
