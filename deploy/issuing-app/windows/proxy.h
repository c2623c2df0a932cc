/* Signing in to the company's own proxy: with the Windows account first, then as the person says. */
#ifndef ISSUING_APP_PROXY_H
#define ISSUING_APP_PROXY_H

#include <windows.h>

#include <stdbool.h>
#include <winhttp.h>

/* Readies a request that was answered 407 to be sent again. False when there is nothing more to try. */
bool proxy_sign_in(HINTERNET request, HWND window, bool quiet, int round);

#endif
