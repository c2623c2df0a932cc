/* Looks at this user's stores and at the windows on the screen for the tests: one command a line on standard input, one line
   of JSON for each on standard output. */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <fcntl.h>
#include <io.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wincrypt.h>

#define TEXT_ROOM 4096
/* As windows/identifiers.h, the resources and wizard_title have it. */
#define TITLE 1001
#define DIALOG_POINTS 9
#define TITLE_POINTS 13

static void print_text(const wchar_t *text) {
    char narrow[TEXT_ROOM * 3];
    WideCharToMultiByte(CP_UTF8, 0, text, -1, narrow, sizeof narrow, NULL, NULL);
    putchar('"');
    for (const char *at = narrow; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            printf("\\%c", *at);
        } else if ((unsigned char)*at < 0x20) {
            printf("\\u%04x", *at);
        } else {
            putchar(*at);
        }
    }
    putchar('"');
}

static void print_hex(const BYTE *data, DWORD length) {
    putchar('"');
    for (DWORD index = 0; index < length; index++) {
        printf("%02x", data[index]);
    }
    putchar('"');
}

static HCERTSTORE open_store(const char *name) {
    wchar_t wide[64];
    MultiByteToWideChar(CP_UTF8, 0, name, -1, wide, 64);
    return CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, CERT_SYSTEM_STORE_CURRENT_USER, wide);
}

/* --- stores --------------------------------------------------------------------------------------------------- */

/* What has the same issuer and serial number gives way to the new certificate, and leaves it its key. */
static void inherit(HCERTSTORE store, PCCERT_CONTEXT certificate) {
    BYTE where[4096];
    DWORD length = sizeof where;
    PCCERT_CONTEXT elder = CertFindCertificateInStore(store, X509_ASN_ENCODING, 0, CERT_FIND_SUBJECT_CERT,
                                                      certificate->pCertInfo, NULL);
    if (elder == NULL) {
        return;
    }
    if (CertGetCertificateContextProperty(elder, CERT_KEY_PROV_INFO_PROP_ID, where, &length)) {
        CertSetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, 0, where);
    }
    CertDeleteCertificateFromStore(elder);
    CertControlStore(store, 0, CERT_STORE_CTRL_COMMIT, NULL);
}

static void add(const char *store_name, const char *path) {
    BYTE der[65536];
    FILE *file = fopen(path, "rb");
    size_t length = file != NULL ? fread(der, 1, sizeof der, file) : 0;
    HCERTSTORE store = open_store(store_name);
    PCCERT_CONTEXT certificate = CertCreateCertificateContext(X509_ASN_ENCODING, der, (DWORD)length);
    bool done = store != NULL && certificate != NULL;
    if (done) {
        inherit(store, certificate);
        done = CertAddCertificateContextToStore(store, certificate, CERT_STORE_ADD_ALWAYS, NULL) &&
               CertControlStore(store, 0, CERT_STORE_CTRL_COMMIT, NULL);
    }
    if (file != NULL) {
        fclose(file);
    }
    if (certificate != NULL) {
        CertFreeCertificateContext(certificate);
    }
    if (store != NULL) {
        CertCloseStore(store, 0);
    }
    puts(done ? "true" : "false");
}

/* Does the key that the certificate names sign? */
static bool signs(PCCERT_CONTEXT certificate) {
    HCRYPTPROV_OR_NCRYPT_KEY_HANDLE provider = 0;
    DWORD kind = 0;
    BOOL release = FALSE;
    HCRYPTHASH hash = 0;
    BYTE signature[512];
    DWORD length = sizeof signature;
    if (!CryptAcquireCertificatePrivateKey(certificate, CRYPT_ACQUIRE_SILENT_FLAG, NULL, &provider, &kind, &release)) {
        return false;
    }
    bool done = CryptCreateHash(provider, CALG_SHA_256, 0, 0, &hash) && CryptHashData(hash, (const BYTE *)"x", 1, 0) &&
                CryptSignHashW(hash, kind, NULL, 0, signature, &length);
    HCRYPTKEY public_key = 0;
    done = done &&
           CryptImportPublicKeyInfo(provider, X509_ASN_ENCODING, &certificate->pCertInfo->SubjectPublicKeyInfo,
                                    &public_key) &&
           CryptVerifySignatureW(hash, signature, length, public_key, NULL, 0);
    if (release) {
        CryptReleaseContext(provider, 0);
    }
    return done;
}

static void list(const char *store_name) {
    HCERTSTORE store = open_store(store_name);
    PCCERT_CONTEXT certificate = NULL;
    const char *between = "";
    putchar('[');
    while (store != NULL && (certificate = CertEnumCertificatesInStore(store, certificate)) != NULL) {
        wchar_t subject[TEXT_ROOM];
        BYTE thumbprint[20];
        DWORD length = sizeof thumbprint;
        DWORD named = 0;
        CertGetNameStringW(certificate, CERT_NAME_SIMPLE_DISPLAY_TYPE, 0, NULL, subject, TEXT_ROOM);
        CertGetCertificateContextProperty(certificate, CERT_SHA1_HASH_PROP_ID, thumbprint, &length);
        bool key = CertGetCertificateContextProperty(certificate, CERT_KEY_PROV_INFO_PROP_ID, NULL, &named) && named > 0;
        printf("%s{\"thumbprint\": ", between);
        print_hex(thumbprint, length);
        printf(", \"subject\": ");
        print_text(subject);
        printf(", \"der\": ");
        print_hex(certificate->pbCertEncoded, certificate->cbCertEncoded);
        printf(", \"key\": %s, \"signs\": %s}", key ? "true" : "false", key && signs(certificate) ? "true" : "false");
        between = ", ";
    }
    puts("]");
    if (store != NULL) {
        CertCloseStore(store, 0);
    }
}

