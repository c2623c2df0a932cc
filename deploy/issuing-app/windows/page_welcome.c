/* The first page: what is to be done, and with which server. */
#include "pending.h"
#include "texts.h"
#include "wizard.h"

#include <stdlib.h>

#define TYPED_ROOM 512

static bool any_superseded(struct wizard *wizard) {
    wchar_t thumbprints[1][THUMBPRINT_ROOM];
    return wizard->errand.server.port != 0 && superseded_list(&wizard->errand.server, thumbprints, 1) > 0;
}

static void show_server(struct wizard *wizard, HWND page) {
    HWND field = GetDlgItem(page, CONTROL_SERVER);
    if (wizard->pinned) {
        char printed[ADDRESS_PRINTED_ROOM];
        address_print(&wizard->errand.server, printed);
        SetWindowTextA(field, printed);
        SendMessageW(field, EM_SETREADONLY, TRUE, 0);
    }
}

static bool read_server(struct wizard *wizard, HWND page) {
    wchar_t wide[TYPED_ROOM];
    char typed[TYPED_ROOM * 3];
    if (wizard->pinned) {
        return true;
    }
    if (GetDlgItemTextW(page, CONTROL_SERVER, wide, TYPED_ROOM) == 0) {
        wizard_say(wizard, TEXT_TYPE_SERVER);
        return false;
    }
    WideCharToMultiByte(CP_UTF8, 0, wide, -1, typed, sizeof typed, NULL, NULL);
    if (!address_read(typed, &wizard->errand.server)) {
        wizard_say(wizard, TEXT_WRONG_SERVER);
        return false;
    }
    if (!options_server_allowed(&wizard->errand.server)) {
        wizard_say(wizard, TEXT_OTHER_DOMAIN);
        return false;
    }
    return true;
}

static void next(struct wizard *wizard, HWND page) {
    if (!read_server(wizard, page)) {
        SetFocus(GetDlgItem(page, CONTROL_SERVER));
    } else if (IsDlgButtonChecked(page, CONTROL_RENEW)) {
        wizard_start(wizard, ERRAND_LIST, PAGE_WELCOME);
    } else if (IsDlgButtonChecked(page, CONTROL_REMOVE)) {
        wizard_start(wizard, ERRAND_SUPERSEDED, PAGE_WELCOME);
    } else {
        wizard_go(wizard, PAGE_ENROL);
    }
}

INT_PTR CALLBACK page_welcome(HWND page, UINT message, WPARAM wide, LPARAM parameter) {
    struct wizard *wizard = wizard_of(page, message, parameter);
    (void)wide;
    if (message == WM_INITDIALOG) {
        wizard_title(wizard, page);
        show_server(wizard, page);
        CheckRadioButton(page, CONTROL_GET, CONTROL_REMOVE, CONTROL_GET);
        return TRUE;
    }
    if (message != WM_NOTIFY) {
        return FALSE;
    }
    switch (((NMHDR *)parameter)->code) {
    case PSN_SETACTIVE:
        /* Offered only where there is something to remove. */
        ShowWindow(GetDlgItem(page, CONTROL_REMOVE), any_superseded(wizard) ? SW_SHOW : SW_HIDE);
        wizard_buttons(wizard, PSWIZB_NEXT, TEXT_NEXT, TEXT_CANCEL);
        return wizard_answer(page, 0);
    case PSN_WIZNEXT:
        next(wizard, page);
        return wizard_answer(page, -1);
    default:
        return FALSE;
    }
}
