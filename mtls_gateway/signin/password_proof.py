"""The password of a certificate's user, proven: for sign-in, renewal, and whatever asks for it again (clause A.7).

The attempt is counted as wrong *before* the password is tried, so that parallel guesses cannot outrun the
count; a right one forgets the count, one that could not be decided is taken back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Lockout
from mtls_gateway.errors import GatewayError, LegacyUnavailable
from mtls_gateway.model import CertificateId, Code, Site
from mtls_gateway.signin.lockout import AddressThrottle
from mtls_gateway.signin.method import judge_registration
from mtls_gateway.signin.ports import (
    AttemptStore,
    Caller,
    LegacySession,
    PasswordChecker,
    Registration,
    User,
    UserStore,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Proven:
    """The password was right, and has opened a legacy session: keep it, or end it."""

    user: User
    legacy: LegacySession


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The password was right; no legacy session is left of it."""

    user: User


@dataclass(frozen=True, slots=True)
class WrongPassword:
    """The password, or on the password method the user ID, is wrong."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Whatever the password: ``code`` says why; ``until`` (POSIX seconds) when it ends by itself."""

    code: Code
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Undecided:
    """The legacy backend did not answer as it should; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too many attempts from the address; another may be made in ``seconds``."""

    seconds: float


NotProven = WrongPassword | Refused | Undecided | Throttled
Outcome = Proven | NotProven


class PasswordProof:
    """Made once by the portal, so that every page that asks for passwords counts the same attempts."""

    def __init__(
        self,
        attempts: AttemptStore,
        users: UserStore,
        checkers: Mapping[Site, PasswordChecker],
        lockout: Lockout,
        clock: Clock,
    ) -> None:
        self._attempts = attempts
        self._users = users
        self._checkers = checkers
        self._lockout = lockout
        self._clock = clock
        # Not that of the password method: whoever shares an address with a customer, and has no certificate, must not
        # use up the attempts of those who have one (clause A.7).
        self._throttle = AddressThrottle(lockout.attempts_per_address, clock)

    async def refusal_of(self, certificate: CertificateId) -> Refused | None:
        """Why a password would not even be tried; None: it would be.

        Raises:
            StoreUnavailable: it is not known.
        """
        return self._judge(await self._users.registration(certificate))

    async def prove(self, certificate: CertificateId, password: str, caller: Caller) -> Outcome:
        """Try the password of the user of a certificate that ``trust`` has accepted.

        Raises:
            StoreUnavailable: nothing is proven.
        """
        wait = self._throttle.admit(caller.address)
        if wait:
            return Throttled(wait)
        # Read again rather than taken from the worker's word: it may have been revoked a moment ago.
        registration = await self._users.registration(certificate)
        refused = self._judge(registration)
        if registration is None or refused is not None:
            return refused or Refused(Code.CERTIFICATE_NOT_REGISTERED)
        lockout = self._lockout
        attempt = await self._attempts.begin_attempt(
            registration.user.user_id,
            limit=lockout.wrong_passwords,
            suspension=lockout.suspension,
            suspensions=lockout.suspensions,
        )
        if not attempt.allowed:
            return refused_for(_standing(attempt.user), attempt.user)
        try:
            legacy = await self._checkers[Site.CERTIFICATE].check(attempt.user.user_id, password, caller)
        except LegacyUnavailable as error:
            _LOG.error("a password could not be decided: %s", error)
            await self._attempts.attempt_did_not_count(attempt.user.user_id)
            return Undecided()
        if legacy is None:
            return self._wrong(attempt.user)
        try:
            await self._attempts.attempt_was_right(attempt.user.user_id)
        except GatewayError:
            await self.end_legacy(legacy, Site.CERTIFICATE)
            raise
        return Proven(attempt.user, legacy)

    async def confirm(self, certificate: CertificateId, password: str, caller: Caller) -> Confirmed | NotProven:
        """:meth:`prove`, for somebody who is signed in already: the legacy session that it opened is ended.

        Raises:
            StoreUnavailable: nothing is proven.
        """
        outcome = await self.prove(certificate, password, caller)
        if not isinstance(outcome, Proven):
            metrics.SIGN_INS.labels("confirmation", word_of(outcome)).inc()
            return outcome
        metrics.SIGN_INS.labels("confirmation", "right").inc()
        await self.end_legacy(outcome.legacy, Site.CERTIFICATE)
        return Confirmed(outcome.user)

    async def end_legacy(self, session: LegacySession, site: Site) -> bool:
        """End a legacy session that is not wanted (any more). False: it may live on until its own time-out."""
        try:
            await self._checkers[site].sign_out(session)
        except LegacyUnavailable as error:
            _LOG.warning("a legacy session may live on until its own time-out: %s", error)
            return False
        return True

    def _judge(self, registration: Registration | None) -> Refused | None:
        refusal = judge_registration(registration, self._clock.now())
        if refusal is None:
            return None
        return Refused(refusal) if registration is None else refused_for(refusal, registration.user)

    def _wrong(self, user: User) -> WrongPassword | Refused:
        """``user`` as it was when the attempt had been counted."""
        suspended = user.suspended_until is not None and user.suspended_until > self._clock.now()
        if user.stopped or suspended:
            return refused_for(_standing(user), user)
        return WrongPassword()


def word_of(outcome: NotProven) -> str:
    """The outcome as metrics and pages name it."""
    match outcome:
        case WrongPassword():
            return "wrong"
        case Refused(code=code):
            return code.value
        case Undecided():
            return "undecided"
        case Throttled():
            return "throttled"


def refused_for(code: Code, user: User) -> Refused:
    """The refusal, and when it ends by itself."""
    return Refused(code, user.suspended_until if code is Code.USER_SUSPENDED else None)


def _standing(user: User) -> Code:
    return Code.USER_STOPPED if user.stopped else Code.USER_SUSPENDED
