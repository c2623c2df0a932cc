/* The one place where keys are made. A key stays where it was made: only its name ever leaves. */
#ifndef ISSUING_APP_KEY_H
#define ISSUING_APP_KEY_H

#include <windows.h>

#include "octets.h"
#include "request.h"

#include <wincrypt.h>

#define KEY_CONTAINER_ROOM 64

struct key_maker;

struct key {
    const struct key_maker *maker;
    ULONG_PTR handle;
    wchar_t container[KEY_CONTAINER_ROOM];
};

/* What can make keys: a provider of Windows. Errors are those of Windows; 0 is success. */
struct key_maker {
    const wchar_t *provider;
    /* As the gateway records it: "tpm" or "software". */
    const char *storage;
    enum signature_kind signature;
    DWORD (*create)(const struct key_maker *maker, const wchar_t *container, struct key *key);
    DWORD (*open)(const struct key_maker *maker, const wchar_t *container, struct key *key);
    /* Appends the SubjectPublicKeyInfo. */
    bool (*public_key)(struct key *key, struct octets *out);
    /* As request_signer wants it, with the key as its holder. */
    bool (*sign)(void *key, struct slice data, struct octets *signature);
    /* Tells a certificate where its key is. */
    DWORD (*bind)(struct key *key, PCCERT_CONTEXT certificate);
    DWORD (*destroy)(const struct key_maker *maker, const wchar_t *container);
    void (*close)(struct key *key);
};

/* In order of preference, closed by NULL. */
extern const struct key_maker *const key_makers[];

/* The first that can make a key does; `error` is that of the last one that could not. */
bool key_create(const wchar_t *container, struct key *key, DWORD *error);
/* NULL when there is none of this name. */
const struct key_maker *key_maker_of(const wchar_t *provider);
bool key_new_container(wchar_t container[KEY_CONTAINER_ROOM]);
void key_close(struct key *key);

#endif
