"""From the outbox to a real server: what is refused, put off, repeated; while it is away nothing fails or is lost."""

from __future__ import annotations

import asyncio
import logging

import pytest
from prometheus_client import REGISTRY

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Mail, Pages
from mtls_gateway.mail.message import message_id
from mtls_gateway.mail.postman import Postman
from mtls_gateway.mail.server import MailServer
from mtls_gateway.mail.texts import Texts
from mtls_gateway.model import CertificateId, MailState
from mtls_gateway.store.opening import Store
from tests.mail.conftest import ISSUER, START
from tests.mail.smtp_world import SmtpServer, smtp_server

HANAKO = "hanako@example.co.jp"
TARO = "taro@example.co.jp"


class Office:
    """A postman with its store and clock."""

    def __init__(self, store: Store, clock: ManualClock, port: int, **more: object) -> None:
        plain = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "ib@bank.example", "timeout": 5.0}
        self.settings = Mail.model_validate(plain | more)
        self.store = store
        self.clock = clock
        texts = Texts(Pages(), renewable=True, replies=False)
        self.postman = Postman(store.outbox, MailServer(self.settings), texts, self.settings, "デモ信用組合", clock)

    async def states(self) -> dict[str, MailState]:
        return {mail.address: mail.state for mail in await self.store.outbox.all()}

    async def tries(self) -> dict[str, int]:
        return {mail.address: mail.tries for mail in await self.store.outbox.all()}

    async def errors(self) -> dict[str, str | None]:
        return {mail.address: mail.error for mail in await self.store.outbox.all()}


async def revoke(store: Store) -> None:
    """Hanako's certificate: a mail to her and one to Taro."""
    await store.certificates.revoke(CertificateId(ISSUER, 2), actor="test")


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"mtls_gateway_{name}", labels) or 0.0


async def test_a_revocation_is_told_to_the_user_and_its_administrators(store: Store, clock: ManualClock) -> None:
    before = figure("mails_total", kind="revoked", outcome="sent")
    async with smtp_server() as server:
        office = Office(store, clock, server.port)
        await revoke(store)
        assert await office.postman.round() == 2
        assert await office.postman.round() == 0
    assert sorted(to for _, (to,) in server.envelopes) == [HANAKO, TARO]
    assert await office.states() == dict.fromkeys([HANAKO, TARO], MailState.SENT)
    for message in server.received:
        body = message.get_content()
        assert "株式会社アクメ" in body
        assert "山田 花子 様" in body
        assert "失効日時　　：2027年1月15日（金）17時00分" in body
    assert figure("mails_total", kind="revoked", outcome="sent") == before + 2
    assert figure("mails_waiting") == 0


async def test_a_refused_recipient_fails_alone_and_can_be_tried_again(store: Store, clock: ManualClock) -> None:
    async with smtp_server(SmtpServer(recipients={HANAKO: "550 5.1.1 no such user"})) as server:
        office = Office(store, clock, server.port)
        await revoke(store)
        await office.postman.round()
        assert await office.states() == {HANAKO: MailState.FAILED, TARO: MailState.SENT}
        assert (await office.errors())[HANAKO] == "550 5.1.1 no such user"
        clock.advance(400 * 86_400)
        assert await office.postman.round() == 0
        server.recipients.clear()
        assert await store.outbox.retry(actor="test") == 1
        await office.postman.round()
    assert await office.states() == dict.fromkeys([HANAKO, TARO], MailState.SENT)
    assert [to for _, (to,) in server.envelopes].count(HANAKO) == 1


async def test_greylisting_puts_off_for_longer_and_longer(store: Store, clock: ManualClock) -> None:
    async with smtp_server(SmtpServer(recipients={HANAKO: "451 greylisted"})) as server:
        office = Office(store, clock, server.port, retry_first=60.0, retry_longest=200.0)
        await revoke(store)
        await office.postman.round()
        for wait in (60.0, 120.0, 200.0, 200.0):
            assert (await office.states())[HANAKO] is MailState.WAITING
            clock.advance(wait - 1.0)
            assert await office.postman.round() == 0
            clock.advance(1.0)
            assert await office.postman.round() == 1
        server.recipients.clear()
        clock.advance(200.0)
        assert await office.postman.round() == 1
    assert await office.states() == dict.fromkeys([HANAKO, TARO], MailState.SENT)
    assert len(server.received) == 2


