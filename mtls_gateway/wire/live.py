"""The open connections by what was admitted on them, so that they can be cut.

Revocation, supersession, suspension and the end of a session reach what is under way: a download
or a tunnel does not outlive the certificate and session that it was admitted with (clause C.3).
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from typing import Protocol

from mtls_gateway import metrics

_LOG = logging.getLogger(__name__)


class Cuttable(Protocol):
    """An open connection."""

    def cut(self, cause: str) -> None:
        """End it at once, whatever is under way."""
        ...


class Live:
    """Connections by key, e.g. ``("certificate", CertificateId)`` or ``("session", digest)``."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[Hashable, set[Cuttable]] = {}

    def hold(self, connection: Cuttable, keys: Iterable[Hashable]) -> None:
        """Remember that ``connection`` was admitted with ``keys``."""
        for key in keys:
            self._by_key.setdefault(key, set()).add(connection)

    def release(self, connection: Cuttable, keys: Iterable[Hashable]) -> None:
        """Forget ``connection`` under ``keys``."""
        for key in keys:
            connections = self._by_key.get(key)
            if connections is not None:
                connections.discard(connection)
                if not connections:
                    del self._by_key[key]

    def holds(self, key: Hashable) -> bool:
        """Whether an open connection was admitted with ``key``."""
        return key in self._by_key

    def keys(self) -> list[Hashable]:
        """What open connections were admitted with."""
        return list(self._by_key)

    def cut(self, key: Hashable, cause: str) -> int:
        """Cut every connection that was admitted with ``key``; returns how many."""
        connections = self._by_key.pop(key, None)
        if not connections:
            return 0
        count = len(connections)
        metrics.CUTS.labels(cause).inc(count)
        for connection in tuple(connections):
            try:
                connection.cut(cause)
            except Exception:
                # One connection's trouble is not to spare the others.
                _LOG.exception("a connection could not be cut")
        return count
