#include "store.h"

#include "log.h"
#include "texts.h"

#include <stdio.h>
#include <stdlib.h>

#define ENCODING (X509_ASN_ENCODING | PKCS_7_ASN_ENCODING)

static HCERTSTORE open_store(const wchar_t *name) {
    return CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, CERT_SYSTEM_STORE_CURRENT_USER, name);
}

static bool thumbprint_of(PCCERT_CONTEXT certificate, wchar_t printed[THUMBPRINT_ROOM]) {
    BYTE hash[THUMBPRINT_OCTETS];
    DWORD length = sizeof hash;
    if (!CertGetCertificateContextProperty(certificate, CERT_SHA1_HASH_PROP_ID, hash, &length) ||
        length != sizeof hash) {
        return false;
    }
    for (size_t index = 0; index < sizeof hash; index++) {
        swprintf(printed + 2 * index, 3, L"%02x", hash[index]);
    }
    return true;
}

static void print_time(const FILETIME *moment, wchar_t *out, size_t room) {
    SYSTEMTIME universal, local;
    wchar_t date[80] = L"";
    wchar_t clock[80] = L"";
    out[0] = 0;
    if (FileTimeToSystemTime(moment, &universal) && SystemTimeToTzSpecificLocalTime(NULL, &universal, &local)) {
        /* As the pages' language has it, whatever the format of Windows is: a form of the bank's is written so. */
        bool japanese = texts_japanese();
        const wchar_t *locale = japanese ? L"ja-JP" : LOCALE_NAME_USER_DEFAULT;
        const wchar_t *format = japanese ? L"yyyy'年'M'月'd'日'" : NULL;
        GetDateFormatEx(locale, japanese ? 0 : DATE_SHORTDATE, &local, format, date, 80, NULL);
        GetTimeFormatEx(locale, TIME_NOSECONDS, &local, NULL, clock, 80);
        swprintf(out, room, L"%ls %ls", date, clock);
    }
}

void store_describe(PCCERT_CONTEXT certificate, struct listed *listed) {
    *listed = (struct listed){.not_after = certificate->pCertInfo->NotAfter};
    thumbprint_of(certificate, listed->thumbprint);
    CertGetNameStringW(certificate, CERT_NAME_SIMPLE_DISPLAY_TYPE, 0, NULL, listed->subject, STORE_TEXT_ROOM);
    print_time(&listed->not_after, listed->expiry, STORE_TEXT_ROOM);
}

static bool named_by(PCCERT_CONTEXT certificate, const struct bag *authorities) {
    const CERT_NAME_BLOB *issuer = &certificate->pCertInfo->Issuer;
    for (size_t index = 0; index < authorities->count; index++) {
        struct certificate_parts parts;
        if (certificate_parts(authorities->certificates[index], &parts) &&
            slice_equal(parts.subject, (struct slice){issuer->pbData, issuer->cbData})) {
            return true;
        }
    }
    return false;
}

bool store_issued_by(PCCERT_CONTEXT certificate, const struct bag *authorities) {
    const CERT_NAME_BLOB *issuer = &certificate->pCertInfo->Issuer;
    for (size_t index = 0; index < authorities->count; index++) {
        struct slice der = authorities->certificates[index];
        struct certificate_parts parts;
        if (!certificate_parts(der, &parts) ||
            !slice_equal(parts.subject, (struct slice){issuer->pbData, issuer->cbData})) {
            continue;
        }
        PCCERT_CONTEXT authority = CertCreateCertificateContext(X509_ASN_ENCODING, der.at, (DWORD)der.length);
        bool signed_by = authority != NULL &&
                         CryptVerifyCertificateSignatureEx(0, X509_ASN_ENCODING, CRYPT_VERIFY_CERT_SIGN_SUBJECT_CERT,
                                                           (void *)certificate, CRYPT_VERIFY_CERT_SIGN_ISSUER_CERT,
                                                           (void *)authority, 0, NULL);
        if (authority != NULL) {
            CertFreeCertificateContext(authority);
        }
        if (signed_by) {
            return true;
        }
    }
    return false;
}

static bool has_key(PCCERT_CONTEXT certificate) {
    DWORD length = 0;
    return CertGetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, NULL, &length) && length > 0;
}

static int by_expiry(const void *one, const void *other) {
    return CompareFileTime(&((const struct listed *)one)->not_after, &((const struct listed *)other)->not_after);
}

