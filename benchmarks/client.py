"""A browser's end of one connection, blocking: for what is asked once, or read slowly on purpose."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType

from benchmarks.generator import Target
from benchmarks.material import Held, Material


class Client:
    """One TLS connection to a target, with the client certificate ``held``. Raises OSError when it is cut."""

    def __init__(
        self, target: Target, material: Material, held: Held, *, timeout: float = 30.0, receive_buffer: int = 0
    ):
        context = ssl.create_default_context(cafile=str(material.bundle))
        context.load_cert_chain(held.certificate_file, held.key_file)
        self._target = target
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout)
        self._socket.connect(("127.0.0.1", target.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = context.wrap_socket(self._socket, server_hostname=target.server_name)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tls.close()

    def send_head(self, method: str, path: str, headers: dict[str, str]) -> None:
        """A request's head."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._target.server_name}:{self._target.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._tls.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))

    def send(self, data: bytes) -> None:
        """A piece of a request's body, or of what follows an upgrade."""
        self._tls.sendall(data)

    def receive(self, most: int = 65_536) -> bytes:
        """What has come; empty at the end."""
        return self._tls.recv(most)

    def answer_head(self) -> tuple[int, bytes]:
        """The next answer's status and head; what came behind it in the same piece follows the blank line."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.receive()
            if not piece:
                raise ConnectionResetError("the connection ended within an answer's head")
            head += piece
        return int(head[9:12]), head

    def get(self, path: str, headers: dict[str, str]) -> int:
        """The status of one GET whose answer has a Content-Length; all of it is read."""
        self.send_head("GET", path, headers)
        status, head = self.answer_head()
        start, _, body = head.partition(b"\r\n\r\n")
        fields = (line.partition(b":") for line in start.lower().split(b"\r\n")[1:])
        left = sum(int(value) for name, _, value in fields if name == b"content-length") - len(body)
        while left > 0:
            piece = self.receive()
            if not piece:
                raise ConnectionResetError("the connection ended within an answer")
            left -= len(piece)
        return status
