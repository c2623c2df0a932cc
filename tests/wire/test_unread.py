"""A request that depends on what is sent is not forwarded before all of it has come and was shown to the visitor."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mtls_gateway.wire.gate import Admission, Page, Refuse, RequestHead, Unread
from tests.wire.conftest import Counter, Gateway, OpenGateway
from tests.wire.scripted import PASS, BackendSide, answering, ok


class Reading:
    """A gate that wants to see a body, and then says ``then``."""

    def __init__(self, gateway: Gateway, then: Admission = PASS) -> None:
        self.then = then
        self.seen: list[bytes | None] = []
        gateway.gate.answer = self._answer

    def _answer(self, head: RequestHead) -> Admission:
        if not head.length:
            return PASS
        self.seen.append(head.body)
        return Unread() if head.body is None else self.then


async def echo_body(side: BackendSide) -> None:
    while head := await side.head():
        if b"chunked" in head:
            body = await side.until(b"0\r\n\r\n")
        else:
            length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
            body = await side.body(int(length or b"0"))
        await side.send(ok(body))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_what_is_sent_is_shown_whole_and_then_forwarded_whole(
    open_gateway: OpenGateway, chunked: bool, pieces: int
) -> None:
    gateway = await open_gateway(echo_body)
    reading = Reading(gateway)
    client = await gateway.connect()
    body = b"amount=1000&to=hanako"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    client.request("/ib", framing, method="POST")
    size = -(-len(body) // pieces)
    for begin in range(0, len(body), size):
        piece = body[begin : begin + size]
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        sent = begin + len(piece)
        await gateway.until(lambda sent=sent: gateway.worker.tally.octets_up == sent)  # type: ignore[misc]
        if sent < len(body):
            assert gateway.legacy.sides == []
    if chunked:
        client.send(b"0\r\n\r\n")
    client.request("/next")
    answer = await client.answer()
    assert answer.body == (b"15\r\n" + body + b"\r\n0\r\n\r\n" if chunked else body)
    assert (await client.answer()).status == 200
    assert reading.seen == [None, body]


async def test_what_is_refused_then_was_never_forwarded(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(portal=answering(ok(b"guarded")))
    reading = Reading(gateway)
    for then, status in ((Refuse(403, "x"), 403), (Page(b"/gateway/refused/x", (), "x"), 200)):
        reading.then = then
        client = await gateway.connect()
        answer = await client.ask("/ib", "Content-Length: 8", method="POST", body=b"userid=x")
        assert answer.status == status
        # The connection is in step: all of the request was read.
        assert (await client.ask("/next")).status == 200
    assert len(gateway.legacy.sides) == 1
    assert gateway.portal.heads == []


async def test_the_page_that_takes_its_place_gets_nothing_of_what_was_sent(open_gateway: OpenGateway) -> None:
    got: list[bytes] = []

    async def portal(side: BackendSide) -> None:
        while octets := await side.reader.read(65_536):
            got.append(octets)
            await side.send(ok(b"guarded"))

    gateway = await open_gateway(portal=portal)
    Reading(gateway, Page(b"/gateway/refused/x", (), "x"))
    client = await gateway.connect()
    await client.ask("/ib", "Content-Length: 15", method="POST", body=b"userid=x&pass=y")
    assert len(got) == 1
    assert got[0].endswith(b"\r\n\r\n")
    assert b"userid" not in got[0]


@pytest.mark.parametrize("framing", ["Content-Length: 2000", "Transfer-Encoding: chunked"])
async def test_it_is_limited(open_gateway: OpenGateway, grown: Counter, framing: str) -> None:
    gateway = await open_gateway(limits={"guarded_body_octets": 1_000})
    reading = Reading(gateway)
    client = await gateway.connect()
    body = b"3e9\r\n" + bytes(1_001) + b"\r\n0\r\n\r\n" if "chunked" in framing else b""
    assert (await client.ask("/ib", framing, method="POST", body=body)).status == 413
    assert grown("limit_refusals_total", limit="guarded_body_octets") == 1
    assert reading.seen == [None]
    assert gateway.legacy.sides == []


async def test_who_sends_it_slowly_holds_nothing_and_gains_no_time(open_gateway: OpenGateway, grown: Counter) -> None:
    gateway = await open_gateway(timeouts={"body": 10.0})
    Reading(gateway)
    client = await gateway.connect()
    client.request("/ib", "Content-Length: 10", method="POST", body=b"ab")
    await gateway.until(lambda: gateway.worker.tally.octets_up == 2)
    gateway.pass_time(9.0)
    client.send(b"c")
    await gateway.until(lambda: gateway.worker.tally.octets_up == 3)
    gateway.pass_time(2.0)
    assert (await client.answer()).status == 408
    assert grown("timeouts_total", timeout="body") == 1
    assert gateway.legacy.sides == []


async def test_100_continue_is_said_so_that_it_comes(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(echo_body)
    Reading(gateway)
    client = await gateway.connect()
    client.request("/ib", "Expect: 100-continue", "Content-Length: 5", method="POST")
    assert (await client.answer()).status == 100
    client.send(b"hello")
    assert (await client.answer()).body == b"hello"


async def test_the_second_question_may_take_its_time(open_gateway: OpenGateway) -> None:
    decided: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()

    async def later() -> Admission:
        return await decided

    gateway = await open_gateway(echo_body)
    gateway.gate.answer = lambda head: later() if head.body else Unread()
    client = await gateway.connect()
    client.request("/ib", "Content-Length: 5", method="POST", body=b"hello")
    await gateway.until(lambda: len(gateway.gate.heads) == 2)
    assert gateway.legacy.sides == []
    decided.set_result(PASS)
    assert (await client.answer()).body == b"hello"


async def test_a_form_that_was_read_and_forwarded_can_be_cut_like_any_other(open_gateway: OpenGateway) -> None:
    async def silent(side: BackendSide) -> None:
        await side.gone()

    bound = replace(PASS, bound=(("session", 1),))
    gateway = await open_gateway(silent)
    answers: list[Admission] = [Unread(), bound, Refuse(403, "revoked")]
    gateway.gate.answer = lambda head: answers.pop(0)
    client = await gateway.connect()
    client.request("/ib", "Content-Length: 5", method="POST", body=b"hello")
    await gateway.until(lambda: gateway.worker.live.holds(("session", 1)) and gateway.legacy.sides)
    assert gateway.worker.live.cut(("session", 1), "revoked") == 1
    assert (await client.answer()).status == 403
    assert [head.body for head in gateway.gate.heads] == [b"hello"] * 3


@pytest.mark.parametrize("body", [b"", b"hello"])
async def test_a_visitor_that_is_never_content_is_an_error_and_no_loop(
    open_gateway: OpenGateway, errors_expected: None, body: bytes
) -> None:
    gateway = await open_gateway()
    gateway.gate.answer = lambda head: Unread()
    client = await gateway.connect()
    client.request("/ib", f"Content-Length: {len(body)}", method="POST", body=body)
    assert await client.cut() == b""
    assert gateway.legacy.sides == []
