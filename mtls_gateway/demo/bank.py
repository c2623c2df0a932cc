"""An ordinary legacy internet bank: a session cookie, an ID + password form, a few pages.

Runs as a process of its own (``python -m mtls_gateway.demo.bank``), speaks plain HTTP on loopback, and knows nothing
of the gateway: it reads no header of it, sees no client certificate, and would work the same without it. What is
awkward about it is awkward on purpose, as such systems are: absolute redirects, a session that is renamed at
sign-in, a form that works once, status 200 for a wrong password.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiohttp import WSMsgType, web

from mtls_gateway.demo import bank_pages

SESSION_COOKIE: Final = "ibsession"
#: A display setting that the bank's scripts read; carries nothing secret.
THEME_COOKIE: Final = "ibtheme"
WRONG: Final = "利用者IDまたはパスワードが正しくありません。"
STALE_FORM: Final = "画面の有効期限が切れました。もう一度ログインしてください。"

_CHUNK: Final = bytes(range(256)) * 256
#: A forgotten pre-login session costs memory; more than this many are not kept.
_MOST_SESSIONS: Final = 10_000


class Session:
    """What the bank remembers of one browser; ``user`` is None before sign-in."""

    __slots__ = ("token", "user")

    def __init__(self) -> None:
        self.user: str | None = None
        self.token = ""


class Bank:
    """The handlers and their state."""

    def __init__(self, accounts: dict[str, str]) -> None:
        self._accounts = accounts
        self._sessions: dict[str, Session] = {}
        self._sign_ins = 0
        self._sign_outs = 0

    def application(self) -> web.Application:
        """The bank as an aiohttp application."""
        application = web.Application(client_max_size=1 << 20)
        application.add_routes(
            [
                web.get("/", self.front),
                web.get("/static/bank.css", self.style),
                web.get("/monitor", self.monitor),
                web.get("/login", self.login_page),
                web.post("/login", self.login),
                web.get("/home", self.home),
                web.get("/balance", self.balance),
                web.get("/statements.csv", self.statements),
                web.get("/statements/large", self.large),
                web.get("/transfer", self.transfer_page),
                web.post("/transfer", self.transfer),
                web.get("/rates", self.rates_page),
                web.get("/ws/rates", self.rates),
                web.get("/logout", self.logout),
                web.post("/logout", self.logout),
            ]
        )
        return application

    # --- sessions -------------------------------------------------------------------------------
    def _session(self, request: web.Request) -> Session | None:
        return self._sessions.get(request.cookies.get(SESSION_COOKIE, ""))

    def _new_session(self, response: web.StreamResponse) -> Session:
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_hex(16).upper()
        session = self._sessions[name] = Session()
        response.set_cookie(SESSION_COOKIE, name, path="/", httponly=True)
        return session

    def _signed_in(self, request: web.Request) -> str:
        session = self._session(request)
        if session is None or session.user is None:
            raise self._go(request, "/login")
        return session.user

    @staticmethod
    def _go(request: web.Request, path: str) -> web.HTTPFound:
        """An absolute redirect, to the name that this bank believes it has."""
        return web.HTTPFound(f"{request.scheme}://{request.host}{path}")

    # --- in and out -----------------------------------------------------------------------------
    async def front(self, request: web.Request) -> web.StreamResponse:
        """Where a bookmark leads."""
        self._signed_in(request)
        raise self._go(request, "/home")

    async def login_page(self, request: web.Request) -> web.StreamResponse:
        """The form, with a token that works once and only for this browser's session."""
        return self._form(request, "")

    def _form(self, request: web.Request, error: str) -> web.Response:
        response = web.Response(content_type="text/html", headers={"Cache-Control": "no-store"})
        session = self._session(request)
        if session is None or session.user is not None:
            session = self._new_session(response)
        session.token = secrets.token_urlsafe(24)
        response.text = bank_pages.login(session.token, error)
        return response

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Right: a new session ID and the home page. Wrong: this page again, with status 200."""
        form = await request.post()
        session = self._session(request)
        expected = session.token if session is not None else ""
        if session is not None:
            session.token = ""
        if not expected or not hmac.compare_digest(expected.encode(), str(form.get("token", "")).encode()):
            return self._form(request, STALE_FORM)
        user, password = str(form.get("loginId", "")), str(form.get("password", ""))
        if not hmac.compare_digest(self._accounts.get(user, "\0").encode(), password.encode()):
            return self._form(request, WRONG)
        self._sessions.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        answer = self._go(request, "/home")
        self._new_session(answer).user = user
        answer.set_cookie(THEME_COOKIE, "standard", path="/")
        self._sign_ins += 1
        raise answer

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """End the session, if there is one."""
        session = self._sessions.pop(request.cookies.get(SESSION_COOKIE, ""), None)
        if session is not None and session.user is not None:
            self._sign_outs += 1
        answer = self._go(request, "/login")
        answer.del_cookie(SESSION_COOKIE, path="/")
        raise answer

    # --- business -------------------------------------------------------------------------------
    async def style(self, request: web.Request) -> web.StreamResponse:
        """The style sheet, open to everybody."""
        return web.Response(text=bank_pages.style(), content_type="text/css")

    async def home(self, request: web.Request) -> web.StreamResponse:
        """A page of fixed length."""
        return web.Response(text=bank_pages.home(self._signed_in(request)), content_type="text/html")

    async def balance(self, request: web.Request) -> web.StreamResponse:
        """A page in chunks."""
        self._signed_in(request)
        response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in bank_pages.balance_rows():
            await response.write(piece.encode())
        await response.write_eof()
        return response

    async def statements(self, request: web.Request) -> web.StreamResponse:
        """A small CSV download with a Japanese file name."""
        self._signed_in(request)
        return web.Response(
            body=bank_pages.statements_csv().encode("utf-8-sig"),
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": "attachment; filename=statements.csv; "
                "filename*=UTF-8''%E5%85%A5%E5%87%BA%E9%87%91%E6%98%8E%E7%B4%B0.csv",
            },
        )

    async def large(self, request: web.Request) -> web.StreamResponse:
        """``octets`` octets, streamed: 0, 1, … 255, 0, 1, … in that order."""
        self._signed_in(request)
        octets = request.query.get("octets", "1048576")
        if not octets.isascii() or not octets.isdigit():
            raise web.HTTPBadRequest(text="octets must be a number")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = left = int(octets)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # The browser has had enough.
            while left:
                piece = _CHUNK if left >= len(_CHUNK) else _CHUNK[:left]
                await response.write(piece)
                left -= len(piece)
            await response.write_eof()
        return response

    async def transfer_page(self, request: web.Request) -> web.StreamResponse:
        """The upload form."""
        self._signed_in(request)
        return web.Response(text=bank_pages.transfer(), content_type="text/html")

    async def transfer(self, request: web.Request) -> web.StreamResponse:
        """Read the file as it comes, keep nothing but its length and digest."""
        self._signed_in(request)
        if not request.content_type.startswith("multipart/"):
            raise web.HTTPBadRequest(text="a file is expected")
        name, octets, digest = "", 0, hashlib.sha256()
        async for part in await request.multipart():
            if getattr(part, "name", None) != "file":
                continue
            name = getattr(part, "filename", None) or ""
            async for piece in _pieces(part):
                octets += len(piece)
                digest.update(piece)
        return web.Response(
            text=bank_pages.transfer_received(name, octets, digest.hexdigest()), content_type="text/html"
        )

    async def rates_page(self, request: web.Request) -> web.StreamResponse:
        """The page around the WebSocket."""
        self._signed_in(request)
        return web.Response(text=bank_pages.rates(), content_type="text/html")

    async def rates(self, request: web.Request) -> web.StreamResponse:
        """Ticks once a second, and says back what it is told."""
        self._signed_in(request)
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        ticking = asyncio.create_task(_tick(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_str(message.data)
                elif message.type is WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
        finally:
            ticking.cancel()
        return socket

    async def monitor(self, request: web.Request) -> web.StreamResponse:
        """For the bank's own operators, on its own network: how many are signed in."""
        signed_in = sum(session.user is not None for session in self._sessions.values())
        return web.json_response({"signed_in": signed_in, "sign_ins": self._sign_ins, "sign_outs": self._sign_outs})


async def _pieces(part: object) -> AsyncIterator[bytes]:
    read = getattr(part, "read_chunk", None)
    if read is None:
        raise web.HTTPBadRequest(text="a file is expected, not a nested multipart")
    while piece := await read(65_536):
        yield piece


async def _tick(socket: web.WebSocketResponse) -> None:
    tick = 0
    while not socket.closed:
        await socket.send_json({"tick": tick, "USDJPY": round(150 + tick % 7 / 100, 2)})
        tick += 1
        await asyncio.sleep(1)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="to listen on")
    parser.add_argument("--address", default="127.0.0.1", help="to listen on")
    parser.add_argument("--accounts", type=Path, required=True, help="JSON: user ID to password")
    words = parser.parse_args()
    accounts: dict[str, str] = json.loads(words.accounts.read_text(encoding="utf-8"))
    web.run_app(Bank(accounts).application(), host=words.address, port=words.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
