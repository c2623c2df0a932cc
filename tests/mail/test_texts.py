"""What each mail says to whom; that it holds no link, and that the days it speaks of are true when it goes out."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest

from mtls_gateway.clerical import Mail
from mtls_gateway.config import Pages
from mtls_gateway.errors import StateError
from mtls_gateway.mail.texts import Text, Texts
from mtls_gateway.model import Fact, MailState

JST = timezone(timedelta(hours=9))
END = datetime(2028, 2, 29, 23, 59, 59, tzinfo=JST).timestamp()
DAY = 86_400.0
PAGES = Pages(bank_name_ja="デモ信用組合", bank_name_en="Demo Credit Cooperative")
FACTS: dict[str, Fact] = {
    "serial": "0a1b2c",
    "not_after": END,
    "at": END - 30 * DAY,
    "cooling_off_until": None,
    "old": "taro.old@example.co.jp",
    "new": "taro.new@example.co.jp",
    "user_name": "山田 太郎",
    "recipient_name": None,
    "company_ja": "株式会社アクメ",
    "company_en": "Acme Ltd.",
}
KINDS = ["issued", "renewed", "reissued", "revoked", "expiry-40", "expiry-0", "address_changed"]


def text(
    kind: str,
    *,
    now: float = END - 10 * DAY,
    to: str = "taro",
    pages: Pages = PAGES,
    renewable: bool = True,
    replies: bool = False,
    **facts: Fact,
) -> Text:
    mail = Mail(
        1, "key", kind, "taro", to, "to@example.co.jp", FACTS | facts, MailState.SENDING, 0.0, 0.0, 1, None, None
    )
    return Texts(pages, renewable=renewable, replies=replies).of(mail, now)


@pytest.mark.parametrize("to", ["taro", "boss"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_mail_holds_a_link_a_code_or_an_address_to_sign_in_at(kind: str, to: str) -> None:
    whole = "\n".join(text(kind, to=to))
    assert not re.search(r"://|www\.|\.html|\.(com|jp|net|example)\b(?<!\*\*\*@example\.co\.jp)", whole)
    assert not re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}", whole)


@pytest.mark.parametrize("kind", KINDS)
def test_every_mail_is_japanese_first_and_english_below_with_a_japanese_subject(kind: str) -> None:
    subject, body = text(kind)
    assert subject.startswith("【デモ信用組合】")
    japanese, _, english = body.partition("English\n")
    assert "平素よりデモ信用組合をご利用いただき" in japanese
    assert "山田 太郎 様" in japanese
    assert "本メールには、ログイン画面などへのリンクを一切記載しておりません" in japanese
    assert "Demo Credit Cooperative, Corporate Internet Banking" in english
    assert "contains no link" in english
    assert max(map(len, english.splitlines())) <= 130
    assert "None" not in body
    assert "{" not in body


@pytest.mark.parametrize("kind", KINDS)
def test_an_administrator_reads_whom_it_is_about(kind: str) -> None:
    body = text(kind, to="boss", recipient_name="上司 花子").body
    assert body.startswith("株式会社アクメ\n管理者（マスターユーザ） 上司 花子 様\n")
    assert "ご利用者　　：山田 太郎 様\n利用者ID　　：taro\n" in body
    assert "To 上司 花子, administrator of Acme Ltd.:" in body


def test_without_names_the_ids_stand_there() -> None:
    body = text("issued", user_name=None, company_en=None).body
    assert body.startswith("株式会社アクメ\ntaro 様\n")
    assert "Company:       株式会社アクメ" in body


@pytest.mark.parametrize(
    ("left", "subject", "japanese", "english"),
    [
        (40, "あと40日", "あと40日となりましたので", "expires in 40 days."),
        (9, "あと9日", "あと9日となりましたので", "expires in 9 days."),
        (1, "あと1日", "あと1日となりましたので", "expires in 1 day."),
        (0, "本日まで", "本日、有効期限を迎えます", "expires today."),
    ],
)
def test_days_are_those_of_the_calendar_in_japan_on_the_day_it_goes_out(
    left: int, subject: str, japanese: str, english: str
) -> None:
    first = datetime(2028, 2, 29, tzinfo=JST) - timedelta(days=left)
    for now in (first, first + timedelta(hours=23, minutes=59, seconds=59)):
        # The kind says when it was posted; that it was late does not make the text untrue.
        found = text("expiry-40", now=now.timestamp())
        assert subject in found.subject
        assert japanese in found.body
        assert english in found.body


def test_the_last_second_is_good_and_the_next_one_is_not() -> None:
    assert "本日まで" in text("expiry-0", now=END + 0.9).subject
    late = text("expiry-0", now=END + 1.0)
    assert "有効期限が切れました" in late.subject
    assert "has expired" in late.body
    assert "2028年2月29日（火）23時59分（日本時間）" in late.body


def test_where_certificates_come_from_elsewhere_the_branch_is_named() -> None:
    assert "更新してください" in text("expiry-10").body
    elsewhere = text("expiry-10", renewable=False).body
    assert "更新してください" not in elsewhere
    assert "お取引店までお問い合わせください" in elsewhere


def test_a_reissue_says_until_when_transactions_are_held_back() -> None:
    assert "一部のお取引" not in text("reissued").body
    held = text("reissued", cooling_off_until=datetime(2028, 1, 4, 9, tzinfo=JST).timestamp()).body
    assert "2028年1月4日（火）9時00分（日本時間）までは、一部のお取引をご利用いただけません" in held
    assert "4 January 2028, 09:00 (Japan time)" in held


def test_a_new_address_is_told_so_that_only_who_knows_it_recognises_it() -> None:
    body = text("address_changed").body
    assert "taro.old" not in body
    assert "t***@example.co.jp" in body
    assert "（登録なし）" in text("address_changed", new=None).body


def test_whoever_reads_answers_is_not_said_not_to() -> None:
    assert "送信専用" in text("issued").body
    assert "送信専用" not in text("issued", replies=True).body


@pytest.mark.parametrize(
    "facts",
    [{"company_ja": "http://thief.example/"}, {"user_name": "www.thief.example"}, {"recipient_name": "HTTPS://x.y"}],
)
def test_a_link_in_a_name_keeps_the_mail_from_going_out(facts: dict[str, str]) -> None:
    with pytest.raises(StateError, match="would hold a link"):
        text("issued", **cast(Any, facts))


def test_a_link_in_the_settings_keeps_every_mail_from_going_out() -> None:
    with pytest.raises(StateError, match=r"pages\.help_desk"):
        text("issued", pages=PAGES.model_copy(update={"help_desk_ja": "https://bank.example/ をご覧ください。"}))


def test_names_are_text_and_no_template() -> None:
    assert "{{ 7 * 7 }}" in text("issued", user_name="{{ 7 * 7 }}").body


@pytest.mark.parametrize("kind", ["unheard-of", "../mail", "mail"])
def test_a_kind_without_a_text_is_one_failed_mail(kind: str) -> None:
    with pytest.raises(StateError, match="has no text"):
        text(kind)
