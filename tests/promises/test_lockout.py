"""Five wrong passwords suspend, three suspensions stop, and nobody without a certificate counts (clause A.7)."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter
from typing import Any

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.visit import place
from mtls_gateway.model import Code
from tests.promises.whole_gateway import Person, WholeGateway, eventually

SUSPENDED, STOPPED = Code.USER_SUSPENDED.value, Code.USER_STOPPED.value
WRONG = "not the password"


def monitor(odd: WholeGateway) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{odd.ports.bank}/monitor", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def attempt(browser: Browser, password: str) -> Answer:
    page = browser.get(CERTIFICATE_HOST, "/")
    if place(page) != "password page":
        return page
    return browser.submit(page, page.form("password"), password=password)


def suspend(odd: WholeGateway, person: Person) -> None:
    browser = odd.browser(person)
    reached = [place(attempt(browser, WRONG)) for _ in range(5)]
    assert reached == ["password page"] * 4 + [SUSPENDED]


def test_fifty_wrong_passwords_at_once_are_five_tries_at_the_legacy_backend(odd: WholeGateway) -> None:
    person = odd.newcomer()
    browsers = [odd.browser(person) for _ in range(50)]
    pages = [browser.get(CERTIFICATE_HOST, "/") for browser in browsers]
    before = monitor(odd)["tries"]
    reached: list[str] = []
    barrier = threading.Barrier(len(browsers))

    def guess(browser: Browser, page: Answer) -> None:
        barrier.wait()
        reached.append(place(browser.submit(page, page.form("password"), password=WRONG)))

    threads = [threading.Thread(target=guess, args=pair) for pair in zip(browsers, pages, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert monitor(odd)["tries"] - before == 5
    assert Counter(reached) == {"password page": 4, SUSPENDED: 46}
    # And one who knows the password among them gains nothing by it.
    assert place(attempt(odd.browser(person), person.password)) == SUSPENDED
    assert monitor(odd)["tries"] - before == 5


def test_a_suspension_ends_by_itself_and_the_right_password_is_needed_then(odd: WholeGateway) -> None:
    person = odd.newcomer()
    suspend(odd, person)
    began = time.monotonic()
    assert place(attempt(odd.browser(person), person.password)) == SUSPENDED
    assert eventually(lambda: place(attempt(odd.browser(person), person.password)) == f"home of {person.user_id}")
    assert time.monotonic() - began > 0.5


def test_the_right_password_forgets_the_wrong_ones(odd: WholeGateway) -> None:
    person = odd.newcomer()
    for _ in range(2):
        browser = odd.browser(person)
        assert [place(attempt(browser, WRONG)) for _ in range(4)] == ["password page"] * 4
        attempt(browser, person.password)
        assert place(browser.get(CERTIFICATE_HOST, "/home")) in ("takeover page", f"home of {person.user_id}")
        odd.store(lambda store: store.sessions.end_all_of(person.user_id, actor="test"))


def test_the_third_suspension_stops_until_the_bank_releases(odd: WholeGateway) -> None:
    person = odd.newcomer()
    browser = odd.browser(person)
    for _ in range(2):
        suspend(odd, person)
        assert eventually(lambda: place(browser.get(CERTIFICATE_HOST, "/")) == "password page")
    reached = [place(attempt(browser, WRONG)) for _ in range(5)]
    assert reached == ["password page"] * 4 + [STOPPED]
    # Not by itself: well after a suspension would have ended.
    assert not eventually(lambda: place(browser.get(CERTIFICATE_HOST, "/")) != STOPPED, 2.0)
    before = monitor(odd)["tries"]
    assert place(attempt(browser, person.password)) == STOPPED
    assert monitor(odd)["tries"] == before
    odd.cli("user", "release", person.user_id)
    assert eventually(lambda: place(browser.get(CERTIFICATE_HOST, "/")) == "password page", 1.0)
    assert place(attempt(browser, person.password)) == f"home of {person.user_id}"


def test_a_suspension_too_is_lifted_by_the_operators_command(odd: WholeGateway) -> None:
    person = odd.newcomer()
    suspend(odd, person)
    odd.cli("user", "release", person.user_id)
    browser = odd.browser(person)
    assert eventually(lambda: place(browser.get(CERTIFICATE_HOST, "/")) == "password page", 1.0)
    assert place(attempt(browser, person.password)) == f"home of {person.user_id}"


@pytest.mark.parametrize("certificate", [None, "unknown-issuer", "expired", "good-second-user"])
def test_no_outsider_can_lock_a_person_out(odd: WholeGateway, certificate: str | None) -> None:
    """Whoever has not that person's good certificate may guess as often as they like."""
    person = odd.newcomer()
    outsider = odd.visit.browser(certificate)
    page = odd.browser(person).get(CERTIFICATE_HOST, "/")
    form = page.form("password")
    before = monitor(odd)["tries"]
    for _ in range(8):
        # The person's own form, sent by another; and the public host's, with the person's ID.
        outsider.submit(page, form, password=WRONG)
        public = outsider.get(PUBLIC_HOST, "/gateway/password-sign-in")
        outsider.submit(public, public.form("password"), text=person.user_id, password=WRONG)
    assert monitor(odd)["tries"] == before
    assert place(attempt(odd.browser(person), person.password)) == f"home of {person.user_id}"
