"""A list is checked by itself before it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.trust.authority import BundledAuthority
from mtls_gateway.trust.crl import check_crl
from mtls_gateway.trust.entries import revoked_serials
from mtls_gateway.trust.scope import Scope
from tests.trust.altered_der import BIT_STRING, SEQUENCE, content, elements, encoded, signed_again, with_sha_1
from tests.trust.authority_maker import DAY, NOW, Bank, Ca, key_named, name_of

RSA_KEY = key_named("rsa root", "rsa2048")
ROOT = Ca.root("root", key=RSA_KEY)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.9"), b"\5\0")
REMOVED = x509.CRLReason(x509.ReasonFlags.remove_from_crl)
OTHERS = x509.CertificateIssuer([x509.DirectoryName(name_of("other"))])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> BundledAuthority:
    bank = Bank(tmp_path_factory.mktemp("crl"))
    bank.add("root", ROOT.certificate)
    return next(iter(bank.bundle()))


def as_pem(der: bytes) -> bytes:
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


def test_der_and_pem_of_one_list_are_the_same_list(authority: BundledAuthority) -> None:
    der = ROOT.crl(7, [1, 2, (1 << 159) - 1])
    one, other = (check_crl(octets, "list", authority, NOW) for octets in (der, b"\n" + as_pem(der)))
    assert one.number == 7
    assert one.digest == other.digest
    assert one.signer == authority.key_digest
    assert (one.this_update, one.next_update) == (NOW - 60, NOW + DAY)
    assert one.scope == Scope()
    assert revoked_serials(one, ()) == revoked_serials(other, ()) == {1, 2, (1 << 159) - 1}


def test_what_a_list_speaks_of_is_read(authority: BundledAuthority) -> None:
    points = ["http://crl.example/1", "http://crl.example/one"]
    checked = check_crl(ROOT.crl(points=points, users_only=True), "list", authority, NOW)
    assert checked.scope == Scope(frozenset(points), users_only=True)
    assert check_crl(ROOT.crl(authorities_only=True), "list", authority, NOW).scope.authorities_only


def _without_next_update() -> bytes:
    return signed_again(ROOT.crl(), RSA_KEY, lambda fields: [*fields[:4], *fields[5:]])


def _bad_signature() -> bytes:
    signed, algorithm, signature = elements(content(ROOT.crl()))
    broken = bytes((*content(signature)[:-1], content(signature)[-1] ^ 1))
    return encoded(SEQUENCE, signed + algorithm + encoded(BIT_STRING, broken))


def _indirect() -> bytes:
    scope = x509.IssuingDistributionPoint(None, None, False, False, None, True, False)
    return ROOT.crl(extensions=[(scope, True)])


def _some_reasons() -> bytes:
    reasons = frozenset({x509.ReasonFlags.key_compromise})
    scope = x509.IssuingDistributionPoint(None, None, False, False, reasons, False, False)
    return ROOT.crl(extensions=[(scope, True)])


def _by_name() -> bytes:
    names = [x509.DirectoryName(name_of("point"))]
    scope = x509.IssuingDistributionPoint(names, None, False, False, None, False, False)
    return ROOT.crl(extensions=[(scope, True)])


assert isinstance(RSA_KEY, rsa.RSAPrivateKey)
FORGER = Ca(ROOT.certificate, key_named("forger"))
BAD = {
    "empty": (b"", "empty"),
    "blank": (b" \n\n", "empty"),
    "text": (b"<html>404 Not Found</html>", "malformed"),
    "no PEM": (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "malformed"),
    "cut": (ROOT.crl()[:-9], "malformed"),
    "with a tail": (ROOT.crl() + b"\0", "malformed"),
    "two in one": (2 * as_pem(ROOT.crl()), "malformed"),
    "a certificate": (ROOT.certificate.public_bytes(Encoding.DER), "malformed"),
    "of another issuer": (Ca.root("other").crl(), "wrong_issuer"),
    "of a namesake": (FORGER.crl(), "wrong_signature"),
    "with a broken signature": (_bad_signature(), "wrong_signature"),
    "over SHA-1": (with_sha_1(ROOT.crl(), RSA_KEY), "weak_signature"),
    "with an unknown critical extension": (ROOT.crl(extensions=[(UNKNOWN, True)]), "unknown_extension"),
    "without nextUpdate": (_without_next_update(), "no_next_update"),
    "without a number": (ROOT.crl(None), "no_number"),
    "from the future": (ROOT.crl(begins=NOW + 61), "from_the_future"),
    "indirect": (_indirect(), "unsupported_scope"),
    "for some reasons": (_some_reasons(), "unsupported_scope"),
    "with a point that is no URI": (_by_name(), "unsupported_scope"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_list_is_refused_by_name_and_reason(authority: BundledAuthority, kind: str) -> None:
    octets, reason = BAD[kind]
    with pytest.raises(TrustMaterialError, match=r"^the list: ") as refused:
        check_crl(octets, "the list", authority, NOW)
    assert refused.value.reason == reason
    assert "\n" not in str(refused.value)


def test_a_list_is_at_most_a_minute_from_the_future(authority: BundledAuthority) -> None:
    octets = ROOT.crl(begins=NOW + 60)
    assert check_crl(octets, "list", authority, NOW).this_update == NOW + 60
    with pytest.raises(TrustMaterialError) as refused:
        check_crl(octets, "list", authority, NOW - 1)
    assert refused.value.reason == "from_the_future"


BAD_ENTRIES = {
    "with an unknown critical extension": (ROOT.crl(1, [5], entry_extensions=[(UNKNOWN, True)]), "unknown_extension"),
    "of another issuer": (ROOT.crl(1, [5], entry_extensions=[(OTHERS, True)]), "unsupported_scope"),
    "of another issuer, not critical": (ROOT.crl(1, [5], entry_extensions=[(OTHERS, False)]), "unsupported_scope"),
    "removed from a full list": (ROOT.crl(1, [5], entry_extensions=[(REMOVED, False)]), "malformed"),
}


@pytest.mark.parametrize("kind", BAD_ENTRIES)
def test_an_entry_that_is_not_understood_spoils_the_list(authority: BundledAuthority, kind: str) -> None:
    octets, reason = BAD_ENTRIES[kind]
    checked = check_crl(octets, "the list", authority, NOW)
    with pytest.raises(TrustMaterialError, match=r"^the list: ") as refused:
        revoked_serials(checked, ())
    assert refused.value.reason == reason


def _with_entry_serial(octets: bytes) -> bytes:
    """A list with one entry whose serial is encoded as ``octets``."""

    def alter(fields: list[bytes]) -> list[bytes]:
        # version, algorithm, issuer, thisUpdate, nextUpdate, entries, extensions
        _, *rest = elements(content(elements(content(fields[5]))[0]))
        entry = encoded(SEQUENCE, encoded(2, octets) + b"".join(rest))
        return [*fields[:5], encoded(SEQUENCE, entry), *fields[6:]]

    return signed_again(ROOT.crl(1, [5]), RSA_KEY, alter)


@pytest.mark.parametrize("octets", [b"\x7f" * 21, b"\xff\x01"], ids=["21 octets", "negative"])
@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
def test_a_serial_that_no_certificate_can_have_spoils_the_list(authority: BundledAuthority, octets: bytes) -> None:
    with pytest.raises(TrustMaterialError) as refused:
        revoked_serials(check_crl(_with_entry_serial(octets), "list", authority, NOW), ())
    assert refused.value.reason == "malformed"


def test_a_delta_adds_and_removes_and_the_later_has_the_last_word(authority: BundledAuthority) -> None:
    base, first, second = (
        check_crl(octets, "list", authority, NOW)
        for octets in (ROOT.crl(10, [1, 2]), ROOT.crl(11, [3], base=10, removed=[1]), ROOT.crl(12, [1], base=10))
    )
    assert first.base_number == 10
    assert revoked_serials(base, [first]) == {2, 3}
    assert revoked_serials(base, [second, first]) == {1, 2, 3}


def test_a_list_may_be_signed_with_another_key_of_the_ca_below_the_same_anchor(tmp_path: Path) -> None:
    root, other = Ca.root("root", key=key_named("ec root")), Ca.root("other")
    old, new = root.ca("issuing"), root.ca("issuing", key=key_named("second"))
    elsewhere = other.ca("issuing", key=key_named("third"))
    bank = Bank(tmp_path)
    for name, ca in (("root", root), ("other", other), ("old", old), ("new", new), ("elsewhere", elsewhere)):
        bank.add(name, ca.certificate)
    bundle = bank.bundle()
    of_old, of_new = bundle.get("old"), bundle.get("new")
    assert of_old is not None
    assert of_new is not None
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(new.key.public_key())
    for octets in (new.crl(), new.crl(extensions=[(identifier, False)])):
        assert check_crl(octets, "list", of_old, NOW).signer == of_new.key_digest
    with pytest.raises(TrustMaterialError) as refused:
        check_crl(elsewhere.crl(), "list", of_old, NOW)
    assert refused.value.reason == "wrong_signature"
