from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mtls_gateway.config import validate_configuration
from mtls_gateway.errors import ConfigurationError, UsageError
from mtls_gateway.issuance.code import new_code
from mtls_gateway.issuance.letter import Letter, LetterSettings, UnprintableLetter
from mtls_gateway.issuance.letter_printer import LetterPrinter
from tests.issuance.test_typeface import make_font

#: 26 November 2026, 09:30 and 80 days later, 14 February 2027, 23:59:59: both in Japan.
ISSUED = 1_795_653_000.0
EXPIRES = 1_802_617_199.0

SETTINGS = LetterSettings(
    bank_name="やまなみ信用組合",
    service_name="法人向けインターネットバンキング",
    sign_in="https://ib.example.jp/",
    help_desk="お取引店でも承ります。",
    systems=("Windows 8.1 以上",),
    browsers=("Internet Explorer 11", "Microsoft Edge", "Google Chrome"),
    tries=5,
    notice_days=40,
    department="事務集中部 インターネットバンキング担当",
    postal_code="380-0000",
    address=("長野県長野市大字南長野1-2-3",),
    telephone="0120-000-000",
    hours="平日 9:00～17:00",
)
LETTER = Letter(
    company_name="株式会社髙﨑製作所",
    user_name="𠮟𠀋 太郎",
    user_id="takasaki.taro",
    code="2345-6789-ABCD-EFGH-JKMK",
    expires=EXPIRES,
    issued=ISSUED,
    postal_code="100-0001",
    address=("東京都千代田区千代田1-2-3", "千代田ビル9階"),
)


def _text(pdf: bytes, *options: str) -> str:
    # Its words are separated by plain spaces, whatever kind they had.
    return subprocess.run(["pdftotext", *options, "-", "-"], input=pdf, check=True, capture_output=True).stdout.decode()


def _squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.fixture(scope="module")
def printer() -> LetterPrinter:
    return LetterPrinter(SETTINGS)


@pytest.mark.needs("pdftotext")
def test_the_letter_says_what_a_customer_needs(printer: LetterPrinter) -> None:
    text = _text(printer.pdf([LETTER]))
    lines = text.split("\n")
    for line in (
        "株式会社髙﨑製作所",
        "𠮟𠀋 太郎 様",
        "takasaki.taro",
        "2345-6789-ABCD-EFGH-JKMK",
        "2027年2月14日（日）23時59分まで",
        "2026年11月26日",
        "〒100-0001",
        "東京都千代田区千代田1-2-3",
        "千代田ビル9階",
        "https://ib.example.jp/",
        "Windows 8.1 以上",
        "Internet Explorer 11、Microsoft Edge、Google Chrome",
    ):
        assert line in lines
    whole = _squeezed(text)
    for passage in (
        "当組合の職員が、電話・Eメール・SMS・ご訪問などで、発行コードやパスワードをお尋ねすることは、一切ございません。",
        "5回誤って入力されますと",
        "電話0120-000-000",
        "やまなみ信用組合事務集中部インターネットバンキング担当",
        "お取引店でも承ります。",
        "有効期限の40日前から",
    ):
        assert passage in whole
    buttons = re.findall("「([^」]+)」ボタン", whole)
    assert buttons == [
        "電子証明書発行", "証明書発行アプリのダウンロード", "実行", "次へ", "インストール", "完了",
        "電子証明書ログイン",
    ]  # fmt: skip


@pytest.mark.needs("pdftotext")
def test_each_user_has_a_set_of_pages_with_numbers_of_its_own(printer: LetterPrinter) -> None:
    letters = [replace(LETTER, user_id=f"user-{number}", code=new_code()) for number in range(3)]
    pdf = printer.pdf(letters)
    for number, letter in enumerate(letters):
        front = _text(pdf, "-f", str(2 * number + 1), "-l", str(2 * number + 1))
        back = _text(pdf, "-f", str(2 * number + 2), "-l", str(2 * number + 2))
        assert [other.code in front for other in letters] == [other is letter for other in letters]
        assert "1／2ページ" in front
        assert "2／2ページ" in back
        assert f"利用者ID {letter.user_id}" in front
        assert f"利用者ID {letter.user_id}" in back
        assert letter.code not in back
    assert _text(pdf).count("\f") == 6


