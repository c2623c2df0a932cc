"""How long a certificate is valid: one calendar year from acquisition (clause D.3).

As the Civil Code counts a year (articles 140, 141 and 143): the day of acquisition itself is not counted, so the
certificate is good to the last second of the same date a year later. From 29 February that is 28 February. Days are
Japan's, which has no summer time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

JST = timezone(timedelta(hours=9), "JST")


def one_calendar_year(acquired: float) -> tuple[datetime, datetime]:
    """The first and the last second of a certificate acquired at ``acquired`` (POSIX seconds), both in UTC.

    Both are valid (RFC 5280, section 4.1.2.5: the period is inclusive) and whole seconds.
    """
    first = datetime.fromtimestamp(acquired, JST).replace(microsecond=0)
    try:
        same_date = first.replace(year=first.year + 1)
    except ValueError:  # 29 February
        same_date = first.replace(year=first.year + 1, day=28)
    last = same_date.replace(hour=23, minute=59, second=59)
    return first.astimezone(UTC), last.astimezone(UTC)
