from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from mtls_gateway.config import BusinessDays
from mtls_gateway.errors import StateError
from mtls_gateway.issuance.business_days import is_business_day, next_business_day
from mtls_gateway.issuance.validity import JST

ORDINARY = BusinessDays()


def _jst(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=JST).timestamp()


def _utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


#: Written by hand from the calendar: on the first date, at any hour, the next business day is the second.
TABLE = [
    # Ordinary weeks.
    ("2026-11-24", "2026-11-25"),  # Tuesday
    ("2026-11-27", "2026-11-30"),  # Friday
    ("2026-11-28", "2026-11-30"),  # Saturday
    ("2026-11-29", "2026-11-30"),  # Sunday
    ("2028-02-28", "2028-02-29"),  # a leap day is a Tuesday like any other
    ("2028-02-29", "2028-03-01"),
    # Over year ends: on a Thursday, a Friday, a Saturday, a Monday.
    ("2026-12-29", "2026-12-30"),
    ("2026-12-30", "2027-01-04"),
    ("2026-12-31", "2027-01-04"),
    ("2027-01-01", "2027-01-04"),
    ("2027-01-03", "2027-01-04"),
    ("2027-12-30", "2028-01-04"),
    ("2028-12-29", "2029-01-04"),
    ("2029-12-28", "2030-01-04"),
    # Golden Week: 2026 with a substitute on Wednesday 6 May, 2027 without.
    ("2026-04-28", "2026-04-30"),
    ("2026-05-01", "2026-05-07"),
    ("2026-05-05", "2026-05-07"),
    ("2027-04-28", "2027-04-30"),
    ("2027-04-30", "2027-05-06"),
    # A holiday on a Sunday moves to Monday: vernal equinox 2027, Culture Day 2030.
    ("2027-03-19", "2027-03-23"),
    ("2030-11-01", "2030-11-05"),
    # A holiday on a Saturday does not move: Constitution Day is one in 2031, and 5 May a Monday.
    ("2031-05-02", "2031-05-07"),
    # The day between two holidays is one too: 22 September 2026, 21 September 2032 (a leap year).
    ("2026-09-18", "2026-09-24"),
    ("2032-09-17", "2032-09-23"),
    # Single holidays.
    ("2027-01-08", "2027-01-12"),  # Coming of Age Day, second Monday
    ("2028-02-10", "2028-02-14"),  # National Foundation Day, a Friday
    ("2027-02-22", "2027-02-24"),  # the Emperor's Birthday
    ("2026-03-19", "2026-03-23"),  # vernal equinox on Friday 20 March
    ("2027-07-16", "2027-07-20"),  # Marine Day
    ("2027-08-10", "2027-08-12"),  # Mountain Day
    ("2027-10-08", "2027-10-12"),  # Sports Day
    ("2026-11-02", "2026-11-04"),  # Culture Day
    ("2026-11-20", "2026-11-24"),  # Labour Thanksgiving Day
]


@pytest.mark.parametrize(("today", "following"), TABLE)
@pytest.mark.parametrize("hour", ["00:00:00", "08:59:59", "15:00:00", "23:59:59.999"])
def test_the_next_business_day_begins_at_midnight_in_japan(today: str, following: str, hour: str) -> None:
    assert next_business_day(_jst(f"{today}T{hour}"), ORDINARY) == _jst(f"{following}T00:00:00")


def test_the_date_is_japans_not_utcs() -> None:
    # Thursday 26 November 2026, the last second of the day in Japan; then the first of Friday.
    assert next_business_day(_utc("2026-11-26T14:59:59"), ORDINARY) == _utc("2026-11-26T15:00:00")
    assert next_business_day(_utc("2026-11-26T15:00:00"), ORDINARY) == _utc("2026-11-29T15:00:00")
    # New Year in Japan, still the old year in UTC.
    assert next_business_day(_utc("2026-12-31T15:30:00"), ORDINARY) == _jst("2027-01-04T00:00:00")


def test_a_business_day_may_begin_at_a_later_hour_and_today_never_counts() -> None:
    from_nine = BusinessDays(opening_hour=9)
    assert next_business_day(_jst("2026-11-26T08:00:00"), from_nine) == _jst("2026-11-27T09:00:00")
    assert next_business_day(_jst("2026-11-27T00:00:00"), from_nine) == _jst("2026-11-30T09:00:00")


def test_days_that_the_bank_names_are_closed_too() -> None:
    merger = BusinessDays(closed=(date(2026, 11, 30), date(2026, 12, 1)))
    assert next_business_day(_jst("2026-11-27T12:00:00"), merger) == _jst("2026-12-02T00:00:00")
    assert not is_business_day(date(2026, 11, 30), merger)
    assert is_business_day(date(2026, 11, 30), ORDINARY)


def test_settings_that_close_every_day_are_an_error_that_names_them() -> None:
    always = BusinessDays(closed=tuple(date(2026, 11, 1) + timedelta(days=days) for days in range(200)))
    with pytest.raises(StateError, match=r"business_days\.closed"):
        next_business_day(_jst("2026-11-27T12:00:00"), always)


def test_2027_has_the_holidays_that_the_cabinet_office_lists_and_no_others() -> None:
    listed = {
        "01-01", "01-11", "02-11", "02-23", "03-21", "03-22", "04-29", "05-03", "05-04", "05-05",
        "07-19", "08-11", "09-20", "09-23", "10-11", "11-03", "11-23",
    }  # fmt: skip
    year_end = {"01-01", "01-02", "01-03", "12-31"}
    days = [date(2027, 1, 1) + timedelta(days=days) for days in range(365)]
    closed = {f"{day:%m-%d}" for day in days if day.weekday() < 5 and not is_business_day(day, ORDINARY)}
    weekends = {f"{day:%m-%d}" for day in days if day.weekday() >= 5}
    assert closed == (listed | year_end) - weekends
