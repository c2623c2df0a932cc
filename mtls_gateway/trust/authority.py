"""One CA certificate of the bank, read and inspected once, at start."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from mtls_gateway.config import Authority
from mtls_gateway.errors import ConfigurationError
from mtls_gateway.trust.keys import is_signed_with, weakness_of_key


@dataclass(frozen=True, slots=True)
class ListSigner:
    """A key that may sign an authority's CRLs (RFC 5280, section 6.3.3, (f))."""

    certificate: x509.Certificate
    #: SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
    key_digest: str


@dataclass(frozen=True, slots=True, eq=False)
class BundledAuthority:
    """One CA certificate of the bundle."""

    settings: Authority
    certificate: x509.Certificate
    #: Trusted in its own right: a path may end here.
    anchor: bool
    #: Its distinguished name as :class:`~mtls_gateway.model.CertificateId` prints it.
    issuer_name: str
    #: SHA-256 of its SubjectPublicKeyInfo, in hexadecimal.
    key_digest: str
    #: For pyOpenSSL.
    x509: crypto.X509
    #: Issues certificates; False: it signs CRLs only.
    issues: bool
    #: URIs of the CRL distribution points that it names itself.
    points: frozenset[str]
    #: POSIX seconds: the first good one, and the first that is not (RFC 5280, section 4.1.2.5).
    begins: float
    ends: float
    #: Whose signature on its CRLs counts: its own key first, then the CA's other keys below the same anchor.
    signers: tuple[ListSigner, ...]

    @property
    def name(self) -> str:
        """Its name in the configuration; a metric label."""
        return self.settings.name

    @property
    def signer(self) -> ListSigner:
        """Itself, as one who signs CRLs."""
        return ListSigner(self.certificate, self.key_digest)


def load_authority(settings: Authority, index: int) -> BundledAuthority:
    """Load the authority at place ``index`` of the configuration.

    Raises:
        ConfigurationError: its file is missing, empty, malformed, no CA certificate or weak; names it and its key.
    """
    key = f"trust.authorities.{index}.certificate"
    file = str(settings.certificate)
    certificate = _read_one(settings.certificate, key)
    try:
        return inspect_authority(settings, certificate)
    except ValueError as error:
        raise ConfigurationError(file, key, str(error)) from error


def inspect_authority(settings: Authority, certificate: x509.Certificate) -> BundledAuthority:
    """What the gateway needs to know of a CA certificate.

    Raises:
        ValueError: it is no CA's, for other purposes, weak or has malformed extensions; says which.
    """
    try:
        extensions = certificate.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise ValueError("is no CA certificate: it has no keyUsage") from error
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(f"has malformed extensions: {error}") from error
    constraints = next((one.value for one in extensions if isinstance(one.value, x509.BasicConstraints)), None)
    issues = constraints is not None and constraints.ca and usage.key_cert_sign
    if not issues and not usage.crl_sign:
        raise ValueError("is no CA certificate: basicConstraints or keyUsage forbid it to sign")
    purposes = next((one.value for one in extensions if isinstance(one.value, x509.ExtendedKeyUsage)), None)
    if purposes is not None and not {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & set(purposes):
        raise ValueError("is a CA for other purposes than clientAuth, as its extendedKeyUsage says")
    weakness = weakness_of_key(certificate.public_key())
    if weakness is not None:
        raise ValueError(weakness)
    self_signed = is_signed_with(certificate, certificate)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(spki).hexdigest()
    return BundledAuthority(
        settings=settings,
        certificate=certificate,
        # Self-issued in name only, as a new key that the old one has signed, is no reason to trust it by itself.
        anchor=self_signed if settings.anchor is None else settings.anchor,
        issuer_name=certificate.subject.rfc4514_string(),
        key_digest=digest,
        x509=crypto.X509.from_cryptography(certificate),
        issues=issues,
        points=distribution_points(certificate),
        begins=certificate.not_valid_before_utc.timestamp(),
        ends=certificate.not_valid_after_utc.timestamp() + 1.0,
        signers=(ListSigner(certificate, digest),) if usage.crl_sign else (),
    )


def distribution_points(certificate: x509.Certificate) -> frozenset[str]:
    """The URIs of the CRL distribution points that ``certificate`` names (RFC 5280, section 4.2.1.13).

    Points for some reasons only, or whose CRL another issuer signs, are left out: such CRLs are not supported.
    """
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(
        name.value
        for point in points
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _read_one(path: Path, key: str) -> x509.Certificate:
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(str(path), key, f"cannot be read: {error.strerror}") from error
    if not octets.strip():
        raise ConfigurationError(str(path), key, "is empty")
    try:
        if octets.lstrip().startswith(b"-----"):
            found = x509.load_pem_x509_certificates(octets)
        else:
            found = [x509.load_der_x509_certificate(octets)]
        if len(found) == 1:
            # Parsed lazily by the library: what is malformed inside must be found at start.
            found[0].public_bytes(Encoding.DER)
            _ = (found[0].subject, found[0].issuer, found[0].public_key(), found[0].version)
    except Exception as error:  # the library raises several kinds for what is malformed
        raise ConfigurationError(str(path), key, f"is no X.509 certificate: {error}") from error
    if len(found) != 1:
        raise ConfigurationError(str(path), key, f"holds {len(found)} certificates; give each authority its own entry")
    return found[0]
