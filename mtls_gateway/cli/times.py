"""Times as operators write and read them: ISO 8601, Japan's where no offset is given."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import overload

from mtls_gateway.clock import SystemClock
from mtls_gateway.errors import UsageError

JST = timezone(timedelta(hours=9), "JST")


def read_time(written: str) -> float:
    """``2027-04-01`` (that day's beginning), ``2027-04-01T09:00`` or ``2027-04-01T00:00:00Z`` as POSIX seconds.

    Raises:
        UsageError: it is none of these.
    """
    try:
        moment = datetime.fromisoformat(written.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=JST)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{written!r} is not a time; write 2027-04-01, 2027-04-01T09:00 or with an offset") from None


def days_until(posix: float) -> int:
    """Days of the calendar in Japan from today to that moment; 0: today; negative: it was earlier."""
    there = datetime.fromtimestamp(posix, JST).date()
    return (there - datetime.fromtimestamp(SystemClock().now(), JST).date()).days


@overload
def print_time(posix: float) -> str: ...


@overload
def print_time(posix: float | None) -> str | None: ...


def print_time(posix: float | None) -> str | None:
    """``2027-04-01T09:00:00+09:00``, or None for None."""
    return None if posix is None else datetime.fromtimestamp(int(posix), JST).isoformat()
