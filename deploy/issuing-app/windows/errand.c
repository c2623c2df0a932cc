#include "errand.h"

#include "base64.h"
#include "est.h"
#include "key.h"
#include "log.h"
#include "net.h"
#include "options.h"
#include "pending.h"

#include <stdio.h>
#include <string.h>

#define WHOSE_ROOM 160
#define AUTHORIZATION_OCTETS 8192
#define SUPERSEDED_MOST 16
#define LINE_CHARACTERS 64

/* Everything that one run holds; closed at its one end. */
struct run {
    const struct errand *errand;
    struct outcome *outcome;
    struct net net;
    /* The bank's CA certificates. */
    struct est_answer authorities;
    struct address certificate_host;
    /* Under which name the enrolment under way is remembered. */
    char whose[WHOSE_ROOM];
    struct key key;
    struct pending pending;
    /* An earlier run has sent this key, and what became of it is not known. */
    bool sent_before;
};

static bool end_with(struct run *run, enum outcome_kind kind, DWORD error) {
    run->outcome->kind = kind;
    if (error != 0) {
        run->outcome->error = error;
    }
    return false;
}

static void step(const struct run *run, enum errand_step at) {
    if (run->errand->on_step != NULL) {
        run->errand->on_step(run->errand->whom, at);
    }
}

static bool cancelled(struct run *run) {
    if (WaitForSingleObject(run->errand->cancel, 0) != WAIT_OBJECT_0) {
        return false;
    }
    end_with(run, OUTCOME_CANCELLED, 0);
    return true;
}

static enum outcome_kind kind_of(enum net_result result) {
    switch (result) {
    case NET_CANCELLED:
        return OUTCOME_CANCELLED;
    case NET_UNTRUSTED:
        return OUTCOME_UNTRUSTED_SERVER;
    case NET_TOO_LARGE:
        return OUTCOME_FOREIGN_ANSWER;
    case NET_PROXY_SIGN_IN:
        return OUTCOME_PROXY_SIGN_IN;
    case NET_CLIENT_CERTIFICATE:
        return OUTCOME_KEY_FAILED;
    default:
        return OUTCOME_NO_CONNECTION;
    }
}

/* Closed, down, or asked too often: the same request may be met later. */
static bool is_busy(unsigned status) {
    return status >= 500 || status == 429;
}

/* One exchange and what it means. True with an answer by the bank: certificates, or a refusal with its code. */
static bool ask(struct run *run, const struct net_request *request, struct est_answer *answer) {
    struct net_answer raw;
    struct outcome *outcome = run->outcome;
    enum net_result result = net_exchange(&run->net, request, &raw);
    outcome->status = raw.status;
    outcome->retry_after = raw.retry_after;
    outcome->untrusted = raw.untrusted;
    outcome->error = raw.error;
    if (result != NET_ANSWERED) {
        memset(answer, 0, sizeof *answer);
        octets_close(&answer->der);
        net_answer_close(&raw);
        return end_with(run, kind_of(result), raw.error);
    }
    est_read(raw.status, raw.content_type, (struct slice){raw.body.at, raw.body.length}, answer);
    struct address host;
    if (answer->verdict == EST_CERTIFICATES && run->certificate_host.port == 0 &&
        address_read(raw.certificate_host, &host) && options_server_allowed(&host)) {
        run->certificate_host = host;
    }
    net_answer_close(&raw);
    if (answer->verdict == EST_FOREIGN) {
        log_line("status %u and no answer of the bank's: %s", raw.status, raw.content_type);
        return end_with(run, is_busy(raw.status) ? OUTCOME_TRY_LATER : OUTCOME_FOREIGN_ANSWER, 0);
    }
    return true;
}

static bool refused(struct run *run, const struct est_answer *answer) {
    struct outcome *outcome = run->outcome;
    bool later = is_busy(outcome->status);
    outcome->refusal = answer->refusal;
    strcpy(outcome->code, answer->code);
    strcpy(outcome->japanese, answer->japanese);
    strcpy(outcome->english, answer->english);
    log_line("refused: %s", answer->code);
    return end_with(run, later ? OUTCOME_TRY_LATER : OUTCOME_REFUSED, 0);
}

static bool fetch_authorities(struct run *run) {
    struct net_request request = {
        .server = &run->errand->server, .path = EST_CACERTS, .most_octets = EST_MOST_ANSWER_OCTETS};
    step(run, STEP_CONNECTING);
    if (!ask(run, &request, &run->authorities)) {
        return false;
    }
    return run->authorities.verdict == EST_CERTIFICATES || refused(run, &run->authorities);
}

