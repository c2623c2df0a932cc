"""kill -9 of portal or signer at any moment of an enrolment: one certificate, none lost, no code burnt (clause D.2)."""

from __future__ import annotations

import base64
import http.client
import os
import random
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Connection
from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.code import Code
from mtls_gateway.issuance.est_bodies import Credentials
from mtls_gateway.model import CertificateId, CertificateState, CodeState
from mtls_gateway.store.certificates import ListedCertificate
from mtls_gateway.store.codes import ListedCode
from tests.issuance.requests import csr, new_key
from tests.promises.issuing import MIGRATING, letter, with_issuance
from tests.promises.test_enrolment import ending_soon
from tests.promises.test_kill_9 import processes
from tests.promises.whole_gateway import WholeGateway, eventually, password_of, whole_gateway

VALID, AWAITING = CertificateState.VALID, CertificateState.AWAITING
#: Rounds of the random killer; a round is a user with eight tries under way.
ROUNDS = 6


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("killed"), with_issuance) as running:
        yield running


@dataclass
class Applicant:
    """A user with a letter or a certificate, who asks until there is an answer."""

    gateway: WholeGateway
    user_id: str
    code: Code | None = None
    context: ssl.SSLContext | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def ask(self) -> bytes | None:
        """The certificate; None: no answer, or one that says to try again."""
        host = PUBLIC_HOST if self.code is not None else CERTIFICATE_HOST
        operation = "simpleenroll" if self.code is not None else "simplereenroll"
        password = password_of(self.user_id)
        secret = password if self.code is None else f"{self.code.printed}:{password}"
        headers = {
            "Content-Type": est_bodies.REQUEST,
            "Authorization": est_bodies.basic(Credentials(self.user_id, secret)),
            "User-Agent": "a test",
        }
        context = self.context or self.gateway.browser().context
        connection = Connection(host, self.gateway.port, context)
        try:
            connection.request("POST", f"/.well-known/est/{operation}", base64.b64encode(csr(self.key)), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if answer.status in (502, 503, 504):
            return None
        assert answer.status == 200, body.decode()
        (certificate,) = est_bodies.read_certs_only(body)
        assert certificate.public_key() == self.key.public_key()
        return certificate.public_bytes(Encoding.DER)

    def ask_until_answered(self) -> bytes:
        until = time.monotonic() + 60.0
        while (answer := self.ask()) is None:
            assert time.monotonic() < until, "no certificate within a minute"
            time.sleep(0.02)
        return answer

    def certificates(self) -> list[ListedCertificate]:
        return list(self.gateway.store(lambda store: store.certificates.all(user_id=self.user_id)))

    def codes(self) -> list[ListedCode]:
        return list(self.gateway.store(lambda store: store.codes.all(user_id=self.user_id)))

    def has_exactly(self, answer: bytes, *states: CertificateState) -> None:
        """One certificate came of it, the one that was given out; the code is used up, and no try is counted."""
        listed = self.certificates()
        assert [one.state for one in listed] == list(states)
        certificate = x509.load_der_x509_certificate(answer)
        identity = CertificateId(certificate.issuer.rfc4514_string(), certificate.serial_number)
        assert listed[-1].certificate == identity
        if self.code is not None:
            (code,) = self.codes()
            assert (code.state, code.tries) == (CodeState.USED, 0)


def fresh_portal(gateway: WholeGateway) -> None:
    """A new one that knows the issuers: for half a minute it asks the signer for nothing but signatures."""
    before = processes(gateway, "portal")
    kill(gateway, "portal")
    assert is_back(gateway, "portal", before)
    browser = gateway.browser()
    assert eventually(lambda: browser.get(PUBLIC_HOST, "/.well-known/est/cacerts").status == 200, 30.0)


def newcomer(gateway: WholeGateway) -> Applicant:
    user_id = gateway.new_user(MIGRATING)
    return Applicant(gateway, user_id, letter(gateway, user_id))


def kill(gateway: WholeGateway, role: str) -> None:
    for pid in processes(gateway, role):
        os.kill(pid, signal.SIGKILL)


def is_back(gateway: WholeGateway, role: str, before: list[int]) -> bool:
    return eventually(lambda: bool(now := processes(gateway, role)) and not set(now) & set(before), 20.0)


@contextmanager
def stopped(gateway: WholeGateway, role: str) -> Iterator[int]:
    """The only process of a role, stopped: what is asked of it waits."""
    (pid,) = processes(gateway, role)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def under_way(applicant: Applicant) -> threading.Thread:
    thread = threading.Thread(target=applicant.ask)
    thread.start()
    return thread


def is_written_down(applicant: Applicant) -> bool:
    return eventually(lambda: [one.state for one in applicant.certificates()] == [CertificateState.INTENDED])


# --- at a step that is known ----------------------------------------------------------------------------


def test_the_portal_dies_between_the_row_and_the_signature(gateway: WholeGateway) -> None:
    """The signer waits, so the row is written and nothing signed; then there is no portal any more."""
    applicant = newcomer(gateway)
    fresh_portal(gateway)
    before = processes(gateway, "portal")
    with stopped(gateway, "signer"):
        asking = under_way(applicant)
        assert is_written_down(applicant)
        kill(gateway, "portal")
        asking.join(30)
        assert is_back(gateway, "portal", before)
    applicant.has_exactly(applicant.ask_until_answered(), VALID)


def test_the_signer_dies_with_the_order_in_its_hands(gateway: WholeGateway) -> None:
    applicant = newcomer(gateway)
    fresh_portal(gateway)
    (signer,) = processes(gateway, "signer")
    with stopped(gateway, "signer"):
        asking = under_way(applicant)
        assert is_written_down(applicant)
        os.kill(signer, signal.SIGKILL)
    asking.join(60)
    assert is_back(gateway, "signer", [signer])
    applicant.has_exactly(applicant.ask_until_answered(), VALID)


def test_nobody_asks_again_and_it_is_finished_all_the_same(gateway: WholeGateway) -> None:
    applicant = newcomer(gateway)
    fresh_portal(gateway)
    before = processes(gateway, "portal")
    with stopped(gateway, "signer"):
        asking = under_way(applicant)
        assert is_written_down(applicant)
        kill(gateway, "portal")
        asking.join(30)
        assert is_back(gateway, "portal", before)
    assert eventually(lambda: [one.state for one in applicant.certificates()] == [VALID], 20.0)
    # And whoever comes back later finds it.
    applicant.has_exactly(applicant.ask_until_answered(), VALID)


def test_another_key_does_not_get_a_second_one_meanwhile(gateway: WholeGateway) -> None:
    applicant = newcomer(gateway)
    fresh_portal(gateway)
    before = processes(gateway, "portal")
    with stopped(gateway, "signer"):
        asking = under_way(applicant)
        assert is_written_down(applicant)
        kill(gateway, "portal")
        asking.join(30)
        assert is_back(gateway, "portal", before)
    thief = Applicant(gateway, applicant.user_id, applicant.code)
    with pytest.raises(AssertionError, match="enrolment_code_used"):
        thief.ask_until_answered()
    applicant.has_exactly(applicant.ask_until_answered(), VALID)


# --- at any moment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("roles", [("portal",), ("signer",), ("portal", "signer")], ids="+".join)
def test_at_whatever_moment_one_certificate_comes_of_it(gateway: WholeGateway, roles: tuple[str, ...]) -> None:
    """Eight tries with one code at once, while processes die at random moments."""
    chance = random.Random("kill -9")
    for _ in range(ROUNDS):
        applicant = newcomer(gateway)
        answers: list[bytes] = []
        threads = [
            threading.Thread(target=lambda into=answers, one=applicant: into.append(one.ask_until_answered()))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for _ in range(2):
            time.sleep(chance.uniform(0.0, 0.4))
            kill(gateway, chance.choice(roles))
        for thread in threads:
            thread.join(90)
        assert len(answers) == 8
        assert len(set(answers)) == 1
        applicant.has_exactly(answers[0], VALID)


def test_a_renewal_stands_it_too(gateway: WholeGateway) -> None:
    chance = random.Random("renewal")
    for _ in range(ROUNDS // 2):
        user_id, old, _ = ending_soon(gateway, gateway.folder())
        applicant = Applicant(gateway, user_id, context=gateway.browser(old).context)
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda into=answers, one=applicant: into.append(one.ask_until_answered()))
        asking.start()
        for role in ("portal", "signer"):
            time.sleep(chance.uniform(0.0, 0.3))
            kill(gateway, role)
        asking.join(90)
        assert len(answers) == 1
        applicant.has_exactly(answers[0], VALID, AWAITING)


def test_afterwards_nothing_is_left_half_done(gateway: WholeGateway) -> None:
    assert gateway.store(lambda store: store.enrolments.unfinished(time.time() + 1)) == []
    assert "Traceback" not in gateway.log
