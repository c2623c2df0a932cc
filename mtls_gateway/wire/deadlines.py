"""One sweep over all connections instead of a timer for each.

A request moves its connection's deadline several times; arming and disarming a timer each time
would cost more than parsing the head. So a connection merely carries the moment at which it is
overdue, and a sweep every quarter of a second finds those that are. Limits are that exact.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from mtls_gateway.clock import Clock

_LOG = logging.getLogger(__name__)

#: Seconds between sweeps.
RESOLUTION = 0.25


class Watched(Protocol):
    """What the sweep looks at."""

    #: Monotonic seconds from which on it is overdue.
    deadline: float
    #: POSIX seconds from which on what was admitted is no longer good.
    until: float

    def overdue(self) -> None:
        """The deadline has passed."""
        ...

    def lapsed(self) -> None:
        """What was admitted has ended by itself."""
        ...

    def drain(self) -> None:
        """Take no further request."""
        ...


class Deadlines:
    """The connections of one worker, and the coarse time that they set their deadlines by."""

    __slots__ = ("_clock", "_handle", "_loop", "_watched", "now")

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop
        self._watched: set[Watched] = set()
        self._handle: asyncio.TimerHandle | None = None
        #: Monotonic seconds at the last sweep; cheap to read on the path of a request.
        self.now = clock.monotonic()

    def start(self) -> None:
        """Begin to sweep."""
        self._handle = self._loop.call_later(RESOLUTION, self._tick)

    def stop(self) -> None:
        """Sweep no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def watch(self, connection: Watched) -> None:
        """Look at it on every sweep from now on."""
        self._watched.add(connection)

    def forget(self, connection: Watched) -> None:
        """It has ended."""
        self._watched.discard(connection)

    def drain(self) -> None:
        """Tell every connection to take no further request."""
        for connection in tuple(self._watched):
            connection.drain()

    def _tick(self) -> None:
        # Armed again first: whatever a connection raises, the sweep goes on.
        self._handle = self._loop.call_later(RESOLUTION, self._tick)
        self.sweep()

    def sweep(self) -> None:
        """Find what is overdue or has lapsed."""
        now = self.now = self._clock.monotonic()
        wall = self._clock.now()
        found = [each for each in self._watched if each.deadline <= now or each.until <= wall]
        for connection in found:
            try:
                if connection.until <= wall:
                    connection.lapsed()
                else:
                    connection.overdue()
            except Exception:
                # One connection's trouble is not to spare the others.
                _LOG.exception("a connection could not be ended")
