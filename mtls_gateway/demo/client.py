"""A browser's part in the walk: real TLS sockets, cookies, forms, and nothing of the gateway's own code.

The names of the demo are below ``localhost`` and need no resolver: every connection goes to 127.0.0.1, with the name
in SNI and in ``Host``.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

TIMEOUT: Final = 20.0
_MOST_REDIRECTS: Final = 8
_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Connection(http.client.HTTPConnection):
    """One TLS connection to 127.0.0.1; ``name`` goes into SNI, and into Host unless the caller says otherwise."""

    def __init__(self, name: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=TIMEOUT)
        self._context = context

    def connect(self) -> None:
        """Handshake with the certificate of the context, if it has one."""
        plain = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class Form:
    """A form of a page: where it goes and what it holds."""

    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method.upper()
        self.fields: dict[str, str] = {}
        #: Names by input type: ``password`` to ``["password"]``.
        self.named: dict[str, list[str]] = {}

    def filled(self, values: Mapping[str, str]) -> str:
        """URL-encoded, ``values`` by input type put in place: ``{"password": "…"}``."""
        fields = dict(self.fields)
        for kind, value in values.items():
            for name in self.named.get(kind, ()):
                fields[name] = value
        return urlencode(fields)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "GET"))
            self.found.append(self._open)
        elif self._open is not None and tag in ("input", "button") and given.get("name"):
            kind = given.get("type", "text" if tag == "input" else "submit").lower()
            if kind == "submit":
                # As if Enter were pressed: the first button counts, the others are not sent.
                if "submit" in self._open.named:
                    return
            elif kind in ("checkbox", "radio") and "checked" not in given:
                return
            self._open.fields[given["name"]] = given.get("value", "")
            self._open.named.setdefault(kind, []).append(given["name"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class Answer:
    """What came back, read to its end."""

    def __init__(self, response: http.client.HTTPResponse, url: str) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self) -> str:
        """The body as text; octets that are none are replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def location(self) -> str:
        """Where the answer leads, absolute; empty: nowhere."""
        given = self.headers.get("Location", "")
        return urljoin(self.url, given) if given else ""

    def forms(self) -> Sequence[Form]:
        """The page's forms, in order."""
        parser = _Forms()
        parser.feed(self.text)
        return parser.found

    def form(self, kind: str) -> Form:
        """The first form with a field of this input type.

        Raises:
            LookupError: there is none; says what the page is.
        """
        for form in self.forms():
            if kind in form.named:
                return form
        raise LookupError(f"{self.url} answered {self.status} without a form that has a field of type {kind}")

    def form_to(self, path: str) -> Form:
        """The first form whose action ends with ``path``; raises as :meth:`form`."""
        for form in self.forms():
            if urlsplit(form.action).path.endswith(path):
                return form
        raise LookupError(f"{self.url} answered {self.status} without a form to {path}")