@pytest.mark.needs("pdftotext")
def test_through_the_window_only_the_address_shows_and_the_code_is_below_the_first_fold(
    printer: LetterPrinter,
) -> None:
    pdf = printer.pdf([LETTER])
    # Left, top, width, height in points of the window, 90 by 45 mm, that a sheet folded in three shows.
    window = _text(pdf, "-l", "1", "-x", "57", "-y", "34", "-W", "255", "-H", "128")
    assert _squeezed(window) == "〒100-0001東京都千代田区千代田1-2-3千代田ビル9階株式会社髙﨑製作所𠮟𠀋太郎様"
    above_the_fold = _text(pdf, "-l", "1", "-x", "0", "-y", "0", "-W", "596", "-H", "281")
    assert LETTER.code not in above_the_fold


@pytest.mark.needs("pdftotext")
def test_without_an_address_the_names_stand_alone(printer: LetterPrinter) -> None:
    text = _text(printer.pdf([replace(LETTER, postal_code="", address=())]))
    assert text.startswith("2026年11月26日\n\n株式会社髙﨑製作所\n𠮟𠀋 太郎 様\n")
    assert text.count("〒") == 1


@pytest.mark.needs("pdffonts", "qpdf")
def test_the_file_is_sound_and_embeds_all_its_fonts(printer: LetterPrinter, tmp_path: Path) -> None:
    with_extra = LetterPrinter(replace(SETTINGS, extra_fonts=(make_font(tmp_path / "squares.ttf", "𠮷"),)))
    for pdf, fonts in [
        (printer.pdf([LETTER]), 1),
        (with_extra.pdf([LETTER]), 2),
        (with_extra.pdf([replace(LETTER, user_name="𠮷野")]), 2),
    ]:
        file = tmp_path / "letter.pdf"
        file.write_bytes(pdf)
        checked = subprocess.run(["qpdf", "--check", file], capture_output=True, text=True, check=True)
        assert "No syntax or stream encoding errors found" in checked.stdout
        listed = subprocess.run(["pdffonts", file], capture_output=True, text=True, check=True)
        assert listed.stderr == ""
        rows = listed.stdout.splitlines()[2:]
        # emb, sub and uni.
        assert [re.search(r"(yes|no) +(yes|no) +(yes|no) ", row).groups() for row in rows] == [  # type: ignore[union-attr]
            ("yes", "yes", "yes")
        ] * fonts
        assert b"/Annot" not in pdf
        assert b"/URI" not in pdf


@pytest.mark.needs("pdfinfo")
def test_the_metadata_are_title_bank_and_the_letters_own_date(printer: LetterPrinter) -> None:
    def info(letters: list[Letter]) -> str:
        listed = subprocess.run(
            ["pdfinfo", "-isodates", "-"],
            input=printer.pdf(letters), check=True, capture_output=True, env=os.environ | {"TZ": "UTC"},
        )  # fmt: skip
        return re.sub(" +", " ", listed.stdout.decode())

    alone = info([LETTER])
    assert "Title: 電子証明書発行手順書　株式会社髙﨑製作所\n" in alone
    assert "Author: やまなみ信用組合\n" in alone
    assert "CreationDate: 2026-11-26T09:30:00+09\n" in alone
    assert "Page size: 595.276 x 841.89 pts (A4)\n" in alone
    assert "Title: 電子証明書発行手順書\n" in info([LETTER, replace(LETTER, company_name="別の会社")])


def _kanji_of_levels_one_to_four() -> str:
    found = []
    for lead in (*range(0x88, 0xA0), *range(0xE0, 0xFD)):
        for trail in (*range(0x40, 0x7F), *range(0x80, 0xFD)):
            try:
                character = bytes((lead, trail)).decode("shift_jis_2004")
            except UnicodeDecodeError:
                continue
            if len(character) == 1 and ord(character) >= 0x2E80:
                found.append(character)
    return "".join(found)


@pytest.mark.needs("pdftotext")
def test_every_kanji_of_jis_x_0213_comes_back_exactly(printer: LetterPrinter) -> None:
    kanji = _kanji_of_levels_one_to_four() + "髙﨑神塚猪德黑隆濵"
    assert len(kanji) > 9_900
    chunks = [kanji[start : start + 120] for start in range(0, len(kanji), 120)]
    letters = [replace(LETTER, company_name=chunk, user_name="太郎", address=()) for chunk in chunks]
    text = _text(printer.pdf(letters))
    pages = text.split("\f")
    for number, chunk in enumerate(chunks):
        # Once in the window, once in the table.
        assert _squeezed(pages[2 * number]).count(chunk) == 2


