"""Upgrades: a WebSocket's octets pass both ways, and nothing else is upgraded (clause B.1)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.wire.client import Client
from tests.wire.conftest import Counter, Gateway, OpenGateway
from tests.wire.scripted import PASS, BackendSide, ok

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13")


async def echo(side: BackendSide) -> None:
    await side.head()
    await side.send(SWITCH)
    while data := await side.reader.read(65_536):
        await side.send(data)


async def upgraded(gateway: Gateway, limit: int = 1 << 16) -> Client:
    # The limit where much is to come: uvloop's own TLS loses what it holds when the end comes while it is paused.
    client = await gateway.connect(limit=limit)
    answer = await client.ask("/socket", *UPGRADE)
    assert (answer.status, answer["upgrade"], answer["connection"]) == (101, "websocket", "Upgrade")
    return client


async def test_octets_pass_both_ways_early_ones_too(open_gateway: OpenGateway) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        heads.append(await side.head())
        await side.send(SWITCH + b"early from the backend;")
        while data := await side.reader.read(65_536):
            await side.send(data)

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/socket", *UPGRADE, body=b"early from the client;")
    assert (await client.answer()).status == 101
    assert await client.exactly(45) == b"early from the backend;early from the client;"
    client.send(bytes(range(256)) * 400)
    assert await client.exactly(102_400) == bytes(range(256)) * 400
    assert b"Sec-WebSocket-Key: k\r\n" in heads[0]
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in heads[0]
    client.vanish()
    await gateway.until(lambda: gateway.logged == [("legacy", 101)])


async def test_an_upgrade_that_the_backend_declines_is_an_ordinary_answer(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        while await side.head():
            await side.send(ok(b"no"))

    gateway = await open_gateway(script)
    client = await gateway.connect()
    assert (await client.ask("/", *UPGRADE)).body == b"no"
    assert (await client.ask("/")).body == b"no"


async def test_h2c_is_answered_as_if_it_had_not_been_asked_for(open_gateway: OpenGateway) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        while head := await side.head():
            heads.append(head.lower())
            await side.send(ok(b"plain"))

    gateway = await open_gateway(script)
    client = await gateway.connect()
    for upgrade in ("h2c", "websocket, h2c", "TLS/1.0"):
        headers = (
            "Connection: Upgrade, HTTP2-Settings",
            f"Upgrade: {upgrade}",
            "HTTP2-Settings: x",
            "Sec-WebSocket-Key: k",
        )
        assert (await client.ask("/", *headers)).body == b"plain"
    assert (await client.ask("/", *UPGRADE, "Content-Length: 2", body=b"ab")).status == 200
    for word in (b"upgrade", b"http2-settings", b"sec-websocket"):
        assert not any(word in head for head in heads)


async def test_a_backend_that_switches_to_something_else_is_502(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(SWITCH.replace(b"websocket", b"h2c"))

    gateway = await open_gateway(script)
    client = await gateway.connect()
    assert (await client.ask("/", *UPGRADE)).status == 502


async def test_a_tunnel_ends_with_the_backend_and_everything_said_arrives(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(SWITCH)
        await side.send(bytes(2 << 20))
        side.close()

    gateway = await open_gateway(script)
    client = await upgraded(gateway, limit=1 << 24)
    octets = len(await client.rest())
    assert octets == 2 << 20


async def test_a_tunnel_ends_with_the_client(open_gateway: OpenGateway) -> None:
    ended = asyncio.Event()

    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(SWITCH)
        await side.gone()
        ended.set()

    gateway = await open_gateway(script)
    client = await upgraded(gateway)
    client.vanish()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_tunnel_is_cut_and_lapses_at_the_second_and_ends_by_silence(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    gateway = await open_gateway(echo)
    gateway.gate.answer = lambda head: replace(PASS, bound=(("session", 1),), until=gateway.clock.now() + 1_000)
    client = await upgraded(gateway)
    gateway.worker.live.cut(("session", 1), "revoked")
    await client.cut()

    client = await upgraded(gateway)
    for _ in range(3):
        gateway.pass_time(300)
        client.send(b"ping")
        assert await client.exactly(4) == b"ping"
    gateway.pass_time(99.9)
    assert gateway.worker.connections == 1
    gateway.pass_time(0.1)
    await client.cut()
    assert grown("cut_connections_total", cause="lapsed") == 1

    gateway.gate.answer = lambda head: PASS
    client = await upgraded(gateway)
    gateway.pass_time(601)
    await client.cut()
    assert grown("timeouts_total", timeout="tunnel_silence") == 1


async def test_a_slow_end_of_a_tunnel_slows_the_other(open_gateway: OpenGateway) -> None:
    sent = 0

    async def script(side: BackendSide) -> None:
        nonlocal sent
        await side.head()
        await side.send(SWITCH)
        while sent < 64 << 20:
            await side.send(bytes(65_536))
            sent += 65_536
        side.close()

    gateway = await open_gateway(script)
    client = await upgraded(gateway, limit=1 << 27)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads too
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._client_full)
    stopped_at = sent
    for _ in range(200):
        await asyncio.sleep(0)
    assert sent - stopped_at < 8 << 20
    assert frontend.transport.get_write_buffer_size() < 1 << 20
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    octets = 0
    while data := await client.reader.read(1 << 20):
        octets += len(data)
    assert octets == 64 << 20


async def test_a_backend_end_of_a_tunnel_that_takes_nothing_stops_its_client(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(SWITCH)
        side.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads too
        await asyncio.Event().wait()

    gateway = await open_gateway(script)
    client = await upgraded(gateway)
    frontend = await gateway.frontend()

    async def pour() -> None:
        while True:
            client.send(bytes(65_536))
            await client.writer.drain()

    pouring = asyncio.ensure_future(pour())
    await gateway.until(lambda: frontend._backend_full)
    assert not frontend.transport.is_reading()
    pouring.cancel()
    gateway.pass_time(601)
    await gateway.until(lambda: gateway.worker.connections == 0)
