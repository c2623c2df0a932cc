"""Which backend serves whom: sessions stay, the rest goes where least is under way; what is out is not waited for."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.wire.backend import Backend, BackendConnection
from mtls_gateway.wire.pool import Pool
from mtls_gateway.wire.readiness import Readiness
from tests.wire.conftest import Counter
from tests.wire.scripted import BackendSide, ScriptedBackend
from tests.wire.test_backend import Waiting
from tests.wire.test_health import settings


class Bound(Waiting):
    def __init__(self, backend: Backend | None = None) -> None:
        super().__init__()
        self.bound_to = "" if backend is None else backend.url


class Bed:
    """Backends that all listen until one is stopped."""

    def __init__(self) -> None:
        self.clock = ManualClock(0.0)
        self.clock.advance(1_000.0)
        self.readiness = Readiness(asyncio.get_running_loop())
        self.servers: dict[str, ScriptedBackend] = {}
        self.pools: list[Pool] = []

    async def pool(
        self, count: int, affinity: Literal["strict", "prefer"] = "strict", *, draining: int = 0, connections: int = 100
    ) -> Pool:
        """Of ``count`` backends, the first ``draining`` get nothing new."""

        async def quiet(side: BackendSide) -> None:
            await side.gone()

        backends = []
        for port in free_ports(count):
            url = f"http://127.0.0.1:{port}"
            self.servers[url] = server = ScriptedBackend(quiet)
            await server.listen(port)
            limits: dict[str, Any] = {"connections": connections, "timeout": 5.0}
            backends.append(Backend(url, self.clock, self.readiness, settings=settings(), **limits))
        self.pools.append(Pool(backends, 100, affinity, [backend.url for backend in backends[:draining]]))
        return self.pools[-1]

    async def connection(self, pool: Pool, exchange: Waiting) -> BackendConnection | str:
        connection = pool.acquire(exchange, repeatable=True)
        told = await exchange.told() if connection is None else connection
        assert isinstance(told, BackendConnection | str)
        return told

    async def place(self, pool: Pool, backend: Backend | None = None) -> Backend | str:
        """Where an exchange goes, and stays."""
        told = await self.connection(pool, Bound(backend))
        return told if isinstance(told, str) else told.backend


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    made = Bed()
    yield made
    for pool in made.pools:
        pool.close()
    for server in made.servers.values():
        await server.stop()
    async with asyncio.timeout(5):
        while any(backend.open for pool in made.pools for backend in pool.backends):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
    made.readiness.close()


def break_connections(backend: Backend) -> None:
    for _ in range(3):
        backend.health.failed("connect")


async def test_what_has_no_session_goes_where_the_fewest_requests_are_under_way(bed: Bed) -> None:
    pool = await bed.pool(3)
    found = [await bed.place(pool) for _ in range(9)]
    assert Tally(found) == dict.fromkeys(pool.backends, 3)
    # Of sessions that stay, one backend has many requests: what is new goes to the others.
    busy = pool.backends[1]
    for _ in range(4):
        assert await bed.place(pool, busy) is busy
    assert busy not in [await bed.place(pool) for _ in range(8)]
    assert {backend.under_way for backend in pool.backends} == {7}


async def test_equals_take_turns(bed: Bed) -> None:
    pool = await bed.pool(3)
    assert {pool.preferred()[0] for _ in range(200)} == {backend.url for backend in pool.backends}
    chosen = {pool.choose("", repeatable=True) for _ in range(200)}
    assert chosen == set(pool.backends)


async def test_a_session_stays_however_busy_its_backend_is(bed: Bed) -> None:
    pool = await bed.pool(2)
    home = pool.backends[0]
    assert {await bed.place(pool, home) for _ in range(20)} == {home}


async def test_strict_a_session_whose_backend_is_out_is_refused_at_once_and_the_others_are_unharmed(
    bed: Bed, grown: Counter
) -> None:
    pool = await bed.pool(2)
    dead, well = pool.backends
    break_connections(dead)
    exchange = Bound(dead)
    assert pool.acquire(exchange, repeatable=True) is None
    assert exchange.got.get_nowait() == "out"
    assert grown("backend_refusals_total", out="session") == 1
    assert pool.answer_for(dead.url, "out") == (503, b"Retry-After: 2\r\n")
    assert await bed.place(pool, well) is well
    assert await bed.place(pool) is well
    # Half open, the session's own request is the one that tries it.
    bed.clock.advance(2.0)
    assert await bed.place(pool, dead) is dead


async def test_strict_a_session_stays_where_only_answers_fail(bed: Bed) -> None:
    pool = await bed.pool(2)
    ill, well = pool.backends
    for _ in range(3):
        ill.health.failed("answer")
    assert await bed.place(pool, ill) is ill
    assert {await bed.place(pool) for _ in range(5)} == {well}


async def test_prefer_a_session_whose_backend_is_out_is_served_by_another(bed: Bed) -> None:
    pool = await bed.pool(2, "prefer")
    home, other = pool.backends
    break_connections(home)
    assert await bed.place(pool, home) is other
    for _ in range(2):
        home.health.checked(True)
    assert await bed.place(pool, home) is home


@pytest.mark.parametrize(("affinity", "told"), [("strict", "out"), ("prefer", None)])
async def test_a_session_of_a_backend_that_is_configured_no_more(
    bed: Bed, affinity: Literal["strict", "prefer"], told: str | None
) -> None:
    pool = await bed.pool(2, affinity)
    exchange = Bound()
    exchange.bound_to = "http://192.0.2.1"
    found = await bed.connection(pool, exchange)
    assert found == told if told else isinstance(found, BackendConnection)


async def test_a_single_backend_is_every_sessions(bed: Bed) -> None:
    pool = await bed.pool(1)
    exchange = Bound()
    exchange.bound_to = "http://192.0.2.1"
    assert isinstance(await bed.connection(pool, exchange), BackendConnection)


@pytest.mark.parametrize("count", [1, 2])
async def test_when_all_are_out_nobody_waits_and_is_told_when_to_come_again(
    bed: Bed, grown: Counter, count: int
) -> None:
    pool = await bed.pool(count)
    for backend in pool.backends:
        break_connections(backend)
    exchange = Bound()
    assert pool.acquire(exchange, repeatable=False) is None
    assert exchange.got.get_nowait() == "out"
    assert pool.answer_for("", "out") == (503, b"Retry-After: 2\r\n")
    assert pool.preferred() == ()
    assert grown("backend_refusals_total", out="every") == 1
    bed.clock.advance(2.0)
    assert await bed.place(pool) in pool.backends


async def test_bad_answers_never_take_the_last_one_away(bed: Bed) -> None:
    pool = await bed.pool(2)
    break_connections(pool.backends[0])
    for _ in range(3):
        pool.backends[1].health.failed("answer")
    assert await bed.place(pool) is pool.backends[1]
    alone = await bed.pool(1)
    for _ in range(3):
        alone.backends[0].health.failed("answer")
    for repeatable in (True, False):
        assert alone.choose("", repeatable=repeatable) is alone.backends[0]


async def test_half_open_one_request_that_may_be_repeated_tries_it_and_no_other(bed: Bed) -> None:
    pool = await bed.pool(2)
    broken, well = pool.backends
    break_connections(broken)
    bed.clock.advance(2.0)
    assert pool.choose("", repeatable=False) is well
    assert pool.choose("", repeatable=True) is broken
    assert {pool.choose("", repeatable=True) for _ in range(20)} == {well}
    assert pool.preferred()[-1] == broken.url


async def test_a_connection_that_cannot_be_made_is_made_to_another_backend_whatever_the_method(bed: Bed) -> None:
    pool = await bed.pool(3)
    for dead in pool.backends[:2]:
        await bed.servers[dead.url].stop()
    for _ in range(10):
        exchange = Bound()
        connection = pool.acquire(exchange, repeatable=False)
        found = await exchange.told() if connection is None else connection
        assert isinstance(found, BackendConnection) and found.backend is pool.backends[2]


async def test_strict_a_connection_that_cannot_be_made_for_a_session_is_not_made_elsewhere(bed: Bed) -> None:
    pool = await bed.pool(2)
    await bed.servers[pool.backends[0].url].stop()
    assert await bed.place(pool, pool.backends[0]) == "connect"


async def test_who_waits_for_a_backend_that_goes_out_is_told_at_once(bed: Bed) -> None:
    """Also who waits for a connection that is being made to an address that answers nothing."""
    pool = await bed.pool(1)
    backend = pool.backends[0]
    connecting = Bound()
    assert pool.acquire(connecting, repeatable=True) is None
    break_connections(backend)
    assert connecting.got.get_nowait() == "out"
    # What was being made is kept for the next.
    async with asyncio.timeout(5):
        while not backend.idle:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
    assert connecting.got.empty()


async def test_who_waits_for_a_turn_at_a_backend_that_goes_out_is_told_at_once_or_gets_another(bed: Bed) -> None:
    pool = await bed.pool(2, connections=1)
    busy, other = pool.backends
    held = await bed.connection(pool, Bound(busy))
    assert isinstance(held, BackendConnection)
    bound, free = Bound(busy), Bound()
    assert busy.acquire(bound, repeatable=True, waiting_limit=9) is None
    assert busy.acquire(free, repeatable=False, waiting_limit=9) is None
    assert busy.under_way == 3
    for _ in range(3):
        busy.health.checked(False)
    assert bound.got.get_nowait() == "out"
    found = await free.told()
    assert isinstance(found, BackendConnection) and found.backend is other
    # What is being answered goes on.
    assert held.exchange is not None and busy.under_way == 1


async def test_what_comes_back_gets_a_share_that_grows(bed: Bed) -> None:
    pool = await bed.pool(2)
    late, other = pool.backends
    break_connections(late)
    bed.clock.advance(2.0)
    late.health.answered(200)
    shares = []
    for _ in range(3):
        found = [await bed.connection(pool, Bound()) for _ in range(22)]
        connections = [each for each in found if isinstance(each, BackendConnection)]
        shares.append(sum(1 for each in connections if each.backend is late))
        for each in connections:
            each.backend.release(each, reusable=True)
        bed.clock.advance(5.0)
    assert shares[0] <= 3 and shares[0] < shares[1] < shares[2] == 11
    assert other.under_way == 0


async def test_a_backend_that_is_drained_keeps_its_sessions_and_gets_nothing_new(bed: Bed) -> None:
    pool = await bed.pool(3, draining=1)
    leaving, *staying = pool.backends
    assert await bed.place(pool, leaving) is leaving
    assert {await bed.place(pool) for _ in range(10)} == set(staying)
    assert set(pool.preferred()) == {backend.url for backend in staying}
    for backend in staying:
        break_connections(backend)
    assert pool.preferred() == () and await bed.place(pool) == "out"
    assert await bed.place(pool, leaving) is leaving
