from __future__ import annotations

import os

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError
from mtls_gateway.model import CertificateId, ChangeKind, NewSession, SessionState
from mtls_gateway.store.opening import Store

IDLE = 900.0


async def _open(
    store: Store, clock: ManualClock, certificate: CertificateId | None, user_id: str = "taro", cookies: bytes = b"jar"
) -> tuple[bytes, SessionState]:
    digest = os.urandom(32)
    now = clock.now()
    new = NewSession(digest, user_id, certificate, now, now + 28_800, cookies)
    return digest, await store.sessions.open_session(new, idle=IDLE)


async def _state(store: Store, digest: bytes) -> SessionState:
    row = await store.worker.session(digest)
    assert row is not None
    return row.state


async def test_a_session_comes_back_as_it_was_opened(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    digest, state = await _open(store, clock, certificate)
    row = await store.worker.session(digest)
    assert row is not None
    assert (state, row.state, row.certificate, row.user.user_id) == (
        SessionState.LIVE,
        SessionState.LIVE,
        certificate,
        "taro",
    )
    assert (row.opened, row.last_used, row.ends) == (clock.now(), clock.now(), clock.now() + 28_800)
    assert await store.worker.session(b"\x00" * 32) is None


async def test_a_session_keeps_the_backend_that_it_was_opened_at(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    now = clock.now()
    new = NewSession(b"\x07" * 32, "taro", certificate, now, now + 60, b"", "http://10.0.0.2:8080")
    await store.sessions.open_session(new, idle=IDLE)
    row = await store.worker.session(new.digest)
    assert row is not None and row.backend == "http://10.0.0.2:8080"


async def test_a_second_session_waits_and_takes_the_first_over(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    first, _ = await _open(store, clock, certificate, cookies=b"first")
    clock.advance(60)
    second, state = await _open(store, clock, certificate, cookies=b"second")
    assert state is SessionState.PENDING
    before = await store.worker.latest_change()
    assert await store.sessions.take_over(second, not_before=clock.now() - 120) == [(first, b"first")]
    assert (await _state(store, first), await _state(store, second)) == (SessionState.ENDED, SessionState.LIVE)
    told = {(one.kind, one.subject) for one in await store.worker.changes_since(before)}
    changed = {(ChangeKind.SESSION, first.hex()), (ChangeKind.SESSION, second.hex())}
    assert told == {*changed, (ChangeKind.OPENED, second.hex())}


async def test_a_session_of_a_clock_that_was_set_back_since_keeps_nobody_out(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    first, _ = await _open(store, clock, certificate)
    clock.set(clock.now() - IDLE + 1)
    _, state = await _open(store, clock, certificate)
    assert state is SessionState.PENDING
    clock.set(clock.now() - 2)
    _, state = await _open(store, clock, certificate)
    assert state is SessionState.LIVE
    assert await _state(store, first) is SessionState.ENDED


async def test_of_two_that_wait_the_one_that_takes_over_ends_the_other_too(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    first, _ = await _open(store, clock, certificate)
    second, _ = await _open(store, clock, certificate)
    third, _ = await _open(store, clock, certificate)
    ended = await store.sessions.take_over(third, not_before=clock.now())
    assert {digest for digest, _ in ended} == {first, second}
    with pytest.raises(StateError, match="no longer waits"):
        await store.sessions.take_over(second, not_before=0)


async def test_a_take_over_has_a_time_limit(store: Store, clock: ManualClock, certificate: CertificateId) -> None:
    first, _ = await _open(store, clock, certificate)
    second, _ = await _open(store, clock, certificate)
    clock.advance(121)
    with pytest.raises(StateError):
        await store.sessions.take_over(second, not_before=clock.now() - 120)
    assert await _state(store, first) is SessionState.LIVE


@pytest.mark.parametrize("make", ["live", "ended", "unknown", "overdue"])
async def test_only_a_waiting_session_can_take_over(
    make: str, store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    digest, _ = await _open(store, clock, certificate)
    if make == "ended":
        await store.sessions.end_session(digest, "signed_out")
    elif make == "unknown":
        digest = os.urandom(32)
    elif make == "overdue":
        digest, _ = await _open(store, clock, certificate)
        clock.advance(28_800)
    with pytest.raises(StateError):
        await store.sessions.take_over(digest, not_before=0)


@pytest.mark.parametrize(("passed", "state"), [(900.0, SessionState.PENDING), (900.1, SessionState.LIVE)])
async def test_an_idle_session_is_ended_when_the_next_one_opens(
    passed: float, state: SessionState, store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    first, _ = await _open(store, clock, certificate)
    clock.advance(passed)
    before = await store.worker.latest_change()
    second, opened = await _open(store, clock, certificate)
    assert opened is state
    told = [(one.kind, one.subject) for one in await store.worker.changes_since(before)]
    # A live one is told of as well: workers read it before its browser comes to them.
    both = [(ChangeKind.SESSION, first.hex()), (ChangeKind.OPENED, second.hex())]
    assert told == (both if state is SessionState.LIVE else [])


async def test_a_session_at_its_absolute_end_is_ended_when_the_next_one_opens(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    first, _ = await _open(store, clock, certificate)
    clock.advance(28_800)
    await store.worker.note_use({first: clock.now()})
    assert (await _open(store, clock, certificate))[1] is SessionState.LIVE
    assert await _state(store, first) is SessionState.ENDED


async def test_noted_uses_never_go_back_nor_wake_the_ended(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    digest, _ = await _open(store, clock, certificate)
    opened = clock.now()
    for used in (opened + 50, opened + 20, opened - 7):
        await store.worker.note_use({digest: used, b"\x07" * 32: used})
    row = await store.worker.session(digest)
    assert row is not None
    assert row.last_used == opened + 50
    await store.sessions.end_session(digest, "signed_out")
    await store.worker.note_use({digest: opened + 90})
    ended = await store.worker.session(digest)
    assert ended is not None
    assert (ended.last_used, ended.state) == (opened + 50, SessionState.ENDED)
    await store.worker.note_use({})


async def test_ending_gives_the_legacy_cookies_once(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    digest, _ = await _open(store, clock, certificate, cookies=b"jar")
    before = await store.worker.latest_change()
    assert await store.sessions.end_session(digest, "signed_out") == b"jar"
    assert await store.sessions.end_session(digest, "signed_out") is None
    assert await store.sessions.end_session(b"\x00" * 32, "signed_out") is None
    assert [one.subject for one in await store.worker.changes_since(before)] == [digest.hex()]
    assert await store.sessions.take_legacy_left() == []


async def test_a_user_of_the_password_method_has_sessions_without_a_certificate(
    store: Store, clock: ManualClock
) -> None:
    digest, state = await _open(store, clock, None, "hanako")
    row = await store.worker.session(digest)
    assert row is not None
    assert (state, row.certificate) == (SessionState.LIVE, None)


async def test_a_session_needs_a_user_and_a_registered_certificate(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    with pytest.raises(StateError, match="no user nobody"):
        await _open(store, clock, certificate, "nobody")
    with pytest.raises(StateError, match="not registered"):
        await _open(store, clock, CertificateId(certificate.issuer, 99))


async def test_a_digest_is_used_once(store: Store, clock: ManualClock, certificate: CertificateId) -> None:
    digest, _ = await _open(store, clock, certificate)
    new = NewSession(digest, "hanako", None, clock.now(), clock.now() + 1, b"")
    with pytest.raises(StateError):
        await store.sessions.open_session(new, idle=IDLE)
    assert await _state(store, digest) is SessionState.LIVE


async def test_what_ends_without_its_browser_leaves_its_legacy_session_to_be_ended(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    digest, _ = await _open(store, clock, certificate, cookies=b"jar")
    assert await store.sessions.end_all_of("taro", actor="operator") == 1
    assert await store.sessions.end_all_of("taro", actor="operator") == 0
    assert [(one.digest, one.legacy_cookies) for one in await store.sessions.take_legacy_left()] == [(digest, b"jar")]
    assert await store.sessions.take_legacy_left() == []
    with pytest.raises(StateError, match="no user nobody"):
        await store.sessions.end_all_of("nobody", actor="operator")


async def test_overdue_sessions_are_swept_and_told(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    idle, _ = await _open(store, clock, certificate)
    clock.advance(600)
    used, _ = await _open(store, clock, None, "hanako")
    clock.advance(301)
    before = await store.worker.latest_change()
    assert await store.sessions.end_overdue(idle=IDLE) == 1
    assert [one.subject for one in await store.worker.changes_since(before)] == [idle.hex()]
    assert await _state(store, used) is SessionState.LIVE


async def test_pruning_forgets_ended_and_overdue_sessions_only(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    ended, _ = await _open(store, clock, certificate)
    await store.sessions.end_session(ended, "signed_out")
    clock.advance(10)
    live, _ = await _open(store, clock, certificate)
    assert (await store.prune(clock.now())).sessions == 1
    assert await store.worker.session(ended) is None
    assert await _state(store, live) is SessionState.LIVE
    clock.advance(28_801)
    assert (await store.prune(clock.now())).sessions == 1


async def test_listing_is_by_user_and_state_newest_first(
    store: Store, clock: ManualClock, certificate: CertificateId
) -> None:
    first, _ = await _open(store, clock, certificate)
    clock.advance(1)
    second, _ = await _open(store, clock, certificate)
    await _open(store, clock, None, "hanako")
    assert [one.digest for one in await store.sessions.all(user_id="taro")] == [second, first]
    assert [one.digest for one in await store.sessions.all(user_id="taro", state=SessionState.LIVE)] == [first]
