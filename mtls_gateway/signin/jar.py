"""The legacy session's cookies as the store keeps them: encrypted, so that a session can be ended without its browser.

AES-256-GCM under a key derived from the instance secret, bound to the session's digest: a row that was
copied to another session opens nothing.
"""

from __future__ import annotations

import json
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mtls_gateway.signin.instance_secret import derive
from mtls_gateway.signin.ports import LegacyCookie, LegacySession

_VERSION = b"\x01"
_NONCE = 12


class LegacyJar:
    """Encrypts and decrypts legacy sessions for ``SessionStore``."""

    __slots__ = ("_cipher",)

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(derive(secret, "legacy cookie jar"))

    def lock(self, digest: bytes, session: LegacySession) -> bytes:
        """What goes into ``NewSession.legacy_cookies`` of the session with ``digest``."""
        kept = {
            "cookies": [[cookie.name, cookie.value, cookie.attributes] for cookie in session.cookies],
            "user_agent": session.user_agent,
            "backend": session.backend,
        }
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, json.dumps(kept).encode(), _VERSION + digest)

    def unlock(self, digest: bytes, locked: bytes) -> LegacySession | None:
        """What :meth:`lock` was given; None: it is another session's, was changed, or the secret was replaced."""
        nonce, sealed = locked[1 : 1 + _NONCE], locked[1 + _NONCE :]
        if locked[:1] != _VERSION or len(nonce) != _NONCE:
            return None
        try:
            kept = json.loads(self._cipher.decrypt(nonce, sealed, _VERSION + digest))
        except InvalidTag:
            return None
        cookies = tuple(LegacyCookie(name, value, attributes) for name, value, attributes in kept["cookies"])
        # What earlier versions have locked says nothing of a backend.
        return LegacySession(cookies, kept["user_agent"], kept.get("backend", ""))
