"""A session belongs to one certificate and one person, and ends when it should, the bank's with it (clause A.6)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert

from mtls_gateway.clock import SystemClock
from mtls_gateway.config import read_configuration
from mtls_gateway.demo.bank import SESSION_COOKIE
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.visit import place, within_a_second
from mtls_gateway.model import CertificateId, CertificateState, Code, print_serial
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import certificates
from tests.promises.authority import Authority
from tests.promises.whole_gateway import Person, WholeGateway, eventually, whole_gateway

IDLE, ABSOLUTE, TAKEOVER = 2.0, 6.0, 2.0
OURS = "__Host-ib-session"


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    """A gateway whose sessions are short."""
    sessions = {"idle": IDLE, "absolute": ABSOLUTE, "takeover": TAKEOVER, "note_use_every": 0.5}
    with whole_gateway(tmp_path_factory.mktemp("hurried"), {"sessions": sessions}) as running:
        yield running


def home(browser: Browser) -> str:
    return place(browser.get(CERTIFICATE_HOST, "/home"))


def with_cookies_of(gateway: WholeGateway, browser: Browser, person: Person | None) -> Browser:
    other = gateway.browser(person)
    other.cookies = {host: dict(cookies) for host, cookies in browser.cookies.items()}
    return other


def test_the_cookie_is_worth_nothing_with_another_certificate_or_none(gateway: WholeGateway) -> None:
    person, other = gateway.newcomer(), gateway.newcomer()
    browser = gateway.signed_in(person)
    thief = with_cookies_of(gateway, browser, other)
    assert home(thief) == Code.SESSION_OTHER_CERTIFICATE.value
    assert home(with_cookies_of(gateway, browser, None)) == Code.CERTIFICATE_MISSING.value
    assert home(browser) == f"home of {person.user_id}"


def test_the_cookie_is_worth_nothing_with_the_same_persons_newer_certificate(
    gateway: WholeGateway, tmp_path: Path
) -> None:
    """Renewed and as good as the old one: it opens a session of its own."""
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    issuing = Authority.loaded(gateway.material.certificates.authority, "issuing")
    newer, pem = issuing.leaf(tmp_path)
    add_awaiting(gateway, newer, person.user_id)
    renewed = with_cookies_of(gateway, browser, Person(person.user_id, newer, pem))
    assert home(renewed) == Code.SESSION_OTHER_CERTIFICATE.value
    assert home(browser) == f"home of {person.user_id}"


def add_awaiting(gateway: WholeGateway, certificate: CertificateId, user_id: str) -> None:
    """The row that a renewal leaves: no command makes one yet."""

    async def add() -> None:
        database = Database(read_configuration(gateway.material.configuration).database_url, SystemClock())
        row = {
            "issuer": certificate.issuer,
            "serial": print_serial(certificate.serial),
            "user_id": user_id,
            "state": CertificateState.AWAITING,
            "registered": SystemClock().now(),
        }
        try:
            async with database.writing("add a renewed certificate") as connection:
                await connection.execute(insert(certificates).values(row))
        finally:
            await database.close()

    asyncio.run(add())


def test_one_persons_legacy_cookie_is_worth_nothing_in_another_persons_session(gateway: WholeGateway) -> None:
    """The bank would believe it: it knows nothing of certificates."""
    person, other = gateway.newcomer(), gateway.newcomer()
    browser, thief = gateway.signed_in(person), gateway.signed_in(other)
    stolen = browser.cookies[CERTIFICATE_HOST][SESSION_COOKIE]
    for value in (stolen, stolen.rpartition(".")[0], stolen.partition(".")[0]):
        thief.cookies[CERTIFICATE_HOST][SESSION_COOKIE] = value
        assert home(thief) != f"home of {person.user_id}"
    assert home(browser) == f"home of {person.user_id}"


@pytest.mark.parametrize("change", ["one letter", "cut", "longer", "empty", "twice", "of no instance"])
def test_a_token_that_was_not_minted_here_opens_nothing(gateway: WholeGateway, change: str) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    token = browser.cookies[CERTIFICATE_HOST][OURS]
    changed = {
        "one letter": token[:10] + ("A" if token[10] != "A" else "B") + token[11:],
        "cut": token[:-4],
        "longer": token + "AAAA",
        "empty": "",
        "twice": f"{token}; {OURS}={token}",
        "of no instance": "A" * len(token),
    }[change]
    forger = with_cookies_of(gateway, browser, person)
    forger.cookies[CERTIFICATE_HOST][OURS] = changed
    assert home(forger) == "password page"
    assert home(browser) == f"home of {person.user_id}"


def test_the_token_is_nowhere_in_what_is_kept(gateway: WholeGateway) -> None:
    token = gateway.signed_in(gateway.newcomer()).cookies[CERTIFICATE_HOST][OURS]
    state = gateway.material.directory / "state"
    for file in [*state.glob("gateway.sqlite3*"), gateway.material.log("gateway")]:
        assert token.encode() not in file.read_bytes()


def test_an_idle_session_ends_and_one_in_use_does_not(hurried: WholeGateway) -> None:
    idle, used = hurried.newcomer(), hurried.newcomer()
    idler, user = hurried.signed_in(idle), hurried.signed_in(used)
    began = time.monotonic()
    while time.monotonic() - began < IDLE + 0.5:
        assert home(user) == f"home of {used.user_id}"
        time.sleep(0.1)
    assert home(idler) == "password page"
    # Asking did not bring it back.
    assert home(idler) == "password page"
    assert home(user) == f"home of {used.user_id}"


def test_a_form_that_is_posted_after_an_idle_end_is_lost_and_leads_to_the_password_page(hurried: WholeGateway) -> None:
    person = hurried.newcomer()
    browser = hurried.signed_in(person)
    time.sleep(IDLE + 0.3)
    url = browser.url(CERTIFICATE_HOST, "/transfer")
    answer = browser.request("POST", url, b"amount=1", {"Content-Type": "application/x-www-form-urlencoded"}, True)
    assert place(answer) == "password page"
    # From there home, not to the form's target.
    browser.submit(answer, answer.form("password"), password=person.password)
    assert home(browser) == f"home of {person.user_id}"


def test_every_session_has_its_absolute_end_however_much_it_is_used(hurried: WholeGateway) -> None:
    person = hurried.newcomer()
    began = time.monotonic()
    browser = hurried.signed_in(person)
    last = 0.0
    while (passed := time.monotonic() - began) < ABSOLUTE + 1.0:
        if home(browser) == f"home of {person.user_id}":
            last = passed
        time.sleep(0.05)
    assert ABSOLUTE - 1.0 < last < ABSOLUTE + 0.7
    assert home(browser) == "password page"


def test_a_second_sign_in_asks_first_and_then_takes_over(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    first, second = gateway.signed_in(person), gateway.browser(person)
    before = gateway.visit.bank("sign_outs")
    taken_over = gateway.metric("mtls_gateway_sessions_ended_total", cause="taken_over")
    page = second.get(CERTIFICATE_HOST, "/")
    page = second.submit(page, page.form("password"), password=person.password)
    assert place(page) == "takeover page"
    # Until it is confirmed the first goes on and the second is nowhere.
    assert home(first) == f"home of {person.user_id}"
    assert home(second) != f"home of {person.user_id}"
    second.submit(page, page.form_to("/takeover"))
    assert home(second) == f"home of {person.user_id}"
    assert within_a_second(lambda: home(first), "password page") == "password page"
    # The legacy session that was taken over is ended as well.
    assert gateway.visit.bank("sign_outs") == before + 1
    assert gateway.metric_reaches(taken_over + 1, "mtls_gateway_sessions_ended_total", cause="taken_over")


def test_a_takeover_needs_the_password_that_was_just_given(gateway: WholeGateway) -> None:
    """The takeover page, and not a mere certificate, is what makes it safe."""
    person = gateway.newcomer()
    first = gateway.signed_in(person)
    attacker = gateway.browser(person)
    page = attacker.get(CERTIFICATE_HOST, "/")
    waiting = gateway.browser(person)
    other = waiting.get(CERTIFICATE_HOST, "/")
    takeover = waiting.submit(other, other.form("password"), password=person.password)
    form = takeover.form_to("/takeover")
    # Somebody else's form in a browser that gave no password; and a GET.
    answer = attacker.submit(takeover, form)
    assert not place(answer).startswith("home")
    assert not place(attacker.get(CERTIFICATE_HOST, "/gateway/takeover")).startswith("home")
    assert page.status == 200
    assert home(first) == f"home of {person.user_id}"


def test_a_takeover_that_waited_too_long_is_no_more(hurried: WholeGateway) -> None:
    person = hurried.newcomer()
    hurried.signed_in(person)
    second = hurried.browser(person)
    page = second.get(CERTIFICATE_HOST, "/")
    page = second.submit(page, page.form("password"), password=person.password)
    assert place(page) == "takeover page"
    time.sleep(TAKEOVER + 0.3)
    answer = second.submit(page, page.form_to("/takeover"))
    assert not place(answer).startswith("home")
    assert home(second) == "password page"


def test_many_sign_ins_at_once_leave_one_session(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browsers = [gateway.browser(person) for _ in range(8)]

    def sign_in(browser: Browser) -> None:
        page = browser.get(CERTIFICATE_HOST, "/")
        browser.submit(page, page.form("password"), password=person.password)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sign_in, browsers))
    assert [home(browser) for browser in browsers].count(f"home of {person.user_id}") == 1


def test_signing_out_ends_the_banks_session_too(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    stale = with_cookies_of(gateway, browser, person)
    before = gateway.visit.bank("sign_outs")
    page = browser.get(CERTIFICATE_HOST, "/gateway/sign-out")
    browser.submit(page, page.form_to("/sign-out"))
    assert gateway.visit.bank("sign_outs") == before + 1
    assert OURS not in browser.cookies[CERTIFICATE_HOST]
    assert within_a_second(lambda: home(stale), "password page") == "password page"


def test_an_end_by_time_ends_the_banks_session_too(hurried: WholeGateway) -> None:
    """Nobody's browser asks for it: what is overdue is tidied away."""
    before = hurried.visit.bank("sign_outs")
    hurried.signed_in(hurried.newcomer())
    assert eventually(lambda: hurried.visit.bank("sign_outs") > before, IDLE + 17.0)


def test_signing_out_is_not_done_by_somebody_elses_link(gateway: WholeGateway) -> None:
    person = gateway.newcomer()
    browser = gateway.signed_in(person)
    page = browser.get(CERTIFICATE_HOST, "/gateway/sign-out")
    form = page.form_to("/sign-out")
    for origin in ("https://evil.example", "null"):
        headers = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
        url = browser.url(CERTIFICATE_HOST, "/gateway/sign-out")
        browser.request("POST", url, re.sub(r"=[^&]*", "=", form.filled({})).encode(), headers, False)
    assert home(browser) == f"home of {person.user_id}"
