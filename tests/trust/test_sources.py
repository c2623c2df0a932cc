"""Lists are fetched from where the configuration says: files and a real HTTP server on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Crl
from mtls_gateway.trust.sources import Sources
from tests.trust.authority_maker import NOW

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """A web server that answers as it is told, and remembers what it was asked."""

    address: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    answer: Answer | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.headers))
        assert self.answer is not None
        return await self.answer(request)

    def gives(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status, headers=named)

        self.answer = answer


@asynccontextmanager
async def served() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.address = f"http://{host}:{port}/list.crl"
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with served() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def sources(tmp_path: Path, clock: ManualClock) -> Sources:
    return Sources(tmp_path, clock)


async def reason(sources: Sources, crl: Crl) -> str | None:
    _, error = await sources.fetch(crl)
    return None if error is None else error.reason


# --- files --------------------------------------------------------------------------------------


async def test_a_file_is_read_again_when_it_has_changed_and_its_time_has_come(
    sources: Sources, clock: ManualClock, tmp_path: Path
) -> None:
    crl = Crl(source=str(tmp_path / "list"), refresh=5)
    (tmp_path / "list").write_bytes(b"first")
    first, _ = await sources.fetch(crl)
    (tmp_path / "list").write_bytes(b"second")
    assert (await sources.fetch(crl))[0] is first
    clock.advance(5)
    assert await sources.fetch(crl) == (b"second", None)
    clock.advance(5)
    (tmp_path / "list").write_bytes(b"second")
    again, _ = await sources.fetch(crl)
    clock.advance(5)
    # The same octets are the same object, whatever the file's dates.
    assert (await sources.fetch(crl))[0] is again


async def test_a_file_that_cannot_be_used_is_an_error_once_in_its_time_and_what_it_gave_stays(
    sources: Sources, clock: ManualClock, tmp_path: Path
) -> None:
    crl = Crl(source=str(tmp_path / "list"), refresh=5, maximum_octets=6)
    missing, error = await sources.fetch(crl)
    assert missing is None
    assert error is not None
    assert (error.reason, str(error)) == ("missing", f"{tmp_path}/list: cannot be read: No such file or directory")
    assert await sources.fetch(crl) == (None, None)
    (tmp_path / "list").write_bytes(b"first")
    clock.advance(5)
    assert await sources.fetch(crl) == (b"first", None)
    (tmp_path / "list").write_bytes(b"too long")
    clock.advance(5)
    octets, error = await sources.fetch(crl)
    assert octets == b"first"
    assert error is not None
    assert error.reason == "oversized"


# --- HTTP ---------------------------------------------------------------------------------------


async def test_a_list_with_an_etag_is_asked_for_only_if_it_has_changed(
    sources: Sources, clock: ManualClock, server: Server
) -> None:
    crl = Crl(source=server.address, refresh=5)
    server.gives(b"first", ETag='"1"', Last_Modified="Mon, 01 Jun 2026 00:00:00 GMT")
    first, _ = await sources.fetch(crl)
    server.gives(status=304)
    clock.advance(5)
    assert await sources.fetch(crl) == (b"first", None)
    assert (await sources.fetch(crl))[0] is first
    assert [asked.get("If-None-Match") for asked in server.asked] == [None, '"1"']
    assert {asked["Accept-Encoding"] for asked in server.asked} == {"identity"}
    server.gives(b"second")
    clock.advance(5)
    assert await sources.fetch(crl) == (b"second", None)


@pytest.mark.parametrize(
    ("modified", "date", "conditional"),
    [
        ("Mon, 01 Jun 2026 00:00:00 GMT", "Mon, 01 Jun 2026 00:00:02 GMT", True),
        ("Mon, 01 Jun 2026 00:00:00 GMT", "Mon, 01 Jun 2026 00:00:01 GMT", False),
        ("yesterday", "Mon, 01 Jun 2026 00:00:02 GMT", False),
        ("Mon, 01 Jun 2026 00:00:00 -0000", "Mon, 01 Jun 2026 00:00:02 GMT", False),
    ],
)
async def test_a_date_is_relied_on_only_when_nothing_could_have_changed_within_its_second(
    sources: Sources, clock: ManualClock, server: Server, modified: str, date: str, conditional: bool
) -> None:
    crl = Crl(source=server.address, refresh=5)
    server.gives(b"first", Last_Modified=modified, Date=date)
    await sources.fetch(crl)
    clock.advance(5)
    await sources.fetch(crl)
    assert ("If-Modified-Since" in server.asked[1]) is conditional


async def test_what_was_refused_is_fetched_whole_the_next_time(
    sources: Sources, clock: ManualClock, server: Server
) -> None:
    crl = Crl(source=server.address, refresh=5)
    server.gives(b"damaged on the way", ETag='"1"')
    await sources.fetch(crl)
    sources.distrust(crl.source)
    clock.advance(5)
    await sources.fetch(crl)
    assert "If-None-Match" not in server.asked[1]


@pytest.mark.parametrize("status", [204, 302, 304, 403, 404, 500, 503])
async def test_whatever_is_no_list_is_an_error(sources: Sources, server: Server, status: int) -> None:
    server.gives(status=status, Location=server.address)
    assert await reason(sources, Crl(source=server.address)) == "http_status"
    # A redirect is not followed: it would lead to an address that nobody configured.
    assert len(server.asked) == 1


async def test_an_encoding_that_was_not_asked_for_is_an_error(sources: Sources, server: Server) -> None:
    server.gives(b"\x1f\x8b", Content_Encoding="gzip")
    assert await reason(sources, Crl(source=server.address)) == "http_status"


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_that_is_too_large_is_cut_short(sources: Sources, server: Server, chunked: bool) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        if not chunked:
            response.content_length = 1 << 40
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)
            sent += 65_536

    server.answer = answer
    assert await reason(sources, Crl(source=server.address, maximum_octets=100_000)) == "oversized"
    assert sent < 64 * 1024**2


async def test_an_answer_that_is_cut_is_an_error(sources: Sources, server: Server) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 1_000
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    server.answer = answer
    assert await reason(sources, Crl(source=server.address)) == "unreachable"


async def test_a_slow_answer_is_given_up(sources: Sources, server: Server) -> None:
    never = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a drop")
        await never.wait()
        return response

    server.answer = answer
    assert await reason(sources, Crl(source=server.address, timeout=0.2)) == "unreachable"
    never.set()


async def test_nobody_there_is_an_error(sources: Sources, free_port: int) -> None:
    assert await reason(sources, Crl(source=f"http://127.0.0.1:{free_port}/list", timeout=2)) == "unreachable"
