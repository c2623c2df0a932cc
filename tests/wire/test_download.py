"""An answer is framed for its client, whatever the backend's framing was, and only what is whole is ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtls_gateway.config import Host, Seen
from mtls_gateway.wire.answer import AnswerReader, BadAnswer
from mtls_gateway.wire.body import BadBody
from mtls_gateway.wire.download import Download
from mtls_gateway.wire.gate import RequestHead
from mtls_gateway.wire.rewrite import Face
from tests.wire.scripted import SEAL

SITE = Host(name="bank.example", listen=("127.0.0.1:443",), certificate=Path("c"), key=Path("k"))
FACE = Face(SITE, Seen(), "http://127.0.0.1:1")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def download(method: bytes = b"GET", upgrade: bytes = b"", http_1_0: bool = False) -> Download:
    request = RequestHead()
    request.method, request.upgrade, request.http_1_0, request.keep_alive = method, upgrade, http_1_0, True
    return Download(request, AnswerReader(200), FACE, SEAL)


def test_a_head_is_taken_however_it_arrives_and_what_follows_is_given_back() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    octets = interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    for step in (1, 7, 1_000):
        answer = download()
        assert not answer.has_begun
        rest = None
        for at in range(0, len(octets), step):
            assert rest is None
            rest = answer.read_head(octets[at : at + step])
            assert answer.has_begun
        assert rest == b""
        assert answer.answer is not None
        assert answer.answer.status == 200
    assert download().read_head(octets + b"ok") == b"ok"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300, "head_octets"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300 + b"\r\n\r\n", "head_octets"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "interim_answers"),
        (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "upgrade"),
    ],
)
def test_heads_that_cannot_be_believed_are_refused(octets: bytes, reason: str) -> None:
    with pytest.raises(BadAnswer, match=reason):
        download().read_head(octets)


def test_chunks_are_framed_anew_and_what_comes_after_them_is_excess() -> None:
    answer = download()
    rest = answer.read_head(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
    assert rest is not None
    assert b"Transfer-Encoding: chunked\r\n" in answer.head_for_client(stays_open=True)
    assert answer.feed(rest) == b"2\r\nab\r\n"
    assert (answer.done, answer.has_excess) == (False, False)
    with pytest.raises(BadBody):
        answer.end()
    assert answer.feed(b"0\r\n\r\nmore") == b"0\r\n\r\n"
    assert (answer.done, answer.has_excess) == (True, True)


def test_what_ends_with_the_connection_is_chunked_for_1_1_and_closes_for_1_0() -> None:
    for old in (False, True):
        answer = download(http_1_0=old)
        answer.read_head(b"HTTP/1.1 200 OK\r\n\r\n")
        head = answer.head_for_client(stays_open=True)
        assert (b"Connection: close\r\n" in head, b"chunked" in head) == (old, not old)
        assert answer.feed(b"all") == (b"all" if old else b"3\r\nall\r\n")
        assert answer.end() == (b"" if old else b"0\r\n\r\n")
        assert answer.done


def test_a_head_answer_has_its_length_and_no_body() -> None:
    answer = download(b"HEAD")
    answer.read_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert b"Content-Length: 5\r\n" in answer.head_for_client(stays_open=True)
    assert answer.done
    answer.feed(b"hello")
    assert answer.has_excess
