from __future__ import annotations

import asyncio
import re

import pytest
from sqlalchemy import text

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, Method
from mtls_gateway.store.opening import Store, open_store


async def test_every_deed_of_an_operator_leaves_a_line(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    before = (await store.audit.lines())[-1].sequence
    clock.advance(60)
    await store.companies.set_method("acme", Method.CERTIFICATE, actor="yamada")
    await store.companies.suspend("acme", actor="yamada")
    await store.companies.resume("acme", actor="yamada")
    await store.users.stop("taro", actor="suzuki")
    await store.users.release("taro", actor="suzuki")
    await store.sessions.end_all_of("taro", actor="suzuki")
    await store.certificates.revoke(certificate, actor="suzuki", reason="lost PC")
    lines = await store.audit.lines(after=before)
    assert [(line.actor, line.action, line.subject) for line in lines] == [
        ("yamada", "company.method", "acme"),
        ("yamada", "company.suspend", "acme"),
        ("yamada", "company.resume", "acme"),
        ("suzuki", "user.stop", "taro"),
        ("suzuki", "user.release", "taro"),
        ("suzuki", "session.end", "taro"),
        ("suzuki", "certificate.revoke", str(certificate)),
    ]
    assert lines[-1].details == {"reason": "lost PC"}
    assert {line.at for line in lines} == {clock.now()}


async def test_lines_are_given_in_portions(store: Store) -> None:
    every = await store.audit.lines()
    assert await store.audit.lines(limit=2) == every[:2]
    assert await store.audit.lines(after=every[1].sequence) == every[2:]


async def _meddle(store: Store, *statements: str) -> None:
    async with store._database.writing("meddle") as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_a_log_that_nobody_has_touched_is_whole(store: Store) -> None:
    verified = await store.audit.verify()
    assert verified.faults == ()
    assert (verified.lines, verified.unchained) == (len(await store.audit.lines()), 0)


@pytest.mark.parametrize(
    ("meddling", "fault"),
    [
        (["UPDATE audit SET actor = 'nobody' WHERE sequence = 2"], "line 2 does not follow"),
        (["UPDATE audit SET details = '{}' WHERE sequence = 2"], "line 2 does not follow"),
        (["UPDATE audit SET at = at + 1 WHERE sequence = 3"], "line 3 does not follow"),
        (["UPDATE audit SET chain = NULL WHERE sequence = 2"], "line 2 does not follow"),
        (["UPDATE audit SET chain = NULL"], "the head is not that of line"),
        (["DELETE FROM audit WHERE sequence = 2"], "line 2 is missing"),
        (["DELETE FROM audit WHERE sequence < 3"], "lines 1 to 2 are missing"),
        (
            [
                "UPDATE audit SET sequence = 99 WHERE sequence = 2",
                "UPDATE audit SET sequence = 2 WHERE sequence = 3",
                "UPDATE audit SET sequence = 3 WHERE sequence = 99",
            ],
            "line 2 does not follow",
        ),
        (["DELETE FROM audit WHERE sequence > 3"], r"lines? 4 .*missing"),
        (
            [
                "DELETE FROM audit WHERE sequence > 3",
                "UPDATE audit_head SET sequence = 3, chain = (SELECT chain FROM audit WHERE sequence = 3)",
            ],
            "the head was changed: lines may have been cut off",
        ),
        (["DELETE FROM audit", "UPDATE audit_head SET sequence = 0"], "the head"),
    ],
)
async def test_whatever_is_done_to_it_without_the_key_shows(store: Store, meddling: list[str], fault: str) -> None:
    await store.users.stop("taro", actor="test")
    await store.users.release("taro", actor="test")
    await _meddle(store, *meddling)
    faults = (await store.audit.verify()).faults
    assert any(re.search(fault, one) for one in faults), faults


async def test_a_line_inserted_behind_the_end_stops_the_log_rather_than_becoming_part_of_it(store: Store) -> None:
    head = await store.audit.head()
    await _meddle(
        store,
        f"INSERT INTO audit (sequence, at, actor, action, subject, details) "
        f"VALUES ({head.sequence + 1}, 0, 'x', 'application.approve', '1', '{{}}')",
    )
    with pytest.raises(Exception, match=r"UNIQUE|unique"):
        await store.users.stop("taro", actor="test")


async def test_a_head_kept_elsewhere_shows_that_the_whole_log_was_put_back(store: Store) -> None:
    async with store._database.reading("keep") as connection:
        old = (await connection.execute(text("SELECT sequence, chain, tag FROM audit_head"))).one()
    await store.users.stop("taro", actor="test")
    kept = await store.audit.head()
    assert (await store.audit.verify(since=kept)).faults == ()
    async with store._database.writing("put back") as connection:
        await connection.execute(text(f"DELETE FROM audit WHERE sequence > {old.sequence}"))
        await connection.execute(
            text("UPDATE audit_head SET sequence = :s, chain = :c, tag = :t"),
            {"s": old.sequence, "c": old.chain, "t": old.tag},
        )
    assert (await store.audit.verify()).faults == ()
    assert "was written down" in (await store.audit.verify(since=kept)).faults[0]
    await store.users.release("taro", actor="test")
    assert "is not the one" in (await store.audit.verify(since=kept)).faults[0]


async def test_lines_from_before_the_chain_are_told_apart(store: Store, url: str, clock: ManualClock) -> None:
    await _meddle(store, "UPDATE audit SET chain = NULL")
    async with store._database.writing("meddle") as connection:
        await connection.execute(text("UPDATE audit_head SET chain = :nothing, tag = :nothing"), {"nothing": b""})
    before = await store.audit.head()
    await store.users.stop("taro", actor="test")
    verified = await store.audit.verify()
    assert verified.faults == ()
    assert (verified.unchained, verified.lines) == (before.sequence, 1)


async def test_another_key_does_not_fit(store: Store, url: str, clock: ManualClock) -> None:
    other = await open_store(url, clock, audit_key=b"k" * 32)
    assert (await other.audit.verify()).faults
    await other.close()


async def test_lines_of_many_writers_at_once_are_one_chain(store: Store, url: str, clock: ManualClock) -> None:
    others = [await open_store(url, clock) for _ in range(3)]
    await asyncio.gather(*(other.users.stop("taro", actor="test") for other in others for _ in range(10)))
    verified = await store.audit.verify()
    assert verified.faults == ()
    assert verified.lines == (await store.audit.head()).sequence
    for other in others:
        await other.close()
