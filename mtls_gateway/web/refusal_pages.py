"""One page for each code of clause A.2: what happened, what to do, in both languages."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiohttp import web

from mtls_gateway.model import Code, Site
from mtls_gateway.signin.ports import UserStore
from mtls_gateway.web.front import Front, Visit, visit_of

#: Another certificate may help.
_ANOTHER = frozenset(
    {
        Code.CERTIFICATE_MISSING,
        Code.CERTIFICATE_EXPIRED,
        Code.CERTIFICATE_NOT_YET_VALID,
        Code.CERTIFICATE_REVOKED,
        Code.ISSUER_UNKNOWN,
        Code.CERTIFICATE_WRONG_USAGE,
        Code.CERTIFICATE_MALFORMED,
        Code.CERTIFICATE_NOT_REGISTERED,
        Code.CERTIFICATE_SUPERSEDED,
        Code.USER_SUSPENDED,
        Code.USER_STOPPED,
        Code.COMPANY_SUSPENDED,
        Code.COMPANY_NOT_ON_CERTIFICATE_METHOD,
        Code.SESSION_OTHER_CERTIFICATE,
    }
)
#: The gateway's own state rather than the visitor's.
_CLOSED = frozenset({Code.EMERGENCY_STOP, Code.MAINTENANCE})
_TEMPORARY = frozenset({Code.UNAVAILABLE, Code.REVOCATION_UNKNOWN}) | _CLOSED


@dataclass(frozen=True, slots=True)
class Action:
    """A button of the page: ``text`` is a key of the catalogue's table ``refused``."""

    text: str
    address: str


class RefusalPages:
    """``refused/<code>``, and the same page for handlers that refuse by themselves."""

    def __init__(self, front: Front, users: UserStore) -> None:
        self._front = front
        self._users = users

    async def show(self, request: web.Request) -> web.StreamResponse:
        """GET ``refused/<code>``."""
        try:
            code = Code(request.match_info["code"])
        except ValueError:
            raise web.HTTPNotFound from None
        visit = visit_of(request)
        return self.page(visit, code, await self._until(visit, code))

    def page(self, visit: Visit, code: Code, until: float | None = None) -> web.Response:
        """The page; ``until`` is when the refusal ends by itself, POSIX seconds."""
        front = self._front
        certificate = visit.context.site is Site.CERTIFICATE
        closure = visit.context.closure
        response = front.page(
            visit,
            "refused.html",
            {
                "code": code.value,
                "at": front.clock.now(),
                "until": until,
                "serial": self._serial(visit),
                "actions": self._actions(code),
                "another": front.here("another-certificate") if certificate and code in _ANOTHER else None,
                "notes": {"ja": None, "en": None}
                if closure is None
                else {"ja": closure.note_ja, "en": closure.note_en},
            },
            status=503 if code in _TEMPORARY else 403,
        )
        if code in _CLOSED and until is not None:
            # RFC 9110, section 10.2.3.
            response.headers["Retry-After"] = str(max(1, math.ceil(until - front.clock.now())))
        return response

    @staticmethod
    def _serial(visit: Visit) -> str | None:
        shown = visit.context.certificate
        # Without an issuer the certificate could not be read, and has no serial either.
        return shown.serial if shown is not None and shown.issuer else None

    def _actions(self, code: Code) -> tuple[Action, ...]:
        front = self._front
        if code is Code.COMPANY_NOT_ON_CERTIFICATE_METHOD:
            return (Action("to_password", front.at(Site.PUBLIC, "password-sign-in")),)
        if code is Code.COMPANY_ON_CERTIFICATE_METHOD:
            return (Action("to_certificate", front.at(Site.CERTIFICATE, "password")),)
        if code is Code.BROWSER_UNSUPPORTED or code in _CLOSED:
            return ()
        if code is Code.COOLING_OFF:
            # The customer is signed in and stays so: only this function is closed.
            return (Action("to_bank", front.configuration.legacy.home),)
        return (Action("sign_in_again", front.at(Site.PUBLIC, "")),)

    async def _until(self, visit: Visit, code: Code) -> float | None:
        """When the refusal ends by itself, POSIX seconds; None: it does not, or nobody knows."""
        if code in _CLOSED:
            return None if visit.context.closure is None else visit.context.closure.ends
        shown = visit.context.certificate
        if code not in (Code.USER_SUSPENDED, Code.COOLING_OFF) or shown is None:
            return None
        registration = await self._users.registration(shown.identity)
        if registration is None:
            return None
        user = registration.user
        return user.suspended_until if code is Code.USER_SUSPENDED else user.cooling_off_until
