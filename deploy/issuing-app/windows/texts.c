#include "texts.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 16

static LANGID chosen = MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US);
static wchar_t *kept[TEXT_END];

void texts_choose(enum language language) {
    bool japanese = language == LANGUAGE_JAPANESE ||
                    (language == LANGUAGE_OF_WINDOWS && PRIMARYLANGID(GetUserDefaultUILanguage()) == LANG_JAPANESE);
    chosen = japanese ? MAKELANGID(LANG_JAPANESE, SUBLANG_JAPANESE_JAPAN) : MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US);
}

bool texts_japanese(void) {
    return PRIMARYLANGID(chosen) == LANG_JAPANESE;
}

static const void *resource(const wchar_t *type, unsigned identifier) {
    HRSRC found = FindResourceExW(NULL, type, MAKEINTRESOURCEW(identifier), chosen);
    HGLOBAL loaded = found != NULL ? LoadResource(NULL, found) : NULL;
    return loaded != NULL ? LockResource(loaded) : NULL;
}

/* String tables hold sixteen counted strings each. */
static wchar_t *load(unsigned identifier) {
    const WORD *at = resource(RT_STRING, identifier / BLOCK + 1);
    if (at == NULL) {
        return NULL;
    }
    for (unsigned index = 0; index < identifier % BLOCK; index++) {
        at += 1 + *at;
    }
    wchar_t *copy = calloc((size_t)*at + 1, sizeof *copy);
    if (copy != NULL) {
        memcpy(copy, at + 1, *at * sizeof *copy);
    }
    return copy;
}

const wchar_t *text(unsigned identifier) {
    if (identifier >= TEXT_END) {
        return L"";
    }
    if (kept[identifier] == NULL) {
        kept[identifier] = load(identifier);
    }
    return kept[identifier] != NULL ? kept[identifier] : L"";
}

const DLGTEMPLATE *text_dialog(unsigned identifier) {
    return resource(RT_DIALOG, identifier);
}
