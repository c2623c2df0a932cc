"""A company's proxy: takes CONNECT (RFC 9110, section 9.3.6), or has something else to say."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

#: What stands in for the way to the server.
GUEST_PAGE = b"<html><h1>Please accept the terms of use</h1></html>"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (
    len(GUEST_PAGE),
    GUEST_PAGE,
)


def wants_sign_in(scheme: str) -> bytes:
    """An answer of a proxy to which nobody has signed in."""
    head = f"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: {scheme}\r\nConnection: close\r\n"
    return f"{head}Content-Length: 0\r\n\r\n".encode()


class Proxy:
    """Listens on a port of 127.0.0.1 until it is closed."""

    def __init__(self) -> None:
        #: Instead of letting through.
        self.answer = b""
        #: Every request's head, as it came.
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1) or b"\r\n\r\n"
            said = head.decode("latin-1")
            self.heads.append(said)
            if self.answer:
                connection.sendall(self.answer)
                return
            _, target, _ = said.split(" ", 2)
            # Every name of the tests is this machine.
            with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2])), timeout=20) as server:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pass_on(connection, server)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while found := ready.select(20):
            for key, _ in found:
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)
