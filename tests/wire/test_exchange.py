"""One request and its answer: bodies both ways, and everything that a backend may do wrong (clause B.4)."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.wire.gate import Admission, Page, Refuse
from mtls_gateway.wire.share import Share
from mtls_gateway.wire.tls_connection import AT_ONCE
from tests.wire.client import Client
from tests.wire.conftest import Counter, Gateway, OpenGateway
from tests.wire.scripted import PASS, TO_PORTAL, BackendSide, PlainSeal, answering, ok

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# --- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304])
async def test_answers_without_a_body_leave_the_connection_in_step(
    open_gateway: OpenGateway, method: str, status: int
) -> None:
    length = b"" if status == 204 else b"Content-Length: 5\r\n"
    body = b"hello" if method == "GET" and status == 200 else b""
    gateway = await open_gateway(answering(b"HTTP/1.1 %d X\r\nETag: a\r\n%b\r\n%b" % (status, length, body)))
    client = await gateway.connect()
    for _ in range(3):
        answer = await client.ask(method=method)
        assert (answer.status, answer.body, answer["etag"]) == (status, body, "a")
        assert ("content-length" in answer) == (status != 204)
    assert len(gateway.legacy.sides) == 1


async def test_chunks_are_framed_anew_and_trailers_dropped_both_ways(open_gateway: OpenGateway) -> None:
    got: list[bytes] = []

    async def script(side: BackendSide) -> None:
        got.append(await side.head())
        got.append(await side.until(b"0\r\n\r\n"))
        await side.send(CHUNKED + b"3;x=y\r\nabc\r\n002\r\nde\r\n0\r\nX-User-ID: evil\r\n\r\n")
        while await side.head():
            await side.send(ok(b"next"))

    gateway = await open_gateway(script)
    client = await gateway.connect()
    body = b"5;a=b\r\nhello\r\n0001\r\n!\r\n0\r\nX-User-ID: evil\r\n\r\n"
    answer = await client.ask("/", "Transfer-Encoding: chunked", "Trailer: X-User-ID", method="POST", body=body)
    assert answer.body == b"abcde"
    assert b"Transfer-Encoding: chunked\r\n" in got[0]
    assert got[1] == b"6\r\nhello!\r\n0\r\n\r\n"
    assert b"railer" not in got[0]
    assert (await client.ask()).body == b"next"
    assert len(gateway.legacy.sides) == 1


async def test_a_chunked_answer_reaches_an_http_1_0_client_plain_and_ends_with_the_connection(
    open_gateway: OpenGateway,
) -> None:
    gateway = await open_gateway(answering(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"))
    client = await gateway.connect()
    client.send(f"GET / HTTP/1.0\r\nHost: {client.authority}\r\nConnection: keep-alive\r\n\r\n".encode())
    answer = await client.answer()
    assert (answer.body, answer["connection"]) == (b"hello", "close")
    assert "transfer-encoding" not in answer


async def test_an_answer_until_close_becomes_chunks(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\n\r\nall of ")
        await side.send(b"it")
        side.close()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    for _ in range(2):
        answer = await client.ask()
        assert (answer.body, answer["transfer-encoding"]) == (b"all of it", "chunked")


async def test_100_continue_is_said_only_once_the_request_was_admitted(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        head = await side.head()
        assert b"xpect" not in head
        await side.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await side.send(ok(await side.body(5)))

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", "Expect: 100-continue", "Content-Length: 5", method="POST")
    assert (await client.answer()).status == 100
    client.send(b"hello")
    assert (await client.answer()).body == b"hello"


async def test_another_expectation_is_417(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    client = await gateway.connect()
    assert (await client.ask("/", "Expect: a miracle")).status == 417


async def test_http_1_0_is_told_no_100_continue(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(ok(await side.body(5)))

    gateway = await open_gateway(script)
    client = await gateway.connect()
    head = f"POST / HTTP/1.0\r\nHost: {client.authority}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    client.send(head.encode())
    await gateway.until(lambda: gateway.legacy.sides)
    client.send(b"hello")
    assert (await client.answer()).body == b"hello"


async def test_a_request_pipelined_behind_a_body_is_the_next_request(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        while head := await side.head():
            await side.send(ok(await side.body(5) if head.startswith(b"POST") else b"got"))

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", "Content-Length: 5", method="POST", body=b"hello")
    client.request("/", "Transfer-Encoding: chunked", method="GET", body=b"0\r\n\r\n")
    client.request()
    assert [(await client.answer()).body for _ in range(3)] == [b"hello", b"got", b"got"]


async def test_a_broken_chunk_is_400_and_the_backend_never_sees_the_end(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(side: BackendSide) -> None:
        await side.head()
        seen.set_result(await side.reader.read())

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", "Transfer-Encoding: chunked", method="POST", body=b"5\r\nhello\r\n")
    await gateway.until(lambda: gateway.worker.tally.octets_up == 5)
    client.send(b"+1\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
    assert (await client.answer()).status == 400
    assert await client.rest() == b""
    assert await seen == b"5\r\nhello\r\n"
    assert grown("malformed_requests_total", reason="chunk_size") == 1


@pytest.mark.parametrize("framing", ["Content-Length: 2000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("route", ["legacy", "portal"])
async def test_bodies_are_limited(open_gateway: OpenGateway, grown: Counter, framing: str, route: str) -> None:
    async def swallow(side: BackendSide) -> None:
        await side.gone()

    limit = "body_octets" if route == "legacy" else "portal_body_octets"
    gateway = await open_gateway(swallow, portal=swallow, limits={limit: 1_000})
    gateway.gate.answer = lambda head: PASS if route == "legacy" else TO_PORTAL
    client = await gateway.connect()
    body = b"3e9\r\n" + bytes(1_001) + b"\r\n0\r\n\r\n" if "chunked" in framing else b""
    assert (await client.ask("/", framing, method="POST", body=body)).status == 413
    assert grown("limit_refusals_total", limit=limit) == 1


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_slow_form_holds_no_connection_to_the_portal_and_gains_no_time(
    open_gateway: OpenGateway, grown: Counter, framing: str
) -> None:
    gateway = await open_gateway(portal=answering(ok(b"page")), timeouts={"body": 10.0})
    gateway.gate.answer = lambda head: TO_PORTAL
    client = await gateway.connect()
    client.request("/gateway/password", framing, method="POST", body=b"5\r\n" if "chunked" in framing else b"")

    async def drip(sent: int) -> None:
        client.send(b"a")
        await gateway.until(lambda: gateway.worker.tally.octets_up == sent)
        gateway.pass_time(3.0)
        assert gateway.worker.portal.backends[0].open == 0

    for sent in (1, 2, 3):
        await drip(sent)
    gateway.pass_time(2.0)
    assert (await client.answer()).status == 408
    assert grown("timeouts_total", timeout="body") == 1


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_form_that_comes_in_pieces_reaches_the_portal_whole(open_gateway: OpenGateway, framing: str) -> None:
    seen: list[bytes] = []
    pieces = [b"name=", b"value"]
    expected = b"".join(pieces)
    if "chunked" in framing:
        pieces = [b"5\r\nname=\r\n", b"5\r\nvalue\r\n0\r\n\r\n"]
        expected = b"a\r\nname=value\r\n0\r\n\r\n"

    async def portal(side: BackendSide) -> None:
        await side.head()
        seen.append(await side.body(len(expected)))
        await side.send(ok(b"page"))
        await side.head()
        await side.send(ok(b"next"))

    gateway = await open_gateway(portal=portal)
    gateway.gate.answer = lambda head: TO_PORTAL
    client = await gateway.connect()
    client.request("/gateway/password", framing, method="POST", body=pieces[0])
    await gateway.until(lambda: gateway.worker.tally.octets_up == 5)
    client.send(pieces[1])
    client.request("/gateway/status")
    assert [(await client.answer()).body, (await client.answer()).body] == [b"page", b"next"]
    assert seen == [expected]


# --- back-pressure ------------------------------------------------------------------------------


async def test_a_backend_that_takes_nothing_stops_its_client_and_is_blamed(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    async def script(side: BackendSide) -> None:
        side.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads too
        await asyncio.Event().wait()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", f"Content-Length: {1 << 30}", method="POST")
    frontend = await gateway.frontend()

    async def pour() -> None:
        while True:
            client.send(bytes(65_536))
            await client.writer.drain()

    pouring = asyncio.ensure_future(pour())
    await gateway.until(lambda: frontend._backend_full)
    assert not frontend.transport.is_reading()
    taken = gateway.worker.tally.octets_up
    for _ in range(200):
        await asyncio.sleep(0)
    assert gateway.worker.tally.octets_up == taken
    gateway.pass_time(61)
    pouring.cancel()
    assert grown("timeouts_total", timeout="backend_silence") == 1
    assert gateway.logged == [("legacy", 504)]


async def test_what_comes_too_early_is_held_up_to_a_limit_and_then_goes_on(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    """The pipelined upload fills the buffer while the first answer is awaited, and still arrives whole."""
    go = asyncio.Event()

    async def script(side: BackendSide) -> None:
        await side.head()
        await go.wait()
        await side.send(ok(b"first"))
        await side.head()
        octets = 0
        while octets < 3_000_000:
            octets += len(await side.reader.read(65_536))
        await side.send(ok(b"%d" % octets))

    gateway = await open_gateway(script, limits={"buffer_octets": 32_768})
    client = await gateway.connect()
    client.request()
    client.request("/", "Content-Length: 3000000", method="POST", body=bytes(3_000_000))
    frontend = await gateway.frontend()
    await gateway.until(lambda: not frontend.transport.is_reading())
    assert len(frontend._buffer) <= 32_768 + AT_ONCE
    assert grown("limits_reached_total", limit="buffer_octets") == 1
    go.set()
    assert (await client.answer()).body == b"first"
    assert (await client.answer()).body == b"3000000"


async def test_a_slow_reader_slows_the_backend_and_gets_everything(open_gateway: OpenGateway) -> None:
    size = 8 << 20
    gateway = await open_gateway(answering(ok(bytes(size))))
    client = await gateway.connect(limit=1 << 12)
    client.request()
    assert int((await client.head()).partition(b"Content-Length: ")[2].partition(b"\r\n")[0]) == size
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._client_full)
    octets = (await client.exactly(size)).count(0)
    assert octets == size
    octets = (await client.ask()).body.count(0)
    assert octets == size
    assert len(gateway.legacy.sides) == 1


async def test_a_connection_that_was_paused_for_one_client_reads_for_the_next(open_gateway: OpenGateway) -> None:
    """The last octets of an answer may be what fills a slow client's buffer."""
    gateway = await open_gateway(answering(ok(bytes(1 << 20)), ok(b"mine")), limits={"backend_connections": 1})
    slow = await gateway.connect(limit=1 << 10)
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(8):
        slow.request()
    await gateway.until(lambda: len(gateway.gate.heads) >= 2)
    other = await gateway.connect()
    assert (await other.ask()).body == b"mine"


