"""Certificate policies: a CA that requires a common one gets it. NIST PKITS, sections 4.8 to 4.12, tests the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from mtls_gateway.trust.policies import PolicyFault, require_policies
from tests.trust.authority_maker import Bank, Ca, Extension, said

GOLD, SILVER = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2"
ANY = "2.5.29.32.0"


def policies(*oids: str) -> Extension:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]), False


def required(after: int = 0) -> Extension:
    return x509.PolicyConstraints(after, None), True


def mappings(octets: str) -> Extension:
    return x509.UnrecognizedExtension(ExtensionOID.POLICY_MAPPINGS, bytes.fromhex(octets)), True


#: SEQUENCE OF { GOLD, SILVER }, and with anyPolicy.
GOLD_TO_SILVER = "3018 3016 0609 2b060104018 68d1f01 0609 2b0601040186 8d1f02".replace(" ", "")
ANY_TO_GOLD = "3013 3011 0604 551d2000 0609 2b0601040186 8d1f01".replace(" ", "")


@pytest.mark.parametrize(
    ("of_leaf", "expected"), [((GOLD,), "accepted"), ((SILVER,), "issuer_unknown"), ((), "issuer_unknown")]
)
def test_a_required_policy_is_demanded_of_the_certificate(
    tmp_path: Path, of_leaf: tuple[str, ...], expected: str
) -> None:
    root = Ca.root("root")
    issuing = root.ca("issuing", replace=[policies(GOLD), required()])
    bank = Bank(tmp_path)
    bank.add("root", root.certificate)
    bank.add("issuing", issuing.certificate)
    leaf = issuing.leaf(replace=[policies(*of_leaf)] if of_leaf else [])
    assert said(bank.judge(), leaf) == expected


def test_no_policy_is_asked_for_when_no_ca_requires_one(tmp_path: Path) -> None:
    root = Ca.root("root")
    issuing = root.ca("issuing", replace=[policies(GOLD)])
    bank = Bank(tmp_path)
    bank.add("root", root.certificate)
    bank.add("issuing", issuing.certificate)
    assert said(bank.judge(), issuing.leaf(replace=[policies(SILVER)])) == "accepted"
    assert said(bank.judge(), issuing.leaf()) == "accepted"


def test_what_the_anchor_itself_requires_is_honoured(tmp_path: Path) -> None:
    root = Ca.root("root", replace=[required()])
    bank = Bank(tmp_path)
    bank.add("root", root.certificate)
    assert said(bank.judge(), root.leaf(replace=[policies(GOLD)])) == "accepted"
    assert said(bank.judge(), root.leaf()) == "issuer_unknown"


def test_a_certificate_may_require_a_policy_of_its_own_path() -> None:
    root = Ca.root("root")
    issuing = root.ca("issuing")
    leaf = issuing.leaf(replace=[required()])
    with pytest.raises(PolicyFault, match="requires an explicit policy"):
        require_policies(root.certificate, [issuing.certificate, leaf])


def test_a_mapped_policy_takes_the_place_of_the_one_required() -> None:
    root = Ca.root("root")
    issuing = root.ca("issuing", replace=[policies(GOLD), required(), mappings(GOLD_TO_SILVER)])
    require_policies(root.certificate, [issuing.certificate, issuing.leaf(replace=[policies(SILVER)])])
    with pytest.raises(PolicyFault):
        require_policies(root.certificate, [issuing.certificate, issuing.leaf(replace=[policies(GOLD)])])


@pytest.mark.parametrize(
    ("octets", "cause"), [(ANY_TO_GOLD, "maps anyPolicy"), ("3003020101", "cannot be read"), ("30", "cannot be read")]
)
def test_mappings_that_must_not_be_are_refused(octets: str, cause: str) -> None:
    root = Ca.root("root")
    issuing = root.ca("issuing", replace=[policies(ANY), mappings(octets)])
    with pytest.raises(PolicyFault, match=cause):
        require_policies(root.certificate, [issuing.certificate, issuing.leaf(replace=[policies(GOLD)])])


def test_more_policies_than_any_ca_needs_are_refused_rather_than_followed() -> None:
    root = Ca.root("root")
    many = [f"1.3.6.1.4.1.99999.{number}" for number in range(600)]
    issuing = root.ca("issuing", replace=[policies(*many)])
    with pytest.raises(PolicyFault, match="more than 512"):
        require_policies(root.certificate, [issuing.certificate, issuing.leaf(replace=[policies(GOLD)])])
