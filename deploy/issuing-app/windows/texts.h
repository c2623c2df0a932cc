/* What people read, in the language of their Windows: Japanese, or English for everybody else. */
#ifndef ISSUING_APP_TEXTS_H
#define ISSUING_APP_TEXTS_H

#include <windows.h>

#include "identifiers.h"

#include <stdbool.h>

enum language { LANGUAGE_OF_WINDOWS, LANGUAGE_JAPANESE, LANGUAGE_ENGLISH };

void texts_choose(enum language language);
bool texts_japanese(void);
/* Never NULL; kept for the life of the process. */
const wchar_t *text(unsigned identifier);
/* A dialog's template in that language. */
const DLGTEMPLATE *text_dialog(unsigned identifier);

#endif
