"""The nouns of what happens by itself: mails, certificates that end, our own CRLs. Plain values, as in ``model``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mtls_gateway.model import CertificateId, Fact, MailState


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one person; times are POSIX seconds."""

    mail_id: int
    key: str
    kind: str
    #: Of whom it speaks, and who gets it.
    user_id: str
    recipient_id: str
    address: str
    facts: Mapping[str, Fact]
    state: MailState
    posted: float
    due: float
    tries: int
    ended: float | None
    error: str | None
    #: A clerk died after it had begun to give it to the mail server: it may go out a second time.
    may_repeat: bool = False


@dataclass(frozen=True, slots=True)
class EndingCertificate:
    """A certificate that can sign in, and when that ends; POSIX seconds."""

    certificate: CertificateId
    user_id: str
    not_after: float
    #: The expiry notice that was given last: days before the end; None: none.
    noticed: int | None
    #: A newer one of the user can sign in as well: there is nothing left to do for the user.
    renewed: bool


@dataclass(frozen=True, slots=True)
class GivenNotice:
    """An expiry notice that is given now."""

    ending: EndingCertificate
    #: Days before the end.
    notice: int
    #: A mail tells of it: not of one that is only counted, e.g. because a newer certificate is there.
    mailed: bool
    #: The certificate's row becomes EXPIRED.
    expired: bool


class ListedRevocation(NamedTuple):
    """A certificate that a CRL lists; ``at`` is POSIX seconds."""

    serial: int
    at: float
    #: A word of RFC 5280, section 5.3.1; None: none was given.
    reason: str | None


class NumberedCrl(NamedTuple):
    """A CRL that was given a number before it is signed; POSIX seconds."""

    number: int
    #: What it lists would not have ended before.
    ended_after: float
    #: How many it lists, and perhaps some that were revoked just then.
    entries: int
