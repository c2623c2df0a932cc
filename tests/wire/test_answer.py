"""Answer heads: what is taken from a backend, and how the body ends (RFC 9112, section 6.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.wire.answer import AnswerHead, AnswerReader, BadAnswer, body_of
from mtls_gateway.wire.body import ChunkedBody, FixedBody, NoBody, UntilClose


def read(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> AnswerHead:
    return AnswerReader().read(b"\r\n".join([first, *lines, b"", b""]))


def test_a_whole_head_is_sorted() -> None:
    head = read(
        b"Content-Type: text/html",
        b"Content-Length: 5",
        b"Set-Cookie: a=1",
        b"set-cookie: b=2",
        b"Location: /x",
        b"Refresh: 0; url=/y",
        b"Connection: keep-alive, X-Hop",
        b"Keep-Alive: timeout=5",
        b"X-Hop: 1",
        b'Alt-Svc: h3=":443"',
        b"Gateway-Context: forged",
        b"Gateway-Connection: close",
        first=b"HTTP/1.1 404 Nothing here",
    )
    assert (head.status, head.phrase, head.length) == (404, b"Nothing here", 5)
    assert head.fields == [(b"Content-Type", b"text/html")]
    assert head.cookies == [b"a=1", b"b=2"]
    assert head.location == [(b"Location", b"/x"), (b"Refresh", b"0; url=/y")]
    assert (head.keep_alive, head.portal_close) == (True, True)


@pytest.mark.parametrize(
    ("first", "lines", "keeps"),
    [
        (b"HTTP/1.1 200 OK", (), True),
        (b"HTTP/1.1 200 OK", (b"Connection: close",), False),
        (b"HTTP/1.1 200 OK", (b"Connection: Close, keep-alive",), False),
        (b"HTTP/1.1 200 OK", (b"Connection: x", b"Connection: close"), False),
        (b"HTTP/1.0 200 OK", (), False),
        (b"HTTP/1.0 200 OK", (b"Connection: Keep-Alive", b"Content-Length: 0"), True),
        (b"HTTP/1.0 200 OK", (b"Connection: keep-alive", b"Transfer-Encoding: chunked"), False),
    ],
)
def test_whether_the_connection_stays(first: bytes, lines: tuple[bytes, ...], keeps: bool) -> None:
    assert read(*lines, first=first).keep_alive is keeps


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        (b"HTTP/1.1 200 OK", (b"Content-Length: 5", b"Content-Length: 5")),
        (b"HTTP/1.1 200 OK", (b"Content-Length: 5", b"Transfer-Encoding: chunked")),
        (b"HTTP/1.1 200 OK", (b"Transfer-Encoding: chunked", b"Content-Length: 5")),
        (b"HTTP/1.1 200 OK", (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
        (b"HTTP/1.1 200 OK", (b"Transfer-Encoding: gzip",)),
        (b"HTTP/1.1 200 OK", (b"Content-Length: -1",)),
        (b"HTTP/1.1 200 OK", (b"Content-Length: ",)),
        (b"HTTP/1.1 200 OK", (b"Content-Length: 99999999999999999999999",)),
        (b"HTTP/1.1 200 OK", (b"X: a", b" folded")),
        (b"HTTP/1.1 200 OK", (b"X : a",)),
        (b"HTTP/1.1 200 OK", (b"X: a\x00b",)),
        (b"HTTP/1.1 200 OK", (b"X: a\nY: b",)),
        (b"HTTP/1.1 200 OK", (b"X: a\rY: b",)),
        (b"HTTP/1.1 200 OK", (b"no colon",)),
        (b"HTTP/1.1 20 OK", ()),
        (b"HTTP/1.1 2000 OK", ()),
        (b"HTTP/2.0 200 OK", ()),
        (b"HTTP/0.9 200 OK", ()),
        (b"ICY 200 OK", ()),
        (b"GET / HTTP/1.1", ()),
        (b"HTTP/1.1 101 Switching Protocols", (b"Connection: Upgrade", b"Upgrade: h2c")),
        (b"HTTP/1.1 101 Switching Protocols", ()),
    ],
)
def test_what_is_no_answer_is_refused_and_the_next_is_read(first: bytes, lines: tuple[bytes, ...]) -> None:
    reader = AnswerReader()
    with pytest.raises(BadAnswer):
        reader.read(b"\r\n".join([first, *lines, b"", b""]))
    assert reader.read(b"HTTP/1.1 204 No Content\r\n\r\n").fields == []


@pytest.mark.parametrize(
    ("status", "method", "line", "kind"),
    [
        (200, b"GET", b"Content-Length: 5", FixedBody),
        (200, b"GET", b"Transfer-Encoding: Chunked", ChunkedBody),
        (200, b"GET", b"X: y", UntilClose),
        (200, b"HEAD", b"Content-Length: 5", NoBody),
        (200, b"HEAD", b"X: y", NoBody),
        (204, b"GET", b"X: y", NoBody),
        (304, b"GET", b"Content-Length: 5", NoBody),
        (304, b"POST", b"Transfer-Encoding: chunked", NoBody),
    ],
)
def test_where_a_body_ends(status: int, method: bytes, line: bytes, kind: type) -> None:
    head = read(line, first=b"HTTP/1.1 %d X" % status)
    assert isinstance(body_of(head, method), kind)
    assert head.keep_alive is (kind is not UntilClose)


# --- what is remembered -----------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [
            b"Content-Type: text/html", b"content-type: text/html", b"Content-Length: 5", b"Content-Length: 7",
            b"Content-Length: +5", b"Content-Length: 5 ", b"Content-Length:5", b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip", b"Connection: keep-alive", b"Connection: close", b"Connection: X-A", b"X-A: b",
            b"X-A:  b", b" folded", b"Keep-Alive: timeout=5", b"Set-Cookie: a=b", b"Location: /x", b"Refresh: 1; url=/",
            b"Gateway-Connection: close", b"Upgrade: websocket", b"X-A : b", b"X-A: b\nX-B: c", b"x\x00: y",
        ]
    ),
    max_size=5,
)  # fmt: skip
STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.1 404 Not Found", b"HTTP/1.0 200 OK",
        b"HTTP/1.1 101 X", b"HTTP/1.1 204 No Content", b"HTTP/1.1 100 Continue", b"HTTP/1.2 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200 OK\nX-A: b", b"HTTP/1.1 20 OK", b"ICY 200 OK",
    ]
)  # fmt: skip


def reading(reader: AnswerReader, octets: bytes) -> object:
    """All that was read, or why not."""
    try:
        got = reader.read(octets)
    except BadAnswer as error:
        return error.reason
    assert got.written is None or got.written == b"".join(b"%b: %b\r\n" % pair for pair in got.fields)
    return [(name, getattr(got, name)) for name in AnswerHead.__annotations__ if name != "written"]


@given(st.lists(st.tuples(STATUS_LINES, LINES), min_size=2, max_size=12))
def test_what_is_remembered_is_read_as_llhttp_reads_it(heads: list[tuple[bytes, list[bytes]]]) -> None:
    """A reader that has read other heads, and the same ones, says of each what a new one says: llhttp is the oracle."""
    experienced = AnswerReader()
    for _ in range(2):
        for first, lines in heads:
            octets = b"\r\n".join([first, *lines, b"", b""])
            assert reading(experienced, octets) == reading(AnswerReader(), octets)


def test_lines_are_remembered_and_only_so_many() -> None:
    reader = AnswerReader()
    octets = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\n"
    assert reader.read(octets).written is None
    assert reader.read(octets).written == b"X-A: b\r\n"
    for number in range(5_000):
        reader.read(b"HTTP/1.1 200 OK\r\nX-A: %d\r\n\r\n" % number)
    assert len(reader._lines) <= 4_097
    before = len(reader._lines)
    reader.read(b"HTTP/1.1 200 OK\r\nX-A: %b\r\n\r\n" % (b"b" * 5_000))
    assert len(reader._lines) == before
