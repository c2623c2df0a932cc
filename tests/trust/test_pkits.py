"""NIST PKITS, sections 4.1 to 4.16, through the bundle, the lists and the verdict.

Every test of these sections is accounted for: its stated outcome is ours, or ``STRICTER`` says why we refuse what
PKITS would accept. Nothing that PKITS calls invalid is accepted. Tests of policies are run with PKITS's default
settings, which are the gateway's: any policy is acceptable, none is required but by a CA of the path. Their further
parts set other ones, which the gateway does not have.

The certificates are of 2011 and name no clientAuth, so the leaf's profile is left out but for "a CA is no user".
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509

from mtls_gateway.config import Authority, Crl, Trust
from mtls_gateway.errors import GatewayError
from mtls_gateway.model import PeerCertificate
from mtls_gateway.trust import chain
from mtls_gateway.trust.bundle import load_bundle
from mtls_gateway.trust.compiler import compile_authority
from mtls_gateway.trust.index import RevocationIndex
from mtls_gateway.trust.revocation import Revocation
from mtls_gateway.trust.verdict import Accepted, Judge

VECTORS = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
#: 2026-01-01; the vectors are valid from 2010 to 2030.
NOW = 1_767_225_600.0
#: Section: how many tests it has, and how their certificates are called.
SECTIONS = {
    "4.1": (6, "CertificatePath|CASignature|EESignature|DSA"),
    "4.2": (8, "CAnot|EEnot|pre2000|GeneralizedTimenot"),
    "4.3": (11, "NameChaining|NameUIDs|RFC3280|RolloverfromPrintable|UTF8String"),
    "4.4": (
        21,
        "MissingCRL|RevokedCA|RevokedEE|BadCRL|WrongCRL|TwoCRLs|UnknownCRL|OldCRL|pre2000CRL|GeneralizedTimeCRL"
        "|NegativeSerial|LongSerial|SeparateCertificate",
    ),
    "4.5": (8, "BasicSelfIssued"),
    "4.6": (17, "MissingbasicConstraints|cAFalse|basicConstraints|pathLen|SelfIssuedpathLen"),
    "4.7": (5, "keyUsage"),
    "4.8": (
        20,
        "AllCertificates|DifferentPolicies|OverlappingPolicies|AnyPolicyTest|UserNoticeQualifier|CPSPointerQualifier",
    ),
    "4.9": (8, "requireExplicitPolicy"),
    "4.10": (14, "PolicyMapping|MappingFrom|MappingTo"),
    "4.11": (11, "inhibitPolicyMapping"),
    "4.12": (10, "inhibitAnyPolicy"),
    "4.13": (38, "nameConstraints"),
    "4.14": (35, "distributionPoint|NoissuingDistribution|onlyContains|onlySome|IDPwith|cRLIssuer"),
    "4.15": (10, "deltaCRL"),
    "4.16": (2, "Unknown(Not)?Critical|UnknownNotCritical"),
}
_DSA = "DSA keys are not accepted"
_INDIRECT = "indirect lists are not supported; they are refused by name"
_SPELLING = "names must be spelled as the CA spells them"
_POINT = "a distribution point must be named by a URI"
STRICTER = {
    "ValidDSASignaturesTest4": _DSA,
    "ValidDSAParameterInheritanceTest5": _DSA,
    "ValidNameChainingWhitespaceTest3": _SPELLING,
    "ValidNameChainingWhitespaceTest4": _SPELLING,
    "ValidNameChainingCapitalizationTest5": _SPELLING,
    "ValidRolloverfromPrintableStringtoUTF8StringTest10": _SPELLING,
    "ValidUTF8StringCaseInsensitiveMatchTest11": _SPELLING,
    "ValidNegativeSerialNumberTest14": "RFC 5280, section 4.1.2.2: a serial is positive",
    "ValiddistributionPointTest1": _POINT,
    "ValiddistributionPointTest4": _POINT,
    "ValiddistributionPointTest5": _POINT,
    "ValiddistributionPointTest7": _POINT,
    "OverlappingPoliciesTest6": "the leaf is a CA, and a CA is no user",
    "ValidpathLenConstraintTest8": "the leaf is a CA, and a CA is no user",
    "ValidpathLenConstraintTest14": "the leaf is a CA, and a CA is no user",
    "ValidonlyContainsCACertsTest13": "the leaf is a CA, and a CA is no user",
    "ValidonlySomeReasonsTest18": "lists for some reasons only are not supported",
    "ValidonlySomeReasonsTest19": "lists for some reasons only are not supported",
    "ValidIDPwithindirectCRLTest22": _INDIRECT,
    "ValidIDPwithindirectCRLTest24": _INDIRECT,
    "ValidIDPwithindirectCRLTest25": _INDIRECT,
    "ValidcRLIssuerTest28": _INDIRECT,
    "ValidcRLIssuerTest29": _INDIRECT,
    "ValidcRLIssuerTest30": _INDIRECT,
    "ValidcRLIssuerTest33": _INDIRECT,
}


#: Section 4.8 does not say in its names what is valid. Its first test is that of section 4.1.
INVALID = {f"DifferentPoliciesTest{number}" for number in (4, 5, 7, 8, 9, 12)}
ORDER = ["4.13", "4.11", "4.12", "4.9", "4.8", "4.10", "4.6", "4.15", "4.14", "4.5", "4.4", "4.16", "4.7"]
ORDER += ["4.3", "4.2", "4.1"]


def section_of(stem: str) -> str | None:
    if re.search(r"Test\d+$", stem) is None:
        return None
    name = re.sub(r"^(Valid|Invalid)|\d+$", "", stem)
    return next((section for section in ORDER if re.search(SECTIONS[section][1], name)), None)


LEAVES = {
    path.stem.removesuffix("EE"): path
    for path in sorted((VECTORS / "certs").glob("*Test*.crt"))
    if section_of(path.stem.removesuffix("EE")) is not None
}


def _names(folder: str, suffix: str) -> dict[Path, x509.Name]:
    found = {}
    for path in sorted((VECTORS / folder).glob(f"*.{suffix}")):
        try:
            found[path] = (
                x509.load_der_x509_certificate(path.read_bytes()).subject
                if suffix == "crt"
                else x509.load_der_x509_crl(path.read_bytes()).issuer
            )
        except ValueError:
            # A DSA key without parameters: the library does not read it, nor then does the gateway.
            continue
    return found


with warnings.catch_warnings():
    # One of them has a negative serial, on purpose.
    warnings.simplefilter("ignore")
    SUBJECTS = {path: name for path, name in _names("certs", "crt").items() if "Test" not in path.stem}
#: WrongCRLCACRL is, octet for octet, the root's list in another CA's place: that CA has none.
LISTS = {path: name for path, name in _names("crls", "crl").items() if path.stem != "WrongCRLCACRL"}


def _bundle_for(leaf: x509.Certificate) -> list[Authority]:
    """Every CA that a path could lead through, with every list of its name."""
    wanted = [leaf.issuer]
    authorities: list[Authority] = []
    for name in wanted:
        for path in (path for path, subject in SUBJECTS.items() if subject == name):
            superior = x509.load_der_x509_certificate(path.read_bytes()).issuer
            if superior not in wanted:
                wanted.append(superior)
            lists = [file for file, issuer in LISTS.items() if issuer == name]
            crls = tuple(Crl(source=str(file), delta="deltaCRL.crl" in file.name) for file in lists)
            authorities.append(
                Authority(
                    name=f"authority-{len(authorities)}",
                    certificate=path,
                    anchor=path.stem == "TrustAnchorRootCertificate",
                    crls=crls or (Crl(source=str(VECTORS / "none")),),
                )
            )
    return authorities


def _is_accepted(file: Path, directory: Path) -> bool:
    der = file.read_bytes()
    try:
        authorities = _bundle_for(x509.load_der_x509_certificate(der))
        bundle = load_bundle(Trust(authorities=tuple(authorities)))
    except (ValueError, GatewayError):
        return False
    indexes = {}
    for authority in bundle:
        fetched = {
            crl.source: Path(crl.source).read_bytes() for crl in authority.settings.crls if Path(crl.source).exists()
        }
        if not fetched:
            continue
        try:
            files = compile_authority(authority, fetched, (), directory, NOW).files
        except GatewayError:
            continue
        indexes[authority.name] = tuple(RevocationIndex(directory / name) for name in files)
    return isinstance(Judge(bundle, Revocation(1, indexes)).judge(PeerCertificate(der), NOW), Accepted)


def _is_a_ca(leaf: x509.Certificate) -> str | None:
    values = [extension.value for extension in leaf.extensions]
    return "a CA" if any(isinstance(one, x509.BasicConstraints) and one.ca for one in values) else None


@pytest.mark.parametrize("section", SECTIONS)
def test_every_test_of_a_section_is_run(section: str) -> None:
    numbers = sorted(int(stem.rpartition("Test")[2]) for stem in LEAVES if section_of(stem) == section)
    assert numbers == list(range(2 if section == "4.8" else 1, SECTIONS[section][0] + 1))


def test_every_test_of_the_suite_belongs_to_a_section() -> None:
    stems = {path.stem.removesuffix("EE") for path in (VECTORS / "certs").glob("*Test*.crt")}
    assert stems == LEAVES.keys()


def test_only_tests_that_exist_are_excused() -> None:
    assert STRICTER.keys() <= LEAVES.keys()
    assert not any(stem.startswith("Invalid") or stem in INVALID for stem in STRICTER)


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
@pytest.mark.parametrize("stem", LEAVES)
def test_the_outcome_is_the_one_stated_or_stricter_for_a_written_reason(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "unfitness", _is_a_ca)
    expected = not stem.startswith("Invalid") and stem not in INVALID and stem not in STRICTER
    assert _is_accepted(LEAVES[stem], tmp_path) is expected
