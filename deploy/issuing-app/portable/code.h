/* The enrolment code of the procedure letter: 20 symbols in five groups of four, the last one a check symbol. */
#ifndef ISSUING_APP_CODE_H
#define ISSUING_APP_CODE_H

#include "octets.h"

#define CODE_SYMBOLS 20
/* With its four hyphens and the closing zero. */
#define CODE_PRINTED_ROOM 25

enum code_verdict {
    CODE_GOOD,
    CODE_TOO_SHORT,
    CODE_TOO_LONG,
    CODE_FOREIGN_SYMBOL, /* one that no letter prints: 0, 1, I, L, O or anything else */
    CODE_MISTYPED        /* the check symbol does not fit */
};

/* Reads UTF-8 as it was typed: case, spaces, hyphens and full-width forms do not matter. Prints K7QF-2M9T-... */
enum code_verdict code_read(const char *typed, char printed[CODE_PRINTED_ROOM]);

#endif
