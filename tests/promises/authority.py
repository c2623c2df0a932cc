"""A CA that makes what no CA made for use would: any serial, any extension, any CRL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.clock import SystemClock
from mtls_gateway.issuance import development_profiles as profiles
from mtls_gateway.issuance.key_files import PRIVATE, PUBLIC, replace_file
from mtls_gateway.model import CertificateId


def now() -> datetime:
    """This second."""
    return datetime.fromtimestamp(int(SystemClock().now()), UTC)


class Authority:
    """A CA and its files: ``NAME.cert.pem`` and ``NAME.crl.pem`` in a folder."""

    def __init__(self, folder: Path, name: str, signer: profiles.Signer) -> None:
        self._folder = folder
        self.name = name
        self.signer = signer

    @classmethod
    def made(cls, folder: Path, name: str) -> Authority:
        """A new one, its own anchor, with an empty CRL."""
        authority = cls(folder, name, profiles.root(name, f"{name} CA", SystemClock().now() - 3600))
        authority.certificate_file.write_bytes(authority.signer.certificate.public_bytes(Encoding.PEM))
        replace_file(folder / f"{name}.key.pem", _pem(authority.signer.key), PRIVATE)
        authority.publish(authority.crl(1))
        return authority

    @classmethod
    def loaded(cls, folder: Path, name: str) -> Authority:
        """One whose key is in the folder: of the development CA's, or made before."""
        key = load_pem_private_key((folder / f"{name}.key.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.cert.pem").read_bytes())
        return cls(folder, name, profiles.Signer(certificate, key))

    @property
    def certificate_file(self) -> Path:
        return self._folder / f"{self.name}.cert.pem"

    @property
    def crl_file(self) -> Path:
        return self._folder / f"{self.name}.crl.pem"

    def settings(self, *crls: dict[str, object]) -> dict[str, object]:
        """Its entry in ``trust.authorities``; without ``crls``, its own file looked at five times a second."""
        own: dict[str, object] = {"source": str(self.crl_file), "refresh": 0.2}
        return {"name": self.name, "certificate": str(self.certificate_file), "crls": list(crls) or [own]}

    # --- certificates ---------------------------------------------------------------------------

    def leaf(
        self,
        folder: Path,
        *,
        serial: int | None = None,
        ends: datetime | None = None,
        purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
        is_authority: bool = False,
        also_sent: Iterable[x509.Certificate] = (),
    ) -> tuple[CertificateId, Path]:
        """A certificate for a client, and its file: certificate, whatever else the client is to send, key."""
        key = profiles.new_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whoever")]))
            .issuer_name(self.signer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number() if serial is None else serial)
            .not_valid_before(now() - timedelta(minutes=5))
            .not_valid_after(now() + timedelta(days=30) if ends is None else ends)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.signer.key.public_key()), critical=False
            )
            .add_extension(_usage(is_authority), critical=True)
        )
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        certificate = builder.sign(self.signer.key, hashes.SHA256())
        file = folder / f"{self.name}-{certificate.serial_number:x}-{len(list(folder.iterdir()))}.pem"
        chain = b"".join(one.public_bytes(Encoding.PEM) for one in (certificate, *also_sent))
        file.write_bytes(chain + _pem(key))
        return CertificateId(certificate.issuer.rfc4514_string(), certificate.serial_number), file

    # --- CRLs -----------------------------------------------------------------------------------

    def crl(
        self,
        number: int,
        serials: Iterable[int] = (),
        *,
        base: int | None = None,
        age: timedelta = timedelta(minutes=1),
        ends: timedelta = timedelta(days=1),
    ) -> x509.CertificateRevocationList:
        """A CRL of that number; ``base`` makes it a delta to the full one of that number."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.signer.certificate.subject)
            .last_update(now() - age)
            .next_update(now() + ends)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        if base is not None:
            builder = builder.add_extension(x509.DeltaCRLIndicator(base), critical=True)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now())
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.signer.key, hashes.SHA256())

    def publish(self, crl: x509.CertificateRevocationList | bytes, file: Path | None = None) -> None:
        """Put a CRL, or whatever octets, in the file's place at once."""
        octets = crl if isinstance(crl, bytes) else crl.public_bytes(Encoding.PEM)
        replace_file(file or self.crl_file, octets, PUBLIC)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
