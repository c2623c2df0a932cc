"""One TLS connection on which a test sends exactly the octets it means, with the session it means to resume."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mtls_gateway.demo.client import BROWSER, Browser
from tests.promises.whole_gateway import WholeGateway

TIMEOUT = 20.0
TLS_1_2 = ssl.TLSVersion.TLSv1_2
TLS_1_3 = ssl.TLSVersion.TLSv1_3


def client_context(gateway: WholeGateway, pem: Path | None = None, version: ssl.TLSVersion | None = None) -> Any:
    """A client's context: with a certificate, or none; of one version, or any."""
    context = ssl.create_default_context(cafile=str(gateway.server_ca))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if pem is not None:
        context.load_cert_chain(pem)
    return context


class Answer:
    """A status line, headers and a body, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Line:
    """See the module. ``name`` goes into SNI (None: without) and, with the port, into Host."""

    def __init__(
        self,
        gateway: WholeGateway,
        name: str | None,
        context: ssl.SSLContext,
        session: ssl.SSLSession | None = None,
        host: str | None = None,
        port: int | None = None,
    ) -> None:
        self._port = port or gateway.port
        self.host = host or f"{name}:{self._port}"
        self._gateway = gateway
        plain = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = context.wrap_socket(plain, server_hostname=name, session=session)
        except BaseException:
            plain.close()
            raise
        self._octets = self.socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._octets.close()
        self.socket.close()

    @property
    def session(self) -> ssl.SSLSession:
        """What can be resumed; with TLS 1.3 only after something has been read."""
        session = self.socket.session
        assert session is not None and session.has_ticket
        return session

    @property
    def resumed(self) -> bool:
        return bool(self.socket.session_reused)

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer; raises ConnectionError or HTTPException where there is none."""
        response = http.client.HTTPResponse(_Kept(self._octets), method=method)  # type: ignore[arg-type]
        response.begin()
        return Answer(response)

    def ask(
        self, target: str = "/", *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """An ordinary request and its answer."""
        fields = {"Host": self.host, "Accept": "text/html", "User-Agent": BROWSER, **(headers or {})}
        if body:
            fields["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        return self.answer(method)

    def as_browser(self, browser: Browser, name: str, target: str = "/home") -> Answer:
        """A request with the browser's cookies."""
        return self.ask(target, headers={"Cookie": browser.cookie_header(name)})

    def is_closed(self, within: float = 5.0) -> bool:
        """Whether the other side closes before ``within`` seconds are over; what still comes is thrown away."""
        until = time.monotonic() + within
        self.socket.settimeout(within)
        try:
            while self._octets.read1(65_536):
                if time.monotonic() > until:
                    return False
        except TimeoutError:
            return False
        except (ConnectionError, ssl.SSLError):
            return True
        return True

    @property
    def worker(self) -> int:
        """The process ID of the gateway worker that holds the other end."""
        port = self.socket.getsockname()[1]
        found = re.search(rf"0100007F:{self._port:04X} 0100007F:{port:04X} (?:\S+ ){{6}} *(\d+)", _squeezed())
        assert found is not None, "the connection is gone"
        wanted = f"socket:[{found[1]}]"
        for pid in self._gateway.workers():
            for file in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if str(file.readlink()) == wanted:
                        return pid
                except FileNotFoundError:
                    continue
        raise AssertionError("no worker has the connection")


def _squeezed() -> str:
    return re.sub(r"[ ]+", " ", Path("/proc/net/tcp").read_text())


class _Kept:
    """What ``HTTPResponse`` takes for a socket, so that the octets behind an answer stay for the next one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def makefile(self, mode: str) -> _Kept:
        return self

    def close(self) -> None:
        """The line goes on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
