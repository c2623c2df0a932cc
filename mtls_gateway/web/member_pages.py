"""The pages of a company's administrators: members, their certificates, revocation and reissue (clause D.6).

Only for a live session of an administrator, opened with the certificate of this connection. Whatever is done takes the
administrator's own password once more, and is decided by the store, which knows for whom it may be done: another
company's user, an administrator and oneself are all the same "not found".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote

from aiohttp import web

from mtls_gateway.errors import MemberRefused
from mtls_gateway.issuance.orders import Reason
from mtls_gateway.model import CertificateId, CertificateState, Code, SessionState, Site
from mtls_gateway.signin.password_proof import Confirmed, NotProven, PasswordProof, Refused, word_of
from mtls_gateway.signin.ports import SessionStore
from mtls_gateway.standing import Stage, UserStanding
from mtls_gateway.web.enrolment_desk import caller_of
from mtls_gateway.web.form_tokens import read_form
from mtls_gateway.web.front import Front, Visit, visit_of
from mtls_gateway.web.ports import MemberStore
from mtls_gateway.web.refusal_pages import RefusalPages
from mtls_gateway.web.session_cookies import SessionCookies

#: Longer ones are no passwords of a bank.
_LONGEST: Final = 256
_ON_A_PAGE: Final = 100
_STATUS: Final = {"wrong": 403, "undecided": 503, "throttled": 429}

Deed = Literal["revoke", "reissue"]
#: What an administrator may say, and what the CRL then gives as reason (RFC 5280, section 5.3.1).
_CAUSES: Final[Mapping[Deed, Mapping[str, Reason]]] = {
    "revoke": {
        "lost": "keyCompromise",
        "misused": "keyCompromise",
        "left": "affiliationChanged",
        "unneeded": "cessationOfOperation",
        "other": "unspecified",
    },
    "reissue": {
        "lost": "keyCompromise",
        "misused": "keyCompromise",
        "replaced": "superseded",
        "broken": "superseded",
        "other": "unspecified",
    },
}


class MemberPages:
    """From the list of members to what was done."""

    def __init__(
        self,
        front: Front,
        proof: PasswordProof,
        sessions: SessionStore,
        members: MemberStore,
        cookies: SessionCookies,
        refusals: RefusalPages,
    ) -> None:
        self._front = front
        self._proof = proof
        self._sessions = sessions
        self._members = members
        self._cookies = cookies
        self._refusals = refusals

    # --- pages ------------------------------------------------------------------------------------

    async def show_all(self, request: web.Request) -> web.StreamResponse:
        """GET: the users of the administrator's company."""
        visit = visit_of(request)
        administrator = await self._administrator(visit)
        if not isinstance(administrator, str):
            return administrator
        number = _page_number(request.query.get("page", "1"))
        offset = (number - 1) * _ON_A_PAGE
        count, users = await self._members.page(administrator, limit=_ON_A_PAGE, offset=offset)
        if not users and number > 1:
            return self._front.error_page(visit, 404)
        values = {
            "users": users,
            "state": _state,
            "first": offset + 1,
            "last": offset + len(users),
            "count": count,
            "before": number - 1 if number > 1 else None,
            "after": number + 1 if offset + len(users) < count else None,
            "address": self._address,
        }
        return self._front.page(visit, "members.html", values)

    async def show_one(self, request: web.Request) -> web.StreamResponse:
        """GET: one member, and what may be done for it."""
        visit = visit_of(request)
        administrator = await self._administrator(visit)
        if not isinstance(administrator, str):
            return administrator
        member = await self._members.member(administrator, request.query.get("user", ""))
        if member is None:
            return self._front.error_page(visit, 404)
        return self._member_page(visit, member, None)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """GET: shall it be done? Asks for the administrator's password."""
        visit = visit_of(request)
        administrator = await self._administrator(visit)
        if not isinstance(administrator, str):
            return administrator
        member = await self._members.member(administrator, request.query.get("user", ""))
        deed, cause = self._read(request.query)
        if member is None or deed is None:
            return self._front.error_page(visit, 404)
        if cause is None:
            return self._member_page(visit, member, deed, status=400)
        return self._confirmation(visit, member, deed, cause, None)

    async def do(self, request: web.Request) -> web.StreamResponse:
        """POST the password: do it."""
        visit = visit_of(request)
        administrator = await self._administrator(visit)
        if not isinstance(administrator, str):
            return administrator
        form = await read_form(request)
        user_id = form.get("user", "")
        deed, cause = self._read(form)
        if deed is None or cause is None:
            return self._front.error_page(visit, 404)
        if not self._front.is_ours(visit, form, _purpose(deed, user_id)):
            return self._front.error_page(visit, 403)
        member = await self._members.member(administrator, user_id)
        certificate = visit.context.accepted
        if member is None or certificate is None:
            return self._front.error_page(visit, 404)
        password = form.get("password", "")
        if not password:
            return self._confirmation(visit, member, deed, cause, "empty", status=400)
        if len(password) > _LONGEST:
            raise web.HTTPBadRequest
        outcome = await self._proof.confirm(certificate, password, caller_of(visit))
        if not isinstance(outcome, Confirmed):
            return self._not_proven(visit, outcome, member, deed, cause)
        return await self._done(visit, administrator, member, deed, cause)

    async def _done(
        self, visit: Visit, administrator: str, member: UserStanding, deed: Deed, cause: str
    ) -> web.StreamResponse:
        act = self._members.revoke if deed == "revoke" else self._members.reissue
        try:
            await act(administrator, member.user_id, reason=_CAUSES[deed][cause], cause=cause)
        except MemberRefused as refused:
            if refused.reason == "no_such_member":
                return self._front.error_page(visit, 404)
            why = {"user": member.user_id, "reason": refused.reason}
            return self._front.page(visit, "member_refused.html", why, status=409)
        done = {"user": member.user_id, "name": member.name, "deed": deed}
        return self._front.page(visit, "member_done.html", done)

    # --- parts ------------------------------------------------------------------------------------

    def _member_page(
        self, visit: Visit, member: UserStanding, without_cause: Deed | None, *, status: int = 200
    ) -> web.Response:
        """``without_cause``: what was to be done without saying why."""
        deeds = [deed for deed in _CAUSES if self._is_possible(deed, member)]
        values = {
            "one": member,
            "state": _state(member),
            "deeds": deeds,
            "causes": _CAUSES,
            "problem": without_cause,
        }
        return self._front.page(visit, "member.html", values, status=status)

    def _confirmation(
        self, visit: Visit, member: UserStanding, deed: Deed, cause: str, problem: str | None, *, status: int = 200
    ) -> web.Response:
        values = {
            "one": member,
            "state": _state(member),
            "deed": deed,
            "cause": cause,
            "problem": problem,
            "purpose": _purpose(deed, member.user_id),
            "back": self._address(member.user_id),
        }
        return self._front.page(visit, "member_confirm.html", values, status=status)

    def _not_proven(
        self, visit: Visit, outcome: NotProven, member: UserStanding, deed: Deed, cause: str
    ) -> web.StreamResponse:
        if isinstance(outcome, Refused):
            return self._refusals.page(visit, outcome.code, outcome.until)
        word = word_of(outcome)
        return self._confirmation(visit, member, deed, cause, word, status=_STATUS[word])

    def _is_possible(self, deed: Deed, member: UserStanding) -> bool:
        if deed == "reissue":
            # Where certificates come from elsewhere there is no code to order.
            return member.certificate is not None and self._front.configuration.issuance is not None
        waiting = (Stage.LETTER_DUE, Stage.LETTER_OUT)
        return member.stage in waiting or member.certificate_state in (
            CertificateState.VALID,
            CertificateState.AWAITING,
        )

    def _read(self, fields: Mapping[str, str]) -> tuple[Deed | None, str | None]:
        """What is to be done, and why; None: it is none of the list."""
        deed = next((one for one in _CAUSES if one == fields.get("deed")), None)
        if deed is None or (deed == "reissue" and self._front.configuration.issuance is None):
            return None, None
        cause = fields.get("cause", "")
        return deed, cause if cause in _CAUSES[deed] else None

    def _address(self, user_id: str) -> str:
        return f"{self._front.here('members/member')}?user={quote(user_id, safe='')}"

    # --- who asks -----------------------------------------------------------------------------------

    async def _administrator(self, visit: Visit) -> str | web.StreamResponse:
        """The administrator whose live session this is, or what the visitor gets instead."""
        front, context = self._front, visit.context
        if context.site is not Site.CERTIFICATE:
            return front.redirect(front.at(Site.CERTIFICATE, "members"))
        if isinstance(context.verdict, Code):
            return self._refusals.page(visit, context.verdict)
        certificate = context.accepted
        if certificate is None:
            return self._refusals.page(visit, Code.CERTIFICATE_MISSING)
        # The worker's word may be a poll old.
        refused = await self._proof.refusal_of(certificate)
        if refused is not None:
            return self._refusals.page(visit, refused.code, refused.until)
        session = await self._live_session(visit, certificate)
        if session is None:
            return front.redirect(front.here("password") + "?next=" + quote(front.here("members"), safe="/"))
        user_id, is_administrator = session
        return user_id if is_administrator else front.error_page(visit, 404)

    async def _live_session(self, visit: Visit, certificate: CertificateId) -> tuple[str, bool] | None:
        """The user of the session, by the worker's word (it knows of the idle end) and by the store's."""
        digest = self._cookies.presented(visit.request)
        row = await self._sessions.session(digest) if digest is not None else None
        if row is None or row.state is not SessionState.LIVE or visit.context.session != SessionState.LIVE.value:
            return None
        if row.certificate != certificate or row.ends <= self._front.clock.now():
            return None
        return row.user.user_id, row.user.administrator


def _purpose(deed: Deed, user_id: str) -> str:
    """What the form's token is for: one deed for one member."""
    return f"member {deed} {user_id}"


def _page_number(written: str) -> int:
    if not (written.isascii() and written.isdigit()) or not 0 < len(written) <= 6 or int(written) == 0:
        raise web.HTTPNotFound
    return int(written)


def _state(one: UserStanding) -> str:
    """The word of the catalogue for how a user stands."""
    if one.stage is Stage.ENDED and one.certificate_state is not None:
        return one.certificate_state.value
    return one.stage.value
