"""Connections that a balancer hands on, each with a PROXY header in front that says whose it is.

Where balancers are configured the header is required, and nobody else may connect: a header that may be left out is one
that anybody may make up. Only the header is read, to the octet: what comes behind it is the ClientHello, and the TLS
object reads that from the socket itself.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Sequence

from mtls_gateway import metrics
from mtls_gateway.wire.handshake import Handshake
from mtls_gateway.wire.proxy_header import FIXED_OCTETS, HeaderRefused, check_beginning, octets_of, read_header
from mtls_gateway.wire.seldom import Seldom
from mtls_gateway.wire.sites import Sites
from mtls_gateway.wire.tls import Contexts
from mtls_gateway.wire.worker import Worker

_LOG = logging.getLogger(__name__)
_NEVER = float("inf")


class Entrance:
    """Whom a listener takes connections from, when it stands behind balancers."""

    __slots__ = ("_networks", "_refusals", "_worker")

    def __init__(self, worker: Worker, networks: Sequence[str]) -> None:
        self._worker = worker
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        self._refusals = Seldom(_LOG, logging.WARNING, worker.clock)

    def open(self, address: str) -> bool:
        """Count a connection from ``address``, as nobody's yet; False: it is no balancer's, or one too many."""
        if not self._is_balancer(address):
            self.refused(address, "not_a_balancer")
            return False
        return self._worker.balanced_opened()

    def _is_balancer(self, address: str) -> bool:
        peer = ipaddress.ip_address(address.partition("%")[0])
        mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
        return any((mapped or peer) in network for network in self._networks)

    def refused(self, address: str, reason: str) -> None:
        """Count a connection that was not taken; ``address`` is the TCP peer's."""
        metrics.PROXY_REFUSALS.labels(reason).inc()
        if reason != "lost":
            self._refusals.say("a connection from %s was refused, by its PROXY header: %s", address, reason)

    def begin(
        self,
        worker: Worker,
        connected: socket.socket,
        peer: tuple[str, int],
        sites: Sites,
        contexts: Contexts,
    ) -> Introduction:
        """What a connection begins with here, in place of its handshake."""
        return Introduction(self, worker, connected, peer, sites, contexts)


class Introduction:
    """A connection of which the balancer has not said yet whose it is; watched for its deadline."""

    __slots__ = (
        "_armed",
        "_came",
        "_connected",
        "_contexts",
        "_ended",
        "_entrance",
        "_fd",
        "_peer",
        "_sites",
        "_whole",
        "_worker",
        "deadline",
        "until",
    )

    def __init__(
        self,
        entrance: Entrance,
        worker: Worker,
        connected: socket.socket,
        peer: tuple[str, int],
        sites: Sites,
        contexts: Contexts,
    ) -> None:
        self._entrance = entrance
        self._worker = worker
        self._connected = connected
        self._fd = connected.fileno()
        self._peer = peer
        self._sites = sites
        self._contexts = contexts
        #: What has come of the header, and how much it will be.
        self._came = b""
        self._whole = FIXED_OCTETS
        self._armed = False
        self._ended = False
        #: For header and handshake together.
        self.deadline = worker.deadlines.now + worker.timeouts.handshake
        self.until = _NEVER

    def start(self) -> None:
        """Begin with what has already come."""
        self._connected.setblocking(False)
        self._worker.deadlines.watch(self)
        self._go_on()

    def overdue(self) -> None:
        """The header did not come in time."""
        metrics.TIMEOUTS.labels("handshake").inc()
        self._refuse("timeout")

    def lapsed(self) -> None:
        """Nothing has been admitted yet that could lapse."""

    def drain(self) -> None:
        """It may finish; its first request is answered with ``Connection: close``."""

    def _go_on(self) -> None:
        """Refuse the connection if anything is wrong with it, with its header, or with us."""
        if self._ended:
            return
        try:
            if self._is_whole():
                self._hand_over(read_header(self._came))
        except HeaderRefused as refused:
            if refused.reason == "oversized":
                metrics.LIMIT_REFUSALS.labels("proxy_header_octets").inc()
            self._refuse(refused.reason)
        except OSError:
            self._refuse("lost")
        except Exception:
            _LOG.exception("a connection was refused because of an internal error")
            self._refuse("internal_error")

    def _is_whole(self) -> bool:
        """Read the header as far as it has come, and not one octet of what follows it."""
        while len(self._came) < self._whole:
            try:
                came = self._connected.recv(self._whole - len(self._came))
            except (BlockingIOError, InterruptedError):
                if not self._armed:
                    self._armed = True
                    self._worker.readiness.add_reader(self._fd, self._go_on)
                return False
            if not came:
                raise ConnectionResetError
            self._came += came
            if self._whole == FIXED_OCTETS:
                check_beginning(self._came)
                if len(self._came) == FIXED_OCTETS:
                    self._whole = octets_of(self._came, self._worker.limits.proxy_header_octets)
        return True

    def _hand_over(self, client: tuple[str, int] | None) -> None:
        """From here on it is the client's connection, counted as the client's."""
        worker = self._worker
        address, port = client or self._peer
        # The balancer's own connections are held by no limit for one address: its health checks must come through.
        if not worker.balanced_named(address, limited=client is not None):
            self._end()
            return
        if self._armed:
            worker.readiness.remove_reader(self._fd)
        worker.deadlines.forget(self)
        self._ended = True
        handshake = Handshake(worker, self._connected, (address, port), self._sites, self._contexts)
        handshake.deadline = self.deadline
        handshake.start()

    def _refuse(self, reason: str) -> None:
        if not self._ended:
            self._entrance.refused(self._peer[0], reason)
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._worker.deadlines.forget(self)
        self._worker.readiness.forget(self._fd)
        with contextlib.suppress(OSError):
            self._connected.close()
        self._worker.balanced_closed()
