/* Unattended runs: no window, what is secret from a file or standard input, an exit code and a log. */
#ifndef ISSUING_APP_QUIET_H
#define ISSUING_APP_QUIET_H

#include "options.h"
#include "outcome.h"

enum outcome_kind quiet_run(const struct options *options);

#endif
