"""How many signatures a minute may have: who has taken over the portal must not mint at will."""

from __future__ import annotations

from collections import deque

from mtls_gateway.clock import Clock

_MINUTE = 60.0


class Rate:
    """Counts what was allowed in the last minute, by the monotonic clock."""

    def __init__(self, per_minute: int, clock: Clock, already: int = 0) -> None:
        """``already`` were allowed in the minute before, by a process that is gone."""
        self._per_minute = per_minute
        self._clock = clock
        self._allowed: deque[float] = deque([clock.monotonic()] * already)

    def allows(self) -> bool:
        """Whether one more is allowed; it then counts."""
        if self.last_minute >= self._per_minute:
            return False
        self._allowed.append(self._clock.monotonic())
        return True

    @property
    def last_minute(self) -> int:
        """How many were allowed in the last minute."""
        over = self._clock.monotonic() - _MINUTE
        while self._allowed and self._allowed[0] <= over:
            self._allowed.popleft()
        return len(self._allowed)
