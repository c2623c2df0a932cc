#include "proxy.h"

#include "octets.h"
#include "texts.h"

#include <wincred.h>

#ifndef WINHTTP_AUTOLOGON_SECURITY_LEVEL_PROXY_ONLY
#define WINHTTP_AUTOLOGON_SECURITY_LEVEL_PROXY_ONLY 3
#endif

static const DWORD strongest_first[] = {WINHTTP_AUTH_SCHEME_NEGOTIATE, WINHTTP_AUTH_SCHEME_NTLM,
                                        WINHTTP_AUTH_SCHEME_DIGEST, WINHTTP_AUTH_SCHEME_BASIC};

static DWORD strongest(DWORD offered) {
    for (size_t index = 0; index < sizeof strongest_first / sizeof *strongest_first; index++) {
        if ((offered & strongest_first[index]) != 0) {
            return strongest_first[index];
        }
    }
    return 0;
}

/* The account that Windows is signed in with; only proxies that can take it without seeing its password. */
static bool own_account(HINTERNET request, DWORD scheme) {
    if (scheme != WINHTTP_AUTH_SCHEME_NEGOTIATE && scheme != WINHTTP_AUTH_SCHEME_NTLM) {
        return false;
    }
    DWORD proxy_only = WINHTTP_AUTOLOGON_SECURITY_LEVEL_PROXY_ONLY;
    DWORD any = WINHTTP_AUTOLOGON_SECURITY_LEVEL_LOW;
    if (!WinHttpSetOption(request, WINHTTP_OPTION_AUTOLOGON_POLICY, &proxy_only, sizeof proxy_only)) {
        WinHttpSetOption(request, WINHTTP_OPTION_AUTOLOGON_POLICY, &any, sizeof any);
    }
    return WinHttpSetCredentials(request, WINHTTP_AUTH_TARGET_PROXY, scheme, NULL, NULL, NULL) != 0;
}

static bool asked_account(HINTERNET request, HWND window, DWORD scheme) {
    wchar_t user[CREDUI_MAX_USERNAME_LENGTH + 1] = L"";
    wchar_t password[CREDUI_MAX_PASSWORD_LENGTH + 1] = L"";
    BOOL save = FALSE;
    CREDUI_INFOW window_text = {
        .cbSize = sizeof window_text,
        .hwndParent = window,
        .pszMessageText = text(TEXT_PROXY_MESSAGE),
        .pszCaptionText = text(TEXT_PROXY_CAPTION),
    };
    DWORD flags = CREDUI_FLAGS_GENERIC_CREDENTIALS | CREDUI_FLAGS_ALWAYS_SHOW_UI | CREDUI_FLAGS_DO_NOT_PERSIST;
    DWORD answer = CredUIPromptForCredentialsW(&window_text, L"proxy", NULL, 0, user, sizeof user / sizeof *user, password,
                                               sizeof password / sizeof *password, &save, flags);
    bool done = answer == NO_ERROR &&
                WinHttpSetCredentials(request, WINHTTP_AUTH_TARGET_PROXY, scheme, user, password, NULL) != 0;
    wipe(password, sizeof password);
    wipe(user, sizeof user);
    return done;
}

bool proxy_sign_in(HINTERNET request, HWND window, bool quiet, int round) {
    DWORD offered = 0;
    DWORD first = 0;
    DWORD target = 0;
    if (!WinHttpQueryAuthSchemes(request, &offered, &first, &target) || target != WINHTTP_AUTH_TARGET_PROXY) {
        return false;
    }
    DWORD scheme = strongest(offered);
    if (scheme == 0) {
        return false;
    }
    if (round == 0 && own_account(request, scheme)) {
        return true;
    }
    return !quiet && asked_account(request, window, scheme);
}
