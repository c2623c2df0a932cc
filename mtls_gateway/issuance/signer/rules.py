"""What may be signed. Every order is held against this before it is written down, and what came of it once more.

A refusal names its rule; the words are metric labels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mtls_gateway.errors import SignerRefused
from mtls_gateway.issuance.orders import IntendedCertificate
from mtls_gateway.issuance.signer.issuing import IssuingCa
from mtls_gateway.issuance.signer.key import is_signature
from mtls_gateway.issuance.signer.profile import encoded, subject_of, user_extensions
from mtls_gateway.issuance.validity import one_calendar_year

#: A serial with fewer bits was not drawn at random: one in 2^94 of those that were is refused (CA/Browser Forum
#: Baseline Requirements, section 7.1: at least 64 bits from a CSPRNG).
_LEAST_SERIAL_BITS = 65
#: RFC 5280, section 4.1.2.2: at most 20 octets, positive.
_MOST_SERIAL_BITS = 159
#: Of a user ID, as everywhere in the gateway.
_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
#: RFC 5280, appendix A: ub-common-name and ub-organization-name. Some libraries count octets in the former.
_LONGEST_NAME = 64
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: The other process's clock may be ahead so many seconds.
_SKEW = 60
_PUBLIC_EXPONENT = 65_537


@dataclass(frozen=True, slots=True)
class Profile:
    """What the bank has chosen."""

    key_types: frozenset[str]
    #: Seconds.
    backdating: float


def check_order(order: IntendedCertificate, issuer: IssuingCa, profile: Profile, now: float) -> None:
    """Hold an order against every rule; ``now`` is POSIX seconds.

    Raises:
        SignerRefused: names the rule.
    """
    if not _LEAST_SERIAL_BITS <= order.serial.bit_length() <= _MOST_SERIAL_BITS or order.serial < 0:
        raise SignerRefused("serial", "a serial is positive, random and has more than 64 and at most 159 bits")
    _check_subject(order)
    _check_key(order.public_key, issuer, profile)
    _check_period(order, issuer, profile, now)


def check_finished(certificate: bytes, order: IntendedCertificate, issuer: IssuingCa) -> None:
    """Read what was signed as a stranger would, and hold it against the order.

    Raises:
        SignerRefused: with the rule ``finished``; it must not leave the signer.
    """
    try:
        read = x509.load_der_x509_certificate(certificate)
        wanted = {value.oid: (value, hard) for value, hard in _expected(order, issuer)}
        found = {one.oid: (one.value, one.critical) for one in read.extensions}
        same = (
            read.version is x509.Version.v3,
            read.serial_number == order.serial,
            read.issuer == issuer.superior.subject,
            read.subject == subject_of(order, issuer.superior.subject),
            read.not_valid_before_utc.timestamp() == order.not_before,
            read.not_valid_after_utc.timestamp() == order.not_after,
            read.public_key() == load_der_public_key(order.public_key),
            order.public_key in certificate,
            found == wanted,
            is_signature(
                issuer.superior.public_key,
                read.signature,
                issuer.superior.algorithm.digest_of(read.tbs_certificate_bytes),
            ),
        )
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise SignerRefused("finished", f"what was signed cannot be read: {error}") from error
    if not all(same):
        raise SignerRefused("finished", f"what was signed is not what was ordered: check {same.index(False) + 1}")


def _expected(order: IntendedCertificate, issuer: IssuingCa) -> list[tuple[x509.ExtensionType, bool]]:
    return user_extensions(order.public_key, issuer.superior, issuer.crl_url)


def _check_subject(order: IntendedCertificate) -> None:
    if not _USER_ID.fullmatch(order.user_id):
        raise SignerRefused("user_id", "1 to 64 of A-Z a-z 0-9 . _ @ + -, beginning with a letter or digit")
    for rule, name, length in (
        ("common_name", order.common_name, len(order.common_name.encode(errors="replace"))),
        ("organisation", order.organisation, len(order.organisation)),
    ):
        if not name or name != name.strip() or length > _LONGEST_NAME:
            unit = "octets of UTF-8" if rule == "common_name" else "characters"
            raise SignerRefused(rule, f"1 to {_LONGEST_NAME} {unit}, without spaces around them")
        if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
            raise SignerRefused(rule, "it has a character that cannot be printed")


def _check_key(public_key: bytes, issuer: IssuingCa, profile: Profile) -> None:
    try:
        key = load_der_public_key(public_key)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignerRefused("key_malformed", "the public key cannot be read") from error
    kind = _kind(key)
    if kind not in profile.key_types or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise SignerRefused("key_type", f"{kind} is none of {', '.join(sorted(profile.key_types))}")
    if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e != _PUBLIC_EXPONENT:
        raise SignerRefused("key_parameters", f"an RSA key's public exponent is {_PUBLIC_EXPONENT}")
    if encoded(key) != public_key:
        raise SignerRefused("key_malformed", "the public key is not encoded in the one way that DER has for it")
    if key == issuer.superior.public_key:
        raise SignerRefused("key_is_the_issuers", "a user cannot have the CA's own key")


def _kind(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, key.curve.name)
    return type(key).__name__


_CURVES: Mapping[str, str] = {"secp256r1": "P-256", "secp384r1": "P-384"}


def _check_period(order: IntendedCertificate, issuer: IssuingCa, profile: Profile, now: float) -> None:
    if order.not_before >= order.not_after:
        raise SignerRefused("validity", "it ends before it begins")
    try:
        _, last = one_calendar_year(order.not_before)
    except (ValueError, OverflowError, OSError) as error:
        raise SignerRefused("validity", "its dates are none") from error
    if order.not_after > last.timestamp():
        raise SignerRefused("validity", "it is valid for more than one calendar year (clause D.3)")
    if order.not_before < now - profile.backdating:
        raise SignerRefused("begins_too_early", f"it begins more than {profile.backdating:g} seconds ago")
    if order.not_before > now + _SKEW:
        raise SignerRefused("begins_in_the_future", "it begins in the future; compare the clocks")
    if order.not_before < issuer.begins or order.not_after > issuer.ends:
        raise SignerRefused("outlives_issuer", f"it is not within the life of its issuer {issuer.name}: roll over")