async def test_what_is_put_off_for_too_long_has_failed(store: Store, clock: ManualClock) -> None:
    async with smtp_server(SmtpServer(recipients={HANAKO: "451 not yet"})) as server:
        office = Office(store, clock, server.port, retry_first=100.0, retry_longest=100.0, give_up=300.0)
        await revoke(store)
        rounds = 0
        while (await office.states())[HANAKO] is not MailState.FAILED:
            await office.postman.round()
            clock.advance(100.0)
            rounds += 1
    assert rounds == 4
    assert (await office.errors())[HANAKO] == "tried 4 times, at last: 451 not yet"


async def test_while_the_server_is_away_nothing_fails_and_nothing_counts(
    store: Store, clock: ManualClock, free_port: int
) -> None:
    office = Office(store, clock, free_port, give_up=100.0)
    await revoke(store)
    before = figure("mail_server_failures_total", reason="unreachable")
    for _ in range(12):
        assert await office.postman.round() == 0
        clock.advance(86_400.0)
    assert figure("mail_server_failures_total", reason="unreachable") == before + 12
    assert figure("mails_waiting") == 2
    assert figure("mail_oldest_waiting_seconds") == pytest.approx(11 * 86_400.0)
    assert await office.tries() == dict.fromkeys([HANAKO, TARO], 0)
    async with smtp_server(port=free_port) as server:
        assert await office.postman.round() == 2
    assert await office.states() == dict.fromkeys([HANAKO, TARO], MailState.SENT)
    assert len(server.received) == 2


async def test_a_server_that_is_away_is_asked_less_and_less_often(
    store: Store, clock: ManualClock, free_port: int
) -> None:
    office = Office(store, clock, free_port, pause_longest=8.0)
    await revoke(store)
    waits = []
    for _ in range(5):
        await office.postman.round()
        waits.append((await store.outbox.all())[0].due - clock.now())
        clock.advance(waits[-1])
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]


