"""On which backend a session lives: where it is opened, where it is looked for, where it is ended.

It is written down with the session, so that every worker of every node finds it there, and a backend that is added
takes no session from another. A session about which nothing was written down (opened by an earlier version) has its
home by rendezvous hashing: the same on every worker and node, and kept when *other* backends come or go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mtls_gateway.config import Legacy


def home_of(digest: bytes, backends: Sequence[str]) -> str:
    """The backend of the session with ``digest`` by rendezvous hashing (highest random weight)."""
    if len(backends) == 1:
        return backends[0]
    return max(backends, key=lambda backend: hashlib.sha256(digest + backend.encode()).digest())


def open_at(preferred: Sequence[str] | None, legacy: Legacy) -> tuple[str, ...]:
    """Where a session may be opened, the best first: what the worker prefers, of those that are configured here.

    Empty: all are out. Worker and portal may belong to different generations for a moment, and not know each other's
    backends: then any will do.
    """
    if preferred is None:
        return legacy.backends
    known = tuple(backend for backend in preferred if backend in legacy.backends)
    return known if known or not preferred else legacy.backends


def end_at(backend: str, legacy: Legacy) -> tuple[str, ...]:
    """Where to end the legacy session that lives on ``backend``; empty: it is configured no more."""
    if not backend or len(legacy.backends) == 1:
        return legacy.backends
    others = tuple(other for other in legacy.backends if other != backend) if legacy.affinity == "prefer" else ()
    return (backend, *others) if backend in legacy.backends else others
