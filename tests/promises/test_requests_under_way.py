"""Who waits for an answer when the right to it ends is told so: a page, not a broken connection (clauses A.2, C.3).

The backend here says nothing at all. What is counted is what reached it: a request that is answered otherwise is
never made again.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.cast import CERTIFICATE_HOST
from mtls_gateway.demo.client import BROWSER, Browser
from mtls_gateway.model import Code
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.authority import Authority, now
from tests.promises.tls_line import Answer, Line
from tests.promises.whole_gateway import Person, WholeGateway, eventually, whole_gateway

PROMISED = 1.0
COMPANY = "impatient"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    """A gateway that waits long for its odd backend."""
    with whole_gateway(tmp_path_factory.mktemp("patient"), {}, backend="odd") as running:
        running.cli("company", "create", COMPANY, "--name-ja", "短気")
        running.cli("company", "method", COMPANY, "certificate")
        yield running


def asked(gateway: WholeGateway, target: str) -> int:
    """How often the backend was asked for ``target``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.ports.bank}/monitor", timeout=10) as answer:
        return int(json.load(answer)["asked"].get(target, 0))


@contextmanager
def waiting(
    gateway: WholeGateway, browser: Browser, target: str, method: str = "GET", *, whole: bool = True
) -> Iterator[Line]:
    """A request that has reached the backend, whose answer does not come."""
    body = b"amount=1000000" if method == "POST" else b""
    fields = {"Cookie": browser.cookie_header(CERTIFICATE_HOST), "Accept": "text/html", "User-Agent": BROWSER}
    with Line(gateway, CERTIFICATE_HOST, browser.context) as line:
        fields |= {"Host": line.host, "Origin": f"https://{line.host}"}
        if body:
            fields |= {**FORM, "Content-Length": str(len(body) + (not whole))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        line.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        if whole:
            assert eventually(lambda: asked(gateway, target) == 1)
        yield line


def answered_within_a_second(line: Line, act: Callable[[], object]) -> Answer:
    """The answer that comes once ``act`` is done; the connection is closed behind it."""
    act()
    began = time.monotonic()
    answer = line.answer()
    assert time.monotonic() - began < PROMISED
    assert answer.headers["Connection"] == "close"
    assert line.is_closed()
    return answer


def revoke(gateway: WholeGateway, person: Person) -> None:
    gateway.store(lambda store: store.certificates.revoke(person.certificate, actor="test", reason="unspecified"))


ENDS: dict[str, tuple[Callable[[WholeGateway, Person], object], Code]] = {
    "revoked": (revoke, Code.CERTIFICATE_REVOKED),
    "on the next CRL": (lambda gateway, person: gateway.revoke_by_crl(person), Code.CERTIFICATE_REVOKED),
    "stopped": (lambda gateway, person: gateway.cli("user", "stop", person.user_id), Code.USER_STOPPED),
    "suspended with the company": (
        lambda gateway, person: gateway.cli("company", "suspend", COMPANY),
        Code.COMPANY_SUSPENDED,
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_under_way_is_answered_with_the_page_of_the_refusal(
    patient: WholeGateway, method: str, end: str
) -> None:
    act, code = ENDS[end]
    person = patient.newcomer(COMPANY)
    browser = patient.signed_in(person)
    target = f"/bad/says_nothing?{person.user_id}"
    try:
        with waiting(patient, browser, target, method) as line:
            answer = answered_within_a_second(line, lambda: act(patient, person))
        assert answer.status == 403
        assert code.value in answer.text
        assert "text/html" in answer.headers["Content-Type"]
        assert asked(patient, target) == 1
    finally:
        patient.cli("company", "resume", COMPANY)


def test_a_script_is_answered_with_the_bare_refusal(patient: WholeGateway) -> None:
    person = patient.newcomer()
    browser = patient.signed_in(person)
    target = f"/bad/says_nothing?{person.user_id}"
    with Line(patient, CERTIFICATE_HOST, browser.context) as line:
        fields = f"Host: {line.host}\r\nCookie: {browser.cookie_header(CERTIFICATE_HOST)}\r\nAccept: */*\r\n"
        line.send(f"POST {target} HTTP/1.1\r\n{fields}Content-Length: 2\r\n\r\n{{}}".encode())
        assert eventually(lambda: asked(patient, target) == 1)
        answer = answered_within_a_second(line, lambda: revoke(patient, person))
    assert answer.status == 403
    assert asked(patient, target) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_waits_when_the_session_is_ended_is_led_to_the_password_page(patient: WholeGateway, method: str) -> None:
    person = patient.newcomer()
    browser = patient.signed_in(person)
    target = f"/bad/says_nothing?{person.user_id}"
    with waiting(patient, browser, target, method) as line:
        answer = answered_within_a_second(line, lambda: patient.cli("session", "end", person.user_id))
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/gateway/password")
    assert asked(patient, target) == 1
    # The certificate is as good as before.
    patient.signed_in(person)


def test_who_waits_at_the_last_second_of_the_certificate_is_told_so(patient: WholeGateway) -> None:
    issuing = Authority.loaded(patient.material.certificates.authority, "issuing")
    last_second = now() + timedelta(seconds=4)
    identity, pem = issuing.leaf(patient.folder(), ends=last_second)
    person = Person(patient.new_user(), identity, pem)
    patient.register(NewCertificate(identity, person.user_id))
    ends = last_second.timestamp() + 1.0
    browser = patient.signed_in(person)
    with waiting(patient, browser, f"/bad/says_nothing?{person.user_id}") as line:
        answer = answered_within_a_second(line, lambda: eventually(lambda: SystemClock().now() >= ends))
    assert Code.CERTIFICATE_EXPIRED.value in answer.text


def test_a_request_whose_body_is_still_to_come_is_cut(patient: WholeGateway) -> None:
    """Nobody can tell what the rest of it would have been."""
    person = patient.newcomer()
    browser = patient.signed_in(person)
    cuts = patient.metric("mtls_gateway_cut_connections_total")
    with waiting(patient, browser, f"/bad/says_nothing?{person.user_id}", "POST", whole=False) as line:
        # The backend answers nothing to half a request either; the worker has it when it has opened a connection.
        assert eventually(lambda: patient.metric("mtls_gateway_backend_connections", state="open") > 0)
        revoke(patient, person)
        assert line.is_closed(PROMISED)
    assert patient.metric_reaches(cuts + 1, "mtls_gateway_cut_connections_total")


def test_nobody_who_asks_while_certificates_are_revoked_sees_a_broken_connection(patient: WholeGateway) -> None:
    """As fast as they can, on new connections, through the moment of their own revocation and after it."""
    people = [patient.newcomer() for _ in range(4)]
    browsers = [patient.signed_in(person) for person in people]
    broken: list[BaseException] = []
    refused = [threading.Event() for _ in people]

    def ask(browser: Browser, told: threading.Event) -> None:
        try:
            while not told.is_set():
                if Code.CERTIFICATE_REVOKED.value in browser.get(CERTIFICATE_HOST, "/home").text:
                    told.set()
        except BaseException as error:
            broken.append(error)
            told.set()

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(browsers, refused, strict=True)]
    for thread in threads:
        thread.start()
    for person, told in zip(people, refused, strict=True):
        revoke(patient, person)
        assert told.wait(PROMISED)
    for thread in threads:
        thread.join(10)
    assert broken == []
