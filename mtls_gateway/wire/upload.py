"""The request's body on its way to the backend: decoded, held against the limits, encoded anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_gateway.wire.body import BadBody, ChunkedBody, FixedBody
from mtls_gateway.wire.gate import RequestHead
from mtls_gateway.wire.refusal import Refusal

if TYPE_CHECKING:
    from mtls_gateway.wire.backend import BackendConnection
    from mtls_gateway.wire.frontend import Frontend


class Upload:
    """One request's body; made only for a request that has one."""

    __slots__ = ("_body", "_chunked", "_collected", "_length", "_limit", "_limit_name", "octets")

    def __init__(self, head: RequestHead, limit: int) -> None:
        self._chunked = head.length < 0
        self._length = head.length
        self._body = ChunkedBody() if self._chunked else FixedBody(head.length)
        self._limit = limit
        self._limit_name = "body_octets"
        self._collected: bytearray | None = None
        #: Body octets that have come so far.
        self.octets = 0

    @property
    def whole(self) -> bool:
        """Whether the last octet has come."""
        return self._body.done

    def collect(self, limit: int, name: str) -> None:
        """Keep what comes until :meth:`take_collected`; allow no more than ``limit`` octets.

        For bodies that are short and that anybody may send: who sends an octet now and then holds no connection to a
        backend meanwhile. The time for the body is one for all of it.

        Raises:
            Refusal: 413, its length is known and more than ``limit``.
        """
        self._limit = limit
        self._limit_name = name
        if self._length > limit:
            raise Refusal(413, name, limit=name)
        self._collected = bytearray()

    @property
    def collects(self) -> bool:
        """Whether what comes is kept."""
        return self._collected is not None

    def take_collected(self) -> bytes:
        """What was kept, as the backend is sent it."""
        collected, self._collected = self._collected, None
        return b"" if collected is None else self._framed(bytes(collected))

    @property
    def body(self) -> bytes:
        """What is kept, without its framing."""
        return b"" if self._collected is None else bytes(self._collected)

    def feed(self, data: bytes) -> bytes:
        """What the backend is sent for ``data``; nothing yet while it is collected.

        Raises:
            Refusal: 400, the framing is broken; 413, it is longer than allowed.
        """
        body = self._body
        try:
            octets = body.feed(data)
        except BadBody as error:
            raise Refusal(400, error.reason) from None
        self.octets += len(octets)
        if self.octets > self._limit:
            raise Refusal(413, self._limit_name, limit=self._limit_name)
        if self._collected is not None:
            self._collected += octets
            return b""
        return self._framed(octets)

    def _framed(self, octets: bytes) -> bytes:
        if self._chunked:
            if octets:
                octets = b"%x\r\n%b\r\n" % (len(octets), octets)
            if self._body.done:
                octets += b"0\r\n\r\n"
        return octets

    @property
    def expected(self) -> str:
        """What must happen next, a name in ``Worker.patience``."""
        return "backend_first_octet" if self.whole else "body"

    def pass_on(self, data: bytes, connection: BackendConnection | None, frontend: Frontend, *, waiting: bool) -> bool:
        """Pass ``data`` on, or keep it while it is collected; what is not of this body waits at the frontend.

        Returns whether that was the end of the body. ``waiting``: nothing of an answer has come, so that a slow body
        is to be blamed.

        Raises:
            Refusal: as :meth:`feed`.
        """
        if self.whole or not (connection or self.collects):
            frontend.hold_back(data)
            return False
        before = self.octets
        octets = self.feed(data)
        frontend.worker.tally.octets_up += self.octets - before
        if waiting:
            frontend.expect(self.expected)
        if connection is not None:
            connection.transport.write(octets)
        excess = self.take_excess()
        if excess:
            frontend.hold_back(excess)
        return self.whole

    def take_excess(self) -> bytes:
        """What came after the body: the next request's head, or its beginning."""
        excess, self._body.excess = self._body.excess, b""
        return excess
