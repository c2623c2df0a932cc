#include "wizard.h"

#include "art.h"
#include "texts.h"

#include <commctrl.h>

#define BUTTON_BACK 0x3023
#define BUTTON_NEXT 0x3024
#define BUTTON_FINISH 0x3025
#define ORDINARY_DENSITY 96
/* Wizard97's measures at that density; the band is cut at the page's end. */
#define BAND_WIDTH 164
#define BAND_HEIGHT 460
#define EMBLEM_SIZE 49
#define FIELD_ROOM 512

struct page_kind {
    unsigned dialog;
    DLGPROC procedure;
    unsigned head;
    unsigned subhead;
};

static const struct page_kind kinds[PAGES] = {
    [PAGE_WELCOME] = {DIALOG_WELCOME, page_welcome, 0, 0},
    [PAGE_ENROL] = {DIALOG_ENROL, page_enrol, TEXT_ENROL_HEAD, TEXT_ENROL_SUBHEAD},
    [PAGE_RENEW] = {DIALOG_RENEW, page_renew, TEXT_RENEW_HEAD, TEXT_RENEW_SUBHEAD},
    [PAGE_PROGRESS] = {DIALOG_PROGRESS, page_progress, TEXT_PROGRESS_HEAD, TEXT_PROGRESS_SUBHEAD},
    [PAGE_DONE] = {DIALOG_DONE, page_done, 0, 0},
    [PAGE_ERROR] = {DIALOG_ERROR, page_error, TEXT_ERROR_HEAD, TEXT_ERROR_SUBHEAD},
};

struct wizard *wizard_of(HWND page, UINT message, LPARAM parameter) {
    if (message == WM_INITDIALOG) {
        struct wizard *wizard = (struct wizard *)((PROPSHEETPAGEW *)parameter)->lParam;
        SetWindowLongPtrW(page, GWLP_USERDATA, (LONG_PTR)wizard);
        wizard->sheet = GetParent(page);
        return wizard;
    }
    return (struct wizard *)GetWindowLongPtrW(page, GWLP_USERDATA);
}

INT_PTR wizard_answer(HWND page, LONG_PTR answer) {
    SetWindowLongPtrW(page, DWLP_MSGRESULT, answer);
    return TRUE;
}

void wizard_go(struct wizard *wizard, enum page page) {
    PostMessageW(wizard->sheet, PSM_SETCURSEL, (WPARAM)page, 0);
}

void wizard_buttons(struct wizard *wizard, DWORD flags, unsigned next_text, unsigned cancel_text) {
    SendMessageW(wizard->sheet, PSM_SETWIZBUTTONS, 0, (LPARAM)flags);
    SetDlgItemTextW(wizard->sheet, BUTTON_BACK, text(TEXT_BACK));
    SetDlgItemTextW(wizard->sheet, BUTTON_NEXT, text(next_text));
    SetDlgItemTextW(wizard->sheet, BUTTON_FINISH, text(TEXT_FINISH));
    SetDlgItemTextW(wizard->sheet, IDCANCEL, text(cancel_text));
    /* The band of the first page does not always go by itself. */
    InvalidateRect(wizard->sheet, NULL, TRUE);
}

void wizard_wipe_field(HWND page, int control) {
    HWND field = GetDlgItem(page, control);
    wchar_t over[FIELD_ROOM];
    int length = GetWindowTextLengthW(field);
    for (int index = 0; index < length && index < FIELD_ROOM - 1; index++) {
        over[index] = L'*';
    }
    over[length < FIELD_ROOM ? length : FIELD_ROOM - 1] = 0;
    SetWindowTextW(field, over);
    SetWindowTextW(field, L"");
    SendMessageW(field, EM_EMPTYUNDOBUFFER, 0, 0);
}

void wizard_focus_finish(struct wizard *wizard) {
    PostMessageW(wizard->sheet, WM_NEXTDLGCTL, (WPARAM)GetDlgItem(wizard->sheet, BUTTON_FINISH), TRUE);
}

void wizard_start(struct wizard *wizard, enum errand_kind kind, enum page came_from) {
    wizard->errand.kind = kind;
    wizard->came_from = came_from;
    wizard_go(wizard, PAGE_PROGRESS);
}

