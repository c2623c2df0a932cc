"""A client that sends exactly the octets that a test says, over a real TLS connection."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from tests.wire.material import Material, Pair


@dataclass
class Answered:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        """The one value of a header."""
        values = [value for each, value in self.headers if each.lower() == name.lower()]
        assert len(values) == 1, (name, self.headers)
        return values[0]

    def __contains__(self, name: str) -> bool:
        return any(each.lower() == name.lower() for each, _ in self.headers)


class Client:
    """One connection. Every wait ends: a gateway that hangs fails the test within seconds."""

    PATIENCE = 10.0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str) -> None:
        self.reader = reader
        self.writer = writer
        self.authority = authority

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def drain(self) -> None:
        await asyncio.wait_for(self.writer.drain(), self.PATIENCE)

    def request(self, target: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> None:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.authority}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), self.PATIENCE)

    async def exactly(self, octets: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(octets), self.PATIENCE)

    async def answer(self, method: str = "GET") -> Answered:
        """The next answer, its body read as its head says."""
        head = await self.head()
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        answer = Answered(int(first.split(" ")[1]), fields, b"")
        if method == "HEAD" or answer.status in (100, 101, 204, 304):
            return answer
        if "transfer-encoding" in answer:
            assert answer["transfer-encoding"] == "chunked"
            assert "content-length" not in answer
            while size := int((await self.line()).decode(), 16):
                answer.body += await self.exactly(size)
                assert await self.line() == b""
            assert await self.line() == b""
        elif "content-length" in answer:
            answer.body = await self.exactly(int(answer["content-length"]))
        else:
            answer.body = await self.rest()
        return answer

    async def line(self) -> bytes:
        line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), self.PATIENCE)
        return line[:-2]

    async def ask(self, target: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> Answered:
        self.request(target, *headers, method=method, body=body)
        return await self.answer(method)

    async def rest(self) -> bytes:
        """Everything until the end, which must be one in order."""
        return await asyncio.wait_for(self.reader.read(), self.PATIENCE)

    async def cut(self) -> bytes:
        """What came before the connection was cut; fails if it ends in order."""
        came = b""
        try:
            while data := await asyncio.wait_for(self.reader.read(65_536), self.PATIENCE):
                came += data
        except (ConnectionError, ssl.SSLError):
            return came
        raise AssertionError(f"the connection ended in order after {came[:200]!r}")

    def vanish(self) -> None:
        self.writer.transport.abort()


def client_context(material: Material, certificate: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(material.authority.pem))
    if certificate is not None:
        context.load_cert_chain(certificate.pem, certificate.key_pem)
    return context
