/* Outcomes in words. */
#ifndef ISSUING_APP_EXPLAIN_H
#define ISSUING_APP_EXPLAIN_H

#include "errand.h"

#include <wchar.h>

/* What happened, an empty line, what to do. */
void explain(const struct outcome *outcome, enum errand_kind kind, wchar_t *out, size_t room);
/* What the help desk asks for: code, server, numbers. */
void explain_details(const struct outcome *outcome, const struct address *server, wchar_t *out, size_t room);

#endif
