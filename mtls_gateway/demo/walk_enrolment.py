"""The walk's way to a new certificate: the letter's code, EST (RFC 7030), and the first sign-in with what came back."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7

from mtls_gateway.demo import cast
from mtls_gateway.demo.cast import PUBLIC_HOST
from mtls_gateway.demo.client import Answer, Browser
from mtls_gateway.demo.visit import WRONG, Visit, place
from mtls_gateway.model import Code

_ENROL = "/.well-known/est/simpleenroll"


def the_letter_leads_to_a_certificate(visit: Visit) -> None:
    """Clauses D.1, D.2 and A.5: code and password, once; then the certificate and nothing less."""
    user = cast.user(cast.APPLICANT)
    code = visit.material.enrolment_code.read_text()
    key = ec.generate_private_key(ec.SECP256R1())
    visit.expect("before: ID + password", f"home of {user.user_id}", _by_password(visit))
    refused = _ask(visit.browser(), key, user.user_id, code, WRONG)
    visit.expect("the code with a wrong password", (401, "enrolment_refused"), (refused.status, _word(refused)))
    issued = _ask(visit.browser(), key, user.user_id, code, user.password)
    visit.expect("the code with the password", 200, issued.status)
    again = _ask(visit.browser(), key, user.user_id, code, user.password)
    visit.expect("the same again, as after a network failure", True, again.body == issued.body)
    other = _ask(visit.browser(), ec.generate_private_key(ec.SECP256R1()), user.user_id, code, user.password)
    visit.expect("the used code with another key", (403, "enrolment_code_used"), (other.status, _word(other)))
    pem = _keep(visit.material.directory / "enrolled.pem", key, issued)
    browser = Browser(visit.running.ports.gateway, visit.material.certificates.server_ca, pem)
    visit.expect("the new certificate signs in", f"home of {user.user_id}", place(visit.sign_in(browser, user.user_id)))
    visit.expect("after: ID + password", Code.COMPANY_ON_CERTIFICATE_METHOD.value, _by_password(visit))


def _by_password(visit: Visit) -> str:
    browser = visit.browser()
    answer = visit.sign_in_by_password(browser, cast.APPLICANT)
    where = place(answer)
    if where.startswith("home"):
        page = browser.get(PUBLIC_HOST, "/gateway/sign-out")
        browser.submit(page, page.form_to("/sign-out"))
    return where


def _ask(browser: Browser, key: ec.EllipticCurvePrivateKey, user_id: str, code: str, password: str) -> Answer:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    credentials = base64.b64encode(f"{user_id}:{code}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/pkcs10"}
    body = base64.encodebytes(request.public_bytes(Encoding.DER))
    return browser.request("POST", browser.url(PUBLIC_HOST, _ENROL), body, headers, False)


def _word(answer: Answer) -> str:
    return answer.text.partition("\n")[0].strip()


def _keep(file: Path, key: ec.EllipticCurvePrivateKey, answer: Answer) -> Path:
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))
    file.touch(0o600)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return file