class Browser:
    """Cookies per host, whatever the port, one certificate or none; a new connection for each request."""

    def __init__(
        self, port: int, server_ca: Path, certificate: Path | None = None, *, other_ports: Sequence[int] = ()
    ) -> None:
        self.port = port
        #: All that it may be led to.
        self._ports = (port, *other_ports)
        self._server_ca = server_ca
        self.context = ssl.create_default_context(cafile=str(server_ca))
        if certificate is not None:
            self.context.load_cert_chain(certificate)
        self.cookies: dict[str, dict[str, str]] = {}
        #: By host and cookie: the names of its attributes, in lower case, as last set.
        self.attributes: dict[str, dict[str, set[str]]] = {}

    def with_certificate(self, certificate: Path | None) -> Browser:
        """The same cookies in a browser that shows another certificate, or none."""
        other = Browser(self.port, self._server_ca, certificate, other_ports=self._ports[1:])
        other.cookies = self.cookies
        return other

    def connect(self, host: str, port: int | None = None) -> Connection:
        """A connection that the caller keeps, and closes."""
        return Connection(host, port or self.port, self.context)

    def url(self, host: str, path: str, port: int | None = None) -> str:
        """``https://HOST:PORT/PATH``."""
        return f"https://{host}:{port or self.port}{path}"

    def cookie_header(self, host: str) -> str:
        """The Cookie header for ``host``; empty: none."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.get(host, {}).items())

    def get(self, host: str, path: str, follow: bool = True, headers: Mapping[str, str] | None = None) -> Answer:
        """GET, as a person's browser does it."""
        return self.request("GET", self.url(host, path), None, headers or {}, follow)

    def submit(self, page: Answer, form: Form, follow: bool = True, **values: str) -> Answer:
        """Send a form of ``page``; ``values`` by input type."""
        url = urljoin(page.url, form.action or page.url)
        filled = form.filled(values)
        if form.method == "GET":
            return self.request("GET", f"{url.partition('?')[0]}?{filled}", None, {}, follow)
        parts = urlsplit(page.url)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "Referer": page.url,
        }
        return self.request("POST", url, filled.encode(), headers, follow)

    def request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], follow: bool) -> Answer:
        """One request, and what it leads to when ``follow``."""
        for _ in range(_MOST_REDIRECTS):
            answer = self._once(method, url, body, headers)
            if not (follow and answer.status in (301, 302, 303, 307, 308) and answer.location):
                return answer
            url = answer.location
            if answer.status not in (307, 308):
                method, body, headers = "GET", None, {}
        raise RuntimeError(f"more than {_MOST_REDIRECTS} redirects, the last to {url}")

    def _once(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.port not in self._ports or not parts.hostname:
            raise RuntimeError(f"led out of the gateway, to {url}")
        connection = self.connect(parts.hostname, parts.port)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return self.exchange(connection, method, target, body, headers)
        finally:
            connection.close()

    def exchange(
        self,
        connection: Connection,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection that stays open; takes the cookies of its answer."""
        host = connection.host
        sent = {"Accept": "text/html,*/*", "User-Agent": BROWSER, **(headers or {})}
        cookies = self.cookie_header(host)
        if cookies:
            sent.setdefault("Cookie", cookies)
        connection.request(method, target, body, sent)
        answer = Answer(connection.getresponse(), self.url(host, target, connection.port))
        for given in answer.headers.get_all("Set-Cookie") or []:
            self._take(host, given)
        return answer

    def _take(self, host: str, given: str) -> None:
        pair, *attributes = given.split(";")
        name, _, value = pair.strip().partition("=")
        jar = self.cookies.setdefault(host, {})
        lowered = [attribute.strip().lower() for attribute in attributes]
        if "max-age=0" in lowered or any(attribute.startswith("expires=thu, 01 jan 1970") for attribute in lowered):
            jar.pop(name, None)
        else:
            jar[name] = value
            names = {attribute.partition("=")[0] for attribute in lowered}
            self.attributes.setdefault(host, {})[name] = names


#: One that the notice's table 3 supports.
BROWSER: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


class WebSocket:
    """Just enough of RFC 6455 to say something and hear it back."""

    def __init__(self, browser: Browser, host: str, path: str) -> None:
        self._connection = browser.connect(host)
        key = base64.b64encode(os.urandom(16))
        self._connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key.decode(),
            "Origin": browser.url(host, ""),
            "Cookie": browser.cookie_header(host),
            "User-Agent": BROWSER,
        }.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        self._socket: socket.socket = self._connection.sock
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            octet = self._socket.recv(1)
            if not octet:
                raise ConnectionError("closed before the WebSocket was opened")
            head += octet
        self.status = int(head.split(b" ", 2)[1])
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest())
        self.opened = self.status == 101 and accept in head

    def say(self, text: str) -> None:
        """One short text message."""
        payload, mask = text.encode(), os.urandom(4)
        masked = bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))
        self._socket.sendall(struct.pack("!BB", 0x81, 0x80 | len(payload)) + mask + masked)

    def hear(self) -> str | None:
        """The next text message; None: the connection has ended."""
        while True:
            try:
                first, length = self._read(2)
                if length == 126:
                    (length,) = struct.unpack("!H", self._read(2))
                payload = self._read(length)
            except (ConnectionError, ssl.SSLError, ValueError):
                return None
            if first & 0x0F == 1:
                return payload.decode()
            if first & 0x0F == 8:
                return None

    def hear_until(self, wanted: str) -> str | None:
        """The first message that is not one of the bank's own ticks; ``wanted`` ends the search early."""
        while (message := self.hear()) is not None:
            if message == wanted or "tick" not in json.loads(message):
                return message
        return None

    def _read(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            piece = self._socket.recv(count - len(read))
            if not piece:
                raise ConnectionError("the WebSocket has ended")
            read += piece
        return read

    def close(self) -> None:
        """Drop it."""
        self._connection.close()
