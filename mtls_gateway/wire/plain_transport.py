"""A connection to a backend, on a non-blocking socket, as an ``asyncio.Transport``; ``wire.transport`` without TLS.

What is written goes out at once rather than at the end of the loop's turn, and the worker's own readiness says when
there is something to read: a request costs one system call each way. The figures are in ``docs/performance.md``.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any

from mtls_gateway.wire.readiness import Readiness

#: Octets read at once at most.
_AT_ONCE = 262_144
_Buffer = bytes | bytearray | memoryview
_NOBODY = asyncio.Protocol()


class PlainTransport(asyncio.Transport):
    """See the module."""

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
        protocol: asyncio.Protocol,
        high_water: int = 65_536,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._readiness = readiness
        self._socket = connected
        self._fd = connected.fileno()
        self._protocol = protocol
        self._pending: deque[memoryview] = deque()
        self._pending_octets = 0
        self._high = high_water
        self._low = high_water // 4
        self._reading = False
        self._writing_paused = False
        self._lost = False

    def start(self) -> None:
        """Hand the transport to its protocol and begin to read."""
        try:
            self._protocol.connection_made(self)
        except BaseException:
            self.abort()
            raise
        self.resume_reading()

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

    def _readable(self) -> None:
        try:
            # Without a buffer of our own nothing is copied, and what is too much for the answer goes back at once.
            data = self._socket.recv(_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if data:
            self._protocol.data_received(data)
        elif self._protocol.eof_received():
            self.pause_reading()
        else:
            self._fail(None)

    # --- writing --------------------------------------------------------------------------------

    def write(self, data: _Buffer) -> None:
        """Send ``data``, now as far as the socket takes it, the rest when it takes more."""
        if self._lost or not data:
            return
        sent = 0
        if not self._pending:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._fail(error)
                return
            if sent == len(data):
                return
            self._readiness.add_writer(self._fd, self._writable)
        self._pending.append(memoryview(data)[sent:])
        self._pending_octets += len(data) - sent
        if self._pending_octets > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        pending = self._pending
        try:
            while pending:
                sent = self._socket.send(pending[0])
                self._pending_octets -= sent
                if sent == len(pending[0]):
                    pending.popleft()
                else:
                    pending[0] = pending[0][sent:]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(error)
            return
        if not pending:
            self._readiness.remove_writer(self._fd)
        if self._writing_paused and self._pending_octets <= self._low:
            self._writing_paused = False
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        """Octets that the socket has not taken yet."""
        return self._pending_octets

    def can_write_eof(self) -> bool:
        """False: no request ends so."""
        return False

    # --- the end --------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._lost

    def close(self) -> None:
        """The same as :meth:`abort`: a connection to a backend is ended when nothing more is to be said."""
        self._fail(None)

    def abort(self) -> None:
        """Close at once; what is queued is lost."""
        self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._reading = False
        self._readiness.forget(self._fd)
        self._pending.clear()
        self._pending_octets = 0
        self._socket.close()
        self._loop.call_soon(self._tell, error)

    def _tell(self, error: Exception | None) -> None:
        protocol = self._protocol
        # The two know each other: let go, so that neither waits for the garbage collector.
        self._protocol = _NOBODY
        protocol.connection_lost(error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``socket``."""
        return self._socket if name == "socket" else default
