"""A request is read however clients send it, and refused for whatever it should not ask."""

from __future__ import annotations

import base64
import os
import subprocess
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.issuance.csr import KeyRequest, Reason, RequestRefused, read_request
from tests.issuance.requests import Extension, altered, csr, new_key

KEY = new_key()
DER = csr(KEY)
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
EVERY_KIND = ("P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096")


def read(body: bytes, *keys: str) -> KeyRequest:
    return read_request(body, keys=keys or ("P-256",), maximum_octets=16_384)


def refusal(body: bytes, *keys: str) -> Reason:
    with pytest.raises(RequestRefused) as refused:
        read(body, *keys)
    assert "\n" not in str(refused.value)
    return refused.value.reason


def lines(width: int, end: str, last: bool = True) -> bytes:
    text = base64.b64encode(DER).decode()
    return (end.join(textwrap.wrap(text, width)) + (end if last else "")).encode()


# --- every form that clients send -----------------------------------------------------------------


@given(width=st.integers(1, 2_000), end=st.sampled_from(["\n", "\r\n", "\r", " \n", "\n\n"]), last=st.booleans())
def test_base64_in_lines_of_any_length_and_end(width: int, end: str, last: bool) -> None:
    assert read(lines(width, end, last)) == KeyRequest(SPKI, "P-256")


@pytest.mark.parametrize("label", ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pem_with_whatever_stands_around_it(label: str, end: str) -> None:
    body = end.join(textwrap.wrap(base64.b64encode(DER).decode(), 64))
    pem = f"Certificate Request:{end}-----BEGIN {label}-----{end}{body}{end}-----END {label}-----{end}"
    assert read(pem.encode()).public_key == SPKI


def test_der() -> None:
    assert read(DER).public_key == SPKI


@pytest.mark.needs("openssl")
def test_what_openssl_makes(tmp_path: Path) -> None:
    made = tmp_path / "r.pem"
    words = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=taro"
    subprocess.run([*words.split(), "-keyout", tmp_path / "k.pem", "-out", made], check=True, capture_output=True)
    assert read(made.read_bytes()).kind == "P-256"


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_key_of_each_kind_that_can_be_set(kind: str) -> None:
    if kind.startswith("RSA"):
        asked = csr(rsa.generate_private_key(65_537, int(kind[4:])))
    else:
        asked = csr(new_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[kind]))
    assert read(asked, *EVERY_KIND).kind == kind
    assert refusal(asked, *(other for other in EVERY_KIND if other != kind)) == "csr_weak_key"


def test_the_subject_is_ignored() -> None:
    assert read(csr(KEY, name="ルート認証局")).public_key == SPKI


# --- keys and signatures ----------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [ec.SECP521R1(), ec.SECP256K1(), ec.SECP224R1()], ids=lambda curve: curve.name)
def test_a_curve_that_is_not_taken(curve: ec.EllipticCurve) -> None:
    assert refusal(csr(new_key(curve)), *EVERY_KIND) == "csr_weak_key"


def test_ed25519() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    body = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)
    assert refusal(body, *EVERY_KIND) == "csr_weak_key"


def test_rsa_of_1024_bits() -> None:
    assert refusal(csr(rsa.generate_private_key(65_537, 1024)), *EVERY_KIND) == "csr_weak_key"


def test_rsa_with_exponent_3() -> None:
    assert refusal(csr(rsa.generate_private_key(3, 2048)), *EVERY_KIND) == "csr_weak_key"


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("digest", ["sha1", "md5", "sha224"])
def test_a_signature_over_a_digest_that_proves_nothing(tmp_path: Path, digest: str) -> None:
    made = tmp_path / "r.pem"
    words = f"openssl req -new -newkey rsa:2048 -{digest} -nodes -subj /CN=taro"
    subprocess.run([*words.split(), "-keyout", tmp_path / "k.pem", "-out", made], check=True, capture_output=True)
    assert refusal(made.read_bytes(), *EVERY_KIND) == "csr_weak_key"


def test_a_signature_that_is_not_the_keys() -> None:
    other = new_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert refusal(DER.replace(SPKI, other)) == "csr_wrong_signature"


def test_a_signature_of_one_bit_less() -> None:
    assert refusal(altered(DER, lambda octets: octets.__setitem__(-1, octets[-1] ^ 1))) == "csr_wrong_signature"


# --- extensions --------------------------------------------------------------------------------------

_USAGE = {
    "digital_signature": True,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


@pytest.mark.parametrize(
    "extension",
    [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(**_USAGE), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), False),
    ],
    ids=["CA:FALSE", "digitalSignature", "clientAuth", "subject key identifier"],
)
def test_what_the_certificate_says_anyway_may_be_asked_for(extension: Extension) -> None:
    assert read(csr(KEY, extensions=[extension])).public_key == SPKI


@pytest.mark.parametrize(
    "extension",
    [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.BasicConstraints(ca=True, path_length=0), False),
        (x509.KeyUsage(**(_USAGE | {"key_cert_sign": True})), True),
        (x509.KeyUsage(**(_USAGE | {"crl_sign": True})), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
        (x509.SubjectAlternativeName([x509.DNSName("bank.example")]), False),
        (x509.SubjectAlternativeName([x509.RFC822Name("ceo@bank.example")]), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"), False),
    ],
    ids=["CA:TRUE", "CA:TRUE, pathlen 0", "keyCertSign", "cRLSign", "serverAuth", "anyEKU", "SAN", "mail", "unknown"],
)
def test_what_users_certificates_do_not_have_is_refused_rather_than_left_out(extension: Extension) -> None:
    assert refusal(csr(KEY, extensions=[extension])) == "csr_extension_refused"


# --- garbage -----------------------------------------------------------------------------------------


def _certificate() -> bytes:
    name = x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"hello",
        "証明書をください".encode(),
        base64.b64encode(b"hello"),
        DER[:-1],
        DER + b"\x00",
        DER + DER,
        base64.b64encode(DER + b"\n"),
        base64.b64encode(DER)[:-3] + b"!" + base64.b64encode(DER)[-3:],
        base64.urlsafe_b64encode(b"\xff\xff" + DER),
        b"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.b64encode(DER),
        _certificate(),
    ],
)
def test_what_is_no_request(body: bytes) -> None:
    assert refusal(body) == "csr_malformed"


def test_a_megabyte_of_garbage_is_not_read() -> None:
    assert refusal(os.urandom(1 << 20)) == "request_too_large"
    assert refusal(b"A" * 16_385) == "request_too_large"
    assert refusal(b"A" * 16_384) == "csr_malformed"


@given(place=st.integers(0, len(DER) - 1), octet=st.integers(0, 255))
def test_no_changed_octet_leads_to_anything_but_a_refusal(place: int, octet: int) -> None:
    changed = altered(DER, lambda octets: octets.__setitem__(place, octet))
    if changed != DER:
        assert refusal(changed) in ("csr_malformed", "csr_wrong_signature", "csr_weak_key", "csr_extension_refused")


@given(st.binary(max_size=300))
def test_octets_of_any_kind_are_refused_in_order(body: bytes) -> None:
    assert refusal(body) == "csr_malformed"
    assert refusal(b"\x30" + body) == "csr_malformed"
