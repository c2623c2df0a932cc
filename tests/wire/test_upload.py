"""A request's body is encoded anew and never longer than its route allows."""

from __future__ import annotations

import pytest

from mtls_gateway.wire.gate import RequestHead
from mtls_gateway.wire.refusal import Refusal
from mtls_gateway.wire.upload import Upload


def upload(length: int, limit: int = 100) -> Upload:
    head = RequestHead()
    head.length = length
    return Upload(head, limit)


def test_a_body_of_known_length_passes_as_it_is() -> None:
    body = upload(5)
    assert (body.feed(b"hel"), body.whole, body.take_excess()) == (b"hel", False, b"")
    assert (body.feed(b"loGET"), body.whole, body.octets) == (b"lo", True, 5)
    assert (body.take_excess(), body.take_excess()) == (b"GET", b"")


def test_chunks_are_counted_and_framed_anew() -> None:
    body = upload(-1)
    assert body.feed(b"2;a=b\r\nhe\r\n3\r\nllo\r\n") == b"5\r\nhello\r\n"
    assert body.feed(b"0\r\nX: y\r\n") == b""
    assert (body.feed(b"\r\nGET"), body.whole, body.octets, body.take_excess()) == (b"0\r\n\r\n", True, 5, b"GET")


def test_chunks_past_the_limit_are_413_and_none_of_them_passes() -> None:
    body = upload(-1, limit=4)
    assert body.feed(b"4\r\nfour\r\n") == b"4\r\nfour\r\n"
    with pytest.raises(Refusal, match="413 body_octets"):
        body.feed(b"1\r\n!\r\n")


def test_a_route_may_allow_less() -> None:
    with pytest.raises(Refusal, match="413 portal_body_octets"):
        upload(6).collect(5, "portal_body_octets")
    body = upload(-1)
    body.collect(5, "portal_body_octets")
    with pytest.raises(Refusal, match="413 portal_body_octets"):
        body.feed(b"6\r\nsix oc\r\n")


@pytest.mark.parametrize(
    ("length", "data", "collected"),
    [
        (5, b"helloGET", b"hello"),
        (-1, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nGET", b"5\r\nhello\r\n0\r\n\r\n"),
        (-1, b"0\r\n\r\nGET", b"0\r\n\r\n"),
    ],
)
def test_a_body_can_be_collected_before_any_of_it_passes(length: int, data: bytes, collected: bytes) -> None:
    body = upload(length)
    body.collect(5, "portal_body_octets")
    assert body.collects
    assert (body.feed(data), body.whole, body.take_excess()) == (b"", True, b"GET")
    assert body.body == (b"hello" if b"he" in data else b"")
    assert (body.take_collected(), body.take_collected(), body.collects) == (collected, b"", False)


def test_a_broken_chunk_is_400() -> None:
    with pytest.raises(Refusal, match="400 chunk_size"):
        upload(-1).feed(b"x\r\n")
