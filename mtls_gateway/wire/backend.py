"""Connections to backends: pooled, bounded, each serving one exchange at a time.

A connection goes back to the pool only when its answer was whole, its request was sent whole, and not
one octet more came than was asked for: whatever is in doubt is closed, because the next exchange on
it belongs to another user (clause B.4).
"""

from __future__ import annotations

import asyncio
import logging
import math
import select
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Legacy
from mtls_gateway.wire.destination import Destination, Unresolved
from mtls_gateway.wire.health import Health
from mtls_gateway.wire.readiness import Readiness
from mtls_gateway.wire.seldom import Seldom
from mtls_gateway.wire.stream import Receiver, Stream

_LOG = logging.getLogger(__name__)

#: A request that may not be repeated does not go out on a connection that was idle for longer: the backend may be
#: closing it at this moment, and nobody could tell whether the request was carried out.
_FRESH_SECONDS = 1.0


class Exchange(Protocol):
    """What a backend connection tells the exchange that it serves."""

    @property
    def bound_to(self) -> str:
        """The address of the backend that its session lives on; "": it has none."""
        ...

    def backend_ready(self, connection: BackendConnection) -> None:
        """A connection is yours."""
        ...

    def backend_unavailable(self, reason: str) -> None:
        """There will be none; ``reason`` is a metric label."""
        ...

    def from_backend(self, data: bytes) -> None:
        """Octets of the answer."""
        ...

    def backend_lost(self, error: Exception | None) -> None:
        """The connection has ended; None: the backend closed it in order."""
        ...

    def backend_paused(self, paused: bool) -> None:
        """The backend takes no more for now, or takes more again."""
        ...


