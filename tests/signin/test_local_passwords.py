"""The local argon2id store: what the suite over all checkers does not say."""

from __future__ import annotations

import pytest

from mtls_gateway.errors import LegacyUnavailable
from mtls_gateway.signin.local_passwords import LocalPasswordChecker, hash_password
from mtls_gateway.signin.ports import Caller

CALLER = Caller("192.0.2.7")


class Stored:
    """A store of one hash for everybody."""

    def __init__(self, stored: str | None) -> None:
        self.stored = stored

    async def password_hash(self, user_id: str) -> str | None:
        return self.stored


@pytest.mark.parametrize(
    "stored",
    ["", "plain", "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA", "$argon2id$junk", "$argon2id$v=19$m=8,t=1,p=1$$"],
)
async def test_a_hash_that_is_no_argon2id_decides_nothing(stored: str) -> None:
    with pytest.raises(LegacyUnavailable):
        await LocalPasswordChecker(Stored(stored)).check("tanaka", "x", CALLER)


async def test_a_user_without_a_password_has_no_right_one() -> None:
    checker = LocalPasswordChecker(Stored(None))
    for password in ("", "x"):
        assert await checker.check("tanaka", password, CALLER) is None


def test_a_hash_is_argon2id_and_salted() -> None:
    first, second = hash_password("x"), hash_password("x")
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != second
