from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.signin.next_path import safe_next, with_next


@pytest.mark.parametrize("target", ["/", "/balance", "/a/b?x=1&y=/z", "/%E6%AE%8B", "/a?u=//other", "/a:b@c"])
def test_a_path_of_this_host_is_come_back_to(target: str) -> None:
    assert safe_next(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "balance",
        "//other.example/",
        "/\\other.example",
        "\\\\other.example",
        "/\t/other.example",
        "/\n/other.example",
        "https://other.example/",
        "javascript:alert(1)",
        "/a b",
        "/a#b",
        "/あ",
        "/" + "a" * 1_024,
        "/\x00",
        "/a\r\nSet-Cookie: x",
    ],
)
def test_anything_else_is_refused(target: str) -> None:
    assert safe_next(target) is None


@given(st.binary(max_size=60))
def test_what_is_put_into_the_address_comes_out_as_it_was_or_not_at_all(target: bytes) -> None:
    address = with_next("/gateway/password", b"/" + target).decode("ascii")
    parts = urlsplit(address)
    assert parts.path == "/gateway/password"
    assert not parts.netloc
    found = parse_qs(parts.query, keep_blank_values=True)
    assert set(found) <= {"next"}
    if found:
        assert found["next"] == ["/" + target.decode("ascii")]
