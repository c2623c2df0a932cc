"""SMTP against a real server: what is accepted, refused, put off; when it is away; whether it is who it should be."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from mtls_gateway.config import Mail
from mtls_gateway.errors import ConfigurationError, MailServerAway
from mtls_gateway.mail.server import Accepted, MailServer, NotNow, Refused
from tests.mail.smtp_world import MailCa, SmtpServer, smtp_server

MESSAGE = b"From: ib@bank.example\r\nTo: taro@example.co.jp\r\nSubject: x\r\n\r\nbody\r\n"
TO = "taro@example.co.jp"


def settings(port: int, **more: object) -> Mail:
    plain = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "ib@bank.example", "timeout": 5.0}
    return Mail.model_validate(plain | more)


async def sent(mail: Mail, message: bytes = MESSAGE, recipient: str = TO) -> object:
    server = MailServer(mail)
    try:
        await server.connect()
        return await server.send(message, recipient)
    finally:
        await server.close()


async def away(mail: Mail) -> MailServerAway:
    with pytest.raises(MailServerAway) as caught:
        await sent(mail)
    assert f"mail server {mail.host}:{mail.port}: " in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_a_mail_is_accepted_with_the_sender_and_one_recipient() -> None:
    async with smtp_server() as server:
        assert await sent(settings(server.port)) == Accepted()
    assert server.envelopes == [("ib@bank.example", [TO])]
    assert server.received[0].get_content().strip() == "body"


async def test_many_mails_go_over_one_connection() -> None:
    async with smtp_server() as server:
        client = MailServer(settings(server.port))
        for _ in range(3):
            await client.connect()
            assert await client.send(MESSAGE, TO) == Accepted()
        await client.close()
    assert (server.connections, len(server.received)) == (1, 3)


async def test_a_recipient_that_is_refused_is_this_mails_matter_only() -> None:
    async with smtp_server(SmtpServer(recipients={"gone@example.co.jp": "550 5.1.1 no such user"})) as server:
        client = MailServer(settings(server.port))
        await client.connect()
        assert await client.send(MESSAGE, "gone@example.co.jp") == Refused("550 5.1.1 no such user")
        assert await client.send(MESSAGE, TO) == Accepted()
        await client.close()


async def test_greylisting_is_not_now() -> None:
    async with smtp_server(SmtpServer(recipients={TO: "451 4.7.1 greylisted, come back"})) as server:
        assert await sent(settings(server.port)) == NotNow("451 4.7.1 greylisted, come back")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("554 5.6.0 spam", Refused("554 5.6.0 spam")), ("452 4.2.2 full", NotNow("452 4.2.2 full"))],
)
async def test_what_the_answer_to_the_content_means(answer: str, expected: object) -> None:
    async with smtp_server(SmtpServer(data=answer)) as server:
        assert await sent(settings(server.port)) == expected


async def test_a_sender_that_is_refused_is_no_mails_fault() -> None:
    async with smtp_server(SmtpServer(sender="550 5.7.1 not from here")) as server:
        error = await away(settings(server.port))
    assert (error.reason, error.may_have_it) == ("sender_refused", False)


async def test_a_server_that_closes_with_421_has_nothing() -> None:
    async with smtp_server(SmtpServer(recipients={TO: "421 4.3.2 shutting down"})) as server:
        error = await away(settings(server.port))
    assert (error.reason, error.may_have_it) == ("closing", False)


async def test_a_server_that_is_down_is_away(free_port: int) -> None:
    error = await away(settings(free_port))
    assert (error.reason, error.may_have_it) == ("unreachable", False)


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listening:
        error = await away(settings(listening.sockets[0].getsockname()[1], timeout=0.2))
    assert (error.reason, error.may_have_it) == ("slow", False)


async def test_a_server_that_is_slow_to_accept_may_have_the_mail() -> None:
    async with smtp_server(SmtpServer(gate=asyncio.Event())) as server:
        error = await away(settings(server.port, timeout=0.3))
        assert (error.reason, error.may_have_it) == ("slow", True)
        assert len(server.received) == 1


async def test_a_server_that_hangs_up_instead_of_accepting_may_have_the_mail() -> None:
    async with smtp_server(SmtpServer(hang_up=True)) as server:
        error = await away(settings(server.port))
    assert (error.reason, error.may_have_it) == ("disconnected", True)


async def test_after_a_server_was_away_the_next_mail_finds_it_again() -> None:
    async with smtp_server(SmtpServer(hang_up=True)) as server:
        client = MailServer(settings(server.port))
        await client.connect()
        with pytest.raises(MailServerAway):
            await client.send(MESSAGE, TO)
        server.hang_up = False
        await client.connect()
        assert await client.send(MESSAGE, TO) == Accepted()
        await client.close()


# --- TLS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_tls_with_a_server_of_a_ca_that_is_named(security: str, tmp_path: Path) -> None:
    ca = MailCa(tmp_path)
    context = ca.context("127.0.0.1")
    starttls, tls = (context, None) if security == "starttls" else (None, context)
    async with smtp_server(starttls=starttls, tls=tls) as server:
        assert await sent(settings(server.port, security=security, ca_file=ca.file)) == Accepted()


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["another CA", "another name", "expired"])
async def test_a_server_that_is_not_who_it_should_be_gets_nothing(security: str, wrong: str, tmp_path: Path) -> None:
    ca = MailCa(tmp_path)
    trusted = MailCa(tmp_path, "Other CA") if wrong == "another CA" else ca
    context = ca.context(
        "127.0.0.2" if wrong == "another name" else "127.0.0.1", days=-1.0 if wrong == "expired" else 1
    )
    starttls, tls = (context, None) if security == "starttls" else (None, context)
    async with smtp_server(starttls=starttls, tls=tls) as server:
        error = await away(settings(server.port, security=security, ca_file=trusted.file))
    assert error.reason == "tls"
    assert server.received == []


async def test_a_server_without_starttls_gets_nothing_and_no_password(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("sesame")
    async with smtp_server(account=("gateway", "sesame")) as server:
        error = await away(settings(server.port, security="starttls", user="gateway", password_file=password))
    assert error.reason == "not_supported"
    assert server.received == []


async def test_signing_in_to_the_server(tmp_path: Path) -> None:
    ca = MailCa(tmp_path)
    password = tmp_path / "password"
    password.touch(0o600)
    more = {"security": "starttls", "ca_file": ca.file, "user": "gateway", "password_file": password}
    async with smtp_server(starttls=ca.context("127.0.0.1"), account=("gateway", "sesame")) as server:
        password.write_text("sesame\n")
        assert await sent(settings(server.port, **more)) == Accepted()
        password.write_text("wrong\n")
        error = await away(settings(server.port, **more))
    assert (error.reason, error.may_have_it) == ("authentication", False)
    assert "wrong" not in str(error)
    assert len(server.received) == 1


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["mail.bank.example", "192.0.2.1", "0.0.0.0"])
def test_without_tls_only_this_machine_will_do(host: str) -> None:
    with pytest.raises(ValidationError, match="for a server on this machine only"):
        settings(25, host=host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_needs_no_tls(host: str) -> None:
    assert MailServer(settings(25, host=host))


@pytest.mark.parametrize(
    ("content", "mode", "cause"),
    [
        (b"sesame", 0o640, "may be read by others; run: chmod 0600"),
        (b"\n", 0o600, "is empty"),
        (b"two\nlines", 0o600, "holds more than one line"),
        (b"\xff\xfe", 0o600, "is not UTF-8"),
    ],
)
def test_a_password_file_that_will_not_do_is_named(content: bytes, mode: int, cause: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_bytes(content)
    password.chmod(mode)
    with pytest.raises(ConfigurationError, match=cause) as caught:
        MailServer(settings(25, user="gateway", password_file=password))
    assert str(password) in str(caught.value)


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere: mail\.password_file: cannot be read"):
        MailServer(settings(25, user="gateway", password_file=tmp_path / "nowhere"))


def test_a_ca_file_that_holds_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"ca\.pem: mail\.ca_file: holds no CA certificate"):
        MailServer(settings(25, security="tls", ca_file=file))


def test_tls_is_at_least_1_2(tmp_path: Path) -> None:
    from mtls_gateway.mail.server import tls_context

    context = tls_context(settings(25, security="tls", ca_file=MailCa(tmp_path).file))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
