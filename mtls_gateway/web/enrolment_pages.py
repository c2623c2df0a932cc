"""From 電子証明書発行 to the issuing app, and what to do to renew (clauses D.2, D.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from aiohttp import web

from mtls_gateway.issuance.code import UnreadableCode, read_code
from mtls_gateway.issuance.enrolment import Claim, NotIssued
from mtls_gateway.model import Code, Site
from mtls_gateway.signin.guard import EST
from mtls_gateway.web.enrolment_desk import LONGEST, EnrolmentDesk, caller_of, sentence
from mtls_gateway.web.form_tokens import read_form
from mtls_gateway.web.front import Front, Visit, visit_of
from mtls_gateway.web.issuing_app import IssuingApp
from mtls_gateway.web.refusal_pages import RefusalPages
from mtls_gateway.web.texts import days_left
from mtls_gateway.web.tickets import Tickets

_DAY: Final = 86_400.0
#: Seconds in which the app is to be downloaded after the enrolment sign-in page.
_TICKET: Final = 1_800.0
_APP: Final = "issuing app"
_STATUS: Final = {"unavailable": 503, "throttled": 429}


class EnrolmentPages:
    """Where the bank issues certificates here."""

    def __init__(
        self, front: Front, desk: EnrolmentDesk, tickets: Tickets, app: IssuingApp | None, refusals: RefusalPages
    ) -> None:
        self._front = front
        self._desk = desk
        self._tickets = tickets
        self._app = app
        self._refusals = refusals

    # --- the enrolment sign-in page -----------------------------------------------------------------

    async def show_sign_in(self, request: web.Request) -> web.StreamResponse:
        """GET 証明書取得認証画面 (public host)."""
        visit = visit_of(request)
        if visit.context.site is not Site.PUBLIC:
            return self._front.redirect(self._front.at(Site.PUBLIC, "enrolment"))
        return self._sign_in_page(visit, {}, {})

    async def take_sign_in(self, request: web.Request) -> web.StreamResponse:
        """POST user ID, password and code: whether an enrolment could begin; nothing is used up."""
        visit = visit_of(request)
        if visit.context.site is not Site.PUBLIC:
            return self._front.error_page(visit, 404)
        form = await read_form(request)
        if not self._front.is_ours(visit, form, "enrolment"):
            return self._front.error_page(visit, 403)
        user_id, password = form.get("user_id", "").strip(), form.get("password", "")
        if max(len(user_id), len(password)) > LONGEST:
            raise web.HTTPBadRequest
        typed = form.get("code", "")
        problems = {f"empty_{name}": name for name, value in (("user", user_id), ("password", password)) if not value}
        try:
            code = read_code(typed)
        except UnreadableCode as error:
            # Told at once, and not counted: nothing was tried.
            word = "empty_code" if not typed.strip() else f"code_{error.reason}"
            return self._sign_in_page(visit, problems | {word: "code"}, form, status=400)
        if problems:
            return self._sign_in_page(visit, problems, form, status=400)
        return await self._try(visit, Claim(user_id, password, code, caller_of(visit)), form)

    async def _try(self, visit: Visit, claim: Claim, form: Mapping[str, str]) -> web.StreamResponse:
        wait = self._desk.throttle.admit(claim.caller.address)
        if wait:
            return self._refused(visit, "throttled", form)
        outcome = await self._desk.enrolment.entitled(claim)
        if not isinstance(outcome, NotIssued):
            self._desk.throttle.take_back(claim.caller.address)
            facts = {"user": outcome.user.user_id, "expires": outcome.expires}
            ticket = self._tickets.make(visit.binding, _APP, facts, seconds=_TICKET)
            return self._front.redirect(self._front.here("enrolment/app") + "?ticket=" + quote(ticket, safe=""))
        if outcome.code != "enrolment_refused":
            self._desk.throttle.take_back(claim.caller.address)
        return self._refused(visit, outcome.code, form)

    def _refused(self, visit: Visit, code: str, form: Mapping[str, str]) -> web.StreamResponse:
        self._desk.refuse_briefly("page", code)
        if code in self._front.texts["ja"]["refused"] and code != Code.UNAVAILABLE.value:
            return self._refusals.page(visit, Code(code))
        return self._sign_in_page(visit, {code: "user_id"}, form, status=_STATUS.get(code, 403))

    def _sign_in_page(
        self, visit: Visit, problems: Mapping[str, str], form: Mapping[str, str], *, status: int = 200
    ) -> web.Response:
        """``problems``: what is said, by the field that it links to."""
        texts = self._front.texts[visit.language]
        said = {
            texts["enrolment"][word] if word in texts["enrolment"] else sentence(texts, word): field
            for word, field in problems.items()
        }
        values = {
            "problems": said,
            "wrong": set(problems.values()) if status == 400 else {"user_id", "password", "code"} & set(problems),
            "all_wrong": "enrolment_refused" in problems,
            "user_id": form.get("user_id", "").strip(),
            # The code is shown again, to be compared with the letter; the password never is.
            "code": form.get("code", "")[:64],
        }
        return self._front.page(visit, "enrolment_sign_in.html", values, status=status)

    # --- the issuing app ------------------------------------------------------------------------------

    async def show_app(self, request: web.Request) -> web.StreamResponse:
        """GET: the app's download, and the steps that follow."""
        visit = visit_of(request)
        facts = self._ticket(visit)
        if facts is None:
            return self._front.redirect(self._front.here("enrolment"))
        app = None if self._app is None else await self._app.describe()
        values = {
            "user": facts["user"],
            "expires": facts["expires"],
            "app": app,
            "download": self._front.here("enrolment/download") + "?ticket=" + quote(request.query["ticket"], safe=""),
            "server": self._front.configuration.public.origin,
            "est": self._front.configuration.public.origin + EST,
            "ends": _TICKET / 60,
        }
        return self._front.page(visit, "enrolment_app.html", values)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """GET the app itself, shortly after the enrolment sign-in page."""
        visit = visit_of(request)
        if self._app is None:
            return self._front.error_page(visit, 404)
        if self._ticket(visit) is None:
            return self._front.redirect(self._front.here("enrolment"))
        return await self._app.send()

    def _ticket(self, visit: Visit) -> Mapping[str, str | float | None] | None:
        if visit.context.site is not Site.PUBLIC:
            return None
        return self._tickets.read(visit.request.query.get("ticket", ""), visit.binding, _APP)

    # --- renewal --------------------------------------------------------------------------------------

    async def show_renewal(self, request: web.Request) -> web.StreamResponse:
        """GET: how the certificate of this connection is renewed, and from when on (certificate host)."""
        visit = visit_of(request)
        not_after = visit.context.not_after
        if visit.context.site is not Site.CERTIFICATE:
            return self._front.redirect(self._front.at(Site.CERTIFICATE, "renewal"))
        if visit.context.accepted is None or not_after is None:
            return self._refusals.page(visit, Code.CERTIFICATE_MISSING)
        now = self._front.clock.now()
        opens = not_after - self._desk.settings.renewal_days * _DAY
        values = {
            "user": visit.context.user,
            "not_after": not_after,
            "opens": opens,
            "open": now >= opens,
            "days": days_left(not_after, now),
            "app": None if self._app is None else await self._app.describe(),
            "server": self._front.configuration.certificate.origin,
            "est": self._front.configuration.certificate.origin + EST,
            "enrolment": self._front.at(Site.PUBLIC, "enrolment"),
        }
        return self._front.page(visit, "renewal.html", values)

    async def download_for_renewal(self, request: web.Request) -> web.StreamResponse:
        """GET the app, for whoever shows a good certificate."""
        visit = visit_of(request)
        if self._app is None or visit.context.accepted is None:
            return self._front.error_page(visit, 404)
        return await self._app.send()
