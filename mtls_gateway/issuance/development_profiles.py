"""What the development CA's certificates and CRLs contain (RFC 5280). The keys are P-256."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.errors import UsageError
from mtls_gateway.issuance.validity import one_calendar_year

#: Browsers refuse a host's certificate that is valid for longer.
_SERVER_DAYS = 397
_ROOT_DAYS = 3652
_ISSUING_DAYS = 1826


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA: its certificate and the key that signs for it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Revoked:
    """An entry of a CRL; ``at`` is POSIX seconds."""

    serial: int
    at: float
    reason: x509.ReasonFlags


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def root(organisation: str, common_name: str, now: float) -> Signer:
    """A self-signed root CA, above one level of issuing CAs."""
    key = new_key()
    subject = _ca_name(organisation, common_name)
    builder = _begin(subject, subject, key.public_key(), *_days(now, _ROOT_DAYS))
    builder = _add_ca_extensions(builder, key.public_key(), key.public_key(), path_length=1)
    return Signer(builder.sign(key, hashes.SHA256()), key)


def issuing(superior: Signer, organisation: str, common_name: str, now: float, crl_url: str | None) -> Signer:
    """An issuing CA below ``superior``; ``crl_url`` is where the superior's CRL is published."""
    key = new_key()
    subject = _ca_name(organisation, common_name)
    builder = _begin(subject, superior.certificate.subject, key.public_key(), *_days(now, _ISSUING_DAYS))
    builder = _add_ca_extensions(builder, key.public_key(), superior.key.public_key(), path_length=0)
    return Signer(_add_distribution_point(builder, crl_url).sign(superior.key, hashes.SHA256()), key)


def client(
    issuer: Signer, key: ec.EllipticCurvePublicKey, *, user_id: str, common_name: str, now: float, crl_url: str | None
) -> x509.Certificate:
    """A user's certificate: for TLS clients only, valid one calendar year.

    Raises:
        UsageError: the names cannot stand in a certificate.
    """
    subject = x509.Name(
        [
            *(attribute for attribute in issuer.certificate.subject if attribute.oid != NameOID.COMMON_NAME),
            _attribute(NameOID.USER_ID, user_id),
            _attribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = _begin(subject, issuer.certificate.subject, key, *one_calendar_year(now))
    builder = _add_leaf_extensions(builder, key, issuer, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _add_distribution_point(builder, crl_url).sign(issuer.key, hashes.SHA256())


def server(issuer: Signer, key: ec.EllipticCurvePublicKey, names: Sequence[str], now: float) -> x509.Certificate:
    """A host's certificate for these names and addresses.

    Raises:
        UsageError: one of them is neither a host name nor an address.
    """
    subject = x509.Name([_attribute(NameOID.COMMON_NAME, names[0])])
    builder = _begin(subject, issuer.certificate.subject, key, *_days(now, _SERVER_DAYS))
    builder = _add_leaf_extensions(builder, key, issuer, ExtendedKeyUsageOID.SERVER_AUTH)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
    return builder.sign(issuer.key, hashes.SHA256())


def revocation_list(
    issuer: Signer, number: int, entries: Sequence[Revoked], now: float, days: float
) -> x509.CertificateRevocationList:
    """A full CRL with its number (RFC 5280, section 5.2.3), good for ``days``."""
    this_update = datetime.fromtimestamp(int(now), UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(this_update + timedelta(days=days))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for entry in entries:
        revoked = (
            x509.RevokedCertificateBuilder()
            .serial_number(entry.serial)
            .revocation_date(datetime.fromtimestamp(int(entry.at), UTC))
        )
        if entry.reason is not x509.ReasonFlags.unspecified:  # RFC 5280, section 5.3.1: leave that one out
            revoked = revoked.add_extension(x509.CRLReason(entry.reason), critical=False)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(issuer.key, hashes.SHA256())


def _ca_name(organisation: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            _attribute(NameOID.COUNTRY_NAME, "JP"),
            _attribute(NameOID.ORGANIZATION_NAME, organisation),
            _attribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    if any(ord(character) < 0x20 for character in value):
        raise UsageError(f"{value!r} cannot stand in a certificate: it has a control character")
    try:
        return x509.NameAttribute(oid, value)
    except ValueError as error:
        raise UsageError(f"{value!r} cannot stand in a certificate: {error}") from error


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.split(".")
    if not name.isascii() or not all(label.replace("-", "").isalnum() and len(label) <= 63 for label in labels):
        raise UsageError(f"{name!r} is neither a host name nor an address")
    return x509.DNSName(name.lower())


def _days(now: float, days: int) -> tuple[datetime, datetime]:
    first = datetime.fromtimestamp(int(now), UTC)
    return first, first + timedelta(days=days) - timedelta(seconds=1)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, first: datetime, last: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        # 159 random bits: at most 20 octets, and far more than the 64 that make a serial unguessable.
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _add_ca_extensions(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePublicKey,
    superior: ec.EllipticCurvePublicKey,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(superior), critical=False)
    )


def _add_leaf_extensions(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, issuer: Signer, purpose: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )


def _add_distribution_point(builder: x509.CertificateBuilder, crl_url: str | None) -> x509.CertificateBuilder:
    if crl_url is None:
        return builder
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
    return builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
