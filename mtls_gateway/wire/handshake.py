"""From an accepted socket to a connection whose peer has proven what it holds.

The handshake runs on the socket itself: the ClientHello is peeked at for the host that is wanted, a
TLS object is made from that site's context, and the loop calls back until the handshake is done.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable

from OpenSSL import SSL

from mtls_gateway import metrics
from mtls_gateway.model import Site
from mtls_gateway.wire.frontend import Frontend
from mtls_gateway.wire.gate import Peer
from mtls_gateway.wire.hello import MAXIMUM_HELLO, HelloRefused, Incomplete, read_hello
from mtls_gateway.wire.linger import Linger
from mtls_gateway.wire.sites import Sites
from mtls_gateway.wire.tls import AskingConnection, Contexts
from mtls_gateway.wire.tls_connection import TlsConnection
from mtls_gateway.wire.transport import TlsTransport
from mtls_gateway.wire.worker import Worker

_LOG = logging.getLogger(__name__)

#: ``tcpi_state`` of a connection that neither side has closed (Linux, tcp_states.h).
_ESTABLISHED = 1
#: A fatal alert, unrecognized_name (RFC 6066, section 3; RFC 8446, section 6).
_UNRECOGNIZED_NAME = bytes((21, 3, 1, 0, 2, 2, 112))
_NEVER = float("inf")


class Handshake:
    """One TLS handshake under way; watched for its deadline."""

    __slots__ = (
        "_address",
        "_connected",
        "_contexts",
        "_ended",
        "_fd",
        "_low_water",
        "_port",
        "_site",
        "_sites",
        "_tls",
        "_waits_for",
        "_worker",
        "_writer_armed",
        "deadline",
        "until",
    )

    def __init__(
        self,
        worker: Worker,
        connected: socket.socket,
        address: tuple[str, int],
        sites: Sites,
        contexts: Contexts,
    ) -> None:
        self._worker = worker
        self._connected = connected
        self._fd = connected.fileno()
        self._address, self._port = address
        self._sites = sites
        self._contexts = contexts
        self._site: Site | None = None
        self._tls: TlsConnection | AskingConnection | None = None
        self._writer_armed = False
        #: What the reader calls now, and the socket's low-water mark.
        self._waits_for: Callable[[], None] | None = None
        self._low_water = 1
        self._ended = False
        self.deadline = worker.deadlines.now + worker.timeouts.handshake
        self.until = _NEVER

    def start(self) -> None:
        """Begin with what has already come; under load that is the whole ClientHello."""
        self._connected.setblocking(False)
        self._worker.deadlines.watch(self)
        self._guarded(self._hello)

    def _listen_for(self, call: Callable[[], None]) -> None:
        """Make ``call`` when more has come."""
        if self._waits_for is None:
            self._worker.readiness.add_reader(self._fd, self._go_on)
        self._waits_for = call

    def _go_on(self) -> None:
        call = self._waits_for
        if call is not None:
            self._guarded(call)

    def overdue(self) -> None:
        """The client was too slow."""
        metrics.TIMEOUTS.labels("handshake").inc()
        self._fail("timeout")

    def lapsed(self) -> None:
        """Nothing has been admitted yet that could lapse."""

    def drain(self) -> None:
        """It may finish; its first request is answered with ``Connection: close``."""

    def _guarded(self, call: Callable[[], None]) -> None:
        """Call, and refuse the connection if it raises, e.g. in the gate or in a callback of OpenSSL's.

        CVE-2026-27448 let such connections through.
        """
        try:
            call()
        except Exception:
            _LOG.exception("a handshake was refused because of an internal error")
            self._fail("internal_error")

    def _hello(self) -> None:
        try:
            data = self._connected.recv(MAXIMUM_HELLO + 64, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._listen_for(self._hello)
            return
        except OSError:
            self._fail("lost")
            return
        try:
            hello = read_hello(data)
        except HelloRefused as refused:
            self._fail(refused.reason)
            return
        if isinstance(hello, Incomplete):
            if not data or self._is_half_closed():
                self._fail("lost")
                return
            # What was peeked at stays in the socket, which would report it for ever: wait for more than that.
            self._connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, hello.octets)
            self._low_water = hello.octets
            self._listen_for(self._hello)
            return
        site = self._site = self._sites.of(hello.server_name)
        if site is None:
            with contextlib.suppress(OSError):
                self._connected.recv(len(data))
                self._connected.send(_UNRECOGNIZED_NAME)
            self._fail("unknown_server_name", linger=True)
            return
        if self._low_water != 1:
            self._connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        gate = self._worker.gate
        if site is Site.CERTIFICATE and gate.must_ask_again(self._address):
            requiring = gate.must_show_one(self._address)
            context = self._contexts.requiring if requiring else self._contexts.asking
            self._tls = AskingConnection(context, self._connected, self._address, gate)
        else:
            self._tls = TlsConnection(self._contexts.of(site), self._fd, self._worker.inbox)
        self._step()

    def _is_half_closed(self) -> bool:
        """Whether the peer has sent its last: then the socket is readable though no more will come."""
        return self._connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED

    def _step(self) -> None:
        tls = self._tls
        if tls is None:
            raise RuntimeError("a handshake without a context")
        try:
            tls.do_handshake()
        except SSL.WantReadError:
            self._want_write(False)
            self._listen_for(self._step)
        except SSL.WantWriteError:
            self._want_write(True)
        except SSL.SysCallError:
            self._fail("lost")
        except SSL.Error:
            # An alert says why: the peer shall hear it.
            self._fail("tls", linger=True)
        else:
            self._done(tls)

    def _want_write(self, wanted: bool) -> None:
        if wanted != self._writer_armed:
            self._writer_armed = wanted
            if wanted:
                self._worker.readiness.add_writer(self._fd, self._step_guarded)
            else:
                self._worker.readiness.remove_writer(self._fd)

    def _step_guarded(self) -> None:
        self._guarded(self._step)

    def _done(self, tls: TlsConnection | AskingConnection) -> None:
        site = self._site
        if site is None:
            raise RuntimeError("a handshake without a site")
        worker = self._worker
        shown = tls.peer_certificate() if site is Site.CERTIFICATE else None
        peer = Peer(
            site=site,
            address=self._address,
            port=self._port,
            certificate=None if shown is None else worker.gate.recognise(shown),
            tls_version=tls.version(),
            cipher=tls.cipher(),
            resumed=shown is not None and tls.is_resumed,
        )
        frontend = Frontend(worker, peer, worker.gate.greet(peer))
        transport = TlsTransport(
            worker.loop,
            worker.readiness,
            self._connected,
            tls,
            frontend,
            worker.limits.buffer_octets,
            worker.lingering,
        )
        self._want_write(False)
        worker.deadlines.forget(self)
        self._waits_for = None
        # From here on the connection is the frontend's, which counts it out when it ends.
        self._ended = True
        self._let_go()
        worker.handshake_done(site)
        worker.tally.shook_hands(site.value, "resumed" if peer.resumed else "full")
        transport.start()

    def _fail(self, outcome: str, *, linger: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        worker = self._worker
        metrics.HANDSHAKES.labels(self._site.value if self._site else "unknown", outcome).inc()
        worker.deadlines.forget(self)
        self._let_go()
        if linger:
            self._want_write(False)
            seconds = worker.lingering.silence
            Linger(worker.loop, worker.readiness, self._connected, self._gone, seconds).start()
            return
        worker.readiness.forget(self._fd)
        with contextlib.suppress(OSError):
            self._connected.close()
        self._gone()

    def _let_go(self) -> None:
        # ``_waits_for`` is a method of ours: a circle, in which the TLS object would wait for the garbage collector.
        self._waits_for = None
        self._tls = None

    def _gone(self) -> None:
        self._worker.connection_closed(None, self._address)
