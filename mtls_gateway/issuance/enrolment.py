"""From user ID, password and code, or from the present certificate, to a new certificate (clauses D.2 and D.4).

The order of things is what keeps it safe: the request is read before anything is counted, the try at the code is
counted before the password is tried, the certificate is written down with what pays for it before it is signed,
and stored before it is given out. Whoever asks again with the same key gets the same certificate.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from cryptography import x509

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Issuance
from mtls_gateway.errors import EnrolmentConflict, LegacyUnavailable, SignerRefused, StateError
from mtls_gateway.issuance.code import Code, digest
from mtls_gateway.issuance.csr import KeyRequest
from mtls_gateway.issuance.issuers import Issuers
from mtls_gateway.issuance.orders import IntendedCertificate, Issuer, Signer
from mtls_gateway.issuance.ports import CodeStore, EnrolmentStore, Passwords, Users
from mtls_gateway.issuance.validity import one_calendar_year
from mtls_gateway.model import (
    Caller,
    CertificateId,
    CertificateState,
    CodeOutcome,
    CodePurpose,
    Intention,
    Method,
    NewIntention,
    User,
)

_LOG = logging.getLogger(__name__)
_DAY = 86_400.0
#: Octets: X.520 counts characters, but not every reader does.
_LONGEST_NAME = 64
_GIVEN_OUT = (CertificateState.INTENDED, CertificateState.VALID, CertificateState.AWAITING)

#: What became of a try, when its code is right and that is all that is wrong.
_ENDED = {
    CodeOutcome.EXPIRED: "enrolment_code_expired",
    CodeOutcome.EXHAUSTED: "enrolment_code_exhausted",
}
#: The store's words for why not, in those of the pages.
_CONFLICTS = {
    "code_used": "enrolment_code_used",
    "key_reused": "csr_key_reused",
    "certificate_exists": "certificate_exists",
    "renewal_too_early": "renewal_too_early",
    "not_current": "certificate_not_current",
    "revoked": "enrolment_code_used",
}


@dataclass(frozen=True, slots=True)
class Issued:
    """The certificate, DER, and the chain of its issuer, the issuer first; empty: the issuer is no longer there."""

    certificate: bytes
    chain: tuple[bytes, ...]
    intention: Intention


@dataclass(frozen=True, slots=True)
class NotIssued:
    """Nothing was issued; ``code`` is one of the stable codes of the pages and of EST."""

    code: str


@dataclass(frozen=True, slots=True)
class Entitled:
    """User ID, code and password are right; nothing was used up."""

    user: User
    purpose: CodePurpose
    #: When the code can no longer be used, POSIX seconds.
    expires: float | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says to be whom, and by what; never printed."""

    user_id: str
    password: str = field(repr=False)
    code: Code
    caller: Caller


@dataclass(frozen=True, slots=True)
class EnrolmentStores:
    """The sides of the store that an enrolment touches."""

    codes: CodeStore
    enrolments: EnrolmentStore
    users: Users


