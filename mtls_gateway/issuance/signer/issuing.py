"""An issuing CA as the signer holds it: certificate, chain and key, checked when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.config import SignerIssuer
from mtls_gateway.errors import ConfigurationError
from mtls_gateway.issuance.signer.key import IssuerKey, algorithm_of, fits
from mtls_gateway.issuance.signer.key_file import open_file_key
from mtls_gateway.issuance.signer.profile import Superior, assemble, superior_of
from mtls_gateway.issuance.signer.secret import Secrets


@dataclass(frozen=True, slots=True)
class IssuingCa:
    """An issuing CA; made by :func:`open_issuer`."""

    name: str
    active: bool
    certificate: x509.Certificate
    #: Its superiors, up to and with the root.
    chain: tuple[x509.Certificate, ...]
    crl_url: str
    superior: Superior
    key: IssuerKey

    @property
    def begins(self) -> float:
        """The first second of its certificate, POSIX."""
        return self.certificate.not_valid_before_utc.timestamp()

    @property
    def ends(self) -> float:
        """The last second of its certificate, POSIX."""
        return self.certificate.not_valid_after_utc.timestamp()

    @property
    def subject(self) -> str:
        """Its distinguished name, as registrations have it."""
        return self.certificate.subject.rfc4514_string()

    def sign(self, to_be_signed: bytes) -> bytes:
        """DER of the signed certificate.

        Raises:
            KeyUnavailable: the key does not sign now.
        """
        algorithm = self.superior.algorithm
        return assemble(to_be_signed, algorithm, self.key.sign(algorithm.digest_of(to_be_signed)))


def open_issuer(settings: SignerIssuer, place: int, secrets: Secrets, now: float) -> IssuingCa:
    """Read an issuer and try its key; ``place`` is that in ``signer.issuers``, ``now`` POSIX seconds.

    Raises:
        ConfigurationError: certificate or chain cannot be used, or the key is another's; says what to do.
        KeyUnavailable: the key cannot be read, or does not sign.
        UsageError: its passphrase or PIN cannot be had.
    """
    where = f"signer.issuers.{place}"
    certificate = _read(settings.certificate, f"{where}.certificate")
    file = str(settings.certificate)
    try:
        _require_ca(certificate, now)
        superior = superior_of(certificate, algorithm_of(certificate.public_key()))
    except ValueError as error:
        raise ConfigurationError(file, f"{where}.certificate", str(error)) from error
    chain = tuple(_read(path, f"{where}.chain") for path in settings.chain)
    try:
        _require_chain((certificate, *chain))
    except ValueError as error:
        raise ConfigurationError(file, f"{where}.chain", str(error)) from error
    key = _open_key(settings, secrets)
    if not fits(key, superior.public_key):
        key.close()
        raise ConfigurationError(file, f"{where}.key", "the key is not the one that this certificate is for")
    return IssuingCa(settings.name, settings.active, certificate, chain, settings.crl_url, superior, key)


def require_distinct(issuers: Sequence[IssuingCa], file: str) -> None:
    """Two issuers of one name would publish two CRLs of one name: nobody could tell them apart.

    Raises:
        ConfigurationError: there are two.
    """
    subjects = [issuer.subject for issuer in issuers]
    for subject in subjects:
        if subjects.count(subject) > 1:
            cause = f"two issuers are called {subject}; a new CA needs a name of its own"
            raise ConfigurationError(file, "signer.issuers", cause)


def _open_key(settings: SignerIssuer, secrets: Secrets) -> IssuerKey:
    if settings.key.kind == "pem":
        return open_file_key(settings.key, secrets)
    from mtls_gateway.issuance.signer.key_pkcs11 import TokenKey

    pin = secrets.get(settings.key.pin, f"PIN of token {settings.key.token}")
    return TokenKey(settings.key, pin)


def _read(path: Path, key: str) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(str(path), key, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(str(path), key, f"is no certificate in PEM: {error}") from error
    if len(found) != 1:
        raise ConfigurationError(str(path), key, f"holds {len(found)} certificates; give each its own file")
    return found[0]


def _require_ca(certificate: x509.Certificate, now: float) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise ValueError(f"is no CA's: it has no {error.oid._name}") from error
    if not (constraints.ca and usage.key_cert_sign and usage.crl_sign):
        raise ValueError("is not of a CA that may sign certificates and CRLs")
    if now < certificate.not_valid_before_utc.timestamp():
        raise ValueError(f"is not valid before {certificate.not_valid_before_utc.isoformat()}; compare the clock")
    if now > certificate.not_valid_after_utc.timestamp():
        raise ValueError(f"expired on {certificate.not_valid_after_utc.isoformat()}; take the issuer out, or roll over")


def _require_chain(chain: Sequence[x509.Certificate]) -> None:
    for below, above in zip(chain, [*chain[1:], chain[-1]], strict=True):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            cause = "is not issued by the next one of its chain, which ends in the root"
            raise ValueError(f"{below.subject.rfc4514_string()} {cause}") from error


def described(certificate: x509.Certificate) -> bytes:
    """DER."""
    return certificate.public_bytes(Encoding.DER)