class BackendConnection(Receiver):
    """One connection to one backend."""

    __slots__ = ("_poll", "backend", "exchange", "idle_since", "served", "since_move", "transport")

    transport: Stream

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        #: How many exchanges it has served.
        self.served = 0
        #: How often the backend's name had got other addresses when this connection was made.
        self.since_move = backend.moves
        self._poll = select.poll()

    def connection_made(self, stream: Stream) -> None:
        """Take the transport."""
        self.transport = stream
        self._poll.register(stream.fileno(), select.POLLIN | select.POLLRDHUP)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come that the loop has not yet delivered: neither octets nor the end.

        Both belong to the exchange before; the next one, another user's, would take them for its answer.
        """
        return not self.transport.is_closing() and not self._poll.poll(0)

    def data_received(self, data: bytes) -> None:
        """Pass the answer on."""
        exchange = self.exchange
        if exchange is None:
            # Nobody asked: an answer to nothing, or the rest of one that was given up.
            if not self.transport.is_closing():
                metrics.BACKEND_FAILURES.labels(self.backend.name, "unasked_octets").inc()
            self.backend.withdraw(self)
            return
        exchange.from_backend(data)

    def eof_received(self) -> bool:
        """Close our side too: a backend that has finished speaking serves no further exchange."""
        if self.exchange is None:
            self.backend.withdraw(self)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        exchange, self.exchange = self.exchange, None
        self.backend.lost(self)
        if exchange is not None:
            exchange.backend_lost(error)

    def pause_writing(self) -> None:
        """The backend is slower than the client."""
        if self.exchange is not None:
            self.exchange.backend_paused(True)

    def resume_writing(self) -> None:
        """The backend has caught up."""
        if self.exchange is not None:
            self.exchange.backend_paused(False)

    def read(self, wanted: bool) -> None:
        """Take what the backend says, or let it wait."""
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def discard(self) -> None:
        """Never use it again."""
        self.exchange = None
        self.transport.abort()


class Backend:
    """One address, its idle connections, and who waits for one."""

    __slots__ = (
        "_clock",
        "_connecting",
        "_destination",
        "_failures",
        "_idle",
        "_limit",
        "_open",
        "_readiness",
        "_timeout",
        "_waiting",
        "health",
        "moves",
        "name",
        "unavailable",
        "url",
    )

    def __init__(
        self,
        url: str,
        clock: Clock,
        readiness: Readiness,
        *,
        connections: int,
        timeout: float,
        settings: Legacy | None = None,
    ) -> None:
        """``timeout`` (seconds) is a connection's; ``settings`` are those of its health, None: it is never out."""
        self.url = url
        self._readiness = readiness
        #: For metrics and logs.
        self.name = "portal" if url.startswith("unix:") else url
        refresh, keep = (settings.name_refresh, settings.name_keep) if settings else (math.inf, math.inf)
        self._destination = Destination(url, clock, self._has_moved, refresh=refresh, keep=keep)
        #: How often its name has got other addresses.
        self.moves = 0
        self._failures = Seldom(_LOG, logging.WARNING, clock)
        self._clock = clock
        self._limit = connections
        self._timeout = timeout
        self._open = 0
        self._idle: list[BackendConnection] = []
        self._waiting: deque[Exchange] = deque()
        #: Connections being made, and for whom; None: whoever it was waits no longer.
        self._connecting: dict[asyncio.Task[None], Exchange | None] = {}
        self.health = Health(self.name, clock, settings)
        self.health.on_out = self._dismiss
        #: Told that an exchange cannot have a connection, and why; the pool may know another backend.
        self.unavailable: Callable[[Exchange, Backend, str], None] = _say_so

    @property
    def open(self) -> int:
        """Connections open or being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """Connections that wait for an exchange."""
        return len(self._idle)

    @property
    def under_way(self) -> int:
        """Exchanges that have, or wait for, a connection."""
        return self._open - len(self._idle) + len(self._waiting)

    def acquire(
        self, exchange: Exchange, *, repeatable: bool, waiting_limit: int, fresh: bool = False
    ) -> BackendConnection | None:
        """Return an idle connection, or None: then ``exchange`` is told later.

        ``fresh``: a new connection, because an idle one has just turned out to be closed.
        """
        idle = self._idle
        while idle and not fresh:
            connection = idle[-1]
            if not repeatable and self._clock.monotonic() - connection.idle_since >= _FRESH_SECONDS:
                break
            idle.pop()
            if connection.is_quiet:
                connection.exchange = exchange
                return connection
            connection.discard()
        if self._open < self._limit:
            self._connect_for(exchange)
        elif len(self._waiting) < waiting_limit:
            self._waiting.append(exchange)
            if idle:
                # Too old for this request, and in the way of a new one.
                idle.pop(0).discard()
        else:
            metrics.LIMIT_REFUSALS.labels("backend_waiting").inc()
            exchange.backend_unavailable("overloaded")
        return None

    def give_up(self, exchange: Exchange) -> None:
        """``exchange`` waits no longer: a connection that is being made for it will be another's."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)
        for task, waiting in self._connecting.items():
            if waiting is exchange:
                self._connecting[task] = None

    def release(self, connection: BackendConnection, *, reusable: bool) -> None:
        """An exchange is done with ``connection``."""
        connection.exchange = None
        transport = connection.transport
        if connection.since_move != self.moves:
            # To an address that the name no longer has.
            reusable = False
        if not reusable or transport.is_closing() or not transport.is_reading():
            transport.abort()
            return
        connection.served += 1
        if not self._waiting:
            connection.idle_since = self._clock.monotonic()
            self._idle.append(connection)
        elif connection.is_quiet:
            exchange = self._waiting.popleft()
            connection.exchange = exchange
            exchange.backend_ready(connection)
        else:
            # Whoever waits is served by a new connection as soon as this one is gone.
            transport.abort()

    def withdraw(self, connection: BackendConnection) -> None:
        """Take an idle connection out of the pool for good, before it is lost."""
        if connection in self._idle:
            self._idle.remove(connection)
        connection.transport.abort()

    def lost(self, connection: BackendConnection) -> None:
        """A connection has ended."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._closed_one()

    def failed(self, reason: str, *, blamed: bool = True) -> None:
        """Count and log an exchange that the backend has spoiled; ``reason`` is a metric label.

        ``blamed``: it could be the backend's own fault, and tells of its health.
        """
        metrics.BACKEND_FAILURES.labels(self.name, reason).inc()
        _LOG.warning("backend %s failed an exchange: %s", self.name, reason)
        if blamed:
            self.health.failed("answer")

    def close(self) -> None:
        """Close what is idle; what is under way ends with its exchange."""
        while self._idle:
            self._idle.pop().discard()

    async def reach(self, make: Callable[[], Receiver]) -> None:
        """A connection beside the pool, for a check; raises OSError."""
        await self._destination.connect(make, self._readiness)

    def look_again(self) -> None:
        """Have the resolver asked whether its name has other addresses by now; does not wait."""
        if self._open:
            self._destination.look_again()

    def _has_moved(self) -> None:
        self.moves += 1
        self.close()

    def _dismiss(self) -> None:
        """It is out: who waits for it waits for nothing."""
        waiting = [*self._waiting, *(exchange for exchange in self._connecting.values() if exchange is not None)]
        self._waiting.clear()
        for task in self._connecting:
            # What comes of it all the same is for the next.
            self._connecting[task] = None
        for exchange in waiting:
            self.unavailable(exchange, self, "out")

    def _closed_one(self) -> None:
        self._open -= 1
        if self._waiting and self._open < self._limit:
            self._connect_for(self._waiting.popleft())

    def _connect_for(self, exchange: Exchange) -> None:
        self._open += 1
        task = asyncio.get_running_loop().create_task(self._connect())
        self._connecting[task] = exchange
        task.add_done_callback(self._connecting.pop)

    def _whose(self) -> Exchange | None:
        """For whom the present task makes its connection."""
        task = asyncio.current_task()
        return None if task is None else self._connecting[task]

    async def _connect(self) -> None:
        made: list[BackendConnection] = []

        def make() -> BackendConnection:
            made.append(BackendConnection(self))
            return made[-1]

        try:
            async with asyncio.timeout(self._timeout):
                await self._destination.connect(make, self._readiness)
        except Exception as error:
            # Not only OSError: whatever keeps a connection from being made, its exchange must hear of it.
            reason = "connect_timeout" if isinstance(error, TimeoutError) else "connect"
            if isinstance(error, Unresolved):
                reason = "resolve"
            metrics.BACKEND_FAILURES.labels(self.name, reason).inc()
            self._failures.say("backend %s cannot be reached: %s", self.name, error or "timed out")
            self.health.failed("connect")
            if made and hasattr(made[-1], "transport"):
                # Made in the same moment: it counts until it is lost.
                made[-1].discard()
            else:
                self._closed_one()
            self._tell(reason)
            return
        except asyncio.CancelledError:
            self._open -= 1
            raise
        connection = made[-1]
        if connection.transport.is_closing():
            # Closed by the backend, or by us because it spoke unasked, before anybody had it.
            metrics.BACKEND_FAILURES.labels(self.name, "closed").inc()
            self.health.failed("connect")
            self._tell("closed")
            return
        exchange = self._whose()
        if exchange is None:
            self.release(connection, reusable=True)
            return
        connection.exchange = exchange
        exchange.backend_ready(connection)

    def _tell(self, reason: str) -> None:
        exchange = self._whose()
        if exchange is not None:
            self.unavailable(exchange, self, reason)


def _say_so(exchange: Exchange, backend: Backend, reason: str) -> None:
    exchange.backend_unavailable(reason)
