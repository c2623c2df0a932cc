"""TLS bound to a non-blocking socket.

OpenSSL reads and writes the socket itself; the loop only says when. Against a memory BIO this saves
two copies of every octet and was the faster in every measurement (``docs/why-pyopenssl.md``).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import NoReturn

from OpenSSL import SSL

from mtls_gateway import metrics
from mtls_gateway.wire.linger import Lingering
from mtls_gateway.wire.readiness import Readiness
from mtls_gateway.wire.socket_transport import SocketTransport
from mtls_gateway.wire.stream import Buffer, Receiver
from mtls_gateway.wire.tls_connection import AT_ONCE, RECORD, Tls

#: Reads before others get their turn. Each takes whole records and leaves none half read inside OpenSSL.
_READS_AT_ONCE = 2
#: Octets that are thrown away before others get their turn.
_LINGER_AT_ONCE = 262_144
#: SO_LINGER for zero seconds: the kernel forgets what the peer has not taken, megabytes perhaps, and resets.
_LINGER_NOT = struct.pack("ii", 1, 0)
#: What TIOCOUTQ (SIOCOUTQ, tcp(7)) answers when everything was acknowledged.
_NO_OCTETS = struct.pack("i", 0)


class _Gone:
    """Stands for the TLS object of a socket that was closed.

    OpenSSL knows the socket by its number, which the next connection may have by now: not one more octet
    may go through the old object.
    """

    def do_handshake(self) -> NoReturn:
        raise SSL.SysCallError(-1, "closed")

    def recv(self, bufsiz: int, /) -> NoReturn:
        raise SSL.SysCallError(-1, "closed")

    def send(self, buf: Buffer, /) -> NoReturn:
        raise SSL.SysCallError(-1, "closed")

    def shutdown(self) -> NoReturn:
        raise SSL.SysCallError(-1, "closed")

    def pending(self) -> int:
        return 0


_GONE = _Gone()


class TlsTransport(SocketTransport):
    """One client connection after its handshake."""

    __slots__ = ("_closing", "_linger_left", "_linger_timer", "_lingering", "_tls", "_writer_armed")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readiness: Readiness,
        connected: socket.socket,
        tls: Tls,
        protocol: Receiver,
        high_water: int,
        lingering: Lingering,
    ) -> None:
        super().__init__(loop, readiness, connected, protocol, high_water)
        self._tls = tls
        self._writer_armed = False
        self._closing = False
        self._lingering = lingering
        self._linger_left = lingering.octets
        self._linger_timer: asyncio.TimerHandle | None = None

    # --- reading --------------------------------------------------------------------------------

    def resume_reading(self) -> None:
        """Call ``data_received`` again when there is data."""
        if not self._reading and not self._closing:
            super().resume_reading()
            if self._tls.pending():
                self._loop.call_soon(self._read_pending)

    def _read_pending(self) -> None:
        if self._reading:
            self._readable()

    def _readable(self) -> None:
        receive = self._tls.recv
        deliver = self._protocol.data_received
        try:
            for _ in range(_READS_AT_ONCE):
                data = receive(AT_ONCE)
                deliver(data)
                if len(data) % RECORD or not self._reading:
                    # A record that is not full is the last one for now; should it not be, the socket says so again.
                    return
        except SSL.WantReadError:
            return
        except SSL.WantWriteError:
            self._arm_writer()
        except SSL.ZeroReturnError:
            self._peer_closed()
        except SSL.SysCallError as error:
            # A peer that vanishes without close_notify: nothing it said can be believed to be whole, but framing
            # (lengths, chunks) is checked above us, so it is a lost connection and no more.
            self._fail(ConnectionResetError(str(error)))
        except SSL.Error as error:
            self._fail(ConnectionAbortedError(f"TLS: {error}"))

    def _peer_closed(self) -> None:
        if self._protocol.eof_received():
            self.pause_reading()
            return
        # Nothing more can come that a reset could destroy our last words for: there is no need to linger.
        self._linger_left = 0
        self.close()

    # --- writing --------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Send ``data``, now as far as the socket takes it, the rest when it takes more."""
        if self._closing or self._lost or not data:
            return
        if self._pending:
            self._queue(memoryview(data))
            return
        send = self._tls.send
        rest: Buffer = data
        try:
            sent = send(data)
            if sent == len(data):
                return
            rest = memoryview(data)[sent:]
            while rest:
                rest = rest[send(rest) :]
        except (SSL.WantWriteError, SSL.WantReadError):
            self._queue(memoryview(rest))
            self._arm_writer()
        except SSL.Error as error:
            self._fail(ConnectionResetError(f"TLS: {error}"))

    def _arm_writer(self) -> None:
        if not self._writer_armed and not self._lost:
            self._writer_armed = True
            self._readiness.add_writer(self._fd, self._writable)

    def _disarm_writer(self) -> None:
        if self._writer_armed:
            self._writer_armed = False
            self._readiness.remove_writer(self._fd)

    def _writable(self) -> None:
        try:
            self._send_queued(self._tls.send)
        except (SSL.WantWriteError, SSL.WantReadError):
            pass
        except SSL.Error as error:
            self._fail(ConnectionResetError(f"TLS: {error}"))
            return
        self._has_sent()
        if not self._pending and not self._lost:
            self._disarm_writer()
            if self._closing:
                self._say_goodbye()

    def has_untaken(self) -> bool:
        """Whether the peer has not acknowledged everything that was written, here or in the kernel."""
        if self._pending_octets or self._lost:
            return bool(self._pending_octets)
        return fcntl.ioctl(self._fd, termios.TIOCOUTQ, _NO_OCTETS) != _NO_OCTETS

    # --- the end --------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._closing or self._lost

    def close(self) -> None:
        """Send what is queued, then close_notify, then linger until the peer has taken it."""
        if self._closing or self._lost:
            return
        self._closing = True
        if self._pending:
            self.pause_reading()
        else:
            self._say_goodbye()

    def abort(self) -> None:
        """Close at once; what is queued, here or in the kernel, is lost and the peer sees a reset."""
        if not self._lost:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._fail(None)

    def _say_goodbye(self) -> None:
        try:
            self._tls.shutdown()
            if self._linger_left:
                self._socket.shutdown(socket.SHUT_WR)
        except SSL.WantWriteError:
            # The goodbye itself has to wait for room.
            self.pause_reading()
            self._arm_writer()
            return
        except (SSL.Error, OSError):
            self._fail(None)
            return
        if not self._linger_left:
            self._fail(None)
            return
        self._reading = False
        self._look_after(self._loop.time() + self._lingering.seconds)
        self._readiness.add_reader(self._fd, self._drain)

    def _look_after(self, until: float) -> None:
        wait = min(self._lingering.silence, max(0.0, until - self._loop.time()))
        self._linger_timer = self._loop.call_later(wait, self._has_lingered, self._linger_left, until)

    def _has_lingered(self, left_before: int, until: float) -> None:
        over = self._loop.time() >= until
        if over or self._linger_left == left_before:
            metrics.TIMEOUTS.labels("linger" if over else "linger_silence").inc()
            self._fail(None)
        else:
            self._look_after(until)

    def _drain(self) -> None:
        try:
            octets = len(self._socket.recv(_LINGER_AT_ONCE))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            octets = 0
        self._linger_left -= octets
        if octets and self._linger_left <= 0:
            metrics.LIMITS_REACHED.labels("linger_octets").inc()
            self._fail(None)
        elif not octets:
            self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._closing = True
        self._writer_armed = False
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        self._tls = _GONE
        self._let_go(error)
