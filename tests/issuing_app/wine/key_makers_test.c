/* The legacy RSA provider as the only maker of keys: Wine keeps no CNG keys and makes none of P-256. Test only.
   ISSUING_APP_TEST_FAULT makes a step fail as on a full disk: "key", "bind". Wine takes seconds for a key of 2048 bits: they have
   half of that unless ISSUING_APP_TEST_KEY_BITS says otherwise. */
#include "key.h"

#include <stdlib.h>
#include <string.h>

#define KEY_BITS 1024
#define MOST_KEY_BITS 2048
#define MOST_OCTETS 4096

static bool faulty(const char *step) {
    const char *fault = getenv("ISSUING_APP_TEST_FAULT");
    return fault != NULL && strcmp(fault, step) == 0;
}

static DWORD key_bits(void) {
    const char *wanted = getenv("ISSUING_APP_TEST_KEY_BITS");
    return wanted != NULL ? strtoul(wanted, NULL, 10) : KEY_BITS;
}

static DWORD acquire(const struct key_maker *maker, const wchar_t *container, DWORD flags, struct key *key) {
    HCRYPTPROV provider = 0;
    if (!CryptAcquireContextW(&provider, container, maker->provider, PROV_RSA_AES, flags | CRYPT_SILENT)) {
        return GetLastError();
    }
    if (key != NULL) {
        *key = (struct key){.maker = maker, .handle = provider};
        lstrcpynW(key->container, container, KEY_CONTAINER_ROOM);
    }
    return 0;
}

static DWORD create(const struct key_maker *maker, const wchar_t *container, struct key *key) {
    HCRYPTKEY made = 0;
    if (faulty("key")) {
        return ERROR_DISK_FULL;
    }
    DWORD error = acquire(maker, container, CRYPT_NEWKEYSET, key);
    if (error != 0) {
        return error;
    }
    if (!CryptGenKey(key->handle, AT_KEYEXCHANGE, key_bits() << 16, &made)) {
        error = GetLastError();
        CryptReleaseContext(key->handle, 0);
        acquire(maker, container, CRYPT_DELETEKEYSET, NULL);
        return error;
    }
    CryptDestroyKey(made);
    return 0;
}

static DWORD open_key(const struct key_maker *maker, const wchar_t *container, struct key *key) {
    return acquire(maker, container, 0, key);
}

static bool public_key(struct key *key, struct octets *out) {
    union {
        CERT_PUBLIC_KEY_INFO information;
        BYTE room[MOST_OCTETS];
    } exported;
    BYTE encoded[MOST_OCTETS];
    DWORD length = sizeof exported;
    DWORD encoded_length = sizeof encoded;
    if (!CryptExportPublicKeyInfo(key->handle, AT_KEYEXCHANGE, X509_ASN_ENCODING, &exported.information, &length) ||
        !CryptEncodeObject(X509_ASN_ENCODING, X509_PUBLIC_KEY_INFO, &exported.information, encoded, &encoded_length)) {
        return false;
    }
    octets_add(out, encoded, encoded_length);
    return !out->failed;
}

static bool sign(void *holder, struct slice data, struct octets *signature) {
    struct key *key = holder;
    HCRYPTHASH hash = 0;
    BYTE backwards[MOST_KEY_BITS / 8];
    DWORD length = sizeof backwards;
    bool done = CryptCreateHash(key->handle, CALG_SHA_256, 0, 0, &hash) &&
                CryptHashData(hash, data.at, (DWORD)data.length, 0) &&
                CryptSignHashW(hash, AT_KEYEXCHANGE, NULL, 0, backwards, &length);
    while (done && length > 0) {
        octets_add(signature, &backwards[--length], 1);
    }
    if (hash != 0) {
        CryptDestroyHash(hash);
    }
    return done && !signature->failed;
}

static DWORD bind_certificate(struct key *key, PCCERT_CONTEXT certificate) {
    CRYPT_KEY_PROV_INFO where = {
        .pwszContainerName = key->container,
        .pwszProvName = (LPWSTR)key->maker->provider,
        .dwProvType = PROV_RSA_AES,
        .dwKeySpec = AT_KEYEXCHANGE,
    };
    if (faulty("bind")) {
        return ERROR_DISK_FULL;
    }
    return CertSetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, 0, &where) ? 0 : GetLastError();
}

static DWORD destroy(const struct key_maker *maker, const wchar_t *container) {
    return acquire(maker, container, CRYPT_DELETEKEYSET, NULL);
}

static void close_key(struct key *key) {
    CryptReleaseContext(key->handle, 0);
}

static const struct key_maker legacy_rsa = {
    .provider = MS_ENH_RSA_AES_PROV_W,
    .storage = "software",
    .signature = SIGNATURE_RSA_SHA256,
    .create = create,
    .open = open_key,
    .public_key = public_key,
    .sign = sign,
    .bind = bind_certificate,
    .destroy = destroy,
    .close = close_key,
};

const struct key_maker *const key_makers[] = {&legacy_rsa, NULL};
