"""The nouns that every room shares: plain values, no behaviour but their printed forms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

#: A plain value that is kept with what it explains: a line of the audit log, a mail.
Fact = str | int | float | bool | None
#: RFC 5280, section 4.1.2.2: serial numbers have at most 20 octets.
MAXIMUM_SERIAL = (1 << 160) - 1


class CertificateId(NamedTuple):
    """What identifies a certificate: never the serial or the common name alone.

    ``issuer`` is the issuer's distinguished name in the form of RFC 4514, as
    ``cryptography.x509.Name.rfc4514_string()`` prints it; ``serial`` is an integer and is
    printed in one form only, see :func:`print_serial`.
    """

    issuer: str
    serial: int

    def __str__(self) -> str:
        return f"{print_serial(self.serial)} of {self.issuer}"


def print_serial(serial: int) -> str:
    """The one printed form of a serial: lower-case hexadecimal, an even number of digits.

    Raises:
        ValueError: the serial is negative, zero is allowed, or longer than 20 octets.
    """
    if not 0 <= serial <= MAXIMUM_SERIAL:
        raise ValueError("a serial number has between 1 and 20 octets and is not negative")
    digits = format(serial, "x")
    return digits if len(digits) % 2 == 0 else "0" + digits


def read_serial(printed: str) -> int:
    """Read hexadecimal as other programs print it: any case, colons or spaces between octets.

    Decimal is never guessed: what reads ``10`` in one program and ``16`` in another has let
    the wrong people in elsewhere.

    Raises:
        ValueError: not hexadecimal, or out of range.
    """
    digits = printed.strip().replace(":", "").replace(" ", "")
    if not digits or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise ValueError(f"{printed!r} is not a serial number in hexadecimal")
    serial = int(digits, 16)
    if serial > MAXIMUM_SERIAL:
        raise ValueError(f"{printed!r} has more than 20 octets")
    return serial


class Site(str, Enum):
    """The two hosts of the gateway (clause A.1)."""

    PUBLIC = "public"
    CERTIFICATE = "certificate"


class PeerCertificate:
    """The certificate whose key the peer has proven to hold. *Not trusted*: see ``trust``.

    Only the depth-0 certificate is kept. What else a client sends is never used to judge it
    (certificate stuffing, CVE-2023-2422); the bank's bundle holds every issuer.
    """

    __slots__ = ("der", "fingerprint")

    def __init__(self, der: bytes) -> None:
        self.der = der
        #: SHA-256 over the DER encoding, 32 octets.
        self.fingerprint = hashlib.sha256(der).digest()


class Method(str, Enum):
    """A company's login method (契約のログイン方式). Set for the company, never for a user."""

    PASSWORD = "password"
    MIGRATING = "migrating"
    CERTIFICATE = "certificate"


class CertificateState(str, Enum):
    """Where a registered certificate stands in its life.

    ::

        INTENDED ──▶ VALID ─────────────┬──▶ EXPIRED
            │          ▲                ├──▶ SUPERSEDED
            └──▶ AWAITING ──────────────┴──▶ REVOKED
    """

    #: Written down before it is signed, so that a retry gets the same one; nobody can sign in with it yet.
    INTENDED = "intended"
    VALID = "valid"
    #: Issued by a renewal and as usable as a valid one; its first sign-in makes it valid, and its elder superseded
    #: (clause D.4).
    AWAITING = "awaiting"
    #: A newer one took its place; on the CRL as well.
    SUPERSEDED = "superseded"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Code(str, Enum):
    """The stable codes of the refusal pages (clause A.2); shown to people, used as a metric label."""

    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_REVOKED = "certificate_revoked"
    ISSUER_UNKNOWN = "issuer_unknown"
    CERTIFICATE_WRONG_USAGE = "certificate_wrong_usage"
    CERTIFICATE_MALFORMED = "certificate_malformed"
    REVOCATION_UNKNOWN = "revocation_unknown"
    CERTIFICATE_NOT_REGISTERED = "certificate_not_registered"
    CERTIFICATE_SUPERSEDED = "certificate_superseded"
    USER_SUSPENDED = "user_suspended"
    USER_STOPPED = "user_stopped"
    COMPANY_SUSPENDED = "company_suspended"
    COMPANY_NOT_ON_CERTIFICATE_METHOD = "company_not_on_certificate_method"
    COMPANY_ON_CERTIFICATE_METHOD = "company_on_certificate_method"
    SESSION_OTHER_CERTIFICATE = "session_other_certificate"
    SESSION_ENDED = "session_ended"
    LEGACY_LOGIN_GUARDED = "legacy_login_guarded"
    #: A new certificate was issued a short while ago: this function opens on the next business day (clause D.6).
    COOLING_OFF = "cooling_off"
    BROWSER_UNSUPPORTED = "browser_unsupported"
    #: The bank has stopped the whole service, at once or for a window that it announced (clause E.6).
    EMERGENCY_STOP = "emergency_stop"
    MAINTENANCE = "maintenance"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class User:
    """A user with what decides whether it may sign in."""

    user_id: str
    company_id: str
    administrator: bool
    #: Suspended for wrong passwords until then; None: not suspended.
    suspended_until: float | None
    #: Stopped until the bank releases it.
    stopped: bool
    company_method: Method
    #: MIGRATING only: from then on the password method is refused to all.
    company_deadline: float | None
    company_suspended: bool
    #: Whether the user has ever acquired a certificate: while its company migrates it switched then (clause A.5),
    #: and a revocation does not switch it back.
    has_certificate: bool
    #: After a reissue: what the cooling-off rules name is refused until then (clause D.6); None: nothing is.
    cooling_off_until: float | None = None


