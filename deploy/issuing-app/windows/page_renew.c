/* Which certificate is to be renewed, and the password. */
#include "texts.h"
#include "wizard.h"

#include <commctrl.h>
#include <string.h>

#define TYPED_ROOM 256

static void add_column(HWND list, int index, int percent, unsigned identifier) {
    RECT area;
    GetClientRect(list, &area);
    LVCOLUMNW column = {
        .mask = LVCF_TEXT | LVCF_WIDTH,
        .cx = (area.right - GetSystemMetrics(SM_CXVSCROLL)) * percent / 100,
        .pszText = (wchar_t *)text(identifier),
    };
    SendMessageW(list, LVM_INSERTCOLUMNW, (WPARAM)index, (LPARAM)&column);
}

static void fill(const struct wizard *wizard, HWND list) {
    SendMessageW(list, LVM_DELETEALLITEMS, 0, 0);
    for (size_t index = 0; index < wizard->listing.count; index++) {
        const struct listed *listed = &wizard->listing.certificates[index];
        LVITEMW item = {.mask = LVIF_TEXT, .iItem = (int)index, .pszText = (wchar_t *)listed->subject};
        SendMessageW(list, LVM_INSERTITEMW, 0, (LPARAM)&item);
        item.iSubItem = 1;
        item.pszText = (wchar_t *)listed->expiry;
        SendMessageW(list, LVM_SETITEMTEXTW, (WPARAM)index, (LPARAM)&item);
    }
    LVITEMW first = {.stateMask = LVIS_SELECTED | LVIS_FOCUSED, .state = LVIS_SELECTED | LVIS_FOCUSED};
    SendMessageW(list, LVM_SETITEMSTATE, 0, (LPARAM)&first);
}

static bool read_password(struct wizard *wizard, HWND page) {
    wchar_t typed[TYPED_ROOM];
    char *password = wizard->errand.secrets->password;
    GetDlgItemTextW(page, CONTROL_PASSWORD, typed, TYPED_ROOM);
    int length = WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, typed, -1, password, SECRETS_TEXT_ROOM, NULL, NULL);
    SecureZeroMemory(typed, sizeof typed);
    return length > 1;
}

static void next(struct wizard *wizard, HWND page) {
    LRESULT chosen = SendDlgItemMessageW(page, CONTROL_LIST, LVM_GETNEXTITEM, (WPARAM)-1, LVNI_SELECTED);
    if (chosen < 0 || (size_t)chosen >= wizard->listing.count) {
        wizard_say(wizard, TEXT_CHOOSE_CERTIFICATE);
        SetFocus(GetDlgItem(page, CONTROL_LIST));
    } else if (!read_password(wizard, page)) {
        wizard_say(wizard, TEXT_TYPE_PASSWORD);
        SetFocus(GetDlgItem(page, CONTROL_PASSWORD));
    } else {
        wizard_wipe_field(page, CONTROL_PASSWORD);
        wcscpy(wizard->errand.thumbprint, wizard->listing.certificates[chosen].thumbprint);
        wizard_start(wizard, ERRAND_RENEW, PAGE_RENEW);
    }
}

INT_PTR CALLBACK page_renew(HWND page, UINT message, WPARAM wide, LPARAM parameter) {
    struct wizard *wizard = wizard_of(page, message, parameter);
    (void)wide;
    if (message == WM_INITDIALOG) {
        HWND list = GetDlgItem(page, CONTROL_LIST);
        SendMessageW(list, LVM_SETEXTENDEDLISTVIEWSTYLE, LVS_EX_FULLROWSELECT, LVS_EX_FULLROWSELECT);
        add_column(list, 0, 55, TEXT_COLUMN_SUBJECT);
        add_column(list, 1, 45, TEXT_COLUMN_EXPIRY);
        SendDlgItemMessageW(page, CONTROL_PASSWORD, EM_SETLIMITTEXT, TYPED_ROOM - 1, 0);
        return TRUE;
    }
    if (message != WM_NOTIFY) {
        return FALSE;
    }
    switch (((NMHDR *)parameter)->code) {
    case PSN_SETACTIVE:
        fill(wizard, GetDlgItem(page, CONTROL_LIST));
        wizard_buttons(wizard, PSWIZB_BACK | PSWIZB_NEXT, TEXT_INSTALL, TEXT_CANCEL);
        return wizard_answer(page, 0);
    case PSN_RESET:
        wizard_wipe_field(page, CONTROL_PASSWORD);
        return FALSE;
    case PSN_WIZBACK:
        wizard_wipe_field(page, CONTROL_PASSWORD);
        secrets_wipe(wizard->errand.secrets);
        wizard_go(wizard, PAGE_WELCOME);
        return wizard_answer(page, -1);
    case PSN_WIZNEXT:
        next(wizard, page);
        return wizard_answer(page, -1);
    default:
        return FALSE;
    }
}
