"""The census says how many there are, of the whole store."""

from __future__ import annotations

import os

from mtls_gateway.clock import ManualClock
from mtls_gateway.model import CertificateId, CertificateState, Method, NewSession
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.opening import Store
from mtls_gateway.store.users import NewUser
from tests.store.conftest import ISSUER

DAY = 86_400.0


async def test_an_empty_store_counts_as_nothing(empty: Store) -> None:
    counted = await empty.census.take()
    assert counted.sessions == {Method.CERTIFICATE: 0, Method.PASSWORD: 0}
    assert (counted.suspended, counted.stopped) == (0, 0)
    assert set(counted.certificates.values()) == {0}
    assert counted.ending == {3: 0, 10: 0, 40: 0}


async def test_live_sessions_are_counted_by_method_and_ended_ones_are_not(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    now = clock.now()
    for user_id, shown in (("taro", certificate), ("hanako", None)):
        new = NewSession(os.urandom(32), user_id, shown, now, now + 28_800, b"")
        await store.sessions.open_session(new, idle=900.0)
    assert (await store.census.take()).sessions == {Method.CERTIFICATE: 1, Method.PASSWORD: 1}
    await store.sessions.end_all_of("taro", actor="test")
    assert (await store.census.take()).sessions == {Method.CERTIFICATE: 0, Method.PASSWORD: 1}


async def test_users_are_locked_for_a_while_and_then_until_the_bank_releases_them(
    store: Store, clock: ManualClock
) -> None:
    async def locked() -> tuple[int, int]:
        counted = await store.census.take()
        return counted.suspended, counted.stopped

    await store.attempts.begin_attempt("taro", limit=1, suspension=60.0, suspensions=2)
    assert await locked() == (1, 0)
    clock.advance(61)
    assert await locked() == (0, 0)
    await store.attempts.begin_attempt("taro", limit=1, suspension=60.0, suspensions=2)
    assert await locked() == (0, 1)


async def test_valid_certificates_that_end_soon_are_counted(store: Store, clock: ManualClock) -> None:
    users = [f"user{number}" for number in range(5)]
    await store.users.add([NewUser(user, "acme") for user in users], actor="test")
    ends = [clock.now() + days * DAY for days in (-1, 2, 9, 39, 100)]
    new = [
        NewCertificate(CertificateId(ISSUER, 100 + place), user, end)
        for place, (user, end) in enumerate(zip(users, ends, strict=True))
    ]
    await store.certificates.register(new, actor="test")
    counted = await store.census.take()
    assert counted.ending == {3: 1, 10: 2, 40: 3}
    # Taro's and Hanako's beside them; of those it is not known when they end.
    assert counted.certificates[CertificateState.VALID] == 7
    await store.certificates.revoke(CertificateId(ISSUER, 101), actor="test", reason="unspecified")
    assert (await store.census.take()).ending == {3: 0, 10: 1, 40: 2}
