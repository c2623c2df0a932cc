"""A request that is cut before it is answered is answered with what is known now, and with nothing of the backend's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

import pytest

from mtls_gateway.wire.gate import Admission, Forward, Page, Redirect, Refuse, RequestHead
from mtls_gateway.wire.phase import Phase
from tests.wire.client import Client
from tests.wire.conftest import Counter, Gateway, OpenGateway
from tests.wire.scripted import PASS, TO_PORTAL, BackendSide, answering, ok

KEY = ("session", 1)
BOUND = replace(PASS, bound=(KEY,))
BOUND_TO_PORTAL = replace(TO_PORTAL, bound=(KEY,))
PAGE = Page(b"/gateway/refused/certificate_revoked", ((b"Gateway-Context", b"{}"),), "certificate_revoked")


class Slow:
    """A backend that answers nothing until it is told to, and notes all that it got."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.go = asyncio.Event()
        self.lost = asyncio.Event()

    async def script(self, side: BackendSide) -> None:
        answered = asyncio.ensure_future(self._answer(side))
        while octets := await side.reader.read(65_536):
            self.got.append(octets)
        answered.cancel()
        self.lost.set()

    async def _answer(self, side: BackendSide) -> None:
        await self.go.wait()
        await side.send(ok(b"secret of the backend"))


def answers(gateway: Gateway, *admissions: Admission | Awaitable[Admission]) -> None:
    """What the gate says, one answer for each time that it is asked."""
    left = list(admissions)
    gateway.gate.answer = lambda head: left.pop(0)


async def phase_is(gateway: Gateway, phase: Phase) -> None:
    frontend = await gateway.frontend()
    await gateway.until(lambda: getattr(frontend._exchange, "phase", None) is phase)


def cut(gateway: Gateway) -> None:
    assert gateway.worker.live.cut(KEY, "certificate_revoked") == 1


async def closed_after(client: Client) -> None:
    """The connection takes no further request, and ends in order."""
    client.request("/another")
    assert await client.rest() == b""