class CodePurpose(str, Enum):
    """Why a user is given an enrolment code (発行コード)."""

    FIRST = "first"
    #: The certificate before has expired without being renewed.
    EXPIRED = "expired"
    #: The PC was lost or replaced; the certificate before is revoked.
    REISSUE = "reissue"


class CodeState(str, Enum):
    """Where an enrolment code stands (clause D.1)."""

    #: To be made when its procedure letter is printed: only then is there a code at all.
    ORDERED = "ordered"
    OPEN = "open"
    USED = "used"
    #: Taken back by the bank, or another was made in its place.
    VOID = "void"
    #: Too many wrong tries.
    EXHAUSTED = "exhausted"


class CodeOutcome(str, Enum):
    """What a try at an enrolment code came to; all but ``WRONG`` are told only to whoever has the whole code."""

    WRONG = "wrong"
    #: The code is right and open; the password decides.
    MATCHED = "matched"
    #: The code is right and was used: the same key gets the same certificate again, any other is refused.
    USED = "used"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class CodeTry:
    """One try at an enrolment code, counted before its outcome is used."""

    outcome: CodeOutcome
    #: None: ``WRONG``.
    code_id: int | None = None
    purpose: CodePurpose | None = None
    #: When it can no longer be used, POSIX seconds.
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a password came from, as the legacy backend is to see it."""

    address: str
    user_agent: str = ""
    accept_language: str = ""
    #: Backends that its session may be opened at, the best first; empty: all are out. None: not known.
    backends: tuple[str, ...] | None = None


class MailState(str, Enum):
    """Where a mail of the outbox stands (clause D.5)."""

    WAITING = "waiting"
    #: Given to the mail server; a crash before its answer is written down may repeat this one mail.
    SENDING = "sending"
    SENT = "sent"
    #: The mail server refused it for good, or it was tried for too long.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Intention:
    """A certificate about to be issued, as it was written down before it is signed; times are POSIX seconds.

    All that the signer is told, so that the same intention always yields the same certificate (clause D.2).
    """

    certificate: CertificateId
    user_id: str
    state: CertificateState
    common_name: str
    organisation: str
    not_before: float
    not_after: float
    #: SubjectPublicKeyInfo, DER.
    public_key: bytes
    #: The certificate once it was signed and stored, DER; None: not yet.
    der: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewIntention:
    """What to write down: see :class:`Intention`. The store adds nothing and changes nothing."""

    certificate: CertificateId
    user_id: str
    common_name: str
    organisation: str
    not_before: float
    not_after: float
    public_key: bytes
    #: ``tpm``, ``software`` or None, as the client says.
    key_storage: str | None = None


class ApplicationKind(str, Enum):
    """What a company has applied for (機能申込書, 再発行申込書)."""

    START = "start"
    REISSUE = "reissue"


class ApplicationState(str, Enum):
    """An application is received by one operator and approved, or refused, by another (clause D.1)."""

    RECEIVED = "received"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered certificate and its user."""

    certificate: CertificateId
    state: CertificateState
    not_after: float | None
    user: User


class SessionState(str, Enum):
    """``PENDING``: the password was right, but another session of the user must be taken over first."""

    PENDING = "pending"
    LIVE = "live"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as the store has it. ``digest`` is SHA-256 of the token; the token is never stored."""

    digest: bytes
    state: SessionState
    user: User
    #: The certificate that opened it; None: the password method.
    certificate: CertificateId | None
    opened: float
    last_used: float
    #: The absolute end.
    ends: float
    #: The address of the backend that the legacy session lives on; "": not written down.
    backend: str = ""


class ChangeKind(str, Enum):
    """What the ``changes`` feed speaks of, and its subject."""

    #: ``str(CertificateId)``: its registration or state changed.
    CERTIFICATE = "certificate"
    #: The user ID.
    USER = "user"
    #: The company ID.
    COMPANY = "company"
    #: Hexadecimal digest: the session changed its state, or was opened.
    SESSION = "session"
    OPENED = "opened"
    #: The generation of the compiled revocation indexes.
    REVOCATION = "revocation"
    #: The number of a closure: it was planned, begun or lifted.
    CLOSURE = "closure"
    #: ``<fingerprint in hex> <address>``: choose another certificate. Without a fingerprint: that is over.
    ASK_AGAIN = "ask_again"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the append-only feed."""

    sequence: int
    at: float
    kind: ChangeKind
    subject: str


class ClosureKind(str, Enum):
    """Why the service is closed to everybody (clause E.6)."""

    EMERGENCY = "emergency"
    MAINTENANCE = "maintenance"

    @property
    def code(self) -> Code:
        """What the page says."""
        return Code.EMERGENCY_STOP if self is ClosureKind.EMERGENCY else Code.MAINTENANCE


@dataclass(frozen=True, slots=True)
class Closure:
    """A time in which nobody is admitted; POSIX seconds, ``ends`` is the first moment that is open again."""

    closure_id: int
    kind: ClosureKind
    begins: float
    #: None: until an operator lifts it.
    ends: float | None
    #: What customers are told besides, in Japanese and English.
    note_ja: str | None = None
    note_en: str | None = None

    def holds(self, now: float) -> bool:
        """Whether the service is closed by it at ``now``."""
        return self.begins <= now and (self.ends is None or now < self.ends)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A password attempt that was counted before it is made, so that parallel guesses cannot outrun it."""

    #: False: the user is suspended or stopped; ``user`` says until when.
    allowed: bool
    user: User


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session about to be opened."""

    digest: bytes
    user_id: str
    certificate: CertificateId | None
    opened: float
    ends: float
    #: The legacy session's cookies, encrypted (see ``signin.jar``), so that it can be ended without the browser.
    legacy_cookies: bytes
    #: See :class:`SessionRow`.
    backend: str = ""
