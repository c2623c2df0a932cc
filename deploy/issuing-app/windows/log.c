#include "log.h"

#include <windows.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_ROOM 1024

static HANDLE file = INVALID_HANDLE_VALUE;
static bool whole = true;

bool log_open(const wchar_t *path) {
    file = CreateFileW(path, FILE_APPEND_DATA, FILE_SHARE_READ, NULL, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    return file != INVALID_HANDLE_VALUE;
}

void log_line(const char *format, ...) {
    char line[LINE_ROOM];
    SYSTEMTIME now;
    va_list arguments;
    if (file == INVALID_HANDLE_VALUE) {
        return;
    }
    GetSystemTime(&now);
    int used = snprintf(line, sizeof line, "%04u-%02u-%02uT%02u:%02u:%02uZ ", now.wYear, now.wMonth, now.wDay, now.wHour,
                        now.wMinute, now.wSecond);
    va_start(arguments, format);
    vsnprintf(line + used, sizeof line - (size_t)used - 2, format, arguments);
    va_end(arguments);
    /* What a server said may stand in it; a line stays one line. */
    for (char *at = line; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = '?';
        }
    }
    strcat(line, "\r\n");
    DWORD written = 0;
    DWORD length = (DWORD)strlen(line);
    if (!WriteFile(file, line, length, &written, NULL) || written != length) {
        whole = false;
    }
}

bool log_close(void) {
    if (file != INVALID_HANDLE_VALUE) {
        whole &= FlushFileBuffers(file) != 0;
        CloseHandle(file);
        file = INVALID_HANDLE_VALUE;
    }
    return whole;
}
