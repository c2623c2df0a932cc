"""What the signer is asked for, and what it says of itself: the words that portal, clerk and signer share.

An order says *what* is to be certified, never *how*: the signer builds what it signs by itself, holds it against the
profile, and no caller ever hands it octets to sign.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

#: The reasons of RFC 5280, section 5.3.1, that may stand in a CRL of ours. ``certificateHold`` and ``removeFromCRL``
#: are not among them: a revocation is final here.
Reason = Literal[
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]


@dataclass(frozen=True, slots=True)
class IntendedCertificate:
    """A user's certificate before it is signed, as the portal has written it down.

    The same value again gives the same certificate, byte for byte; the serial with another content is refused.
    """

    #: Positive, at most 20 octets, more than 64 bits of it random: ``cryptography.x509.random_serial_number()``.
    serial: int
    user_id: str
    #: CN, the name that browsers show.
    common_name: str
    #: O.
    organisation: str
    #: POSIX seconds, whole: the first and the last second, both inclusive, as ``validity.one_calendar_year`` has them.
    not_before: float
    not_after: float
    #: DER of its SubjectPublicKeyInfo.
    public_key: bytes


class RevokedEntry(NamedTuple):
    """One line of a CRL; ``at`` is POSIX seconds."""

    serial: int
    at: float
    reason: Reason = "unspecified"


@dataclass(frozen=True, slots=True)
class CrlOrder:
    """A full CRL to be signed."""

    #: :attr:`Issuer.name` of whose CRL it is: during a roll-over the old issuer's CRL goes on.
    issuer: str
    #: Higher than that of every CRL before (RFC 5280, section 5.2.3); the same again only for the same CRL.
    number: int
    #: POSIX seconds, whole.
    this_update: float
    next_update: float
    #: No serial twice. A list or tuple in any order; what can be gone through only once, by rising serials, so that
    #: a million need not be held at once.
    entries: Iterable[RevokedEntry] | AsyncIterable[RevokedEntry]


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuing CA that the signer holds the key of."""

    #: Its name in the configuration.
    name: str
    #: New certificates are signed with this one; the others only sign their CRLs.
    active: bool
    #: Its distinguished name, as :class:`~mtls_gateway.model.CertificateId` prints it.
    subject: str
    #: DER.
    certificate: bytes
    #: DER of its superiors, up to and with the root.
    chain: tuple[bytes, ...]
    #: Where its CRL is published: what its certificates name as their distribution point.
    crl_url: str
    #: The number of the last CRL that was ordered for it, signed or not: the next one's is higher. 0: none yet.
    crl_number: int


class Signer(Protocol):
    """The signer, as portal and clerk see it; ``signer_client`` speaks to it over its socket.

    Raises:
        SignerUnavailable: it does not answer, or asks to wait. The order may or may not have been carried out; giving
            the same order again is always safe.
        SignerRefused: the order breaks a rule, which :attr:`~mtls_gateway.errors.SignerRefused.rule` names. Nothing
            was signed for it.
    """

    async def describe(self) -> tuple[Issuer, ...]:
        """The issuers, the active one first."""
        ...

    async def sign_certificate(self, intended: IntendedCertificate) -> bytes:
        """DER of the certificate, signed by the active issuer."""
        ...

    async def sign_crl(self, order: CrlOrder) -> bytes:
        """DER of the CRL."""
        ...
