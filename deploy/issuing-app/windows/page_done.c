/* The last page: what is now on this PC, and the way to the sign-in page. */
#include "texts.h"
#include "wizard.h"

#include <shellapi.h>
#include <stdio.h>

static void show_fact(HWND page, int label, int control, const wchar_t *fact) {
    SetDlgItemTextW(page, control, fact);
    ShowWindow(GetDlgItem(page, label), fact[0] != 0 ? SW_SHOW : SW_HIDE);
    ShowWindow(GetDlgItem(page, control), fact[0] != 0 ? SW_SHOW : SW_HIDE);
}

static void show_all(struct wizard *wizard, HWND page) {
    const struct outcome *outcome = &wizard->outcome;
    bool removed = wizard->errand.kind == ERRAND_REMOVE;
    unsigned title = removed ? TEXT_DONE_TITLE_REMOVED : outcome->renewal ? TEXT_DONE_TITLE_RENEWED : TEXT_DONE_TITLE_ENROLLED;
    unsigned body = removed ? TEXT_DONE_REMOVED : outcome->renewal ? TEXT_DONE_RENEWED : TEXT_DONE_ENROLLED;
    SetDlgItemTextW(page, CONTROL_TITLE, text(title));
    SetDlgItemTextW(page, CONTROL_BODY, text(body));
    show_fact(page, CONTROL_SUBJECT_LABEL, CONTROL_SUBJECT, outcome->certificate.subject);
    show_fact(page, CONTROL_EXPIRY_LABEL, CONTROL_EXPIRY, outcome->certificate.expiry);
    show_fact(page, CONTROL_STORAGE_LABEL, CONTROL_STORAGE,
              removed ? L"" : text(outcome->in_tpm ? TEXT_STORAGE_TPM : TEXT_STORAGE_SOFTWARE));
}

static void open_sign_in(struct wizard *wizard) {
    wchar_t address[ADDRESS_PRINTED_ROOM + 16];
    char printed[ADDRESS_PRINTED_ROOM];
    address_print(&wizard->errand.server, printed);
    swprintf(address, sizeof address / sizeof *address, L"https://%hs/", printed);
    if ((INT_PTR)ShellExecuteW(wizard->sheet, L"open", address, NULL, NULL, SW_SHOWNORMAL) <= 32) {
        wizard_say(wizard, TEXT_NO_BROWSER);
    }
}

INT_PTR CALLBACK page_done(HWND page, UINT message, WPARAM wide, LPARAM parameter) {
    struct wizard *wizard = wizard_of(page, message, parameter);
    switch (message) {
    case WM_INITDIALOG:
        wizard_title(wizard, page);
        return TRUE;
    case WM_COMMAND:
        if (LOWORD(wide) == CONTROL_SIGN_IN && HIWORD(wide) == BN_CLICKED) {
            open_sign_in(wizard);
            return TRUE;
        }
        return FALSE;
    case WM_NOTIFY:
        break;
    default:
        return FALSE;
    }
    switch (((NMHDR *)parameter)->code) {
    case PSN_SETACTIVE:
        show_all(wizard, page);
        wizard_buttons(wizard, PSWIZB_FINISH, TEXT_NEXT, TEXT_CANCEL);
        EnableWindow(GetDlgItem(wizard->sheet, IDCANCEL), FALSE);
        wizard_focus_finish(wizard);
        return wizard_answer(page, 0);
    default:
        return FALSE;
    }
}
