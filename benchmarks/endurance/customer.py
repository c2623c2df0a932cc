"""One connection of a customer's, who looks before each request whether the other side has closed it.

A server may close a connection that is idle; whoever sees that before asking simply opens another, as browsers do. A
reset, or an answer that does not come, is a failure.
"""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress
from types import TracebackType

_TIMEOUT = 60.0


class LostAnswer(OSError):
    """The connection ended before the answer to what was asked had come."""


class Customer:
    """A TLS connection to 127.0.0.1; OSError, or LostAnswer, is raised where something fails."""

    def __init__(self, port: int, name: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._host = f"{name}:{port}"
        plain = socket.create_connection(("127.0.0.1", port), _TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._tls = context.wrap_socket(plain, server_hostname=name, session=session)
        except BaseException:
            plain.close()
            raise
        #: The last answer said that the connection ends with it.
        self.is_over = False

    def __enter__(self) -> Customer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def session(self) -> ssl.SSLSession | None:
        """What the next connection may resume."""
        return self._tls.session

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._tls.close()

    def was_closed(self) -> bool:
        """Whether the other side has closed it in order; a reset is raised."""
        if not select.select([self._tls], [], [], 0)[0]:
            return False
        self._tls.setblocking(False)
        try:
            # Nothing was asked: what comes is the end, or a ticket.
            return self._tls.recv(1) == b""
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        finally:
            self._tls.settimeout(_TIMEOUT)

    def ask(self, path: str, cookie: str) -> int:
        """The status of a GET whose answer has a Content-Length; all of it is read."""
        self._tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nCookie: {cookie}\r\n\r\n".encode())
        octets = b""
        while b"\r\n\r\n" not in octets:
            octets += self._more()
        head, _, body = octets.partition(b"\r\n\r\n")
        fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:])
        left = int(fields[b"content-length"]) - len(body)
        while left > 0:
            left -= len(self._more())
        self.is_over = fields.get(b"connection", b"").strip() == b"close"
        return int(head[9:12])

    def _more(self) -> bytes:
        octets = self._tls.recv(65_536)
        if not octets:
            raise LostAnswer("the connection ended before the answer")
        return octets
