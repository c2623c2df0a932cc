#include "net.h"

#include <winhttp.h>

#ifndef WINHTTP_ACCESS_TYPE_AUTOMATIC_PROXY
#define WINHTTP_ACCESS_TYPE_AUTOMATIC_PROXY 4
#endif

/* The user's own, found automatically where they say so; else the machine's. */
const DWORD net_proxy_settings[] = {WINHTTP_ACCESS_TYPE_AUTOMATIC_PROXY, WINHTTP_ACCESS_TYPE_DEFAULT_PROXY};
const size_t net_proxy_settings_count = sizeof net_proxy_settings / sizeof *net_proxy_settings;
