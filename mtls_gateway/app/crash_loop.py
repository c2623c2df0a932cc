"""A process that ends before it has served is forked again, but not as fast as it can end (clause E.4).

Whatever keeps it from starting, a disk that is full or a database that is away, is not mended by trying a hundred times
a second, and the log that says why must stay readable. A process that has served and dies is replaced at once, however
often that happens.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds before the second try; each further one waits twice as long, up to the longest.
_FIRST = 0.5
_LONGEST = 30.0


@dataclass(slots=True)
class _Failures:
    count: int = 0
    #: Monotonic seconds.
    last: float = 0.0


class CrashLoop:
    """By role: how often in a row it has ended before it served."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}

    def ended(self, role: str, *, served: bool, now: float) -> float:
        """A process of ``role`` has ended at ``now`` (monotonic seconds); returns the pause until the next fork."""
        if served:
            self._failures.pop(role, None)
            return 0.0
        failures = self._failures.setdefault(role, _Failures())
        failures.count += 1
        failures.last = now
        return _pause(failures.count)

    def serves(self, role: str) -> None:
        """A process of ``role`` serves: the loop is over."""
        self._failures.pop(role, None)

    def may_fork(self, role: str, now: float) -> bool:
        """Whether the pause is over."""
        failures = self._failures.get(role)
        return failures is None or now - failures.last >= _pause(failures.count)


def _pause(count: int) -> float:
    return float(min(_LONGEST, _FIRST * 2 ** (count - 1)))
