"""The sweep: notices and the state EXPIRED, for certificates that near their end or have passed it (clause D.5).

What is asked of the store is always "the next ones after notice N that end before X", which an index answers: a
certificate that needs nothing is never looked at. Each portion is posted and marked in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from mtls_gateway import metrics
from mtls_gateway.clerical import EndingCertificate, GivenNotice
from mtls_gateway.clock import Clock
from mtls_gateway.config import Notices
from mtls_gateway.issuance.notices import EXPIRY, Schedule

_LOG = logging.getLogger(__name__)


class ExpiryStore(Protocol):
    """The certificates that end; every method may raise StoreUnavailable: nothing was done then."""

    async def last_notices(self) -> Sequence[int | None]:
        """The different notices that were given last to certificates that will end."""
        ...

    async def ending(self, noticed: int | None, before: float, limit: int) -> Sequence[EndingCertificate]:
        """Those that were given ``noticed`` last and end before ``before`` (POSIX seconds), the first to end first."""
        ...

    async def give(self, given: Sequence[GivenNotice], goes_out: float) -> int:
        """Post and mark, in one transaction; what has changed meanwhile is left alone. Returns how many were."""
        ...


class Sweep:
    """Made once by the clerk; one at a time."""

    def __init__(self, store: ExpiryStore, settings: Notices, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._schedule = Schedule.of(settings.days, settings.hour)
        #: Wall and monotonic time of the last look.
        self._before: tuple[float, float] | None = None
        #: Monotonic seconds: until then a jump of the clock is not believed.
        self._held_until = 0.0

    async def run(self) -> int:
        """Give every notice that is due; returns how many.

        Raises:
            StoreUnavailable: what was given is marked, the rest is for the next time.
        """
        now = self._clock.now()
        if self._has_jumped(now):
            return 0
        count = 0
        began = self._clock.monotonic()
        for noticed in await self._store.last_notices():
            step = self._schedule.next_step(noticed)
            if step is not None:
                count += await self._sweep(noticed, step, now)
        metrics.SWEEP_SECONDS.set(self._clock.monotonic() - began)
        metrics.SWEPT.set(now)
        return count

    async def _sweep(self, noticed: int | None, step: int, now: float) -> int:
        count = 0
        while True:
            found = await self._store.ending(noticed, self._schedule.bound(step, now), self._settings.portion)
            if not found:
                return count
            given = await self._store.give([self._given(one, now) for one in found], self._schedule.goes_out(now))
            count += given
            if given < len(found):
                # Somebody was faster with the others; whatever they are now, the next sweep sees it.
                return count

    def _given(self, ending: EndingCertificate, now: float) -> GivenNotice:
        notice = self._schedule.due(ending.not_after, ending.noticed, now)
        if notice is None:
            raise ValueError(f"{ending.certificate} is due for no notice")
        mailed = notice in self._schedule.mailed and not ending.renewed
        metrics.NOTICES.labels(str(notice), "mailed" if mailed else "counted").inc()
        return GivenNotice(ending, notice, mailed=mailed, expired=notice == EXPIRY)

    def _has_jumped(self, now: float) -> bool:
        """Whether the wall clock went ahead of the time that has passed by more than can be believed at once.

        A clock that is set to next year for a minute must not let all certificates expire for good.
        """
        monotonic = self._clock.monotonic()
        before, self._before = self._before, (now, monotonic)
        if before is not None:
            jump = (now - before[0]) - (monotonic - before[1])
            if jump > self._settings.clock_jump:
                _LOG.error(
                    "the clock has jumped ahead by %.0f s: no notice is given for %g s, in which it can be set right",
                    jump,
                    self._settings.clock_hold,
                )
                metrics.CLOCK_JUMPS.inc()
                self._held_until = monotonic + self._settings.clock_hold
            elif jump < -self._settings.clock_jump:
                self._held_until = 0.0
        return monotonic < self._held_until