class Enrolment:
    """Made once by the portal."""

    def __init__(
        self,
        stores: EnrolmentStores,
        signer: Signer,
        issuers: Issuers,
        passwords: Passwords,
        settings: Issuance,
        clock: Clock,
        *,
        code_key: bytes,
        cooling_off_until: Callable[[float], float | None],
    ) -> None:
        """``code_key`` is derived from the instance secret for ``code.KEY_PURPOSE``.

        ``cooling_off_until`` says when the cooling-off of a reissue at that moment ends (POSIX seconds); None: there is
        none.
        """
        self._codes = stores.codes
        self._enrolments = stores.enrolments
        self._users = stores.users
        self._signer = signer
        self._issuers = issuers
        self._passwords = passwords
        self._settings = settings
        self._clock = clock
        self._code_key = code_key
        self._cooling_off_until = cooling_off_until
        #: One enrolment of a user after the other: of fifty at once, one pays and the others find what it got.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def entitled(self, claim: Claim) -> Entitled | NotIssued:
        """Whether a code could be used now, for the enrolment sign-in page; a try that is wrong is counted.

        Raises:
            StoreUnavailable: it is not known.
        """
        async with self._turn(claim.user_id):
            proven = await self._prove(claim)
        if isinstance(proven, NotIssued):
            return proven
        if proven.used:
            return NotIssued("enrolment_code_used")
        return Entitled(proven.user, proven.purpose, proven.expires)

    async def enrol(self, claim: Claim, request: KeyRequest, *, key_storage: str | None = None) -> Issued | NotIssued:
        """A certificate for the key, paid for by the code.

        Raises:
            StoreUnavailable: nothing was used up, or asking again with the same key gives the certificate.
            SignerUnavailable: the same.
        """
        async with self._turn(claim.user_id):
            outcome = await self._enrol(claim, request, key_storage)
        return _counted("enrolment", outcome)

    async def _enrol(self, claim: Claim, request: KeyRequest, key_storage: str | None) -> Issued | NotIssued:
        proven = await self._prove(claim)
        if isinstance(proven, NotIssued):
            return proven
        try:
            new = await self._new(proven.user, request, key_storage)
            intention = await self._enrolments.intend_by_code(new, proven.code_id)
            return await self._issue(intention, proven.purpose)
        except StateError as error:
            return _not_issued(error)

    async def renew(
        self,
        user: User,
        current: CertificateId,
        not_after: float,
        request: KeyRequest,
        *,
        key_storage: str | None = None,
    ) -> Issued | NotIssued:
        """A certificate for the key, for whoever holds the present one and has just shown the right password.

        Raises:
            StoreUnavailable: asking again with the same key is safe.
            SignerUnavailable: the same.
        """
        async with self._turn(user.user_id):
            try:
                new = await self._new(user, request, key_storage)
                window = self._settings.renewal_days * _DAY
                intention = await self._enrolments.intend_by_renewal(new, current, ends=not_after, window=window)
                outcome = await self._issue(intention, None)
            except StateError as error:
                outcome = _not_issued(error)
        return _counted("renewal", outcome)

    async def finish(self, intention: Intention) -> None:
        """Sign and store what was written down and left there, e.g. by a portal that was killed.

        Raises:
            StoreUnavailable: later.
            SignerUnavailable: later.
        """
        try:
            await self._issue(intention, await self._enrolments.purpose(intention.certificate))
        except StateError as error:
            _LOG.warning("%s was not finished: %s", intention.certificate, error)

    async def finish_all(self, before: float) -> int:
        """:meth:`finish` everything that was written down before ``before`` (POSIX seconds); returns how many.

        Raises:
            StoreUnavailable: later.
            SignerUnavailable: later.
        """
        found = await self._enrolments.unfinished(before)
        for intention in found:
            await self.finish(intention)
        return len(found)

    # --- proof --------------------------------------------------------------------------------------

    async def _prove(self, claim: Claim) -> _Proven | NotIssued:
        """User ID, code and password; what of them was wrong is not said."""
        refused = NotIssued("enrolment_refused")
        user = await self._users.user(claim.user_id)
        # Also when there is no such user: how long this takes must not tell.
        tried = await self._codes.begin_try(
            claim.user_id, claim.code.locator, digest(claim.code, self._code_key), limit=self._settings.codes.tries
        )
        if user is None or tried.code_id is None or tried.purpose is None:
            return refused
        if tried.outcome in _ENDED:
            return NotIssued(_ENDED[tried.outcome])
        if tried.outcome not in (CodeOutcome.MATCHED, CodeOutcome.USED):
            return refused
        standing = _standing(user, self._clock.now())
        try:
            if standing is None and not await self._passwords.is_right(user.user_id, claim.password, claim.caller):
                await self._codes.try_was_wrong(tried.code_id)
                return refused
        except LegacyUnavailable as error:
            _LOG.error("an enrolment could not be decided: %s", error)
            await self._codes.try_did_not_count(tried.code_id)
            return NotIssued("unavailable")
        if standing is not None:
            await self._codes.try_did_not_count(tried.code_id)
            return NotIssued(standing)
        await self._codes.try_was_right(tried.code_id)
        return _Proven(user, tried.code_id, tried.purpose, tried.expires, tried.outcome is CodeOutcome.USED)

    # --- issuing ------------------------------------------------------------------------------------

    async def _new(self, user: User, request: KeyRequest, key_storage: str | None) -> NewIntention:
        issuer = await self._issuers.active()
        first, last = one_calendar_year(self._clock.now())
        return NewIntention(
            CertificateId(issuer.subject, x509.random_serial_number()),
            user.user_id,
            _common_name(await self._users.name_of(user.user_id), user.user_id),
            self._settings.organisation,
            first.timestamp(),
            last.timestamp(),
            request.public_key,
            key_storage,
        )

    async def _issue(self, intention: Intention, purpose: CodePurpose | None) -> Issued | NotIssued:
        if intention.state not in _GIVEN_OUT:
            return NotIssued("enrolment_code_used")
        issuer = await self._issuers.named(intention.certificate.issuer)
        if intention.der is None:
            der = await self._sign(intention, issuer)
            if der is None:
                return NotIssued("unavailable")
            until = self._cooling_off_until(self._clock.now()) if purpose is CodePurpose.REISSUE else None
            intention = await self._enrolments.complete(intention.certificate, der, cooling_off_until=until)
        if intention.der is None:
            raise RuntimeError("a completed certificate has no octets")
        chain = () if issuer is None else (issuer.certificate, *issuer.chain)
        return Issued(intention.der, chain, intention)

    async def _sign(self, intention: Intention, issuer: Issuer | None) -> bytes | None:
        """The certificate, DER; None: it will never be signed, and was given up."""
        der, cause = None, "issuer_retired"
        # Written down before a roll-over: the signer signs for the new issuer only.
        if issuer is not None and issuer.active:
            try:
                der = await self._signer.sign_certificate(_order(intention))
            except SignerRefused as error:
                _LOG.error("%s was not signed: %s", intention.certificate, error)
                cause = error.rule
        if der is not None and _is(der, intention.certificate):
            return der
        self._issuers.forget()
        await self._enrolments.abandon(intention.certificate, cause=cause)
        return None

    def _turn(self, user_id: str) -> asyncio.Lock:
        turn = self._turns.get(user_id)
        if turn is None:
            turn = self._turns[user_id] = asyncio.Lock()
        return turn


