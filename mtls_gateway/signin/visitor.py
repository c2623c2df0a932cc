"""One connection's side of the gate: what ``signin.gate`` tabulates, decided request by request.

A decision is made in one step on what is known at that moment. Where something must be looked up, it is,
and then the decision is made anew from the beginning: what was true before a wait is not relied on after it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import Closure, Code, Site
from mtls_gateway.signin.context import Context
from mtls_gateway.signin.cooling_off import is_cooling_off
from mtls_gateway.signin.guard import EST, Place
from mtls_gateway.signin.identity import Identity
from mtls_gateway.signin.legacy_headers import legacy_headers
from mtls_gateway.signin.next_path import with_next
from mtls_gateway.signin.parameters import Looked, is_readable, names
from mtls_gateway.signin.person import Asked, Missing, Person, recognise
from mtls_gateway.signin.readings import Ambiguous
from mtls_gateway.signin.session import Session
from mtls_gateway.signin.session_backend import home_of
from mtls_gateway.signin.shown import Shown
from mtls_gateway.wire.gate import Admission, Forward, Page, Peer, Redirect, Refuse, RequestHead, Route, Unread

if TYPE_CHECKING:
    from mtls_gateway.signin.gate import Gate

_LEGACY = Place.LEGACY
#: Pages below the prefix that a connection with a bad certificate may see; all others show why it is bad.
_FOR_ANYBODY = ("static/", "refused/", "another-certificate", "sign-out", "status")
#: Pages below the prefix that the table of browsers speaks of (clause A.8).
_SIGN_IN = ("password", "password-sign-in", "enrolment", "takeover")
_LOOK_UPS = 8
_STEADY = 4
#: Octets of a Cookie header that a connection keeps while it is idle; with longer ones each request is judged anew.
_LONGEST_STEADY = 8_192


class _Currency(Protocol):
    current: bool


@dataclass(frozen=True, slots=True)
class _Steady:
    """An admission of the connection, and all that it rests on."""

    cookies: bytes
    generation: int
    #: The registration, or on the public host the session once more.
    known: _Currency
    session: Session
    until: float
    forward: Forward


class Admitted:
    """How many requests of one site were admitted in the steady state: a plain integer, as adding must cost nothing."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Visitor:
    """``wire.gate.Visitor``."""

    __slots__ = ("_admitted", "_gate", "_peer", "_shown", "_steady")

    def __init__(self, gate: Gate, peer: Peer, shown: Shown | None, admitted: Admitted) -> None:
        self._admitted = admitted
        self._gate = gate
        self._peer = peer
        self._shown = shown
        #: The latest first, each for one Cookie header: a browser sends one or two different ones, by path.
        #: For so few a dictionary is four times as large, and saves nothing that can be measured.
        self._steady: tuple[_Steady, ...] = ()

    def admit(self, head: RequestHead) -> Admission | Awaitable[Admission]:
        """May this request pass? Immediate in the steady state.

        Raises:
            StoreUnavailable: something must be looked up and the store does not answer (from the awaitable).
        """
        gate = self._gate
        cookies = head.cookies
        for steady in self._steady:
            if steady.cookies == cookies:
                break
        else:
            steady = None
        if steady is not None and gate.guard.known.get(head.target.partition(b"?")[0]) is _LEGACY:
            now = gate.clock.now()
            session = steady.session
            knowledge = gate.knowledge
            if (
                steady.known.current
                and session.current
                and steady.generation == gate.judge.generation
                and now < steady.until
                and now - session.last_used < knowledge.sessions.idle
                and gate.clock.monotonic() < knowledge.steady_until
            ):
                knowledge.sessions.use(session, now)
                self._admitted.count += 1
                return steady.forward
        asked = Asked()
        try:
            return self._decide(head, asked)
        except Missing as missing:
            return self._look_up_and_decide(head, asked, missing)

    async def _look_up_and_decide(self, head: RequestHead, asked: Asked, missing: Missing) -> Admission:
        for _ in range(_LOOK_UPS):
            await missing.look_up()
            try:
                return self._decide(head, asked)
            except Missing as another:
                missing = another
        raise StoreUnavailable("what a request rests on changes faster than it can be read")

    # --- what becomes of the request ------------------------------------------------------------

    def _decide(self, head: RequestHead, asked: Asked) -> Admission:
        admission = self._admission(head, asked)
        if not isinstance(admission, Unread):
            self._gate.count(self._peer.site, admission.verdict)
        return admission

    def _admission(self, head: RequestHead, asked: Asked) -> Admission:
        gate = self._gate
        if not gate.knowledge.is_reliable:
            return Refuse(503, Code.UNAVAILABLE.value)
        place = gate.guard.place_of(head.target)
        if place is Place.AMBIGUOUS:
            return Refuse(400, "ambiguous_path")
        form: Looked | None = None
        if place is Place.BY_PARAMETER:
            place, form = gate.guard.by_query(head.target)
            if place is Place.AMBIGUOUS:
                return Refuse(400, "ambiguous_query")
        now = gate.clock.now()
        closure = gate.knowledge.closure(now)
        if closure is not None:
            return self._closed(head, place, closure)
        person = recognise(gate, self._peer.site, self._shown, head.cookies, asked, now)
        if place is Place.PORTAL:
            return self._portal(head, person)
        if isinstance(person.identity, Code):
            return self._refused(head, person, person.identity)
        if place is Place.GUARDED:
            return self._refused(head, person, Code.LEGACY_LOGIN_GUARDED)
        if person.is_signed_in and place is Place.SIGN_OUT:
            return self._page("sign-out/legacy", head, person, "admitted")
        if person.is_signed_in and self._is_cooling_off(person, now) and gate.cooling_off.names(head):
            return self._refused(head, person, Code.COOLING_OFF)
        if person.is_signed_in or place is Place.PUBLIC:
            held = None if form is None or not head.length else self._held_by(form, head, person)
            if held is not None:
                return held
            return self._forward(head, person, now) if person.is_signed_in else self._forward_public(person)
        if person.refusal is not None and person.refusal is not Code.SESSION_ENDED:
            return self._refused(head, person, person.refusal)
        return self._not_signed_in(head, person)

    def _closed(self, head: RequestHead, place: Place, closure: Closure) -> Admission:
        """Whoever it is: the page that says so, and what it looks like."""
        code = closure.kind.code.value
        told = Context(site=self._peer.site, address=self._peer.address, verdict=code, closure=closure).header()
        # EST clients want no page: the portal tells them in their own words.
        if place is Place.PORTAL and head.target.startswith((self._gate.static, EST.encode())):
            return Forward(Route.PORTAL, self._gate.portal_seal, (told,), verdict=code)
        if head.wants_html or head.method in (b"GET", b"HEAD"):
            return Page((self._gate.prefix + "refused/" + code).encode(), (told,), code)
        return Refuse(503, code)

    def _held_by(self, form: Looked, head: RequestHead, person: Person) -> Admission | None:
        """Why what is sent does not pass as a form that names none of ``form``; None: it does."""
        if not is_readable(head.headers):
            return Refuse(415, "unreadable_form")
        if head.body is None:
            return Unread()
        try:
            named = names(head.body, form)
        except Ambiguous:
            return Refuse(400, "ambiguous_form")
        return self._refused(head, person, Code.LEGACY_LOGIN_GUARDED) if named else None

    def _forward(self, head: RequestHead, person: Person, now: float) -> Forward:
        gate, session, token = self._gate, person.session, person.token
        if session is None or token is None:
            raise RuntimeError("nobody is signed in")
        bound = session.bound
        until = session.ends
        if person.accepted is not None and isinstance(person.identity, Identity):
            bound = (("certificate", person.accepted.certificate), *bound)
            until = min(until, person.accepted.good_until, person.identity.ends)
        forward = Forward(
            route=Route.LEGACY,
            seal=gate.knowledge.sessions.seal(token),
            headers=self._legacy_headers(session.user.user_id),
            bound=bound,
            until=until,
            share=session.share,
            backend=session.backend or home_of(session.digest, gate.backends),
        )
        gate.knowledge.sessions.use(session, now)
        known: _Currency = session if person.known is None else person.known
        # In the steady state no rule is looked at: whoever is held against rules never gets there.
        if len(head.cookies) <= _LONGEST_STEADY and not self._is_cooling_off(person, now):
            others = [each for each in self._steady if each.cookies != head.cookies]
            steady = _Steady(head.cookies, gate.judge.generation, known, session, until, forward)
            self._steady = (steady, *others[: _STEADY - 1])
        return forward

    @staticmethod
    def _is_cooling_off(person: Person, now: float) -> bool:
        return person.session is not None and is_cooling_off(person.session.user, now)

    def _forward_public(self, person: Person) -> Forward:
        bound: tuple[tuple[str, object], ...] = ()
        until = float("inf")
        if person.accepted is not None and isinstance(person.identity, Identity):
            user = person.identity.user
            bound = (
                ("certificate", person.accepted.certificate),
                ("user", user.user_id),
                ("company", user.company_id),
            )
            until = min(person.accepted.good_until, person.identity.ends)
        seal = self._gate.no_session_seal
        return Forward(Route.LEGACY, seal, self._legacy_headers(None), bound, until)

    def _legacy_headers(self, user_id: str | None) -> tuple[tuple[bytes, bytes], ...]:
        gate = self._gate
        return legacy_headers(gate.seen, gate.host(self._peer.site), self._peer, user_id)

    def _portal(self, head: RequestHead, person: Person) -> Admission:
        gate = self._gate
        if head.target.startswith(gate.probe) and self._is_unwanted():
            # Only a new handshake can end in an alert: the browser shall try it on each of its connections until
            # none is left that was made before the customer asked.
            return Redirect(head.target, "ask_again", close=True)
        page = head.target.partition(b"?")[0].decode("ascii", "replace").removeprefix(gate.prefix)
        verdict = self._verdict(person)
        # EST clients want no pages: there the portal refuses, by the verdict that it is told.
        if isinstance(person.identity, Code) and not page.startswith((*_FOR_ANYBODY, EST)):
            return self._refused(head, person, person.identity)
        if page in _SIGN_IN and gate.browsers.enforces and not gate.browsers.is_supported(head.user_agent):
            return self._page("refused/" + Code.BROWSER_UNSUPPORTED.value, head, person, Code.BROWSER_UNSUPPORTED.value)
        context = self._context(head, person, verdict)
        bound: tuple[tuple[str, object], ...] = ()
        until = float("inf")
        if person.accepted is not None:
            # Not to user and company, whose state the portal reads anew: the last wrong password suspends the user, and
            # its answer must still be seen.
            bound = (("presented", person.accepted.certificate),)
            until = person.accepted.good_until
        return Forward(Route.PORTAL, gate.portal_seal, (context.header(),), bound, until, verdict=verdict)

    def _is_unwanted(self) -> bool:
        """Whether the customer has asked to choose another certificate than this connection was made with."""
        peer = self._peer
        return peer.site is Site.CERTIFICATE and self._gate.knowledge.unwanted.is_unwanted(
            peer.address, peer.certificate
        )

    def _refused(self, head: RequestHead, person: Person, code: Code) -> Admission:
        # A certificate's refusal always has its page; so has any other where a person is likely to look.
        if head.wants_html or (head.method in (b"GET", b"HEAD") and code is person.identity):
            return self._page("refused/" + code.value, head, person, code.value)
        return Refuse(403, code.value)

    def _not_signed_in(self, head: RequestHead, person: Person) -> Admission:
        gate = self._gate
        ended = person.standing == Code.SESSION_ENDED.value
        verdict = Code.SESSION_ENDED.value if ended else "no_session"
        # Who posts a form after an idle end is led on as well; the form is lost, and its target need not answer a GET.
        posted = head.method == b"POST" and head.wants_html
        if self._peer.site is Site.CERTIFICATE:
            if posted:
                return Redirect((gate.prefix + "password").encode(), verdict)
            if head.method == b"GET" and head.wants_html:
                return Redirect(with_next(gate.prefix + "password", head.target), verdict)
            return Refuse(401, verdict)
        if posted:
            return Redirect(b"/", verdict)
        if head.method not in (b"GET", b"HEAD") or not (head.wants_html or head.target == b"/"):
            return Refuse(401, verdict)
        if gate.browsers.enforces and not gate.browsers.is_supported(head.user_agent):
            return self._page("refused/" + Code.BROWSER_UNSUPPORTED.value, head, person, Code.BROWSER_UNSUPPORTED.value)
        context = self._context(head, person, self._verdict(person))
        return Page(b"/", (context.header(),), verdict)

    def _page(self, page: str, head: RequestHead, person: Person, verdict: str) -> Page:
        context = self._context(head, person, verdict)
        return Page((self._gate.prefix + page).encode(), (context.header(),), verdict)

    # --- what the portal is told ----------------------------------------------------------------

    def _verdict(self, person: Person) -> str:
        if isinstance(person.identity, Code):
            return person.identity.value
        if person.identity is not None or person.is_signed_in:
            return "admitted"
        return Code.CERTIFICATE_MISSING.value if person.refusal is None else person.refusal.value

    def _context(self, head: RequestHead, person: Person, verdict: str) -> Context:
        user_id = None
        if isinstance(person.identity, Identity):
            user_id = person.identity.user.user_id
        elif person.is_signed_in and person.session is not None:
            user_id = person.session.user.user_id
        return Context(
            site=self._peer.site,
            address=self._peer.address,
            verdict=verdict,
            shown=self._shown,
            user_id=user_id,
            session=person.standing,
            browser_supported=self._gate.browsers.is_supported(head.user_agent),
            backends=self._gate.preferred_backends(),
        )
