"""Nothing that two servers could read in two ways passes: the right 4xx, a closed connection, and a count by reason.

Source: RFC 9112, sections 2 to 7 and 11; clause B.3.
"""

from __future__ import annotations

import time

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Browser
from tests.promises.tls_line import Line, client_context
from tests.promises.whole_gateway import WholeGateway

REFUSED = "mtls_gateway_malformed_requests_total"
#: What would be smuggled: asked for alone, it answers 200.
PREY = b"GET /static/bank.css HTTP/1.1\r\nHost: %HOST%\r\n\r\n"

#: What is sent, and the status and reason that it meets. ``%HOST%`` stands for what Host must say.
MALFORMED: dict[str, tuple[bytes, int, str]] = {
    "two lengths": (b"POST / HTTP/1.1\r\n%H%Content-Length: 5\r\nContent-Length: 0\r\n\r\n", 400, "length_twice"),
    "two equal lengths": (b"POST / HTTP/1.1\r\n%H%Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400, "length_twice"),
    "a list of lengths": (b"POST / HTTP/1.1\r\n%H%Content-Length: 0, 0\r\n\r\n", 400, "length"),
    "a length with a sign": (b"POST / HTTP/1.1\r\n%H%Content-Length: +5\r\n\r\nhello", 400, "length"),
    "a negative length": (b"POST / HTTP/1.1\r\n%H%Content-Length: -1\r\n\r\n", 400, "length"),
    "a hexadecimal length": (b"POST / HTTP/1.1\r\n%H%Content-Length: 0x5\r\n\r\nhello", 400, "length"),
    "an empty length": (b"POST / HTTP/1.1\r\n%H%Content-Length:\r\n\r\n", 400, "length"),
    "a length beyond 64 bits": (b"POST / HTTP/1.1\r\n%H%Content-Length: 18446744073709551617\r\n\r\n", 400, "length"),
    "a length and chunks": (
        b"POST / HTTP/1.1\r\n%H%Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "length_and_encoding",
    ),
    "chunks and a length": (
        b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
        "length_and_encoding",
    ),
    "a GET with a length and chunks": (
        b"GET / HTTP/1.1\r\n%H%Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "length_and_encoding",
    ),
    "two encodings": (
        b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
        "",
    ),
    "an encoding nobody knows": (
        b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
        "encoding",
    ),
    "chunked, not last": (
        b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        0,
        "encoding",
    ),
    "gzip, chunked": (b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "encoding"),
    "chunked twice": (b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 0, "encoding"),
    "chunked in quotes": (b'POST / HTTP/1.1\r\n%H%Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 0, "encoding"),
    "chunked behind a vertical tab": (b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 0, ""),
    "chunked behind a letter with a tail": (
        b"POST / HTTP/1.1\r\n%H%Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
        400,
        "",
    ),
    "an encoding with a blank before the colon": (
        b"POST / HTTP/1.1\r\n%H%Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
        "",
    ),
    "chunks in HTTP/1.0": (
        b"POST / HTTP/1.0\r\n%H%Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "encoding_in_http_1_0",
    ),
    "a bare LF behind the request line": (b"GET / HTTP/1.1\n%H%\r\n", 400, "line_end"),
    "a bare LF behind a header": (b"GET / HTTP/1.1\r\n%H%X: a\nY: b\r\n\r\n", 400, "line_end"),
    "a bare LF for the empty line": (b"GET / HTTP/1.1\r\n%H%\n", 400, ""),
    "bare LFs only": (b"GET / HTTP/1.1\nHost: %HOST%\n\n", 400, "line_end"),
    "a bare CR in a header": (b"GET / HTTP/1.1\r\n%H%X: a\rY: b\r\n\r\n", 400, ""),
    "a folded header": (b"GET / HTTP/1.1\r\n%H%X: a\r\n b\r\n\r\n", 400, ""),
    "a header folded by a tab": (b"GET / HTTP/1.1\r\n%H%X: a\r\n\tb\r\n\r\n", 400, ""),
    "a folded length": (b"POST / HTTP/1.1\r\n%H%Content-Length:\r\n 5\r\n\r\nhello", 400, ""),
    "a first header that is folded": (b"GET / HTTP/1.1\r\n X: a\r\n%H%\r\n", 400, ""),
    "a NUL in a header": (b"GET / HTTP/1.1\r\n%H%X: a\x00b\r\n\r\n", 400, ""),
    "a NUL in a header's name": (b"GET / HTTP/1.1\r\n%H%X\x00: a\r\n\r\n", 400, ""),
    "a NUL in the target": (b"GET /\x00 HTTP/1.1\r\n%H%\r\n", 400, "target_octet"),
    "a header without a name": (b"GET / HTTP/1.1\r\n%H%: a\r\n\r\n", 400, ""),
    "a header without a colon": (b"GET / HTTP/1.1\r\n%H%X\r\n\r\n", 400, ""),
    "a blank before a colon": (b"GET / HTTP/1.1\r\n%H%X : a\r\n\r\n", 400, ""),
    "two hosts": (b"GET / HTTP/1.1\r\n%H%%H%\r\n", 400, "host_twice"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
    "two blanks in the request line": (b"GET  / HTTP/1.1\r\n%H%\r\n", 400, "request_line"),
    "no version, as in HTTP/0.9": (b"GET /\r\n%H%\r\n", 505, "version"),
    "a version that does not exist": (b"GET / HTTP/1.2\r\n%H%\r\n", 400, "version"),
    "a later version": (b"GET / HTTP/2.0\r\n%H%\r\n", 505, "version"),
    "HTTP/2 unasked": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, ""),
    "the absolute form": (b"GET https://%HOST%/ HTTP/1.1\r\n%H%\r\n", 400, "target_form"),
    "a tunnel": (b"CONNECT %HOST% HTTP/1.1\r\n%H%\r\n", 405, "method"),
    "a trace": (b"TRACE / HTTP/1.1\r\n%H%\r\n", 405, "method"),
    "a method nobody knows": (b"BREW / HTTP/1.1\r\n%H%\r\n", 501, "method"),
    "an expectation nobody can meet": (b"POST / HTTP/1.1\r\n%H%Expect: 200-maybe\r\n\r\n", 417, "expectation"),
    "a backslash in the target": (b"GET /a\\b HTTP/1.1\r\n%H%\r\n", 400, "target_octet"),
    "a fragment in the target": (b"GET /a#b HTTP/1.1\r\n%H%\r\n", 400, "target_octet"),
    "a raw letter beyond ASCII in the target": ("GET /銀行 HTTP/1.1\r\n%H%\r\n".encode(), 400, "target_octet"),
    "a head that is huge": (b"GET / HTTP/1.1\r\n%H%X: " + b"a" * 40_000 + b"\r\n\r\n", 431, "head_octets"),
    "a head without end": (b"GET / HTTP/1.1\r\n%H%X: " + b"a" * 40_000, 431, "head_octets"),
    "a request line without end": (b"GET /" + b"a" * 40_000, 431, "head_octets"),
    "a target that is huge": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n%H%\r\n", 414, "target_octets"),
    "too many headers": (b"GET / HTTP/1.1\r\n%H%" + b"X: a\r\n" * 120 + b"\r\n", 431, "header_count"),
    "a body that is too long": (b"POST / HTTP/1.1\r\n%H%Content-Length: 9999999999\r\n\r\n", 413, "body_octets"),
}

#: Bodies in chunks whose framing is broken, and the reason that they are refused for.
BROKEN_CHUNKS: dict[str, tuple[bytes, str]] = {
    "a size with 0x": (b"0x5\r\nhello\r\n0\r\n\r\n", "chunk_size"),
    "a size with a sign": (b"+5\r\nhello\r\n0\r\n\r\n", "chunk_size"),
    "a size with blanks": (b"5 \r\nhello\r\n0\r\n\r\n", "chunk_size"),
    "an empty size": (b"\r\nhello\r\n0\r\n\r\n", "chunk_size"),
    "a size beyond 64 bits": (b"10000000000000005\r\nhello\r\n0\r\n\r\n", "chunk_size"),
    "a size line that ends in LF": (b"5\nhello\r\n0\r\n\r\n", "line_end"),
    "a chunk that ends in LF": (b"5\r\nhello\n0\r\n\r\n", "chunk_end"),
    "a chunk longer than its size": (b"5\r\nhello, world\r\n0\r\n\r\n", "chunk_end"),
    "an extension with a bare LF": (b"5;a\nb\r\nhello\r\n0\r\n\r\n", "line_end"),
    "an extension with a NUL": (b"5;a=\x00\r\nhello\r\n0\r\n\r\n", "chunk_extension"),
    "an extension without end": (b"5;" + b"a" * 1_000, "chunk_size"),
    "a trailer that is folded": (b"0\r\nX: a\r\n b\r\n\r\n", "trailers"),
    "a trailer that ends in LF": (b"0\r\nX: a\n\r\n", "line_end"),
    "trailers without end": (b"0\r\nX: " + b"a" * 20_000, "trailers"),
}


@pytest.fixture(scope="module")
def signed_in(gateway: WholeGateway) -> Browser:
    return gateway.signed_in(gateway.newcomer())


def octets_of(gateway: WholeGateway, request: bytes, name: str = PUBLIC_HOST) -> bytes:
    host = f"{name}:{gateway.port}".encode()
    return request.replace(b"%H%", b"Host: %HOST%\r\n").replace(b"%HOST%", host)


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_refused_counted_and_closed(gateway: WholeGateway, case: str) -> None:
    request, status, reason = MALFORMED[case]
    labels = {"reason": reason} if reason else {}
    before = gateway.metric(REFUSED, **labels)
    with Line(gateway, PUBLIC_HOST, client_context(gateway)) as line:
        # With something behind it, in the same write: it must never be answered.
        line.send(octets_of(gateway, request + PREY))
        answer = line.answer()
        assert answer.status == status or (status == 0 and answer.status in (400, 501, 505))
        assert answer.headers["Connection"] == "close"
        assert b"body{" not in line._octets.read(), "what was behind it was answered"
    # Counted when it is refused, not once a second: there is nothing to wait for.
    assert gateway.metric(REFUSED, **labels) == before + 1


def test_what_would_be_smuggled_is_answered_when_it_is_asked_for(gateway: WholeGateway) -> None:
    """Or else the tests above would say nothing."""
    with Line(gateway, PUBLIC_HOST, client_context(gateway)) as line:
        line.send(octets_of(gateway, PREY + PREY))
        assert [b"body{" in line.answer().body for _ in range(2)] == [True, True]


@pytest.mark.parametrize("case", BROKEN_CHUNKS)
def test_broken_chunks_end_the_request_and_reach_nobody(gateway: WholeGateway, signed_in: Browser, case: str) -> None:
    body, reason = BROKEN_CHUNKS[case]
    before = gateway.metric(REFUSED, reason=reason)
    fields = (
        f"Cookie: {signed_in.cookie_header(CERTIFICATE_HOST)}\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    head = octets_of(gateway, b"POST /transfer HTTP/1.1\r\n%H%" + fields.encode(), CERTIFICATE_HOST)
    with Line(gateway, CERTIFICATE_HOST, signed_in.context) as line:
        line.send(head + body + octets_of(gateway, PREY, CERTIFICATE_HOST))
        answer = line.answer()
        assert answer.status == 400
        assert answer.headers["Connection"] == "close"
        assert b"body{" not in line._octets.read()
    assert gateway.metric(REFUSED, reason=reason) == before + 1


def test_chunks_with_an_extension_pass_and_the_extension_does_not(gateway: WholeGateway, signed_in: Browser) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhello\r\n--b--\r\n'
    body = b"%x;name=value\r\n%b\r\n0;last\r\nX-Trailer: a\r\n\r\n" % (len(part), part)
    headers = {
        "Cookie": signed_in.cookie_header(CERTIFICATE_HOST),
        "Transfer-Encoding": "chunked",
        "Content-Type": "multipart/form-data; boundary=b",
    }
    with Line(gateway, CERTIFICATE_HOST, signed_in.context) as line:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        line.send(octets_of(gateway, f"POST /transfer HTTP/1.1\r\n%H%{head}\r\n".encode() + body, CERTIFICATE_HOST))
        assert '<span id="octets">5</span>' in line.answer().text
        assert line.as_browser(signed_in, CERTIFICATE_HOST).status == 200


@pytest.mark.parametrize("beginning", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: bank"])
def test_a_head_that_does_not_come_to_its_end_is_waited_for_only_so_long(
    gateway: WholeGateway, beginning: bytes
) -> None:
    before = gateway.metric("mtls_gateway_timeouts_total", timeout="head")
    with Line(gateway, PUBLIC_HOST, client_context(gateway)) as line:
        began = time.monotonic()
        line.send(beginning)
        if beginning:
            assert line.answer().status == 408
        assert line.is_closed()
        assert 1.5 < time.monotonic() - began < 5.0
    assert gateway.metric("mtls_gateway_timeouts_total", timeout="head") == before + 1


def test_a_head_that_comes_octet_by_octet_gains_no_time_by_it(gateway: WholeGateway) -> None:
    with Line(gateway, PUBLIC_HOST, client_context(gateway)) as line:
        began = time.monotonic()
        line.socket.settimeout(0.1)
        status = b""
        while not status and time.monotonic() - began < 10:
            line.send(b"a")
            try:
                status = line.socket.recv(12)
            except TimeoutError:
                continue
        assert status == b"HTTP/1.1 408"
        assert time.monotonic() - began < 5.0
