"""The mail as other programs read it, and that it is the same mail however often it is sent."""

from __future__ import annotations

import email
import re
from email import policy
from email.message import EmailMessage

import pytest

from mtls_gateway.clerical import Mail
from mtls_gateway.config import Mail as MailSettings
from mtls_gateway.errors import StateError
from mtls_gateway.mail.message import compose, message_id
from mtls_gateway.mail.texts import Text
from mtls_gateway.model import MailState

NOW = 1_800_000_000.0
SETTINGS = MailSettings(host="localhost", sender="ib@bank.example", reply_to="desk@bank.example")
TEXT = Text("【デモ信用組合】電子証明書の有効期限のご案内（あと10日）" * 3, "株式会社アクメ\n山田 太郎 様\n\n本文\n")


def mail(key: str = "expiry-10 0a of CN=x taro", address: str = "taro@example.co.jp") -> Mail:
    return Mail(7, key, "expiry-10", "taro", "taro", address, {}, MailState.SENDING, NOW, NOW, 1, None, None)


def composed(one: Mail, text: Text = TEXT, now: float = NOW) -> bytes:
    return compose(one, text, SETTINGS, "デモ信用組合", now)


def parsed(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_headers_and_text_come_back_as_they_were() -> None:
    message = parsed(composed(mail()))
    assert message["Subject"] == TEXT.subject
    assert message["From"] == "デモ信用組合 <ib@bank.example>"
    assert message["Reply-To"] == "desk@bank.example"
    assert message["To"] == "taro@example.co.jp"
    assert message["Date"] == "Fri, 15 Jan 2027 17:00:00 +0900"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "ja, en"
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "utf-8"
    assert message.get_content().replace("\r\n", "\n") == TEXT.body


def test_it_is_seven_bits_with_short_lines_that_end_in_crlf() -> None:
    octets = composed(mail())
    assert octets.isascii()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 78


def test_the_message_id_is_of_the_notice_and_nothing_else() -> None:
    first, later = (parsed(composed(mail(), now=now)) for now in (NOW, NOW + 86_400))
    assert first["Message-ID"] == later["Message-ID"] == message_id(mail().key, SETTINGS.sender)
    assert parsed(composed(mail("expiry-3 0a of CN=x taro")))["Message-ID"] != first["Message-ID"]
    assert re.fullmatch(r"<[0-9a-f]{40}@bank\.example>", first["Message-ID"])


@pytest.mark.parametrize("address", ["", "taro", "太郎@example.co.jp", "taro@exam\r\nBcc: x@y.example", "a@b.c, d@e.f"])
def test_an_address_that_cannot_stand_in_a_header_is_refused(address: str) -> None:
    with pytest.raises(StateError):
        composed(mail(address=address))


def test_nothing_of_a_text_becomes_a_header() -> None:
    with pytest.raises(StateError):
        composed(mail(), Text("x\r\nBcc: thief@example.com", "body\n"))
    assert "Bcc" not in parsed(composed(mail(), Text("x", "Bcc: thief@example.com\n")))
