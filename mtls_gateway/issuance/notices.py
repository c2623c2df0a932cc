"""What is said when of a certificate that ends (clause D.5): pure arithmetic on days of the calendar in Japan.

A notice is named by its days before the end. Notice 40 is due from the beginning of the day that is 40 days before the
day on which the certificate ends; notice 0 is due from the second after its last one. The number of the last notice
that was given is kept with the certificate and only ever falls: a clock that is set back repeats nothing. When several
are due at once, because days were missed, the one that is nearest to the end is given and stands for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from mtls_gateway.issuance.validity import JST

#: The notice on expiry: with it the certificate's row becomes EXPIRED, whether a mail goes out or not.
EXPIRY = 0


def day_in_japan(moment: float) -> date:
    """The date in Japan at a moment (POSIX seconds)."""
    return datetime.fromtimestamp(moment, JST).date()


def beginning_of(day: date, hour: int = 0) -> float:
    """POSIX seconds of an hour of a day in Japan."""
    return datetime.combine(day, time(hour), JST).timestamp()


def days_left(not_after: float, now: float) -> int:
    """Days of the calendar in Japan until the day on which a certificate ends; 0: today; negative: it was earlier."""
    return (day_in_japan(not_after) - day_in_japan(now)).days


def has_ended(not_after: float, now: float) -> bool:
    """The second that notAfter names is good, the next is not (RFC 5280, section 4.1.2.5)."""
    return now >= not_after + 1.0


class Planned(NamedTuple):
    """A notice that is to be given on a day, if nothing changes until then."""

    day: date
    notice: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """The notices, and from which hour of the day in Japan their mails go out."""

    #: Days before the end, the largest first; the last is always 0.
    steps: tuple[int, ...]
    #: Those that a mail tells of.
    mailed: frozenset[int]
    hour: int

    @classmethod
    def of(cls, days: Iterable[int], hour: int) -> Schedule:
        """Of the days in the configuration."""
        mailed = frozenset(days)
        return cls(tuple(sorted(mailed | {EXPIRY}, reverse=True)), mailed, hour)

    def next_step(self, noticed: int | None) -> int | None:
        """The first notice that follows ``noticed``; None: it was the last."""
        return next((step for step in self.steps if noticed is None or step < noticed), None)

    def bound(self, notice: int, now: float) -> float:
        """What ends before this moment (POSIX seconds, whole) is due for ``notice``."""
        if notice == EXPIRY:
            return float(math.floor(now))
        return beginning_of(day_in_japan(now) + timedelta(days=notice + 1))

    def due(self, not_after: float, noticed: int | None, now: float) -> int | None:
        """The notice that is to be given now; None: none is.

        ``not_after`` are whole POSIX seconds, ``noticed`` is the notice that was given last.
        """
        following = (step for step in self.steps if noticed is None or step < noticed)
        begun = [step for step in following if not_after < self.bound(step, now)]
        return begun[-1] if begun else None

    def goes_out(self, now: float) -> float:
        """From when on the mail of a notice that is given now may go out: not in the middle of the night."""
        return max(now, beginning_of(day_in_japan(now), self.hour))

    def plan(self, not_after: float, noticed: int | None, today: date) -> list[Planned]:
        """Every notice still to be given, from ``today`` on."""
        planned: dict[date, int] = {}
        for step in self.steps:
            if noticed is not None and step >= noticed:
                continue
            begins = day_in_japan(not_after + 1.0) if step == EXPIRY else day_in_japan(not_after) - timedelta(days=step)
            # Later steps are nearer to the end: of those on one day the last stands for all.
            planned[max(begins, today)] = step
        return [Planned(day, step) for day, step in sorted(planned.items()) if step in self.mailed]