/* --- the registry --------------------------------------------------------------------------------------------- */

static void subkeys(const char *path) {
    HKEY key;
    const char *between = "";
    putchar('[');
    if (RegOpenKeyExA(HKEY_CURRENT_USER, path, 0, KEY_READ, &key) == 0) {
        wchar_t name[256];
        DWORD length = 256;
        for (DWORD index = 0; RegEnumKeyExW(key, index, name, &length, NULL, NULL, NULL, NULL) == 0; index++) {
            printf("%s", between);
            print_text(name);
            between = ", ";
            length = 256;
        }
        RegCloseKey(key);
    }
    puts("]");
}

static void forget(const char *path) {
    LSTATUS status = RegDeleteTreeA(HKEY_CURRENT_USER, path);
    puts(status == 0 || status == ERROR_FILE_NOT_FOUND ? "true" : "false");
}

/* --- windows -------------------------------------------------------------------------------------------------- */

static const char *comma;

/* How much room the text wants, when wrapped to the control's width. Fonts do not cross processes: it is measured with the
   one that the prefix has for everything, at the dialogs' size, which is at least that of the frame. */
static void print_wanted(int control, const wchar_t *text, const RECT *area) {
    int points = control == TITLE ? TITLE_POINTS : DIALOG_POINTS;
    HDC context = GetDC(NULL);
    HFONT font = CreateFontW(-MulDiv(points, GetDeviceCaps(context, LOGPIXELSY), 72), 0, 0, 0,
                             control == TITLE ? FW_BOLD : FW_NORMAL, 0, 0, 0, SHIFTJIS_CHARSET, 0, 0, 0, 0, L"IPAPGothic");
    HGDIOBJ before = SelectObject(context, font);
    RECT wanted = {0, 0, area->right - area->left, 0};
    DrawTextW(context, text, -1, &wanted, DT_CALCRECT | DT_WORDBREAK);
    SelectObject(context, before);
    DeleteObject(font);
    ReleaseDC(NULL, context);
    printf(", \"wants\": [%ld, %ld]", wanted.right, wanted.bottom);
}

static BOOL CALLBACK print_window(HWND window, LPARAM depth) {
    wchar_t text[TEXT_ROOM] = L"";
    wchar_t kind[128] = L"";
    RECT area, parent;
    if (!IsWindowVisible(window)) {
        return TRUE;
    }
    GetClassNameW(window, kind, 128);
    if (depth == 0 && wcscmp(kind, L"#32770") != 0) {
        return TRUE;
    }
    SendMessageTimeoutW(window, WM_GETTEXT, TEXT_ROOM, (LPARAM)text, SMTO_ABORTIFHUNG, 2000, NULL);
    GetWindowRect(window, &area);
    HWND above = GetParent(window);
    printf("%s{\"id\": %ld, \"class\": ", comma, depth == 0 ? 0L : (long)GetDlgCtrlID(window));
    print_text(kind);
    printf(", \"text\": ");
    print_text(text);
    printf(", \"area\": [%ld, %ld, %ld, %ld]", area.left, area.top, area.right, area.bottom);
    bool on_page = above != NULL && (GetWindowLongW(above, GWL_STYLE) & WS_CHILD) != 0;
    if (on_page && GetWindowRect(above, &parent)) {
        printf(", \"page\": [%ld, %ld, %ld, %ld]", parent.left, parent.top, parent.right, parent.bottom);
    }
    print_wanted(depth == 0 ? 0 : GetDlgCtrlID(window), text, &area);
    printf(", \"enabled\": %s, \"handle\": %lu, \"style\": %ld}", IsWindowEnabled(window) ? "true" : "false",
           (unsigned long)(ULONG_PTR)window, GetWindowLongW(window, GWL_STYLE));
    comma = ", ";
    if (depth == 0) {
        EnumChildWindows(window, print_window, 1);
    }
    return TRUE;
}

static void windows(void) {
    /* Whoever waits for something to appear asks again and again: leave the processor to it. */
    Sleep(50);
    comma = "";
    putchar('[');
    EnumWindows(print_window, 0);
    puts("]");
}

/* --- the loop ------------------------------------------------------------------------------------------------- */

int main(void) {
    char line[2048];
    _setmode(_fileno(stdout), _O_BINARY);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        char *first = strchr(line, ' ');
        char *second = NULL;
        if (first != NULL) {
            *first++ = '\0';
            second = strchr(first, ' ');
        }
        if (strcmp(line, "windows") == 0) {
            windows();
        } else if (strcmp(line, "list") == 0 && first != NULL) {
            list(first);
        } else if (strcmp(line, "subkeys") == 0 && first != NULL) {
            subkeys(first);
        } else if (strcmp(line, "forget") == 0 && first != NULL) {
            forget(first);
        } else if (strcmp(line, "add") == 0 && second != NULL) {
            *second++ = '\0';
            add(first, second);
        } else {
            puts("null");
        }
        fflush(stdout);
    }
    return 0;
}
