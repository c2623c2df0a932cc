from __future__ import annotations

from datetime import datetime

import pytest

from mtls_gateway.issuance.validity import JST, one_calendar_year


def _jst(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=JST)


@pytest.mark.parametrize(
    ("acquired", "first", "last"),
    [
        ("2026-11-24T10:30:15.750", "2026-11-24T10:30:15", "2027-11-24T23:59:59"),
        ("2027-01-01T00:00:00", "2027-01-01T00:00:00", "2028-01-01T23:59:59"),
        ("2026-12-31T23:59:59.999", "2026-12-31T23:59:59", "2027-12-31T23:59:59"),
        # Over a leap day, to a leap year, from a leap day.
        ("2027-03-01T09:00:00", "2027-03-01T09:00:00", "2028-03-01T23:59:59"),
        ("2027-02-28T09:00:00", "2027-02-28T09:00:00", "2028-02-28T23:59:59"),
        ("2028-02-29T12:00:00", "2028-02-29T12:00:00", "2029-02-28T23:59:59"),
        # 00:30 in Japan is the day before in UTC: Japan's date counts.
        ("2027-04-01T00:30:00", "2027-04-01T00:30:00", "2028-04-01T23:59:59"),
    ],
)
def test_a_certificate_is_good_to_the_last_second_of_the_same_date_a_year_later(
    acquired: str, first: str, last: str
) -> None:
    assert one_calendar_year(_jst(acquired).timestamp()) == (_jst(first), _jst(last))
