from __future__ import annotations

from mtls_gateway.signin.jar import LegacyJar
from mtls_gateway.signin.ports import LegacyCookie, LegacySession

SESSION = LegacySession(
    (LegacyCookie("JSESSIONID", "0123ABC", "Path=/; HttpOnly"), LegacyCookie("語", "値", "")),
    "Edg/120",
    "http://10.0.0.1",
)
DIGEST = bytes(32)


def test_a_legacy_session_comes_back_whole() -> None:
    jar = LegacyJar(bytes(range(32)))
    locked = jar.lock(DIGEST, SESSION)
    assert b"0123ABC" not in locked
    assert jar.unlock(DIGEST, locked) == SESSION
    assert jar.lock(DIGEST, SESSION) != locked


def test_what_an_earlier_version_has_locked_lives_on_no_known_backend() -> None:
    jar = LegacyJar(bytes(range(32)))
    nonce = bytes(12)
    sealed = jar._cipher.encrypt(nonce, b'{"cookies": [["a", "b", ""]], "user_agent": "Edg/120"}', b"\1" + DIGEST)
    found = jar.unlock(DIGEST, b"\1" + nonce + sealed)
    assert found == LegacySession((LegacyCookie("a", "b", ""),), "Edg/120", "")


def test_a_row_that_was_changed_or_belongs_to_another_session_opens_nothing() -> None:
    jar = LegacyJar(bytes(range(32)))
    locked = jar.lock(DIGEST, SESSION)
    assert jar.unlock(b"\1" * 32, locked) is None
    assert LegacyJar(bytes(32)).unlock(DIGEST, locked) is None
    assert jar.unlock(DIGEST, b"") is None
    for place in range(len(locked)):
        damaged = bytearray(locked)
        damaged[place] ^= 1
        assert jar.unlock(DIGEST, bytes(damaged)) is None
        assert jar.unlock(DIGEST, locked[:place]) is None