# --- what a backend may do wrong ----------------------------------------------------------------


async def test_a_backend_that_is_down_is_502(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway()
    await gateway.legacy.stop()
    client = await gateway.connect()
    answer = await client.ask()
    assert (answer.status, answer.body, answer["connection"]) == (502, b"page 502", "close")
    assert grown("backend_failures_total", backend=gateway.backend_url, reason="connect") == 1


async def test_a_backend_that_does_not_take_the_connection_is_504(open_gateway: OpenGateway, grown: Counter) -> None:
    # A full backlog: the kernel answers no further SYN.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        gateway = await open_gateway(backends=[url], timeouts={"backend_connect": 0.2})
        client = await gateway.connect()
        assert (await client.ask()).status == 504
        assert grown("backend_failures_total", backend=url, reason="connect_timeout") == 1
        for filler in fillers:
            filler.close()


async def test_another_backend_is_asked_when_one_is_down(open_gateway: OpenGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved, socket.create_server(("127.0.0.1", 0)) as reserved_too:
        dead = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (reserved, reserved_too)]
    gateway = await open_gateway()
    both = await open_gateway(backends=[dead[0], gateway.backend_url, dead[1]])
    client = await both.connect()
    for _ in range(3):
        assert (await client.ask("/", "Content-Length: 0", method="POST")).status == 200


async def test_when_the_only_backend_takes_no_connections_the_answer_comes_at_once_with_a_page_and_when_to_come_again(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    gateway = await open_gateway(backends=[url], legacy={"ejection": {"failures": 2, "shortest": 4}})
    assert [(await (await gateway.connect()).ask()).status for _ in range(2)] == [502, 503]
    assert grown("backend_ejections_total", backend=url, cause="connect") == 1
    answer = await (await gateway.connect()).ask("/", "Content-Length: 0", method="POST")
    assert (answer.status, answer.body, answer["Retry-After"]) == (503, b"page 503", "4")
    assert grown("backend_failures_total", backend=url, reason="connect") == 2
    assert grown("backend_refusals_total", out="every") == 2
    # Half open: one tries it, the next is refused again.
    gateway.pass_time(4.0)
    statuses = [(await (await gateway.connect()).ask()).status for _ in range(2)]
    assert statuses == [503, 503]
    assert grown("backend_failures_total", backend=url, reason="connect") == 3


async def test_a_backend_that_owes_answers_is_ejected_by_them_and_an_upload_broken_off_is_no_failure(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    async def script(side: BackendSide) -> None:
        head = await side.head()
        if head.startswith(b"GET /silent"):
            await side.gone()
        elif head.startswith(b"GET /half"):
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        side.abort()

    gateway = await open_gateway(script, legacy={"ejection": {"failures": 3}})
    backend = gateway.worker.legacy.backends[0]
    for _ in range(4):
        client = await gateway.connect()
        client.request("/", "Content-Length: 100000000", method="POST", body=b"begun")
        assert (await client.answer("POST")).status == 502
    assert not backend.health.troubled
    silent = await gateway.connect()
    silent.request("/silent")
    await gateway.until(lambda: len(gateway.legacy.sides) == 5 and backend.under_way == 1)
    (frontend,) = [each for each in gateway._frontends() if each._exchange is not None]
    await gateway.until(lambda: frontend._expected == "backend_first_octet")
    gateway.pass_time(61.0)
    assert (await silent.answer()).status == 504
    assert grown("backend_failures_total", backend=backend.name, reason="first_octet") == 1
    half = await gateway.connect()
    half.request("/half")
    await half.cut()
    assert backend.health.usable
    assert (await (await gateway.connect()).ask("/closed")).status == 502
    await gateway.until(lambda: not backend.health.usable)
    assert grown("backend_ejections_total", backend=backend.name, cause="answer") == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"garbage\r\n\r\n", "malformed_head"),
        (b"\x16\x03\x01\x00\xa5 TLS\r\n\r\n", "malformed_head"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "version"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "malformed_head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "malformed_head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", "malformed_head"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "encoding"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", "malformed_head"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "head_octets"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "interim_answers"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "upgrade"),
        (CHUNKED + b"xyz\r\n", "chunk_size"),
    ],
)
async def test_an_answer_that_is_none_is_502(
    open_gateway: OpenGateway, grown: Counter, said: bytes, reason: str
) -> None:
    gateway = await open_gateway(answering(said))
    client = await gateway.connect()
    answer = await client.ask()
    assert (answer.status, answer.body) == (502, b"page 502")
    assert await client.rest() == b""
    assert grown("backend_failures_total", backend=gateway.backend_url, reason=reason) == 1


