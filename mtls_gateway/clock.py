"""Time comes from here, so that a test may own it.

Wall time is POSIX seconds (UTC, ``float``); it may jump when the machine's clock is set.
Monotonic time is seconds since an arbitrary start; it never goes back and is what every
time-out is measured with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import monotonic, time


class Clock(ABC):
    """The two times that the gateway reads."""

    __slots__ = ()

    @abstractmethod
    def now(self) -> float:
        """POSIX seconds, UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""


class SystemClock(Clock):
    """The machine's clock."""

    __slots__ = ()

    def now(self) -> float:
        """POSIX seconds, UTC."""
        return time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return monotonic()


class ManualClock(Clock):
    """A clock that moves only when told to: for tests and for dry runs at another date."""

    __slots__ = ("_monotonic", "_now")

    def __init__(self, now: float) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        """POSIX seconds, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both times.

        Raises:
            ValueError: ``seconds`` is negative; set the wall time back with ``set`` instead.
        """
        if seconds < 0:
            raise ValueError("time does not pass backwards; use set() to put the wall clock back")
        self._now += seconds
        self._monotonic += seconds

    def set(self, now: float) -> None:
        """Set the wall time only, as an operator or NTP would."""
        self._now = now
