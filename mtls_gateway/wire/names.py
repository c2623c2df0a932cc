"""A backend's name, and the addresses that it has now.

The resolver is asked in a thread of the loop's, and there are few of those: a resolver that hangs would keep them
all, and whatever was asked meanwhile would stand in a queue for minutes after it has recovered. So one question for a
name is under way at a time, and all who need the answer wait for that one. While the resolver says nothing the last
answer is used; when it says that there is no such name, nothing is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable
from typing import Any

from mtls_gateway.clock import Clock
from mtls_gateway.wire.seldom import Seldom

_LOG = logging.getLogger(__name__)

#: How long somebody who has an older answer waits for a new one.
_BRIEFLY_SECONDS = 0.25
#: After a failure the resolver is left alone for so long.
_PAUSE_SECONDS = 0.5
#: The resolver's word that there is no such name, or that it has no address (getaddrinfo(3)).
_NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)

Addresses = tuple[tuple[socket.AddressFamily, Any], ...]


class Name:
    """One name and port; ``moved`` is called when the addresses are others than before."""

    __slots__ = (
        "_asked_at",
        "_asking",
        "_clock",
        "_failed",
        "_failures",
        "_found",
        "_found_at",
        "_host",
        "_keep",
        "_left_alone_until",
        "_moved",
        "_port",
        "_refresh",
    )

    def __init__(
        self, host: str, port: int, clock: Clock, moved: Callable[[], None], *, refresh: float, keep: float
    ) -> None:
        """``refresh`` and ``keep``: seconds for which an answer is good, and is used for want of another."""
        self._host = host
        self._port = port
        self._clock = clock
        self._moved = moved
        self._refresh = refresh
        self._keep = keep
        self._failures = Seldom(_LOG, logging.WARNING, clock)
        self._found: Addresses = ()
        self._found_at = float("-inf")
        self._asking: asyncio.Task[Addresses] | None = None
        self._asked_at = float("-inf")
        self._failed: OSError | None = None
        self._left_alone_until = float("-inf")
        try:
            numeric = ipaddress.ip_address(host)
        except ValueError:
            return
        family = socket.AF_INET if numeric.version == 4 else socket.AF_INET6
        self._found = ((family, (host, port) if numeric.version == 4 else (host, port, 0, 0)),)
        self._found_at = float("inf")

    async def addresses(self) -> Addresses:
        """At least one. Waits for the resolver as long as the caller does, unless an older answer will do.

        Raises:
            OSError: there is none.
        """
        now = self._clock.monotonic()
        if now < self._found_at + self._refresh:
            return self._found
        asking = self._ask(now)
        if self._found and now < self._found_at + self._keep:
            if asking is not None:
                await asyncio.wait([asking], timeout=max(0.0, self._asked_at + _BRIEFLY_SECONDS - now))
            if self._found:
                return self._found
        if asking is None:
            raise self._failed or OSError(0, f"{self._host} has no address")
        return await asyncio.shield(asking)

    def look_again(self) -> None:
        """Ask if the answer is no longer fresh, without waiting for it."""
        now = self._clock.monotonic()
        if now >= self._found_at + self._refresh:
            self._ask(now)

    def _ask(self, now: float) -> asyncio.Task[Addresses] | None:
        """The question that is under way, or a new one; None: the last has just failed."""
        if self._asking is None:
            if now < self._left_alone_until:
                return None
            self._asked_at = now
            self._asking = asyncio.get_running_loop().create_task(self._resolve())
            self._asking.add_done_callback(self._answered)
        return self._asking

    async def _resolve(self) -> Addresses:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return tuple((family, address) for family, *_, address in found)

    def _answered(self, asking: asyncio.Task[Addresses]) -> None:
        self._asking = None
        now = self._clock.monotonic()
        error = None if asking.cancelled() else asking.exception()
        if error is None and not asking.cancelled() and asking.result():
            before, self._found = self._found, asking.result()
            self._found_at = now
            # The order is the resolver's whim.
            if before and set(before) != set(self._found):
                _LOG.info("%s has other addresses now", self._host)
                self._moved()
            return
        self._left_alone_until = now + _PAUSE_SECONDS
        self._failed = error if isinstance(error, OSError) else None
        self._failures.say("the name %s was not resolved: %s", self._host, error or "no answer")
        if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME and self._found:
            self._found = ()
            self._moved()
