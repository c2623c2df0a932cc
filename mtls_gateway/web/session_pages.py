"""A session from its first moment to its last: takeover, expiry notice, status, sign-out (clause A.6)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from mtls_gateway.errors import StateError
from mtls_gateway.model import SessionRow, SessionState
from mtls_gateway.signin.ports import SessionStore
from mtls_gateway.signin.sign_in import SignIn
from mtls_gateway.web.context import CLOSE
from mtls_gateway.web.form_tokens import is_own_origin, read_form
from mtls_gateway.web.front import Front, Visit, visit_of
from mtls_gateway.web.ports import TermStore
from mtls_gateway.web.session_cookies import SessionCookies
from mtls_gateway.web.sign_in_pages import SignInPages, following
from mtls_gateway.web.texts import days_left

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class _Life:
    """A certificate as its owner is told of it; POSIX seconds."""

    since: float | None
    not_after: float
    #: Of the calendar in Japan.
    days: int
    #: A newer one was issued then and waits for its first sign-in.
    newer_since: float | None
    #: When it can be renewed; None: not here, or a newer one is there.
    opens: float | None
    renewable: bool


class SessionPages:
    """Pages for those who have signed in, or nearly."""

    def __init__(
        self,
        front: Front,
        sign_in: SignIn,
        sessions: SessionStore,
        cookies: SessionCookies,
        entry: SignInPages,
        terms: TermStore,
    ) -> None:
        self._front = front
        self._sign_in = sign_in
        self._sessions = sessions
        self._cookies = cookies
        self._entry = entry
        self._terms = terms

    # --- takeover ---------------------------------------------------------------------------------

    async def show_takeover(self, request: web.Request) -> web.StreamResponse:
        """GET: another session of the user is live; shall it end?"""
        visit = visit_of(request)
        row = await self._own(visit)
        if row is None or row.state is not SessionState.PENDING:
            return self._gone(visit)
        values = {"user": row.user.user_id, "next": following(self._front, request.query.get("next", ""))}
        return self._front.page(visit, "takeover.html", values)

    async def take_over(self, request: web.Request) -> web.StreamResponse:
        """POST: end the other session, or give up this one."""
        visit = visit_of(request)
        form = await read_form(request)
        if not self._front.is_ours(visit, form, "takeover"):
            return self._front.error_page(visit, 403)
        digest = self._cookies.presented(request)
        if digest is None:
            return self._gone(visit)
        if form.get("decision") != "take":
            await self._sign_in.sign_out(digest)
            response = self._front.redirect(self._front.configuration.public.origin + self._front.prefix)
            self._cookies.take_away(response)
            return response
        try:
            await self._sign_in.take_over(digest, visit.context.accepted)
        except StateError:
            await self._sign_in.sign_out(digest)
            return self._gone(visit)
        then = following(self._front, form.get("next", ""))
        if self._entry.is_in_notice_window(visit):
            return self._front.redirect(self._front.here("notice") + (f"?next={quote(then, safe='/')}" if then else ""))
        return self._front.redirect(then or self._front.configuration.legacy.home)

    def _gone(self, visit: Visit) -> web.Response:
        response = self._front.page(visit, "takeover_gone.html", status=403)
        self._cookies.take_away(response)
        return response

    # --- notice and status --------------------------------------------------------------------------

    async def show_notice(self, request: web.Request) -> web.StreamResponse:
        """GET: the certificate ends soon."""
        visit = visit_of(request)
        not_after = visit.context.not_after
        then = following(self._front, request.query.get("next", "")) or self._front.configuration.legacy.home
        if visit.context.accepted is None or not_after is None:
            return self._front.redirect(then)
        term = await self._terms.term(visit.context.accepted)
        values = {
            "user": visit.context.user,
            "not_after": not_after,
            "days": days_left(not_after, self._front.clock.now()),
            "then": then,
            "renewable": self._is_renewable and (term is None or term.newer_since is None),
            "newer_since": None if term is None else term.newer_since,
        }
        return self._front.page(visit, "notice.html", values)

    async def show_status(self, request: web.Request) -> web.StreamResponse:
        """GET: who is signed in here, how, until when, and how its certificate stands."""
        visit = visit_of(request)
        row = await self._own(visit)
        live = row if row is not None and row.state is SessionState.LIVE else None
        if live is None and visit.context.accepted is not None:
            # Where 電子証明書の管理 leads: whoever has a good certificate signs in first.
            return self._front.redirect(f"{self._front.here('password')}?next={quote(self._front.here('status'))}")
        values = {
            "row": live,
            "then": self._front.configuration.legacy.home,
            "life": await self._life(visit) if live is not None else None,
        }
        return self._front.page(visit, "status.html", values)

    async def _life(self, visit: Visit) -> _Life | None:
        """The certificate of this connection; None: none is shown, or it is not known when it ends."""
        certificate, not_after = visit.context.accepted, visit.context.not_after
        if certificate is None or not_after is None:
            return None
        term = await self._terms.term(certificate)
        now = self._front.clock.now()
        issuance = self._front.configuration.issuance
        newer_since = None if term is None else term.newer_since
        opens = None if issuance is None or newer_since else not_after - issuance.renewal_days * _DAY
        since = None if term is None else term.since
        return _Life(
            since, not_after, days_left(not_after, now), newer_since, opens, opens is not None and now >= opens
        )

    @property
    def _is_renewable(self) -> bool:
        """Whether certificates come from here, so that there is a page that says how to renew."""
        return self._front.configuration.issuance is not None

    # --- sign-out -----------------------------------------------------------------------------------

    async def show_sign_out(self, request: web.Request) -> web.StreamResponse:
        """GET: shall the session end?"""
        visit = visit_of(request)
        if self._cookies.presented(request) is None:
            return self._signed_out(visit, legacy_ended=True)
        return self._front.page(visit, "sign_out.html", {"then": self._front.configuration.legacy.home})

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """POST: end the session and the legacy session."""
        visit = visit_of(request)
        form = await read_form(request)
        if not self._front.is_ours(visit, form, "sign-out"):
            return self._front.error_page(visit, 403)
        return await self._end(visit)

    async def follow_legacy_sign_out(self, request: web.Request) -> web.StreamResponse:
        """GET, shown by the worker in place of the legacy backend's own sign-out: end both sessions."""
        visit = visit_of(request)
        if not is_own_origin(request, visit.host.origin):
            return await self.show_sign_out(request)
        return await self._end(visit)

    async def _end(self, visit: Visit) -> web.StreamResponse:
        digest = self._cookies.presented(visit.request)
        ended = await self._sign_in.sign_out(digest) if digest is not None else True
        return self._signed_out(visit, legacy_ended=ended)

    def _signed_out(self, visit: Visit, *, legacy_ended: bool) -> web.Response:
        response = self._front.page(visit, "signed_out.html", {"legacy_ended": legacy_ended})
        self._cookies.take_away(response)
        # The next visitor of this browser starts with a handshake of its own.
        response.headers.add(*CLOSE)
        # The browser's "back" must show nothing of the legacy backend's pages, which may say nothing about caches.
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    async def _own(self, visit: Visit) -> SessionRow | None:
        """The session that the browser shows, when it was opened with the certificate of this connection."""
        digest = self._cookies.presented(visit.request)
        row = await self._sessions.session(digest) if digest is not None else None
        return row if row is not None and row.certificate == visit.context.accepted else None
