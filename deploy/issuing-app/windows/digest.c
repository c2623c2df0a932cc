#include "digest.h"
#include "random.h"

#include <windows.h>

#include <bcrypt.h>

bool random_octets(uint8_t *out, size_t length) {
    return BCryptGenRandom(NULL, out, (ULONG)length, BCRYPT_USE_SYSTEM_PREFERRED_RNG) >= 0;
}

bool digest_sha256(struct slice data, uint8_t out[DIGEST_OCTETS]) {
    BCRYPT_ALG_HANDLE algorithm = NULL;
    BCRYPT_HASH_HANDLE hash = NULL;
    bool done = BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_SHA256_ALGORITHM, NULL, 0) >= 0 &&
                BCryptCreateHash(algorithm, &hash, NULL, 0, NULL, 0, 0) >= 0 &&
                BCryptHashData(hash, (PUCHAR)data.at, (ULONG)data.length, 0) >= 0 &&
                BCryptFinishHash(hash, out, DIGEST_OCTETS, 0) >= 0;
    if (hash != NULL) {
        BCryptDestroyHash(hash);
    }
    if (algorithm != NULL) {
        BCryptCloseAlgorithmProvider(algorithm, 0);
    }
    return done;
}