DWORD store_list(const struct bag *authorities, struct listing *listing) {
    listing->count = 0;
    HCERTSTORE store = open_store(L"MY");
    if (store == NULL) {
        return GetLastError();
    }
    PCCERT_CONTEXT certificate = NULL;
    while ((certificate = CertEnumCertificatesInStore(store, certificate)) != NULL) {
        if (listing->count < STORE_MOST_LISTED && has_key(certificate) && named_by(certificate, authorities) &&
            CertVerifyTimeValidity(NULL, certificate->pCertInfo) == 0) {
            store_describe(certificate, &listing->certificates[listing->count++]);
        }
    }
    CertCloseStore(store, 0);
    qsort(listing->certificates, listing->count, sizeof *listing->certificates, by_expiry);
    return 0;
}

static PCCERT_CONTEXT find_in(HCERTSTORE store, const wchar_t *thumbprint) {
    PCCERT_CONTEXT certificate = NULL;
    while ((certificate = CertEnumCertificatesInStore(store, certificate)) != NULL) {
        wchar_t printed[THUMBPRINT_ROOM];
        if (thumbprint_of(certificate, printed) && _wcsicmp(printed, thumbprint) == 0) {
            break;
        }
    }
    return certificate;
}

PCCERT_CONTEXT store_find(const wchar_t *thumbprint) {
    HCERTSTORE store = open_store(L"MY");
    if (store == NULL) {
        return NULL;
    }
    PCCERT_CONTEXT certificate = find_in(store, thumbprint);
    CertCloseStore(store, 0);
    return certificate;
}

static DWORD add_authorities(const struct bag *authorities) {
    /* Roots too go to the intermediate ones: a browser's picker needs the chain, and nobody's trust is widened by it. */
    HCERTSTORE store = open_store(L"CA");
    if (store == NULL) {
        return GetLastError();
    }
    DWORD error = 0;
    for (size_t index = 0; index < authorities->count && error == 0; index++) {
        struct slice der = authorities->certificates[index];
        if (!CertAddEncodedCertificateToStore(store, X509_ASN_ENCODING, der.at, (DWORD)der.length,
                                              CERT_STORE_ADD_USE_EXISTING, NULL)) {
            error = GetLastError();
        }
    }
    CertCloseStore(store, 0);
    return error;
}

DWORD store_install(PCCERT_CONTEXT certificate, struct key *key, const struct bag *authorities) {
    DWORD error = key->maker->bind(key, certificate);
    if (error == 0) {
        error = add_authorities(authorities);
    }
    if (error != 0) {
        return error;
    }
    HCERTSTORE store = open_store(L"MY");
    if (store == NULL) {
        return GetLastError();
    }
    if (!CertAddCertificateContextToStore(store, certificate, CERT_STORE_ADD_REPLACE_EXISTING, NULL)) {
        error = GetLastError();
    }
    if (!CertCloseStore(store, 0) && error == 0) {
        error = GetLastError();
    }
    return error;
}

static DWORD destroy_key(PCCERT_CONTEXT certificate) {
    DWORD length = 0;
    if (!CertGetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, NULL, &length)) {
        return 0;
    }
    CRYPT_KEY_PROV_INFO *where = malloc(length);
    if (where == NULL) {
        return ERROR_NOT_ENOUGH_MEMORY;
    }
    DWORD error = (DWORD)NTE_NOT_FOUND;
    if (CertGetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, where, &length)) {
        const struct key_maker *maker = key_maker_of(where->pwszProvName);
        error = maker != NULL ? maker->destroy(maker, where->pwszContainerName) : (DWORD)NTE_NOT_FOUND;
    }
    free(where);
    return error;
}

DWORD store_remove(const wchar_t *thumbprint) {
    HCERTSTORE store = open_store(L"MY");
    if (store == NULL) {
        return GetLastError();
    }
    DWORD error = 0;
    PCCERT_CONTEXT certificate = find_in(store, thumbprint);
    if (certificate != NULL) {
        DWORD key_error = destroy_key(certificate);
        if (key_error != 0) {
            log_line("the key of %ls stays: 0x%08lx", thumbprint, key_error);
        }
        /* Frees the context whatever becomes of it. */
        error = CertDeleteCertificateFromStore(certificate) ? 0 : GetLastError();
        /* Windows has written it by now; Wine waits for this. */
        CertControlStore(store, 0, CERT_STORE_CTRL_COMMIT, NULL);
    }
    if (!CertCloseStore(store, 0) && error == 0) {
        error = GetLastError();
    }
    return error;
}