@pytest.mark.needs("pdftotext")
@pytest.mark.parametrize(
    "name",
    [
        "齋藤髙橋﨑山邉濵田" * 14 + "ああ",
        "Ｌｏｎｇ" * 32,
        "W" * 128,
        "Société Générale de Łódź & Søn (100%) <株> \\ / \" ' % %(code)s",
        "㈱①Ⅳ㍿〇々ヶヴ",
        "ｶﾌﾞｼｷｶﾞｲｼｬ ﾔﾏﾅﾐ",
    ],
)
def test_names_are_printed_whole_however_long(printer: LetterPrinter, name: str) -> None:
    pdf = printer.pdf([replace(LETTER, company_name=name, user_name=name)])
    front = _squeezed(_text(pdf, "-l", "1"))
    assert front.count(_squeezed(name)) == 4
    assert LETTER.code in front
    assert _text(pdf).count("\f") == 2


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"user_name": ""}, "the user name is empty"),
        ({"company_name": " \u3000"}, "the company name is empty"),
        ({"user_id": ""}, "the user ID is empty"),
        ({"user_name": "太郎\x00"}, "control character, U+0000"),
        ({"user_name": "太郎\n様"}, "control character, U+000A"),
        ({"company_name": "株式\u202e会社"}, "control character, U+202E"),
        ({"company_name": "株式\u2028会社"}, "control character, U+2028"),
        ({"user_name": "太\ud800郎"}, "control character, U+D800"),
        ({"user_name": "か\u3099"}, "combining character or variation selector, U+3099"),
        ({"user_name": "辻\U000e0100"}, "combining character or variation selector, U+E0100"),
        ({"user_name": "𠮷野"}, "no font has, U+20BB7"),
        ({"user_name": "太郎😀"}, "no font has, U+1F600"),
        ({"user_name": "あ" * 129}, "has 129 characters, more than 128"),
        ({"user_id": "a" * 1_000_000}, "has 1000000 characters"),
        ({"address": ("東京都\t",)}, "the address has a control character, U+0009"),
        ({"address": ("東京都",) * 6}, "the address has 6 lines, more than 5"),
        ({"address": ("東" * 120,) * 5}, "do not fit"),
        ({"postal_code": "100\x7f"}, "the address has a control character, U+007F"),
        ({"expires": ISSUED}, "expires before the letter is written"),
        ({"expires": float("nan")}, "is no time"),
        ({"expires": float("inf")}, "is no time"),
        ({"issued": -1.0}, "is no time"),
        ({"code": "2345-6789-ABCD-EFGH-JKMM"}, "a symbol is wrong"),
        ({"code": ""}, "20 symbols"),
    ],
)
def test_what_cannot_be_printed_whole_is_refused_and_nothing_is_printed(
    printer: LetterPrinter, change: dict[str, object], cause: str
) -> None:
    bad = replace(LETTER, **change)  # type: ignore[arg-type]
    with pytest.raises(UnprintableLetter) as refused:
        printer.pdf([LETTER, bad])
    message = str(refused.value)
    assert cause in message
    assert message.isprintable()
    assert len(message) < 400
    if "code" not in change:
        # Told before a code is made.
        assert cause in str(printer.problem(replace(bad, code="")))
    assert printer.problem(LETTER) is None


def test_neither_the_repr_nor_a_refusal_tells_the_code(printer: LetterPrinter) -> None:
    assert "2345" not in repr(LETTER)
    with pytest.raises(UnprintableLetter) as refused:
        printer.pdf([replace(LETTER, code="2345-6789-ABCD-EFGH-JKMM")])
    assert "ABCD" not in str(refused.value)


@pytest.mark.needs("pdftotext")
def test_a_character_that_the_built_in_font_has_not_is_taken_from_the_banks_own(tmp_path: Path) -> None:
    # U+E000: a character of the bank's own (gaiji).
    font = make_font(tmp_path / "gaiji.ttf", "𠮷\ue000")
    printer = LetterPrinter(replace(SETTINGS, extra_fonts=(font,)))
    text = _text(printer.pdf([replace(LETTER, user_name="𠮷野\ue000太郎")]))
    assert "𠮷野\ue000太郎 様" in text.split("\n")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"bank_name": "信用組合\x07"}, "bank_name: has a control character"),
        ({"help_desk": "😀"}, "help_desk: has a character that no font has"),
        ({"sign_in": "h" * 129}, "sign_in: has 129 characters"),
        ({"address": tuple(f"{line}丁目" for line in range(20))}, "shorten the setting"),
    ],
)
def test_settings_that_cannot_be_printed_are_told_before_any_letter(change: dict[str, object], cause: str) -> None:
    with pytest.raises(ConfigurationError, match=cause):
        LetterPrinter(replace(SETTINGS, **change))  # type: ignore[arg-type]


