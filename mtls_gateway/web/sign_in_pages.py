"""The sign-in page with its three choices, and the two password pages (clauses A.1, A.3, A.4)."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from mtls_gateway.model import Code, SessionState, Site
from mtls_gateway.signin.next_path import safe_next
from mtls_gateway.signin.password_proof import Refused, Throttled, Undecided, WrongPassword
from mtls_gateway.signin.ports import Caller
from mtls_gateway.signin.sign_in import Opened, Outcome, SignIn
from mtls_gateway.web.form_tokens import read_form
from mtls_gateway.web.front import Front, Visit, visit_of
from mtls_gateway.web.refusal_pages import RefusalPages
from mtls_gateway.web.session_cookies import SessionCookies

#: Longer ones are no passwords or user IDs of a bank.
_LONGEST = 256
_DAY = 86_400.0
#: Pages of the portal that a sign-in may lead to.
OWN_DESTINATIONS = ("status", "members", "renewal")
_STATUS = {"wrong": 403, "undecided": 503, "throttled": 429}


class SignInPages:
    """From the first page to a session."""

    def __init__(self, front: Front, sign_in: SignIn, cookies: SessionCookies, refusals: RefusalPages) -> None:
        self._front = front
        self._sign_in = sign_in
        self._cookies = cookies
        self._refusals = refusals

    async def choose(self, request: web.Request) -> web.StreamResponse:
        """GET the sign-in page (public host)."""
        visit = visit_of(request)
        if visit.context.site is not Site.PUBLIC:
            return self._front.redirect(self._front.here("password"))
        following = self._next(request.query.get("next", ""))
        query = f"?next={quote(following, safe='/')}" if following else ""
        return self._front.page(visit, "sign_in.html", {"query": query})

    # --- certificate method -----------------------------------------------------------------------

    async def show_password(self, request: web.Request) -> web.StreamResponse:
        """GET the password page (certificate host)."""
        visit = visit_of(request)
        refusal = self._refusal(visit)
        certificate = visit.context.accepted
        if refusal is not None or certificate is None:
            return refusal or self._front.error_page(visit, 404)
        # The worker's word may be a poll old: after the last wrong password it would show the form once more.
        refused = await self._sign_in.proof.refusal_of(certificate)
        if refused is not None:
            return self._refusals.page(visit, refused.code, refused.until)
        return self._password_page(visit, self._next(request.query.get("next", "")), None)

    async def take_password(self, request: web.Request) -> web.StreamResponse:
        """POST the password of the certificate's user."""
        visit = visit_of(request)
        refusal = self._refusal(visit)
        certificate = visit.context.accepted
        if refusal is not None or certificate is None:
            return refusal or self._front.error_page(visit, 404)
        form = await read_form(request)
        if not self._front.is_ours(visit, form, "password"):
            return self._front.error_page(visit, 403)
        following = self._next(form.get("next", ""))
        password = form.get("password", "")
        if not password:
            return self._password_page(visit, following, "empty", status=400)
        if len(password) > _LONGEST:
            raise web.HTTPBadRequest
        presented = self._cookies.presented(request)
        outcome = await self._sign_in.with_certificate(certificate, password, _caller(visit), presented)
        if isinstance(outcome, (Opened, Refused)):
            return self._finish(visit, outcome, following)
        word = _word(outcome)
        return self._password_page(visit, following, word, status=_STATUS[word])

    def _refusal(self, visit: Visit) -> web.StreamResponse | None:
        """Why this visitor gets no password page; None: it gets one."""
        context = visit.context
        if context.site is not Site.CERTIFICATE:
            return self._front.error_page(visit, 404)
        if isinstance(context.verdict, Code):
            return self._refusals.page(visit, context.verdict)
        return None if context.accepted is not None else self._refusals.page(visit, Code.CERTIFICATE_MISSING)

    def _password_page(self, visit: Visit, following: str, problem: str | None, *, status: int = 200) -> web.Response:
        return self._front.page(
            visit,
            "password.html",
            {
                "manages": following.startswith(self._front.prefix),
                "user": visit.context.user,
                "not_after": visit.context.not_after,
                "next": following,
                "problem": problem,
            },
            status=status,
        )

    # --- password method ----------------------------------------------------------------------------

    async def show_password_sign_in(self, request: web.Request) -> web.StreamResponse:
        """GET the page of the password method (public host)."""
        visit = visit_of(request)
        if visit.context.site is not Site.PUBLIC:
            return self._front.error_page(visit, 404)
        return self._password_sign_in_page(visit, self._next(request.query.get("next", "")), "", ())

    async def take_password_sign_in(self, request: web.Request) -> web.StreamResponse:
        """POST user ID and password."""
        visit = visit_of(request)
        if visit.context.site is not Site.PUBLIC:
            return self._front.error_page(visit, 404)
        form = await read_form(request)
        if not self._front.is_ours(visit, form, "password-sign-in"):
            return self._front.error_page(visit, 403)
        following = self._next(form.get("next", ""))
        user_id, password = form.get("user_id", "").strip(), form.get("password", "")
        missing = [f"empty_{name}" for name, value in (("user", user_id), ("password", password)) if not value]
        if missing:
            return self._password_sign_in_page(visit, following, user_id, tuple(missing), status=400)
        if len(password) > _LONGEST or len(user_id) > _LONGEST:
            raise web.HTTPBadRequest
        presented = self._cookies.presented(request)
        outcome = await self._sign_in.with_password(user_id, password, _caller(visit), presented)
        if isinstance(outcome, (Opened, Refused)):
            return self._finish(visit, outcome, following)
        word = _word(outcome)
        return self._password_sign_in_page(visit, following, user_id, (word,), status=_STATUS[word])

    def _password_sign_in_page(
        self, visit: Visit, following: str, user_id: str, problems: tuple[str, ...], *, status: int = 200
    ) -> web.Response:
        values = {"user_id": user_id, "next": following, "problems": problems}
        return self._front.page(visit, "password_sign_in.html", values, status=status)

    # --- both -------------------------------------------------------------------------------------

    def _finish(self, visit: Visit, outcome: Opened | Refused, following: str) -> web.StreamResponse:
        if isinstance(outcome, Refused):
            return self._refusals.page(visit, outcome.code, outcome.until)
        destination = self._front.configuration.legacy.home
        query = f"?next={quote(following, safe='/')}" if following else ""
        if outcome.state is SessionState.PENDING:
            location = self._front.here("takeover") + query
        elif self.is_in_notice_window(visit):
            location = self._front.here("notice") + query
        else:
            location = following or destination
        response = self._front.redirect(location)
        self._cookies.give(response, outcome.token, outcome.legacy)
        return response

    def is_in_notice_window(self, visit: Visit) -> bool:
        """Whether the certificate ends soon enough for the expiry notice (clause D.5)."""
        not_after = visit.context.not_after
        if visit.context.accepted is None or not_after is None:
            return False
        return not_after - self._front.clock.now() <= self._front.configuration.pages.notice_days * _DAY

    def _next(self, asked: str) -> str:
        return following(self._front, asked)


def following(front: Front, asked: str) -> str:
    """A path of the legacy backend, or one of ``OWN_DESTINATIONS``, to go to next; "" when ``asked`` is none."""
    path = safe_next(asked)
    if path is None or path == "/":
        return ""
    if path.startswith(front.prefix):
        # Only what one may want to go to: a link to, say, the sign-out must not wait behind a sign-in.
        return path if path in {front.here(page) for page in OWN_DESTINATIONS} else ""
    return path


def _caller(visit: Visit) -> Caller:
    headers, context = visit.request.headers, visit.context
    return Caller(context.address, headers.get("User-Agent", ""), headers.get("Accept-Language", ""), context.backends)


def _word(outcome: Outcome) -> str:
    match outcome:
        case WrongPassword():
            return "wrong"
        case Throttled():
            return "throttled"
        case Undecided() | _:
            return "undecided"
