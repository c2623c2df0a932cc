"""A head ends at its empty line, within its limit, however it comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.wire.head_end import cut_head
from mtls_gateway.wire.refusal import Refusal

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@given(st.integers(0, len(HEAD)), st.binary(max_size=50))
def test_it_is_cut_when_it_is_whole_and_not_before(come: int, behind: bytes) -> None:
    whole = come == len(HEAD)
    assert cut_head(HEAD[:come] + (behind if whole else b""), 100) == ((HEAD, behind) if whole else None)


def test_one_empty_line_before_it_is_no_part_of_it() -> None:
    assert cut_head(b"\r\n" + HEAD + b"x", 100) == (HEAD, b"x")
    # The second one is a head without a request line, which whoever reads it refuses.
    assert cut_head(b"\r\n\r\n\r\n", 100) == (b"\r\n\r\n", b"")


@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n"])
def test_the_limit_holds_to_the_octet(behind: bytes) -> None:
    assert cut_head(HEAD + behind, len(HEAD)) == (HEAD, behind)
    with pytest.raises(Refusal) as refused:
        cut_head(HEAD + behind, len(HEAD) - 1)
    assert (refused.value.status, refused.value.limit) == (431, "head_octets")


def test_who_sends_more_than_the_limit_without_an_end_is_not_waited_for() -> None:
    assert cut_head(b"a" * 99, 100) is None
    with pytest.raises(Refusal, match="head_octets"):
        cut_head(b"a" * 100, 100)


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: a\n\n", b"\nGET"])
def test_a_bare_line_feed_is_refused_at_once(octets: bytes) -> None:
    with pytest.raises(Refusal, match="line_end"):
        cut_head(octets, 100)
