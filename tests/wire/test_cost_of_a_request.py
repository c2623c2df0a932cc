"""What the path of a request costs, counted rather than timed: a busy machine counts as a quiet one does.

Python's own instructions (bytecode) and the calls into the kernel and into OpenSSL, of the gateway's code alone, for
requests on a connection that has settled. Whoever makes the path longer must say so here, beside the figures in
``docs/performance.md``; whoever makes it shorter lowers the limit.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import mtls_gateway
from tests.wire.client import Client
from tests.wire.conftest import OpenGateway
from tests.wire.material import CERTIFICATE, PUBLIC
from tests.wire.scripted import answering, ok

# What is compiled has no instructions to count.
pytestmark = pytest.mark.interpreted

_OURS = str(Path(mtls_gateway.__file__).parent)
#: Calls that enter the kernel, or OpenSSL, which does.
_ENTERING = {
    "SSL_do_handshake", "SSL_read", "SSL_shutdown", "SSL_write", "accept", "_accept", "close", "connect", "getsockopt",
    "modify", "poll", "recv", "recv_into", "register", "send", "sendmsg", "setblocking", "setsockopt", "shutdown",
    "unregister",
}  # fmt: skip
#: More than this above the figure is a path that has grown; other versions of Python count a little differently.
_SLACK = 1.15
BROWSER = (
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36",
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language: ja,en-US;q=0.9,en;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    'sec-ch-ua: "Chromium";v="138"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Windows"',
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Cookie: __Host-ib-session=" + "x" * 64,
)


class Count:
    """What ran while it was open."""

    def __init__(self) -> None:
        self.instructions = 0
        self.entered: Counter[str] = Counter()

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._inside

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.instructions += 1
        return self._inside

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and frame.f_code.co_filename.startswith(_OURS) and argument.__name__ in _ENTERING:
            self.entered[argument.__name__] += 1

    @contextmanager
    def counting(self) -> Iterator[Count]:
        before = sys.gettrace(), sys.getprofile()
        sys.settrace(self._trace)
        sys.setprofile(self._profile)
        try:
            yield self
        finally:
            sys.settrace(before[0])
            sys.setprofile(before[1])


async def cost_of(once: Callable[[], Awaitable[object]], times: int = 20) -> Count:
    """What ``once`` costs each time, after it has been done a few times."""
    for _ in range(5):
        await once()
    with Count().counting() as count:
        for _ in range(times):
            await once()
    count.instructions //= times
    for name in count.entered:
        count.entered[name] //= times
    return count


def held_against(figure: int, count: Count) -> None:
    assert 0 < count.instructions <= figure * _SLACK, (
        f"{count.instructions} instructions where {figure} were seen: the path has grown; see docs/performance.md"
    )


def settled(client: Client, **request: Any) -> Callable[[], Awaitable[object]]:
    async def once() -> None:
        answer = await client.ask("/page", *BROWSER, **request)
        assert answer.status == 200

    return once


@pytest.mark.parametrize("host", [PUBLIC, CERTIFICATE])
async def test_a_request_on_a_settled_connection(open_gateway: OpenGateway, host: str) -> None:
    gateway = await open_gateway(answering(ok(bytes(2_048), b"Content-Type: text/html")))
    count = await cost_of(settled(await gateway.connect(host)))
    # Three polls: for the client, for the backend, and to make sure that the backend's connection is quiet before it is
    # another user's.
    assert count.entered == {"SSL_read": 1, "poll": 3, "send": 1, "recv": 1, "SSL_write": 1}
    held_against(2_063, count)


async def test_a_handshake_and_its_goodbye(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()

    async def once() -> None:
        before = gateway.worker.connections
        client = await gateway.connect(CERTIFICATE)
        client.writer.close()
        await gateway.until(lambda: gateway.worker.connections == before)

    count = await cost_of(once)
    entered = {name: count.entered[name] for name in ("register", "modify", "unregister", "SSL_read", "SSL_shutdown")}
    assert entered == {"register": 1, "modify": 0, "unregister": 0, "SSL_read": 1, "SSL_shutdown": 1}
    held_against(2_418, count)
