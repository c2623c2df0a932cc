"""The company decides how its users sign in, and on each host and by each way only so (clauses A.4, A.5)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import partial

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.model import Code, Method
from tests.promises.whole_gateway import WholeGateway, password_of

REFUSED = Code.COMPANY_ON_CERTIFICATE_METHOD.value
_names = itertools.count()


@pytest.fixture
def company(gateway: WholeGateway) -> Iterator[str]:
    """A new company; it begins on the password method."""
    name = f"company{next(_names)}"
    gateway.store(lambda store: store.companies.create(name, "会社", None, actor="test"))
    yield name


def set_method(gateway: WholeGateway, company: str, method: Method, deadline: float | None = None) -> None:
    gateway.store(lambda store: store.companies.set_method(company, method, deadline, actor="test"))


def sign_in(browser: Browser, user_id: str, password: str | None = None) -> Answer:
    page = browser.get(PUBLIC_HOST, "/gateway/password-sign-in")
    given = password_of(user_id) if password is None else password
    return browser.submit(page, page.form("password"), text=user_id, password=given)


def front(browser: Browser) -> str:
    return place(browser.get(PUBLIC_HOST, "/home"))


def test_a_company_on_the_password_method_sees_no_change(gateway: WholeGateway, company: str) -> None:
    user_id = gateway.new_user(company)
    browser = gateway.browser()
    assert place(sign_in(browser, user_id)) == f"home of {user_id}"
    assert "1234567" in browser.get(PUBLIC_HOST, "/balance").text
    page = browser.get(PUBLIC_HOST, "/gateway/sign-out")
    browser.submit(page, page.form_to("/sign-out"))
    assert "1234567" not in browser.get(PUBLIC_HOST, "/balance").text


@pytest.mark.parametrize("with_certificate", [False, True])
def test_a_company_on_the_certificate_method_cannot_use_a_password_alone(
    gateway: WholeGateway, with_certificate: bool
) -> None:
    person = gateway.newcomer()
    user_id = person.user_id if with_certificate else gateway.new_user()
    before = gateway.visit.bank("sign_ins")
    for password in (password_of(user_id), "wrong"):
        assert place(sign_in(gateway.browser(), user_id, password)) == REFUSED
        # Nor by showing the form at the other host.
        browser = gateway.browser(person)
        page = browser.get(PUBLIC_HOST, "/gateway/password-sign-in")
        form = page.form("password")
        url = browser.url(CERTIFICATE_HOST, "/gateway/password-sign-in")
        body = form.filled({"text": user_id, "password": password}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": browser.url(CERTIFICATE_HOST, "")}
        browser.cookies[CERTIFICATE_HOST] = dict(browser.cookies.get(PUBLIC_HOST, {}))
        answer = browser.request("POST", url, body, headers, True)
        assert not place(answer).startswith("home")
    assert gateway.visit.bank("sign_ins") == before, "the bank was asked"


def test_a_right_and_a_wrong_password_are_refused_alike_where_the_method_is_not_theirs(gateway: WholeGateway) -> None:
    """Or else the page would tell whoever asks which passwords are right."""
    user_id = gateway.new_user()
    right, wrong = (sign_in(gateway.browser(), user_id, password) for password in (None, "wrong"))
    assert place(right) == place(wrong) == REFUSED
    assert (right.status, len(right.body)) == (wrong.status, len(wrong.body))


def test_the_switch_takes_effect_for_the_whole_company_and_ends_what_was_open(
    gateway: WholeGateway, company: str
) -> None:
    users = [gateway.new_user(company) for _ in range(2)]
    browsers = [gateway.browser() for _ in users]
    for browser, user_id in zip(browsers, users, strict=True):
        assert place(sign_in(browser, user_id)) == f"home of {user_id}"
    gateway.cli("company", "method", company, "certificate")
    for browser, user_id in zip(browsers, users, strict=True):
        assert within_a_second(partial(front, browser), "sign-in page") == "sign-in page"
        assert place(sign_in(gateway.browser(), user_id)) == REFUSED


def test_while_a_company_migrates_each_user_switches_with_its_certificate(gateway: WholeGateway, company: str) -> None:
    set_method(gateway, company, Method.MIGRATING, SystemClock().now() + 3_600)
    without = gateway.new_user(company)
    person = gateway.newcomer(company)
    assert place(sign_in(gateway.browser(), without)) == f"home of {without}"
    assert place(sign_in(gateway.browser(), person.user_id)) == REFUSED
    gateway.signed_in(person)
    # A revocation does not switch it back.
    gateway.store(lambda store: store.certificates.revoke(person.certificate, actor="test", reason="unspecified"))
    assert place(sign_in(gateway.browser(), person.user_id)) == REFUSED


def test_at_the_deadline_all_have_switched_and_open_sessions_end(gateway: WholeGateway, company: str) -> None:
    user_id = gateway.new_user(company)
    deadline = SystemClock().now() + 3.0
    set_method(gateway, company, Method.MIGRATING, deadline)
    browser = gateway.browser()
    assert place(sign_in(browser, user_id)) == f"home of {user_id}"
    last = 0.0
    while (asked := SystemClock().now()) < deadline + 0.5:
        if "ようこそ" in browser.get(PUBLIC_HOST, "/home").text:
            last = asked
        time.sleep(0.02)
    assert deadline - 1.0 < last < deadline
    assert place(sign_in(gateway.browser(), user_id)) == REFUSED


def test_a_certificate_of_a_company_on_the_password_method_does_not_sign_in(
    gateway: WholeGateway, company: str
) -> None:
    person = gateway.newcomer(company)
    answer = gateway.browser(person).get(CERTIFICATE_HOST, "/")
    assert place(answer) == Code.COMPANY_NOT_ON_CERTIFICATE_METHOD.value


def test_an_id_is_taken_exactly_as_it_is_registered(gateway: WholeGateway, company: str) -> None:
    """A backend that folds letters would else sign in a user of another company, on another method."""
    user_id = gateway.new_user(company)
    before = gateway.visit.bank("sign_ins")
    for written in (
        user_id.upper(),
        f"{user_id}\0",
        f"{user_id}%00",
        f"{user_id}/",
        f"ｐ{user_id[1:]}",
        f"{user_id}\u200b",
    ):
        answer = sign_in(gateway.browser(), written, password_of(user_id))
        assert place(answer) == "page for ID and password", written
    assert gateway.visit.bank("sign_ins") == before
    # Blanks around it come from copying and are no part of it.
    assert place(sign_in(gateway.browser(), f" {user_id} ", password_of(user_id))) == f"home of {user_id}"


def test_the_session_of_the_password_method_is_worth_nothing_at_the_certificate_host(
    gateway: WholeGateway, company: str
) -> None:
    user_id = gateway.new_user(company)
    browser = gateway.browser()
    assert place(sign_in(browser, user_id)) == f"home of {user_id}"
    for person in (None, gateway.newcomer()):
        other = gateway.browser(person)
        other.cookies[CERTIFICATE_HOST] = dict(browser.cookies[PUBLIC_HOST])
        assert "ようこそ" not in other.get(CERTIFICATE_HOST, "/home").text
    assert "ようこそ" in browser.get(PUBLIC_HOST, "/home").text
