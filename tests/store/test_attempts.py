from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError
from mtls_gateway.model import Attempt, ChangeKind
from mtls_gateway.store.opening import Store


async def _attempt(store: Store, user_id: str = "taro") -> Attempt:
    return await store.attempts.begin_attempt(user_id, limit=5, suspension=1800.0, suspensions=3)


async def _told(store: Store, since: int) -> list[tuple[ChangeKind, str]]:
    return [(one.kind, one.subject) for one in await store.worker.changes_since(since)]


async def test_the_fifth_wrong_password_suspends_for_half_an_hour_and_workers_hear_of_it(
    store: Store, clock: ManualClock
) -> None:
    before = await store.worker.latest_change()
    for _ in range(4):
        attempt = await _attempt(store)
        assert attempt.allowed
        assert attempt.user.suspended_until is None
    assert await _told(store, before) == []
    fifth = await _attempt(store)
    assert fifth.allowed
    assert fifth.user.suspended_until == clock.now() + 1800
    assert await _told(store, before) == [(ChangeKind.USER, "taro")]
    sixth = await _attempt(store)
    assert not sixth.allowed
    assert sixth.user.suspended_until == clock.now() + 1800
    assert not sixth.user.stopped


async def test_the_suspension_ends_at_its_very_second_and_the_count_begins_anew(
    store: Store, clock: ManualClock
) -> None:
    for _ in range(5):
        await _attempt(store)
    clock.advance(1799.9)
    assert not (await _attempt(store)).allowed
    clock.advance(0.1)
    for _ in range(4):
        attempt = await _attempt(store)
        assert attempt.allowed
        assert attempt.user.suspended_until is None
    assert (await _attempt(store)).user.suspended_until == clock.now() + 1800


async def test_the_third_suspension_stops_the_user_until_the_bank_releases_it(store: Store, clock: ManualClock) -> None:
    for _ in range(3):
        for _ in range(5):
            attempt = await _attempt(store)
            assert attempt.allowed
        clock.advance(1800)
    assert attempt.user.stopped
    clock.advance(10 * 365 * 86400)
    assert not (await _attempt(store)).allowed
    before = await store.worker.latest_change()
    await store.users.release("taro", actor="operator")
    assert await _told(store, before) == [(ChangeKind.USER, "taro")]
    released = await _attempt(store)
    assert released.allowed
    assert not released.user.stopped
    # From the beginning: five more only suspend.
    for _ in range(4):
        last = await _attempt(store)
    assert not last.user.stopped


async def test_a_right_password_forgets_the_wrong_ones(store: Store) -> None:
    for _ in range(3):
        for _ in range(4):
            await _attempt(store)
        await store.attempts.attempt_was_right("taro")
    assert (await _attempt(store)).user.suspended_until is None


async def test_the_attempt_that_suspended_lifts_the_suspension_when_it_is_right(store: Store) -> None:
    for _ in range(5):
        await _attempt(store)
    before = await store.worker.latest_change()
    await store.attempts.attempt_was_right("taro")
    assert await _told(store, before) == [(ChangeKind.USER, "taro")]
    assert (await _attempt(store)).allowed


async def test_the_attempt_that_stopped_lifts_the_stop_when_it_is_right(store: Store, clock: ManualClock) -> None:
    for _ in range(3):
        for _ in range(5):
            await _attempt(store)
        clock.advance(1800)
    await store.attempts.attempt_was_right("taro")
    assert (await _attempt(store)).allowed


async def test_a_right_password_does_not_lift_an_operators_stop(store: Store) -> None:
    await _attempt(store)
    await store.users.stop("taro", actor="operator")
    await store.attempts.attempt_was_right("taro")
    attempt = await _attempt(store)
    assert not attempt.allowed
    assert attempt.user.stopped


async def test_an_attempt_taken_back_was_never_counted(store: Store) -> None:
    for _ in range(20):
        assert (await _attempt(store)).allowed
        await store.attempts.attempt_did_not_count("taro")
    for _ in range(4):
        assert (await _attempt(store)).user.suspended_until is None


async def test_taking_the_fifth_attempt_back_lifts_its_suspension_and_keeps_the_four(store: Store) -> None:
    for _ in range(5):
        await _attempt(store)
    await store.attempts.attempt_did_not_count("taro")
    again = await _attempt(store)
    assert again.allowed
    assert again.user.suspended_until is not None
    (taro,) = [one for one in await store.users.all() if one.user.user_id == "taro"]
    assert (taro.wrong_passwords, taro.suspensions) == (5, 1)


async def test_taking_back_the_attempt_that_stopped_lifts_the_stop(store: Store, clock: ManualClock) -> None:
    for _ in range(3):
        for _ in range(5):
            await _attempt(store)
        clock.advance(1800)
    await store.attempts.attempt_did_not_count("taro")
    attempt = await _attempt(store)
    assert attempt.allowed
    assert attempt.user.stopped


async def test_taking_back_more_than_was_counted_gives_nothing(store: Store) -> None:
    for _ in range(3):
        await store.attempts.attempt_did_not_count("taro")
    for _ in range(5):
        attempt = await _attempt(store)
    assert attempt.user.suspended_until is not None


async def test_users_are_counted_apart(store: Store) -> None:
    for _ in range(5):
        await _attempt(store, "taro")
    assert (await _attempt(store, "hanako")).user.suspended_until is None


async def test_a_clock_put_back_does_not_shorten_a_suspension(store: Store, clock: ManualClock) -> None:
    for _ in range(5):
        await _attempt(store)
    clock.set(clock.now() - 86400)
    assert not (await _attempt(store)).allowed


async def test_an_unknown_user_is_not_counted(store: Store) -> None:
    for question in (store.attempts.attempt_was_right, store.attempts.attempt_did_not_count):
        with pytest.raises(StateError, match="no user Taro"):
            await question("Taro")
    with pytest.raises(StateError, match="no user Taro"):
        await _attempt(store, "Taro")


async def test_a_suspension_is_in_the_audit_log(store: Store) -> None:
    for _ in range(5):
        await _attempt(store)
    line = (await store.audit.lines())[-1]
    assert (line.actor, line.action, line.subject) == ("gateway", "user.suspended", "taro")
