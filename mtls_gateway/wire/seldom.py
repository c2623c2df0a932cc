"""Saying what may happen thousands of times a second, at a rate that a log can take."""

from __future__ import annotations

import logging

from mtls_gateway.clock import Clock

#: Seconds between two lines of one cause.
_BETWEEN = 10.0


class Seldom:
    """One line at most every ten seconds, with how often it has happened since the last; for one cause."""

    __slots__ = ("_clock", "_level", "_log", "_silent_until", "_unsaid")

    def __init__(self, log: logging.Logger, level: int, clock: Clock) -> None:
        self._log = log
        self._level = level
        self._clock = clock
        self._silent_until = float("-inf")
        self._unsaid = 0

    def say(self, message: str, *arguments: object) -> None:
        """Log ``message``, or count that it was not."""
        now = self._clock.monotonic()
        if now < self._silent_until:
            self._unsaid += 1
            return
        if self._unsaid:
            message += f" (and {self._unsaid} times since the last such line)"
        self._log.log(self._level, message, *arguments)
        self._silent_until = now + _BETWEEN
        self._unsaid = 0
