"""The keys and certificates that every peer uses alike: EC P-256, a root and one issuing CA, clients below it."""

from __future__ import annotations

import base64
import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from benchmarks.crl import write_crl
from mtls_gateway.model import CertificateId

PUBLIC_NAME = "ib.example.test"
CERTIFICATE_NAME = "cert.ib.example.test"


@dataclass(frozen=True)
class Held:
    """A certificate with its key, in memory and as PEM files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    certificate_file: Path
    key_file: Path

    @property
    def identity(self) -> CertificateId:
        """Issuer and serial, as the gateway keeps them."""
        return CertificateId(self.certificate.issuer.rfc4514_string(), self.certificate.serial_number)


class Material:
    """Makes everything anew in ``directory``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._number = 0
        self.root = self._make("root", None, authority=True)
        self.issuing = self._make("issuing", self.root, authority=True)
        self.server = self._make("server", self.issuing, names=(PUBLIC_NAME, CERTIFICATE_NAME))
        self.server_chain = directory / "server-chain.pem"
        self.server_chain.write_bytes(self._pem(self.server) + self._pem(self.issuing))
        self.bundle = directory / "bundle.pem"
        self.bundle.write_bytes(self._pem(self.root) + self._pem(self.issuing))

    def client(self, name: str) -> Held:
        """A new client certificate of the issuing CA."""
        return self._make(name, self.issuing)

    def crl(self, entries: int, revoked: tuple[int, ...] = ()) -> bytes:
        """A CRL of the issuing CA, DER, with a higher number than any before."""
        self._number += 1
        return write_crl(
            self.issuing.certificate, self.issuing.key, entries=entries, number=self._number, revoked=revoked
        )

    def empty_root_crl(self) -> bytes:
        """The root's own, DER: nginx and HAProxy want one of every CA of the chain."""
        self._number += 1
        return write_crl(self.root.certificate, self.root.key, entries=0, number=self._number)

    def crl_file(self, entries: int) -> Path:
        """PEM of both CAs' CRLs in one file, as nginx and HAProxy want it."""
        empty = self.empty_root_crl()
        path = self.directory / f"crl-{entries}.pem"
        with path.open("wb") as file:
            for der in (self.crl(entries), empty):
                encoded = base64.encodebytes(der)
                file.write(b"-----BEGIN X509 CRL-----\n" + encoded + b"-----END X509 CRL-----\n")
        return path

    @staticmethod
    def _pem(held: Held) -> bytes:
        return held.certificate.public_bytes(Encoding.PEM)

    def _make(self, name: str, issuer: Held | None, *, authority: bool = False, names: tuple[str, ...] = ()) -> Held:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Benchmark Bank"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        signer = issuer.key if issuer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not authority,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if not authority:
            usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        certificate_file, key_file = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Held(certificate, key, certificate_file, key_file)
