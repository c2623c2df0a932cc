"""Bodies end where they say, and nothing is a chunk for us that is none for others."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtls_gateway.wire.body import BadBody, ChunkedBody, Decoder, FixedBody, NoBody, UntilClose


def feed(decoder: Decoder, data: bytes, cuts: list[int]) -> bytes:
    body, start = b"", 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        body += decoder.feed(data[start:cut])
        start = cut
    return body


def test_a_fixed_body_ends_after_its_length() -> None:
    body = FixedBody(5)
    assert (body.feed(b"hel"), body.done) == (b"hel", False)
    with pytest.raises(BadBody, match="truncated"):
        body.end()
    assert (body.feed(b"loGET /"), body.done, body.excess) == (b"lo", True, b"GET /")
    assert (body.feed(b"x"), body.excess) == (b"", b"GET /x")
    body.end()
    assert FixedBody(0).done


def test_no_body_is_whole_and_everything_is_excess() -> None:
    body = NoBody()
    assert body.done
    assert (body.feed(b"x"), body.excess) == (b"", b"x")
    body.end()


def test_a_body_until_close_ends_with_the_connection() -> None:
    body = UntilClose()
    assert (body.feed(b"x"), body.done) == (b"x", False)
    body.end()
    assert body.done


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n006\r\n world\r\n000\r\n\r\n", b"hello world"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"5;name=value\r\nhello\r\n0;last\r\n\r\n", b"hello"),
        (b'5;a="b c";d\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"0\r\nTrailer: dropped\r\nAnother: \xe9\r\n\r\n", b""),
    ],
)
def test_chunks_are_read_however_they_arrive(data: bytes, body: bytes) -> None:
    for step in (1, 2, 3, len(data)):
        chunked = ChunkedBody()
        got = b"".join(chunked.feed((data + b"GET /")[at : at + step]) for at in range(0, len(data) + 5, step))
        assert (got, chunked.done, chunked.excess) == (body, True, b"GET /")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"+5\r\nhello\r\n", "chunk_size"),
        (b"-5\r\nhello\r\n", "chunk_size"),
        (b"0x5\r\nhello\r\n", "chunk_size"),
        (b"5_0\r\n", "chunk_size"),
        (b" 5\r\nhello\r\n", "chunk_size"),
        (b"5 \r\nhello\r\n", "chunk_size"),
        (b"5\t;a\r\nhello\r\n", "chunk_size"),
        (b"\r\nhello\r\n", "chunk_size"),
        (b";a\r\n", "chunk_size"),
        (b"g\r\n", "chunk_size"),
        (b"\xef\xbc\x95\r\nhello\r\n", "chunk_size"),
        (b"00000000000000005\r\nhello\r\n", "chunk_size"),
        (b"5\nhello\r\n", "line_end"),
        (b"5\r\r\nhello\r\n", "line_end"),
        (b"5\rx\r\nhello\r\n", "line_end"),
        (b"\n", "line_end"),
        (b"5\r\nhello\n0\r\n\r\n", "chunk_end"),
        (b"5\r\nhello0\r\n\r\n", "chunk_end"),
        (b"5\r\nhello\rx", "chunk_end"),
        (b"5\r\nhello!\r\n", "chunk_end"),
        (b"5;" + b"a" * 300 + b"\r\n", "chunk_size"),
        (b"5;" + b"a" * 300, "chunk_size"),
        (b"5;a\x00b\r\nhello\r\n", "chunk_extension"),
        (b"5;\r\nhello\r\n", "chunk_extension"),
        (b'5;a="b\r\nhello\r\n', "chunk_extension"),
        (b"5;a=\r\nhello\r\n", "chunk_extension"),
        (b"0\r\nno colon\r\n\r\n", "trailers"),
        (b"0\r\n: no name\r\n\r\n", "trailers"),
        (b"0\r\nX : y\r\n\r\n", "trailers"),
        (b"0\r\n folded: y\r\n\r\n", "trailers"),
        (b"0\r\nX: \x00\r\n\r\n", "trailers"),
        (b"0\r\nX: y\n\r\n", "line_end"),
        (b"0\r\n\n", "line_end"),
        (b"0\r\n" + b"X: y\r\n" * 3_000, "trailers"),
        (b"0\r\nX: " + b"y" * 9_000, "trailers"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_broken_chunks_are_refused_however_they_arrive(data: bytes, reason: str) -> None:
    for step in (1, len(data)):
        chunked = ChunkedBody()
        with pytest.raises(BadBody, match=reason):
            for at in range(0, len(data), step):
                chunked.feed(data[at : at + step])
        assert not chunked.done


def test_chunks_that_stop_are_not_whole() -> None:
    data = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for octets in range(len(data)):
        chunked = ChunkedBody()
        chunked.feed(data[:octets])
        with pytest.raises(BadBody, match="truncated"):
            chunked.end()


class _Sink:
    def __init__(self) -> None:
        self.body = b""
        self.complete = 0

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def read_by_llhttp(data: bytes) -> tuple[bytes, bool] | None:
    """The body and whether it is whole; None: refused."""
    sink = _Sink()
    parser = httptools.HttpRequestParser(sink)
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        parser.feed_data(data)
    except httptools.HttpParserError:
        return None
    return sink.body, sink.complete == 1


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


PIECES = st.one_of(
    st.binary(min_size=1, max_size=20).map(chunk),
    st.sampled_from(
        [
            b"0\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"5",
            b"5\r\nhello\r\n",
            b";a=b",
            b";",
            b'="',
            b" ",
            b"\t",
            b"X: y\r\n",
            b"+",
            b"0x",
        ]
    ),
    st.binary(max_size=3),
)


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 200), max_size=4))
@example([b"5;a=b\r\nhello\r\n", b"0\r\n\r\n"], [1, 2, 3])
def test_what_is_whole_for_us_is_whole_for_llhttp_with_the_same_body(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    chunked = ChunkedBody()
    try:
        body = feed(chunked, data, [])
    except BadBody as whole:
        with pytest.raises(BadBody):
            feed(ChunkedBody(), data, cuts)
        assert whole.reason
        return
    split = ChunkedBody()
    assert (feed(split, data, cuts), split.done, split.excess) == (body, chunked.done, chunked.excess)
    if chunked.done:
        assert read_by_llhttp(data[: len(data) - len(chunked.excess)]) == (body, True)


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(0, 500), max_size=6))
def test_what_is_encoded_is_decoded(contents: list[bytes], cuts: list[int]) -> None:
    data = b"".join(chunk(content) for content in contents if content) + b"0\r\n\r\n"
    chunked = ChunkedBody()
    assert feed(chunked, data, cuts) == b"".join(contents)
    assert chunked.done
