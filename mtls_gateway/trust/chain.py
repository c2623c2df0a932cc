"""Is a certificate one of ours at all? Its profile and its paths, without time and revocation.

What is found here never changes for a certificate and a bundle, so it is kept by fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_gateway.model import MAXIMUM_SERIAL, CertificateId, Code
from mtls_gateway.trust.authority import distribution_points
from mtls_gateway.trust.bundle import Bundle
from mtls_gateway.trust.keys import weakness_of_key, weakness_of_signature
from mtls_gateway.trust.paths import Path

_MAXIMUM_OCTETS = 16_384


@dataclass(frozen=True, slots=True)
class Examined:
    """A certificate of ours: what the verdict needs of it."""

    identifier: CertificateId
    subject: str
    #: POSIX seconds; both are good seconds (RFC 5280, section 4.1.2.5).
    not_before: int
    not_after: int
    #: URIs of its CRL distribution points; empty when it names none.
    distribution_points: frozenset[str]
    #: Every valid one, each from its issuer up to an anchor; which of them are good now is the verdict's to say.
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not one of ours, or not fit; ``cause`` is for the log."""

    code: Code
    cause: str
    subject: str = ""
    not_after: int | None = None


class Examiner:
    """Examines client certificates against one bundle."""

    __slots__ = ("_bundle",)

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def examine(self, der: bytes) -> Examined | Rejected:
        """Examine one leaf. Whatever cannot be read is rejected; nothing is raised."""
        try:
            return self._examine(der)
        except Exception as error:  # a parser may raise anything on hostile input, and must then refuse
            return Rejected(Code.CERTIFICATE_MALFORMED, f"cannot be read: {error}")

    def _examine(self, der: bytes) -> Examined | Rejected:
        if len(der) > _MAXIMUM_OCTETS:
            return Rejected(Code.CERTIFICATE_MALFORMED, f"has {len(der)} octets")
        leaf = x509.load_der_x509_certificate(der)
        subject = leaf.subject.rfc4514_string()
        if leaf.version is not x509.Version.v3:
            return Rejected(Code.CERTIFICATE_MALFORMED, "is not of version 3", subject)
        if not 0 < leaf.serial_number <= MAXIMUM_SERIAL:
            return Rejected(Code.CERTIFICATE_MALFORMED, "has a serial that is not 1 to 20 octets", subject)
        not_after = int(leaf.not_valid_after_utc.timestamp())
        paths = self._bundle.paths(leaf)
        if not paths:
            weakness = weakness_of_signature(leaf)
            if weakness is not None and self._bundle.candidates(leaf):
                # Not even looked at by the library; but its holder should not be told that we do not know the CA.
                return Rejected(Code.CERTIFICATE_WRONG_USAGE, weakness, subject, not_after)
            return Rejected(Code.ISSUER_UNKNOWN, "is not issued by a CA of the bundle", subject, not_after)
        unfit = unfitness(leaf)
        if unfit is not None:
            return Rejected(Code.CERTIFICATE_WRONG_USAGE, unfit, subject, not_after)
        return Examined(
            identifier=CertificateId(leaf.issuer.rfc4514_string(), leaf.serial_number),
            subject=subject,
            not_before=int(leaf.not_valid_before_utc.timestamp()),
            not_after=not_after,
            distribution_points=distribution_points(leaf),
            paths=paths,
        )


def unfitness(leaf: x509.Certificate) -> str | None:
    """Why ``leaf`` may not sign in a person; None: it may.

    It says so itself: extended key usage ``clientAuth`` (RFC 5280, section 4.2.1.12) is required; ``any`` is not
    enough, because a CA that issues for other purposes as well would admit their holders.
    """
    weakness = weakness_of_key(leaf.public_key()) or weakness_of_signature(leaf)
    if weakness is not None:
        return weakness
    extensions = leaf.extensions
    try:
        if ExtendedKeyUsageOID.CLIENT_AUTH not in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value:
            return "its extended key usage does not name clientAuth"
    except x509.ExtensionNotFound:
        return "it has no extended key usage"
    try:
        if not extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return "its key usage does not allow digital signatures"
    except x509.ExtensionNotFound:
        # Many banks' CAs leave keyUsage out; absent, it allows everything (RFC 5280, section 4.2.1.3).
        pass
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "it is a CA's certificate"
    except x509.ExtensionNotFound:
        pass
    return None