async def test_no_first_octet_is_504(open_gateway: OpenGateway, grown: Counter) -> None:
    async def script(side: BackendSide) -> None:
        await side.gone()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request()
    await gateway.until(lambda: gateway.legacy.sides)
    gateway.pass_time(59)
    gateway.pass_time(2)
    assert (await client.answer()).status == 504
    assert grown("timeouts_total", timeout="backend_first_octet") == 1


@pytest.mark.parametrize(
    "beginning",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", CHUNKED + b"4\r\nhalf\r\n", CHUNKED + b"9\r\nhalf"],
)
@pytest.mark.parametrize("end", ["silence", "close", "reset"])
async def test_half_an_answer_is_cut_and_never_completed(
    open_gateway: OpenGateway, grown: Counter, beginning: bytes, end: str
) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(beginning)
        await go.wait()
        if end == "close":
            side.close()
        elif end == "reset":
            side.abort()

    go = asyncio.Event()
    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request()
    await client.head()
    await client.reader.readuntil(b"half")
    go.set()
    if end == "silence":
        gateway.pass_time(61)
    assert await client.cut() in (b"", b"\r\n")
    if end == "silence":
        assert grown("timeouts_total", timeout="backend_silence") == 1
    else:
        assert grown("backend_failures_total", backend=gateway.backend_url, reason="truncated") == 1


