"""What both transports are: a receiver, a non-blocking socket, and a queue of what the socket has not taken yet.

How octets get through the socket, and how a connection ends, is theirs: :mod:`.transport` with TLS,
:mod:`.plain_transport` without.
"""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections import deque
from collections.abc import Callable

from mtls_gateway.wire.readiness import Readiness
from mtls_gateway.wire.stream import Nobody, Receiver, Stream

_NOBODY = Nobody()


class SocketTransport(Stream):
    """See the module. ``high_water``: octets in the queue above which the protocol is told to pause."""

    __slots__ = (
        "_fd",
        "_high",
        "_loop",
        "_lost",
        "_low",
        "_pending",
        "_pending_octets",
        "_protocol",
        "_readiness",
        "_reading",
        "_socket",
        "_writing_paused",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readiness: Readiness,
        connected: socket.socket,
        protocol: Receiver,
        high_water: int = 65_536,
    ) -> None:
        self._loop = loop
        self._readiness = readiness
        self._socket = connected
        self._fd = connected.fileno()
        self._protocol: Receiver = protocol
        #: None while the socket takes everything: an empty deque has 760 octets.
        self._pending: deque[memoryview] | None = None
        self._pending_octets = 0
        self._high = high_water
        self._low = high_water // 4
        self._reading = False
        self._writing_paused = False
        self._lost = False

    def start(self) -> None:
        """Hand the transport to its protocol and begin to read what has already arrived."""
        try:
            self._protocol.connection_made(self)
        except BaseException:
            self.abort()
            raise
        self.resume_reading()

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self._socket.fileno()

    @abstractmethod
    def _readable(self) -> None:
        """There is something to read, or an end."""

    # --- reading --------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether data is being received."""
        return self._reading

    def pause_reading(self) -> None:
        """Stop calling ``data_received``."""
        if self._reading:
            self._reading = False
            self._readiness.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Call ``data_received`` again when there is data."""
        if not self._reading and not self._lost:
            self._reading = True
            self._readiness.add_reader(self._fd, self._readable)

    # --- writing --------------------------------------------------------------------------------

    def _queue(self, data: memoryview) -> None:
        """Keep what the socket has not taken; tell the protocol when it is too much."""
        if self._pending is None:
            self._pending = deque()
        self._pending.append(data)
        self._pending_octets += len(data)
        if self._pending_octets > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _send_queued(self, send: Callable[[memoryview], int]) -> None:
        """Send what is queued, until there is no more or ``send`` raises that the socket is full."""
        pending = self._pending
        while pending:
            data = pending[0]
            sent = send(data)
            self._pending_octets -= sent
            if sent == len(data):
                pending.popleft()
            else:
                pending[0] = data[sent:]
        self._pending = None

    def _has_sent(self) -> None:
        """Tell a protocol that paused when there is room again."""
        if self._writing_paused and self._pending_octets <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        """Octets that the socket has not taken yet."""
        return self._pending_octets

    # --- the end --------------------------------------------------------------------------------

    def _let_go(self, error: Exception | None) -> None:
        """Close the socket at once, forget what is queued, and tell the protocol in the loop's next turn."""
        self._lost = True
        self._reading = False
        self._readiness.forget(self._fd)
        self._pending = None
        self._pending_octets = 0
        self._socket.close()
        self._loop.call_soon(self._tell, error)

    def _tell(self, error: Exception | None) -> None:
        protocol = self._protocol
        # The two know each other: let go, so that neither waits for the garbage collector.
        self._protocol = _NOBODY
        protocol.connection_lost(error)
