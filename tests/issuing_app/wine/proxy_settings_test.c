/* Wine asks for a proxy in one place only, which is its $http_proxy. Test only. */
#include "net.h"

#include <winhttp.h>

const DWORD net_proxy_settings[] = {WINHTTP_ACCESS_TYPE_DEFAULT_PROXY};
const size_t net_proxy_settings_count = 1;
