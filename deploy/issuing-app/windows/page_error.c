/* What went wrong, in the customer's words, what to do, and the details that the help desk asks for. */
#include "explain.h"
#include "texts.h"
#include "wizard.h"

#define TEXT_ROOM 2048

static bool worth_another_try(enum outcome_kind kind) {
    switch (kind) {
    case OUTCOME_REFUSED:
    case OUTCOME_NOTHING_FOUND:
    case OUTCOME_WRONG_USE:
        return false;
    default:
        return true;
    }
}

static void show(struct wizard *wizard, HWND page) {
    wchar_t body[TEXT_ROOM];
    wchar_t details[TEXT_ROOM];
    explain(&wizard->outcome, wizard->errand.kind, body, TEXT_ROOM);
    explain_details(&wizard->outcome, &wizard->errand.server, details, TEXT_ROOM);
    SetDlgItemTextW(page, CONTROL_BODY, body);
    SetDlgItemTextW(page, CONTROL_DETAILS, details);
    bool again = worth_another_try(wizard->outcome.kind);
    bool stopped = wizard->outcome.kind == OUTCOME_CANCELLED || wizard->outcome.kind == OUTCOME_NOTHING_FOUND;
    HICON sign = LoadIconW(NULL, stopped ? IDI_INFORMATION : IDI_WARNING);
    SendDlgItemMessageW(page, CONTROL_SIGN, STM_SETICON, (WPARAM)sign, 0);
    if (!again) {
        /* Whoever goes back types it again. */
        SecureZeroMemory(wizard->errand.secrets->password, sizeof wizard->errand.secrets->password);
    }
    wizard_buttons(wizard, PSWIZB_BACK | (again ? PSWIZB_NEXT : 0), TEXT_RETRY, TEXT_CLOSE);
}

INT_PTR CALLBACK page_error(HWND page, UINT message, WPARAM wide, LPARAM parameter) {
    struct wizard *wizard = wizard_of(page, message, parameter);
    (void)wide;
    if (message == WM_INITDIALOG) {
        return TRUE;
    }
    if (message == WM_CLOSE) {
        /* What a field of several lines makes of the escape key. */
        PostMessageW(wizard->sheet, PSM_PRESSBUTTON, PSBTN_CANCEL, 0);
        return TRUE;
    }
    if (message != WM_NOTIFY) {
        return FALSE;
    }
    switch (((NMHDR *)parameter)->code) {
    case PSN_SETACTIVE:
        show(wizard, page);
        return wizard_answer(page, 0);
    case PSN_WIZBACK:
        wizard_go(wizard, wizard->came_from);
        return wizard_answer(page, -1);
    case PSN_WIZNEXT:
        wizard_start(wizard, wizard->errand.kind, wizard->came_from);
        return wizard_answer(page, -1);
    default:
        return FALSE;
    }
}
