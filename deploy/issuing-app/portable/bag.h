/* The certificates of a certs-only answer (RFC 5272, section 4.1; RFC 5652, section 5.1). */
#ifndef ISSUING_APP_BAG_H
#define ISSUING_APP_BAG_H

#include "octets.h"

/* A chain and its roll-over; a bag with more is refused. */
#define BAG_MOST_CERTIFICATES 32

struct bag {
    size_t count;
    /* Whole DER certificates, inside what was read. */
    struct slice certificates[BAG_MOST_CERTIFICATES];
};

/* False when it is anything but degenerate SignedData with at least one certificate and nothing after it. */
bool bag_read(struct slice der, struct bag *bag);

struct certificate_parts {
    struct slice issuer;     /* DER Name */
    struct slice subject;    /* DER Name */
    struct slice public_key; /* DER SubjectPublicKeyInfo */
};

/* False when it is no certificate (RFC 5280, section 4.1) as far as these parts. */
bool certificate_parts(struct slice der, struct certificate_parts *parts);

bool slice_equal(struct slice one, struct slice other);

#endif
