"""Certificates that a test run makes for itself: a CA, both hosts' certificate, and clients."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PUBLIC = "bank.localhost"
CERTIFICATE = "cert.bank.localhost"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in memory and as PEM files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    pem: Path
    key_pem: Path

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Material:
    authority: Pair
    server: Pair
    client: Pair
    other_client: Pair
    #: By a CA that the gateway has never heard of.
    stranger: Pair


def make_material(directory: Path) -> Material:
    authority = _make(directory, "Test CA", None, is_authority=True)
    unknown = _make(directory, "Unknown CA", None, is_authority=True)
    server = _make(directory, "server", authority, names=(PUBLIC, CERTIFICATE))
    clients = [_make(directory, name, authority) for name in ("client", "other client")]
    return Material(authority, server, clients[0], clients[1], _make(directory, "stranger", unknown))


def _make(
    directory: Path, name: str, issuer: Pair | None, *, is_authority: bool = False, names: tuple[str, ...] = ()
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
    elif not is_authority:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
    certificate = builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
    stem = directory / name.replace(" ", "-")
    pem, key_pem = stem.with_suffix(".pem"), stem.with_suffix(".key.pem")
    pem.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Pair(certificate, key, pem, key_pem)
