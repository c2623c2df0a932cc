"""The worker's own epoll: who is called, when, and that one caller's trouble is its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mtls_gateway.wire.readiness import Readiness

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
async def readiness() -> AsyncIterator[Readiness]:
    made = Readiness(asyncio.get_running_loop())
    yield made
    made.close()


@pytest.fixture
def pair() -> Any:
    near, far = socket.socketpair()
    near.setblocking(False)
    yield near, far
    near.close()
    far.close()


class Calls:
    """Counts, and can be waited for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self._error = error
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()
        if self._error is not None:
            raise self._error

    async def next(self) -> None:
        self._event.clear()
        await asyncio.wait_for(self._event.wait(), 5)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_reader_is_called_while_there_is_something_to_read(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    calls = Calls()
    readiness.add_reader(near.fileno(), calls)
    await turns()
    assert calls.count == 0
    far.send(b"x")
    await calls.next()
    await calls.next()
    near.recv(1)
    await turns()
    before = calls.count
    await turns()
    assert calls.count == before
    readiness.remove_reader(near.fileno())
    far.send(b"y")
    await turns()
    assert calls.count == before


async def test_a_reader_takes_the_place_of_the_one_before(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    first, second = Calls(), Calls()
    readiness.add_reader(near.fileno(), first)
    readiness.add_reader(near.fileno(), second)
    far.send(b"x")
    await second.next()
    assert first.count == 0


async def test_reading_and_writing_are_asked_for_apart(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    reads, writes = Calls(), Calls()
    readiness.add_reader(near.fileno(), reads)
    readiness.add_writer(near.fileno(), writes)
    await writes.next()
    readiness.remove_writer(near.fileno())
    await turns()
    before = writes.count
    far.send(b"x")
    await reads.next()
    assert writes.count == before
    readiness.add_writer(near.fileno(), writes)
    readiness.remove_reader(near.fileno())
    before = reads.count
    await writes.next()
    assert reads.count == before
    # Whoever is not watched may be let go twice.
    readiness.remove_reader(near.fileno())
    readiness.remove_writer(near.fileno())
    readiness.remove_writer(near.fileno())


async def test_an_end_is_told_to_whoever_reads_or_writes(readiness: Readiness, pair: Pair) -> None:
    near, far = pair
    calls = Calls()
    readiness.add_reader(near.fileno(), calls)
    far.close()
    await calls.next()
    assert near.recv(1) == b""
    readiness.remove_reader(near.fileno())
    readiness.add_writer(near.fileno(), calls)
    await calls.next()


async def test_a_socket_that_was_closed_leaves_nothing_for_the_next_of_its_number(
    readiness: Readiness, pair: Pair
) -> None:
    near, far = pair
    old, new = Calls(), Calls()
    number = near.fileno()
    readiness.add_reader(number, old)
    far.send(b"x")
    readiness.forget(number)
    near.close()
    again, other = socket.socketpair()
    try:
        assert number in (again.fileno(), other.fileno())
        mine, theirs = (again, other) if again.fileno() == number else (other, again)
        readiness.add_reader(mine.fileno(), new)
        await turns()
        assert (old.count, new.count) == (0, 0)
        theirs.send(b"y")
        await new.next()
        assert old.count == 0
    finally:
        readiness.forget(number)
        again.close()
        other.close()


async def test_what_one_raises_is_reported_and_the_others_are_called(readiness: Readiness, pair: Pair) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    near, far = pair
    other, far_of_other = socket.socketpair()
    error = ZeroDivisionError()
    raises, works = Calls(error), Calls()
    readiness.add_reader(near.fileno(), raises)
    readiness.add_reader(other.fileno(), works)
    far.send(b"x")
    far_of_other.send(b"x")
    await works.next()
    await turns()
    assert raises.count > 0
    assert told[0]["exception"] is error
    readiness.forget(near.fileno())
    readiness.forget(other.fileno())
    other.close()
    far_of_other.close()


async def test_after_its_end_nobody_is_called(pair: Pair) -> None:
    near, far = pair
    readiness = Readiness(asyncio.get_running_loop())
    calls = Calls()
    readiness.add_reader(near.fileno(), calls)
    readiness.close()
    readiness.close()
    far.send(b"x")
    await turns()
    assert calls.count == 0
