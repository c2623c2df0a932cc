"""The octets of EST, held against what others read and write."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.est_bodies import Credentials, UnreadableBody
from tests.issuance.own_signer import OwnSigner

AUTHORITY = OwnSigner(1_780_282_800.0).active


def openssl(*words: str | Path, given: bytes = b"") -> str:
    done = subprocess.run(["openssl", *words], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_certificates_go_and_come_back() -> None:
    der = est_bodies.certs_only([AUTHORITY.certificate, *AUTHORITY.chain])
    body = est_bodies.encode(der)
    for form in (body, der, body.replace(b"\r\n", b""), body.replace(b"\r\n", b"\n")):
        found = {one.public_bytes(Encoding.DER) for one in est_bodies.read_certs_only(form)}
        assert found == {AUTHORITY.certificate, *AUTHORITY.chain}


def test_lines_have_64_symbols_and_end_as_mail_does() -> None:
    lines = est_bodies.encode(bytes(1_000)).split(b"\r\n")
    assert {len(line) for line in lines[:-2]} == {64}
    assert lines[-1] == b""
    assert base64.b64decode(b"".join(lines)) == bytes(1_000)


@pytest.mark.needs("openssl")
def test_openssl_reads_the_certificates() -> None:
    der = est_bodies.certs_only([AUTHORITY.certificate, *AUTHORITY.chain])
    text = openssl("pkcs7", "-inform", "DER", "-print_certs", "-noout", given=der)
    assert text.count("subject=") == 2
    assert "Bank issuing CA" in text


@pytest.mark.parametrize("body", [b"", b"\x30", b"!", b"aGVsbG8=", b"<html>", AUTHORITY.certificate])
def test_what_holds_no_certificates(body: bytes) -> None:
    with pytest.raises(UnreadableBody):
        est_bodies.read_certs_only(body)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("P-256", ["id-ecPublicKey", "prime256v1", "ecdsa-with-SHA256"]),
        ("P-384", ["id-ecPublicKey", "secp384r1", "ecdsa-with-SHA384"]),
        ("RSA-2048", ["rsaEncryption", "INTEGER:0800", "sha256WithRSAEncryption"]),
        ("RSA-3072", ["rsaEncryption", "INTEGER:0C00", "sha256WithRSAEncryption"]),
        ("RSA-4096", ["rsaEncryption", "INTEGER:1000", "sha256WithRSAEncryption"]),
    ],
)
def test_openssl_reads_the_attributes(kind: str, said: list[str]) -> None:
    """A sequence of one attribute, whose set has one value, and one OID: what section 4.5.2 of RFC 7030 writes."""
    text = openssl("asn1parse", "-inform", "DER", given=est_bodies.csr_attributes(kind))
    shape = [line.split("prim:")[-1].split("cons:")[-1].split() for line in text.replace(": ", ":").splitlines()]
    assert [words[0] for words in shape][:3] == ["SEQUENCE", "SEQUENCE", "OBJECT"]
    values = [line.rpartition("OBJECT")[2].rpartition("INTEGER")[2].strip(" :") for line in text.splitlines()[2:]]
    assert [value for value in values if value and "SET" not in value] == [one.removeprefix("INTEGER:") for one in said]


@given(
    user_id=st.text(
        st.characters(min_codepoint=32, exclude_characters=":\x7f", exclude_categories=["Cs"]), max_size=30
    ),
    password=st.text(
        st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=30
    ),
)
def test_credentials_go_and_come_back_colons_and_kanji_and_all(user_id: str, password: str) -> None:
    credentials = Credentials(user_id, password)
    assert est_bodies.read_basic(est_bodies.basic(credentials), longest=64) == credentials
    assert password == "" or password not in repr(credentials) or password in repr(Credentials(user_id, ""))


def test_the_example_of_rfc_7617() -> None:
    assert est_bodies.read_basic("Basic dGVzdDoxMjPCow==", longest=64) == Credentials("test", "123£")
    assert est_bodies.read_basic("bAsIc  dGVzdDoxMjPCow== ", longest=64) == Credentials("test", "123£")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Bearer dGVzdDoxMjPCow==",
        "Basic dGVzdA==",  # no colon
        "Basic dGVzdDoxMjPCow",  # no padding
        "Basic dGVz dDoxMjPCow==",
        "Basic " + base64.b64encode(b"t\xe9st:pass").decode(),  # Latin-1
        "Basic " + base64.b64encode(b"te\x00st:pass").decode(),
        "Basic " + base64.b64encode(b"test:pa\nss").decode(),
        "Basic " + base64.b64encode(b"t" * 65 + b":x").decode(),
        "Basic " + base64.b64encode(b"t:" + b"x" * 65).decode(),
        "Basic " + "A" * 100_000,
    ],
)
def test_credentials_that_are_nobodys(header: str) -> None:
    assert est_bodies.read_basic(header, longest=64) is None
