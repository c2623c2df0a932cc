"""The wizard's pages, by what stands on them, and one run of it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.issuing_app.conftest import ROOT
from tests.issuing_app.windows import Control, Screen, Windows

PICTURES = ROOT / "build" / "issuing-app" / "screens"


@dataclass(frozen=True)
class Words:
    """What stands on the pages, by language."""

    language: str
    welcome: str
    continue_: str
    enrol: str
    mistyped: str
    asking: str
    failed: str
    done: str
    renew: str
    renewed: str
    old: str
    remove: str
    ask_remove: str
    removed: str


JAPANESE = Words(
    language="ja",
    welcome="法人向けインターネットバンキング",
    continue_="［次へ］を押してください",
    enrol="［インストール］を押すと、電子証明書の取得",
    mistyped="入力間違い",
    asking="申請しています",
    failed="通信できませんでした",
    done="電子証明書の取得が完了しました",
    renew="更新する電子証明書",
    renewed="電子証明書の更新が完了しました",
    old="古い電子証明書を削除する",
    remove="削除できる電子証明書はありません",
    ask_remove="このパソコンから削除しますか",
    removed="古い電子証明書を削除しました",
)
ENGLISH = Words(
    language="en",
    welcome="corporate internet banking",
    continue_="Press Next",
    enrol="Press Install to get the certificate",
    mistyped="is mistyped",
    asking="Asking for the certificate",
    failed="could not be reached",
    done="Your certificate is ready",
    renew="Certificate to renew",
    renewed="Your certificate is renewed",
    old="superseded certificates",
    remove="There is no certificate to delete",
    ask_remove="Delete them from this PC",
    removed="Deleted",
)


class Wizard:
    """One run of the app, watched."""

    def __init__(self, windows: Windows, screen: Screen, words: Words, app: Path) -> None:
        self.windows = windows
        self._screen = screen
        self._words = words
        self._process: subprocess.Popen[bytes] = windows.start(app, "/language", words.language)

    def see(self, text: str, picture: str = "") -> list[Control]:
        """Waits for the page, and holds it against what any page must keep to."""
        found = self.windows.wait_for(text)
        for control in found:
            holds_its_text(control)
        if picture:
            PICTURES.mkdir(parents=True, exist_ok=True)
            self._screen.picture(PICTURES / f"{self._words.language}-{picture}.png")
        return found

    def press(self, *keys: str) -> None:
        self.windows.press(*keys)

    def type(self, *fields: str) -> None:
        """One field after the other."""
        for number, field in enumerate(fields):
            if number:
                self.press("Tab")
            self.windows.type(field)

    def ends_with(self) -> int:
        return self._process.wait(30)


def holds_its_text(control: Control) -> None:
    """Nothing is clipped: the text fits its control, and the control its page. Message boxes are Windows' own."""
    wide, high = control.right - control.left, control.bottom - control.top
    if control.kind == "Button":
        assert control.wants[0] <= wide - 4, control
    if control.page is None or not control.text:
        return
    if control.kind == "Static" or (control.kind == "Edit" and "\n" in control.text):
        assert control.wants[0] <= wide, control
        assert control.wants[1] <= high, control
    left, top, right, bottom = control.page
    assert left <= control.left, control
    assert top <= control.top, control
    assert control.right <= right, control
    assert control.bottom <= bottom, control
