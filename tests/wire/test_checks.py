"""Active checks: what they send, what they take for well, and that nothing of them is a customer's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from mtls_gateway.wire.backend import Backend
from mtls_gateway.wire.checks import HealthChecks
from mtls_gateway.wire.gate import Forward, Route
from tests.wire.client import Client
from tests.wire.conftest import Counter, Gateway, OpenGateway
from tests.wire.material import PUBLIC
from tests.wire.scripted import SEAL, BackendSide, answering, ok


def checks_of(gateway: Gateway) -> tuple[HealthChecks, Backend]:
    return HealthChecks(gateway.configuration, gateway.worker.legacy), gateway.worker.legacy.backends[0]


def legacy(**check: Any) -> dict[str, Any]:
    return {"health_check": {"fall": 2, "rise": 2, **check}}


def status(code: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code


async def test_without_a_path_a_connection_is_enough_and_nothing_is_sent(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        heads.append(await side.head())

    gateway = await open_gateway(script, legacy=legacy())
    checks, backend = checks_of(gateway)
    assert await checks.check(backend) == "ok"
    await gateway.until(lambda: heads)
    assert heads == [b""]
    assert grown("backend_checks_total", backend=backend.name, outcome="ok") == 1


async def test_a_request_of_its_own_is_made_with_nothing_of_a_customers(open_gateway: OpenGateway) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        while head := await side.head():
            heads.append(head)
            await side.send(ok())

    seen = {"user_header": True, "client_cert_header": True, "forwarded_headers": True}
    gateway = await open_gateway(script, legacy={**legacy(path="/health?full=1"), "seen": seen})
    identity = ((b"X-User-ID", b"taro"),)
    gateway.gate.answer = lambda head: Forward(route=Route.LEGACY, seal=SEAL, headers=identity)
    client: Client = await gateway.connect()
    assert (await client.ask("/", "Cookie: SESSION=secret")).status == 200
    checks, backend = checks_of(gateway)
    assert await checks.check(backend) == "ok"
    assert heads[1].decode().split("\r\n") == [
        "GET /health?full=1 HTTP/1.1",
        f"Host: {PUBLIC}:{gateway.port}",
        "User-Agent: mtls-gateway-health-check",
        "Accept: */*",
        "Connection: close",
        "",
        "",
    ]
    # On a connection of its own: the pool's is where it was.
    assert len(gateway.legacy.sides) == 2 and backend.idle == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (status(200), "ok"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + status(204), "ok"),
        (status(302), "status"),
        (status(503), "status"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nX: " + bytes(100_000).replace(b"\0", b"x"), "malformed"),
    ],
)
async def test_only_the_expected_statuses_are_good(open_gateway: OpenGateway, answer: bytes, outcome: str) -> None:
    gateway = await open_gateway(answering(answer), legacy=legacy(path="/health", expected=[200, 204]))
    checks, backend = checks_of(gateway)
    assert await checks.check(backend) == outcome


async def test_a_check_that_takes_too_long_or_finds_nobody_is_bad(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.gone()

    gateway = await open_gateway(script, legacy=legacy(path="/health", timeout=0.5))
    checks, backend = checks_of(gateway)
    assert await checks.check(backend) == "timeout"
    await gateway.legacy.stop()
    assert await checks.check(backend) == "connect"
    assert not backend.health.usable
    client = await gateway.connect()
    answer = await client.ask()
    assert (answer.status, answer.body) == (503, b"page 503")
    assert answer["Retry-After"] == "5"


async def test_who_waits_for_a_backend_that_swallows_everything_is_told_when_checks_find_it_out(
    open_gateway: OpenGateway,
) -> None:
    """Long before the connection is given up: here after a minute of the clock on the wall."""
    # A full backlog: the kernel answers no further SYN.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        check = legacy(fall=1, timeout=0.3, interval=0.3)
        gateway = await open_gateway(backends=[url], legacy=check, timeouts={"backend_connect": 60.0})
        checks, backend = checks_of(gateway)
        client = await gateway.connect()
        client.request("/", "Content-Length: 0", method="POST")
        await gateway.until(lambda: backend.under_way == 1)
        assert await checks.check(backend) == "timeout"
        answer = await client.answer("POST")
        assert (answer.status, answer["Retry-After"]) == (503, "1")
        for filler in fillers:
            filler.close()


async def test_checks_go_on_by_themselves_and_end_with_the_worker(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(answering(status(500)), legacy=legacy(path="/health", interval=0.3, timeout=0.3))
    checks, backend = checks_of(gateway)
    running = asyncio.ensure_future(checks.run())
    await gateway.until(lambda: not backend.health.usable)
    gateway.legacy.script = answering(status(200))
    await gateway.until(lambda: backend.health.usable)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    made = grown("backend_checks_total", backend=backend.name, outcome="ok")
    assert made >= 2


async def test_switched_off_nothing_is_checked(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(legacy=legacy(active=False, interval=0.01, timeout=0.01))
    # What runs in the background of a worker must not end by itself: the worker would be replaced.
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(checks_of(gateway)[0].run(), 0.2)
    assert gateway.legacy.sides == []
