from __future__ import annotations

import asyncio

import pytest

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import ChangeKind
from mtls_gateway.signin.flights import Flights, Subject


class Table:
    """One row whose reading waits until the test lets it go on."""

    def __init__(self) -> None:
        self.row = "first"
        self.reads = 0
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.landed: list[str] = []
        self.fails = False
        self.flights = Flights(self.ask, self.subjects, self.land)

    async def ask(self, key: str) -> str:
        self.reads += 1
        row = self.row
        self.begun.set()
        await self.gate.wait()
        if self.fails:
            raise StoreUnavailable("down")
        return row

    def subjects(self, key: str, row: str) -> list[Subject]:
        return [(ChangeKind.USER, key)]

    def land(self, key: str, row: str) -> str:
        self.landed.append(row)
        return row.upper()


async def test_all_who_ask_at_once_share_one_look_up() -> None:
    table = Table()
    table.gate.set()
    assert await asyncio.gather(*(table.flights.look_up("taro") for _ in range(5))) == ["FIRST"] * 5
    assert table.reads == 1
    assert await table.flights.look_up("taro") == "FIRST"
    assert table.reads == 2


@pytest.mark.parametrize("everything", [False, True])
async def test_a_look_up_is_repeated_when_a_change_arrives_while_it_is_under_way(everything: bool) -> None:
    table = Table()
    waiting = asyncio.ensure_future(table.flights.look_up("taro"))
    await table.begun.wait()
    table.row = "second"
    if everything:
        table.flights.touch_everything()
    else:
        table.flights.touch((ChangeKind.USER, "taro"))
    table.gate.set()
    assert await waiting == "SECOND"
    assert table.landed == ["second"]


async def test_a_change_of_something_else_repeats_nothing() -> None:
    table = Table()
    waiting = asyncio.ensure_future(table.flights.look_up("taro"))
    await table.begun.wait()
    table.flights.touch((ChangeKind.USER, "hanako"))
    table.gate.set()
    assert await waiting == "FIRST"
    assert table.reads == 1


async def test_a_row_that_changes_without_end_refuses_rather_than_waits_for_ever() -> None:
    table = Table()
    table.gate.set()
    flights: Flights[str, str, str]

    async def ask(key: str) -> str:
        table.reads += 1
        flights.touch((ChangeKind.USER, key))
        return "row"

    flights = Flights(ask, table.subjects, table.land)
    with pytest.raises(StoreUnavailable, match="changes faster"):
        await flights.look_up("taro")
    assert table.landed == []


async def test_one_who_hangs_up_does_not_take_the_answer_from_the_others() -> None:
    table = Table()
    first = asyncio.ensure_future(table.flights.look_up("taro"))
    second = asyncio.ensure_future(table.flights.look_up("taro"))
    await table.begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    table.gate.set()
    assert await second == "FIRST"


async def test_a_failure_reaches_all_who_wait_and_is_not_remembered() -> None:
    table = Table()
    table.gate.set()
    table.fails = True
    failed = await asyncio.gather(*(table.flights.look_up("taro") for _ in range(2)), return_exceptions=True)
    assert [type(error) for error in failed] == [StoreUnavailable] * 2
    table.fails = False
    assert await table.flights.look_up("taro") == "FIRST"


async def test_a_failure_that_nobody_waits_for_is_not_complained_of() -> None:
    table = Table()
    table.fails = True
    waiting = asyncio.ensure_future(table.flights.look_up("taro"))
    await table.begun.wait()
    waiting.cancel()
    table.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    table.fails = False
    await asyncio.sleep(0)
    assert await table.flights.look_up("taro") == "FIRST"
