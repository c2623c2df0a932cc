"""How one worker finds one backend: usable or not, from what checks say and from what requests meet.

::

           fall bad checks                     failures in a row
    DOWN ◀───────────────── USABLE ────────────────────────▶ EJECTED ──── time ───▶ HALF OPEN
      │                      ▲  ▲                               ▲                     │    │
      └── rise good checks ──┘  │                               └── the trial fails ──┘    │
                                └──────────── the trial is answered ───────────────────────┘

It is a circuit breaker: what is out is not waited for. Half open, one request is let through every
``ejection.shortest`` seconds. What comes back from anywhere starts slowly. There is no I/O here, and no timer: time is
looked at when somebody asks.

An ejection for *answers* only steers those who have a choice: a request could have provoked them, and nobody shall be
able to take a backend from others, or the last one from all (``blocked`` is False then). One for *connections*
holds for everybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Legacy

_LOG = logging.getLogger(__name__)
#: The share of what is new that a backend has at the beginning of its slow start.
_LEAST_WEIGHT = 0.1

Fault = Literal["connect", "answer"]


def _nobody() -> None:
    return None


class Health:
    """See the module. ``settings`` None: never out (the portal)."""

    __slots__ = (
        "_bad",
        "_clock",
        "_down",
        "_ejections",
        "_failures",
        "_for_connections",
        "_good",
        "_next_trial",
        "_settings",
        "_since",
        "_slow_until",
        "_until",
        "name",
        "on_out",
        "troubled",
        "usable",
    )

    def __init__(self, name: str, clock: Clock, settings: Legacy | None) -> None:
        self.name = name
        self._clock = clock
        self._settings = settings
        #: Whether requests go there freely. Read on the path of each.
        self.usable = True
        #: Whether a good answer changes anything.
        self.troubled = False
        #: Told when nobody is to wait for it any longer.
        self.on_out: Callable[[], None] = _nobody
        self._down = False
        #: Checks in a row.
        self._good = self._bad = 0
        #: Failures in a row.
        self._failures = 0
        self._ejections = 0
        self._for_connections = False
        #: Monotonic seconds: the ejection's end (0: none), the next trial, the last return, the slow start's end.
        self._until = 0.0
        self._next_trial = 0.0
        self._since = 0.0
        self._slow_until = 0.0

    # --- what is heard ----------------------------------------------------------------------------

    def answered(self, status: int) -> None:
        """A whole answer has come. Need only be called for 500 and above, or while ``troubled``."""
        settings = self._settings
        if settings is None:
            return
        if status in settings.ejection.statuses:
            metrics.BACKEND_FAILURES.labels(self.name, "status").inc()
            self.failed("answer")
            return
        if self._until:
            # Of a request from before the ejection it says nothing of what is now.
            if not self._down and self._clock.monotonic() >= self._until:
                self._come_back()
        else:
            self._failures = 0
            self.troubled = self._down

    def failed(self, fault: Fault) -> None:
        """No connection could be made, or an answer was missing, broken or of a counted status."""
        settings = self._settings
        if settings is None:
            return
        now = self._clock.monotonic()
        if now < self._until and (self._for_connections or fault == "answer"):
            # Begun before the ejection, as many others may have been: they are one event. But one that was ejected for
            # its answers, and is killed, takes no connections either: then it is blocked.
            return
        self._failures += 1
        self.troubled = True
        if self._failures < settings.ejection.failures and not self._until:
            return
        if now - self._since > settings.ejection.longest:
            self._ejections = 0
        seconds = min(settings.ejection.shortest * 2.0**self._ejections, settings.ejection.longest)
        self._ejections = min(self._ejections + 1, 32)
        self._until = self._since = now + seconds
        self._for_connections = fault == "connect"
        self._go_out(fault, f"for {seconds:g} s")

    def checked(self, good: bool) -> None:
        """An active check has ended."""
        settings = self._settings
        if settings is None:
            return
        if not good:
            self._good = 0
            self._bad += 1
            if not self._down and self._bad >= settings.health_check.fall:
                self._down = True
                self._go_out("check", "until checks succeed")
            return
        self._bad = 0
        self._good += 1
        if self._down:
            if self._good >= settings.health_check.rise:
                self._down = False
                self._come_back()
        elif self._for_connections and self._until:
            # It takes connections again: no need to wait for the end to try it.
            self._until = min(self._until, self._clock.monotonic())

    # --- what is asked ----------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether there is no use in trying: it is down, or takes no connections."""
        return self._down or (self._until > 0.0 and self._for_connections)

    def may_serve(self) -> bool:
        """Whether a request may go there now: freely, or as the trial of a breaker that is half open."""
        settings = self._settings
        if self.usable or settings is None:
            return True
        now = self._clock.monotonic()
        if self._down or now < self._until:
            return False
        if now >= self._until + settings.ejection.longest:
            # Nobody came by to try it.
            self._come_back()
            return True
        if now < self._next_trial:
            return False
        self._next_trial = now + settings.ejection.shortest
        return True

    def is_worth_trying(self) -> bool:
        """Whether somebody whose answer is not heard here may try it; no trial is used up."""
        return not self._down and (not self._for_connections or self._clock.monotonic() >= self._until)

    def weight(self) -> float:
        """Its share of what is new, compared with a backend that has been up for long: up to 1."""
        if not self._slow_until or self._settings is None:
            return 1.0
        left = self._slow_until - self._clock.monotonic()
        if left <= 0:
            self._slow_until = 0.0
            return 1.0
        return max(_LEAST_WEIGHT, 1.0 - left / self._settings.slow_start)

    def seconds_out(self) -> float:
        """When to ask again; at least 1."""
        settings = self._settings
        if settings is None:
            return 1.0
        if self._down:
            return max(1.0, settings.health_check.interval)
        return max(1.0, self._until - self._clock.monotonic())

    # --- to and fro -------------------------------------------------------------------------------

    def _go_out(self, cause: str, how_long: str) -> None:
        self.usable = False
        self.troubled = True
        self._next_trial = 0.0
        metrics.BACKEND_EJECTIONS.labels(self.name, cause).inc()
        _LOG.warning("backend %s is out %s (%s)", self.name, how_long, cause)
        if self.blocked:
            self.on_out()

    def _come_back(self) -> None:
        now = self._clock.monotonic()
        self.usable = True
        self.troubled = False
        self._failures = 0
        self._until = 0.0
        self._for_connections = False
        self._since = now
        slow_start = 0.0 if self._settings is None else self._settings.slow_start
        self._slow_until = now + slow_start if slow_start else 0.0
        _LOG.warning("backend %s is back", self.name)
