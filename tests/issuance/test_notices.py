"""Which notice is due when, to the second, in days of the calendar in Japan."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.issuance.notices import Planned, Schedule, days_left

JST = timezone(timedelta(hours=9))
SCHEDULE = Schedule.of((40, 10, 3, 0), 9)


def at(written: str) -> float:
    """A moment in Japan."""
    return datetime.fromisoformat(written).replace(tzinfo=JST).timestamp()


END = at("2028-03-31T23:59:59")


@pytest.mark.parametrize(
    ("moment", "due"),
    [
        ("2028-02-19T23:59:59", None),
        ("2028-02-20T00:00:00", 40),  # February has 29 days
        ("2028-03-20T23:59:59", 40),
        ("2028-03-21T00:00:00", 10),
        ("2028-03-27T23:59:59", 10),
        ("2028-03-28T00:00:00", 3),
        ("2028-03-31T23:59:59", 3),
        ("2028-04-01T00:00:00", 0),
        ("2029-04-01T00:00:00", 0),
    ],
)
def test_a_notice_is_due_from_the_first_second_of_its_day(moment: str, due: int | None) -> None:
    assert SCHEDULE.due(END, None, at(moment)) == due


def test_utc_has_no_say_in_it() -> None:
    # 15:00 UTC is midnight in Japan: the certificate ends on 1 April there and on 31 March in UTC.
    early = datetime.fromisoformat("2028-03-31T15:00:00+00:00").timestamp()
    assert SCHEDULE.due(early, None, at("2028-02-20T23:59:59")) is None
    assert SCHEDULE.due(early, None, at("2028-02-21T00:00:00")) == 40


@pytest.mark.parametrize("noticed", [40, 10, 3, 0])
def test_what_was_given_is_never_due_again_whatever_the_clock_says(noticed: int) -> None:
    for days in range(-60, 500):
        due = SCHEDULE.due(END, noticed, END + days * 86_400)
        assert due is None or due < noticed


def test_the_last_one_that_was_missed_stands_for_all() -> None:
    assert SCHEDULE.due(END, 40, at("2028-03-29T12:00:00")) == 3
    assert SCHEDULE.due(END, None, at("2028-03-29T12:00:00")) == 3


@given(
    st.integers(min_value=0, max_value=2**32),
    st.one_of(st.none(), st.sampled_from([40, 30, 10, 3, 0])),
    st.integers(min_value=0, max_value=2**32),
)
def test_the_index_finds_exactly_what_is_due(not_after: int, noticed: int | None, now: int) -> None:
    step = SCHEDULE.next_step(noticed)
    found = step is not None and not_after < SCHEDULE.bound(step, now)
    assert found == (SCHEDULE.due(not_after, noticed, now) is not None)


@pytest.mark.parametrize(
    ("now", "goes_out"),
    [
        ("2028-03-21T00:00:01", "2028-03-21T09:00:00"),
        ("2028-03-21T08:59:59", "2028-03-21T09:00:00"),
        ("2028-03-21T09:00:01", "2028-03-21T09:00:01"),
        ("2028-03-21T23:00:00", "2028-03-21T23:00:00"),
    ],
)
def test_mails_wait_for_the_morning(now: str, goes_out: str) -> None:
    assert SCHEDULE.goes_out(at(now)) == at(goes_out)


def test_days_that_are_not_mailed_still_end_the_certificate() -> None:
    schedule = Schedule.of((14,), 0)
    assert schedule.steps == (14, 0)
    assert schedule.mailed == {14}
    assert schedule.due(END, 14, END + 1.0) == 0


@pytest.mark.parametrize(
    ("noticed", "today", "planned"),
    [
        (
            None,
            date(2028, 1, 1),
            [(date(2028, 2, 20), 40), (date(2028, 3, 21), 10), (date(2028, 3, 28), 3), (date(2028, 4, 1), 0)],
        ),
        (40, date(2028, 2, 20), [(date(2028, 3, 21), 10), (date(2028, 3, 28), 3), (date(2028, 4, 1), 0)]),
        (None, date(2028, 3, 25), [(date(2028, 3, 25), 10), (date(2028, 3, 28), 3), (date(2028, 4, 1), 0)]),
        (3, date(2028, 6, 1), [(date(2028, 6, 1), 0)]),
        (0, date(2028, 6, 1), []),
    ],
)
def test_what_is_planned_is_what_will_be_given(
    noticed: int | None, today: date, planned: list[tuple[date, int]]
) -> None:
    assert SCHEDULE.plan(END, noticed, today) == [Planned(*each) for each in planned]


@pytest.mark.parametrize(
    ("now", "left"), [("2028-02-29T23:59:59", 31), ("2028-03-31T00:00:00", 0), ("2028-04-01T00:00:00", -1)]
)
def test_days_left_are_counted_on_the_calendar(now: str, left: int) -> None:
    assert days_left(END, at(now)) == left
