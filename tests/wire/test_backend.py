"""The pool: what is used again, what never, and who waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.wire.backend import Backend, BackendConnection
from mtls_gateway.wire.readiness import Readiness
from tests.wire.conftest import Counter, port_of
from tests.wire.scripted import BackendSide, Script, ScriptedBackend


class Waiting:
    """An exchange that notes what it is told."""

    bound_to = ""

    def __init__(self) -> None:
        self.got: asyncio.Queue[BackendConnection | str | bytes | None] = asyncio.Queue()

    def backend_ready(self, connection: BackendConnection) -> None:
        self.got.put_nowait(connection)

    def backend_unavailable(self, reason: str) -> None:
        self.got.put_nowait(reason)

    def from_backend(self, data: bytes) -> None:
        self.got.put_nowait(data)

    def backend_lost(self, error: Exception | None) -> None:
        self.got.put_nowait(None)

    def backend_paused(self, paused: bool) -> None:
        self.got.put_nowait(f"paused {paused}")

    async def told(self) -> BackendConnection | str | bytes | None:
        return await asyncio.wait_for(self.got.get(), 5)


class Stage:
    def __init__(self) -> None:
        self.clock = ManualClock(0.0)
        self.readiness = Readiness(asyncio.get_running_loop())
        self.servers: list[ScriptedBackend] = []
        self.backends: list[Backend] = []

    async def backend(self, script: Script, connections: int = 10) -> Backend:
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = port_of(reserved)
        server = ScriptedBackend(script)
        await server.listen(port)
        self.servers.append(server)
        backend = Backend(f"http://127.0.0.1:{port}", self.clock, self.readiness, connections=connections, timeout=5.0)
        self.backends.append(backend)
        return backend

    async def connection(self, backend: Backend, **how: bool) -> tuple[Waiting, BackendConnection]:
        exchange = Waiting()
        connection = backend.acquire(exchange, repeatable=how.get("repeatable", True), waiting_limit=2)
        if connection is None:
            told = await exchange.told()
            assert isinstance(told, BackendConnection), told
            connection = told
        return exchange, connection


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    for backend in made.backends:
        backend.close()
    for server in made.servers:
        await server.stop()
    async with asyncio.timeout(5):
        while any(backend.open for backend in made.backends):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
    made.readiness.close()


async def quiet(side: BackendSide) -> None:
    await side.gone()


async def test_a_released_connection_is_used_again_the_latest_first(stage: Stage) -> None:
    backend = await stage.backend(quiet)
    _, first = await stage.connection(backend)
    _, second = await stage.connection(backend)
    assert (backend.open, backend.idle) == (2, 0)
    backend.release(first, reusable=True)
    backend.release(second, reusable=True)
    assert backend.idle == 2
    assert (await stage.connection(backend))[1] is second
    assert (await stage.connection(backend))[1] is first


async def test_what_is_not_reusable_or_does_not_read_is_closed(stage: Stage) -> None:
    backend = await stage.backend(quiet)
    _, one = await stage.connection(backend)
    backend.release(one, reusable=False)
    _, two = await stage.connection(backend)
    assert two is not one
    two.transport.pause_reading()
    backend.release(two, reusable=True)
    assert backend.idle == 0


async def test_an_old_connection_is_not_for_what_must_not_be_repeated(stage: Stage) -> None:
    backend = await stage.backend(quiet)
    _, old = await stage.connection(backend)
    backend.release(old, reusable=True)
    stage.clock.advance(1.5)
    assert (await stage.connection(backend, repeatable=False))[1] is not old
    assert (await stage.connection(backend))[1] is old


async def test_an_old_connection_makes_room_for_a_new_one_at_the_limit(stage: Stage) -> None:
    backend = await stage.backend(quiet, connections=1)
    _, old = await stage.connection(backend)
    backend.release(old, reusable=True)
    stage.clock.advance(1.5)
    _, new = await stage.connection(backend, repeatable=False)
    assert new is not old
    assert backend.open == 1


async def test_at_the_limit_exchanges_wait_in_order_and_only_so_many(stage: Stage, grown: Counter) -> None:
    backend = await stage.backend(quiet, connections=1)
    _, connection = await stage.connection(backend)
    first, second, third = Waiting(), Waiting(), Waiting()
    for exchange in (first, second, third):
        assert backend.acquire(exchange, repeatable=True, waiting_limit=2) is None
    assert await third.told() == "overloaded"
    assert grown("limit_refusals_total", limit="backend_waiting") == 1
    backend.release(connection, reusable=True)
    assert await first.told() is connection
    backend.give_up(second)
    backend.release(connection, reusable=True)
    assert backend.idle == 1
    assert second.got.empty()


async def test_who_waits_gets_a_new_connection_when_another_is_lost(stage: Stage) -> None:
    backend = await stage.backend(quiet, connections=1)
    _, connection = await stage.connection(backend)
    waiting = Waiting()
    assert backend.acquire(waiting, repeatable=True, waiting_limit=2) is None
    backend.release(connection, reusable=False)
    assert isinstance(await waiting.told(), BackendConnection)


async def test_who_waits_hears_that_the_backend_has_gone(stage: Stage, grown: Counter) -> None:
    backend = await stage.backend(quiet, connections=1)
    _, connection = await stage.connection(backend)
    waiting = [Waiting(), Waiting()]
    for exchange in waiting:
        backend.acquire(exchange, repeatable=True, waiting_limit=2)
    await stage.servers[0].stop()
    connection.discard()
    for exchange in waiting:
        assert await exchange.told() == "connect"
    assert grown("backend_failures_total", backend=backend.name, reason="connect") == 2


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_an_idle_connection_that_speaks_or_ends_is_not_given_to_anybody(stage: Stage, last_words: bytes) -> None:
    """Even when the loop has not told us of it yet."""

    async def script(side: BackendSide) -> None:
        await side.head()
        if last_words:
            await side.send(last_words)
        else:
            side.close()
        said.set()
        await side.gone()

    said = asyncio.Event()
    backend = await stage.backend(script)
    exchange, connection = await stage.connection(backend)
    connection.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    connection.transport.pause_reading()
    await asyncio.wait_for(said.wait(), 5)
    async with asyncio.timeout(5):
        while connection.is_quiet:  # noqa: ASYNC110  # the kernel tells nobody else
            await asyncio.sleep(0)
    connection.transport.resume_reading()
    backend.release(connection, reusable=True)
    assert (await stage.connection(backend))[1] is not connection
    assert exchange.got.empty()


async def test_unasked_octets_end_an_idle_connection(stage: Stage, grown: Counter) -> None:
    speak = asyncio.Event()

    async def script(side: BackendSide) -> None:
        await speak.wait()
        await side.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await side.gone()

    backend = await stage.backend(script)
    _, connection = await stage.connection(backend)
    backend.release(connection, reusable=True)
    speak.set()
    async with asyncio.timeout(5):
        while backend.open:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
    assert backend.idle == 0
    assert grown("backend_failures_total", backend=backend.name, reason="unasked_octets") == 1


async def test_an_exchange_that_gave_up_while_connecting_leaves_its_connection_to_the_next(stage: Stage) -> None:
    backend = await stage.backend(quiet)

    class GaveUp(Waiting):
        def backend_ready(self, connection: BackendConnection) -> None:
            backend.release(connection, reusable=True)
            super().backend_ready(connection)

    gave_up = GaveUp()
    assert backend.acquire(gave_up, repeatable=True, waiting_limit=2) is None
    connection = await gave_up.told()
    assert (await stage.connection(backend))[1] is connection
