#include "secrets.h"

#include <windows.h>

struct secrets *secrets_open(void) {
    struct secrets *secrets = VirtualAlloc(NULL, sizeof *secrets, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    if (secrets != NULL) {
        /* A few kilobytes always fit; where Windows says no, the app still works. */
        VirtualLock(secrets, sizeof *secrets);
    }
    return secrets;
}

void secrets_wipe(struct secrets *secrets) {
    SecureZeroMemory(secrets, sizeof *secrets);
}

void secrets_close(struct secrets *secrets) {
    if (secrets != NULL) {
        secrets_wipe(secrets);
        VirtualUnlock(secrets, sizeof *secrets);
        VirtualFree(secrets, 0, MEM_RELEASE);
    }
}
