"""Legacy sessions whose gateway session ended without its browser: idle, revoked, suspended, ended by an operator.

Each is signed out at the legacy backend once, as well as can be done; what fails ends by the backend's own time-out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from mtls_gateway.errors import LegacyUnavailable, LegacyUnreachable
from mtls_gateway.signin.jar import LegacyJar
from mtls_gateway.signin.ports import PasswordChecker

_LOG = logging.getLogger(__name__)


class Leftover(Protocol):
    """An ended session that still has its legacy cookies."""

    @property
    def digest(self) -> bytes:
        """The session's."""
        ...

    @property
    def legacy_cookies(self) -> bytes:
        """Encrypted, see ``signin.jar``."""
        ...


class LeftoverStore(Protocol):
    """Where they wait."""

    async def take_legacy_left(self, limit: int = 100) -> Sequence[Leftover]:
        """Ended sessions with cookies; each is given once."""
        ...


class Leftovers:
    """Ends them; call :meth:`end_all` now and then, from one process."""

    def __init__(self, store: LeftoverStore, checker: PasswordChecker, jar: LegacyJar) -> None:
        self._store = store
        self._checker = checker
        self._jar = jar

    async def end_all(self) -> int:
        """Sign out what waits; returns how many were signed out.

        A backend that takes no connection is tried once: hundreds may have lived there, and each would wait in vain.

        Raises:
            StoreUnavailable: the rest waits on.
        """
        ended = 0
        unreachable: set[str] = set()
        while waiting := await self._store.take_legacy_left():
            for one in waiting:
                session = self._jar.unlock(one.digest, one.legacy_cookies)
                if session is None or session.backend in unreachable:
                    continue
                try:
                    await self._checker.sign_out(session)
                    ended += 1
                except LegacyUnavailable as error:
                    if isinstance(error, LegacyUnreachable):
                        unreachable.add(session.backend)
                    _LOG.warning("a legacy session may live on until its own time-out: %s", error)
        return ended
