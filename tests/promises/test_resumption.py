"""A resumed TLS session admits nobody whom a full handshake would not admit, and resumes only where it was made.

CVE-2025-23419, CVE-2025-23048 and CVE-2025-68121 are what happens otherwise.
"""

from __future__ import annotations

import http.client
import itertools
import ssl
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mtls_gateway.clock import SystemClock
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.model import Code
from mtls_gateway.store.certificates import NewCertificate
from tests.promises.authority import Authority, now
from tests.promises.tls_line import TLS_1_2, TLS_1_3, Line, client_context
from tests.promises.whole_gateway import Person, WholeGateway, eventually

VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["tls1.2", "tls1.3"])


class Visitor:
    """Somebody with a TLS session to resume and a browser that has signed in."""

    def __init__(self, gateway: WholeGateway, person: Person, version: ssl.TLSVersion) -> None:
        self.gateway = gateway
        self.browser: Browser = gateway.signed_in(person)
        #: POSIX seconds of the last resumed connection that was admitted.
        self.last_good = 0.0
        self.context = client_context(gateway, person.pem, version)
        with Line(gateway, CERTIFICATE_HOST, self.context) as line:
            assert person.user_id in line.as_browser(self.browser, CERTIFICATE_HOST).text
            assert not line.resumed
            self.session = line.session

    def resume(self) -> Line:
        return Line(self.gateway, CERTIFICATE_HOST, self.context, self.session)

    def is_home(self) -> bool:
        """Whether a connection that really resumes leads to the bank, with its first request and with its second."""
        try:
            with self.resume() as line:
                answers = [line.as_browser(self.browser, CERTIFICATE_HOST) for _ in range(2)]
                assert line.resumed
        except (ConnectionError, ssl.SSLError, http.client.HTTPException):
            return False  # Cut between the two: what was admitted ended at this very moment.
        homes = ["ようこそ" in answer.text for answer in answers]
        assert homes != [False, True]
        return all(homes)

    def refusal(self) -> str:
        with self.resume() as line:
            answer = line.as_browser(self.browser, CERTIFICATE_HOST)
            assert line.resumed
        assert "ようこそ" not in answer.text
        return answer.text


@VERSIONS
def test_a_session_resumes_on_the_other_worker_and_is_as_good_there(
    gateway: WholeGateway, version: ssl.TLSVersion
) -> None:
    visitor = Visitor(gateway, gateway.newcomer(), version)
    seen = set()

    def another() -> bool:
        with visitor.resume() as line:
            answer = line.as_browser(visitor.browser, CERTIFICATE_HOST)
            assert line.resumed
            assert "ようこそ" in answer.text
            seen.add(line.worker)
        return len(seen) == 2

    assert eventually(another)


@VERSIONS
def test_a_session_resumed_after_revocation_is_refused_with_its_page(
    gateway: WholeGateway, version: ssl.TLSVersion
) -> None:
    person = gateway.newcomer()
    visitor = Visitor(gateway, person, version)
    assert visitor.is_home()
    gateway.revoke_by_crl(person)
    revoked = time.monotonic()
    while time.monotonic() < revoked + 1.0:
        visitor.is_home()
    # Again and again, so that both workers are asked.
    for _ in range(8):
        assert Code.CERTIFICATE_REVOKED.value in visitor.refusal()


def test_a_session_resumed_after_expiry_is_refused_at_the_very_second(gateway: WholeGateway, tmp_path: Path) -> None:
    issuing = Authority.loaded(gateway.material.certificates.authority, "issuing")
    last_second = now() + timedelta(seconds=5)
    visitors = []
    for version in (TLS_1_2, TLS_1_3):
        user_id = gateway.new_user()
        identity, pem = issuing.leaf(tmp_path, ends=last_second)
        gateway.register(NewCertificate(identity, user_id))
        visitors.append(Visitor(gateway, Person(user_id, identity, pem), version))
    ends = last_second.timestamp() + 1.0
    for visitor in itertools.cycle(visitors):
        asked = SystemClock().now()
        if visitor.is_home():
            visitor.last_good = asked
        if asked > ends + 1.0:
            break
    for visitor in visitors:
        # Admitted within the last good second; never after it.
        assert ends - 1.0 < visitor.last_good < ends
        assert Code.CERTIFICATE_EXPIRED.value in visitor.refusal()


@VERSIONS
@pytest.mark.parametrize(("first", "second"), [(PUBLIC_HOST, CERTIFICATE_HOST), (CERTIFICATE_HOST, PUBLIC_HOST)])
def test_a_session_of_one_host_does_not_resume_on_the_other(
    gateway: WholeGateway, version: ssl.TLSVersion, first: str, second: str
) -> None:
    context = client_context(gateway, gateway.material.certificates.user("good"), version)
    with Line(gateway, first, context) as line:
        line.ask()
        session = line.session
    with Line(gateway, first, context, session) as line:
        line.ask()
        assert line.resumed, "or else this test would say nothing"
    for _ in range(6):
        # A full handshake instead, or none at all.
        try:
            other = Line(gateway, second, context, session)
        except ssl.SSLError:
            continue
        with other:
            other.ask()
            assert not other.resumed


@VERSIONS
def test_a_session_made_without_a_certificate_does_not_gain_one_by_being_resumed(
    gateway: WholeGateway, version: ssl.TLSVersion
) -> None:
    context = client_context(gateway, version=version)
    with Line(gateway, CERTIFICATE_HOST, context) as line:
        assert Code.CERTIFICATE_MISSING.value in line.ask().text
        session = line.session
    context.load_cert_chain(gateway.material.certificates.user("good"))
    with Line(gateway, CERTIFICATE_HOST, context, session) as line:
        assert Code.CERTIFICATE_MISSING.value in line.ask().text
        assert line.resumed


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_own_client_is_refused_too_when_it_resumes_after_revocation(
    gateway: WholeGateway, version: str, tmp_path: Path
) -> None:
    person, ticket = gateway.newcomer(), tmp_path / "ticket.pem"

    def get(*words: str) -> str:
        host = f"{CERTIFICATE_HOST}:{gateway.port}"
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", CERTIFICATE_HOST]
        command += ["-cert", str(person.pem), "-key", str(person.pem), version, "-ign_eof", *words]
        done = subprocess.run(command, input=request.encode(), capture_output=True, check=False, timeout=20)
        return done.stdout.decode("utf-8", "replace")

    assert "303 See Other" in get("-sess_out", str(ticket))
    resumed = get("-sess_in", str(ticket))
    assert "Reused, TLS" in resumed
    assert "303 See Other" in resumed
    gateway.revoke_by_crl(person)

    def is_refused() -> bool:
        said = get("-sess_in", str(ticket))
        assert "Reused, TLS" in said
        return Code.CERTIFICATE_REVOKED.value in said

    assert eventually(is_refused)


@pytest.mark.needs("openssl")
def test_a_full_handshake_gives_one_ticket(gateway: WholeGateway) -> None:
    """OpenSSL would make two, and each costs a tenth of the handshake (``app.openssl_settings``)."""
    person = gateway.newcomer()
    request = f"GET / HTTP/1.1\r\nHost: {CERTIFICATE_HOST}:{gateway.port}\r\nConnection: close\r\n\r\n"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", CERTIFICATE_HOST]
    command += ["-cert", str(person.pem), "-key", str(person.pem), "-tls1_3", "-ign_eof", "-msg"]
    done = subprocess.run(command, input=request.encode(), capture_output=True, check=False, timeout=20)
    assert done.stdout.count(b"NewSessionTicket") == 1
