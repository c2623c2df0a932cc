"""Customers of the demo bank: with a letter they enrol; with a certificate they sign in, look and transfer."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.endurance.bank import COMPANY, Bank, password_of
from mtls_gateway.config import read_configuration
from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.client import Browser
from mtls_gateway.demo.visit import place
from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.code import KEY_PURPOSE, Code, digest, new_code, read_code
from mtls_gateway.issuance.est_bodies import Credentials
from mtls_gateway.model import CertificateId, CodePurpose
from mtls_gateway.signin.instance_secret import derive, load_instance_secret
from mtls_gateway.store.codes import PrintedCode
from mtls_gateway.store.opening import Store
from mtls_gateway.store.users import NewUser

_ACTOR = "endurance"
_BOUNDARY = "endurance"
#: What a killed process looks like from outside.
_BROKEN = (OSError, http.client.HTTPException)


class TryAgain(Exception):
    """No answer, or one that says so; the text is its kind."""


@dataclass
class Person:
    """Somebody with a certificate."""

    user_id: str
    certificate: CertificateId
    browser: Browser
    #: Monotonic seconds: until when it was acknowledged that the certificate is revoked.
    revoked: float | None = None


class Ledger:
    """What was promised to whom, and what was broken; threads write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        #: By what was tried, and how it failed.
        self.failed: Counter[str] = Counter()
        #: Each is a broken promise.
        self.broken: list[str] = []
        #: Certificates that were handed out, by user.
        self.enrolled: dict[str, CertificateId] = {}
        self.revoked: list[Person] = []

    def did(self, what: str) -> None:
        """Something came to its end as it should."""
        with self._lock:
            self.done[what] += 1

    def could_not(self, what: str, why: str) -> None:
        """Something was not answered; it will be tried again."""
        with self._lock:
            self.failed[f"{what}: {why}"] += 1

    def broke(self, what: str) -> None:
        """A promise."""
        with self._lock:
            self.broken.append(what)

    def tried(self, what: str, work: Callable[[], object]) -> bool:
        """Do it, and write down what came of it."""
        try:
            work()
        except TryAgain as error:
            self.could_not(what, str(error))
        except _BROKEN as error:
            self.could_not(what, type(error).__name__)
        else:
            self.did(what)
            return True
        return False


