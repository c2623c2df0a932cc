"""One client connection: heads out of the stream, one exchange at a time, answers in order.

A head is cut out at its empty line, read strictly, and shown to the visitor; what follows is the body
or, pipelined, the next head, which waits until the answer before it is out. Between requests a
connection holds no buffer and no task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, TypeVarTuple

from mtls_gateway import metrics
from mtls_gateway.wire.backend import Backend
from mtls_gateway.wire.exchange import Exchange
from mtls_gateway.wire.gate import Forward, Peer, RequestHead, Visitor
from mtls_gateway.wire.head_end import cut_head
from mtls_gateway.wire.refusal import ALLOW, Refusal
from mtls_gateway.wire.rewrite import Face, built_in_answer
from mtls_gateway.wire.share import Share
from mtls_gateway.wire.stream import Receiver, Stream
from mtls_gateway.wire.transport import TlsTransport
from mtls_gateway.wire.tunnel import Tunnel

if TYPE_CHECKING:
    from mtls_gateway.wire.worker import Worker

_LOG = logging.getLogger(__name__)
_Arguments = TypeVarTuple("_Arguments")

_NEVER = float("inf")
#: The access log's status of a request whose client left before anything was answered.
_CLIENT_GONE = 499
#: What a client is told when something is overdue and nothing of an answer is out yet.
_TIMEOUT_ANSWERS = {
    "body": 408,
    "admission": 503,
    "backend_connect": 504,
    "backend_first_octet": 504,
    "backend_silence": 504,
}


class Frontend(Receiver):
    """See the module. ``deadline`` and ``until`` are watched by :class:`~mtls_gateway.wire.deadlines.Deadlines`."""

    __slots__ = (
        "_backend_full",
        "_bound",
        "_buffer",
        "_busy",
        "_client_full",
        "_exchange",
        "_expected",
        "_peer",
        "_served",
        "_share",
        "_view",
        "deadline",
        "transport",
        "until",
        "visitor",
        "worker",
    )

    transport: TlsTransport

    def __init__(self, worker: Worker, peer: Peer, visitor: Visitor) -> None:
        self.worker = worker
        self._peer = peer
        #: Asked for each request.
        self.visitor = visitor
        self._view = worker.views[peer.site]
        self._exchange: Exchange | Tunnel | None = None
        #: Octets that have come and belong to nothing yet.
        self._buffer = b""
        self._served = 0
        self._busy = False
        self._client_full = False
        self._backend_full = False
        self._bound: tuple[Hashable, ...] = ()
        #: What the present exchange is counted in.
        self._share: Share | None = None
        self.until = _NEVER
        self._expected = "head"
        self.deadline = _NEVER

    # --- the transport --------------------------------------------------------------------------

    def connection_made(self, stream: Stream) -> None:
        """Take the transport."""
        if not isinstance(stream, TlsTransport):
            raise TypeError("a TLS transport is needed")
        self.transport = stream
        self.worker.deadlines.watch(self)
        self.expect("head")

    def data_received(self, data: bytes) -> None:
        """Octets from the client."""
        exchange = self._exchange
        if exchange is not None:
            self.guarded(exchange.from_client, data)
        elif self._client_full:
            self.hold_back(data)
        else:
            if self._buffer:
                data = self._buffer + data
            elif self._served:
                self.expect("head")
            self._buffer = data
            # What guarded() does, without what it costs: this is each request's way.
            try:
                self._next()
            except Exception:
                self.failed()

    def eof_received(self) -> bool:
        """Close ours as well: whoever has said goodbye waits for no answer."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone."""
        worker = self.worker
        worker.deadlines.forget(self)
        bound, self._bound = self._bound, ()
        if bound:
            worker.live.release(self, bound)
        self._give_back()
        worker.connection_closed(self._peer.site, self._peer.address)
        under_way, self._exchange = self._exchange, None
        if under_way is not None:
            exchange = under_way.client_lost()
            self._count(exchange, exchange.status or _CLIENT_GONE, bound)

    def pause_writing(self) -> None:
        """The client is slower than the backend."""
        metrics.LIMITS_REACHED.labels("buffer_octets").inc()
        self._client_full = True
        self.expect("write")
        if self._exchange is not None:
            self._exchange.client_paused(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._client_full = False
        if self.transport.is_closing():
            return
        if self._exchange is not None:
            self.guarded(self._exchange.client_paused, False)
        else:
            self.expect("head" if self._buffer else "idle")
            self.guarded(self._next)
            self._regulate()

    def guarded(self, call: Callable[[*_Arguments], object], *arguments: *_Arguments) -> None:
        """Call, and cut the connection if it raises: a connection in an unknown state serves nobody."""
        try:
            call(*arguments)
        except Exception:
            self.failed()

    def failed(self) -> None:
        """The exception that is being handled was nobody's but our own: cut the connection."""
        _LOG.exception("a connection was cut because of an internal error")
        metrics.CUTS.labels("internal_error").inc()
        self.abort()

    # --- requests -------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begin the next request if it has come, and answer as many as can be answered at once."""
        if self._busy:
            return
        self._busy = True
        try:
            # A client that does not take its answers is asked for no more requests.
            while self._exchange is None and self._buffer and not self._client_full and not self.transport.is_closing():
                heads, authority = self.worker.heads, self._view.authority
                head = heads.read_again(self._buffer, authority)
                if head is not None:
                    self._buffer = b""
                else:
                    cut = cut_head(self._buffer, self.worker.limits.head_octets)
                    if cut is None:
                        return
                    octets, self._buffer = cut
                    head = heads.read(octets, authority)
                self._begin(head)
        except Refusal as refusal:
            self._refuse(refusal)
        finally:
            self._busy = False

    def _begin(self, head: RequestHead) -> None:
        worker = self.worker
        self._served += 1
        if self._served >= worker.requests_per_connection or worker.draining:
            if not worker.draining:
                metrics.LIMITS_REACHED.labels("requests_per_connection").inc()
            head.keep_alive = False
        self._exchange = exchange = Exchange(self, head, worker.clock.monotonic())
        exchange.begin()

    def _refuse(self, refusal: Refusal) -> None:
        worker = self.worker
        worker.refused(refusal)
        self._buffer = b""
        extra = ALLOW if refusal.status == 405 else b""
        self.transport.write(built_in_answer(refusal.status, worker.pages[refusal.status], close=True, extra=extra))
        worker.tally.answered(self._view.name, "none", refusal.status, 0.0)
        self._close()

    # --- what exchanges ask for -----------------------------------------------------------------

    def face(self, backend: Backend) -> Face:
        """How this site and that backend look to each other."""
        return self._view.face(backend)

    def expect(self, what: str) -> None:
        """From now on ``what``, a name in ``Worker.patience``, must happen in time."""
        self._expected = what
        self.deadline = self.worker.deadlines.now + self.worker.patience[what]

    def stays_open(self, head: RequestHead) -> bool:
        """Whether another request is welcome after this one."""
        return head.keep_alive and not self.worker.draining

    def take_buffer(self) -> bytes:
        """What came ahead of its time, now that it can be used."""
        buffer, self._buffer = self._buffer, b""
        self._regulate()
        return buffer

    def begin_body(self, head: RequestHead) -> bytes:
        """What has already come of a body that is now wanted; the client is asked for it if nothing has."""
        self.expect("body")
        begun = self.take_buffer()
        if not begun and head.expects_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return begun

    def hold_back(self, data: bytes) -> None:
        """Keep what came ahead of its time; past a limit, read no more until it can be used."""
        self._buffer += data
        self._regulate()

    def backend_paused(self, paused: bool) -> None:
        """The backend takes no more, or takes more again."""
        self._backend_full = paused
        self._regulate()

    def _regulate(self) -> None:
        """Read the client only while there is somewhere for its octets to go."""
        ahead = self._exchange is not None or self._client_full
        if self._backend_full or (ahead and len(self._buffer) > self.worker.limits.buffer_octets):
            if self.transport.is_reading():
                metrics.LIMITS_REACHED.labels("buffer_octets").inc()
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def admitted(self, admission: Forward) -> bool:
        """Remember what this connection was admitted with, so that it can be cut; False: its session has its fill."""
        share = admission.share
        if share is not None:
            if share.in_use >= self.worker.connections_per_session:
                metrics.LIMIT_REFUSALS.labels("backend_connections_per_session").inc()
                return False
            share.in_use += 1
            self._share = share
        if admission.bound is not self._bound and admission.bound != self._bound:
            if self._bound:
                self.worker.live.release(self, self._bound)
            self._bound = admission.bound
            self.worker.live.hold(self, self._bound)
        self.until = admission.until
        return True

    def _give_back(self) -> None:
        share, self._share = self._share, None
        if share is not None:
            share.in_use -= 1

    def unbind(self) -> None:
        """Forget what earlier requests were admitted with: a page rests on none of it.

        The page of a sign-out must still be seen when the session that it ended is cut.
        """
        self._give_back()
        self.until = _NEVER
        if self._bound:
            self.worker.live.release(self, self._bound)
            self._bound = ()

    def tunnelled(self, tunnel: Tunnel) -> None:
        """The exchange has become a tunnel."""
        self._exchange = tunnel
        early = self.take_buffer()
        if early:
            tunnel.from_client(early)
        if self._client_full:
            tunnel.client_paused(True)

    def send_built_in(self, status: int, head: RequestHead, extra: bytes) -> None:
        """Send one of the gateway's own answers."""
        close = not self.stays_open(head)
        page = self.worker.pages.get(status, b"")
        with_body = head.method != b"HEAD"
        self.transport.write(built_in_answer(status, page, close=close, with_body=with_body, extra=extra))

    def answered(self, exchange: Exchange) -> None:
        """The exchange is over; go on with the next request or close."""
        self._exchange = None
        self._give_back()
        self._backend_full = False
        self._count(exchange, exchange.status, self._bound)
        if not self.stays_open(exchange.head):
            self._close()
            return
        self.until = _NEVER
        if not self._client_full:
            self.expect("head" if self._buffer else "idle")
            if self._buffer:
                self._next()
        self._regulate()

    def _count(self, exchange: Exchange, status: int, bound: tuple[Hashable, ...]) -> None:
        worker = self.worker
        seconds = worker.clock.monotonic() - exchange.started
        worker.tally.answered(self._view.name, exchange.route, status, seconds)
        if worker.log_access is not None:
            # What was not admitted rests on nothing, whatever the connection did before.
            admitted = () if exchange.route == "none" else bound
            try:
                worker.log_access(self._peer, exchange, admitted, status, seconds)
            except Exception:
                _LOG.exception("a request is missing from the access log")

    # --- the end --------------------------------------------------------------------------------

    def overdue(self) -> None:
        """Its deadline has passed."""
        self.deadline = _NEVER
        metrics.TIMEOUTS.labels(self._expected).inc()
        self.guarded(self._give_up)

    def _give_up(self) -> None:
        if self._exchange is not None:
            self._exchange.overdue(_TIMEOUT_ANSWERS.get(self._expected))
        elif self.transport.is_closing() or self._client_full:
            # It does not even take what it was sent.
            self.abort()
        elif self._expected == "head" and self._buffer:
            self._refuse(Refusal(408, "head_timeout"))
        else:
            self._close()

    def lapsed(self) -> None:
        """What was admitted has ended by itself: the certificate's or the session's last second."""
        metrics.CUTS.labels("lapsed").inc()
        self.guarded(self._withdraw)

    def cut(self, cause: str) -> None:
        """What was admitted holds no longer: nothing more of it reaches the client."""
        _LOG.info("a connection from %s was cut: %s", self._peer.address, cause)
        self.guarded(self._withdraw)

    def _withdraw(self) -> None:
        """Cut what is being answered; answer anew what is not answered yet; close in order what is idle."""
        self.unbind()
        exchange = self._exchange
        answered = self._served if exchange is None else self._served - 1
        if answered and self.transport.has_untaken():
            # Of an earlier answer: it does not arrive any more.
            self.abort()
        elif exchange is not None:
            if not exchange.recall():
                self.abort()
        elif not self._buffer and not self.transport.is_closing():
            # What has begun to come is judged when it is there; an idle connection has nothing to lose.
            self._close()

    def drain(self) -> None:
        """Take no further request; one that is on its way, has begun to come, or is the first, is still answered."""
        if self._exchange is None and self._served and not self._buffer and not self.transport.is_closing():
            self.expect("last_request")

    def _close(self) -> None:
        """Close once the client has taken everything; one that does not is cut."""
        self.expect("write")
        self.transport.close()

    def abort(self) -> None:
        """Close the client's connection and leave the backend's."""
        if self._exchange is not None:
            self._exchange.client_lost()
        self.transport.abort()