@dataclass(frozen=True, slots=True)
class _Proven:
    user: User
    code_id: int
    purpose: CodePurpose
    expires: float | None
    used: bool


def _order(intention: Intention) -> IntendedCertificate:
    return IntendedCertificate(
        intention.certificate.serial,
        intention.user_id,
        intention.common_name,
        intention.organisation,
        intention.not_before,
        intention.not_after,
        intention.public_key,
    )


def _not_issued(error: StateError) -> NotIssued:
    if isinstance(error, EnrolmentConflict):
        return NotIssued(_CONFLICTS[error.reason])
    # Another node was faster: asking again finds what it did.
    _LOG.warning("an enrolment was not decided: %s", error)
    return NotIssued("unavailable")


def _is(der: bytes, certificate: CertificateId) -> bool:
    signed = x509.load_der_x509_certificate(der)
    return CertificateId(signed.issuer.rfc4514_string(), signed.serial_number) == certificate


def _common_name(name: str | None, user_id: str) -> str:
    """What browsers show; a name that is too long is cut between two characters (X.520: ub-common-name)."""
    octets = (name or "").encode("utf-8")[:_LONGEST_NAME]
    return octets.decode("utf-8", "ignore").strip() or user_id


def _standing(user: User, now: float) -> str | None:
    """What stands against issuing anything to the user; the word is a code of the refusal pages."""
    if user.company_suspended:
        return "company_suspended"
    if user.stopped:
        return "user_stopped"
    if user.suspended_until is not None and now < user.suspended_until:
        return "user_suspended"
    if user.company_method is Method.PASSWORD:
        return "company_not_on_certificate_method"
    return None


def _counted(way: str, outcome: Issued | NotIssued) -> Issued | NotIssued:
    metrics.ENROLMENTS.labels(way, "issued" if isinstance(outcome, Issued) else outcome.code).inc()
    return outcome
