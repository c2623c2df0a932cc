"""The bank's business days in Japan: a reissue's cooling-off lasts until the next one begins (clause D.6).

Closed are Saturdays, Sundays, national holidays with their substitutes and the days between two of them (Act on
National Holidays, article 3), 31 December to 3 January (Order for Enforcement of the Banking Act, article 5), and
whatever days the bank names itself.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import jpholiday

from mtls_gateway.config import BusinessDays
from mtls_gateway.errors import StateError
from mtls_gateway.issuance.validity import JST

#: Further than this nobody is made to wait: days that are all closed are a mistake in the settings.
FURTHEST_DAYS = 60

_YEAR_END = frozenset({(12, 31), (1, 1), (1, 2), (1, 3)})


def is_business_day(day: date, settings: BusinessDays) -> bool:
    """Whether the bank is open on ``day`` (a date in Japan)."""
    return not (
        day.weekday() >= 5 or (day.month, day.day) in _YEAR_END or day in settings.closed or jpholiday.is_holiday(day)
    )


def next_business_day(now: float, settings: BusinessDays) -> float:
    """When the first business day after today's date in Japan begins; both are POSIX seconds.

    Today does not count, even before the opening hour: what begins on a business day waits for the one after it.

    Raises:
        StateError: the next ``FURTHEST_DAYS`` days are all closed.
    """
    today = datetime.fromtimestamp(now, JST).date()
    for days in range(1, FURTHEST_DAYS + 1):
        day = today + timedelta(days=days)
        if is_business_day(day, settings):
            return datetime.combine(day, time(settings.opening_hour), JST).timestamp()
    raise StateError(f"no business day within {FURTHEST_DAYS} days of {today}; look at business_days.closed")
