"""The machine's clock is set a day ahead, a day back, and right again, while the gateway runs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.visit import place
from tests.promises.machine_clock import MachineClock
from tests.promises.whole_gateway import WholeGateway, eventually, whole_gateway

pytestmark = pytest.mark.needs("gcc")

DAY = 86_400


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> MachineClock:
    return MachineClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def jumping(clock: MachineClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        with whole_gateway(
            tmp_path_factory.mktemp("jumping"), {"notices": {"every": 0.5, "clock_jump": 3_600.0}}
        ) as gateway:
            yield gateway


def is_ready(gateway: WholeGateway) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.ports.operations}/readyz", timeout=10) as answer:
            return bool(json.load(answer)["ready"])
    except urllib.error.HTTPError:
        return False


def test_a_day_ahead_admits_nobody_on_todays_session_and_afterwards_nobody_on_tomorrows(
    jumping: WholeGateway, clock: MachineClock
) -> None:
    workers = jumping.workers()
    person, other = jumping.newcomer(), jumping.newcomer()
    browser = jumping.signed_in(person)
    connection = browser.connect(CERTIFICATE_HOST)
    assert browser.exchange(connection, "GET", "/home").status == 200
    clock.set(DAY)
    try:
        # On the connection that was admitted a moment ago, too.
        assert place(browser.exchange(connection, "GET", "/home")) != f"home of {person.user_id}"
        assert place(browser.get(CERTIFICATE_HOST, "/home")) != f"home of {person.user_id}"
        # Not believed yet: mails of tomorrow's are not sent today.
        assert jumping.metric_reaches(1, "mtls_gateway_clock_jumps_total")
        assert eventually(lambda: is_ready(jumping))
        ahead = jumping.signed_in(other)
        assert jumping.browser().get(PUBLIC_HOST, "/").status == 200
    finally:
        clock.set(0)
        connection.close()
    # What was begun tomorrow would not become idle for a day: it has ended.
    assert eventually(lambda: place(ahead.get(CERTIFICATE_HOST, "/home")) != f"home of {other.user_id}")
    jumping.signed_in(other)
    jumping.signed_in(jumping.newcomer())
    assert jumping.workers() == workers
    assert jumping.metric("mtls_gateway_worker_exits_total", cause="died") == 0
    jumping.cli("audit", "verify")


def test_a_day_back_admits_nobody_whose_certificate_has_not_begun_and_all_of_them_afterwards(
    jumping: WholeGateway, clock: MachineClock
) -> None:
    # After the test before.
    assert eventually(lambda: is_ready(jumping))
    workers = jumping.workers()
    person = jumping.newcomer()
    browser = jumping.signed_in(person)
    clock.set(-DAY)
    try:
        assert place(browser.get(CERTIFICATE_HOST, "/home")) != f"home of {person.user_id}"
        assert jumping.browser(person).get(CERTIFICATE_HOST, "/").status == 403
        assert jumping.browser().get(PUBLIC_HOST, "/").status == 200
    finally:
        clock.set(0)
    assert eventually(lambda: is_ready(jumping))
    assert eventually(lambda: place(browser.get(CERTIFICATE_HOST, "/home")) == f"home of {person.user_id}")
    # Revocation still reaches it within a second or so: the feed was not lost to a time that was.
    jumping.revoke_by_crl(person)
    assert eventually(lambda: place(browser.get(CERTIFICATE_HOST, "/home")) != f"home of {person.user_id}")
    assert jumping.workers() == workers
    assert jumping.metric("mtls_gateway_worker_exits_total", cause="died") == 0
    jumping.cli("audit", "verify")
