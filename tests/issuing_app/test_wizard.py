"""The wizard as a customer meets it, worked with the keyboard alone, in both languages.

Pictures of every page are left in ``build/issuing-app/screens``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.issuing_app.bank import CODE, Bank, Fault, Refusal
from tests.issuing_app.test_unattended import CANCELLED, DONE, REFUSED, SECRETS
from tests.issuing_app.windows import Screen, Windows
from tests.issuing_app.wizard import ENGLISH, JAPANESE, Wizard, Words

# The first test of a run pays for the build and for a whole Windows.
pytestmark = [
    pytest.mark.needs("mingw-i686", "mingw-x86_64", "wine", "Xvfb", "xdotool", "fonts-ipafont"),
    pytest.mark.timeout(300),
]

#: What xdotool can type: the keyboard of the screen has no kana.
PASSWORD = "naisho:secret"
LIST_ID, CODE_ID, SERVER_ID = 1010, 1009, 1006


@pytest.fixture
def typed(bank: Bank) -> str:
    """The secrets for unattended runs, with a password that the keyboard has."""
    bank.users["taro"] = (CODE, PASSWORD)
    return SECRETS.replace("ひみつ:secret", PASSWORD)


@pytest.mark.parametrize("words", [JAPANESE, ENGLISH], ids=["ja", "en"])
def test_next_install_finish(
    windows: Windows, screen: Screen, test_app: Path, bank: Bank, typed: str, words: Words
) -> None:
    windows.opened.unlink(missing_ok=True)
    wizard = Wizard(windows, screen, words, windows.place(test_app, bank.port))
    wizard.see(words.continue_, "1-welcome")
    wizard.press("Return")
    wizard.see(words.enrol, "2-enrol")
    wizard.type("taro", PASSWORD, CODE[:-1] + "A")
    wizard.press("Return")
    wizard.see(words.mistyped, "3-mistyped")
    assert bank.requests == []
    wizard.press("Return")
    windows.wait_for(words.mistyped, gone=True)
    # The wrong code is selected: typing replaces it.
    wizard.type(CODE.lower().replace("-", ""))
    bank.plan.extend([None, Fault.CUT_AFTER_ISSUING])
    wizard.press("Return")
    wizard.see(words.failed, "4-failed")
    assert len(bank.issued) == 1
    wizard.press("alt+t")
    controls = wizard.see(words.done, "5-done")
    assert any(control.text == "taro" for control in controls)
    (found,) = windows.certificates()
    assert found.signs
    assert [found.der] == [one.public_bytes(Encoding.DER) for one in bank.issued]
    wizard.press("alt+s")
    wizard.press("alt+f")
    assert wizard.ends_with() == DONE
    assert windows.opened_address() == f"https://bank.localhost:{bank.port}/"


@pytest.mark.parametrize("words", [JAPANESE, ENGLISH], ids=["ja", "en"])
def test_renew_and_delete_the_old_one(
    windows: Windows, screen: Screen, test_app: Path, bank: Bank, typed: str, words: Words
) -> None:
    app = windows.place(test_app, bank.port)
    assert windows.run(app, secrets=typed) == DONE
    (old,) = windows.certificates()

    wizard = Wizard(windows, screen, words, app)
    welcome = wizard.see(words.continue_)
    assert not any(words.old in control.text for control in welcome)
    wizard.press("alt+r", "Return")
    wizard.see(words.renew, "6-renew")
    wizard.press("Tab")
    wizard.type(PASSWORD)
    wizard.press("Return")
    wizard.see(words.renewed, "7-renewed")
    wizard.press("alt+f")
    assert wizard.ends_with() == DONE
    assert len(windows.certificates()) == 2

    wizard = Wizard(windows, screen, words, app)
    wizard.see(words.old, "8-welcome-after-renewal")
    wizard.press("alt+d", "Return")
    wizard.see(words.remove, "9-not-yet")
    bank.superseded.add(old.der)
    wizard.press("alt+b")
    wizard.see(words.continue_)
    wizard.press("alt+d", "Return")
    wizard.see(words.ask_remove, "10-ask")
    assert len(windows.certificates()) == 2
    wizard.press("alt+y")
    wizard.see(words.removed, "11-removed")
    wizard.press("alt+f")
    assert wizard.ends_with() == DONE
    (left,) = windows.certificates()
    assert left.der != old.der
    assert left.signs


def test_who_cancels_in_the_middle_goes_on_later(
    windows: Windows, screen: Screen, test_app: Path, bank: Bank, typed: str
) -> None:
    app = windows.place(test_app, bank.port)
    wizard = Wizard(windows, screen, JAPANESE, app)
    wizard.see(JAPANESE.continue_)
    wizard.press("Return")
    wizard.see(JAPANESE.enrol)
    wizard.type("taro", PASSWORD, CODE)
    bank.plan.extend([None, Fault.HELD])
    wizard.press("Return")
    wizard.see(JAPANESE.asking, "12-progress")
    wizard.press("Escape")
    wizard.see("手続きを中止しますか", "13-ask-cancel")
    wizard.press("alt+y")
    wizard.see("手続きを中止しました", "14-cancelled")
    wizard.press("Escape")
    assert wizard.ends_with() == CANCELLED
    assert windows.certificates() == []
    keys = windows.keys
    assert windows.run(app, secrets=typed) == DONE
    assert windows.keys == keys
    assert len(windows.certificates()) == len(bank.issued) == 1


def test_a_refusal_is_told_in_the_customers_words_with_its_code(
    windows: Windows, screen: Screen, test_app: Path, bank: Bank, typed: str
) -> None:
    wizard = Wizard(windows, screen, JAPANESE, windows.place(test_app, bank.port))
    wizard.see(JAPANESE.continue_)
    wizard.press("Return")
    wizard.see(JAPANESE.enrol)
    wizard.type("taro", "wrong", CODE)
    wizard.press("Return")
    controls = wizard.see("利用者ID、パスワード、発行コードのいずれかが正しくありません", "15-refused")
    assert any("enrolment_refused" in control.text for control in controls)
    # Back to the fields: the code still stands there, the password does not.
    wizard.press("alt+b")
    controls = wizard.see(JAPANESE.enrol)
    assert [control.text for control in controls if control.number == CODE_ID] == [CODE]
    assert not any("wrong" in control.text for control in controls)
    # What a server says that is newer than the app.
    wizard.press("alt+p")
    wizard.type(PASSWORD)
    bank.plan.extend([None, Refusal(403, "moon_in_wrong_phase", "満月までお待ちください。", "Wait for the full moon.")])
    wizard.press("Return")
    wizard.see("満月までお待ちください", "16-newer-code")
    wizard.press("Escape")
    assert wizard.ends_with() == REFUSED


def test_an_app_without_an_address_in_its_name_asks_for_it(
    windows: Windows, screen: Screen, test_app: Path, bank: Bank, typed: str
) -> None:
    wizard = Wizard(windows, screen, JAPANESE, windows.place(test_app, bank.port, "issuing-app.exe"))
    wizard.see(JAPANESE.continue_)
    wizard.press("Return")
    wizard.see("接続先を入力してください", "17-no-address")
    wizard.press("Return")
    windows.wait_for("接続先を入力してください", gone=True)
    wizard.type("localhost")
    wizard.press("Return")
    wizard.see("接続先の形式が正しくありません", "18-wrong-address")
    wizard.press("Return")
    windows.wait_for("接続先の形式が正しくありません", gone=True)
    wizard.press("ctrl+a")
    wizard.type(f"bank.localhost:{bank.port}")
    wizard.press("Return")
    wizard.see(JAPANESE.enrol)
    wizard.type("taro", PASSWORD, CODE)
    wizard.press("Return")
    wizard.see(JAPANESE.done)
    wizard.press("alt+f")
    assert wizard.ends_with() == DONE


def test_only_one_app_runs_at_a_time(windows: Windows, screen: Screen, test_app: Path, bank: Bank) -> None:
    app = windows.place(test_app, bank.port)
    first = Wizard(windows, screen, JAPANESE, app)
    first.see(JAPANESE.continue_)
    second = Wizard(windows, screen, JAPANESE, app)
    second.see("すでに起動しています")
    second.press("Return")
    assert second.ends_with() == 13
    first.press("Escape")
    assert first.ends_with() == CANCELLED