async def test_a_mail_that_the_server_cannot_stand_is_passed_by(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with smtp_server(SmtpServer(hang_up=True)) as server:
        office = Office(store, clock, server.port)
        await revoke(store)
        await office.postman.round()
        first = server.envelopes[0][1][0]
        # Its answer is lost: it may be there, and may come a second time. That is said, and it waits longer.
        assert [record.getMessage() for record in caplog.records if "second time" in record.getMessage()]
        server.hang_up = False
        clock.advance(1.0)
        await office.postman.round()
        other = server.envelopes[1][1][0]
        assert {first, other} == {HANAKO, TARO}
        clock.advance(60.0)
        await office.postman.round()
    assert [to for _, (to,) in server.envelopes] == [first, other, first]
    assert server.received[0]["Message-ID"] == server.received[2]["Message-ID"]


async def test_a_clerk_that_dies_between_sending_and_marking_repeats_that_one_mail_with_the_same_message_id(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with smtp_server(SmtpServer(gate=asyncio.Event())) as server:
        office = Office(store, clock, server.port)
        await revoke(store)
        # Taken and given to the server, and then nothing is ever heard of this clerk again.
        taken = asyncio.Event()
        server.taken = taken.set
        mails = await store.outbox.take(20, lease=60.0)
        client = MailServer(office.settings)
        await client.connect()
        lost = asyncio.ensure_future(client.send(office.postman._compose(mails[0]), mails[0].address))
        await taken.wait()
        assert server.gate is not None
        server.gate.set()
        await lost
        await client.close()
        successor = Office(store, clock, server.port)
        assert await successor.postman.round() == 0
        clock.advance(60.0)
        assert await successor.postman.round() == 2
        assert await successor.postman.round() == 0
    assert len(server.received) == 3
    identities = [str(message["Message-ID"]) for message in server.received]
    assert identities.count(identities[0]) == 2
    assert identities[0] == message_id(mails[0].key, "ib@bank.example")
    said = [record for record in caplog.records if "may go out a second time" in record.getMessage()]
    assert len(said) == 2  # of both that were taken: nobody knows how far it came
    assert all(record.levelno == logging.WARNING for record in said)
    assert identities[0] in said[0].getMessage()


async def test_told_to_stop_it_finishes_the_mail_under_way_and_gives_the_others_back(
    store: Store, clock: ManualClock
) -> None:
    async with smtp_server(SmtpServer(gate=asyncio.Event())) as server:
        office = Office(store, clock, server.port)
        await revoke(store)
        taken = asyncio.Event()
        server.taken = taken.set
        running = asyncio.ensure_future(office.postman.step())
        await taken.wait()
        office.postman.stop()
        assert server.gate is not None
        server.gate.set()
        await running
        assert sorted((await office.states()).values()) == [MailState.SENT, MailState.WAITING]
        # At once, not after a lease, and without a word of a second time.
        successor = Office(store, clock, server.port)
        assert await successor.postman.round() == 1
    assert len(server.received) == 2


async def test_a_mail_whose_text_holds_a_link_fails_and_the_others_go(store: Store, clock: ManualClock) -> None:
    await store.users.add([], actor="test")
    async with smtp_server() as server:
        office = Office(store, clock, server.port)
        await store.companies.create("thief", "http://thief.example", None, actor="test")
        from mtls_gateway.store.certificates import NewCertificate
        from mtls_gateway.store.users import NewUser

        await store.users.add([NewUser("eve", "thief", email="eve@example.com")], actor="test")
        await store.certificates.register([NewCertificate(CertificateId(ISSUER, 3), "eve", START)], actor="test")
        await store.certificates.revoke(CertificateId(ISSUER, 3), actor="test")
        await revoke(store)
        assert await office.postman.round() == 3
    states = await office.states()
    assert states == {"eve@example.com": MailState.FAILED, HANAKO: MailState.SENT, TARO: MailState.SENT}
    assert "would hold a link" in ((await office.errors())["eve@example.com"] or "")


async def test_many_mails_are_taken_in_batches_over_one_connection(store: Store, clock: ManualClock) -> None:
    from mtls_gateway.store.users import NewUser

    await store.users.add(
        [NewUser(f"boss{place}", "acme", administrator=True, email=f"boss{place}@example.co.jp") for place in range(8)],
        actor="test",
    )
    async with smtp_server() as server:
        office = Office(store, clock, server.port, batch=3)
        await revoke(store)
        assert [await office.postman.round() for _ in range(5)] == [3, 3, 3, 1, 0]
    assert len(server.received) == 10
    assert server.connections == 1


async def test_without_a_mail_server_what_is_due_is_listed_as_failed_and_can_be_sent_later(
    store: Store, clock: ManualClock
) -> None:
    await revoke(store)
    assert await store.outbox.fail_all("no mail server is configured") == 2
    assert await store.outbox.fail_all("no mail server is configured") == 0
    async with smtp_server() as server:
        office = Office(store, clock, server.port)
        assert await office.postman.round() == 0
        assert await store.outbox.retry(actor="test") == 2
        assert await office.postman.round() == 2
    assert len(server.received) == 2


async def test_what_was_posted_while_the_clock_was_a_year_ahead_goes_out_all_the_same(
    store: Store, clock: ManualClock
) -> None:
    clock.set(START + 365 * 86_400)
    await revoke(store)
    clock.set(START)
    async with smtp_server() as server:
        office = Office(store, clock, server.port)
        assert await office.postman.round() == 2
        assert await office.postman.round() == 0
    assert len(server.received) == 2
