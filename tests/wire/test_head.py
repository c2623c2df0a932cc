"""Heads: what is refused, with which status and reason, and what the others say (clause B.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.config import Limits
from mtls_gateway.wire.gate import RequestHead
from mtls_gateway.wire.head import HeadReader
from mtls_gateway.wire.refusal import REASONS, Refusal

AUTHORITY = b"bank.localhost:8443"
LIMITS = Limits(header_count=20, target_octets=200, body_octets=10_000)


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: bank.localhost:8443") -> bytes:
    return b"\r\n".join([first, *([] if host is None else [host]), *lines, b"", b""])


def read(octets: bytes) -> RequestHead:
    return HeadReader(LIMITS).read(octets, AUTHORITY)


def post(*lines: bytes) -> bytes:
    return head(*lines, first=b"POST / HTTP/1.1")


REFUSED = [
    # Where does the body end?
    (post(b"Content-Length: 5", b"Content-Length: 5"), 400, "length_twice"),
    (post(b"Content-Length: 5", b"Content-Length: 6"), 400, "length_twice"),
    (post(b"Content-Length: 5, 5"), 400, "length"),
    (post(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400, "length_and_encoding"),
    (post(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400, "length_and_encoding"),
    (post(b"Content-Length: "), 400, "length"),
    (post(b"Content-Length: +5"), 400, "length"),
    (post(b"Content-Length: -5"), 400, "length"),
    (post(b"Content-Length: 0x5"), 400, "length"),
    (post(b"Content-Length: 5_0"), 400, "length"),
    (post(b"Content-Length: 5 0"), 400, "length"),
    (post(b"Content-Length: 99999999999999999999999"), 400, "length"),
    (post(b"Content-Length: 10001"), 413, "body_octets"),
    (post(b"Transfer-Encoding: xchunked"), None, None),
    (post(b"Transfer-Encoding: chunked, identity"), None, None),
    (post(b"Transfer-Encoding: identity, chunked"), 501, "encoding"),
    (post(b"Transfer-Encoding: gzip, chunked"), 501, "encoding"),
    (post(b"Transfer-Encoding: chunked;q=1"), None, None),
    (post(b"Transfer-Encoding: chunked\t"), None, None),
    (post(b"Transfer-Encoding:\x0bchunked"), 400, "header_value"),
    (post(b"Transfer-Encoding: chunked\x0b"), 400, "header_value"),
    (post(b'Transfer-Encoding: "chunked"'), None, None),
    (post(b"Transfer-Encoding: identity"), None, None),
    (post(b"Transfer-Encoding: "), None, None),
    (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), None, None),
    (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), None, None),
    (post(b"Transfer-Encoding : chunked"), 400, None),
    (head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"), 400, "encoding_in_http_1_0"),
    # Where does a line end?
    (b"GET / HTTP/1.1\nHost: bank.localhost:8443\r\n\r\n", 400, None),
    (b"GET / HTTP/1.1\r\nHost: bank.localhost:8443\nX: y\r\n\r\n", 400, None),
    (b"GET / HTTP/1.1\r\nHost: bank.localhost:8443\rX: y\r\n\r\n", 400, None),
    (head(b"X: a\rb"), 400, None),
    (head(b"X: a", b" folded"), 400, None),
    (head(b"X: a", b"\tfolded"), 400, None),
    (head(b" X: first line is no continuation", host=None), 400, None),
    (b"\r\n" + head(), 400, "request_line"),
    (b"\r\n\r\n", 400, "request_line"),
    # Names and values.
    (head(b"X : y"), 400, "header_name"),
    (head(b"X\x00: y"), 400, "header_name"),
    (head(b"X: y\x00z"), 400, "header_value"),
    (head(b"X: y\x01z"), 400, "header_value"),
    (head(b"X: y\x7fz"), 400, "header_value"),
    (head(b": y"), 400, None),
    (head(b"no colon"), 400, "header_name"),
    (head("Ä: y".encode()), 400, "header_name"),
    (head(b"X(Y): y"), 400, "header_name"),
    (head(*[b"X-%d: y" % number for number in range(20)]), 431, "header_count"),
    # Host.
    (head(host=None), 400, "host_missing"),
    (head(first=b"GET / HTTP/1.0", host=None), 400, "host_missing"),
    (head(b"Host: bank.localhost:8443"), 400, "host_twice"),
    (head(host=b"Host: bank.localhost:8443, elsewhere"), 421, "host_is_not_the_sites"),
    (head(host=b"Host: "), 421, "host_is_not_the_sites"),
    (head(host=b"Host: bank.localhost"), 421, "host_is_not_the_sites"),
    (head(host=b"Host: bank.localhost:443"), 421, "host_is_not_the_sites"),
    (head(host=b"Host: bank.localhost.:8443"), 421, "host_is_not_the_sites"),
    (head(host=b"Host: user@bank.localhost:8443"), 421, "host_is_not_the_sites"),
    (head(host=b"Host: cert.bank.localhost:8443"), 421, "host_is_not_the_sites"),
    # The request line.
    (head(first=b"GET https://bank.localhost:8443/ HTTP/1.1"), 400, "target_form"),
    (head(first=b"OPTIONS * HTTP/1.1"), 400, "target_form"),
    (head(first=b"CONNECT bank.localhost:443 HTTP/1.1"), 405, "method"),
    (head(first=b"GET bank.localhost HTTP/1.1"), 400, None),
    (head(first=b"TRACE / HTTP/1.1"), 405, "method"),
    (head(first=b"get / HTTP/1.1"), 501, "method"),
    (head(first=b"PROPFIND / HTTP/1.1"), 501, "method"),
    (head(first=b"BREW / HTTP/1.1"), 501, "method"),
    (head(first=b"\x16\x03\x01 / HTTP/1.1"), 400, None),
    (head(first=b"GET /"), 505, "version"),
    (head(first=b"GET"), 400, None),
    (head(first=b"GET  / HTTP/1.1"), 400, None),
    (head(first=b"GET /  HTTP/1.1"), 400, None),
    (head(first=b"GET\t/ HTTP/1.1"), 400, None),
    (head(first=b"GET / HTTP/1.1 "), 400, None),
    (head(first=b"GET / http/1.1"), 400, None),
    (head(first=b"GET / HTTP/1.2"), None, "version"),
    (head(first=b"GET / HTTP/2.0"), None, "version"),
    (head(first=b"GET / HTTP/0.9"), None, "version"),
    (head(first=b"GET / HTTP/11"), 400, None),
    (head(first=b"PRI * HTTP/2.0"), None, None),
    (head(first=b"GET /a b HTTP/1.1"), 400, None),
    (head(first="GET /ä HTTP/1.1".encode()), 400, "target_octet"),
    (head(first=b"GET /#a HTTP/1.1"), 400, "target_octet"),
    (head(first=b"GET /\\a HTTP/1.1"), 400, "target_octet"),
    (head(first=b"GET /a\x00 HTTP/1.1"), 400, "target_octet"),
    (head(first=b"GET /|a HTTP/1.1"), 400, "target_octet"),
    (head(first=b"GET /?\\a HTTP/1.1"), 400, "target_octet"),
    (head(first=b"GET /?a#b HTTP/1.1"), 400, "target_octet"),
    (head(first=b"GET /%b HTTP/1.1" % (b"x" * 200)), 414, "target_octets"),
    # And others.
    (head(b"Expect: 200-ok"), 417, "expectation"),
    (head(b"Origin: https://a", b"Origin: https://b"), 400, "origin_twice"),
]


@pytest.mark.parametrize(("octets", "status", "reason"), REFUSED, ids=lambda value: repr(value)[:60])
def test_ambiguous_and_malformed_heads_are_refused(octets: bytes, status: int | None, reason: str | None) -> None:
    with pytest.raises(Refusal) as refused:
        read(octets)
    assert refused.value.status in REASONS
    assert refused.value.status == (status or refused.value.status)
    assert refused.value.reason == (reason or refused.value.reason)


@pytest.mark.parametrize("octets", [octets for octets, _, _ in REFUSED], ids=lambda value: repr(value)[:60])
def test_a_refused_head_leaves_nothing_for_the_next_clients(octets: bytes) -> None:
    reader = HeadReader(LIMITS)
    for _ in range(2):
        with pytest.raises(Refusal):
            reader.read(octets, AUTHORITY)
        good = reader.read(head(b"X-A: b", first=b"GET /good HTTP/1.1"), AUTHORITY)
        assert (good.target, good.headers, good.length) == (b"/good", [(b"X-A", b"b")], 0)


@pytest.mark.parametrize(
    "octets",
    [
        head(b"Connection: close"),
        head(b"Connection: Close "),
        head(b"Connection: close, keep-alive"),
        head(b"Connection: keep-alive", b"Connection: close"),
        head(first=b"GET / HTTP/1.0"),
        head(b"Connection: keep-alive", first=b"GET / HTTP/1.0"),
        head(b"Connection: Upgrade", b"Upgrade: h2c"),
        head(b"Connection: Upgrade", b"Upgrade: websocket"),
        head(b"Upgrade: websocket"),
        head(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", first=b"GET / HTTP/1.0"),
        post(b"Content-Length: 10"),
        post(b"Content-Length: 0"),
        post(b"Transfer-Encoding: chunked"),
        post(b"Transfer-Encoding: Chunked"),
        head(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 4"),
        head(b"Expect: 100-continue", b"Content-Length: 4"),
    ],
    ids=lambda value: repr(value)[:80],
)
def test_what_one_client_sends_never_changes_how_the_next_is_read(octets: bytes) -> None:
    reader = HeadReader(LIMITS)
    for _ in range(2):
        reader.read(octets, AUTHORITY)
        good = reader.read(head(b"X-A: b", first=b"GET /good HTTP/1.1"), AUTHORITY)
        assert (good.target, good.headers, good.length) == (b"/good", [(b"X-A", b"b")], 0)
        assert good.keep_alive


def test_a_whole_head_is_read_as_it_is_written() -> None:
    got = read(
        head(
            b"User-Agent: Mozilla/5.0",
            b"Accept: text/html,*/*;q=0.8",
            b"Accept-Language: ja",
            b"Cookie: a=1; b=2",
            b"Cookie: c=3",
            b"Origin: https://bank.localhost:8443",
            b"Referer: https://bank.localhost:8443/x",
            b"X-User-ID: evil",
            b"x_user_id: evil",
            b"X-Forwarded-For: 10.0.0.1",
            b"Connection: keep-alive",
            first=b'GET /path;a=%20?q={"a|b"} HTTP/1.1',
        )
    )
    assert (got.method, got.target) == (b"GET", b'/path;a=%20?q={"a|b"}')
    assert got.headers == [
        (b"User-Agent", b"Mozilla/5.0"),
        (b"Accept", b"text/html,*/*;q=0.8"),
        (b"Accept-Language", b"ja"),
    ]
    assert got.cookies == b"a=1; b=2; c=3"
    assert (got.user_agent, got.wants_html) == (b"Mozilla/5.0", True)
    assert (got.origin, got.referer) == (b"https://bank.localhost:8443", b"https://bank.localhost:8443/x")
    assert (got.length, got.upgrade, got.expects_continue, got.keep_alive) == (0, b"", False, True)


def test_host_may_be_written_in_capitals() -> None:
    assert read(head(host=b"HOST: Bank.LocalHost:8443")).target == b"/"


@pytest.mark.parametrize(
    ("lines", "first", "keeps"),
    [
        ((), b"GET / HTTP/1.1", True),
        ((b"Connection: close",), b"GET / HTTP/1.1", False),
        ((b"Connection: CLOSE",), b"GET / HTTP/1.1", False),
        ((b"Connection: keep-alive, close",), b"GET / HTTP/1.1", False),
        ((), b"GET / HTTP/1.0", False),
        ((b"Connection: keep-alive",), b"GET / HTTP/1.0", True),
        ((b"Connection: Keep-Alive",), b"GET / HTTP/1.0", True),
    ],
)
def test_whether_the_connection_stays(lines: tuple[bytes, ...], first: bytes, keeps: bool) -> None:
    assert read(head(*lines, first=first)).keep_alive is keeps


def test_what_connection_names_goes_no_further() -> None:
    got = read(head(b"Connection: X-Hop, keep-alive", b"X-Hop: 1", b"x-hop: 2", b"X-Other: 3"))
    assert got.headers == [(b"X-Other", b"3")]


def test_websocket_headers_pass_only_with_an_upgrade_that_passes() -> None:
    lines = (b"Sec-WebSocket-Key: k", b"Upgrade: WebSocket")
    upgraded = read(head(*lines, b"Connection: keep-alive, Upgrade"))
    assert (upgraded.upgrade, upgraded.headers) == (b"websocket", [(b"Sec-WebSocket-Key", b"k")])
    for plain in (head(*lines), head(*lines, b"Connection: keep-alive"), post(*lines, b"Connection: Upgrade")):
        assert (read(plain).upgrade, read(plain).headers) == (b"", [])


NAMES = st.sampled_from(
    ["X-A", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Cookie", "x_a"]
)
VALUES = st.one_of(
    st.sampled_from(["chunked", "5", "close", "keep-alive", "bank.localhost:8443", "websocket", "upgrade", ""]),
    st.text(max_size=8),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from(["GET", "POST"]), st.sampled_from("01"))
def test_any_head_is_read_or_refused_and_what_is_read_is_unambiguous(
    fields: list[tuple[str, str]], method: str, minor: str
) -> None:
    lines = [f"{name}: {value}".encode() for name, value in fields]
    octets = head(*lines, first=f"{method} / HTTP/1.{minor}".encode())
    try:
        got = read(octets)
    except Refusal as refusal:
        assert refusal.status in REASONS
        return
    for name, value in got.headers:
        assert name in (b"X-A",)
        assert not {0, 10, 13} & set(value)
    assert got.length == 0 or sum(name in ("Content-Length", "Transfer-Encoding") for name, _ in fields) == 1


# --- what is remembered -----------------------------------------------------------------------------

BLOCKS = st.lists(
    st.sampled_from(
        [
            b"Accept: text/html", b"Accept: */*", b"User-Agent: a", b"Cookie: s=1", b"Cookie: s=2", b"X-A: b",
            b"X-User-ID: evil", b"Referer: https://bank.localhost:8443/x", b"Origin: null", b"Connection: keep-alive",
            b"Connection: close", b"Connection: X-A", b"Upgrade: websocket", b"Connection: upgrade",
            b"Content-Length: 0", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Expect: 100-continue",
            b"Host: elsewhere", b"X-A : b", b" folded", b"Sec-WebSocket-Key: k", b"X-A: b\nX-User-ID: evil",
            b"x\x00: y",
        ]
    ),
    max_size=4,
)  # fmt: skip
FIRST_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1", b"GET /other?a=b HTTP/1.1", b"HEAD / HTTP/1.1", b"POST / HTTP/1.1", b"GET / HTTP/1.0",
        b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET /\\ HTTP/1.1", b"TRACE / HTTP/1.1", b"GET / HTTP/1.2",
        b"GET / HTTP/1.1\nX-User-ID: evil", b"get / HTTP/1.1", b"GET http://bank.localhost:8443/ HTTP/1.1", b"GET / ",
    ]
)  # fmt: skip


def reading(reader: HeadReader, octets: bytes, authority: bytes) -> object:
    """All that was read, or the refusal."""
    try:
        got = reader.read(octets, authority)
    except Refusal as refusal:
        return refusal.status, refusal.reason
    written = got.written
    assert written is None or written == b"".join(b"%b: %b\r\n" % pair for pair in got.headers)
    return [(name, getattr(got, name, None)) for name in RequestHead.__annotations__ if name != "written"]


@given(st.lists(st.tuples(FIRST_LINES, BLOCKS, st.booleans()), min_size=2, max_size=12))
def test_what_is_remembered_is_read_as_llhttp_reads_it(heads: list[tuple[bytes, list[bytes], bool]]) -> None:
    """A reader that has read other heads, and the same ones, says of each what a new one says: llhttp is the oracle."""
    experienced = HeadReader(LIMITS)
    for _ in range(2):
        for first, block, at_home in heads:
            octets = head(*block, first=first)
            authority = AUTHORITY if at_home else b"cert.bank.localhost:8443"
            assert reading(experienced, octets, authority) == reading(HeadReader(LIMITS), octets, authority)


@given(st.lists(st.tuples(FIRST_LINES, BLOCKS), min_size=2, max_size=6))
def test_a_head_that_is_known_at_a_glance_is_one_head_and_all_that_has_come(
    heads: list[tuple[bytes, list[bytes]]],
) -> None:
    """The frontend does not look for the end of what is known: nothing may be behind it, and nothing missing."""
    experienced = HeadReader(LIMITS)
    sent = [head(*block, first=first) for first, block in heads]
    for octets in sent:
        reading(experienced, octets, AUTHORITY)
    for octets in sent:
        for more in (*sent, b"G", b"\r\n", b"\r", sent[0][:-2]):
            assert experienced.read_again(octets + more, AUTHORITY) is None
        for cut in (1, 2, 3, 4, 5, len(octets)):
            assert experienced.read_again(octets[:-cut], AUTHORITY) is None


def test_a_known_head_is_held_against_the_limit_as_any_other() -> None:
    reader = HeadReader(LIMITS.model_copy(update={"head_octets": 200}))
    for target, known in ((b"/" * 20, True), (b"/" * 170, False)):
        octets = head(b"X-A: b", first=b"GET " + target + b" HTTP/1.1")
        reader.read(octets, AUTHORITY)
        assert (len(octets) <= 200) is known
        assert (reader.read_again(octets, AUTHORITY) is not None) is known


def test_heads_are_remembered_and_only_so_many() -> None:
    reader = HeadReader(LIMITS)
    octets = head(b"X-A: b")
    first, second = (reader.read(octets, AUTHORITY) for _ in range(2))
    assert second.headers is first.headers
    second.keep_alive = False
    assert reader.read(octets, AUTHORITY).keep_alive
    for number in range(600):
        reader.read(head(b"X-A: %d" % number), AUTHORITY)
    assert len(reader._blocks) <= 512
    reader.read(head(b"X-A: " + b"b" * 4_000), AUTHORITY)
    assert max(len(block) for block in reader._blocks) <= 2_048
