"""Who sent a request, as far as it is known: from the certificate shown to the user, from the cookie to the session.

Nothing here waits. What is not known raises :class:`Missing`, which brings it; then everything is asked anew,
because what was true before a wait may no longer be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from mtls_gateway.model import CertificateId, Code, SessionState, Site
from mtls_gateway.signin.identity import Identity, Known, identify
from mtls_gateway.signin.knowledge import Knowledge
from mtls_gateway.signin.session import Session, judge_session
from mtls_gateway.signin.shown import Shown
from mtls_gateway.signin.token import Token
from mtls_gateway.trust.verdict import Accepted, Judge

#: Refusals that may have been lifted a moment ago, so that the store is asked before they are said: another worker
#: has seen the session used, or the password that suspended the user was right after all.
_PASSING = (Code.SESSION_ENDED, Code.USER_SUSPENDED)


class Desk(Protocol):
    """The gate, as far as this module asks it."""

    judge: Judge
    knowledge: Knowledge

    def token(self, cookies: bytes) -> Token | None:
        """The session token in a ``Cookie`` header."""
        ...


class Missing(Exception):
    """Something is not known; ``look_up`` brings it, or raises StoreUnavailable."""

    def __init__(self, look_up: Callable[[], Awaitable[None]]) -> None:
        self.look_up = look_up


class Asked:
    """What was looked up for the request under way."""

    __slots__ = ("answer", "identity", "session")

    def __init__(self) -> None:
        self.identity = False
        self.session = False
        #: The session that was found; one that is not live is not kept elsewhere.
        self.answer: Session | None = None

    def about_identity(self, desk: Desk, certificate: CertificateId) -> Missing:
        """The registration is to be looked up."""

        async def look_up() -> None:
            await desk.knowledge.identities.look_up(certificate)
            self.identity = True

        return Missing(look_up)

    def about_session(self, desk: Desk, token: Token) -> Missing:
        """The session is to be looked up."""

        async def look_up() -> None:
            self.answer = await desk.knowledge.sessions.look_up(token.digest)
            self.session = True

        return Missing(look_up)


@dataclass(frozen=True, slots=True)
class Person:
    """Who sent a request."""

    accepted: Accepted | None = None
    known: Known | None = None
    #: Identified by the certificate, or why not. None on the public host.
    identity: Identity | Code | None = None
    token: Token | None = None
    session: Session | None = None
    #: Why ``session`` is not good; None when there is none, or it is good.
    refusal: Code | None = None

    @property
    def is_signed_in(self) -> bool:
        """Whether there is a session that is good here and now."""
        return self.session is not None and self.refusal is None and not isinstance(self.identity, Code)

    @property
    def standing(self) -> str | None:
        """The session in a word, for the portal; None: none was shown, or nobody is identified.

        The words are ``live``, ``pending``, ``session_ended`` and ``session_other_certificate``.
        """
        if self.token is None or isinstance(self.identity, Code):
            return None
        if self.session is None:
            # The token was made here: there was a session once.
            return Code.SESSION_ENDED.value
        if self.session.state is SessionState.PENDING:
            return SessionState.PENDING.value
        if self.refusal is None:
            return SessionState.LIVE.value
        other = self.refusal is Code.SESSION_OTHER_CERTIFICATE
        return Code.SESSION_OTHER_CERTIFICATE.value if other else Code.SESSION_ENDED.value


def recognise(desk: Desk, site: Site, shown: Shown | None, cookies: bytes, asked: Asked, now: float) -> Person:
    """Who it is at ``now`` (POSIX seconds).

    Raises:
        Missing: something must be looked up first.
    """
    accepted: Accepted | None = None
    known: Known | None = None
    identity: Identity | None = None
    if site is Site.CERTIFICATE:
        verdict = Code.CERTIFICATE_MISSING if shown is None else shown.judge(desk.judge, now)
        if isinstance(verdict, Code):
            return Person(identity=verdict)
        accepted = verdict
        known = desk.knowledge.identities.get(accepted.certificate)
        if known is None:
            raise asked.about_identity(desk, accepted.certificate)
        identified = identify(known, now)
        if isinstance(identified, Code):
            if identified in _PASSING and not asked.identity:
                raise asked.about_identity(desk, accepted.certificate)
            return Person(accepted, known, identified)
        identity = identified
    token = desk.token(cookies)
    if token is None:
        return Person(accepted, known, identity)
    session = _session(desk, token, asked)
    if session is None:
        return Person(accepted, known, identity, token)
    if (session.certificate is None) is not (site is Site.PUBLIC):
        # The other host's. Where the two are ports of one name, browsers send each the other's cookies.
        return Person(accepted, known, identity)
    refusal = _judge(session, site, identity, now, desk.knowledge.sessions.idle)
    if refusal in _PASSING and not asked.session:
        raise asked.about_session(desk, token)
    return Person(accepted, known, identity, token, session, refusal)


def _session(desk: Desk, token: Token, asked: Asked) -> Session | None:
    session = desk.knowledge.sessions.get(token.digest)
    if session is not None:
        return session
    # An answer that was not kept counts only where it refuses: a live session must be current.
    if not asked.session or (asked.answer is not None and asked.answer.state is SessionState.LIVE):
        raise asked.about_session(desk, token)
    return asked.answer


def _judge(session: Session, site: Site, identity: Identity | None, now: float, idle: float) -> Code | None:
    refusal = judge_session(session, site, None if identity is None else identity.certificate, now, idle)
    if refusal is None and identity is not None and session.user.user_id != identity.user.user_id:
        return Code.SESSION_OTHER_CERTIFICATE
    return refusal
