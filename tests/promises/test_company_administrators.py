"""An administrator's word reaches a member's sessions at once, and nobody else's at all (clauses C.3, D.6)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.model import CertificateState, Code
from tests.promises.whole_gateway import Person, WholeGateway, eventually

MEMBERS = "/gateway/members"


@pytest.fixture
def administrator(gateway: WholeGateway) -> Person:
    return gateway.newcomer(administrator=True)


def home(browser: Browser) -> str:
    return place(browser.get(CERTIFICATE_HOST, "/home"))


def question(browser: Browser, user_id: str, deed: str = "revoke") -> Answer:
    asked = urlencode({"user": user_id, "deed": deed, "cause": "lost"})
    return browser.get(CERTIFICATE_HOST, f"{MEMBERS}/confirm?{asked}")


def revoke(browser: Browser, user_id: str, password: str) -> Answer:
    page = question(browser, user_id)
    return browser.submit(page, page.form_to("/members/confirm"), password=password)


def state_of(gateway: WholeGateway, person: Person) -> list[CertificateState]:
    found = gateway.store(lambda store: store.certificates.all(user_id=person.user_id))
    return [one.state for one in found]


def test_a_members_session_ends_within_a_second(gateway: WholeGateway, administrator: Person) -> None:
    member, bystander = gateway.newcomer(), gateway.newcomer()
    browser, other = gateway.signed_in(member), gateway.signed_in(bystander)
    connection = browser.connect(CERTIFICATE_HOST)
    assert place(browser.exchange(connection, "GET", "/home")) == f"home of {member.user_id}"
    desk = gateway.signed_in(administrator)
    assert "失効させました" in revoke(desk, member.user_id, administrator.password).text
    refused = Code.CERTIFICATE_REVOKED.value
    assert within_a_second(lambda: home(browser), refused) == refused
    connection.close()
    assert home(other) == f"home of {bystander.user_id}"
    assert home(desk) == f"home of {administrator.user_id}"


def test_the_administrators_own_sessions_survive_the_second_password(
    gateway: WholeGateway, administrator: Person
) -> None:
    """The bank is asked once more whether the password is right: the session that this opens there is ended again."""
    desk = gateway.signed_in(administrator)
    before = gateway.visit.bank("signed_in")
    revoke(desk, gateway.newcomer().user_id, administrator.password)
    assert gateway.visit.bank("signed_in") == before
    assert home(desk) == f"home of {administrator.user_id}"


def test_five_wrong_passwords_suspend_the_administrator(gateway: WholeGateway, administrator: Person) -> None:
    member = gateway.newcomer()
    desk = gateway.signed_in(administrator)
    page = question(desk, member.user_id)
    with ThreadPoolExecutor(8) as pool:
        guesses = [
            pool.submit(desk.submit, page, page.form_to("/members/confirm"), password=f"guess {number}")
            for number in range(8)
        ]
        assert not any("失効させました" in guess.result().text for guess in guesses)
    suspended = Code.USER_SUSPENDED.value
    assert within_a_second(lambda: home(desk), suspended) == suspended
    assert state_of(gateway, member) == [CertificateState.VALID]


def test_nobody_else_may(gateway: WholeGateway, administrator: Person) -> None:
    """Members, other companies' administrators, and whoever stole the session's cookie."""
    member, colleague = gateway.newcomer(), gateway.newcomer()
    stranger = gateway.newcomer("sato", administrator=True)
    for person in (colleague, stranger):
        assert question(gateway.signed_in(person), member.user_id).status == 404
    desk = gateway.signed_in(administrator)
    page = question(desk, member.user_id)
    form = page.form_to("/members/confirm")
    thief = gateway.browser(colleague)
    thief.cookies = {host: dict(cookies) for host, cookies in desk.cookies.items()}
    answer = thief.submit(page, form, password=administrator.password)
    assert place(answer) == "password page"
    outside = gateway.browser()
    outside.cookies[PUBLIC_HOST] = dict(desk.cookies[CERTIFICATE_HOST])
    assert place(outside.get(PUBLIC_HOST, MEMBERS)) == Code.CERTIFICATE_MISSING.value
    assert state_of(gateway, member) == [CertificateState.VALID]
    assert question(desk, administrator.user_id).status == 404


def test_two_administrators_at_once_do_it_once(gateway: WholeGateway, administrator: Person) -> None:
    second, member = gateway.newcomer(administrator=True), gateway.newcomer()
    desks = [(gateway.signed_in(person), person.password) for person in (administrator, second)]
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(revoke, desk, member.user_id, password) for desk, password in desks]
    assert sorted(answer.result().status for answer in answers) == [200, 409]
    assert eventually(lambda: state_of(gateway, member) == [CertificateState.REVOKED])
