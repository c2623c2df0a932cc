"""A connection to a backend, on a non-blocking socket; ``wire.transport`` without TLS.

What is written goes out at once rather than at the end of the loop's turn, and the worker's own readiness says when
there is something to read: a request costs one system call each way. The figures are in ``docs/performance.md``.
"""

from __future__ import annotations

from mtls_gateway.wire.socket_transport import SocketTransport
from mtls_gateway.wire.stream import Buffer

#: Octets read at once at most.
_AT_ONCE = 262_144


class PlainTransport(SocketTransport):
    """See the module."""

    __slots__ = ()

    # --- reading --------------------------------------------------------------------------------

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

    def write(self, data: Buffer) -> None:
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
        self._queue(memoryview(data)[sent:])

    def _writable(self) -> None:
        try:
            self._send_queued(self._socket.send)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._fail(error)
            return
        if not self._pending:
            self._readiness.remove_writer(self._fd)
        self._has_sent()

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
        if not self._lost:
            self._let_go(error)
