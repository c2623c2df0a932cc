"""Keep a socket for a moment after our last octet, so that the peer can take it.

A socket that is closed with unread data in it sends RST, and that can overtake what was said last: the alert that
makes a browser ask for another certificate would be lost (clause A.2). Nor is our side closed before the peer's is:
a Chromium that finds the connection ended before it has read the alert (TLS 1.3: the alert comes after its own part
of the handshake is done) reports ``ERR_SOCKET_NOT_CONNECTED`` and forgets nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from mtls_gateway import metrics
from mtls_gateway.wire.readiness import Readiness

#: Octets that a peer is given which has not got through its handshake.
_OCTETS = 65_536


class Lingering:
    """How much a client is given after our last octet: a number of them, and seconds in silence and in all."""

    __slots__ = ("octets", "seconds", "silence")

    def __init__(self, octets: int, silence: float, seconds: float) -> None:
        self.octets = octets
        self.silence = silence
        self.seconds = seconds


class Linger:
    """Closes ``connected`` when the peer has closed, has said too much, or has had its time; then calls ``gone``."""

    __slots__ = ("_connected", "_gone", "_left", "_loop", "_readiness", "_seconds", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readiness: Readiness,
        connected: socket.socket,
        gone: Callable[[], None],
        seconds: float,
    ) -> None:
        self._loop = loop
        self._readiness = readiness
        self._connected = connected
        self._gone = gone
        self._seconds = seconds
        self._left = _OCTETS
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Nothing more will be sent; read what comes and throw it away."""
        self._timer = self._loop.call_later(self._seconds, self._overdue)
        self._readiness.add_reader(self._connected.fileno(), self._drain)

    def _drain(self) -> None:
        try:
            while self._left > 0:
                octets = len(self._connected.recv(16_384))
                if not octets:
                    break
                self._left -= octets
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._end()

    def _overdue(self) -> None:
        metrics.TIMEOUTS.labels("linger_silence").inc()
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._readiness.forget(self._connected.fileno())
        with contextlib.suppress(OSError):
            self._connected.close()
        self._gone()
