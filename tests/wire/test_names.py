"""One question for a name at a time, and what is done with its answer, or without one."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.wire.names import Name

HERE = (socket.AF_INET, ("127.0.0.1", 80))
THERE = (socket.AF_INET, ("127.0.0.5", 80))
REFRESH, KEEP = 10.0, 3_600.0


class Asked:
    """The loop's resolver as a test scripts it: the system's is asked in ``tests/promises/test_name_resolution.py``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[Any] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.moves = 0
        self.clock = ManualClock(1_800_000_000.0)
        loop = asyncio.get_running_loop()

        async def getaddrinfo(host: str, port: int, **words: object) -> list[Any]:
            self.waiting.append(loop.create_future())
            found = await self.waiting[-1]
            return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]

        class Loop:
            def __getattr__(self, name: str) -> Any:
                return getaddrinfo if name == "getaddrinfo" else getattr(loop, name)

        monkeypatch.setattr("mtls_gateway.wire.names.asyncio.get_running_loop", Loop)
        self.name = Name("bank.test", 80, self.clock, self._moved, refresh=REFRESH, keep=KEEP)

    def _moved(self) -> None:
        self.moves += 1

    async def question(self) -> asyncio.Future[Any]:
        async with asyncio.timeout(5):
            while not self.waiting:  # noqa: ASYNC110  # the loop's turns are what is waited for
                await asyncio.sleep(0)
        return self.waiting.pop()

    async def answered(self, *addresses: Any) -> None:
        """Ask, and be answered."""
        asking = asyncio.ensure_future(self.name.addresses())
        (await self.question()).set_result(addresses)
        assert await asking == addresses

    async def refused(self, number: int) -> None:
        """The question that is under way fails."""
        (await self.question()).set_exception(socket.gaierror(number, "no"))
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


async def test_all_who_ask_wait_for_one_question(asked: Asked) -> None:
    asking = [asyncio.ensure_future(asked.name.addresses()) for _ in range(20)]
    question = await asked.question()
    # Those who have lost patience leave it to the others.
    asking.pop().cancel()
    question.set_result((HERE,))
    assert [await each for each in asking] == [(HERE,)] * 19
    assert asked.waiting == []


async def test_a_fresh_answer_is_not_asked_for_again(asked: Asked) -> None:
    await asked.answered(HERE)
    asked.clock.advance(REFRESH - 0.1)
    assert await asked.name.addresses() == (HERE,)
    asked.name.look_again()
    assert asked.waiting == []
    asked.clock.advance(0.2)
    await asked.answered(HERE)
    assert asked.moves == 0


async def test_an_old_answer_is_used_while_the_resolver_says_nothing_but_not_for_ever(asked: Asked) -> None:
    await asked.answered(HERE)
    asked.clock.advance(KEEP - 1)
    assert await asked.name.addresses() == (HERE,)
    await asked.refused(socket.EAI_AGAIN)
    assert await asked.name.addresses() == (HERE,)
    assert asked.waiting == []
    asked.clock.advance(2)
    asking = asyncio.ensure_future(asked.name.addresses())
    await asked.refused(socket.EAI_AGAIN)
    with pytest.raises(socket.gaierror):
        await asking


async def test_a_name_that_is_no_more_is_given_up_at_once(asked: Asked) -> None:
    await asked.answered(HERE)
    asked.clock.advance(REFRESH)
    asked.name.look_again()
    await asked.refused(socket.EAI_NONAME)
    assert asked.moves == 1
    with pytest.raises(socket.gaierror):
        await asked.name.addresses()


async def test_other_addresses_are_a_move_another_order_is_none(asked: Asked) -> None:
    await asked.answered(HERE, THERE)
    asked.clock.advance(REFRESH)
    await asked.answered(THERE, HERE)
    assert asked.moves == 0
    asked.clock.advance(REFRESH)
    await asked.answered(THERE)
    assert asked.moves == 1


async def test_after_a_failure_the_resolver_is_left_alone_for_a_moment(asked: Asked) -> None:
    asking = asyncio.ensure_future(asked.name.addresses())
    await asked.refused(socket.EAI_AGAIN)
    for _ in range(10):
        with pytest.raises(socket.gaierror):
            await asked.name.addresses()
    with pytest.raises(socket.gaierror):
        await asking
    assert asked.waiting == []
    asked.clock.advance(1)
    await asked.answered(HERE)


@pytest.mark.parametrize(
    ("host", "address"), [("192.0.2.1", ("192.0.2.1", 443)), ("2001:db8::1", ("2001:db8::1", 443, 0, 0))]
)
async def test_a_number_is_nobodys_question(host: str, address: Any) -> None:
    name = Name(host, 443, ManualClock(0.0), lambda: None, refresh=REFRESH, keep=KEEP)
    ((_, found),) = await name.addresses()
    assert found == address
