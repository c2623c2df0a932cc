"""A signer within the test's own process: really signs, keeps the contract of ``issuance.orders.Signer``, and can fail.

It holds no more than a root and an issuing CA; what a signer must do besides has tests of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance import development_profiles as profiles
from mtls_gateway.issuance.orders import CrlOrder, IntendedCertificate, Issuer

CRL_URL = "http://bank.example/gateway/crl/issuing.crl"


@dataclass
class OwnSigner:
    """``fails`` says what happens to the next orders, one word each: ``before``, ``after`` (signed and written down,
    then no answer) or ``refused``."""

    now: float
    name: str = "issuing"
    fails: list[str] = field(default_factory=list)
    journal: dict[int, tuple[IntendedCertificate, bytes]] = field(default_factory=dict)
    retired: list[Issuer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = profiles.root("Bank", "Bank Root CA", self.now - 86_400)
        self.issuing = profiles.issuing(self.root, "Bank", f"Bank {self.name} CA", self.now - 86_400, CRL_URL)

    @property
    def active(self) -> Issuer:
        certificate = self.issuing.certificate
        return Issuer(
            self.name,
            True,
            certificate.subject.rfc4514_string(),
            certificate.public_bytes(Encoding.DER),
            (self.root.certificate.public_bytes(Encoding.DER),),
            CRL_URL,
            0,
        )

    def roll_over(self, name: str) -> None:
        """Another issuing CA becomes the active one."""
        old = self.active
        self.retired.append(Issuer(old.name, False, old.subject, old.certificate, old.chain, CRL_URL, 0))
        self.name = name
        self.issuing = profiles.issuing(self.root, "Bank", f"Bank {name} CA", self.now, CRL_URL)

    async def describe(self) -> tuple[Issuer, ...]:
        return (self.active, *self.retired)

    async def sign_certificate(self, intended: IntendedCertificate) -> bytes:
        failure = self.fails.pop(0) if self.fails else ""
        if failure == "before":
            raise SignerUnavailable("the signer does not answer")
        if failure == "refused":
            raise SignerRefused("validity", "as a test wishes")
        known = self.journal.get(intended.serial)
        if known is None:
            known = self.journal[intended.serial] = (intended, self._sign(intended))
        if known[0] != intended:
            raise SignerRefused("serial_used", "the serial was used for another certificate")
        if failure == "after":
            raise SignerUnavailable("the signer does not answer")
        return known[1]

    async def sign_crl(self, order: CrlOrder) -> bytes:
        raise NotImplementedError

    def _sign(self, intended: IntendedCertificate) -> bytes:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "JP"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, intended.organisation),
                x509.NameAttribute(NameOID.USER_ID, intended.user_id),
                x509.NameAttribute(NameOID.COMMON_NAME, intended.common_name),
            ]
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.issuing.certificate.subject)
            .public_key(load_der_public_key(intended.public_key))  # type: ignore[arg-type]
            .serial_number(intended.serial)
            .not_valid_before(datetime.fromtimestamp(intended.not_before, UTC))
            .not_valid_after(datetime.fromtimestamp(intended.not_after, UTC))
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        return builder.sign(self.issuing.key, hashes.SHA256()).public_bytes(Encoding.DER)
