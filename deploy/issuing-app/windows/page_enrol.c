/* User ID, password and enrolment code. */
#include "est.h"
#include "texts.h"
#include "wizard.h"

#include <commctrl.h>
#include <string.h>

#define TYPED_ROOM 256

/* UTF-8 of a field; what was read on the way is overwritten. */
static bool read_field(HWND page, int control, char out[SECRETS_TEXT_ROOM]) {
    wchar_t typed[TYPED_ROOM];
    GetDlgItemTextW(page, control, typed, TYPED_ROOM);
    bool done = WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, typed, -1, out, SECRETS_TEXT_ROOM, NULL, NULL) > 1;
    SecureZeroMemory(typed, sizeof typed);
    return done;
}

static void trim(char *typed) {
    size_t from = strspn(typed, " \t");
    memmove(typed, typed + from, strlen(typed + from) + 1);
    size_t length = strlen(typed);
    while (length > 0 && (typed[length - 1] == ' ' || typed[length - 1] == '\t')) {
        typed[--length] = '\0';
    }
}

static bool complain(struct wizard *wizard, HWND page, unsigned identifier, int control) {
    HWND field = GetDlgItem(page, control);
    wizard_say(wizard, identifier);
    SetFocus(field);
    SendMessageW(field, EM_SETSEL, 0, -1);
    return false;
}

static bool read_user_id(struct wizard *wizard, HWND page) {
    struct secrets *secrets = wizard->errand.secrets;
    if (!read_field(page, CONTROL_USER_ID, secrets->user_id)) {
        return complain(wizard, page, TEXT_TYPE_USER_ID, CONTROL_USER_ID);
    }
    trim(secrets->user_id);
    if (secrets->user_id[0] == '\0') {
        return complain(wizard, page, TEXT_TYPE_USER_ID, CONTROL_USER_ID);
    }
    if (strchr(secrets->user_id, ':') != NULL || strlen(secrets->user_id) > USER_ID_MOST_OCTETS) {
        return complain(wizard, page, TEXT_WRONG_USER_ID, CONTROL_USER_ID);
    }
    return true;
}

static bool read_code(struct wizard *wizard, HWND page) {
    static const unsigned complaints[] = {
        [CODE_TOO_SHORT] = TEXT_CODE_TOO_SHORT,
        [CODE_TOO_LONG] = TEXT_CODE_TOO_LONG,
        [CODE_FOREIGN_SYMBOL] = TEXT_CODE_FOREIGN,
        [CODE_MISTYPED] = TEXT_CODE_MISTYPED,
    };
    char typed[SECRETS_TEXT_ROOM];
    if (!read_field(page, CONTROL_CODE, typed)) {
        SecureZeroMemory(typed, sizeof typed);
        return complain(wizard, page, TEXT_TYPE_CODE, CONTROL_CODE);
    }
    enum code_verdict verdict = code_read(typed, wizard->errand.secrets->code);
    SecureZeroMemory(typed, sizeof typed);
    return verdict == CODE_GOOD || complain(wizard, page, complaints[verdict], CONTROL_CODE);
}

static bool read_fields(struct wizard *wizard, HWND page) {
    if (!read_user_id(wizard, page)) {
        return false;
    }
    if (!read_field(page, CONTROL_PASSWORD, wizard->errand.secrets->password)) {
        return complain(wizard, page, TEXT_TYPE_PASSWORD, CONTROL_PASSWORD);
    }
    return read_code(wizard, page);
}

/* The fields hold nothing secret while the errand runs: whoever comes back types the password again. */
static void empty_fields(HWND page) {
    wizard_wipe_field(page, CONTROL_PASSWORD);
    wizard_wipe_field(page, CONTROL_CODE);
}

INT_PTR CALLBACK page_enrol(HWND page, UINT message, WPARAM wide, LPARAM parameter) {
    struct wizard *wizard = wizard_of(page, message, parameter);
    (void)wide;
    if (message == WM_INITDIALOG) {
        SendDlgItemMessageW(page, CONTROL_USER_ID, EM_SETLIMITTEXT, TYPED_ROOM - 1, 0);
        SendDlgItemMessageW(page, CONTROL_PASSWORD, EM_SETLIMITTEXT, TYPED_ROOM - 1, 0);
        SendDlgItemMessageW(page, CONTROL_CODE, EM_SETLIMITTEXT, TYPED_ROOM - 1, 0);
        return TRUE;
    }
    if (message != WM_NOTIFY) {
        return FALSE;
    }
    switch (((NMHDR *)parameter)->code) {
    case PSN_SETACTIVE:
        SetDlgItemTextA(page, CONTROL_CODE, wizard->errand.secrets->code);
        wizard_buttons(wizard, PSWIZB_BACK | PSWIZB_NEXT, TEXT_INSTALL, TEXT_CANCEL);
        return wizard_answer(page, 0);
    case PSN_RESET:
        empty_fields(page);
        return FALSE;
    case PSN_WIZBACK:
        empty_fields(page);
        secrets_wipe(wizard->errand.secrets);
        wizard_go(wizard, PAGE_WELCOME);
        return wizard_answer(page, -1);
    case PSN_WIZNEXT:
        if (read_fields(wizard, page)) {
            empty_fields(page);
            wizard_start(wizard, ERRAND_ENROL, PAGE_ENROL);
        }
        return wizard_answer(page, -1);
    default:
        return FALSE;
    }
}
