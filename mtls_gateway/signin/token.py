"""The session cookie's value: 32 random octets and a tag that only this instance can make.

The tag lets a worker drop what it never gave out without asking the store. The store has the digest
only: whoever reads the database can neither show a token nor open what is sealed with its key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from mtls_gateway.signin.instance_secret import derive

_RANDOM = 32
_TAG = 16
#: 48 octets in base64url need no padding, so that a token has one spelling only.
_LENGTH = (_RANDOM + _TAG) * 4 // 3
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True, slots=True)
class Token:
    """A session token that was made here."""

    #: The cookie's value, ASCII.
    value: bytes = field(repr=False)
    #: SHA-256 of the random octets: what the store knows the session by.
    digest: bytes
    #: What the legacy session's cookies are sealed with, see ``signin.seal``; 32 octets.
    seal_key: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The cookie's value as a string."""
        return self.value.decode("ascii")


class Tokens:
    """Makes and reads the tokens of one instance."""

    __slots__ = ("_seal_key", "_tag_key")

    def __init__(self, secret: bytes) -> None:
        self._tag_key = derive(secret, "session token tag")
        self._seal_key = derive(secret, "legacy cookie seal")

    def mint(self) -> Token:
        """A new token."""
        return self._token(secrets.token_bytes(_RANDOM))

    def read(self, value: bytes) -> Token | None:
        """The token of a cookie's value; None: this instance never gave it out."""
        if len(value) != _LENGTH or not _ALPHABET.issuperset(value):
            return None
        try:
            octets = base64.urlsafe_b64decode(value)
        except binascii.Error:
            return None
        random, tag = octets[:_RANDOM], octets[_RANDOM:]
        if not hmac.compare_digest(tag, self._tag(random)):
            return None
        return self._token(random)

    def _tag(self, random: bytes) -> bytes:
        return hmac.digest(self._tag_key, random, "sha256")[:_TAG]

    def _token(self, random: bytes) -> Token:
        return Token(
            value=base64.urlsafe_b64encode(random + self._tag(random)),
            digest=hashlib.sha256(random).digest(),
            seal_key=hmac.digest(self._seal_key, random, "sha256"),
        )
