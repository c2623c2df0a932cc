"""The breaker of one backend: what takes it out, for how long, and what brings it back. Its clock is the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Legacy
from mtls_gateway.wire.health import Health
from tests.wire.conftest import Counter


def settings(**given: Any) -> Legacy:
    login = {"kind": "form", "page": "/login", "user_field": "u", "password_field": "p", "proof_page": "/"}
    base = {"backends": ["http://a"], "session_cookies": ["S"], "guarded": ["/login"], "login": login}
    ejection = {"failures": 3, "shortest": 2.0, "longest": 16.0}
    return Legacy.model_validate({**base, "ejection": ejection, "slow_start": 10.0, **given})


class Bed:
    def __init__(self, **given: Any) -> None:
        self.clock = ManualClock(0.0)
        self.clock.advance(1_000.0)
        self.health = Health("http://a", self.clock, settings(**given))
        self.dismissed = 0
        self.health.on_out = self._dismiss

    def _dismiss(self) -> None:
        self.dismissed += 1

    @property
    def standing(self) -> tuple[bool, bool]:
        """Usable, troubled."""
        return self.health.usable, self.health.troubled

    def fail(self, times: int, fault: Any = "connect") -> None:
        for _ in range(times):
            self.health.failed(fault)


def test_only_failures_in_a_row_eject() -> None:
    bed = Bed()
    bed.fail(2)
    assert bed.standing == (True, True)
    bed.health.answered(200)
    assert bed.standing == (True, False)
    bed.fail(2)
    assert bed.standing == (True, True)
    bed.fail(1)
    assert bed.standing == (False, True)
    assert bed.dismissed == 1


@pytest.mark.parametrize(("status", "out"), [(502, True), (503, True), (504, True), (500, False), (404, False)])
def test_the_configured_statuses_are_failures_and_no_others(status: int, out: bool, grown: Counter) -> None:
    bed = Bed()
    for _ in range(3):
        bed.health.answered(status)
    assert bed.health.usable is not out
    assert grown("backend_failures_total", backend="http://a", reason="status") == (3 if out else 0)
    assert grown("backend_ejections_total", backend="http://a", cause="answer") == (1 if out else 0)


def test_an_ejection_is_half_open_after_its_time_and_lets_one_request_through_at_a_time() -> None:
    bed = Bed()
    bed.fail(3)
    assert not bed.health.may_serve() and bed.health.seconds_out() == 2.0
    bed.clock.advance(2.0)
    assert bed.standing == (False, True)
    assert bed.health.may_serve()
    assert not bed.health.may_serve()
    bed.clock.advance(2.0)
    assert bed.health.may_serve()
    bed.health.answered(200)
    assert bed.standing == (True, False)
    assert bed.health.may_serve()


def test_each_ejection_is_twice_as_long_as_the_last_up_to_a_bound_and_forgotten_in_time() -> None:
    bed = Bed()
    lasted = []
    bed.fail(3)
    for _ in range(6):
        lasted.append(bed.health.seconds_out())
        bed.clock.advance(lasted[-1])
        assert bed.health.may_serve()
        bed.fail(1)
    assert lasted == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]
    bed.clock.advance(16.0)
    bed.health.answered(200)
    bed.clock.advance(16.5)
    bed.fail(3)
    assert bed.health.seconds_out() == 2.0


def test_what_was_begun_before_an_ejection_changes_nothing_of_it() -> None:
    bed = Bed()
    bed.fail(3)
    bed.fail(50)
    bed.health.answered(200)
    assert not bed.health.usable and bed.health.seconds_out() == 2.0


def test_half_open_without_anybody_who_tries_it_ends_by_itself() -> None:
    bed = Bed()
    bed.fail(3)
    bed.clock.advance(2.0 + 16.0)
    assert bed.health.may_serve() and bed.health.usable


def test_bad_answers_eject_for_new_sessions_but_block_nobody() -> None:
    bed = Bed()
    bed.fail(3, "answer")
    assert not bed.health.usable and not bed.health.blocked and bed.dismissed == 0
    assert bed.health.is_worth_trying()
    other = Bed()
    other.fail(3, "connect")
    assert other.health.blocked and not other.health.is_worth_trying()


def test_a_backend_ejected_for_its_answers_that_takes_no_connections_either_is_blocked() -> None:
    bed = Bed()
    bed.fail(3, "answer")
    bed.fail(1, "answer")
    assert not bed.health.blocked
    bed.fail(1, "connect")
    assert (bed.health.blocked, bed.dismissed, bed.health.seconds_out()) == (True, 1, 4.0)
    bed.fail(1, "connect")
    assert bed.dismissed == 1


def test_checks_take_a_backend_out_after_fall_and_bring_it_back_after_rise(grown: Counter) -> None:
    bed = Bed(health_check={"rise": 2, "fall": 3})
    for good in (False, False, True, False, False):
        bed.health.checked(good)
        assert bed.standing[0]
    bed.health.checked(False)
    assert (*bed.standing, bed.health.blocked, bed.dismissed) == (False, True, True, 1)
    bed.clock.advance(10_000.0)
    assert not bed.health.may_serve() and not bed.health.is_worth_trying()
    # Only checks bring it back: a late answer does not.
    bed.health.answered(200)
    bed.health.checked(True)
    bed.health.checked(False)
    bed.health.checked(True)
    assert not bed.standing[0]
    bed.health.checked(True)
    assert (*bed.standing, bed.health.blocked) == (True, False, False)
    assert grown("backend_ejections_total", backend="http://a", cause="check") == 1


def test_a_good_check_lets_a_backend_be_tried_that_took_no_connections() -> None:
    bed = Bed()
    bed.fail(3)
    bed.health.checked(True)
    assert not bed.health.usable
    assert bed.health.may_serve() and not bed.health.may_serve()


def test_a_good_check_proves_nothing_about_answers() -> None:
    bed = Bed()
    bed.fail(3, "answer")
    bed.health.checked(True)
    assert not bed.health.may_serve()


@pytest.mark.parametrize("way_back", ["trial", "check"])
def test_what_comes_back_starts_slowly(way_back: str) -> None:
    bed = Bed()
    assert bed.health.weight() == 1.0
    if way_back == "trial":
        bed.fail(3)
        bed.clock.advance(2.0)
        bed.health.answered(200)
    else:
        for good in (False, False, False, True, True):
            bed.health.checked(good)
    seen = []
    for _ in range(5):
        seen.append(bed.health.weight())
        bed.clock.advance(2.5)
    assert seen == [0.1, 0.25, 0.5, 0.75, 1.0]


def test_without_a_slow_start_everything_comes_back_at_once() -> None:
    bed = Bed(slow_start=0)
    bed.fail(3)
    bed.clock.advance(2.0)
    bed.health.answered(200)
    assert bed.health.weight() == 1.0


@pytest.mark.parametrize(
    "event",
    [
        lambda health: health.failed("connect"),
        lambda health: health.answered(503),
        lambda health: health.checked(False),
    ],
)
def test_the_portal_is_never_out(event: Callable[[Health], None]) -> None:
    health = Health("portal", ManualClock(0.0), None)
    for _ in range(100):
        event(health)
    assert health.usable and not health.blocked and health.may_serve()


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"health_check": {"path": "health"}}, "start it with /"),
        ({"health_check": {"expected": []}}, "expected needs statuses"),
        ({"health_check": {"interval": 1, "timeout": 2}}, "longer than interval"),
        ({"ejection": {"shortest": 5, "longest": 1}}, "longest is shorter than shortest"),
        ({"ejection": {"statuses": [404]}}, "statuses are of the 500s"),
        ({"backends": ["http://a", "http://a"]}, "the same address is given twice"),
        ({"affinity": "sticky"}, "strict"),
        ({"draining": ["http://c"]}, "draining: 'http://c' is not one of backends"),
        ({"draining": ["http://a"]}, "draining names all backends"),
    ],
)
def test_a_mistake_in_the_settings_is_named(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**tables)