class People:
    """Makes them, and acts for them."""

    def __init__(self, bank: Bank, ledger: Ledger, names: list[str]) -> None:
        self._bank = bank
        self._ledger = ledger
        self._names = iter(names)
        self._lock = threading.Lock()
        self._folder = bank.material.directory / "people"
        self._folder.mkdir()
        self._transfers = itertools.count()
        self._secret = load_instance_secret(read_configuration(bank.material.configuration).state / "instance.secret")

    # --- enrolment ------------------------------------------------------------------------------------

    def enrol(self, go_on: Callable[[], bool]) -> Person | None:
        """Somebody new, who asks with one code and one key until there is an answer; None: no time was left."""
        with self._lock:
            user_id = next(self._names)
        code = self._letter(user_id)
        key = ec.generate_private_key(ec.SECP256R1())
        answers: list[x509.Certificate] = []
        while not self._ledger.tried("enrolment", lambda: answers.append(self._ask(user_id, code, key))):
            if not go_on():
                return None
            time.sleep(0.1)
        (certificate,) = answers
        if certificate.public_key() != key.public_key():
            self._ledger.broke(f"{user_id} was given a certificate for another key")
        identity = CertificateId(certificate.issuer.rfc4514_string(), certificate.serial_number)
        self._ledger.enrolled[user_id] = identity
        pem = self._folder / f"{user_id}.pem"
        pem.touch(mode=0o600)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        return Person(user_id, identity, self._browser(pem))

    def _browser(self, pem: Path | None = None) -> Browser:
        return Browser(self._bank.ports.gateway, self._bank.material.certificates.server_ca, pem)

    def _letter(self, user_id: str) -> Code:
        code = read_code(new_code())

        async def write(store: Store) -> None:
            await store.users.add([NewUser(user_id, COMPANY)], actor=_ACTOR)
            await store.codes.order(user_id, CodePurpose.FIRST, actor=_ACTOR)
            (due,) = await store.codes.due_letters(user_id=user_id)
            stored = digest(code, derive(self._secret, KEY_PURPOSE))
            printed = PrintedCode(due.code_id, code.locator, stored, time.time() + 86_400)
            await store.codes.printed([printed], actor=_ACTOR)

        self._bank.rows(write)
        return code

    def _ask(self, user_id: str, code: Code, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, user_id)])
        signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        headers = {
            "Content-Type": est_bodies.REQUEST,
            "Authorization": est_bodies.basic(Credentials(user_id, f"{code.printed}:{password_of(user_id)}")),
        }
        connection = self._browser().connect(PUBLIC_HOST)
        try:
            body = base64.b64encode(signed.public_bytes(Encoding.DER))
            connection.request("POST", "/.well-known/est/simpleenroll", body, headers)
            answer = connection.getresponse()
            octets = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            if answer.status < 500:
                self._ledger.broke(f"enrolment of {user_id} was refused: {answer.status} {octets[:200]!r}")
            raise TryAgain(f"status {answer.status}")
        (certificate,) = est_bodies.read_certs_only(octets)
        return certificate

    # --- in the bank ------------------------------------------------------------------------------------

    def sign_in(self, person: Person) -> None:
        """From the front page to the home page, an older session taken over."""
        browser = person.browser
        page = browser.get(CERTIFICATE_HOST, "/")
        if place(page) == "password page":
            page = browser.submit(page, page.form("password"), password=password_of(person.user_id))
        if place(page) == "takeover page":
            page = browser.submit(page, page.form_to("/takeover"))
        self._require_home(person, place(browser.get(CERTIFICATE_HOST, "/home")))

    def look(self, person: Person) -> None:
        """The home page; whoever was signed in still is."""
        self._require_home(person, place(person.browser.get(CERTIFICATE_HOST, "/home")), was_in=True)

    def _require_home(self, person: Person, seen: str, *, was_in: bool = False) -> None:
        if seen == f"home of {person.user_id}":
            return
        if seen.startswith("home of"):
            self._ledger.broke(f"{person.user_id} was shown the {seen}")
        if was_in and seen in ("password page", "sign-in page", "the bank's own login form"):
            self._ledger.broke(f"{person.user_id} was signed out: {seen}")
        raise TryAgain(seen)

    def transfer(self, person: Person) -> None:
        """A file of its own; what the bank says that it has received must be that."""
        content = f"{person.user_id} {next(self._transfers)}".encode() * 50
        body = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="t.csv"\r\n\r\n'.encode()
            + content
            + f"\r\n--{_BOUNDARY}--\r\n".encode()
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        url = person.browser.url(CERTIFICATE_HOST, "/transfer")
        answer = person.browser.request("POST", url, body, headers, follow=False)
        if answer.status != 200:
            raise TryAgain(f"status {answer.status}")
        received = re.search(r'id="sha256">([0-9a-f]+)<', answer.text)
        if received is None or received[1] != hashlib.sha256(content).hexdigest():
            self._ledger.broke(f"the transfer of {person.user_id} was not what was acknowledged")

    # --- revocation -------------------------------------------------------------------------------------

    def revoke(self, person: Person) -> None:
        """As an operator does; from the acknowledgement on there is a second."""

        async def write(store: Store) -> None:
            await store.certificates.revoke(person.certificate, actor=_ACTOR, reason="unspecified")

        self._bank.rows(write)
        person.revoked = time.monotonic()
        self._ledger.revoked.append(person)

    def is_refused(self, person: Person, within: float) -> None:
        """A request with the old session and the revoked certificate; ``within`` seconds of grace after it."""
        if person.revoked is None:
            raise ValueError(f"{person.user_id} is not revoked")
        asked = time.monotonic()
        seen = place(person.browser.get(CERTIFICATE_HOST, "/home"))
        if seen.startswith("home of") and asked > person.revoked + within:
            self._ledger.broke(f"{person.user_id} was admitted {asked - person.revoked:.2f} s after its revocation")
        if "status 5" in seen:
            raise TryAgain(seen)