/* --- the key ------------------------------------------------------------------------------------------------ */

static void drop_key(struct run *run) {
    const struct key_maker *maker = run->key.maker;
    if (maker == NULL) {
        return;
    }
    key_close(&run->key);
    DWORD error = maker->destroy(maker, run->pending.container);
    log_line("key removed: 0x%08lx", error);
    pending_forget(&run->errand->server, run->whose);
    run->sent_before = false;
}

static bool take_key_up_again(struct run *run) {
    if (!pending_read(&run->errand->server, run->whose, &run->pending)) {
        return false;
    }
    const struct key_maker *maker = key_maker_of(run->pending.provider);
    DWORD error = maker != NULL ? maker->open(maker, run->pending.container, &run->key) : (DWORD)NTE_NOT_FOUND;
    if (error != 0) {
        log_line("the key of the enrolment under way is gone: 0x%08lx", error);
        pending_forget(&run->errand->server, run->whose);
        return false;
    }
    run->sent_before = run->pending.sent;
    log_line("enrolment taken up again, key: %s", maker->storage);
    return true;
}

static bool remember(struct run *run, bool sent) {
    run->pending.sent = sent;
    DWORD error = pending_write(&run->errand->server, run->whose, &run->pending);
    return error == 0 || end_with(run, OUTCOME_KEY_FAILED, error);
}

static bool make_key(struct run *run) {
    DWORD error = 0;
    run->pending = (struct pending){0};
    if (!key_new_container(run->pending.container)) {
        return end_with(run, OUTCOME_KEY_FAILED, (DWORD)NTE_FAIL);
    }
    if (!key_create(run->pending.container, &run->key, &error)) {
        return end_with(run, OUTCOME_KEY_FAILED, error);
    }
    lstrcpynW(run->pending.provider, run->key.maker->provider, PENDING_PROVIDER_ROOM);
    if (!remember(run, false)) {
        drop_key(run);
        return false;
    }
    return true;
}

static bool have_key(struct run *run) {
    step(run, STEP_MAKING_KEY);
    return take_key_up_again(run) || make_key(run);
}

/* --- asking for the certificate ----------------------------------------------------------------------------- */

static bool build_request(struct run *run, struct slice subject, struct octets *public_key, struct octets *body) {
    const struct key_maker *maker = run->key.maker;
    struct request_signer signer = {maker->signature, maker->sign, &run->key};
    struct octets der;
    octets_open(&der, REQUEST_MOST_OCTETS);
    bool done = maker->public_key(&run->key, public_key) &&
                request_build(subject, (struct slice){public_key->at, public_key->length}, &signer, &der);
    if (done) {
        base64_encode((struct slice){der.at, der.length}, LINE_CHARACTERS, body);
    }
    octets_close(&der);
    return (done && !body->failed) || end_with(run, OUTCOME_KEY_FAILED, GetLastError());
}

static bool certificate_left_no_doubt(const struct est_answer *answer, bool sent_before) {
    if (!est_refusal_is_final(answer->refusal)) {
        return false;
    }
    if (!sent_before) {
        return true;
    }
    /* The bank gives the same certificate again for the same key: who is told this has another key. */
    switch (answer->refusal) {
    case EST_ENROLMENT_CODE_USED:
    case EST_CERTIFICATE_EXISTS:
    case EST_CSR_KEY_REUSED:
    case EST_CSR_WEAK_KEY:
    case EST_CSR_MALFORMED:
        return true;
    default:
        return false;
    }
}

static PCCERT_CONTEXT find_ours(const struct est_answer *answer, const struct octets *public_key) {
    for (size_t index = 0; index < answer->bag.count; index++) {
        struct slice der = answer->bag.certificates[index];
        struct certificate_parts parts;
        if (certificate_parts(der, &parts) &&
            slice_equal(parts.public_key, (struct slice){public_key->at, public_key->length})) {
            return CertCreateCertificateContext(X509_ASN_ENCODING, der.at, (DWORD)der.length);
        }
    }
    return NULL;
}

static bool install(struct run *run, const struct est_answer *answer, const struct octets *public_key) {
    step(run, STEP_INSTALLING);
    PCCERT_CONTEXT certificate = find_ours(answer, public_key);
    if (certificate == NULL || !store_issued_by(certificate, &run->authorities.bag)) {
        if (certificate != NULL) {
            CertFreeCertificateContext(certificate);
        }
        return end_with(run, OUTCOME_WRONG_CERTIFICATE, 0);
    }
    DWORD error = store_install(certificate, &run->key, &run->authorities.bag);
    if (error == 0) {
        store_describe(certificate, &run->outcome->certificate);
        run->outcome->in_tpm = strcmp(run->key.maker->storage, "tpm") == 0;
    }
    CertFreeCertificateContext(certificate);
    if (error != 0) {
        log_line("not installed: 0x%08lx", error);
        return end_with(run, OUTCOME_INSTALL_FAILED, error);
    }
    log_line("installed: %ls", run->outcome->certificate.thumbprint);
    return true;
}

