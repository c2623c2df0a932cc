from __future__ import annotations

import base64
import hashlib
import secrets

from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.signin.token import Tokens

SECRET = bytes(range(32))
TOKENS = Tokens(SECRET)


def test_a_token_is_read_back_by_every_process_of_the_instance() -> None:
    token = TOKENS.mint()
    assert Tokens(SECRET).read(token.value) == token
    assert token.text == token.value.decode()


def test_the_store_is_given_a_digest_from_which_the_token_cannot_be_made() -> None:
    token = TOKENS.mint()
    assert token.digest == hashlib.sha256(base64.urlsafe_b64decode(token.value)[:32]).digest()
    assert token.value not in (token.digest, token.seal_key)
    assert repr(token.value) not in repr(token)
    assert repr(token.seal_key) not in repr(token)


def test_another_instance_reads_nothing() -> None:
    assert Tokens(secrets.token_bytes(32)).read(TOKENS.mint().value) is None


def test_tokens_do_not_repeat() -> None:
    assert len({TOKENS.mint().digest for _ in range(1000)}) == 1000


@given(st.binary(max_size=80))
def test_whatever_was_not_minted_here_is_nothing(value: bytes) -> None:
    assert TOKENS.read(value) is None


@given(st.integers(0, 63), st.integers(1, 255))
def test_a_token_with_one_octet_changed_is_nothing(place: int, change: int) -> None:
    value = bytearray(TOKENS.mint().value)
    value[place] ^= change
    assert TOKENS.read(bytes(value)) is None


def test_a_token_has_one_spelling_only() -> None:
    value = TOKENS.mint().value
    for other in (value + b"=", b" " + value, value + b"\n", b'"' + value + b'"', value + b"A", value[:-1]):
        assert TOKENS.read(other) is None
