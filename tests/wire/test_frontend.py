"""One client connection, through sockets and TLS: heads, keep-alive, pipelining, time-outs, limits."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import weakref

import pytest

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.wire.gate import Admission, Page, Redirect, Refuse, RequestHead
from mtls_gateway.wire.tls_connection import TlsConnection
from tests.wire.conftest import Counter, OpenGateway
from tests.wire.material import PUBLIC
from tests.wire.scripted import PASS, TO_PORTAL, BackendSide, answering, ok


async def echo(side: BackendSide) -> None:
    """Answers every request without a body with its target."""
    while head := await side.head():
        await side.send(ok(head.split(b" ")[1]))


# --- requests in order --------------------------------------------------------------------------


async def test_a_connection_serves_request_after_request_over_one_backend_connection(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    for target in ("/one", "/two", "/three"):
        assert (await client.ask(target)).body == target.encode()
    assert len(gateway.legacy.sides) == 1
    assert gateway.logged == [("legacy", 200)] * 3


async def test_pipelined_requests_are_answered_in_order(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    for number in range(20):
        client.request(f"/{number}")
    assert [(await client.answer()).body for _ in range(20)] == [b"/%d" % number for number in range(20)]


async def test_pipelined_answers_stay_in_order_between_pages_redirects_refusals_and_the_backend(
    open_gateway: OpenGateway,
) -> None:
    answers: dict[bytes, Admission] = {
        b"/page": Page(b"/gateway/refused/x", (), "x"),
        b"/redirect": Redirect(b"/elsewhere", "x"),
        b"/refused": Refuse(401, "x"),
    }
    gateway = await open_gateway(echo)
    gateway.gate.answer = lambda head: answers.get(head.target, PASS)
    client = await gateway.connect()
    targets = ["/a", "/page", "/b", "/redirect", "/refused", "/c", "/page", "/d"]
    for target in targets:
        client.request(target)
    got = [await client.answer() for _ in targets]
    assert [answer.status for answer in got] == [200, 200, 200, 303, 401, 200, 200, 200]
    assert [got[place].body for place in (0, 1, 2, 5, 6, 7)] == [b"/a", b"portal", b"/b", b"/c", b"portal", b"/d"]
    assert got[3]["location"] == "/elsewhere"
    assert b"".join(gateway.portal.heads) == b""


async def test_a_malformed_request_after_good_ones_is_answered_last_and_closes(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    client.request("/good")
    client.send(b"GET /bad HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
    client.request("/never")
    assert (await client.answer()).body == b"/good"
    refusal = await client.answer()
    assert (refusal.status, refusal["connection"]) == (421, "close")
    assert await client.rest() == b""
    assert grown("malformed_requests_total", reason="host_is_not_the_sites") == 1
    assert [head.target for head in gateway.gate.heads] == [b"/good"]


async def test_a_head_may_come_octet_by_octet(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    for octet in f"GET /slow HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode():
        client.send(bytes([octet]))
        await client.drain()
    assert (await client.answer()).body == b"/slow"


async def test_one_empty_line_before_a_request_is_ignored(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    client.send(b"\r\n")
    assert (await client.ask("/x")).body == b"/x"
    client.send(b"\r\n\r\n")
    client.request("/y")
    assert (await client.answer()).status == 400


async def test_a_bare_line_feed_is_refused_without_waiting_for_the_rest(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    client = await gateway.connect()
    client.send(b"GET / HTTP/1.1\nHost: x\n\n")
    assert (await client.answer()).status == 400
    assert await client.rest() == b""


async def test_405_says_what_is_allowed(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    client = await gateway.connect()
    answer = await client.ask(method="TRACE")
    assert answer.status == 405
    assert "POST" in answer["allow"]


async def test_http_1_0_is_closed_after_its_answer_unless_it_asks_to_stay(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    client.send(f"GET /a HTTP/1.0\r\nHost: {client.authority}\r\nConnection: keep-alive\r\n\r\n".encode())
    answer = await client.answer()
    assert (answer.body, answer["connection"]) == (b"/a", "keep-alive")
    client.send(f"GET /b HTTP/1.0\r\nHost: {client.authority}\r\n\r\n".encode())
    assert (await client.answer()).body == b"/b"
    assert await client.rest() == b""


async def test_connection_close_is_honoured(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    answer = await client.ask("/", "Connection: close")
    assert (answer.status, answer["connection"]) == (200, "close")
    assert await client.rest() == b""


async def test_the_last_request_that_a_connection_may_make_is_answered_with_close(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    gateway = await open_gateway(echo, limits={"requests_per_connection": 2})
    client = await gateway.connect()
    assert "connection" not in await client.ask("/")
    assert (await client.ask("/"))["connection"] == "close"
    assert await client.rest() == b""
    assert grown("limits_reached_total", limit="requests_per_connection") == 1


async def test_host_must_be_the_site_that_the_handshake_was_for(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    for host in ("cert.bank.localhost", f"bank.localhost:{gateway.port}", f"cert.bank.localhost.:{gateway.port}"):
        client = await gateway.connect()
        client.authority = host
        assert (await client.ask()).status == 421
    client = await gateway.connect(PUBLIC)
    assert (await client.ask()).status == 200
    client.authority = f"cert.bank.localhost:{gateway.port}"
    assert (await client.ask()).status == 421
    assert len(gateway.gate.heads) == 1


# --- admission ----------------------------------------------------------------------------------


async def test_a_gate_that_raises_answers_500_and_nothing_is_forwarded(
    open_gateway: OpenGateway, errors_expected: None
) -> None:
    def raises(head: RequestHead) -> Admission:
        raise ZeroDivisionError

    gateway = await open_gateway()
    gateway.gate.answer = raises
    client = await gateway.connect()
    assert (await client.ask()).status == 500
    assert gateway.legacy.sides == []


async def test_a_gate_that_raises_later_answers_500_and_nothing_is_forwarded(
    open_gateway: OpenGateway, errors_expected: None
) -> None:
    async def raises() -> Admission:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    gateway = await open_gateway()
    gateway.gate.answer = lambda head: raises()
    client = await gateway.connect()
    assert (await client.ask()).status == 500
    assert gateway.legacy.sides == []


@pytest.mark.parametrize("nonsense", [None, True, b"forward", Redirect(b"/\r\nSet-Cookie: a=b", "x")])
async def test_what_is_no_admission_refuses(
    open_gateway: OpenGateway, errors_expected: None, nonsense: Admission
) -> None:
    async def later() -> Admission:
        return nonsense

    gateway = await open_gateway()
    for answer in (lambda head: nonsense, lambda head: later()):
        gateway.gate.answer = answer
        client = await gateway.connect()
        refused = await client.ask()
        assert refused.status == 500
        assert "set-cookie" not in refused
    assert gateway.legacy.sides == []


async def test_a_store_that_does_not_answer_is_503(open_gateway: OpenGateway, errors_expected: None) -> None:
    def raises(head: RequestHead) -> Admission:
        raise StoreUnavailable("the database is locked")

    gateway = await open_gateway()
    gateway.gate.answer = raises
    client = await gateway.connect()
    assert (await client.ask()).status == 503


async def test_an_admission_that_takes_its_time_holds_the_body_back_and_goes_on(open_gateway: OpenGateway) -> None:
    decided: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()

    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(ok(await side.body(5)))

    async def wait() -> Admission:
        return await decided

    gateway = await open_gateway(script)
    gateway.gate.answer = lambda head: wait()
    client = await gateway.connect()
    client.request("/", "Content-Length: 5", method="POST", body=b"hello")
    await gateway.until(lambda: gateway.gate.heads)
    decided.set_result(PASS)
    assert (await client.answer()).body == b"hello"


async def test_an_admission_that_never_comes_is_503(open_gateway: OpenGateway, grown: Counter) -> None:
    async def never() -> Admission:
        await asyncio.Event().wait()
        return PASS

    gateway = await open_gateway()
    gateway.gate.answer = lambda head: never()
    client = await gateway.connect()
    client.request()
    await gateway.until(lambda: gateway.gate.heads)
    gateway.pass_time(61)
    assert (await client.answer()).status == 503
    assert grown("timeouts_total", timeout="admission") == 1


async def test_the_portal_may_ask_to_close_and_the_legacy_backend_may_not(open_gateway: OpenGateway) -> None:
    closing = answering(ok(b"bye", b"Gateway-Connection: close"))
    gateway = await open_gateway(closing, portal=closing)
    client = await gateway.connect()
    answer = await client.ask("/")
    assert "gateway-connection" not in answer
    assert "connection" not in answer
    gateway.gate.answer = lambda head: TO_PORTAL
    answer = await client.ask("/")
    assert "gateway-connection" not in answer
    assert answer["connection"] == "close"
    assert await client.rest() == b""


async def test_a_page_takes_the_place_of_an_answer_and_none_of_the_request_reaches_the_backend(
    open_gateway: OpenGateway,
) -> None:
    heads: list[bytes] = []

    async def portal(side: BackendSide) -> None:
        while head := await side.head():
            heads.append(head)
            await side.send(ok(b"a page"))

    gateway = await open_gateway(portal=portal)
    gateway.gate.answer = lambda head: Page(b"/gateway/refused/x", ((b"Gateway-Context", b"{}"),), "x")
    client = await gateway.connect()
    answer = await client.ask("/secret", "Content-Length: 4", "X-Thing: 1", method="POST", body=b"body")
    assert (answer.body, answer["connection"]) == (b"a page", "close")
    assert heads[0].startswith(b"GET /gateway/refused/x HTTP/1.1\r\n")
    assert b"Gateway-Context: {}" in heads[0]
    assert b"X-Thing" not in heads[0]
    assert gateway.legacy.sides == []


# --- slow clients -------------------------------------------------------------------------------


async def test_a_slow_head_is_408(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    assert (await client.ask("/first")).status == 200
    client.send(b"GET / HTTP/1.1\r\nHost:")
    await client.drain()
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._buffer)
    gateway.pass_time(14)
    client.send(b" x")
    gateway.pass_time(2)
    assert (await client.answer()).status == 408
    assert grown("timeouts_total", timeout="head") == 1
    assert grown("malformed_requests_total", reason="head_timeout") == 1


async def test_a_connection_that_says_nothing_is_closed_in_order(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(echo)
    client = await gateway.connect()
    await gateway.until(lambda: gateway.gate.peers)
    gateway.pass_time(16)
    assert await client.rest() == b""
    other = await gateway.connect()
    await other.ask()
    gateway.pass_time(74)
    gateway.pass_time(2)
    assert await other.rest() == b""
    assert grown("timeouts_total", timeout="idle") == 1


async def test_a_slow_body_is_408_and_the_backend_connection_is_dropped(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    lost = asyncio.Event()

    async def script(side: BackendSide) -> None:
        await side.head()
        await side.body(3)
        lost.clear()
        await side.gone()
        lost.set()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", "Content-Length: 10", method="POST", body=b"abc")
    await gateway.until(lambda: gateway.worker.tally.octets_up == 3)
    gateway.pass_time(31)
    assert (await client.answer()).status == 408
    assert await client.rest() == b""
    await asyncio.wait_for(lost.wait(), 5)
    assert grown("timeouts_total", timeout="body") == 1


async def test_a_client_that_takes_nothing_is_cut_and_holds_no_more_than_its_share(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    sent = 0

    async def script(side: BackendSide) -> None:
        nonlocal sent
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await side.send(bytes(65_536))
            sent += 65_536

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads too
    client.request()
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._client_full)
    assert frontend.transport.get_write_buffer_size() < 262_144 + 2 * 65_536 + 300_000
    gateway.pass_time(61)
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert grown("timeouts_total", timeout="write") == 1


async def test_a_client_that_takes_its_last_answer_never_is_cut(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(answering(ok(bytes(8 << 20))))
    client = await gateway.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.request("/", "Connection: close")
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._client_full)
    gateway.pass_time(61)
    await gateway.until(lambda: gateway.worker.connections == 0)
    assert grown("timeouts_total", timeout="write") == 1


async def test_pipelined_requests_wait_while_their_client_takes_no_answers(open_gateway: OpenGateway) -> None:
    page = bytes(100_000)
    gateway = await open_gateway(answering(ok(page)))
    client = await gateway.connect(limit=1 << 14)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(300):
        client.request()
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._client_full)
    asked = len(gateway.gate.heads)
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(gateway.gate.heads) == asked < 300
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(300):
        assert (await client.answer()).body == page


# --- limits -------------------------------------------------------------------------------------


async def test_a_head_that_is_too_long_is_431(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(limits={"head_octets": 1_000})
    for rest in ("", "\r\n\r\n"):
        client = await gateway.connect()
        client.send(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\nX: {'x' * 1_000}{rest}".encode())
        assert (await client.answer()).status == 431
    assert grown("limit_refusals_total", limit="head_octets") == 2


async def test_a_target_and_the_headers_are_limited(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(limits={"target_octets": 100, "header_count": 5})
    client = await gateway.connect()
    assert (await client.ask("/" + "x" * 100)).status == 414
    client = await gateway.connect()
    assert (await client.ask("/", *(f"X-{number}: y" for number in range(5)))).status == 431
    assert grown("limit_refusals_total", limit="target_octets") == 1
    assert grown("limit_refusals_total", limit="header_count") == 1
    assert gateway.gate.heads == []


async def test_a_system_that_gives_no_more_sockets_is_asked_again_a_moment_later(
    open_gateway: OpenGateway, errors_expected: None, grown: Counter
) -> None:
    gateway = await open_gateway()
    waiting = socket.socket()
    waiting.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        waiting.connect_ex(("127.0.0.1", gateway.port))
        await gateway.until(lambda: grown("limit_refusals_total", limit="accept") >= 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # It was not turned away: it waited.
    await gateway.until(lambda: gateway.worker.connections == 1)
    waiting.close()
    assert (await (await gateway.connect()).ask()).status == 200


async def test_connections_are_limited_in_all(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(limits={"connections": 2})
    await gateway.connect()
    second = await gateway.connect()
    with pytest.raises((ConnectionError, OSError)):
        await gateway.connect()
    assert grown("limit_refusals_total", limit="connections") == 1
    second.vanish()
    await gateway.until(lambda: gateway.worker.connections == 1)
    assert (await (await gateway.connect()).ask()).status == 200


async def test_connections_are_limited_for_each_address(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(limits={"connections_per_address": 1})
    await gateway.connect()
    with pytest.raises((ConnectionError, OSError)):
        await gateway.connect()
    assert grown("limit_refusals_total", limit="connections_per_address") == 1


# --- the end ------------------------------------------------------------------------------------


async def test_draining_lets_requests_finish_and_closes_what_is_idle(open_gateway: OpenGateway, grown: Counter) -> None:
    go = asyncio.Event()

    async def script(side: BackendSide) -> None:
        while head := await side.head():
            if b" /slow " in head:
                await go.wait()
            await side.send(ok(b"done"))

    gateway = await open_gateway(script)
    idle, late, busy, young = [await gateway.connect() for _ in range(4)]
    await idle.ask()
    await late.ask()
    busy.request("/slow")
    await gateway.until(lambda: len(gateway.gate.heads) == 3)
    gateway.worker.drain()
    # Its request was on its way.
    gateway.pass_time(1.9)
    answer = await late.ask()
    assert (answer.body, answer["connection"]) == (b"done", "close")
    assert await late.rest() == b""
    gateway.pass_time(0.2)
    assert await idle.rest() == b""
    assert grown("timeouts_total", timeout="last_request") == 1
    go.set()
    for client in (busy, young):
        answer = await (client.answer() if client is busy else client.ask("/first"))
        assert (answer.body, answer["connection"]) == (b"done", "close")
        assert await client.rest() == b""


async def test_a_client_that_vanishes_takes_its_backend_connection_with_it(open_gateway: OpenGateway) -> None:
    lost = asyncio.Event()

    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await side.gone()
        lost.set()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request()
    await client.head()
    client.vanish()
    await asyncio.wait_for(lost.wait(), 5)
    assert gateway.logged == [("legacy", 200)]


async def test_a_client_that_vanishes_while_it_sends_takes_its_backend_connection_with_it(
    open_gateway: OpenGateway,
) -> None:
    lost = asyncio.Event()

    async def script(side: BackendSide) -> None:
        await side.head()
        await side.body(3)
        await side.gone()
        lost.set()

    gateway = await open_gateway(script)
    client = await gateway.connect()
    client.request("/", "Content-Length: 10", method="POST", body=b"abc")
    await gateway.until(lambda: gateway.worker.tally.octets_up == 3)
    client.vanish()
    await asyncio.wait_for(lost.wait(), 5)
    assert gateway.logged == [("legacy", 499)]


async def test_connections_leave_nothing_for_the_garbage_collector(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo)
    gc.collect()
    gc.disable()
    try:
        client = await gateway.connect()
        await client.ask("/", "Content-Length: 0", method="GET")
        frontend = await gateway.frontend()
        tls = frontend.transport._tls
        assert isinstance(tls, TlsConnection)
        seen = [weakref.ref(tls._ssl)]
        assert seen[0]() is not None
        del frontend, tls
        client.request("/", "Connection: close")
        await client.answer()
        client.vanish()
        await gateway.until(lambda: gateway.worker.connections == 0)
        assert [each() for each in seen] == [None]
    finally:
        gc.enable()
