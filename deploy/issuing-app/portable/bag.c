#include "bag.h"

#include "der.h"

#include <string.h>

static const uint8_t signed_data[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02};

bool slice_equal(struct slice one, struct slice other) {
    return one.length == other.length && (one.length == 0 || memcmp(one.at, other.at, one.length) == 0);
}

static bool read_certificates(struct slice from, struct bag *bag) {
    struct der certificate;
    while (from.length > 0) {
        if (bag->count == BAG_MOST_CERTIFICATES || !der_expect(&from, DER_SEQUENCE, &certificate)) {
            return false;
        }
        bag->certificates[bag->count++] = certificate.whole;
    }
    return bag->count > 0;
}

bool bag_read(struct slice der, struct bag *bag) {
    struct der outer, type, wrapped, data, field;
    bag->count = 0;
    if (!der_expect(&der, DER_SEQUENCE, &outer) || der.length > 0) {
        return false;
    }
    struct slice in = outer.content;
    if (!der_expect(&in, DER_OID, &type) || !slice_equal(type.content, (struct slice){signed_data, sizeof signed_data}) ||
        !der_expect(&in, DER_CONTEXT_0, &wrapped) || in.length > 0) {
        return false;
    }
    in = wrapped.content;
    if (!der_expect(&in, DER_SEQUENCE, &data) || in.length > 0) {
        return false;
    }
    /* version, digestAlgorithms, encapContentInfo, certificates, perhaps CRLs, signerInfos */
    in = data.content;
    if (!der_expect(&in, DER_INTEGER, &field) || !der_expect(&in, DER_SET, &field) ||
        !der_expect(&in, DER_SEQUENCE, &field) || !der_expect(&in, DER_CONTEXT_0, &field) ||
        !read_certificates(field.content, bag)) {
        bag->count = 0;
        return false;
    }
    der_expect(&in, DER_CONTEXT_1, &field);
    if (!der_expect(&in, DER_SET, &field) || in.length > 0) {
        bag->count = 0;
        return false;
    }
    return true;
}

bool certificate_parts(struct slice der, struct certificate_parts *parts) {
    struct der outer, inner, field, issuer, subject, key;
    if (!der_expect(&der, DER_SEQUENCE, &outer) || der.length > 0) {
        return false;
    }
    struct slice in = outer.content;
    if (!der_expect(&in, DER_SEQUENCE, &inner)) {
        return false;
    }
    in = inner.content;
    der_expect(&in, DER_CONTEXT_0, &field);
    /* serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo */
    if (!der_expect(&in, DER_INTEGER, &field) || !der_expect(&in, DER_SEQUENCE, &field) ||
        !der_expect(&in, DER_SEQUENCE, &issuer) || !der_expect(&in, DER_SEQUENCE, &field) ||
        !der_expect(&in, DER_SEQUENCE, &subject) || !der_expect(&in, DER_SEQUENCE, &key)) {
        return false;
    }
    *parts = (struct certificate_parts){issuer.whole, subject.whole, key.whole};
    return true;
}