async def test_half_an_answer_until_close_that_is_reset_is_cut(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await go.wait()
        side.abort()

    go = asyncio.Event()
    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request()
    await client.reader.readuntil(b"half\r\n")
    go.set()
    assert await client.cut() == b""


@pytest.mark.parametrize("moment", ["with the answer", "at once after it", "later"])
async def test_octets_after_an_answer_never_reach_another_user(
    open_gateway: OpenGateway, grown: Counter, moment: str
) -> None:
    """The backend lies about the length: what it says too much is neither the first user's nor the second's."""
    excess = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECRET"
    more = asyncio.Event()

    async def script(side: BackendSide) -> None:
        await side.head()
        if moment == "with the answer":
            await side.send(ok(b"hello") + excess)
        else:
            await side.send(ok(b"hello"))
            if moment == "later":
                await more.wait()
            await side.send(excess)
        while await side.head():
            await side.send(ok(b"mine"))

    gateway = await open_gateway(script, limits={"backend_connections": 1})
    first = await gateway.connect()
    second = await gateway.connect(certificate=gateway.material.other_client)
    assert (await first.ask()).body == b"hello"
    if moment == "later":
        backend = gateway.worker.pools[PASS.route].backends[0]
        assert backend.idle == 1
        more.set()
        await gateway.until(lambda: backend.idle == 0)
    # The lie is repeated on each new connection; the second user gets the answer to a request of its own.
    answer = await second.ask()
    assert answer.body in (b"hello", b"mine")
    assert b"SECRET" not in await everything_of(second) + await everything_of(first)
    if moment == "with the answer":
        assert grown("backend_failures_total", backend=gateway.backend_url, reason="excess_octets") >= 2


async def everything_of(client: Client) -> bytes:
    client.request("/", "Connection: close")
    return await client.rest()


async def test_an_answer_before_the_request_is_whole_ends_the_connection(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await side.gone()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", "Content-Length: 1000", method="POST", body=b"begin")
    answer = await client.answer()
    assert (answer.status, answer.body, answer["connection"]) == (413, b"big", "close")
    assert await client.rest() == b""
    assert gateway.worker.pools[PASS.route].backends[0].idle == 0


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST", "PUT", "DELETE"])
async def test_on_a_stale_connection_a_safe_request_is_repeated_once_and_any_other_never(
    open_gateway: OpenGateway, method: str
) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        heads.append(await side.head())
        await side.send(ok(b"%d" % len(heads)))
        if head := await side.head():
            heads.append(head)
            side.close()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    assert (await client.ask()).body == b"1"
    answer = await client.ask("/", "Content-Length: 0", method=method)
    safe = method in ("GET", "OPTIONS")
    assert answer.status == (200 if safe else 502)
    assert len(heads) == (3 if safe else 2)
    assert len(gateway.legacy.sides) == (2 if safe else 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
async def test_on_a_new_connection_nothing_is_ever_repeated(open_gateway: OpenGateway, method: str) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        heads.append(await side.head())
        side.close()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request(method=method)
    assert (await client.answer(method)).status == 502
    assert len(heads) == 1


async def test_what_has_begun_to_be_answered_is_never_repeated(open_gateway: OpenGateway) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        heads.append(await side.head())
        await side.send(ok())
        heads.append(await side.head())
        await side.send(b"H")
        side.close()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    assert (await client.ask()).status == 200
    assert (await client.ask()).status == 502
    assert len(heads) == 2


@pytest.mark.parametrize("body", [b"", b"x"])
async def test_a_get_with_a_body_is_not_repeated(open_gateway: OpenGateway, body: bytes) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        heads.append(await side.head())
        await side.send(ok())
        while head := await side.head():
            heads.append(head)
            side.close()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    assert (await client.ask()).status == 200
    answer = await client.ask("/", f"Content-Length: {len(body)}", body=body)
    assert (answer.status, len(heads)) == ((502, 2) if body else (200, 3))


async def test_a_get_is_not_repeated_twice(open_gateway: OpenGateway) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        heads.append(await side.head())
        if len(heads) == 1:
            await side.send(ok(b"first"))
            heads.append(await side.head())
        side.close()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    assert (await client.ask()).status == 200
    assert (await client.ask()).status == 502
    assert len(heads) == 3


async def test_a_connection_that_was_closed_while_idle_is_not_used_even_for_a_post(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(ok())
        side.close()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    for _ in range(5):
        assert (await client.ask("/", "Content-Length: 0", method="POST")).status == 200


# --- ends that are not the backend's ------------------------------------------------------------


async def test_an_exchange_outlives_neither_a_cut_nor_its_last_second(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await side.gone()

    def bound_until(gateway: Gateway, until: float) -> None:
        gateway.gate.answer = lambda head: replace(PASS, bound=(("session", 1),), until=until)

    gateway = await open_gateway(script)
    bound_until(gateway, gateway.clock.now() + 30)
    client = await gateway.connect()
    client.request()
    await client.reader.readuntil(b"half")
    gateway.pass_time(29.9)
    assert gateway.worker.connections == 1
    gateway.pass_time(0.1)
    await client.cut()
    assert grown("cut_connections_total", cause="lapsed") == 1

    bound_until(gateway, float("inf"))
    client = await gateway.connect()
    client.request()
    await client.reader.readuntil(b"half")
    assert gateway.worker.live.cut(("session", 1), "revoked") == 1
    await client.cut()
    assert grown("cut_connections_total", cause="revoked") == 1


async def test_an_idle_connection_ends_too_and_lapses_not(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    now = gateway.clock.now()
    gateway.gate.answer = lambda head: replace(PASS, bound=(("session", 1),), until=now + 10)
    client = await gateway.connect()
    await client.ask()
    gateway.pass_time(20)
    await client.ask()
    frontend = await gateway.frontend()
    await gateway.until(lambda: not frontend.transport.has_untaken())
    assert gateway.worker.live.cut(("session", 1), "revoked") == 1
    assert await client.rest() == b""
    assert gateway.worker.live.cut(("session", 1), "revoked") == 0


async def test_a_page_outlives_what_earlier_requests_were_admitted_with(open_gateway: OpenGateway) -> None:
    """The bank's own sign-out ends the session that the connection was admitted with, and its page must be seen."""
    cut: list[int] = []

    async def portal(side: BackendSide) -> None:
        while await side.head():
            cut.append(gateway.worker.live.cut(("session", 1), "session_ended"))
            await side.send(ok(b"signed out"))

    gateway = await open_gateway(portal=portal)
    gateway.gate.answer = lambda head: replace(PASS, bound=(("session", 1),))
    client = await gateway.connect()
    await client.ask()
    gateway.gate.answer = lambda head: Page(b"/gateway/sign-out/legacy", (), "admitted")
    assert (await client.ask("/logout")).body == b"signed out"
    assert cut == [0]
    # The next request is bound anew.
    gateway.gate.answer = lambda head: replace(PASS, bound=(("session", 2),))
    await client.ask()
    assert gateway.worker.live.cut(("session", 2), "session_ended") == 1


async def test_a_cut_reaches_what_the_kernel_already_has(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(answering(ok(bytes(32 << 20))))
    gateway.gate.answer = lambda head: replace(PASS, bound=(("session", 1),))
    client = await gateway.connect(limit=1 << 10)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.request()
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._client_full)
    assert gateway.worker.live.cut(("session", 1), "revoked") == 1
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    octets = len(await client.cut())
    assert octets < 16 << 20


# --- what is called from here raises ------------------------------------------------------------


class BrokenSeal(PlainSeal):
    def __init__(self, where: str) -> None:
        self._where = where

    def open_header(self, cookies: bytes) -> bytes:
        if self._where == "request":
            raise ZeroDivisionError
        return cookies

    def seal_header(self, set_cookie: bytes) -> bytes:
        raise ZeroDivisionError


@pytest.mark.parametrize("where", ["request", "answer"])
async def test_a_seal_that_raises_cuts_the_connection_and_lets_no_cookie_through(
    open_gateway: OpenGateway, errors_expected: None, grown: Counter, where: str
) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        while head := await side.head():
            heads.append(head)
            await side.send(ok(b"hello", b"Set-Cookie: SESSION=secret"))

    gateway = await open_gateway(script)
    gateway.gate.answer = lambda head: replace(PASS, seal=BrokenSeal(where))
    client = await gateway.connect()
    client.request("/", "Cookie: SESSION=sealed")
    assert await client.cut() == b""
    assert grown("cut_connections_total", cause="internal_error") == 1
    assert len(heads) == (0 if where == "request" else 1)
    # The worker goes on, and nobody else gets that answer.
    gateway.gate.answer = lambda head: PASS
    assert (await (await gateway.connect()).ask("/")).body == b"hello"
    assert len(heads) == (1 if where == "request" else 2)


async def test_an_access_log_that_raises_misses_a_line_and_nothing_else(
    open_gateway: OpenGateway, errors_expected: None, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(*arguments: object) -> None:
        raise ZeroDivisionError

    gateway = await open_gateway()
    gateway.worker.log_access = raising
    client = await gateway.connect()
    for _ in range(2):
        assert (await client.ask()).status == 200
    client.vanish()
    vanishing = await gateway.connect()
    gateway.gate.answer = lambda head: never()
    vanishing.request()
    await gateway.until(lambda: len(gateway.gate.heads) == 3)
    vanishing.vanish()
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert caplog.text.count("missing from the access log") == 3


async def never() -> Admission:
    await asyncio.Event().wait()
    return PASS


async def test_who_waits_too_long_for_a_turn_at_the_backend_is_told_504(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    async def silent(side: BackendSide) -> None:
        await side.gone()

    gateway = await open_gateway(silent, limits={"backend_connections": 1})
    busy, waiting = await gateway.connect(), await gateway.connect()
    busy.request("/busy")
    await gateway.until(lambda: gateway.legacy.sides)
    waiting.request("/waiting")
    await gateway.until(lambda: len(gateway.gate.heads) == 2)
    gateway.pass_time(5.9)
    gateway.pass_time(0.2)
    assert (await waiting.answer()).status == 504
    assert grown("timeouts_total", timeout="backend_connect") == 1


# --- a session's share of the backend -------------------------------------------------------------


async def test_one_session_holds_no_more_than_its_share_of_the_backend(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    go = asyncio.Event()

    async def slow(side: BackendSide) -> None:
        while head := await side.head():
            if b" /slow " in head:
                await go.wait()
            await side.send(ok(b"done"))

    shares = {b"greedy": Share(), b"modest": Share()}
    gateway = await open_gateway(slow, limits={"backend_connections_per_session": 2})
    gateway.gate.answer = lambda head: replace(PASS, share=shares[head.cookies])
    held = [await gateway.connect() for _ in range(2)]
    for client in held:
        client.request("/slow", "Cookie: greedy")
    await gateway.until(lambda: shares[b"greedy"].in_use == 2)
    client = await gateway.connect()
    answer = await client.ask("/", "Cookie: greedy")
    assert (answer.status, answer.body, answer["connection"]) == (429, b"page 429", "close")
    assert grown("limit_refusals_total", limit="backend_connections_per_session") == 1
    # Everybody else is served.
    assert (await (await gateway.connect()).ask("/", "Cookie: modest")).status == 200
    go.set()
    for client in held:
        assert (await client.answer()).body == b"done"
        # On and on: what was answered holds nothing any more.
        for _ in range(3):
            assert (await client.ask("/", "Cookie: greedy")).status == 200
    assert [share.in_use for share in shares.values()] == [0, 0]


@pytest.mark.parametrize("end", ["answered", "vanished", "backend lost", "cut", "page", "overdue", "tunnel"])
async def test_a_share_is_given_back_however_an_exchange_ends(open_gateway: OpenGateway, end: str) -> None:
    go = asyncio.Event()

    async def script(side: BackendSide) -> None:
        head = await side.head()
        if end == "tunnel":
            await side.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await go.wait()
        if head and end == "answered":
            await side.send(ok())
        elif end == "backend lost":
            side.close()
        await side.gone()

    share = Share()
    gateway = await open_gateway(script)
    admissions: list[Admission] = [replace(PASS, share=share, bound=(("session", 1),)), Refuse(403, "x")]
    if end == "cut":
        admissions.insert(1, PASS)
    gateway.gate.answer = lambda head: admissions.pop(0)
    client = await gateway.connect()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k") if end == "tunnel" else ()
    client.request("/", *upgrade)
    await gateway.until(lambda: gateway.legacy.sides)
    assert share.in_use == 1
    if end == "tunnel":
        assert (await client.answer()).status == 101
        assert share.in_use == 1
    go.set()
    if end in ("vanished", "tunnel"):
        client.vanish()
    elif end in ("cut", "page"):
        gateway.worker.live.cut(("session", 1), "revoked")
    elif end == "overdue":
        gateway.pass_time(61)
    await gateway.until(lambda: share.in_use == 0)
