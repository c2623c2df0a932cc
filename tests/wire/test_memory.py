"""Bodies of any length pass in little memory: gateway, backend and client of these tests together (clause B.1)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.wire.conftest import OpenGateway
from tests.wire.scripted import BackendSide

SIZE = 200 << 20
ALLOWED = 32 << 20
BLOCK = bytes(1 << 16)


def resident() -> int:
    """Octets of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_long_download_through_a_slow_client_takes_little_memory(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        while await side.head():
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(BLOCK)):
                await side.send(BLOCK)

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request()
    await client.head()
    frontend = await gateway.frontend()
    # The client begins to read when everything on the way is full.
    await gateway.until(lambda: frontend._client_full)
    before, most, got = resident(), 0, 0
    while got < SIZE:
        got += len(await client.reader.read(1 << 16))
        most = max(most, resident())
    assert most - before < ALLOWED


async def test_a_long_upload_to_a_slow_backend_takes_little_memory(open_gateway: OpenGateway) -> None:
    most = 0

    async def script(side: BackendSide) -> None:
        nonlocal most
        await side.head()
        frontend = await gateway.frontend()
        await gateway.until(lambda: frontend._backend_full)
        got = 0
        while got < SIZE:
            got += len(await side.reader.read(1 << 16))
            most = max(most, resident())
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", f"Content-Length: {SIZE}", method="POST")
    before = resident()
    for _ in range(SIZE // len(BLOCK)):
        client.send(BLOCK)
        await client.drain()
    assert (await client.answer()).status == 200
    assert most - before < ALLOWED
