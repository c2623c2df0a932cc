"""Several portals at one code, as processes of their own: one certificate, and no more tries than there are."""

from __future__ import annotations

import asyncio

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateState, CodeState
from mtls_gateway.store.opening import Store
from tests.store.issuing import DAY, LIMIT, populate, printed
from tests.store.test_concurrency import _go, _processes

#: ``key`` is what tells the requests apart; prints a certificate's serial, or why there is none.
_INTEND = """
    from mtls_gateway.errors import StateError
    from mtls_gateway.model import NewIntention
    async def ask(number):
        serial = int(name) * 1000 + number + 1
        new = NewIntention(
            CertificateId("CN=Bank", serial), "taro", "taro", "Bank", {now!r}, {now!r} + 9e6, {key}, None
        )
        try:
            written = await store.enrolments.intend_by_code(new, {code})
            await store.enrolments.complete(written.certificate, b"der")
            return written.certificate.serial
        except StateError as error:
            return getattr(error, "reason", "raced")
    print(*await asyncio.gather(*(ask(number) for number in range(25))))
"""


@pytest.fixture
async def store(empty: Store) -> Store:
    await populate(empty)
    return empty


@pytest.fixture
async def code(store: Store, clock: ManualClock) -> int:
    return await printed(store, expires=clock.now() + 80 * DAY)


async def states(store: Store) -> list[CertificateState]:
    return [one.state for one in await store.certificates.all(user_id="taro")]


async def test_fifty_keys_are_one_certificate(store: Store, url: str, clock: ManualClock, code: int) -> None:
    body = _INTEND.format(now=clock.now(), key='b"key %d" % serial', code=code)
    said = await asyncio.to_thread(_go, _processes(2, url, body.strip(), clock.now()))
    issued = [word for word in said if word.isdigit()]
    assert len(said) == 50
    assert len(issued) == 1
    assert set(said) - set(issued) <= {"code_used", "raced"}
    assert await states(store) == [CertificateState.VALID]


async def test_fifty_times_the_same_key_are_the_same_certificate(
    store: Store, url: str, clock: ManualClock, code: int
) -> None:
    body = _INTEND.format(now=clock.now(), key='b"the key"', code=code)
    said = await asyncio.to_thread(_go, _processes(2, url, body.strip(), clock.now()))
    assert len(said) == 50
    assert len(set(said)) == 1 and said[0].isdigit()
    assert await states(store) == [CertificateState.VALID]


@pytest.mark.parametrize("digest", [b"d" * 32, b"x" * 32], ids=["right code", "wrong code"])
async def test_fifty_tries_are_counted_exactly(
    store: Store, url: str, clock: ManualClock, code: int, digest: bytes
) -> None:
    body = f"""
    tries = [store.codes.begin_try("taro", "AAAA", {digest!r}, limit={LIMIT}) for _ in range(25)]
    print(*(one.outcome.value for one in await asyncio.gather(*tries)))
    """
    said = await asyncio.to_thread(_go, _processes(2, url, body.strip(), clock.now()))
    (row,) = await store.codes.all()
    assert (row.state, row.tries) == (CodeState.EXHAUSTED, LIMIT)
    if digest == b"d" * 32:
        assert (said.count("matched"), said.count("exhausted")) == (LIMIT, 50 - LIMIT)
    else:
        assert said == ["wrong"] * 50
