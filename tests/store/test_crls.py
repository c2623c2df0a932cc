"""What our own CRLs list, in which order, and their numbers."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert

from mtls_gateway.clerical import ListedRevocation, NumberedCrl
from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, CertificateState, print_serial
from mtls_gateway.store.opening import Store
from mtls_gateway.store.schema import certificates
from tests.store.conftest import ISSUER, START

DAY = 86_400.0


async def add(store: Store, *rows: tuple[int, CertificateState, float | None]) -> None:
    """Certificates of Taro's that have ended, with when they would have."""
    values = [
        {
            "issuer": ISSUER,
            "serial": print_serial(serial),
            "user_id": "taro",
            "state": state,
            "not_after": not_after,
            "registered": START - 9.0,
            "ended": START - 5.0,
            "reason": {"revoked": "keyCompromise", "superseded": "superseded"}.get(state.value),
        }
        for serial, state, not_after in rows
    ]
    async with store.crls._database.writing("prepare a test") as connection:
        await connection.execute(insert(certificates), values)


async def listed(store: Store, ended_after: float = START) -> list[ListedRevocation]:
    return [one async for one in store.crls.listed(ISSUER, ended_after)]


async def begin(store: Store, *, above: int = 0, ended_after: float = START, issuer: str = ISSUER) -> int:
    return await store.crls.begin(
        issuer, above=above, this_update=START, next_update=START + DAY, ended_after=ended_after
    )


async def test_revoked_and_superseded_ones_are_listed_by_rising_serials(store: Store) -> None:
    await add(
        store,
        (0x0100, CertificateState.REVOKED, START + DAY),
        (0xFF, CertificateState.SUPERSEDED, START + DAY),
        (0x020000, CertificateState.REVOKED, START + DAY),
        (0xA0, CertificateState.EXPIRED, START - DAY),
        (0xB0, CertificateState.EXPIRED, START + DAY),
    )
    assert await listed(store) == [
        ListedRevocation(0xFF, START - 5.0, "superseded"),
        ListedRevocation(0x0100, START - 5.0, "keyCompromise"),
        ListedRevocation(0x020000, START - 5.0, "keyCompromise"),
    ]


async def test_what_would_have_ended_by_now_is_dropped_and_what_ends_nobody_knows_when_stays(store: Store) -> None:
    await add(
        store,
        (0x31, CertificateState.REVOKED, START - 1.0),
        (0x32, CertificateState.REVOKED, START),
        (0x33, CertificateState.REVOKED, None),
    )
    assert [one.serial for one in await listed(store)] == [0x32, 0x33]
    assert await store.crls.count(ISSUER, START) == 2
    assert await store.crls.count(ISSUER, START - 1.0) == 3


async def test_each_issuer_has_its_own(store: Store) -> None:
    await store.certificates.revoke(CertificateId(ISSUER, 1), actor="test", reason="privilegeWithdrawn")
    assert [(one.serial, one.reason) for one in await listed(store)] == [(1, "privilegeWithdrawn")]
    assert await store.crls.count("CN=Other", START) == 0


async def test_a_revocation_says_when_it_was(store: Store, clock: ManualClock) -> None:
    clock.advance(77.0)
    await store.certificates.revoke(CertificateId(ISSUER, 1), actor="test")
    assert await listed(store) == [ListedRevocation(1, START + 77.0, "unspecified")]


async def test_no_number_is_given_twice_or_below_what_is_known_elsewhere(store: Store) -> None:
    assert [await begin(store), await begin(store)] == [1, 2]
    assert await begin(store, above=40) == 41
    assert await begin(store, above=7) == 42
    assert await begin(store, issuer="CN=Other") == 1
    many = await asyncio.gather(*(begin(store) for _ in range(10)))
    assert sorted(many) == list(range(43, 53))


async def test_the_last_one_says_how_many_it_lists(store: Store) -> None:
    assert await store.crls.last(ISSUER) is None
    await add(store, (0x41, CertificateState.REVOKED, START + DAY))
    await begin(store, ended_after=START - DAY)
    assert await store.crls.last(ISSUER) == NumberedCrl(1, START - DAY, 1)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_counting_is_answered_by_the_index_alone(store: Store) -> None:
    from sqlalchemy import text

    statement = text(
        "EXPLAIN QUERY PLAN SELECT count(*) FROM certificates WHERE issuer = 'x' "
        "AND state IN ('revoked', 'superseded') AND (not_after >= 1 OR not_after IS NULL)"
    )
    async with store.crls._database.reading("explain") as connection:
        plan = [row.detail for row in await connection.execute(statement)]
    assert "ix_certificates_listed" in plan[0], plan
