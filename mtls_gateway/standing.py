"""How far a user has come on its way to a certificate, and how its certificate stands: for progress lists and pages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mtls_gateway.model import CertificateId, CertificateState, CodePurpose


class Stage(str, Enum):
    """How far a user has come on its way to a certificate (notice, 4.(1))."""

    #: It is on no approved application.
    NOT_APPLIED = "not_applied"
    #: A code is ordered; its letter is yet to be printed.
    LETTER_DUE = "letter_due"
    LETTER_OUT = "letter_out"
    #: The letter came too late, or its code was tried too often: another must be ordered.
    CODE_EXPIRED = "code_expired"
    CODE_EXHAUSTED = "code_exhausted"
    CODE_VOID = "code_void"
    ACQUIRED = "acquired"
    #: It had a certificate, which is expired or revoked, and no code is on its way.
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class UserStanding:
    """A user with its certificate and what is on its way to it; times are POSIX seconds."""

    user_id: str
    name: str | None
    administrator: bool
    stage: Stage
    #: The one that it can sign in with, else the last that it could; None: it never had one.
    certificate: CertificateId | None
    certificate_state: CertificateState | None
    #: When the certificate became good, or was registered where that is not known.
    acquired: float | None
    not_after: float | None
    #: Of the newest code.
    code_purpose: CodePurpose | None
    code_printed: float | None
    code_expires: float | None
    last_sign_in: float | None


@dataclass(frozen=True, slots=True)
class CertificateTerm:
    """A certificate's life as its owner is told of it; POSIX seconds, None: it is not known."""

    since: float | None
    not_after: float | None
    #: When a newer one was issued that waits for its first sign-in (clause D.4); None: there is none.
    newer_since: float | None
