/* Keys from CNG: P-256, never exportable, in the TPM or beside it. */
#include "key_cng.h"

#include "digest.h"
#include "log.h"

#include <ncrypt.h>

#ifndef MS_PLATFORM_CRYPTO_PROVIDER
#define MS_PLATFORM_CRYPTO_PROVIDER L"Microsoft Platform Crypto Provider"
#endif

/* A key in the TPM cannot leave it whatever its properties say, and TPMs differ in which of them they know. */
static SECURITY_STATUS set(const struct key_maker *maker, NCRYPT_KEY_HANDLE handle, const wchar_t *property, DWORD value) {
    SECURITY_STATUS status = NCryptSetProperty(handle, property, (PBYTE)&value, sizeof value, 0);
    return status == NTE_NOT_SUPPORTED && maker == &key_cng_tpm ? 0 : status;
}

static DWORD create(const struct key_maker *maker, const wchar_t *container, struct key *key) {
    NCRYPT_PROV_HANDLE provider = 0;
    NCRYPT_KEY_HANDLE handle = 0;
    SECURITY_STATUS status = NCryptOpenStorageProvider(&provider, maker->provider, 0);
    if (status == 0) {
        status = NCryptCreatePersistedKey(provider, &handle, NCRYPT_ECDSA_P256_ALGORITHM, container, 0, 0);
    }
    if (status == 0) {
        status = set(maker, handle, NCRYPT_EXPORT_POLICY_PROPERTY, 0);
    }
    if (status == 0) {
        status = set(maker, handle, NCRYPT_KEY_USAGE_PROPERTY, NCRYPT_ALLOW_SIGNING_FLAG);
    }
    if (status == 0) {
        status = NCryptFinalizeKey(handle, NCRYPT_SILENT_FLAG);
    }
    if (status == 0) {
        *key = (struct key){.maker = maker, .handle = handle};
        lstrcpynW(key->container, container, KEY_CONTAINER_ROOM);
    } else if (handle != 0) {
        NCryptFreeObject(handle);
    }
    if (provider != 0) {
        NCryptFreeObject(provider);
    }
    return (DWORD)status;
}

static DWORD open_key(const struct key_maker *maker, const wchar_t *container, struct key *key) {
    NCRYPT_PROV_HANDLE provider = 0;
    NCRYPT_KEY_HANDLE handle = 0;
    SECURITY_STATUS status = NCryptOpenStorageProvider(&provider, maker->provider, 0);
    if (status == 0) {
        status = NCryptOpenKey(provider, &handle, container, 0, NCRYPT_SILENT_FLAG);
        NCryptFreeObject(provider);
    }
    if (status == 0) {
        *key = (struct key){.maker = maker, .handle = handle};
        lstrcpynW(key->container, container, KEY_CONTAINER_ROOM);
    }
    return (DWORD)status;
}

static bool public_key(struct key *key, struct octets *out) {
    struct {
        BCRYPT_ECCKEY_BLOB head;
        uint8_t x[P256_OCTETS];
        uint8_t y[P256_OCTETS];
    } blob;
    DWORD length = 0;
    SECURITY_STATUS status =
        NCryptExportKey(key->handle, 0, BCRYPT_ECCPUBLIC_BLOB, NULL, (PBYTE)&blob, sizeof blob, &length, 0);
    if (status != 0 || length != sizeof blob || blob.head.cbKey != P256_OCTETS ||
        blob.head.dwMagic != BCRYPT_ECDSA_PUBLIC_P256_MAGIC) {
        log_line("the public key cannot be read: 0x%08lx", status);
        return false;
    }
    public_key_p256(blob.x, blob.y, out);
    return !out->failed;
}

static bool sign(void *holder, struct slice data, struct octets *signature) {
    struct key *key = holder;
    uint8_t digest[DIGEST_OCTETS];
    uint8_t both[2 * P256_OCTETS];
    DWORD length = 0;
    if (!digest_sha256(data, digest)) {
        return false;
    }
    SECURITY_STATUS status = NCryptSignHash(key->handle, NULL, digest, sizeof digest, both, sizeof both, &length,
                                            NCRYPT_SILENT_FLAG);
    if (status != 0) {
        log_line("the key does not sign: 0x%08lx", status);
        return false;
    }
    octets_add(signature, both, length);
    return !signature->failed;
}

static DWORD bind_certificate(struct key *key, PCCERT_CONTEXT certificate) {
    CRYPT_KEY_PROV_INFO where = {
        .pwszContainerName = key->container,
        .pwszProvName = (LPWSTR)key->maker->provider,
    };
    return CertSetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, 0, &where) ? 0 : GetLastError();
}

static DWORD destroy(const struct key_maker *maker, const wchar_t *container) {
    struct key key;
    DWORD error = open_key(maker, container, &key);
    /* On success the handle is freed too. */
    return error != 0 ? error : (DWORD)NCryptDeleteKey(key.handle, NCRYPT_SILENT_FLAG);
}

static void close_key(struct key *key) {
    NCryptFreeObject(key->handle);
}

#define CNG_MAKER(name, where)                                                                                         \
    {                                                                                                                  \
        .provider = (name), .storage = (where), .signature = SIGNATURE_ECDSA_SHA256, .create = create,                 \
        .open = open_key, .public_key = public_key, .sign = sign, .bind = bind_certificate, .destroy = destroy,        \
        .close = close_key                                                                                             \
    }

const struct key_maker key_cng_tpm = CNG_MAKER(MS_PLATFORM_CRYPTO_PROVIDER, "tpm");
const struct key_maker key_cng_software = CNG_MAKER(MS_KEY_STORAGE_PROVIDER, "software");
