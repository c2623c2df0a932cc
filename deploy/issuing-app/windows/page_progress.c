/* What is under way; runs the errand in a thread and leads on when it ends. */
#include "texts.h"
#include "wizard.h"

#include <commctrl.h>
#include <stdio.h>

#define MESSAGE_STEP (WM_APP + 1)
#define MESSAGE_ENDED (WM_APP + 2)
#define QUESTION_ROOM 2048

static void on_step(void *whom, enum errand_step step) {
    PostMessageW(whom, MESSAGE_STEP, (WPARAM)step, 0);
}

static DWORD WINAPI run(void *parameter) {
    struct wizard *wizard = parameter;
    errand_run(&wizard->errand, &wizard->outcome);
    PostMessageW(wizard->errand.whom, MESSAGE_ENDED, 0, 0);
    return 0;
}

static void start(struct wizard *wizard, HWND page) {
    ResetEvent(wizard->errand.cancel);
    wizard->errand.window = wizard->sheet;
    wizard->errand.on_step = on_step;
    wizard->errand.whom = page;
    SetDlgItemTextW(page, CONTROL_STATUS, text(TEXT_STEP));
    SendDlgItemMessageW(page, CONTROL_BAR, PBM_SETRANGE32, 0, STEPS);
    SendDlgItemMessageW(page, CONTROL_BAR, PBM_SETPOS, 0, 0);
    wizard->thread = CreateThread(NULL, 0, run, wizard, 0, NULL);
    if (wizard->thread == NULL) {
        wizard->outcome.kind = OUTCOME_KEY_FAILED;
        wizard->outcome.error = GetLastError();
        wizard_go(wizard, PAGE_ERROR);
    }
}

static void ask_removal(struct wizard *wizard) {
    wchar_t question[QUESTION_ROOM];
    int used = swprintf(question, QUESTION_ROOM, L"%ls\n", text(TEXT_ASK_REMOVE));
    const struct listing *listing = &wizard->outcome.listing;
    for (size_t index = 0; index < listing->count && used < QUESTION_ROOM - 2 * STORE_TEXT_ROOM; index++) {
        used += swprintf(question + used, QUESTION_ROOM - (size_t)used, L"\n%ls (%ls)",
                         listing->certificates[index].subject, listing->certificates[index].expiry);
    }
    if (MessageBoxW(wizard->sheet, question, text(TEXT_APP_NAME), MB_ICONQUESTION | MB_YESNO) == IDYES) {
        wizard_start(wizard, ERRAND_REMOVE, PAGE_WELCOME);
        /* Already on this page, so nothing activates it anew. */
        PostMessageW(wizard->errand.whom, MESSAGE_STEP, STEPS, 0);
    } else {
        wizard_go(wizard, PAGE_WELCOME);
    }
}

static void ended(struct wizard *wizard) {
    WaitForSingleObject(wizard->thread, INFINITE);
    CloseHandle(wizard->thread);
    wizard->thread = NULL;
    if (wizard->outcome.kind != OUTCOME_DONE) {
        wizard_go(wizard, PAGE_ERROR);
        return;
    }
    switch (wizard->errand.kind) {
    case ERRAND_LIST:
        wizard->listing = wizard->outcome.listing;
        wizard_go(wizard, PAGE_RENEW);
        break;
    case ERRAND_SUPERSEDED:
        ask_removal(wizard);
        break;
    default:
        secrets_wipe(wizard->errand.secrets);
        wizard_go(wizard, PAGE_DONE);
        break;
    }
}

static void show_step(HWND page, unsigned step) {
    SetDlgItemTextW(page, CONTROL_STATUS, text(TEXT_STEP + step));
    SendDlgItemMessageW(page, CONTROL_BAR, PBM_SETPOS, step + 1, 0);
}

/* While the errand runs, cancelling ends it first; where it stood is then told on the error page. */
static bool closes(struct wizard *wizard, HWND page) {
    if (wizard->thread == NULL) {
        return true;
    }
    if (MessageBoxW(wizard->sheet, text(TEXT_ASK_CANCEL), text(TEXT_APP_NAME), MB_ICONQUESTION | MB_YESNO) == IDYES) {
        SetEvent(wizard->errand.cancel);
        SetDlgItemTextW(page, CONTROL_STATUS, text(TEXT_CANCELLING));
    }
    return false;
}

INT_PTR CALLBACK page_progress(HWND page, UINT message, WPARAM wide, LPARAM parameter) {
    struct wizard *wizard = wizard_of(page, message, parameter);
    switch (message) {
    case WM_INITDIALOG:
        return TRUE;
    case MESSAGE_STEP:
        if (wide == STEPS) {
            start(wizard, page);
        } else {
            show_step(page, (unsigned)wide);
        }
        return TRUE;
    case MESSAGE_ENDED:
        ended(wizard);
        return TRUE;
    case WM_NOTIFY:
        break;
    default:
        return FALSE;
    }
    switch (((NMHDR *)parameter)->code) {
    case PSN_SETACTIVE:
        wizard_buttons(wizard, 0, TEXT_NEXT, TEXT_CANCEL);
        start(wizard, page);
        return wizard_answer(page, 0);
    case PSN_WIZNEXT:
    case PSN_WIZBACK:
        return wizard_answer(page, -1);
    case PSN_QUERYCANCEL:
        return wizard_answer(page, !closes(wizard, page));
    default:
        return FALSE;
    }
}
