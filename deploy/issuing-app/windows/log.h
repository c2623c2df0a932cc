/* The log of unattended runs, UTF-8, one line a fact. Nothing secret is ever given to it. */
#ifndef ISSUING_APP_LOG_H
#define ISSUING_APP_LOG_H

#include <stdbool.h>
#include <wchar.h>

/* Appends to the file; without a log open, lines go nowhere. */
bool log_open(const wchar_t *path);
void log_line(const char *format, ...) __attribute__((format(gnu_printf, 1, 2)));
/* False when a line could not be written: the disk is full. */
bool log_close(void);

#endif