@pytest.mark.parametrize(
    ("now", "status", "body"),
    [
        (PAGE, 200, b"portal"),
        (Refuse(403, "certificate_revoked"), 403, b"page 403"),
        (Redirect(b"/gateway/password", "session_ended"), 303, b""),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_waits_for_the_backend_is_answered_with_what_is_known_now(
    open_gateway: OpenGateway, grown: Counter, method: str, now: Admission, status: int, body: bytes
) -> None:
    slow = Slow()
    gateway = await open_gateway(slow.script)
    answers(gateway, BOUND, now)
    client = await gateway.connect()
    client.request("/transfer", "Content-Length: 5", method=method, body=b"money")
    await gateway.until(lambda: b"".join(slow.got).endswith(b"money"))
    cut(gateway)
    # Too late: nobody listens any more.
    slow.go.set()
    answer = await client.answer()
    assert (answer.status, answer.body, answer["connection"]) == (status, body, "close")
    await closed_after(client)
    await asyncio.wait_for(slow.lost.wait(), 5)
    assert b"".join(slow.got).count(b"HTTP/1.1") == 1
    assert grown("cut_connections_total", cause="certificate_revoked") == 1
    assert gateway.logged == [("page" if now is PAGE else "legacy", status)]


async def test_at_the_very_second_at_which_an_admission_ends_the_visitor_is_asked_again(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    slow = Slow()
    gateway = await open_gateway(slow.script)
    answers(gateway, replace(BOUND, until=gateway.clock.now() + 30), PAGE)
    client = await gateway.connect()
    client.request()
    await phase_is(gateway, Phase.WAITING)
    gateway.pass_time(30)
    answer = await client.answer()
    assert (answer.body, answer["connection"]) == (b"portal", "close")
    await closed_after(client)
    assert grown("cut_connections_total", cause="lapsed") == 1


@pytest.mark.parametrize("still", [BOUND, replace(PASS, bound=()), BOUND_TO_PORTAL])
async def test_what_would_be_forwarded_all_the_same_is_cut(open_gateway: OpenGateway, still: Forward) -> None:
    """And a request that is not safe to repeat is not repeated at the portal either."""
    slow = Slow()
    gateway = await open_gateway(slow.script)
    answers(gateway, BOUND, still)
    client = await gateway.connect()
    client.request("/transfer", "Content-Length: 5", method="POST", body=b"money")
    await gateway.until(lambda: b"".join(slow.got).endswith(b"money"))
    cut(gateway)
    assert await client.cut() == b""
    await asyncio.wait_for(slow.lost.wait(), 5)
    assert len(gateway.legacy.sides) == 1
    assert gateway.portal.sides == []
    assert gateway.logged == [("legacy", 499)]


async def test_a_request_that_is_not_whole_is_cut(open_gateway: OpenGateway) -> None:
    slow = Slow()
    gateway = await open_gateway(slow.script)
    answers(gateway, BOUND)
    client = await gateway.connect()
    client.request("/transfer", "Content-Length: 5", method="POST", body=b"mon")
    await gateway.until(lambda: b"".join(slow.got).endswith(b"mon"))
    cut(gateway)
    assert await client.cut() == b""


async def test_an_answer_that_has_begun_is_cut(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await side.gone()

    gateway = await open_gateway(script)
    answers(gateway, BOUND)
    client = await gateway.connect()
    client.request()
    await client.reader.readuntil(b"half")
    cut(gateway)
    assert await client.cut() == b""


async def test_half_a_head_of_the_backends_is_forgotten(open_gateway: OpenGateway) -> None:
    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: secret=of the backend\r\n")
        await side.gone()

    gateway = await open_gateway(script)
    answers(gateway, BOUND, PAGE)
    client = await gateway.connect()
    client.request()
    frontend = await gateway.frontend()
    await gateway.until(lambda: getattr(getattr(frontend._exchange, "_download", None), "has_begun", False))
    cut(gateway)
    answer = await client.answer()
    assert answer.body == b"portal"
    assert "set-cookie" not in answer


def _asked_more_than(gateway: Gateway, times: int) -> bool:
    return len(gateway.gate.heads) > times


async def test_who_waits_for_a_turn_is_answered_and_leaves_the_turn_to_the_next(open_gateway: OpenGateway) -> None:
    go = asyncio.Event()

    async def script(side: BackendSide) -> None:
        while head := await side.head():
            if b" /first " in head:
                await go.wait()
            await side.send(ok(head.split(b" ")[1]))

    gateway = await open_gateway(script, limits={"backend_connections": 1})
    admissions: dict[bytes, list[Admission]] = {b"/first": [PASS], b"/cut": [BOUND, PAGE], b"/next": [PASS]}
    gateway.gate.answer = lambda head: admissions[head.target].pop(0)
    first, other, third = [await gateway.connect() for _ in range(3)]
    for client, target in ((first, "/first"), (other, "/cut"), (third, "/next")):
        already = len(gateway.gate.heads)
        client.request(target)
        await gateway.until(partial(_asked_more_than, gateway, already))
    cut(gateway)
    assert (await other.answer()).body == b"portal"
    go.set()
    assert (await first.answer()).body == b"/first"
    assert (await third.answer()).body == b"/next"


async def test_a_connection_that_was_being_made_is_not_taken_for_the_pages(
    open_gateway: OpenGateway, grown: Counter
) -> None:
    """Neither the connection nor the news that there is none: the page comes from elsewhere."""
    shown = asyncio.Event()

    async def portal(side: BackendSide) -> None:
        await side.head()
        await shown.wait()
        await side.send(ok(b"portal"))

    # A full backlog: the kernel answers no further SYN.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        gateway = await open_gateway(portal=portal, backends=[url], timeouts={"backend_connect": 0.2})
        answers(gateway, BOUND, PAGE)
        client = await gateway.connect()
        client.request()
        await phase_is(gateway, Phase.CONNECTING)
        cut(gateway)
        await phase_is(gateway, Phase.WAITING)
        await gateway.until(lambda: grown("backend_failures_total", backend=url, reason="connect_timeout") == 1)
        shown.set()
        assert (await client.answer()).body == b"portal"
        for filler in fillers:
            filler.close()


async def test_a_connection_that_is_made_too_late_is_the_next_ones(open_gateway: OpenGateway) -> None:
    heads: list[bytes] = []

    async def script(side: BackendSide) -> None:
        while head := await side.head():
            heads.append(head)
            await side.send(ok(b"mine"))

    gateway = await open_gateway(script)
    answers(gateway, BOUND, PAGE, PASS)
    client = await gateway.connect()
    client.request("/cut")
    await phase_is(gateway, Phase.CONNECTING)
    cut(gateway)
    assert (await client.answer()).body == b"portal"
    await gateway.until(lambda: gateway.worker.legacy.backends[0].idle == 1)
    other = await gateway.connect()
    assert (await other.ask("/other")).body == b"mine"
    assert [head.split(b" ")[1] for head in heads] == [b"/other"]
    assert len(gateway.legacy.sides) == 1


async def test_a_question_that_was_under_way_is_asked_anew(open_gateway: OpenGateway) -> None:
    """What it would have been answered rests on what was known before."""
    asked, dropped = asyncio.Event(), asyncio.Event()

    async def never() -> Admission:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()
        return PASS

    gateway = await open_gateway()
    answers(gateway, BOUND, never(), PAGE)
    client = await gateway.connect()
    await client.ask()
    client.request("/second", "Content-Length: 5", method="POST", body=b"money")
    await asyncio.wait_for(asked.wait(), 5)
    cut(gateway)
    answer = await client.answer()
    assert (answer.body, answer["connection"]) == (b"portal", "close")
    await asyncio.wait_for(dropped.wait(), 5)
    assert len(gateway.legacy.sides) == 1


@pytest.mark.parametrize("end", ["answer", "raise", "never", "vanish"])
async def test_the_new_question_may_take_its_time(
    open_gateway: OpenGateway, grown: Counter, request: pytest.FixtureRequest, end: str
) -> None:
    decided: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()

    async def later() -> Admission:
        return await decided

    slow = Slow()
    gateway = await open_gateway(slow.script)
    answers(gateway, BOUND, later())
    client = await gateway.connect()
    client.request()
    await phase_is(gateway, Phase.WAITING)
    cut(gateway)
    await phase_is(gateway, Phase.RECALLED)
    # Nobody waits at the backend while the store is asked.
    await asyncio.wait_for(slow.lost.wait(), 5)
    if end == "answer":
        decided.set_result(PAGE)
        assert (await client.answer()).body == b"portal"
    elif end == "raise":
        request.getfixturevalue("errors_expected")
        decided.set_exception(ZeroDivisionError())
        assert (await client.answer()).status == 500
    elif end == "never":
        gateway.pass_time(61)
        assert (await client.answer()).status == 503
        assert grown("timeouts_total", timeout="admission") == 1
    else:
        client.vanish()
        await gateway.until(lambda: gateway.worker.connections == 0)


async def test_a_visitor_that_raises_when_it_is_asked_again_refuses(
    open_gateway: OpenGateway, errors_expected: None
) -> None:
    asked: list[RequestHead] = []

    def answer(head: RequestHead) -> Admission:
        asked.append(head)
        if len(asked) > 1:
            raise ZeroDivisionError
        return BOUND

    slow = Slow()
    gateway = await open_gateway(slow.script)
    gateway.gate.answer = answer
    client = await gateway.connect()
    client.request()
    await phase_is(gateway, Phase.WAITING)
    cut(gateway)
    assert (await client.answer()).status == 500
    await closed_after(client)


# --- pages of the portal ------------------------------------------------------------------------


async def test_a_page_of_the_portals_is_fetched_again_and_can_be_cut_again(open_gateway: OpenGateway) -> None:
    heads: list[bytes] = []

    async def portal(side: BackendSide) -> None:
        while head := await side.head():
            heads.append(head)
            if len(heads) == 3:
                await side.send(ok(b"the third"))

    gateway = await open_gateway(portal=portal)
    answers(gateway, BOUND_TO_PORTAL, BOUND_TO_PORTAL, replace(PAGE, target=b"/gateway/refused/x"))
    client = await gateway.connect()
    client.request("/gateway/status")
    await gateway.until(lambda: len(heads) == 1)
    cut(gateway)
    await gateway.until(lambda: len(heads) == 2)
    cut(gateway)
    answer = await client.answer()
    assert (answer.body, answer["connection"]) == (b"the third", "close")
    assert [head.split(b" ")[1] for head in heads] == [b"/gateway/status", b"/gateway/status", b"/gateway/refused/x"]


@pytest.mark.parametrize("framing", ["Content-Length: 8", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("moment", ["while it comes", "while it is answered"])
async def test_a_form_for_the_portal_is_not_sent_with_the_page_that_takes_its_place(
    open_gateway: OpenGateway, framing: str, moment: str
) -> None:
    got: list[bytes] = []

    async def portal(side: BackendSide) -> None:
        while octets := await side.reader.read(65_536):
            got.append(octets)
            if octets.startswith(b"GET"):
                await side.send(ok(b"portal"))

    gateway = await open_gateway(portal=portal)
    # The first request binds the connection, so that it can be cut while the form comes.
    answers(gateway, BOUND, replace(BOUND_TO_PORTAL, target=b"/gateway/password"), PAGE)
    client = await gateway.connect()
    await client.ask()
    body = b"password" if "Length" in framing else b"8\r\npassword\r\n0\r\n\r\n"
    sent = body if moment == "while it is answered" else body[:7]
    client.request("/gateway/password", framing, method="POST", body=sent)
    if moment == "while it is answered":
        await gateway.until(lambda: b"".join(got).endswith(body))
    else:
        await gateway.until(lambda: gateway.worker.tally.octets_up)
    cut(gateway)
    answer = await client.answer()
    assert (answer.body, answer["connection"]) == (b"portal", "close")
    assert got[-1].startswith(b"GET /gateway/refused/")
    assert b"password" not in got[-1]
    assert len(got) == (2 if moment == "while it is answered" else 1)


# --- what else is open --------------------------------------------------------------------------


async def test_an_earlier_answer_that_was_not_taken_does_not_arrive_any_more(open_gateway: OpenGateway) -> None:
    """The pipelined request behind it would be answered with a page, but not for that price."""
    slow = Slow()

    async def script(side: BackendSide) -> None:
        await side.head()
        await side.send(ok(bytes(32 << 20)))
        await slow.script(side)

    gateway = await open_gateway(script, limits={"buffer_octets": 64 << 20})
    answers(gateway, BOUND, BOUND)
    client = await gateway.connect(limit=1 << 10)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads too
    client.request("/large")
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend.transport.has_untaken() and frontend._exchange is None)
    client.request("/slow")
    await phase_is(gateway, Phase.WAITING)
    cut(gateway)
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len(await client.cut()) < 16 << 20
    assert len(gateway.gate.heads) == 2


async def test_an_idle_connection_is_closed_in_order(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    gateway.gate.answer = lambda head: BOUND
    client = await gateway.connect()
    await client.ask()
    frontend = await gateway.frontend()
    await gateway.until(lambda: not frontend.transport.has_untaken())
    cut(gateway)
    assert await client.rest() == b""
    assert gateway.worker.live.keys() == []


async def test_a_request_that_has_begun_to_come_is_judged_when_it_is_there(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    answers(gateway, BOUND, PAGE)
    client = await gateway.connect()
    await client.ask()
    client.send(b"GET /second HTTP/1.1\r\n")
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._buffer and not frontend.transport.has_untaken())
    cut(gateway)
    client.send(f"Host: {client.authority}\r\n\r\n".encode())
    assert (await client.answer()).body == b"portal"


async def test_a_connection_that_is_closing_after_a_page_is_left_alone(open_gateway: OpenGateway) -> None:
    slow = Slow()
    gateway = await open_gateway(slow.script, portal=answering(ok(bytes(32 << 20))))
    answers(gateway, BOUND, PAGE)
    client = await gateway.connect(limit=1 << 10)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.request()
    await phase_is(gateway, Phase.WAITING)
    cut(gateway)
    frontend = await gateway.frontend()
    await gateway.until(lambda: frontend._client_full)
    assert gateway.worker.live.cut(KEY, "certificate_revoked") == 0
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    answer = await client.answer()
    assert (len(answer.body), answer["connection"]) == (32 << 20, "close")
