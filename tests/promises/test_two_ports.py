"""One host name, two ports: each port is a host of its own, though browsers send each the other's cookies (A.1).

For a bank that can have no second name in its server certificate. Everything that tells the hosts apart must then
come from the port: what TLS asks for, ``Host``, redirects, forms; a session is good on its own port only.
"""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

import pytest

from mtls_gateway.demo.bank import SESSION_COOKIE
from mtls_gateway.demo.cast import PUBLIC_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.free_ports import free_ports
from mtls_gateway.demo.material import Material
from mtls_gateway.demo.visit import place
from mtls_gateway.model import Code
from tests.promises.tls_line import Line, client_context
from tests.promises.whole_gateway import Person, WholeGateway, password_of, whole_gateway

OURS = "__Host-ib-session"
SIGN_IN_PAGE = "sign-in page"


class TwoPorts:
    """A gateway whose hosts have one name; ``public`` and ``certificate`` are their ports."""

    def __init__(self, gateway: WholeGateway, certificate: int) -> None:
        self.gateway = gateway
        self.public = gateway.port
        self.certificate = certificate

    def browser(self, person: Person | None = None) -> Browser:
        pem = None if person is None else person.pem
        return Browser(self.public, self.gateway.server_ca, pem, other_ports=[self.certificate])

    def line(self, port: int, person: Person | None = None) -> Line:
        return Line(
            self.gateway, PUBLIC_HOST, client_context(self.gateway, None if person is None else person.pem), port=port
        )

    def get(self, browser: Browser, port: int, path: str) -> Answer:
        return browser.request("GET", browser.url(PUBLIC_HOST, path, port), None, {}, True)

    def signed_in(self, person: Person) -> Browser:
        """By certificate, beginning at the public port as a customer does."""
        browser = self.browser(person)
        page = self.get(browser, self.public, "/")
        page = self.get(browser, self.certificate, _path(_link(page, "電子証明書ログイン")))
        answer = browser.submit(page, page.form("password"), password=person.password)
        assert place(answer) == f"home of {person.user_id}", answer.text
        return browser


def _link(page: Answer, words: str) -> str:
    """Where the link or button with these words leads."""
    found = re.search(rf'(?:href|action)="([^"]+)"[^<]*(?:<[^/][^>]*>\s*)*{words}', page.text)
    assert found is not None, page.text
    return str(urljoin(page.url, found[1]))


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[3]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoPorts]:
    (port,) = free_ports(1)

    def settings(material: Material) -> Mapping[str, Any]:
        hosts = {
            "certificate": f"hosts/{PUBLIC_HOST}.cert.pem",
            "key": f"hosts/{PUBLIC_HOST}.key.pem",
        }
        return {"certificate": {"name": PUBLIC_HOST, "listen": [f"127.0.0.1:{port}"], **hosts}}

    with whole_gateway(tmp_path_factory.mktemp("two-ports"), settings) as running:
        yield TwoPorts(running, port)


@pytest.fixture(scope="module")
def person(two: TwoPorts) -> Person:
    return two.gateway.newcomer()


def _asked_for(two: TwoPorts, port: int) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", PUBLIC_HOST]
    said = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    return said.stdout.decode("utf-8", "replace")


def test_a_certificate_is_asked_for_on_the_one_port_only(two: TwoPorts) -> None:
    assert "No client certificate CA names sent" in _asked_for(two, two.public)
    asked = _asked_for(two, two.certificate)
    assert "Acceptable client certificate CA names" in asked
    assert "Issuing CA" in asked


@pytest.mark.parametrize("on", ["public", "certificate"])
def test_host_must_name_the_port_that_the_connection_was_made_to(two: TwoPorts, person: Person, on: str) -> None:
    port = getattr(two, on)
    other = two.certificate if port == two.public else two.public
    with two.line(port, person) as line:
        line.host = f"{PUBLIC_HOST}:{port}"
        assert line.ask().status == (200 if on == "public" else 303)
    for host in (f"{PUBLIC_HOST}:{other}", PUBLIC_HOST, f"{PUBLIC_HOST}:443", f"{PUBLIC_HOST}:"):
        with two.line(port, person) as line:
            line.host = host
            assert line.ask().status == 421
            assert line.is_closed()


