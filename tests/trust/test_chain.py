"""What makes a certificate one of ours: profile and path."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtls_gateway.model import Code
from mtls_gateway.trust.chain import Examined, Examiner, Rejected
from tests.trust.altered_der import of_version_1, with_serial, with_sha_1
from tests.trust.authority_maker import Bank, Ca, Extension, key_named, usage

ROOT = Ca.root("root")
ISSUING = ROOT.ca("issuing")
RSA_KEY = key_named("rsa issuing", "rsa2048")
RSA_ISSUING = ROOT.ca("rsa issuing", key=RSA_KEY)
LEAF = ISSUING.leaf()
DER = LEAF.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def examiner(tmp_path_factory: pytest.TempPathFactory) -> Examiner:
    bank = Bank(tmp_path_factory.mktemp("chain"))
    bank.add("root", ROOT.certificate)
    bank.add("issuing", ISSUING.certificate)
    bank.add("rsa", RSA_ISSUING.certificate)
    return Examiner(bank.bundle())


def code(examiner: Examiner, der: bytes) -> Code | None:
    """None: it is one of ours."""
    found = examiner.examine(der)
    return found.code if isinstance(found, Rejected) else None


def purposes(*oids: x509.ObjectIdentifier) -> Extension:
    return x509.ExtendedKeyUsage(list(oids)), False


def test_a_users_certificate_is_ours(examiner: Examiner) -> None:
    found = examiner.examine(DER)
    assert isinstance(found, Examined)
    assert found.identifier == ("CN=issuing,C=JP", LEAF.serial_number)
    assert found.subject == "CN=user,C=JP"
    assert [[one.name for one in path] for path in found.paths] == [["issuing", "root"]]


def test_rsa_issues_for_rsa_and_for_ecdsa(examiner: Examiner) -> None:
    for leaf in (RSA_ISSUING.leaf(), RSA_ISSUING.leaf(key=key_named("rsa user", "rsa2048"))):
        assert code(examiner, leaf.public_bytes(Encoding.DER)) is None


CA_THAT_SIGNS = (usage(digital_signature=True, key_cert_sign=True), True)
WRONG_USAGE: dict[str, dict[str, Any]] = {
    "for servers": {"replace": [purposes(ExtendedKeyUsageOID.SERVER_AUTH)]},
    "for anything, but not for clients": {"replace": [purposes(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)]},
    "for no purpose named": {"leave_out": [x509.ExtendedKeyUsage]},
    "not for signatures": {"replace": [(usage(crl_sign=True), True)]},
    "a CA's": {"replace": [(x509.BasicConstraints(True, None), True), CA_THAT_SIGNS]},
    "with a short RSA key": {"key": key_named("short", "rsa1024")},
    "with a small curve": {"key": key_named("small", "p224")},
}


@pytest.mark.parametrize("kind", WRONG_USAGE)
def test_a_certificate_of_ours_that_is_not_for_signing_in_has_the_wrong_usage(examiner: Examiner, kind: str) -> None:
    leaf = ISSUING.leaf(**WRONG_USAGE[kind])
    assert code(examiner, leaf.public_bytes(Encoding.DER)) is Code.CERTIFICATE_WRONG_USAGE


def test_a_signature_over_sha_1_is_not_accepted(examiner: Examiner) -> None:
    assert isinstance(RSA_KEY, rsa.RSAPrivateKey)
    der = with_sha_1(RSA_ISSUING.leaf().public_bytes(Encoding.DER), RSA_KEY)
    assert code(examiner, der) is Code.CERTIFICATE_WRONG_USAGE


@pytest.mark.parametrize(
    "leaf",
    [
        ISSUING.leaf(replace=[purposes(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION)]),
        ISSUING.leaf(leave_out=[x509.KeyUsage]),
        ISSUING.leaf(leave_out=[x509.BasicConstraints]),
    ],
    ids=["another purpose besides", "no key usage", "no basic constraints"],
)
def test_what_many_banks_issue_is_accepted(examiner: Examiner, leaf: x509.Certificate) -> None:
    assert code(examiner, leaf.public_bytes(Encoding.DER)) is None


def test_strangers_are_not_ours(examiner: Examiner) -> None:
    namesake = Ca(Ca.root("issuing", key=key_named("forger")).certificate, key_named("forger"))
    for stranger in (Ca.root("stranger").leaf(), namesake.leaf(), namesake.certificate, LEAF):
        expected = None if stranger is LEAF else Code.ISSUER_UNKNOWN
        assert code(examiner, stranger.public_bytes(Encoding.DER)) is expected


def test_an_unknown_critical_extension_is_refused(examiner: Examiner) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.9"), b"\5\0")
    assert code(examiner, ISSUING.leaf(replace=[(unknown, False)]).public_bytes(Encoding.DER)) is None
    critical = ISSUING.leaf(replace=[(unknown, True)]).public_bytes(Encoding.DER)
    assert code(examiner, critical) is Code.ISSUER_UNKNOWN


def test_path_lengths_and_names_that_a_superior_allows_are_kept_to(tmp_path: Path) -> None:
    elsewhere = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "US")]))
    short = Ca.root("short", replace=[(x509.BasicConstraints(True, 0), True)])
    named = Ca.root("named", replace=[(x509.NameConstraints([elsewhere], None), True)])
    bank = Bank(tmp_path)
    leaves = []
    for root in (short, named):
        name = root.certificate.subject.rfc4514_string()[3:8].strip(",").lower()
        issuing = root.ca(f"below {name}")
        bank.add(name, root.certificate)
        bank.add(f"below-{name}", issuing.certificate)
        leaves.append(issuing.leaf())
    examiner = Examiner(bank.bundle())
    for leaf in leaves:
        assert code(examiner, leaf.public_bytes(Encoding.DER)) is Code.ISSUER_UNKNOWN


SERIALS = {
    "one octet": (b"\x01", None),
    "twenty octets": (b"\x7f" * 20, None),
    "twenty octets with the sign's": (b"\x00" + b"\xff" * 20, None),
    "zero": (b"\x00", Code.CERTIFICATE_MALFORMED),
    "negative": (b"\xff\x01", Code.CERTIFICATE_MALFORMED),
    "twenty-one octets": (b"\x7f" * 21, Code.CERTIFICATE_MALFORMED),
    "leading zeros": (b"\x00\x00\x01", Code.CERTIFICATE_MALFORMED),
    "none": (b"", Code.CERTIFICATE_MALFORMED),
}


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@pytest.mark.parametrize("kind", SERIALS)
def test_serials_are_positive_minimal_and_of_at_most_20_octets(examiner: Examiner, kind: str) -> None:
    octets, expected = SERIALS[kind]
    der = with_serial(DER, ISSUING.key, octets)
    assert code(examiner, der) is expected
    if expected is None:
        found = examiner.examine(der)
        assert isinstance(found, Examined)
        assert found.identifier.serial == int.from_bytes(octets, "big")


def test_the_same_serial_of_two_issuers_is_two_certificates(examiner: Examiner) -> None:
    found = [
        examiner.examine(ca.leaf(serial=77).public_bytes(Encoding.DER)) for ca in (ISSUING, RSA_ISSUING)
    ]  # fmt: skip
    identifiers = {one.identifier for one in found if isinstance(one, Examined)}
    assert identifiers == {("CN=issuing,C=JP", 77), ("CN=rsa issuing,C=JP", 77)}


MALFORMED = {
    "nothing": b"",
    "text": b"-----BEGIN CERTIFICATE-----",
    "cut": DER[:-1],
    "with a tail": DER + b"\0",
    "of version 1": of_version_1(DER, ISSUING.key),
    "huge": DER + b"\0" * 20_000,
    "not minimal": b"\x30\x84\0\0" + DER[2:4] + DER[4:],
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_cannot_be_read_strictly_is_malformed(examiner: Examiner, kind: str) -> None:
    assert code(examiner, MALFORMED[kind]) is Code.CERTIFICATE_MALFORMED


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, len(DER)),
    tail=st.binary(max_size=4),
)
def test_whatever_is_sent_is_examined_without_an_error(
    examiner: Examiner, changes: list[tuple[int, int]], cut: int, tail: bytes
) -> None:
    octets = bytearray(DER)
    for place, value in changes:
        octets[place] = value
    der = bytes(octets[: cut or None]) + tail
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = examiner.examine(der)
    # Nothing but the certificate itself is ours: whatever is changed is signed, or it is the signature.
    assert isinstance(found, Rejected) or der == DER


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(octets=st.binary(max_size=200))
def test_noise_is_malformed(examiner: Examiner, octets: bytes) -> None:
    assert code(examiner, octets) is Code.CERTIFICATE_MALFORMED