/* `current`: the certificate that is renewed, or NULL. */
static bool submit(struct run *run, PCCERT_CONTEXT current, struct slice body, struct est_answer *answer) {
    const struct secrets *secrets = run->errand->secrets;
    struct octets authorization;
    octets_open(&authorization, AUTHORIZATION_OCTETS);
    bool done = current != NULL ? est_authorization("", NULL, secrets->password, &authorization)
                                : est_authorization(secrets->user_id, secrets->code, secrets->password, &authorization);
    if (!done) {
        octets_close(&authorization);
        memset(answer, 0, sizeof *answer);
        return end_with(run, OUTCOME_WRONG_USE, 0);
    }
    struct net_request request = {
        .server = current != NULL ? &run->certificate_host : &run->errand->server,
        .path = current != NULL ? EST_SIMPLEREENROLL : EST_SIMPLEENROLL,
        .body = body,
        .authorization = {authorization.at, authorization.length},
        .key_storage = run->key.maker->storage,
        .certificate = current,
        .most_octets = EST_MOST_ANSWER_OCTETS,
    };
    done = ask(run, &request, answer);
    octets_close(&authorization);
    return done;
}

/* One round with the key that is at hand; `again` when the bank knows this key already and a new one is to be made. */
static bool one_round(struct run *run, PCCERT_CONTEXT current, struct slice subject, bool *again) {
    struct octets public_key, body;
    struct est_answer answer = {0};
    octets_open(&public_key, REQUEST_MOST_OCTETS);
    octets_open(&body, 2 * REQUEST_MOST_OCTETS);
    bool done = build_request(run, subject, &public_key, &body);
    if (done && cancelled(run)) {
        done = false;
        if (!run->sent_before) {
            drop_key(run);
        }
    }
    if (done) {
        step(run, STEP_ASKING);
        done = remember(run, true) && submit(run, current, (struct slice){body.at, body.length}, &answer);
    }
    if (done && answer.verdict == EST_REFUSED) {
        done = refused(run, &answer);
        *again = answer.refusal == EST_CSR_KEY_REUSED;
        if (certificate_left_no_doubt(&answer, run->sent_before)) {
            drop_key(run);
        }
    } else if (done) {
        done = install(run, &answer, &public_key);
    }
    est_answer_close(&answer);
    octets_close(&public_key);
    octets_close(&body);
    return done;
}

static bool obtain(struct run *run, PCCERT_CONTEXT current, struct slice subject) {
    bool again = false;
    if (!have_key(run)) {
        return false;
    }
    if (!one_round(run, current, subject, &again)) {
        bool never = false;
        if (!again || !make_key(run) || !one_round(run, current, subject, &never)) {
            return false;
        }
    }
    return true;
}

/* --- the errands -------------------------------------------------------------------------------------------- */

static bool enrol(struct run *run) {
    const char *user_id = run->errand->secrets->user_id;
    struct octets subject;
    if (strlen(user_id) > USER_ID_MOST_OCTETS) {
        return end_with(run, OUTCOME_WRONG_USE, 0);
    }
    snprintf(run->whose, sizeof run->whose, "enrol %s", user_id);
    octets_open(&subject, REQUEST_MOST_OCTETS);
    name_of(user_id, &subject);
    bool done = obtain(run, NULL, (struct slice){subject.at, subject.length});
    octets_close(&subject);
    if (done) {
        pending_forget(&run->errand->server, run->whose);
        end_with(run, OUTCOME_DONE, 0);
    }
    return done;
}

static bool know_certificate_host(struct run *run) {
    if (run->certificate_host.port != 0) {
        return true;
    }
    log_line("the server does not say which its certificate host is");
    return end_with(run, OUTCOME_FOREIGN_ANSWER, 0);
}

static bool renew(struct run *run) {
    const struct errand *errand = run->errand;
    run->outcome->renewal = true;
    if (!know_certificate_host(run)) {
        return false;
    }
    PCCERT_CONTEXT current = store_find(errand->thumbprint);
    if (current == NULL || !store_issued_by(current, &run->authorities.bag)) {
        if (current != NULL) {
            CertFreeCertificateContext(current);
        }
        return end_with(run, OUTCOME_NOTHING_FOUND, 0);
    }
    snprintf(run->whose, sizeof run->whose, "renew %ls", errand->thumbprint);
    const CERT_NAME_BLOB *subject = &current->pCertInfo->Subject;
    bool done = obtain(run, current, (struct slice){subject->pbData, subject->cbData});
    CertFreeCertificateContext(current);
    if (done) {
        superseded_add(&errand->server, errand->thumbprint);
        pending_forget(&errand->server, run->whose);
        end_with(run, OUTCOME_DONE, 0);
    }
    return done;
}

