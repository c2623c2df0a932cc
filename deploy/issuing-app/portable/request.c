#include "request.h"

#include "der.h"

#include <string.h>

#define SLICE(octets) ((struct slice){(octets).at, (octets).length})
#define CONSTANT(array) ((struct slice){(array), sizeof(array)})

/* AlgorithmIdentifiers, whole. RFC 5480, section 2.1.1; RFC 5758, section 3.2; RFC 4055, section 5. */
static const uint8_t ec_public_key_p256[] = {0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                             0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t ecdsa_with_sha256[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
static const uint8_t sha256_with_rsa[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                          0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00};
static const uint8_t common_name_oid[] = {0x06, 0x03, 0x55, 0x04, 0x03};
static const uint8_t version_0[] = {0x02, 0x01, 0x00};
static const uint8_t no_attributes[] = {0xa0, 0x00};

static void add(struct octets *out, struct slice data) {
    octets_add(out, data.at, data.length);
}

/* A BIT STRING of whole octets. */
static void add_bits(struct octets *out, struct slice bits) {
    struct octets content;
    octets_open(&content, REQUEST_MOST_OCTETS);
    octets_add(&content, "", 1);
    add(&content, bits);
    out->failed |= content.failed;
    der_add(out, DER_BIT_STRING, SLICE(content));
    octets_close(&content);
}

/* Closes `content` and adds it as one element. */
static void add_closing(struct octets *out, uint8_t tag, struct octets *content) {
    out->failed |= content->failed;
    der_add(out, tag, SLICE(*content));
    octets_close(content);
}

void public_key_p256(const uint8_t x[P256_OCTETS], const uint8_t y[P256_OCTETS], struct octets *out) {
    uint8_t point[1 + 2 * P256_OCTETS] = {0x04};
    memcpy(point + 1, x, P256_OCTETS);
    memcpy(point + 1 + P256_OCTETS, y, P256_OCTETS);
    struct octets content;
    octets_open(&content, REQUEST_MOST_OCTETS);
    add(&content, CONSTANT(ec_public_key_p256));
    add_bits(&content, CONSTANT(point));
    add_closing(out, DER_SEQUENCE, &content);
}

void name_of(const char *common_name, struct octets *out) {
    struct octets attribute;
    octets_open(&attribute, REQUEST_MOST_OCTETS);
    add(&attribute, CONSTANT(common_name_oid));
    der_add(&attribute, DER_UTF8_STRING, (struct slice){(const uint8_t *)common_name, strlen(common_name)});
    struct octets relative;
    octets_open(&relative, REQUEST_MOST_OCTETS);
    add_closing(&relative, DER_SEQUENCE, &attribute);
    struct octets names;
    octets_open(&names, REQUEST_MOST_OCTETS);
    add_closing(&names, DER_SET, &relative);
    add_closing(out, DER_SEQUENCE, &names);
}

/* Ecdsa-Sig-Value (RFC 3279, section 2.2.3) out of r and s side by side. */
static bool ecdsa_value(struct slice both, struct octets *out) {
    if (both.length != (size_t)2 * P256_OCTETS) {
        return false;
    }
    struct octets numbers;
    octets_open(&numbers, REQUEST_MOST_OCTETS);
    der_add_unsigned(&numbers, (struct slice){both.at, P256_OCTETS});
    der_add_unsigned(&numbers, (struct slice){both.at + P256_OCTETS, P256_OCTETS});
    add_closing(out, DER_SEQUENCE, &numbers);
    return !out->failed;
}

bool request_build(struct slice subject, struct slice public_key, const struct request_signer *signer,
                   struct octets *out) {
    struct octets content, signed_part, signature, encoded, whole;
    octets_open(&content, REQUEST_MOST_OCTETS);
    octets_open(&signed_part, REQUEST_MOST_OCTETS);
    octets_open(&signature, REQUEST_MOST_OCTETS);
    octets_open(&encoded, REQUEST_MOST_OCTETS);
    octets_open(&whole, REQUEST_MOST_OCTETS);

    add(&content, CONSTANT(version_0));
    add(&content, subject);
    add(&content, public_key);
    add(&content, CONSTANT(no_attributes));
    add_closing(&signed_part, DER_SEQUENCE, &content);

    bool done = !signed_part.failed && signer->sign(signer->holder, SLICE(signed_part), &signature) && !signature.failed;
    if (done && signer->kind == SIGNATURE_ECDSA_SHA256) {
        done = ecdsa_value(SLICE(signature), &encoded);
    } else if (done) {
        add(&encoded, SLICE(signature));
    }
    if (done) {
        add(&whole, SLICE(signed_part));
        add(&whole, signer->kind == SIGNATURE_ECDSA_SHA256 ? CONSTANT(ecdsa_with_sha256) : CONSTANT(sha256_with_rsa));
        add_bits(&whole, SLICE(encoded));
        add_closing(out, DER_SEQUENCE, &whole);
    }
    octets_close(&signed_part);
    octets_close(&signature);
    octets_close(&encoded);
    octets_close(&whole);
    return done && !out->failed;
}
