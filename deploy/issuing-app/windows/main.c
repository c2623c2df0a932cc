/* mtls-gateway's issuing app: a certificate for this user of this PC, its key made here and never leaving. */
#include <windows.h>

#include "options.h"
#include "quiet.h"
#include "wizard.h"

/* Milliseconds to wait for another one that is about to end: unattended runs may follow closely on each other. */
#define WAIT_QUIET 10000
#define WAIT_SHOWN 1000

static bool alone(bool quiet) {
    HANDLE mutex = CreateMutexW(NULL, FALSE, L"Local\\mtls-gateway-issuing-app");
    DWORD got = mutex != NULL ? WaitForSingleObject(mutex, quiet ? WAIT_QUIET : WAIT_SHOWN) : WAIT_FAILED;
    return got == WAIT_OBJECT_0 || got == WAIT_ABANDONED;
}

static void say(UINT kind, unsigned identifier) {
    MessageBoxW(NULL, text(identifier), text(TEXT_APP_NAME), kind);
}

int WINAPI wWinMain(HINSTANCE instance, HINSTANCE previous, PWSTR line, int show) {
    static struct options options;
    (void)instance;
    (void)previous;
    (void)line;
    (void)show;
    /* Libraries come from Windows alone: this program is run from folders that anybody's downloads fall into. */
    SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32);
    HeapSetInformation(NULL, HeapEnableTerminationOnCorruption, NULL, 0);
    bool good = options_read(&options);
    texts_choose(options.language);
    if (!good || options.help) {
        if (!options.quiet) {
            say(good ? MB_ICONINFORMATION : MB_ICONWARNING, TEXT_USAGE);
        }
        return good ? OUTCOME_DONE : OUTCOME_WRONG_USE;
    }
    if (!alone(options.quiet)) {
        if (!options.quiet) {
            say(MB_ICONINFORMATION, TEXT_ALREADY_RUNNING);
        }
        return OUTCOME_ALREADY_RUNNING;
    }
    return options.quiet ? (int)quiet_run(&options) : wizard_run(&options);
}
