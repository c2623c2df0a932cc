from __future__ import annotations

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import ChangeKind, ClosureKind
from mtls_gateway.store.opening import Store


async def test_what_holds_and_what_is_to_come_is_told_the_earliest_first(empty: Store, clock: ManualClock) -> None:
    now = clock.now()
    later = await empty.closures.plan(now + 100, now + 200, actor="test", note_ja="年末年始", note_en="New Year")
    stop = await empty.closures.stop(actor="test")
    assert await empty.worker.closures() == [stop, later]
    assert (later.note_ja, later.note_en) == ("年末年始", "New Year")
    assert stop.holds(now) and not stop.holds(now - 1) and stop.holds(now + 1e9)
    assert [later.holds(now + at) for at in (99, 100, 199.9, 200)] == [False, True, True, False]
    clock.advance(200)
    assert await empty.worker.closures() == [stop]


async def test_a_closure_that_was_lifted_is_not_told_and_every_step_is_announced_and_audited(
    empty: Store, clock: ManualClock
) -> None:
    seen = await empty.worker.latest_change()
    stop = await empty.closures.stop(actor="yamada")
    await empty.closures.lift(stop.closure_id, actor="suzuki")
    assert await empty.worker.closures() == []
    changes = await empty.worker.changes_since(seen)
    assert [(one.kind, one.subject) for one in changes] == [(ChangeKind.CLOSURE, str(stop.closure_id))] * 2
    assert [(line.actor, line.action) for line in await empty.audit.lines()] == [
        ("yamada", "service.close"),
        ("suzuki", "service.open"),
    ]
    (listed,) = await empty.closures.all()
    assert (listed.set_by, listed.lifted_by, listed.lifted) == ("yamada", "suzuki", clock.now())


async def test_the_service_is_stopped_once_and_lifted_once(empty: Store) -> None:
    stop = await empty.closures.stop(actor="test")
    with pytest.raises(StateError, match="stopped already, by closure"):
        await empty.closures.stop(actor="test")
    await empty.closures.lift(stop.closure_id, actor="test")
    with pytest.raises(StateError, match="is not there, or over"):
        await empty.closures.lift(stop.closure_id, actor="test")
    again = await empty.closures.stop(actor="test")
    assert again.kind is ClosureKind.EMERGENCY


@pytest.mark.parametrize(
    ("begins", "ends", "note", "cause"),
    [
        (10, 10, None, "ends before it begins"),
        (10, 5, None, "ends before it begins"),
        (-20, -10, None, "has ended already"),
        (10, 20, "a\nb", "cannot be printed"),
        (10, 20, "x" * 201, "1 to 200 characters"),
    ],
)
async def test_a_window_that_makes_no_sense_is_refused(
    begins: float, ends: float, note: str | None, cause: str, empty: Store, clock: ManualClock
) -> None:
    now = clock.now()
    with pytest.raises(UsageError, match=cause):
        await empty.closures.plan(now + begins, now + ends, actor="test", note_ja=note)
    assert await empty.closures.all() == []
