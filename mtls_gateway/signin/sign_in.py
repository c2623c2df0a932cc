"""One password attempt from start to session, and the end of one (clauses A.3, A.4, A.6, A.7).

With a certificate the password is proven, and counted, by ``signin.password_proof``. Nothing here is rendered: every
way to end is a value.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Lockout, Sessions
from mtls_gateway.errors import GatewayError, LegacyUnavailable, StateError
from mtls_gateway.model import CertificateId, Site
from mtls_gateway.signin.jar import LegacyJar
from mtls_gateway.signin.lockout import AddressThrottle
from mtls_gateway.signin.method import judge_password_user
from mtls_gateway.signin.password_proof import (
    PasswordProof,
    Proven,
    Refused,
    Throttled,
    Undecided,
    WrongPassword,
    refused_for,
)
from mtls_gateway.signin.ports import (
    AttemptStore,
    Caller,
    LegacySession,
    NewSession,
    PasswordChecker,
    SessionState,
    SessionStore,
    User,
    UserStore,
)
from mtls_gateway.signin.token import Token, Tokens

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """The password was right. PENDING: another session of the user is to be taken over first."""

    token: Token
    state: SessionState
    user: User
    legacy: LegacySession


Outcome = Opened | WrongPassword | Refused | Undecided | Throttled


@dataclass(frozen=True, slots=True)
class SignInStores:
    """The three sides of the store that a sign-in touches."""

    attempts: AttemptStore
    sessions: SessionStore
    users: UserStore


class SignIn:
    """Made once by the portal."""

    def __init__(
        self,
        stores: SignInStores,
        checkers: Mapping[Site, PasswordChecker],
        tokens: Tokens,
        jar: LegacyJar,
        settings: tuple[Sessions, Lockout],
        clock: Clock,
    ) -> None:
        self._sessions = stores.sessions
        self._users = stores.users
        self._checkers = checkers
        self._tokens = tokens
        self._jar = jar
        self._settings, lockout = settings
        #: For other pages that ask for the password of a certificate's user.
        self.proof = PasswordProof(stores.attempts, stores.users, checkers, lockout, clock)
        self._clock = clock
        self._throttle = AddressThrottle(lockout.attempts_per_address, clock)
        # How long the last wrong password of a known user took: an unknown user ID takes as long.
        self._usual_seconds = 0.3

    async def with_certificate(
        self, certificate: CertificateId, password: str, caller: Caller, presented: bytes | None
    ) -> Outcome:
        """The user of a certificate that ``trust`` has accepted, and the password.

        ``presented`` is the digest of the session that the browser holds already: it gives way without asking.

        Raises:
            StoreUnavailable: nothing was opened.
        """
        outcome = await self._with_certificate(certificate, password, caller, presented)
        return _counted("certificate", outcome)

    async def _with_certificate(
        self, certificate: CertificateId, password: str, caller: Caller, presented: bytes | None
    ) -> Outcome:
        outcome = await self.proof.prove(certificate, password, caller)
        if not isinstance(outcome, Proven):
            return outcome
        try:
            return await self._open(outcome.user, certificate, outcome.legacy, presented)
        except GatewayError:
            await self.proof.end_legacy(outcome.legacy, Site.CERTIFICATE)
            raise

    async def with_password(self, user_id: str, password: str, caller: Caller, presented: bytes | None) -> Outcome:
        """A user of a company that is still on the password method.

        Not counted, or any outsider could lock a customer out; only braked by address.

        Raises:
            StoreUnavailable: nothing was opened.
        """
        outcome = await self._with_password(user_id, password, caller, presented)
        return _counted("password", outcome)

    async def _with_password(self, user_id: str, password: str, caller: Caller, presented: bytes | None) -> Outcome:
        wait = self._throttle.admit(caller.address)
        if wait:
            return Throttled(wait)
        user = await self._users.user(user_id)
        if user is None:
            await asyncio.sleep(self._usual_seconds)
            return WrongPassword()
        # Before anything is tried: else this would tell right passwords from wrong ones without a certificate.
        refusal = judge_password_user(user, self._clock.now())
        if refusal is not None:
            return refused_for(refusal, user)
        started = self._clock.monotonic()
        try:
            # The registered spelling is what the backend gets, never what was typed.
            legacy = await self._checkers[Site.PUBLIC].check(user.user_id, password, caller)
        except LegacyUnavailable as error:
            _LOG.error("a sign-in could not be decided: %s", error)
            return Undecided()
        if legacy is None:
            self._usual_seconds = self._clock.monotonic() - started
            return WrongPassword()
        try:
            return await self._open(user, None, legacy, presented)
        except GatewayError:
            await self.proof.end_legacy(legacy, Site.PUBLIC)
            raise

    async def _open(
        self, user: User, certificate: CertificateId | None, legacy: LegacySession, presented: bytes | None
    ) -> Opened:
        if presented is not None:
            await self._give_way(presented, user, certificate)
        token = self._tokens.mint()
        now = self._clock.now()
        state = await self._sessions.open_session(
            NewSession(
                digest=token.digest,
                user_id=user.user_id,
                certificate=certificate,
                opened=now,
                ends=now + self._settings.absolute,
                legacy_cookies=self._jar.lock(token.digest, legacy),
                backend=legacy.backend,
            ),
            idle=self._settings.idle,
        )
        if state is SessionState.LIVE and certificate is not None:
            await self._users.superseded_by_first_sign_in(certificate)
        return Opened(token, state, user, legacy)

    async def _give_way(self, presented: bytes, user: User, certificate: CertificateId | None) -> None:
        """The same browser signs in again: its own session is not another one to be taken over."""
        row = await self._sessions.session(presented)
        if row is not None and row.user.user_id == user.user_id and row.certificate == certificate:
            await self._end(presented, _site(certificate), "replaced")

    async def take_over(self, digest: bytes, certificate: CertificateId | None) -> None:
        """Make the pending session live and end the user's other one, the legacy session with it.

        Raises:
            StateError: it is not pending any more, waited too long, or another ``certificate`` opened it.
            StoreUnavailable: nothing was changed.
        """
        row = await self._sessions.session(digest)
        if row is None or row.certificate != certificate:
            raise StateError("this session was not opened here; sign in again")
        ended = await self._sessions.take_over(digest, not_before=self._clock.now() - self._settings.takeover)
        if certificate is not None:
            await self._users.superseded_by_first_sign_in(certificate)
        for other, sealed in ended:
            await self._end_stored(other, sealed, _site(certificate))

    async def sign_out(self, digest: bytes) -> bool:
        """End the session and its legacy session. False: the latter may live on until its own time-out.

        Raises:
            StoreUnavailable: it may not have been ended.
        """
        row = await self._sessions.session(digest)
        return await self._end(digest, _site(row.certificate if row is not None else None), "sign_out")

    async def _end(self, digest: bytes, site: Site, cause: str) -> bool:
        sealed = await self._sessions.end_session(digest, cause)
        if sealed is None:
            return True
        return await self._end_stored(digest, sealed, site)

    async def _end_stored(self, digest: bytes, sealed: bytes, site: Site) -> bool:
        session = self._jar.unlock(digest, sealed)
        if session is None:
            _LOG.warning("a legacy session may live on until its own time-out: its cookies cannot be decrypted")
            return False
        return await self.proof.end_legacy(session, site)


def _site(certificate: CertificateId | None) -> Site:
    return Site.PUBLIC if certificate is None else Site.CERTIFICATE


def _counted(method: str, outcome: Outcome) -> Outcome:
    match outcome:
        case Opened(state=state):
            word = "pending" if state is SessionState.PENDING else "right"
        case WrongPassword():
            word = "wrong"
        case Refused(code=code):
            word = code.value
        case Undecided():
            word = "undecided"
        case Throttled():
            word = "throttled"
    metrics.SIGN_INS.labels(method, word).inc()
    return outcome
