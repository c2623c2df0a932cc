"""The walk's requests that are no page: spoofed, malformed, large, upgraded."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import BROWSER, Answer, Browser, WebSocket
from mtls_gateway.demo.visit import Visit, place

_CONTEXT: Final = (
    '{"site":"certificate","address":"127.0.0.1","verdict":"admitted","user":"yamada01","session":"live",'
    '"certificate":null,"not_after":null}'
)
_SPOOFS: Final = (
    ("Gateway-Context", _CONTEXT),
    ("gateway-context", _CONTEXT),
    ("Gateway_Context", _CONTEXT),
    ("Gateway.Context", _CONTEXT),
    ("X-User-ID", "yamada01"),
    ("X_User_ID", "yamada01"),
    ("Client-Cert", ":AAAA:"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1"),
)

MEBIBYTE: Final = 1_048_576


def nothing_the_client_says_is_believed(visit: Visit) -> None:
    """Clause B.2."""
    believed = []
    for name, value in _SPOOFS:
        for host in (PUBLIC_HOST, CERTIFICATE_HOST):
            for path in ("/home", "/gateway/password"):
                answer = visit.browser().get(host, path, headers={name: value})
                if place(answer).startswith(("home", "password page")):
                    believed.append(f"{name} at {host}{path}")
    visit.expect("headers that were believed", [], believed)


def the_hosts_are_kept_apart(visit: Visit) -> None:
    """Clause B.3: SNI and Host must agree."""
    browser = visit.browser("good")
    port = visit.running.ports.gateway
    cases = (
        (PUBLIC_HOST, f"{CERTIFICATE_HOST}:{port}"),
        (CERTIFICATE_HOST, f"{PUBLIC_HOST}:{port}"),
        (CERTIFICATE_HOST, "evil.example"),
    )
    for sni, host in cases:
        answer = _raw(browser, sni, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        visit.expect(f"SNI {sni}, Host {host.partition(':')[0]}", 421, answer)


def malformed_requests_are_refused(visit: Visit) -> None:
    """Clause B.3, a few of the many; the tests of ``wire`` have them all."""
    browser = visit.browser()
    host = f"Host: {PUBLIC_HOST}:{visit.running.ports.gateway}\r\n"
    cases = {
        "two lengths": f"POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "a length and chunks": f"POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        "a bare LF": f"GET / HTTP/1.1\n{host}\r\n",
        "a folded header": f"GET / HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n",
        "no Host": "GET / HTTP/1.1\r\n\r\n",
    }
    for name, request in cases.items():
        visit.expect(f"a request with {name}", 400, _raw(browser, PUBLIC_HOST, request.encode()))


def _raw(browser: Browser, sni: str, request: bytes) -> int:
    """The status that these very octets are answered with; 0: none."""
    connection = browser.connect(sni)
    connection.connect()
    try:
        connection.sock.sendall(request)
        head = connection.sock.recv(64)
    finally:
        connection.close()
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def everything_passes_both_ways(visit: Visit) -> None:
    """Clause B.1: a download, an upload, a WebSocket, a HEAD."""
    browser = visit.signed_in("good")
    octets = 32 * MEBIBYTE + 7
    connection = browser.connect(CERTIFICATE_HOST)
    try:
        answer = browser.exchange(connection, "GET", f"/statements/large?octets={octets}")
        expected = (bytes(range(256)) * (octets // 256 + 1))[:octets]
        visit.expect("a download of 32 MiB", _digest(expected), _digest(answer.body))
        answer = browser.exchange(connection, "HEAD", "/home")
        visit.expect("HEAD on the same connection", (200, 0), (answer.status, len(answer.body)))
        answer = browser.exchange(connection, "GET", "/home")
        visit.expect("and GET after it", 200, answer.status)
    finally:
        connection.close()
    file = bytes(range(251)) * (8 * MEBIBYTE // 251)
    visit.expect("an upload of 8 MiB", f"{len(file)} {_digest(file)}", _received(_upload(browser, file, chunked=False)))
    visit.expect("the same in chunks", f"{len(file)} {_digest(file)}", _received(_upload(browser, file, chunked=True)))
    socket = WebSocket(browser, CERTIFICATE_HOST, "/ws/rates")
    try:
        visit.expect("a WebSocket is opened", (101, True), (socket.status, socket.opened))
        socket.say("おはよう")
        visit.expect("and says back what it is told", "おはよう", socket.hear_until("おはよう"))
    finally:
        socket.close()
    stranger = WebSocket(visit.browser("good"), CERTIFICATE_HOST, "/ws/rates")
    stranger.close()
    visit.expect("a WebSocket without a session", 401, stranger.status)
    answer = visit.browser("good").get(CERTIFICATE_HOST, "/balance", headers={"Accept": "application/json"})
    visit.expect("a script's request without a session", 401, answer.status)


def _upload(browser: Browser, file: bytes, *, chunked: bool) -> Answer:
    boundary = "----demo"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="furikomi.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    connection = browser.connect(CERTIFICATE_HOST)
    try:
        connection.putrequest("POST", "/transfer")
        connection.putheader("User-Agent", BROWSER)
        connection.putheader("Cookie", browser.cookie_header(CERTIFICATE_HOST))
        connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
        pieces = [head, *(file[at : at + 50_000] for at in range(0, len(file), 50_000)), tail]
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(sum(map(len, pieces))))
        connection.endheaders(pieces, encode_chunked=chunked)
        return Answer(connection.getresponse(), browser.url(CERTIFICATE_HOST, "/transfer"))
    finally:
        connection.close()


def _received(answer: Answer) -> str:
    found = re.findall(r'<span id="(?:octets|sha256)">(\w+)</span>', answer.text)
    if len(found) != 2:
        return f"status {answer.status}"
    return f"{found[0]} {found[1][:16]}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
