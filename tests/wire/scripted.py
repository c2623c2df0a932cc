"""Both neighbours of the gateway as tests script them: a backend and a gate that do what they are told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from mtls_gateway.model import PeerCertificate
from mtls_gateway.wire.gate import Admission, CookieSeal, Forward, Peer, RequestHead, Route


class PlainSeal:
    """Cookies pass as they are."""

    def open_header(self, cookies: bytes) -> bytes:
        return cookies

    def seal_header(self, set_cookie: bytes) -> bytes:
        return set_cookie


SEAL: CookieSeal = PlainSeal()
PASS = Forward(route=Route.LEGACY, seal=SEAL)
TO_PORTAL = Forward(route=Route.PORTAL, seal=SEAL)


@dataclass
class ScriptedGate:
    """Lets everything pass until told otherwise; it is its own visitor."""

    answer: Callable[[RequestHead], Admission | Awaitable[Admission]] = lambda head: PASS
    on_greet: Callable[[Peer], None] = lambda peer: None
    ask_again: Callable[[str], bool] = lambda address: False
    must_show: Callable[[str], bool] = lambda address: False
    unwanted: Callable[[PeerCertificate], bool] = lambda certificate: False
    peers: list[Peer] = field(default_factory=list)
    heads: list[RequestHead] = field(default_factory=list)

    def recognise(self, der: bytes) -> PeerCertificate:
        return PeerCertificate(der)

    def greet(self, peer: Peer) -> ScriptedGate:
        self.peers.append(peer)
        self.on_greet(peer)
        return self

    def admit(self, head: RequestHead) -> Admission | Awaitable[Admission]:
        self.heads.append(head)
        return self.answer(head)

    def must_ask_again(self, address: str) -> bool:
        return self.ask_again(address)

    def must_show_one(self, address: str) -> bool:
        return self.must_show(address)

    def is_unwanted(self, address: str, certificate: PeerCertificate) -> bool:
        return self.unwanted(certificate)


class BackendSide:
    """The backend's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """The next request's head; b"" when the gateway has closed the connection."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                raise
            return b""

    async def body(self, octets: int) -> bytes:
        return await self.reader.readexactly(octets)

    async def until(self, end: bytes) -> bytes:
        return await self.reader.readuntil(end)

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def gone(self) -> None:
        """Returns when the gateway has closed the connection."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        """End with a reset: uvloop's own ``abort`` ends in order."""
        connected = self.writer.get_extra_info("socket")
        if not self.writer.is_closing():
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[BackendSide], Awaitable[None]]


class ScriptedBackend:
    """A TCP or unix server that runs ``script`` once for each connection, and keeps it open afterwards."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.sides: list[BackendSide] = []
        self.heads: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=1 << 20)

    async def listen_unix(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        side = BackendSide(reader, writer)
        self.sides.append(side)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self.script(side)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            side.abort()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        for side in self.sides:
            side.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def answering(*answers: bytes) -> Script:
    """Reads a request without a body and sends an answer, again and again; the last answer is repeated."""

    async def script(side: BackendSide) -> None:
        left = list(answers)
        while await side.head():
            await side.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def ok(body: bytes = b"hello", *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body)