@pytest.mark.needs("pdftotext")
def test_settings_that_are_left_out_leave_no_holes() -> None:
    bare = replace(SETTINGS, department="", postal_code="", address=(), telephone="", hours="")
    text = _text(LetterPrinter(bare).pdf([LETTER]))
    assert text.count("〒") == 1
    assert "電話　" not in text
    assert "受付時間" not in text


def test_the_settings_are_a_slice_of_the_configuration(tmp_path: Path) -> None:
    configuration = validate_configuration(
        {
            "state": "state",
            "public": {"name": "ib.example.jp", "listen": ["0.0.0.0:8443"], "certificate": "a", "key": "b"},
            "certificate": {"name": "cert.example.jp", "listen": ["0.0.0.0:8443"], "certificate": "a", "key": "b"},
            "trust": {"authorities": [{"name": "ca", "certificate": "ca.pem", "revocation": "none"}]},
            "legacy": {
                "backends": ["http://127.0.0.1:8080"],
                "session_cookies": ["JSESSIONID"],
                "guarded": ["/login"],
                "login": {"kind": "argon2id"},
            },
            "pages": {"bank_name_ja": "やまなみ信用組合", "notice_days": 30},
            "letter": {"telephone": "0120-000-000", "extra_fonts": ["gaiji.ttf"], "letters_per_file": 7},
            "issuance": {"organisation": "Yamanami Credit Cooperative", "codes": {"tries": 3}},
            "signer": {
                "issuers": [
                    {
                        "name": "ca",
                        "active": True,
                        "certificate": "ca.pem",
                        "chain": ["root.pem"],
                        "crl_url": "http://pki.example.jp/ca.crl",
                        "key": {"kind": "pem", "file": "ca.key", "passphrase": "credential:ca"},
                    }
                ]
            },
        },
        tmp_path / "gateway.toml",
    )
    assert configuration.issuance is not None
    settings = LetterSettings.of(configuration, configuration.issuance)
    assert settings.sign_in == "https://ib.example.jp:8443/"
    assert settings.bank_name == "やまなみ信用組合"
    assert settings.browsers == ("Internet Explorer 11", "Microsoft Edge", "Google Chrome")
    assert settings.extra_fonts == (tmp_path / "gaiji.ttf",)
    assert (settings.tries, settings.notice_days, settings.letters_per_file) == (3, 30, 7)


def test_too_many_letters_for_one_file_and_none_at_all_are_refused() -> None:
    printer = LetterPrinter(replace(SETTINGS, letters_per_file=2))
    assert printer.pdf([LETTER, LETTER]).startswith(b"%PDF-1.7")
    with pytest.raises(UsageError, match="more than 2 letters"):
        printer.pdf([LETTER] * 3)
    with pytest.raises(UsageError, match="no letter to print"):
        printer.pdf([])


_ANOTHER_PROCESS = """
import hashlib, sys
from tests.issuance.test_letter_printer import LETTER, SETTINGS
from mtls_gateway.issuance.letter_printer import LetterPrinter
print(hashlib.sha256(LetterPrinter(SETTINGS).pdf([LETTER, LETTER])).hexdigest())
"""


def test_equal_letters_give_equal_files_in_any_process_and_time_zone() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _ANOTHER_PROCESS],
            check=True, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed, "TZ": zone},
        ).stdout
        for seed, zone in [("1", "UTC"), ("2", "Asia/Tokyo"), ("3", "America/New_York")]
    }  # fmt: skip
    assert len(digests) == 1


@pytest.mark.needs("pdftotext")
def test_a_company_of_5000_users_is_one_file_within_seconds_and_small(printer: LetterPrinter) -> None:
    letters = [
        replace(LETTER, user_id=f"user-{number:04}", user_name=f"利用者{number}号", code=new_code())
        for number in range(5_000)
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    pdf = printer.pdf(iter(letters))
    assert time.process_time() - began < 20.0
    assert len(pdf) < 10_000_000
    # KiB: a hundred would be too many already.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    last = _text(pdf, "-f", "9999")
    assert letters[-1].code in last
    assert "user-4999" in last