def test_signing_in_leads_from_the_one_port_to_the_other_and_back(two: TwoPorts) -> None:
    person = two.gateway.newcomer()
    browser = two.signed_in(person)
    assert place(two.get(browser, two.certificate, "/home")) == f"home of {person.user_id}"
    # Everything that the bank leads to stays on the port.
    answer = browser.request("GET", browser.url(PUBLIC_HOST, "/logout", two.certificate), None, {}, False)
    assert answer.status == 200
    assert OURS not in browser.cookies[PUBLIC_HOST]
    assert place(two.get(browser, two.certificate, "/home")) == "password page"


def test_a_certificates_session_is_no_session_on_the_public_port(two: TwoPorts) -> None:
    """The browser sends its cookies there too: it gets the sign-in page, as if it had sent none."""
    person = two.gateway.newcomer()
    browser = two.signed_in(person)
    assert {OURS, SESSION_COOKIE} <= browser.cookies[PUBLIC_HOST].keys()
    assert place(two.get(browser, two.public, "/")) == SIGN_IN_PAGE
    assert place(two.get(browser, two.public, "/home")) == SIGN_IN_PAGE
    assert two.get(browser, two.public, "/static/bank.css").status == 200
    # Nor does that visit do the session any harm.
    assert place(two.get(browser, two.certificate, "/home")) == f"home of {person.user_id}"


def test_the_password_methods_session_is_no_session_on_the_certificate_port(two: TwoPorts) -> None:
    user_id = two.gateway.new_user("tanaka")
    person = two.gateway.newcomer()
    browser = two.browser(person)
    page = two.get(browser, two.public, "/gateway/password-sign-in")
    answer = browser.submit(page, page.form("password"), text=user_id, password=password_of(user_id))
    assert place(answer) == f"home of {user_id}"
    page = two.get(browser, two.certificate, "/home")
    assert place(page) == "password page"
    assert place(two.get(browser, two.public, "/home")) == f"home of {user_id}"
    # Whoever then signs in with a certificate has that session, and no longer the other.
    assert place(browser.submit(page, page.form("password"), password=person.password)) == f"home of {person.user_id}"
    assert place(two.get(browser, two.certificate, "/home")) == f"home of {person.user_id}"
    assert place(two.get(browser, two.public, "/home")) == SIGN_IN_PAGE


def test_a_form_of_the_one_port_is_worth_nothing_on_the_other(two: TwoPorts) -> None:
    """Same name, same cookies, same site to a browser: the form's token and ``Origin`` tell them apart."""
    person = two.gateway.newcomer()
    browser = two.browser(person)
    page = two.get(browser, two.certificate, "/")
    body = page.form("password").filled({"password": person.password}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    before = two.gateway.visit.bank("sign_ins")
    for path, port, origin in (
        ("/gateway/password", two.certificate, two.public),
        ("/gateway/password", two.public, two.public),
        ("/gateway/password-sign-in", two.public, two.public),
    ):
        sent = {**headers, "Origin": f"https://{PUBLIC_HOST}:{origin}"}
        answer = browser.request("POST", browser.url(PUBLIC_HOST, path, port), body, sent, False)
        assert answer.status in (403, 404)
    assert two.gateway.visit.bank("sign_ins") == before


def test_without_a_certificate_the_certificate_port_says_so_and_the_public_one_does_not_mind(two: TwoPorts) -> None:
    browser = two.browser()
    assert place(two.get(browser, two.public, "/")) == SIGN_IN_PAGE
    assert Code.CERTIFICATE_MISSING.value in two.get(browser, two.certificate, "/").text


def test_a_session_of_tls_resumes_on_its_own_port_only(two: TwoPorts) -> None:
    """Else a ticket that was taken without a certificate would open the port that asks for one (CVE-2025-23419)."""
    person = two.gateway.newcomer()
    browser = two.signed_in(person)
    for taken, tried in ((two.public, two.certificate), (two.certificate, two.public)):
        context: ssl.SSLContext = browser.context
        with Line(two.gateway, PUBLIC_HOST, context, port=taken) as line:
            line.host = f"{PUBLIC_HOST}:{taken}"
            line.as_browser(browser, PUBLIC_HOST)
            session = line.session
        with Line(two.gateway, PUBLIC_HOST, context, session, port=tried) as line:
            line.host = f"{PUBLIC_HOST}:{tried}"
            answer = line.as_browser(browser, PUBLIC_HOST)
            assert not line.resumed
        assert ("ようこそ" in answer.text) == (tried == two.certificate)
