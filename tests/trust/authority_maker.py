"""A CA for tests that makes whatever certificate or list is asked for, good or bad, with keys that last for one run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.config import Authority, Crl, Trust
from mtls_gateway.model import PeerCertificate
from mtls_gateway.trust.bundle import Bundle, load_bundle
from mtls_gateway.trust.compiler import compile_authority
from mtls_gateway.trust.index import RevocationIndex
from mtls_gateway.trust.revocation import Revocation
from mtls_gateway.trust.verdict import Accepted, Judge, Refused

#: 2026-06-01 00:00:00 UTC.
NOW = 1_780_272_000
DAY = 86_400
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Extension = tuple[x509.ExtensionType, bool]


@functools.cache
def key_named(name: str, kind: str = "ec") -> Key:
    """The key of that name; made once in a run, because RSA keys take long."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65_537, int(kind.removeprefix("rsa") or 2_048))
    curve: ec.EllipticCurve = ec.SECP224R1() if kind == "p224" else ec.SECP256R1()
    return ec.generate_private_key(curve)


def moment(posix: float) -> datetime:
    return datetime.fromtimestamp(posix, UTC)


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"), x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature, False, False, False, False, key_cert_sign, crl_sign, False, False
    )  # fmt: skip


CA_EXTENSIONS: tuple[Extension, ...] = (
    (x509.BasicConstraints(True, None), True),
    (usage(key_cert_sign=True, crl_sign=True), True),
)
LEAF_EXTENSIONS: tuple[Extension, ...] = (
    (x509.BasicConstraints(False, None), True),
    (usage(digital_signature=True), True),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
)


class Ca:
    """A name and a key, with a certificate of its own."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate = certificate
        self.key = key

    @classmethod
    def root(cls, name: str, *, key: Key | None = None, **changes: Any) -> Ca:
        own = key or key_named(name)
        return cls(_certificate(name_of(name), name_of(name), own, own, CA_EXTENSIONS, **changes), own)

    def ca(self, name: str, *, key: Key | None = None, **changes: Any) -> Ca:
        """A subordinate."""
        own = key or key_named(name)
        return Ca(_certificate(name_of(name), self.certificate.subject, own, self.key, CA_EXTENSIONS, **changes), own)

    def leaf(self, name: str = "user", *, key: Key | None = None, **changes: Any) -> x509.Certificate:
        own = key or key_named("user")
        return _certificate(name_of(name), self.certificate.subject, own, self.key, LEAF_EXTENSIONS, **changes)

    def crl(
        self,
        number: int | None = 1,
        serials: Iterable[int] = (),
        *,
        base: int | None = None,
        removed: Iterable[int] = (),
        begins: float = NOW - 60,
        ends: float = NOW + DAY,
        points: Iterable[str] = (),
        users_only: bool = False,
        authorities_only: bool = False,
        extensions: Iterable[Extension] = (),
        entry_extensions: Iterable[Extension] = (),
        issuer: x509.Name | None = None,
        digest: Any = None,
    ) -> bytes:
        """In DER."""
        removal: Extension = (x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)
        entries = [_entry(serial, begins, entry_extensions) for serial in serials]
        entries += [_entry(serial, begins, [removal]) for serial in removed]
        # One by one they would be copied each time: thousands would take minutes.
        builder = (
            x509.CertificateRevocationListBuilder(revoked_certificates=entries)
            .issuer_name(issuer or self.certificate.subject)
            .last_update(moment(begins))
            .next_update(moment(ends))
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), False)
        if base is not None:
            builder = builder.add_extension(x509.DeltaCRLIndicator(base), True)
        point = [x509.UniformResourceIdentifier(uri) for uri in points] or None
        if point or users_only or authorities_only:
            scope = x509.IssuingDistributionPoint(point, None, users_only, authorities_only, None, False, False)
            builder = builder.add_extension(scope, True)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, digest or hashes.SHA256()).public_bytes(Encoding.DER)


def _entry(serial: int, at: float, extensions: Iterable[Extension]) -> x509.RevokedCertificate:
    entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(at))
    for extension, critical in extensions:
        entry = entry.add_extension(extension, critical)
    return entry.build()


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    signing: Key,
    extensions: Iterable[Extension],
    *,
    serial: int | None = None,
    begins: float = NOW - 30 * DAY,
    ends: float = NOW + 30 * DAY,
    replace: Iterable[Extension] = (),
    leave_out: Iterable[type[x509.ExtensionType]] = (),
    points: Iterable[str] = (),
    digest: Any = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(moment(begins))
        .not_valid_after(moment(ends))
    )
    chosen: dict[type, Extension] = {type(value): (value, critical) for value, critical in extensions}
    chosen |= {type(value): (value, critical) for value, critical in replace}
    identifiers: list[Extension] = [(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)]
    if subject != issuer or key is not signing:
        identifiers.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False))
    if points:
        uris = [x509.UniformResourceIdentifier(uri) for uri in points]
        listed = [x509.DistributionPoint([uri], None, None, None) for uri in uris]
        identifiers.append((x509.CRLDistributionPoints(listed), False))
    left = set(leave_out)
    for value, critical in (*chosen.values(), *identifiers):
        if type(value) not in left:
            builder = builder.add_extension(value, critical)
    return builder.sign(signing, digest or hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def peer(certificate: x509.Certificate) -> PeerCertificate:
    return PeerCertificate(certificate.public_bytes(Encoding.DER))


class Bank:
    """A folder with CA certificates and lists, and the configuration that names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "revocation"
        self.directory.mkdir()
        self.settings: list[Authority] = []

    def add(self, name: str, certificate: x509.Certificate | bytes, **settings: Any) -> Authority:
        """An authority without lists, unless ``crls`` are given."""
        file = self.folder / f"{name}.pem"
        file.write_bytes(certificate if isinstance(certificate, bytes) else pem(certificate))
        settings.setdefault("revocation", "crl" if "crls" in settings else "none")
        self.settings.append(Authority(name=name, certificate=file, **settings))
        return self.settings[-1]

    def crl(self, file: str, octets: bytes = b"", **settings: Any) -> Crl:
        """A list in a file; without ``octets`` it is not there."""
        path = self.folder / file
        if octets:
            path.write_bytes(octets)
        return Crl(source=str(path), **settings)

    @property
    def trust(self) -> Trust:
        return Trust(authorities=tuple(self.settings))

    def bundle(self) -> Bundle:
        return load_bundle(self.trust)

    def revocation(self, now: float = NOW, generation: int = 1) -> Revocation:
        """Every list that is there, compiled."""
        indexes = {}
        for authority in self.bundle():
            fetched = {crl.source: Path(crl.source).read_bytes() for crl in authority.settings.crls}
            compiled = compile_authority(authority, fetched, (), self.directory, now)
            assert not compiled.refusals, compiled.refusals
            indexes[authority.name] = tuple(RevocationIndex(self.directory / file) for file in compiled.files)
        return Revocation(generation, indexes)

    def judge(self, now: float = NOW) -> Judge:
        return Judge(self.bundle(), self.revocation(now))


def said(judge: Judge, certificate: x509.Certificate, now: float = NOW) -> str:
    """``accepted``, or the code of the refusal."""
    verdict: Accepted | Refused = judge.judge(peer(certificate), now)
    return "accepted" if isinstance(verdict, Accepted) else verdict.code.value


def fetched(*lists: tuple[Crl, bytes]) -> Mapping[str, bytes]:
    return {settings.source: octets for settings, octets in lists}
