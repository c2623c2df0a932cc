"""A local argon2id store decides (clause A.3): the second password checker."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from mtls_gateway.errors import LegacyUnavailable
from mtls_gateway.signin.ports import Caller, LegacySession, PasswordHashStore

#: RFC 9106, section 4: the second recommended option (64 MiB, 3 passes, 4 lanes).
_HASHER = PasswordHasher()
#: Each verification holds 64 MiB: so many at once, the others wait.
_AT_ONCE = 4


def hash_password(password: str) -> str:
    """The PHC string to store; takes some 50 ms."""
    return _HASHER.hash(password)


class LocalPasswordChecker:
    """Satisfies ``ports.PasswordChecker``; there is no legacy session, so there are no cookies."""

    def __init__(self, store: PasswordHashStore) -> None:
        self._store = store
        self._turns = asyncio.Semaphore(_AT_ONCE)
        # Verified in place of a hash that is missing: a user without a password takes as long as one with.
        self._stand_in = hash_password("")

    async def check(self, user_id: str, password: str, caller: Caller) -> LegacySession | None:
        """An empty session when the password is right; None: it is wrong, or the user has none.

        Raises:
            LegacyUnavailable: what is stored is not an argon2id hash.
        """
        stored = await self._store.password_hash(user_id)
        if stored is not None and not stored.startswith("$argon2id$"):
            raise LegacyUnavailable(f"the password stored for user {user_id!r} is not an argon2id hash; set it again")
        async with self._turns:
            right = await asyncio.to_thread(_verify, stored or self._stand_in, password)
        # There is no legacy session yet; it will be where the first request goes.
        backend = caller.backends[0] if caller.backends else ""
        return LegacySession((), caller.user_agent, backend) if right and stored is not None else None

    async def sign_out(self, session: LegacySession) -> None:
        """Nothing to end."""


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except VerifyMismatchError:
        return False
    except (VerificationError, InvalidHashError) as error:
        raise LegacyUnavailable("a stored password hash is damaged; set the user's password again") from error
