from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mtls_gateway.clock import SystemClock

from .conftest import ISSUER, Command

JST = timezone(timedelta(hours=9))


def _end(days: int) -> str:
    """The last second of the day that is so many days from today in Japan."""
    day = datetime.fromtimestamp(SystemClock().now(), JST) + timedelta(days=days)
    return day.replace(hour=23, minute=59, second=59, microsecond=0).isoformat()


def _day(days: int) -> str:
    return (datetime.fromtimestamp(SystemClock().now(), JST) + timedelta(days=days)).date().isoformat()


@pytest.fixture
def ending(acme: Command, home: Path) -> Command:
    """Taro's certificate ends in 12 days, Hanako's, who has no address, in 60."""
    rows = [f'"{ISSUER}",0a,taro,{_end(12)}', f'"{ISSUER}",0b,hanako,{_end(60)}']
    file = home / "certificates.csv"
    file.write_text("\n".join(["issuer,serial_hex,user_id,not_after", *rows]) + "\n")
    assert acme("certificate", "import", file).status == 0
    return acme


def test_today_what_was_missed_is_given_once(ending: Command) -> None:
    (row,) = ending("notice", "preview", "--json").json
    assert row == {
        "day": _day(0),
        "notice": 40,
        "days_left": 12,
        "user": "taro",
        "name": None,
        "company": "acme",
        "serial": "0a",
        "not_after": _end(12),
        "to": "taro@example.co.jp",
    }


def test_days_to_come_are_foreseen(ending: Command) -> None:
    rows = ending("notice", "preview", "--days", 61, "--json").json
    assert [(row["day"], row["user"], row["notice"], row["days_left"]) for row in rows] == [
        (_day(0), "taro", 40, 12),
        (_day(2), "taro", 10, 10),
        (_day(9), "taro", 3, 3),
        (_day(13), "taro", 0, None),
        (_day(20), "hanako", 40, 40),
        (_day(50), "hanako", 10, 10),
        (_day(57), "hanako", 3, 3),
    ]
    # Whoever has no address is told by nobody; its administrator is.
    assert {row["to"] for row in rows} == {"taro@example.co.jp"}


def test_one_day_alone(ending: Command) -> None:
    assert [row["notice"] for row in ending("notice", "preview", "--day", _day(2), "--json").json] == [10]
    assert ending("notice", "preview", "--day", _day(1)).out == f"nothing goes out on {_day(1)}\n"
    assert ending("notice", "preview", "--day", _day(3), "--days", 2).out == (
        f"nothing goes out from {_day(3)} to {_day(4)}\n"
    )


def test_days_of_the_configuration_are_those_foreseen(ending: Command, home: Path) -> None:
    with (home / "gateway.toml").open("a") as file:
        file.write("[notices]\ndays = [5]\n")
    rows = ending("notice", "preview", "--days", 60, "--json").json
    assert [(row["user"], row["notice"]) for row in rows] == [("taro", 5), ("hanako", 5)]


@pytest.mark.parametrize("day", ["2020-01-01", "tomorrow", "2027-02-30"])
def test_a_day_that_is_past_or_none_is_refused(ending: Command, day: str) -> None:
    ran = ending("notice", "preview", "--day", day)
    assert ran.status == 2
    assert re.fullmatch(rf"mtls-gateway: '?{day}'? is .*\n", ran.err)
