"""What all connections of one gateway worker share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, Host, Legacy, Seen
from mtls_gateway.model import Site
from mtls_gateway.wire.answer import AnswerReader
from mtls_gateway.wire.backend import Backend
from mtls_gateway.wire.deadlines import Deadlines
from mtls_gateway.wire.gate import CookieSeal, Gate, Peer, Route
from mtls_gateway.wire.head import HeadReader
from mtls_gateway.wire.linger import Lingering
from mtls_gateway.wire.live import Live
from mtls_gateway.wire.pool import Pool
from mtls_gateway.wire.readiness import Readiness
from mtls_gateway.wire.refusal import REASONS, Refusal
from mtls_gateway.wire.rewrite import Face
from mtls_gateway.wire.tally import Tally
from mtls_gateway.wire.tls_connection import Inbox

if TYPE_CHECKING:
    from mtls_gateway.wire.exchange import Exchange

#: How the portal sees a request: under the name that the browser used, its origin untouched.
_PORTAL_SEEN = Seen(host="public", scheme="https", origin="pass")

AccessLog = Callable[[Peer, "Exchange", tuple[Hashable, ...], int, float], None]
"""Told of each answered request: whose connection, which exchange, what it was admitted with, status and seconds."""


class _OpenSeal:
    """Cookies pass as they are: for pages of the portal, which reads the gateway's own."""

    __slots__ = ()

    def open_header(self, cookies: bytes) -> bytes:
        return cookies

    def seal_header(self, set_cookie: bytes) -> bytes:
        return set_cookie


class SiteView:
    """What every connection of a site shares, found once: members of an enumeration are slow keys."""

    __slots__ = ("_faces", "_host", "_legacy_seen", "authority", "name")

    def __init__(self, site: Site, host: Host, legacy_seen: Seen) -> None:
        #: The metrics' label.
        self.name = site.value
        #: What ``Host`` must say.
        self.authority = host.authority.encode()
        self._host = host
        self._legacy_seen = legacy_seen
        self._faces: dict[str, Face] = {}

    def face(self, backend: Backend) -> Face:
        """How the site and ``backend`` look to each other."""
        face = self._faces.get(backend.url)
        if face is None:
            seen = _PORTAL_SEEN if backend.url.startswith("unix:") else self._legacy_seen
            face = self._faces[backend.url] = Face(self._host, seen, backend.url)
        return face


