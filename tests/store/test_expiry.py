"""Certificates that end: found by an index, posted and marked in one transaction, whatever happens meanwhile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import event, insert, update

from mtls_gateway.clerical import EndingCertificate, GivenNotice
from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import CertificateId, CertificateState, ChangeKind, print_serial
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import Store
from mtls_gateway.store.schema import certificates
from mtls_gateway.store.users import NewUser
from tests.store.conftest import ISSUER, START

DAY = 86_400.0


def certificate(serial: int) -> CertificateId:
    return CertificateId(ISSUER, serial)


@pytest.fixture
async def ending(empty: Store) -> Store:
    """Users u1 … u4 whose certificates end after so many days."""
    await empty.companies.create("acme", "株式会社アクメ", "Acme Ltd.", actor="test")
    people = [NewUser(f"u{place}", "acme", email=f"u{place}@example.co.jp") for place in range(1, 5)]
    await empty.users.add([*people, NewUser("boss", "acme", administrator=True, email="b@example.co.jp")], actor="test")
    added = [NewCertificate(certificate(place), f"u{place}", START + place * DAY) for place in range(1, 5)]
    await empty.certificates.register(added, actor="test")
    return empty


async def write(store: Store, statement: object) -> None:
    async with store.expiry._database.writing("prepare a test") as connection:
        await connection.execute(statement)  # type: ignore[call-overload]


def awaiting(serial: int, user_id: str) -> object:
    return insert(certificates).values(
        issuer=ISSUER,
        serial=print_serial(serial),
        user_id=user_id,
        state=CertificateState.AWAITING,
        not_after=START + 365 * DAY,
        registered=START,
    )


def given(found: Sequence[EndingCertificate], notice: int, *, mailed: bool = True) -> list[GivenNotice]:
    return [GivenNotice(one, notice, mailed=mailed, expired=notice == 0) for one in found]


async def test_those_are_found_that_end_before_the_bound_and_were_given_that_notice(ending: Store) -> None:
    found = await ending.expiry.ending(None, START + 3 * DAY, 10)
    assert [one.user_id for one in found] == ["u1", "u2"]
    assert [one.user_id for one in await ending.expiry.ending(None, START + 9 * DAY, 3)] == ["u1", "u2", "u3"]
    assert await ending.expiry.give(given(found, 10), START) == 2
    assert [one.user_id for one in await ending.expiry.ending(None, START + 9 * DAY, 10)] == ["u3", "u4"]
    assert [one.user_id for one in await ending.expiry.ending(10, START + 9 * DAY, 10)] == ["u1", "u2"]
    assert list(await ending.expiry.last_notices()) == [None, 10]


async def test_what_ends_nobody_knows_when_is_never_found(store: Store) -> None:
    assert await store.expiry.ending(None, 1e12, 10) == []


async def test_mails_wait_until_they_may_go_out(ending: Store, clock: ManualClock) -> None:
    await ending.expiry.give(given(await ending.expiry.ending(None, START + 2 * DAY, 1), 3), START + 100.0)
    assert await ending.outbox.take(10, lease=60.0) == []
    clock.advance(100.0)
    mails = await ending.outbox.take(10, lease=60.0)
    assert {(mail.kind, mail.recipient_id) for mail in mails} == {("expiry-3", "u1"), ("expiry-3", "boss")}
    assert mails[0].facts["not_after"] == START + DAY


async def test_on_expiry_the_row_is_expired_and_every_worker_hears_of_it(ending: Store, clock: ManualClock) -> None:
    before = await ending.changes.latest_change()
    clock.advance(DAY + 1.0)
    await ending.expiry.give(given(await ending.expiry.ending(None, clock.now(), 10), 0), clock.now())
    registration = await ending.certificates.registration(certificate(1))
    assert registration is not None
    assert registration.state is CertificateState.EXPIRED
    told = await ending.changes.changes_since(before)
    assert [(change.kind, change.subject) for change in told] == [(ChangeKind.CERTIFICATE, str(certificate(1)))]
    assert [line.action for line in await ending.audit.lines()][-1] == "certificate.expire"
    # Its place is free for the next one.
    await ending.certificates.register([NewCertificate(certificate(9), "u1", START + 400 * DAY)], actor="test")


async def test_the_same_notice_is_given_once_by_however_many(ending: Store) -> None:
    found = await ending.expiry.ending(None, START + 9 * DAY, 10)
    assert await ending.expiry.give(given(found, 40), START) == 4
    assert await ending.expiry.give(given(found, 40), START) == 0
    assert len(await ending.outbox.all()) == 8


async def test_what_was_revoked_meanwhile_is_left_alone(ending: Store) -> None:
    found = await ending.expiry.ending(None, START + 9 * DAY, 10)
    await ending.certificates.revoke(certificate(2), actor="test")
    assert await ending.expiry.give(given(found, 0), START) == 3
    registration = await ending.certificates.registration(certificate(2))
    assert registration is not None
    assert registration.state is CertificateState.REVOKED
    assert not [mail for mail in await ending.outbox.all(user_id="u2") if mail.kind == "expiry-0"]


async def test_a_renewal_that_waits_for_its_first_sign_in_is_seen(ending: Store) -> None:
    await write(ending, awaiting(0x22, "u2"))
    found = {one.user_id: one.renewed for one in await ending.expiry.ending(None, START + 9 * DAY, 10)}
    assert found == {"u1": False, "u2": True, "u3": False, "u4": False}
    # The newer one itself is nobody's elder.
    newer = [one for one in await ending.expiry.ending(None, 1e12, 10) if one.certificate == certificate(0x22)]
    assert [one.renewed for one in newer] == [False]


async def test_posting_and_marking_are_one(ending: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await ending.expiry.ending(None, START + 9 * DAY, 10)
    # A row in the outbox that cannot be written: the address is missing where none may be.
    await write(ending, update(certificates).values(noticed=None))

    async def broken(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mtls_gateway.store.expiry.post_each", broken)
    with pytest.raises(StoreUnavailable):
        await ending.expiry.give(given(found, 40), START)
    monkeypatch.undo()
    assert len(await ending.expiry.ending(None, START + 9 * DAY, 10)) == 4
    assert await ending.outbox.all() == []


async def test_what_is_upcoming_comes_with_whoever_would_be_told(ending: Store) -> None:
    found = [one async for one in ending.expiry.upcoming(START + 3 * DAY)]
    assert [(one.ending.user_id, one.company_id, one.recipients) for one in found] == [
        ("u1", "acme", (("boss", "b@example.co.jp"), ("u1", "u1@example.co.jp"))),
        ("u2", "acme", (("boss", "b@example.co.jp"), ("u2", "u2@example.co.jp"))),
    ]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_an_index_answers_every_question_of_the_sweep(ending: Store) -> None:
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        statements.append((statement, parameters))

    engine = ending.expiry._database._engine
    for pool in (engine.readers, engine.writers):
        event.listen(pool.sync_engine, "before_cursor_execute", note)
    await ending.expiry.last_notices()
    await ending.expiry.ending(40, START, 10)
    assert await ending.expiry.give(given(await ending.expiry.ending(None, START + 9 * DAY, 10), 0), START) == 4
    for pool in (engine.readers, engine.writers):
        event.remove(pool.sync_engine, "before_cursor_execute", note)
    about = [one for one in statements if re.search(r"(FROM|UPDATE|JOIN) (certificates|users|outbox)\b", one[0])]
    assert len(about) == 7
    async with ending.expiry._database.reading("explain") as connection:
        for statement, parameters in about:
            rows: Any = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for row in rows:
                # By its key, not through all that were given the same notice.
                assert not statement.startswith("UPDATE certificates") or "autoindex_certificates_1" in row.detail
                assert not re.match(r"SCAN (certificates|users|subject|outbox)\b", row.detail), (statement, row.detail)
