/* The wizard: six pages around errands that run in a thread of their own. */
#ifndef ISSUING_APP_WIZARD_H
#define ISSUING_APP_WIZARD_H

#include <windows.h>

#include "errand.h"
#include "options.h"

#include <prsht.h>

enum page { PAGE_WELCOME, PAGE_ENROL, PAGE_RENEW, PAGE_PROGRESS, PAGE_DONE, PAGE_ERROR, PAGES };

struct wizard {
    HWND sheet;
    HFONT title_font;
    struct errand errand;
    struct outcome outcome;
    /* What the renewal's page shows. */
    struct listing listing;
    /* The app was told its server: the person cannot change it. */
    bool pinned;
    /* Where "back" leads from the error page. */
    enum page came_from;
    HANDLE thread;
};

/* Returns the exit code: how the last errand ended. */
int wizard_run(const struct options *options);

/* Goes there after the message under way has been dealt with. */
void wizard_go(struct wizard *wizard, enum page page);
/* `flags` of PSWIZB_*; the next button's text. Focus and default button follow Windows. */
void wizard_buttons(struct wizard *wizard, DWORD flags, unsigned next_text, unsigned cancel_text);
/* Where there is nothing to type: after Windows has put the focus on the page's first field. */
void wizard_focus_finish(struct wizard *wizard);
/* To the progress page, which starts it. */
void wizard_start(struct wizard *wizard, enum errand_kind kind, enum page came_from);
/* What page procedures find in their window. */
struct wizard *wizard_of(HWND page, UINT message, LPARAM parameter);
/* Answers a notification of the property sheet. */
INT_PTR wizard_answer(HWND page, LONG_PTR answer);
/* Empties a field of one line. Its memory is Windows': what was typed is written over where it stands before it is let go. */
void wizard_wipe_field(HWND page, int control);
void wizard_title(struct wizard *wizard, HWND page);
void wizard_say(struct wizard *wizard, unsigned text_identifier);

INT_PTR CALLBACK page_welcome(HWND page, UINT message, WPARAM wide, LPARAM parameter);
INT_PTR CALLBACK page_enrol(HWND page, UINT message, WPARAM wide, LPARAM parameter);
INT_PTR CALLBACK page_renew(HWND page, UINT message, WPARAM wide, LPARAM parameter);
INT_PTR CALLBACK page_progress(HWND page, UINT message, WPARAM wide, LPARAM parameter);
INT_PTR CALLBACK page_done(HWND page, UINT message, WPARAM wide, LPARAM parameter);
INT_PTR CALLBACK page_error(HWND page, UINT message, WPARAM wide, LPARAM parameter);

#endif
