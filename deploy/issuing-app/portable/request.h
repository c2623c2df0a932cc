/* A certificate request (PKCS#10, RFC 2986), signed by whoever holds the key. */
#ifndef ISSUING_APP_REQUEST_H
#define ISSUING_APP_REQUEST_H

#include "octets.h"

#define REQUEST_MOST_OCTETS 16384
#define P256_OCTETS 32

enum signature_kind {
    SIGNATURE_ECDSA_SHA256, /* what the key gives is r and s, 32 octets each (IEEE P1363), as CNG has it */
    SIGNATURE_RSA_SHA256    /* what the key gives is the signature of RFC 8017, section 8.2 */
};

struct request_signer {
    enum signature_kind kind;
    /* Appends the signature of `data`, which it hashes itself. */
    bool (*sign)(void *holder, struct slice data, struct octets *signature);
    void *holder;
};

/* SubjectPublicKeyInfo (RFC 5480) of a P-256 point given by its two coordinates. */
void public_key_p256(const uint8_t x[P256_OCTETS], const uint8_t y[P256_OCTETS], struct octets *out);
/* A Name of one commonName, in UTF-8. */
void name_of(const char *common_name, struct octets *out);
/* `subject` is a DER Name, `public_key` a DER SubjectPublicKeyInfo. */
bool request_build(struct slice subject, struct slice public_key, const struct request_signer *signer,
                   struct octets *out);

#endif
