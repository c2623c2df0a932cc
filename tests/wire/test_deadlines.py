"""The sweep finds what is overdue and what has lapsed, and nothing keeps it from going on."""

from __future__ import annotations

import asyncio
import logging

import pytest

from mtls_gateway.clock import ManualClock, SystemClock
from mtls_gateway.wire.deadlines import Deadlines

NEVER = float("inf")


class Watched:
    def __init__(self, deadline: float = NEVER, until: float = NEVER) -> None:
        self.deadline = deadline
        self.until = until
        self.told: list[str] = []

    def overdue(self) -> None:
        self.deadline = NEVER
        self.told.append("overdue")

    def lapsed(self) -> None:
        self.until = NEVER
        self.told.append("lapsed")

    def drain(self) -> None:
        self.told.append("drain")


async def test_each_is_told_at_its_moment_and_once() -> None:
    clock = ManualClock(1_000.0)
    deadlines = Deadlines(clock, asyncio.get_running_loop())
    slow, ending, patient, gone = Watched(deadline=10.0), Watched(until=1_005.0), Watched(), Watched(deadline=1.0)
    for each in (slow, ending, patient, gone):
        deadlines.watch(each)
    deadlines.forget(gone)
    clock.advance(4.9)
    deadlines.sweep()
    assert slow.told == ending.told == []
    clock.advance(0.1)
    deadlines.sweep()
    assert ending.told == ["lapsed"]
    clock.advance(5)
    for _ in range(3):
        deadlines.sweep()
    assert (slow.told, ending.told, patient.told, gone.told) == (["overdue"], ["lapsed"], [], [])
    assert deadlines.now == clock.monotonic()


async def test_the_wall_clock_moves_what_lapses_and_not_what_is_overdue() -> None:
    clock = ManualClock(1_000.0)
    deadlines = Deadlines(clock, asyncio.get_running_loop())
    slow, ending = Watched(deadline=10.0), Watched(until=2_000.0)
    deadlines.watch(slow)
    deadlines.watch(ending)
    clock.set(2_000.0)
    deadlines.sweep()
    assert (slow.told, ending.told) == ([], ["lapsed"])


async def test_one_that_raises_does_not_spare_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Watched):
        def overdue(self) -> None:
            super().overdue()
            raise ZeroDivisionError

    deadlines = Deadlines(ManualClock(0.0), asyncio.get_running_loop())
    watched = [Raising(deadline=-1.0), Watched(deadline=-1.0), Raising(deadline=-1.0), Watched(deadline=-1.0)]
    for each in watched:
        deadlines.watch(each)
    deadlines.sweep()
    assert all(each.told == ["overdue"] for each in watched)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_it_sweeps_by_itself_until_stopped() -> None:
    told = asyncio.Event()

    class Telling(Watched):
        def overdue(self) -> None:
            super().overdue()
            told.set()

    deadlines = Deadlines(SystemClock(), asyncio.get_running_loop())
    deadlines.watch(Telling(deadline=deadlines.now))
    deadlines.start()
    await asyncio.wait_for(told.wait(), 5)
    deadlines.stop()
    deadlines.stop()


async def test_all_are_told_to_drain() -> None:
    deadlines = Deadlines(ManualClock(0.0), asyncio.get_running_loop())
    one, two = Watched(), Watched()
    deadlines.watch(one)
    deadlines.watch(two)
    deadlines.drain()
    assert one.told == two.told == ["drain"]
