"""Look-ups under way: shared by all who ask the same, repeated when a change arrives meanwhile.

Without the repetition a row that was read just before it changed would be kept for ever: the change would
be applied to the cache before the old row got there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import ChangeKind

Key = TypeVar("Key")
Row = TypeVar("Row")
Entry = TypeVar("Entry")

Subject = tuple[ChangeKind, str]
"""What a change speaks of."""

#: Changes come at every poll; a row that changes more often than it can be read is not to be trusted.
_ATTEMPTS = 20


class _Flight(Generic[Entry]):
    __slots__ = ("everything", "task", "touched")

    def __init__(self) -> None:
        self.task: asyncio.Task[Entry] | None = None
        self.touched: set[Subject] = set()
        self.everything = False


class Flights(Generic[Key, Row, Entry]):
    """The look-ups of one kind of row.

    ``ask`` reads the row; ``subjects`` says which changes would make it another; ``land`` keeps it, in the same
    step in which it was found to be unchanged.
    """

    __slots__ = ("_ask", "_flights", "_land", "_subjects")

    def __init__(
        self,
        ask: Callable[[Key], Awaitable[Row]],
        subjects: Callable[[Key, Row], Iterable[Subject]],
        land: Callable[[Key, Row], Entry],
    ) -> None:
        self._ask = ask
        self._subjects = subjects
        self._land = land
        self._flights: dict[Key, _Flight[Entry]] = {}

    async def look_up(self, key: Key) -> Entry:
        """The entry of ``key``, read after this was called or by a look-up that was under way.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.ensure_future(self._fly(key, flight))
            flight.task.add_done_callback(_retrieve)
        if flight.task is None:
            raise RuntimeError("a look-up without a task")
        # Shielded: a client that hangs up must not take the answer from the others who wait for it.
        return await asyncio.shield(flight.task)

    def touch(self, subject: Subject) -> None:
        """A change has come: what is being read may be old already."""
        for flight in self._flights.values():
            flight.touched.add(subject)

    def touch_everything(self) -> None:
        """Nothing that is being read counts."""
        for flight in self._flights.values():
            flight.everything = True

    async def _fly(self, key: Key, flight: _Flight[Entry]) -> Entry:
        try:
            for _ in range(_ATTEMPTS):
                flight.touched.clear()
                flight.everything = False
                row = await self._ask(key)
                if not flight.everything and flight.touched.isdisjoint(self._subjects(key, row)):
                    return self._land(key, row)
            raise StoreUnavailable(f"{key!s} changes faster than it can be read; try again")
        finally:
            del self._flights[key]


def _retrieve(task: asyncio.Task[Entry]) -> None:
    # Everybody who asked may have hung up: the error was then nobody's, and asyncio need not complain.
    if not task.cancelled():
        task.exception()
