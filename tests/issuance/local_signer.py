"""A signer in this process, with two issuers as during a roll-over; it can be away, or refuse."""

from __future__ import annotations

from collections.abc import AsyncIterable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance import development_profiles as profiles
from mtls_gateway.issuance.orders import CrlOrder, IntendedCertificate, Issuer, RevokedEntry


class LocalSigner:
    """Fulfils ``issuance.orders.Signer``, but for certificates."""

    def __init__(self, now: float) -> None:
        self.root = profiles.root("Demo Shinkumi", "Demo Root CA", now - 3_600)
        self.keys = {
            name: profiles.issuing(self.root, "Demo Shinkumi", f"Demo {name}", now - 3_600, None)
            for name in ("issuing-2", "issuing-1")
        }
        self.away = False
        self.refuses: set[str] = set()
        self.orders: list[tuple[str, int]] = []
        self.numbers = dict.fromkeys(self.keys, 0)

    def subject(self, name: str) -> str:
        return self.keys[name].certificate.subject.rfc4514_string()

    async def describe(self) -> tuple[Issuer, ...]:
        if self.away:
            raise SignerUnavailable("the signer does not answer")
        return tuple(
            Issuer(
                name,
                name == "issuing-2",
                self.subject(name),
                signer.certificate.public_bytes(Encoding.DER),
                (self.root.certificate.public_bytes(Encoding.DER),),
                f"http://crl.example/{name}.crl",
                self.numbers[name],
            )
            for name, signer in self.keys.items()
        )

    async def sign_certificate(self, intended: IntendedCertificate) -> bytes:
        raise SignerRefused("nothing", "this signer signs only CRLs")

    async def sign_crl(self, order: CrlOrder) -> bytes:
        if self.away:
            raise SignerUnavailable("the signer does not answer")
        if order.issuer in self.refuses or order.number <= self.numbers[order.issuer]:
            raise SignerRefused("number", f"CRL {order.number} of {order.issuer}")
        self.numbers[order.issuer] = order.number
        self.orders.append((order.issuer, order.number))
        signer = self.keys[order.issuer]
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(signer.certificate.subject)
            .last_update(datetime.fromtimestamp(order.this_update, UTC))
            .next_update(datetime.fromtimestamp(order.next_update, UTC))
            .add_extension(x509.CRLNumber(order.number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        )
        last = 0
        async for entry in _each(order):
            assert entry.serial > last, "serials must rise"
            assert entry.at <= order.this_update
            last = entry.serial
            revoked = (
                x509.RevokedCertificateBuilder()
                .serial_number(entry.serial)
                .revocation_date(datetime.fromtimestamp(entry.at, UTC))
            )
            if entry.reason != "unspecified":
                revoked = revoked.add_extension(x509.CRLReason(x509.ReasonFlags(entry.reason)), critical=False)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


async def _each(order: CrlOrder) -> AsyncIterable[RevokedEntry]:
    if isinstance(order.entries, AsyncIterable):
        async for entry in order.entries:
            yield entry
    else:
        for entry in order.entries:
            yield entry
