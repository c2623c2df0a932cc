from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import FellBehind, StoreUnavailable
from mtls_gateway.model import ChangeKind
from mtls_gateway.store.opening import Store, open_store


async def test_an_empty_feed_has_nothing_to_tell(empty: Store) -> None:
    assert await empty.worker.latest_change() == 0
    assert await empty.worker.changes_since(0) == []


async def test_changes_come_in_order_and_no_further_than_asked(empty: Store, clock: ManualClock) -> None:
    for generation in range(5):
        await empty.changes.announce(ChangeKind.REVOCATION, str(generation))
        clock.advance(1)
    assert await empty.worker.latest_change() == 5
    first = await empty.worker.changes_since(0, limit=3)
    assert [(one.sequence, one.subject) for one in first] == [(1, "0"), (2, "1"), (3, "2")]
    rest = await empty.worker.changes_since(3, limit=3)
    assert [(one.sequence, one.kind, one.subject) for one in rest] == [
        (4, ChangeKind.REVOCATION, "3"),
        (5, ChangeKind.REVOCATION, "4"),
    ]
    assert rest[1].at - rest[0].at == 1


async def test_asking_again_for_a_certificate_names_it_and_the_address(store: Store) -> None:
    before = await store.worker.latest_change()
    await store.identities.ask_again(b"\x01" * 32, "::1")
    (change,) = await store.worker.changes_since(before)
    assert (change.kind, change.subject) == (ChangeKind.ASK_AGAIN, "01" * 32 + " ::1")


async def test_pruning_keeps_the_newest_line_so_that_who_is_up_to_date_stays_so(
    empty: Store, clock: ManualClock
) -> None:
    for generation in range(5):
        await empty.changes.announce(ChangeKind.REVOCATION, str(generation))
    clock.advance(100)
    assert (await empty.prune(clock.now())).changes == 4
    assert await empty.worker.changes_since(5) == []
    assert await empty.worker.latest_change() == 5
    await empty.changes.announce(ChangeKind.REVOCATION, "5")
    assert [one.subject for one in await empty.worker.changes_since(5)] == ["5"]


@pytest.mark.parametrize("seen", [0, 1, 3])
async def test_who_fell_behind_a_pruning_is_told_so(seen: int, empty: Store, clock: ManualClock) -> None:
    for generation in range(5):
        await empty.changes.announce(ChangeKind.REVOCATION, str(generation))
    clock.advance(100)
    await empty.prune(clock.now())
    with pytest.raises(FellBehind):
        await empty.worker.changes_since(seen)


async def test_only_what_is_old_enough_is_pruned(empty: Store, clock: ManualClock) -> None:
    for generation in range(4):
        await empty.changes.announce(ChangeKind.REVOCATION, str(generation))
        clock.advance(10)
    assert (await empty.prune(clock.now() - 25)).changes == 2
    assert [one.subject for one in await empty.worker.changes_since(3)] == ["3"]


async def test_an_older_database_put_back_is_noticed(empty: Store) -> None:
    await empty.changes.announce(ChangeKind.REVOCATION, "1")
    kept = await empty.worker.latest_change()
    for generation in range(3):
        await empty.changes.announce(ChangeKind.REVOCATION, str(generation))
    seen = await empty.worker.latest_change()
    async with empty._database.writing("put a backup back") as connection:
        await connection.execute(text(f"DELETE FROM changes WHERE sequence > {kept}"))
        await connection.execute(text(f"UPDATE feed SET newest = {kept}"))
    with pytest.raises(FellBehind, match=f"line {seen}"):
        await empty.worker.changes_since(seen)


async def test_whoever_waits_hears_of_a_change_that_another_connection_has_written(
    empty: Store, url: str, clock: ManualClock
) -> None:
    other = await open_store(url, clock)
    seen = await empty.worker.latest_change()
    heard: list[str] = []

    async def follow() -> None:
        nonlocal seen
        while not heard:
            await empty.worker.wait_for_change(0.1)
            heard.extend(change.subject for change in await empty.worker.changes_since(seen))

    following = asyncio.create_task(follow())
    await other.changes.announce(ChangeKind.REVOCATION, "7")
    await asyncio.wait_for(following, 1.0)
    assert heard == ["7"]
    await other.close()


async def test_a_kind_that_this_version_does_not_know_is_not_skipped(empty: Store) -> None:
    await empty.changes.announce(ChangeKind.REVOCATION, "1")
    async with empty._database.writing("meddle") as connection:
        await connection.execute(text("UPDATE changes SET kind = 'emergency_stop'"))
    with pytest.raises(StoreUnavailable, match="emergency_stop"):
        await empty.worker.changes_since(0)


async def test_a_change_and_its_line_are_committed_together_or_not_at_all(store: Store) -> None:
    before = await store.worker.latest_change()
    with pytest.raises(StoreUnavailable):
        async with store._database.writing("fail") as connection:
            from mtls_gateway.store.changes import publish

            await publish(connection, 0.0, [(ChangeKind.USER, "taro")])
            await connection.execute(text("SELECT no_such_column"))
    assert await store.worker.latest_change() == before
    assert await store.worker.changes_since(before) == []


async def test_a_poll_costs_less_than_half_a_millisecond_of_cpu(store: Store) -> None:
    latest = await store.worker.latest_change()
    await store.worker.changes_since(latest)
    best = float("inf")
    for _ in range(5):
        before = time.process_time()
        for _ in range(100):
            await store.worker.changes_since(latest)
        best = min(best, (time.process_time() - before) / 100)
    assert best < 0.0005
