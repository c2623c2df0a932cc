"""EST (RFC 7030, RFC 8951): enrolment and renewal for programs, below ``/.well-known/est/`` on both hosts.

================  =========  ====================================================================
``cacerts``       both       the issuing CAs and their superiors
``csrattrs``      both       which key to make
``simpleenroll``  public     HTTP Basic: user ID, and ``CODE:PASSWORD`` as the password
``simplereenroll``  certificate  the present certificate, and HTTP Basic with the password
================  =========  ====================================================================

Whatever goes wrong is three lines of plain text: a stable code, and what it means in Japanese and English.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from mtls_gateway.errors import SignerUnavailable, StoreUnavailable
from mtls_gateway.issuance import est_bodies
from mtls_gateway.issuance.code import UnreadableCode, read_code
from mtls_gateway.issuance.csr import KeyRequest, RequestRefused, read_request
from mtls_gateway.issuance.enrolment import Claim, Issued, NotIssued
from mtls_gateway.issuance.est_bodies import Credentials
from mtls_gateway.model import Code, Site
from mtls_gateway.signin.password_proof import PasswordProof, Proven, Refused, Throttled, WrongPassword
from mtls_gateway.web.enrolment_desk import LONGEST, EnrolmentDesk, caller_of, sentence
from mtls_gateway.web.form_tokens import is_own_origin
from mtls_gateway.web.front import Front, Visit, visit_of

_LOG = logging.getLogger(__name__)

_CHALLENGE: Final = 'Basic realm="enrolment", charset="UTF-8"'
#: Statuses of the codes; all others are 403.
_STATUS: Final = {
    "credentials_missing": 401,
    "enrolment_refused": 401,
    "csr_malformed": 400,
    "csr_wrong_signature": 400,
    "csr_weak_key": 400,
    "csr_key_reused": 400,
    "csr_extension_refused": 400,
    "request_too_large": 413,
    "not_found": 404,
    "method_not_allowed": 405,
    "throttled": 429,
    "revocation_unknown": 503,
    "emergency_stop": 503,
    "maintenance": 503,
    "unavailable": 503,
}
_STORAGES: Final = frozenset({"tpm", "software"})

Operation = Callable[[Visit, EnrolmentDesk], Awaitable[web.Response]]


class _Refusal(Exception):
    """Ends a request; ``code`` is a stable code, ``retry_after`` seconds."""

    def __init__(self, code: str, *, retry_after: float | None = None, allow: str | None = None) -> None:
        self.code = code
        self.retry_after = retry_after
        self.allow = allow


class Est:
    """Every request below the prefix; without a desk nothing is there."""

    def __init__(self, front: Front, desk: EnrolmentDesk | None, proof: PasswordProof) -> None:
        self._front = front
        self._desk = desk
        self._proof = proof
        both = (Site.PUBLIC, Site.CERTIFICATE)
        self._operations: Mapping[str, tuple[str, tuple[Site, ...], Operation]] = {
            "cacerts": ("GET", both, self._authorities),
            "csrattrs": ("GET", both, self._attributes),
            "simpleenroll": ("POST", (Site.PUBLIC,), self._enrol),
            "simplereenroll": ("POST", (Site.CERTIFICATE,), self._renew),
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer, never with a page."""
        try:
            return await self._dispatch(visit_of(request), request.match_info["operation"])
        except _Refusal as refusal:
            return self._refused(refusal)
        except web.HTTPRequestEntityTooLarge:
            return self._refused(_Refusal("request_too_large"))
        except (StoreUnavailable, SignerUnavailable) as error:
            _LOG.error("an enrolment could not be decided: %s", error)
        except Exception:
            _LOG.exception("an enrolment could not be decided")
        return self._refused(_Refusal("unavailable"))

    async def _dispatch(self, visit: Visit, name: str) -> web.Response:
        found = self._operations.get(name)
        if self._desk is None or found is None or visit.context.site not in found[1]:
            raise _Refusal("not_found")
        closure = visit.context.closure
        if closure is not None:
            ends = None if closure.ends is None else max(1.0, closure.ends - self._front.clock.now())
            verdict = visit.context.verdict
            raise _Refusal(verdict.value if isinstance(verdict, Code) else "unavailable", retry_after=ends)
        method, _, operation = found
        if visit.request.method not in ((method, "HEAD") if method == "GET" else (method,)):
            raise _Refusal("method_not_allowed", allow=method)
        return await operation(visit, self._desk)

    # --- what needs no credentials ----------------------------------------------------------------

    async def _authorities(self, visit: Visit, desk: EnrolmentDesk) -> web.Response:
        """RFC 7030, section 4.1.3: during a roll-over both issuers.

        The header tells the issuing app where a certificate is renewed; other clients pay it no heed.
        """
        issuers = await desk.issuers.all()
        certificates = dict.fromkeys(der for issuer in issuers for der in (issuer.certificate, *issuer.chain))
        answer = _answer(visit, est_bodies.certs_only(list(certificates)), est_bodies.CERTIFICATES)
        answer.headers["X-Certificate-Host"] = self._front.configuration.certificate.authority
        return answer

    async def _attributes(self, visit: Visit, desk: EnrolmentDesk) -> web.Response:
        return _answer(visit, est_bodies.csr_attributes(desk.settings.keys[0]), est_bodies.ATTRIBUTES)

    # --- certificates -----------------------------------------------------------------------------

    async def _enrol(self, visit: Visit, desk: EnrolmentDesk) -> web.Response:
        credentials = self._credentials(visit)
        request = await self._request(visit, desk, "enrolment")
        typed, colon, password = credentials.password.partition(":")
        address = visit.context.address
        wait = desk.throttle.admit(address)
        if wait:
            raise _Refusal(desk.refuse_briefly("enrolment", "throttled"), retry_after=wait)
        try:
            code = read_code(typed if colon else "")
        except UnreadableCode:
            # No code of anybody's: nothing is counted, and nothing is said of what was wrong.
            raise _Refusal(desk.refuse_briefly("enrolment", "enrolment_refused")) from None
        claim = Claim(credentials.user_id, password, code, caller_of(visit))
        outcome = await desk.enrolment.enrol(claim, request, key_storage=_storage(visit))
        if not isinstance(outcome, NotIssued) or outcome.code != "enrolment_refused":
            desk.throttle.take_back(address)
        return self._given(visit, outcome)

    async def _renew(self, visit: Visit, desk: EnrolmentDesk) -> web.Response:
        context = visit.context
        if context.accepted is None or context.user is None or context.not_after is None:
            known = context.verdict if isinstance(context.verdict, Code) else Code.CERTIFICATE_MISSING
            raise _Refusal(desk.refuse_briefly("renewal", known.value))
        credentials = self._credentials(visit)
        request = await self._request(visit, desk, "renewal")
        if credentials.user_id not in ("", context.user):
            raise _Refusal(desk.refuse_briefly("renewal", "enrolment_refused"))
        proof = await self._proof.prove(context.accepted, credentials.password, caller_of(visit))
        match proof:
            case Proven():
                await self._proof.end_legacy(proof.legacy, Site.CERTIFICATE)
            case WrongPassword():
                raise _Refusal(desk.refuse_briefly("renewal", "enrolment_refused"))
            case Refused(code=code):
                raise _Refusal(desk.refuse_briefly("renewal", code.value))
            case Throttled(seconds=seconds):
                raise _Refusal(desk.refuse_briefly("renewal", "throttled"), retry_after=seconds)
            case _:
                raise _Refusal(desk.refuse_briefly("renewal", "unavailable"))
        outcome = await desk.enrolment.renew(
            proof.user, context.accepted, context.not_after, request, key_storage=_storage(visit)
        )
        return self._given(visit, outcome)

    def _credentials(self, visit: Visit) -> Credentials:
        """Basic credentials of a program: what a browser has kept must be of no use to another site's page."""
        request = visit.request
        if not is_own_origin(request, visit.host.origin):
            raise _Refusal("request_cross_site")
        if request.content_type != est_bodies.REQUEST:
            # No form of a foreign page can send this type (Fetch, section 2.2.2).
            raise _Refusal("csr_malformed")
        given = request.headers.getall("Authorization", [])
        # Longer than either: the code stands before the password.
        credentials = est_bodies.read_basic(given[0], longest=2 * LONGEST) if len(given) == 1 else None
        if credentials is None:
            raise _Refusal("credentials_missing")
        return credentials

    @staticmethod
    async def _request(visit: Visit, desk: EnrolmentDesk, way: str) -> KeyRequest:
        settings = desk.settings
        try:
            body = await visit.request.read()
            return read_request(body, keys=settings.keys, maximum_octets=settings.csr_octets)
        except RequestRefused as refused:
            _LOG.info("a certificate signing request from %s was refused: %s", visit.context.address, refused)
            raise _Refusal(desk.refuse_briefly(way, refused.reason)) from refused

    @staticmethod
    def _given(visit: Visit, outcome: Issued | NotIssued) -> web.Response:
        if isinstance(outcome, NotIssued):
            raise _Refusal(outcome.code)
        # RFC 7030, section 4.2.3: only the certificate that was issued.
        return _answer(visit, est_bodies.certs_only([outcome.certificate]), est_bodies.CERTS_ONLY)

    # --- refusals -----------------------------------------------------------------------------------

    def _refused(self, refusal: _Refusal) -> web.Response:
        status = _STATUS.get(refusal.code, 403)
        texts = self._front.texts
        lines = (refusal.code, sentence(texts["ja"], refusal.code), sentence(texts["en"], refusal.code))
        response = web.Response(status=status, text="".join(f"{line}\n" for line in lines), content_type="text/plain")
        if status == 401:
            response.headers["WWW-Authenticate"] = _CHALLENGE
        if refusal.allow is not None:
            response.headers["Allow"] = refusal.allow
        retry_after = refusal.retry_after
        if retry_after is None and status == 503 and self._desk is not None:
            retry_after = self._desk.retry_after
        if retry_after is not None:
            response.headers["Retry-After"] = str(math.ceil(retry_after))
        return response


def _answer(visit: Visit, der: bytes, content_type: str) -> web.Response:
    # RFC 8951, section 3.2: the second header says nothing, but older clients look for it.
    headers = {"Content-Type": content_type, "Content-Transfer-Encoding": "base64"}
    # strongSwan's pki, which before 5.9.11 reads no line break, is told from others by saying nothing of itself.
    lines = "User-Agent" in visit.request.headers
    return web.Response(body=est_bodies.encode(der, lines=lines), headers=headers)


def _storage(visit: Visit) -> str | None:
    said = visit.request.headers.get("X-Key-Storage", "").strip().lower()
    return said if said in _STORAGES else None
