"""The backends of a route: which of them serves an exchange (clause B.1)."""

from __future__ import annotations

from zlib import crc32

from mtls_gateway.clock import Clock
from mtls_gateway.wire.backend import Backend, BackendConnection, Exchange


class Pool:
    """The backends of a route. A session stays with its backend while that can be reached."""

    __slots__ = ("_clock", "_waiting_limit", "backends")

    def __init__(self, backends: list[Backend], clock: Clock, waiting_limit: int) -> None:
        #: In the order of the configuration.
        self.backends = backends
        self._clock = clock
        self._waiting_limit = waiting_limit
        for backend in backends:
            backend.unavailable = self._try_another

    def choose(self, affinity: object) -> Backend:
        """The backend for a session: the same one each time, the next while that one is shunned."""
        backends = self.backends
        if len(backends) == 1:
            return backends[0]
        # Not hash(): its seed is another one in each process, and a session has one backend on every worker.
        first = backends[crc32(repr(affinity).encode()) % len(backends)]
        if first.shunned <= self._clock.monotonic():
            return first
        return self.other_than(first) or first

    def other_than(self, backend: Backend) -> Backend | None:
        """The next backend that can be tried instead; None when all are shunned."""
        now = self._clock.monotonic()
        place = self.backends.index(backend)
        for other in self.backends[place + 1 :] + self.backends[:place]:
            if other.shunned <= now:
                return other
        return None

    def acquire(
        self, exchange: Exchange, affinity: object, *, repeatable: bool, fresh: bool = False
    ) -> BackendConnection | None:
        """See :meth:`Backend.acquire`; ``affinity`` is what the exchange shares with others of its session."""
        backend = self.choose(affinity)
        return backend.acquire(exchange, repeatable=repeatable, waiting_limit=self._waiting_limit, fresh=fresh)

    def _try_another(self, exchange: Exchange, backend: Backend, reason: str) -> None:
        """Nothing was sent yet, so another backend may be asked whatever the method is."""
        other = self.other_than(backend)
        if other is None:
            exchange.backend_unavailable(reason)
            return
        connection = other.acquire(exchange, repeatable=False, waiting_limit=self._waiting_limit)
        if connection is not None:
            exchange.backend_ready(connection)

    def give_up(self, exchange: Exchange) -> None:
        """``exchange`` waits no longer, wherever it did."""
        for backend in self.backends:
            backend.give_up(exchange)

    def close(self) -> None:
        """Close what is idle."""
        for backend in self.backends:
            backend.close()