void wizard_title(struct wizard *wizard, HWND page) {
    HWND title = GetDlgItem(page, CONTROL_TITLE);
    if (wizard->title_font == NULL) {
        LOGFONTW font;
        HFONT ordinary = (HFONT)SendMessageW(page, WM_GETFONT, 0, 0);
        if (ordinary == NULL || GetObjectW(ordinary, sizeof font, &font) == 0) {
            return;
        }
        font.lfHeight = MulDiv(font.lfHeight, 3, 2);
        font.lfWeight = FW_BOLD;
        wizard->title_font = CreateFontIndirectW(&font);
    }
    SendMessageW(title, WM_SETFONT, (WPARAM)wizard->title_font, TRUE);
}

void wizard_say(struct wizard *wizard, unsigned text_identifier) {
    MessageBoxW(wizard->sheet, text(text_identifier), text(TEXT_APP_NAME), MB_ICONWARNING);
}

static HPROPSHEETPAGE make_page(struct wizard *wizard, const struct page_kind *kind) {
    PROPSHEETPAGEW page = {
        .dwSize = sizeof page,
        .dwFlags = PSP_DLGINDIRECT | PSP_USETITLE | (kind->head == 0 ? PSP_HIDEHEADER : 0) |
                   (kind->head != 0 ? PSP_USEHEADERTITLE | PSP_USEHEADERSUBTITLE : 0),
        .pResource = text_dialog(kind->dialog),
        .pszTitle = text(TEXT_APP_NAME),
        .pfnDlgProc = kind->procedure,
        .lParam = (LPARAM)wizard,
        .pszHeaderTitle = text(kind->head),
        .pszHeaderSubTitle = text(kind->subhead),
    };
    return CreatePropertySheetPageW(&page);
}

static int density(void) {
    HDC screen = GetDC(NULL);
    int dots = screen != NULL ? GetDeviceCaps(screen, LOGPIXELSY) : ORDINARY_DENSITY;
    if (screen != NULL) {
        ReleaseDC(NULL, screen);
    }
    return dots;
}

static int show(struct wizard *wizard) {
    HPROPSHEETPAGE pages[PAGES];
    for (int page = 0; page < PAGES; page++) {
        pages[page] = make_page(wizard, &kinds[page]);
    }
    int dots = density();
    PROPSHEETHEADERW sheet = {
        .dwSize = sizeof sheet,
        .dwFlags = PSH_WIZARD97 | PSH_WATERMARK | PSH_USEHBMWATERMARK | PSH_HEADER | PSH_USEHBMHEADER | PSH_USEICONID,
        .hInstance = GetModuleHandleW(NULL),
        .pszIcon = MAKEINTRESOURCEW(ICON_APP),
        .nPages = PAGES,
        .phpage = pages,
        .hbmWatermark = art_band(MulDiv(BAND_WIDTH, dots, ORDINARY_DENSITY), MulDiv(BAND_HEIGHT, dots, ORDINARY_DENSITY)),
        .hbmHeader = art_emblem(MulDiv(EMBLEM_SIZE, dots, ORDINARY_DENSITY)),
    };
    INT_PTR result = PropertySheetW(&sheet);
    DeleteObject(sheet.hbmWatermark);
    DeleteObject(sheet.hbmHeader);
    return result < 0 ? -1 : 0;
}

int wizard_run(const struct options *options) {
    static struct wizard wizard;
    INITCOMMONCONTROLSEX controls = {sizeof controls,
                                     ICC_STANDARD_CLASSES | ICC_LISTVIEW_CLASSES | ICC_PROGRESS_CLASS};
    InitCommonControlsEx(&controls);
    wizard.pinned = options->server.port != 0;
    wizard.errand = (struct errand){
        .server = options->server,
        .certificate_host = options->certificate_host,
        .secrets = secrets_open(),
        .cancel = CreateEventW(NULL, TRUE, FALSE, NULL),
    };
    wizard.outcome.kind = OUTCOME_CANCELLED;
    if (wizard.errand.secrets == NULL || wizard.errand.cancel == NULL) {
        return OUTCOME_KEY_FAILED;
    }
    if (show(&wizard) != 0) {
        wizard.outcome.kind = OUTCOME_WRONG_USE;
    }
    secrets_close(wizard.errand.secrets);
    CloseHandle(wizard.errand.cancel);
    if (wizard.title_font != NULL) {
        DeleteObject(wizard.title_font);
    }
    return (int)wizard.outcome.kind;
}
