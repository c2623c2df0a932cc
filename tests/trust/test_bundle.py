"""The bank's CA certificates: what is refused at start, and what is known of the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_gateway.errors import ConfigurationError
from tests.trust.authority_maker import Bank, Ca, key_named, pem, usage


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def test_pem_and_der_with_rsa_and_ecdsa_are_loaded(bank: Bank) -> None:
    root = Ca.root("root", key=key_named("rsa root", "rsa2048"))
    issuing = root.ca("issuing")
    bank.add("root", root.certificate.public_bytes(Encoding.DER))
    bank.add("issuing", issuing.certificate, named_to_browsers=True)
    bundle = bank.bundle()
    assert [authority.anchor for authority in bundle] == [True, False]
    assert [len(path) for path in bundle.paths(issuing.leaf())] == [2]
    assert [one.to_cryptography().subject.rfc4514_string() for one in bundle.named_to_browsers] == [
        "CN=root,C=JP",
        "CN=issuing,C=JP",
    ]
    issuing_in_it = bundle.get("issuing")
    assert issuing_in_it is not None
    assert issuing_in_it.issuer_name == "CN=issuing,C=JP"
    assert bundle.get("nobody") is None


def _weak() -> bytes:
    return pem(Ca.root("weak", key=key_named("weak", "rsa1024")).certificate)


def _flipped() -> bytes:
    octets = bytearray(Ca.root("root").certificate.public_bytes(Encoding.DER))
    octets[6] ^= 0xFF
    return bytes(octets)


BAD = {
    "empty": (b" \n", "is empty"),
    "no certificate": (b"<html>404</html>", "is no X.509 certificate"),
    "cut": (pem(Ca.root("root").certificate)[:-60], "is no X.509 certificate"),
    "malformed": (_flipped(), "is no X.509 certificate"),
    "trailing": (Ca.root("root").certificate.public_bytes(Encoding.DER) + b"\0", "is no X.509 certificate"),
    "two": (2 * pem(Ca.root("root").certificate), "holds 2 certificates"),
    "a user's": (pem(Ca.root("root").leaf()), "is no CA certificate: basicConstraints or keyUsage forbid it to sign"),
    "no usage": (
        pem(Ca.root("root", leave_out=[x509.KeyUsage]).certificate),
        "is no CA certificate: it has no keyUsage",
    ),
    "no constraints": (
        pem(
            Ca.root("root", leave_out=[x509.BasicConstraints], replace=[(usage(key_cert_sign=True), True)]).certificate
        ),
        "is no CA certificate: basicConstraints or keyUsage forbid it to sign",
    ),
    "for servers": (
        pem(Ca.root("root", replace=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)]).certificate),
        "is a CA for other purposes than clientAuth",
    ),
    "weak": (_weak(), "its RSA key has only 1024 bits"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_ca_certificate_is_a_refusal_that_names_the_file_and_key(bank: Bank, kind: str) -> None:
    octets, cause = BAD[kind]
    bank.add("root", octets)
    with pytest.raises(ConfigurationError, match=re.escape(cause)) as refused:
        bank.bundle()
    assert refused.value.file == str(bank.folder / "root.pem")
    assert refused.value.key == "trust.authorities.0.certificate"


def test_a_missing_file_is_a_refusal(bank: Bank) -> None:
    bank.add("root", Ca.root("root").certificate)
    (bank.folder / "root.pem").unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        bank.bundle()


def test_an_intermediate_without_its_superior_is_a_refusal(bank: Bank) -> None:
    bank.add("issuing", Ca.root("root").ca("issuing").certificate)
    with pytest.raises(ConfigurationError, match="does not chain to an anchor of this bundle"):
        bank.bundle()


def test_a_namesake_of_the_superior_is_not_the_superior(bank: Bank) -> None:
    bank.add("root", Ca.root("root", key=key_named("another")).certificate)
    bank.add("issuing", Ca.root("root").ca("issuing").certificate)
    with pytest.raises(ConfigurationError, match="does not chain to an anchor of this bundle"):
        bank.bundle()


def test_an_intermediate_may_be_made_an_anchor(bank: Bank) -> None:
    issuing = Ca.root("root").ca("issuing")
    bank.add("issuing", issuing.certificate, anchor=True)
    assert [len(path) for path in bank.bundle().paths(issuing.leaf())] == [1]


def test_a_new_key_signed_by_the_old_one_is_no_anchor_though_self_issued(bank: Bank) -> None:
    old = Ca.root("root")
    new_with_old = old.ca("root", key=key_named("new"))
    bank.add("old", old.certificate)
    bank.add("new-with-old", new_with_old.certificate)
    bundle = bank.bundle()
    assert [authority.anchor for authority in bundle] == [True, False]
    assert [[one.name for one in path] for path in bundle.paths(new_with_old.leaf())] == [["new-with-old", "old"]]


def test_who_may_not_sign_lists_cannot_have_any(bank: Bank) -> None:
    root = Ca.root("root", replace=[(usage(key_cert_sign=True), True)])
    bank.add("root", root.certificate, crls=[bank.crl("root.crl")])
    with pytest.raises(ConfigurationError, match="may not sign CRLs"):
        bank.bundle()


def test_every_key_of_a_ca_below_the_same_anchor_may_sign_its_lists(bank: Bank) -> None:
    root, other = Ca.root("root"), Ca.root("other")
    keys = [root.ca("issuing"), root.ca("issuing", key=key_named("second"))]
    elsewhere = other.ca("issuing", key=key_named("third"))
    silent = root.ca("issuing", key=key_named("fourth"), replace=[(usage(key_cert_sign=True), True)])
    for name, ca in (("root", root), ("other", other)):
        bank.add(name, ca.certificate)
    for number, ca in enumerate([*keys, elsewhere, silent]):
        bank.add(f"issuing-{number}", ca.certificate)
    bundle = bank.bundle()
    signers = {one.name: [signer.certificate for signer in one.signers] for one in bundle}
    assert signers["issuing-0"] == [keys[0].certificate, keys[1].certificate]
    assert signers["issuing-1"] == [keys[1].certificate, keys[0].certificate]
    assert signers["issuing-2"] == [elsewhere.certificate]
    assert signers["issuing-3"] == [keys[0].certificate, keys[1].certificate]
    assert signers["root"] == [root.certificate]


def test_a_certificate_that_only_signs_lists_issues_nothing(bank: Bank) -> None:
    root = Ca.root("root")
    issuing = root.ca("issuing", replace=[(usage(key_cert_sign=True), True)])
    lists = root.ca(
        "issuing",
        key=key_named("lists"),
        replace=[(usage(crl_sign=True), True), (x509.BasicConstraints(False, None), True)],
    )
    bank.add("root", root.certificate)
    bank.add("issuing", issuing.certificate, crls=[bank.crl("issuing.crl", lists.crl())])
    bank.add("lists", lists.certificate)
    bundle = bank.bundle()
    assert bundle.paths(lists.leaf()) == ()
    assert len(bundle.paths(issuing.leaf())) == 1
    assert bank.revocation().of("issuing")


def test_cross_signed_cas_give_several_paths_but_not_without_bound(bank: Bank) -> None:
    leaf_issuer = key_named("issuing")
    for number in range(40):
        root = Ca.root(f"root {number}")
        bank.add(f"root-{number}", root.certificate)
        bank.add(f"issuing-{number}", root.ca("issuing", key=leaf_issuer).certificate)
    bundle = bank.bundle()
    leaf = Ca(Ca.root("root 0").ca("issuing").certificate, leaf_issuer).leaf()
    assert len(bundle.paths(leaf)) == 32


def test_cas_that_certify_each_other_end_nowhere_and_do_not_loop(bank: Bank) -> None:
    one, two = Ca.root("one"), Ca.root("two")
    bank.add("one-by-two", two.ca("one").certificate)
    bank.add("two-by-one", one.ca("two").certificate)
    with pytest.raises(ConfigurationError, match="does not chain to an anchor"):
        bank.bundle()
