"""The backends of a route: which of them serves an exchange (clause B.1).

A session's requests go to the session's backend, everything else to the one that has the fewest under way. When
none can serve, the exchange is told so at once: nothing waits for time-outs that are known to come.
"""

from __future__ import annotations

from collections.abc import Collection
from math import ceil
from random import Random
from typing import Literal

from mtls_gateway import metrics
from mtls_gateway.wire.backend import Backend, BackendConnection, Exchange
from mtls_gateway.wire.refusal import UNAVAILABLE


class Pool:
    """The backends of a route. ``affinity`` and ``draining`` as in ``config.Legacy``."""

    __slots__ = ("_by_address", "_draining", "_only", "_random", "_strict", "_waiting_limit", "backends")

    def __init__(
        self,
        backends: list[Backend],
        waiting_limit: int,
        affinity: Literal["strict", "prefer"] = "strict",
        draining: Collection[str] = (),
    ) -> None:
        #: In the order of the configuration.
        self.backends = backends
        self._waiting_limit = waiting_limit
        self._strict = affinity == "strict"
        self._draining = frozenset(draining)
        self._by_address = {backend.url: backend for backend in backends}
        #: With a single one there is nothing to choose.
        self._only = backends[0] if len(backends) == 1 else None
        #: Whose turn it is among equals: nothing that needs to be unguessable.
        self._random = Random()  # noqa: S311
        for backend in backends:
            backend.unavailable = self._try_another

    def acquire(self, exchange: Exchange, *, repeatable: bool, fresh: bool = False) -> BackendConnection | None:
        """See :meth:`Backend.acquire`; the exchange may be told at once that there is none."""
        backend = self._only
        if backend is None or not backend.health.usable:
            chosen = self.choose(exchange.bound_to, repeatable=repeatable)
            if chosen is None:
                self._refuse(exchange)
                return None
            backend = chosen
        return backend.acquire(exchange, repeatable=repeatable, waiting_limit=self._waiting_limit, fresh=fresh)

    def choose(self, bound_to: str, *, repeatable: bool) -> Backend | None:
        """The backend for an exchange now; None: none can serve it.

        ``bound_to`` is the address of the session's backend, "" without one. A single backend is every session's,
        whatever its address was when the session was opened.
        """
        if bound_to and self._only is None:
            home = self._by_address.get(bound_to)
            if home is not None and (home.health.may_serve() or (self._strict and not home.health.blocked)):
                return home
            if self._strict:
                return None
        return self._least_busy(repeatable)

    def _least_busy(self, repeatable: bool, without: Backend | None = None) -> Backend | None:
        best: Backend | None = None
        lowest = float("inf")
        others = self._in_turn()
        for backend in others:
            health = backend.health
            if without is not None and (backend is without or health.troubled):
                # One that fails as well was asked already, or would be asked for nothing.
                continue
            if not health.usable:
                if repeatable and health.may_serve():
                    # Half open: this is the one that tries it, with a request that may be asked again.
                    return backend
                continue
            load = (backend.under_way + 1) / health.weight()
            if load < lowest:
                best, lowest = backend, load
        if best is not None or without is not None:
            return best
        # Better one whose answers fail than none.
        for backend in sorted(others, key=lambda each: each.under_way):
            if not backend.health.blocked or backend.health.may_serve():
                return backend
        return None

    def _in_turn(self) -> list[Backend]:
        """Those that get what is new, beginning anywhere."""
        if self._only is not None:
            return self.backends
        first = self._random.randrange(len(self.backends))
        backends = self.backends[first:] + self.backends[:first]
        return [backend for backend in backends if backend.url not in self._draining]

    def preferred(self) -> tuple[str, ...]:
        """Addresses for a new session, the best first, for who opens it elsewhere; empty: all are out."""
        worth = [backend for backend in self._in_turn() if backend.health.is_worth_trying()]
        worth.sort(
            key=lambda backend: (not backend.health.usable, (backend.under_way + 1) / backend.health.weight()),
        )
        return tuple(backend.url for backend in worth)

    def answer_for(self, bound_to: str, reason: str) -> tuple[int, bytes]:
        """The status, and header lines, for a client whose exchange got no connection; ``reason`` says why."""
        status = UNAVAILABLE.get(reason, 502)
        if status != 503:
            return status, b""
        home = self._by_address.get(bound_to) if self._strict else None
        waited_for = self.backends if home is None else [home]
        seconds = ceil(min(backend.health.seconds_out() for backend in waited_for))
        return status, b"Retry-After: %d\r\n" % seconds

    def _refuse(self, exchange: Exchange) -> None:
        every = not exchange.bound_to or all(backend.health.blocked for backend in self.backends)
        metrics.BACKEND_REFUSALS.labels("every" if every else "session").inc()
        exchange.backend_unavailable("out")

    def _try_another(self, exchange: Exchange, backend: Backend, reason: str) -> None:
        """Nothing was sent yet, so another backend may be asked whatever the method is, unless the session is here."""
        other = None
        if self._only is None and not (exchange.bound_to and self._strict):
            other = self._least_busy(repeatable=False, without=backend)
        if other is None:
            if reason == "out":
                self._refuse(exchange)
            else:
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