class Worker:
    """One process's connections, limits, pools and counts."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        gate: Gate,
        pages: Mapping[int, bytes],
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        log_access: AccessLog | None = None,
        connections: int | None = None,
    ) -> None:
        """``connections``: as many at once, where the process cannot hold ``limits.connections``."""
        self.configuration = configuration
        self.limits = configuration.limits
        #: The limits that each request asks for: reading a model's field costs more than reading an attribute.
        self.requests_per_connection = self.limits.requests_per_connection
        self.connections_per_session = self.limits.backend_connections_per_session
        self.timeouts = timeouts = configuration.timeouts
        #: Seconds until something expected is overdue; its name is the label of ``mtls_gateway_timeouts_total``.
        self.patience = {
            "head": timeouts.head,
            "body": timeouts.body,
            "idle": timeouts.idle,
            "last_request": timeouts.last_request,
            "write": timeouts.write,
            "admission": timeouts.backend_first_octet,
            # The connecting itself is timed elsewhere; this is the wait for a turn.
            "backend_connect": timeouts.backend_connect + 1.0,
            "backend_first_octet": timeouts.backend_first_octet,
            "backend_silence": timeouts.backend_silence,
            "tunnel_silence": timeouts.tunnel_silence,
        }
        self.gate = gate
        #: Status to HTML, for answers that need no other process.
        self.pages = {303: b"", **pages}
        missing = sorted(REASONS.keys() - self.pages.keys())
        if missing:
            raise ValueError(f"no page for the statuses {missing}")
        self.clock = clock
        self.loop = loop
        self.readiness = Readiness(loop)
        self.inbox = Inbox()
        self.lingering = Lingering(self.limits.linger_octets, timeouts.linger_silence, timeouts.linger)
        self.log_access = log_access
        self.portal_seal: CookieSeal = _OpenSeal()
        self.heads = HeadReader(self.limits)
        self.answers = AnswerReader(self.limits.response_head_octets)
        self.deadlines = Deadlines(clock, loop)
        self.live = Live()
        self.tally = Tally()
        self.draining = False
        self._addresses: dict[str, int] = {}
        self._connections = 0
        self._most_connections = self.limits.connections if connections is None else connections
        self._by_site = {Site.PUBLIC: 0, Site.CERTIFICATE: 0}
        seen = configuration.legacy.seen
        self.views = {
            Site.PUBLIC: SiteView(Site.PUBLIC, configuration.public, seen),
            Site.CERTIFICATE: SiteView(Site.CERTIFICATE, configuration.certificate, seen),
        }
        settings = configuration.legacy
        legacy = [self._backend(url, settings) for url in settings.backends]
        portal = [self._backend(f"unix://{configuration.portal_socket}", None)]
        waiting = self.limits.backend_waiting
        self.legacy = Pool(legacy, waiting, settings.affinity, settings.draining)
        self.portal = Pool(portal, waiting)
        self.pools = {Route.LEGACY: self.legacy, Route.PORTAL: self.portal}

    def _backend(self, url: str, settings: Legacy | None) -> Backend:
        connections, timeout = self.limits.backend_connections, self.timeouts.backend_connect
        return Backend(url, self.clock, self.readiness, connections=connections, timeout=timeout, settings=settings)

    def refused(self, refusal: Refusal) -> None:
        """Count a request that was refused for its form or size."""
        if refusal.limit is not None:
            metrics.LIMIT_REFUSALS.labels(refusal.limit).inc()
        metrics.MALFORMED.labels(refusal.reason).inc()

    # --- connections and their limits -----------------------------------------------------------

    def connection_opened(self, address: str) -> bool:
        """Count a new connection from ``address``; False: one too many, and it was not counted."""
        if self._connections >= self._most_connections:
            metrics.LIMIT_REFUSALS.labels("connections").inc()
            return False
        count = self._addresses.get(address, 0)
        if count >= self.limits.connections_per_address:
            metrics.LIMIT_REFUSALS.labels("connections_per_address").inc()
            return False
        self._addresses[address] = count + 1
        self._connections += 1
        return True

    def balanced_opened(self) -> bool:
        """Count a new connection of a balancer's, which has not said yet whose it is; False: one too many in all."""
        if self._connections >= self._most_connections:
            metrics.LIMIT_REFUSALS.labels("connections").inc()
            return False
        self._connections += 1
        return True

    def balanced_named(self, address: str, *, limited: bool) -> bool:
        """It counts as ``address``'s from now on; False: one too many of it, where that is ``limited``."""
        count = self._addresses.get(address, 0)
        if limited and count >= self.limits.connections_per_address:
            metrics.LIMIT_REFUSALS.labels("connections_per_address").inc()
            return False
        self._addresses[address] = count + 1
        return True

    def balanced_closed(self) -> None:
        """A balancer's connection has ended that never was anybody's."""
        self._connections -= 1

    def connection_closed(self, site: Site | None, address: str) -> None:
        """A connection that was counted has ended; ``site`` is None when its handshake had not."""
        self._connections -= 1
        count = self._addresses[address] - 1
        if count:
            self._addresses[address] = count
        else:
            del self._addresses[address]
        if site is not None:
            self._by_site[site] -= 1

    def handshake_done(self, site: Site) -> None:
        """A counted connection has finished its handshake."""
        self._by_site[site] += 1

    @property
    def connections(self) -> int:
        """Open connections, handshakes under way included."""
        return self._connections

    def add_up(self) -> None:
        """Bring the metrics up to date; once a second."""
        self.tally.add_up()
        for site, count in self._by_site.items():
            metrics.CONNECTIONS.labels(site.value).set(count)
        for pool in self.pools.values():
            for backend in pool.backends:
                metrics.BACKEND_CONNECTIONS.labels(backend.name, "open").set(backend.open)
                metrics.BACKEND_CONNECTIONS.labels(backend.name, "idle").set(backend.idle)
                metrics.BACKEND_REQUESTS.labels(backend.name).set(backend.under_way)
                metrics.BACKEND_USABLE.labels(backend.name).set(backend.health.usable)

    def look_again(self) -> None:
        """See whether backends are where they were; once a second."""
        for backend in self.legacy.backends:
            backend.look_again()

    def close(self) -> None:
        """Let go of the loop; no connection is served any more."""
        self.readiness.close()

    def drain(self) -> None:
        """Take no further request; answer those under way with ``Connection: close``."""
        self.draining = True
        self.deadlines.drain()
