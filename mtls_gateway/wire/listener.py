"""Accepting: from a listening socket to connections, each counted against the limits."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from mtls_gateway import metrics
from mtls_gateway.wire.balanced import Entrance
from mtls_gateway.wire.handshake import Handshake
from mtls_gateway.wire.seldom import Seldom
from mtls_gateway.wire.sites import Sites
from mtls_gateway.wire.tls import Contexts
from mtls_gateway.wire.worker import Worker

_LOG = logging.getLogger(__name__)

#: Connections accepted before the loop gets its turn.
_ACCEPTS_AT_ONCE = 32
#: How long none are accepted after the system would give no socket.
_PAUSE_SECONDS = 0.25


class _Beginning(Protocol):
    """What a connection begins with."""

    def start(self) -> None: ...


class Listener:
    """Accepts on one listening socket for one worker."""

    __slots__ = ("_begin", "_contexts", "_failures", "_listening", "_open", "_pause", "_sites", "_worker")

    def __init__(self, worker: Worker, listening: socket.socket, sites: Sites, contexts: Contexts) -> None:
        self._worker = worker
        self._listening = listening
        self._sites = sites
        self._contexts = contexts
        self._pause: asyncio.TimerHandle | None = None
        self._failures = Seldom(_LOG, logging.ERROR, worker.clock)
        #: Whether a connection from an address is taken at all, and what it then begins with.
        self._open: Callable[[str], bool]
        self._begin: Callable[[Worker, socket.socket, tuple[str, int], Sites, Contexts], _Beginning]
        if sites.balancers:
            entrance = Entrance(worker, sites.balancers)
            self._open, self._begin = entrance.open, entrance.begin
        else:
            self._open, self._begin = worker.connection_opened, Handshake
        listening.setblocking(False)
        # Inherited by every connection that is accepted here.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Begin to accept."""
        self._pause = None
        self._worker.readiness.add_reader(self._listening.fileno(), self._acceptable)

    def close(self) -> None:
        """Accept no more, for good; other processes that have the socket go on. Nobody else waits at a closed door."""
        self.stop()
        self._listening.close()

    def stop(self) -> None:
        """Accept no more; the socket stays open."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._worker.readiness.remove_reader(self._listening.fileno())

    def _acceptable(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connected, address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Most likely out of file descriptors. The connection still waits: the loop would call again at once.
                metrics.LIMIT_REFUSALS.labels("accept").inc()
                self._failures.say("connections could not be accepted: %s", error)
                self.stop()
                self._pause = self._worker.loop.call_later(_PAUSE_SECONDS, self.start)
                return
            host, port = address[:2]
            if not self._open(host):
                connected.close()
                continue
            self._begin(self._worker, connected, (host, port), self._sites, self._contexts).start()
