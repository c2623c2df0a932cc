"""A legacy backend that says back what it got, counts, and misbehaves when asked to; a process of its own.

It signs in by the same form as the demo's bank and imports nothing of this project.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, unquote

FORM = '<form method="post" action="/login"><input name="loginId"><input name="password" type="password"></form>'


class Request:
    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        self.body = body
        self.method, self.path = (word.decode() for word in head.split(b" ", 2)[:2])
        fields = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
        self.fields = {name.lower().decode(): value.decode("latin-1") for name, _, value in fields}

    @property
    def user(self) -> str:
        pairs = (pair.strip().partition("=") for pair in self.fields.get("cookie", "").split(";"))
        return {name: value for name, _, value in pairs}.get("ibsession", "nobody")


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    fields = Request(head, b"").fields
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\n")
        return Request(head, body)
    return Request(head, await reader.readexactly(int(fields.get("content-length", "0"))))


def answer(body: str, status: str = "200 OK", *fields: str, length: int | None = None) -> bytes:
    octets = body.encode()
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(octets) if length is None else length}",
        *fields,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + octets


class Backend:
    def __init__(self, accounts: dict[str, str]) -> None:
        self.accounts = accounts
        self.tries = 0
        self.sign_ins = 0
        #: How many times each path was asked for.
        self.asked: dict[str, int] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await read_request(reader)
                self.asked[request.path] = self.asked.get(request.path, 0) + 1
                if request.path.startswith("/bad/"):
                    await getattr(self, request.path.removeprefix("/bad/").partition("?")[0])(request, writer)
                else:
                    writer.write(await self.orderly(request))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def orderly(self, request: Request) -> bytes:
        pages: dict[str, Callable[[Request], Awaitable[bytes]]] = {"/login": self.login, "/home": self.home}
        if request.path == "/monitor":
            return answer(json.dumps({"tries": self.tries, "sign_ins": self.sign_ins, "asked": self.asked}))
        if request.path == "/logout":
            return answer("", "302 Found", "Location: /login")
        if request.path.startswith("/ib"):
            return await self.controller(request)
        if request.path.startswith("/echo"):
            return answer(request.head.decode("latin-1") + request.body.decode("latin-1"))
        return await pages.get(request.path, self.home)(request)

    async def login(self, request: Request) -> bytes:
        if request.method != "POST":
            return answer(FORM)
        self.tries += 1
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        # Long enough for guesses made at once to overlap.
        await asyncio.sleep(0.1)
        user = form.get("loginId", "")
        if self.accounts.get(user) != form.get("password", ""):
            return answer(f"正しくありません{FORM}")
        self.sign_ins += 1
        return answer("", "302 Found", "Location: /home", f"Set-Cookie: ibsession={user}; Path=/")

    async def controller(self, request: Request) -> bytes:
        """One path for everything; its parameters as a careless program takes them, from wherever they come."""
        text = request.path[len("/ib") :].lstrip("?;") + "&" + request.body.decode("latin-1")
        for _ in range(3):
            text = unquote(text)
        given = {name.strip().lower(): value for name, value in parse_qsl(text.replace(";", "&"), True)}
        event = given.get("eventid", "").strip().lower()
        if event != "login" and "userid" not in given:
            return answer(f"event {event} of {request.user}, {len(request.body)} octets")
        self.tries += 1
        user = given.get("userid") or given.get("loginid", "")
        if self.accounts.get(user) != given.get("password", ""):
            return answer("正しくありません")
        self.sign_ins += 1
        return answer(f"ようこそ、{user}", "200 OK", f"Set-Cookie: ibsession={user}; Path=/")

    async def home(self, request: Request) -> bytes:
        return answer(f'ようこそ、<span id="user">{request.user}</span>')

    # --- on request ---------------------------------------------------------------------------

    async def hangs_up(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def resets(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def says_nothing(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async def half_a_head(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        writer.close()

    async def half_a_head_for_ever(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await asyncio.sleep(30)

    async def half_a_body(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(f"secret of {request.user}", length=1_000))
        writer.close()

    async def half_a_body_for_ever(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(f"secret of {request.user}", length=1_000))
        await asyncio.sleep(30)

    async def half_the_chunks(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        writer.close()

    async def no_chunks(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nthis is no chunk\r\n")

    async def two_lengths(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhellohell")

    async def length_and_chunks(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    async def no_http(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    async def a_huge_head(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n")

    async def more_than_it_said(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """A second answer behind the first, in the same octets."""
        writer.write(answer("first") + answer(f"secret of {request.user}"))

    async def more_later(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """A second answer when the connection may be anybody's."""
        writer.write(answer("first"))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(answer(f"secret of {request.user}"))

    async def a_body_without_end(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """To HEAD, where no body may follow."""
        writer.write(answer(f"secret of {request.user}"))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--accounts", type=Path, required=True)
    words = parser.parse_args()
    backend = Backend(json.loads(words.accounts.read_text(encoding="utf-8")))
    server = await asyncio.start_server(backend.serve, "127.0.0.1", words.port, backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