static bool list(struct run *run) {
    DWORD error = store_list(&run->authorities.bag, &run->outcome->listing);
    if (error != 0) {
        return end_with(run, OUTCOME_INSTALL_FAILED, error);
    }
    return end_with(run, run->outcome->listing.count > 0 ? OUTCOME_DONE : OUTCOME_NOTHING_FOUND, 0);
}

/* Only the bank knows whether the new certificate has signed in. A renewal without a password is never met, and says why:
   for the certificate's own sake once it is superseded, and for the missing password before that. */
static bool is_superseded(struct run *run, PCCERT_CONTEXT certificate, bool *answered) {
    static const uint8_t nothing[] = "MAA=";
    struct est_answer answer;
    struct net_request request = {
        .server = &run->certificate_host,
        .path = EST_SIMPLEREENROLL,
        .body = {nothing, sizeof nothing - 1},
        .certificate = certificate,
        .most_octets = EST_MOST_ANSWER_OCTETS,
    };
    bool told = ask(run, &request, &answer);
    if (told && answer.verdict != EST_REFUSED) {
        told = end_with(run, OUTCOME_FOREIGN_ANSWER, 0);
    }
    bool superseded = told && (answer.refusal == EST_CERTIFICATE_SUPERSEDED || answer.refusal == EST_CERTIFICATE_REVOKED ||
                               answer.refusal == EST_CERTIFICATE_EXPIRED);
    *answered = told && !is_busy(run->outcome->status);
    if (told && !*answered) {
        refused(run, &answer);
    }
    est_answer_close(&answer);
    return superseded;
}

static bool superseded(struct run *run) {
    wchar_t thumbprints[SUPERSEDED_MOST][THUMBPRINT_ROOM];
    struct listing *listing = &run->outcome->listing;
    size_t count = superseded_list(&run->errand->server, thumbprints, SUPERSEDED_MOST);
    if (count > 0 && !know_certificate_host(run)) {
        return false;
    }
    for (size_t index = 0; index < count; index++) {
        bool answered = true;
        PCCERT_CONTEXT certificate = store_find(thumbprints[index]);
        if (certificate == NULL) {
            continue;
        }
        if (is_superseded(run, certificate, &answered)) {
            store_describe(certificate, &listing->certificates[listing->count++]);
        }
        CertFreeCertificateContext(certificate);
        if (!answered) {
            return false;
        }
    }
    return end_with(run, listing->count > 0 ? OUTCOME_DONE : OUTCOME_NOTHING_FOUND, 0);
}

static void remove_superseded(struct run *run) {
    superseded(run);
    struct listing *listing = &run->outcome->listing;
    for (size_t index = 0; index < listing->count && run->outcome->kind == OUTCOME_DONE; index++) {
        const wchar_t *thumbprint = listing->certificates[index].thumbprint;
        DWORD error = store_remove(thumbprint);
        log_line("removed: %ls, 0x%08lx", thumbprint, error);
        if (error == 0) {
            superseded_forget(&run->errand->server, thumbprint);
        } else {
            end_with(run, OUTCOME_INSTALL_FAILED, error);
        }
    }
}

void errand_run(const struct errand *errand, struct outcome *outcome) {
    struct run run = {.errand = errand, .outcome = outcome, .certificate_host = errand->certificate_host};
    memset(outcome, 0, sizeof *outcome);
    octets_close(&run.authorities.der);
    if (!net_open(&run.net, errand->cancel, errand->window, errand->quiet)) {
        end_with(&run, OUTCOME_NO_CONNECTION, GetLastError());
        return;
    }
    if (fetch_authorities(&run) && !cancelled(&run)) {
        switch (errand->kind) {
        case ERRAND_ENROL:
            enrol(&run);
            break;
        case ERRAND_LIST:
            list(&run);
            break;
        case ERRAND_RENEW:
            renew(&run);
            break;
        case ERRAND_SUPERSEDED:
            superseded(&run);
            break;
        case ERRAND_REMOVE:
            remove_superseded(&run);
            break;
        }
    }
    key_close(&run.key);
    est_answer_close(&run.authorities);
    net_close(&run.net);
}
