"""Sessions that were opened elsewhere, read before anybody comes with them.

A browser's next connection may be any worker's. One that already knows the session goes on without the database
(clause E.4), and answers a first request as fast as the second.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.signin.knowledge import Knowledge

#: Read at a time: what is asked for by somebody who waits must not wait long.
_AT_ONCE = 16
#: Those that have waited longest are left to their first request.
_WAITING = 2_048


class Newcomers:
    """See the module. Whatever cannot be read is read when somebody comes with it."""

    __slots__ = ("_digests", "_heard", "_knowledge")

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self._heard = asyncio.Event()

    def hear(self, digest: bytes) -> None:
        """The session of that token digest has changed its state."""
        self._digests[digest] = None
        if len(self._digests) > _WAITING:
            self._digests.popitem(last=False)
        self._heard.set()

    async def wait(self) -> None:
        """Return when there is one to be read."""
        await self._heard.wait()

    async def read(self) -> None:
        """Read the next few, the newest first, with the registration of the certificate that each was opened with."""
        digests = [self._digests.popitem()[0] for _ in range(min(_AT_ONCE, len(self._digests)))]
        sessions = self._knowledge.sessions
        unknown: list[Awaitable[None]] = [
            self._read(digest) for digest in digests if digest not in sessions and not sessions.is_full
        ]
        await asyncio.gather(*unknown)
        if not self._digests:
            self._heard.clear()

    async def _read(self, digest: bytes) -> None:
        try:
            session = await self._knowledge.sessions.look_up(digest)
            certificate = None if session is None else session.certificate
            if certificate is not None and certificate not in self._knowledge.identities:
                await self._knowledge.identities.look_up(certificate)
        except StoreUnavailable:
            return
