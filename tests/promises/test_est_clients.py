"""EST with programs that nobody here wrote: strongSwan's ``pki``; curl with openssl, as the examples of RFC 7030 go."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from mtls_gateway.demo.cast import CERTIFICATE_HOST, PUBLIC_HOST
from mtls_gateway.demo.visit import place
from mtls_gateway.issuance.code import new_code
from mtls_gateway.model import CertificateState
from tests.promises.issuing import MIGRATING, letter, states, with_issuance
from tests.promises.test_enrolment import ending_soon
from tests.promises.whole_gateway import WholeGateway, password_of, whole_gateway

#: Makes names resolve without touching the machine's /etc/hosts.
NSS_WRAPPER = "/usr/lib/x86_64-linux-gnu/libnss_wrapper.so"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGateway]:
    with whole_gateway(tmp_path_factory.mktemp("est"), with_issuance) as running:
        yield running


@dataclass(frozen=True)
class Done:
    status: int
    output: bytes
    said: str


def run(folder: Path, *words: str | Path, given: bytes | None = None, **environment: str) -> Done:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    return Done(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def make_request(folder: Path, name: str) -> Path:
    """A key and a PKCS#10 request in DER, by openssl."""
    key = f"{name}.key.pem"
    made = run(folder, "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    assert made.status == 0, made.said
    request = folder / f"{name}.csr.der"
    made = run(
        folder, "openssl", "req", "-new", "-key", key, "-subj", f"/CN={name}", "-outform", "DER", "-out", request
    )
    assert made.status == 0, made.said
    return request


# --- strongSwan -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StrongSwan:
    """``pki`` with the names of the gateway's hosts, in a folder."""

    gateway: WholeGateway
    folder: Path

    def __call__(self, command: str, *words: str | Path, host: str = PUBLIC_HOST, given: Path | None = None) -> Done:
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 {PUBLIC_HOST} {CERTIFICATE_HOST}\n")
        return run(
            self.folder,
            "pki",
            command,
            "--url",
            f"https://{host}:{self.gateway.port}",
            "--cacert",
            self.gateway.server_ca,
            *words,
            given=None if given is None else given.read_bytes(),
            LD_PRELOAD=NSS_WRAPPER,
            NSS_WRAPPER_HOSTS=str(hosts),
        )

    @property
    def bank_cas(self) -> list[str | Path]:
        """What ``pki`` holds the issued certificate against."""
        authority = self.gateway.material.certificates.authority
        return ["--cacert", authority / "root.cert.pem", "--cacert", authority / "issuing.cert.pem"]


@pytest.fixture
def pki(gateway: WholeGateway, tmp_path: Path) -> StrongSwan:
    return StrongSwan(gateway, tmp_path)


strongswan = pytest.mark.needs("openssl", "strongswan-pki", "strongswan-plugins", "nss-wrapper")


@strongswan
def test_strongswan_fetches_the_cas(pki: StrongSwan) -> None:
    done = pki("--estca", "--caout", "ca.pem", "--outform", "pem")
    assert done.status == 0, done.said
    written = sorted(path.name for path in pki.folder.glob("ca*.pem"))
    subjects = {
        x509.load_pem_x509_certificate((pki.folder / name).read_bytes()).subject.rfc4514_string() for name in written
    }
    assert subjects == {
        "CN=Demo Credit Cooperative Issuing CA,O=Demo Credit Cooperative,C=JP",
        "CN=Demo Credit Cooperative Root CA,O=Demo Credit Cooperative,C=JP",
    }


@strongswan
def test_strongswan_enrols_and_signs_in(pki: StrongSwan, gateway: WholeGateway) -> None:
    user_id = gateway.new_user(MIGRATING)
    credentials = f"{user_id}:{letter(gateway, user_id).printed}:{password_of(user_id)}"
    request = make_request(pki.folder, "me")
    done = pki("--est", *pki.bank_cas, "--in", request, "--userpass", credentials, "--outform", "pem")
    assert done.status == 0, done.said
    pem = pki.folder / "both.pem"
    pem.write_bytes(done.output + (pki.folder / "me.key.pem").read_bytes())
    browser = gateway.browser(pem)
    page = browser.get(CERTIFICATE_HOST, "/")
    answer = browser.submit(page, page.form("password"), password=password_of(user_id))
    assert place(answer) == f"home of {user_id}"
    # The same again is the same.
    again = pki("--est", *pki.bank_cas, "--in", request, "--userpass", credentials, "--outform", "pem")
    assert again.output == done.output
    assert states(gateway, user_id) == [CertificateState.VALID]


@strongswan
def test_strongswan_renews_with_the_present_certificate(pki: StrongSwan, gateway: WholeGateway) -> None:
    user_id, old, _ = ending_soon(gateway, gateway.folder())
    (pki.folder / "old.pem").write_bytes(old.read_bytes().partition(b"-----BEGIN PRIVATE")[0])
    key = run(pki.folder, "openssl", "ec", "-in", old, "-out", "old.key.pem")
    assert key.status == 0, key.said
    present = ("--cert", "old.pem", "--key", "old.key.pem")
    request = make_request(pki.folder, "new")
    wrong = pki("--est", *pki.bank_cas, *present, "--in", request, "--userpass", f"{user_id}:x", host=CERTIFICATE_HOST)
    assert wrong.status != 0
    assert states(gateway, user_id) == [CertificateState.VALID]
    words = ("--in", request, "--userpass", f"{user_id}:{password_of(user_id)}", "--outform", "pem")
    done = pki("--est", *pki.bank_cas, *present, *words, host=CERTIFICATE_HOST)
    assert done.status == 0, done.said
    assert states(gateway, user_id) == [CertificateState.VALID, CertificateState.AWAITING]


@strongswan
def test_strongswan_with_a_wrong_password_or_code(pki: StrongSwan, gateway: WholeGateway) -> None:
    user_id = gateway.new_user(MIGRATING)
    request = make_request(pki.folder, "me")
    code = letter(gateway, user_id).printed
    for credentials in (f"{user_id}:{code}:wrong", f"{user_id}:{new_code()}:{password_of(user_id)}", f"{user_id}:x"):
        done = pki("--est", *pki.bank_cas, "--in", request, "--userpass", credentials)
        assert done.status != 0 and done.output == b""
        assert "401" in done.said, done.said
    assert states(gateway, user_id) == []


# --- curl and openssl -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curl:
    """``curl`` at the gateway, in a folder; heads are kept as curl shows them."""

    gateway: WholeGateway
    folder: Path

    def __call__(self, operation: str, *words: str | Path, host: str = PUBLIC_HOST) -> tuple[str, bytes]:
        port = self.gateway.port
        done = run(
            self.folder,
            "curl",
            "--silent",
            "--show-error",
            "--include",
            "--cacert",
            self.gateway.server_ca,
            "--connect-to",
            f"{host}:{port}:127.0.0.1:{port}",
            *words,
            f"https://{host}:{port}/.well-known/est/{operation}",
        )
        assert done.status == 0, done.said
        head, _, body = done.output.partition(b"\r\n\r\n")
        return head.decode(), body


@pytest.fixture
def curl(gateway: WholeGateway, tmp_path: Path) -> Curl:
    return Curl(gateway, tmp_path)


with_curl = pytest.mark.needs("curl", "openssl")


def openssl_certificates(folder: Path, body: bytes) -> list[str]:
    """As section 4.1.3 has it: base64 off, and what openssl makes of the rest."""
    der = run(folder, "openssl", "base64", "-d", given=body)
    assert der.status == 0, der.said
    text = run(folder, "openssl", "pkcs7", "-inform", "DER", "-print_certs", given=der.output)
    assert text.status == 0, text.said
    return re.findall(r"^subject=(.*)$", text.output.decode(), re.MULTILINE)


@with_curl
@pytest.mark.parametrize("host", [PUBLIC_HOST, CERTIFICATE_HOST])
def test_appendix_a1_cacerts(curl: Curl, host: str) -> None:
    head, body = curl("cacerts", host=host)
    assert head.startswith("HTTP/1.1 200 ")
    assert "Content-Type: application/pkcs7-mime" in head.splitlines()
    assert "Content-Transfer-Encoding: base64" in head.splitlines()
    assert len(openssl_certificates(curl.folder, body)) == 2


@with_curl
def test_section_4_5_2_csrattrs(curl: Curl) -> None:
    head, body = curl("csrattrs")
    assert "Content-Type: application/csrattrs" in head.splitlines()
    der = run(curl.folder, "openssl", "base64", "-d", given=body).output
    text = run(curl.folder, "openssl", "asn1parse", "-inform", "DER", given=der).output.decode()
    assert re.findall(r"OBJECT\s+:(\S+)", text) == ["id-ecPublicKey", "prime256v1", "ecdsa-with-SHA256"]


@with_curl
@pytest.mark.parametrize("width", [0, 64, 76])
@pytest.mark.parametrize("encoding", [False, True], ids=["no encoding named", "base64 named"])
def test_appendix_a3_simpleenroll(curl: Curl, gateway: WholeGateway, width: int, encoding: bool) -> None:
    user_id = gateway.new_user(MIGRATING)
    request = base64.b64encode(make_request(curl.folder, "me").read_bytes()).decode()
    lines = [request] if not width else [request[at : at + width] for at in range(0, len(request), width)]
    (curl.folder / "body").write_text("\r\n".join(lines) + ("\r\n" if width else ""), newline="")
    words = ["--data-binary", "@body", "-H", "Content-Type: application/pkcs10"]
    if encoding:
        words += ["-H", "Content-Transfer-Encoding: base64"]
    # Without credentials first: the challenge.
    head, body = curl("simpleenroll", *words)
    assert head.startswith("HTTP/1.1 401 ")
    assert 'WWW-Authenticate: Basic realm="enrolment", charset="UTF-8"' in head.splitlines()
    assert body.decode().splitlines()[0] == "credentials_missing"
    credentials = f"{user_id}:{letter(gateway, user_id).printed}:{password_of(user_id)}"
    head, body = curl("simpleenroll", *words, "--user", credentials)
    assert head.startswith("HTTP/1.1 200 "), body
    assert "Content-Type: application/pkcs7-mime; smime-type=certs-only" in head.splitlines()
    assert max(len(line) for line in body.splitlines()) == 64
    (subject,) = openssl_certificates(curl.folder, body)
    assert f"UID = {user_id}" in subject


@with_curl
def test_appendix_a2_simplereenroll(curl: Curl, gateway: WholeGateway) -> None:
    user_id, old, _ = ending_soon(gateway, gateway.folder())
    make_request(curl.folder, "me")
    words = ["--data-binary", "@me.csr.der", "-H", "Content-Type: application/pkcs10"]
    head, body = curl("simplereenroll", *words, "--user", f":{password_of(user_id)}", host=CERTIFICATE_HOST)
    assert (head.startswith("HTTP/1.1 403 "), body.splitlines()[0]) == (True, b"certificate_missing")
    words += ["--cert", str(old)]
    head, body = curl("simplereenroll", *words, "--user", f"{user_id}:wrong", host=CERTIFICATE_HOST)
    assert (head.startswith("HTTP/1.1 401 "), body.splitlines()[0]) == (True, b"enrolment_refused")
    head, body = curl("simplereenroll", *words, "--user", f":{password_of(user_id)}", host=CERTIFICATE_HOST)
    assert head.startswith("HTTP/1.1 200 "), body
    assert len(openssl_certificates(curl.folder, body)) == 1


@with_curl
def test_what_was_issued_is_what_openssl_verifies(curl: Curl, gateway: WholeGateway) -> None:
    user_id = gateway.new_user(MIGRATING)
    make_request(curl.folder, "me")
    credentials = f"{user_id}:{letter(gateway, user_id).printed}:{password_of(user_id)}"
    words = ["--data-binary", "@me.csr.der", "-H", "Content-Type: application/pkcs10", "--user", credentials]
    _, body = curl("simpleenroll", *words)
    der = run(curl.folder, "openssl", "base64", "-d", given=body).output
    pem = run(curl.folder, "openssl", "pkcs7", "-inform", "DER", "-print_certs", given=der).output
    (curl.folder / "me.pem").write_bytes(pem)
    authority = gateway.material.certificates.authority
    words = ["-CAfile", str(authority / "root.cert.pem"), "-untrusted", str(authority / "issuing.cert.pem")]
    done = run(curl.folder, "openssl", "verify", "-x509_strict", "-purpose", "sslclient", *words, "me.pem")
    assert (done.status, done.output) == (0, b"me.pem: OK\n"), done.said


@with_curl
@pytest.mark.parametrize("octets", [1_048_576, 40_000])
def test_a_megabyte_of_garbage(curl: Curl, gateway: WholeGateway, octets: int) -> None:
    (curl.folder / "garbage").write_bytes(os.urandom(octets))
    user_id = gateway.new_user(MIGRATING)
    words = ["--data-binary", "@garbage", "-H", "Content-Type: application/pkcs10", "-H", "Expect:"]
    head, _ = curl("simpleenroll", *words, "--user", f"{user_id}:{new_code()}:x")
    assert head.startswith("HTTP/1.1 413 ")


@with_curl
def test_no_other_spelling_of_the_path_reaches_anybody(curl: Curl) -> None:
    for path in ("../EST/cacerts", "..//est/cacerts", "%2e%2e/est/cacerts", "../%65st/cacerts"):
        head, _ = curl(path, "--path-as-is")
        assert head.startswith("HTTP/1.1 400 "), path
