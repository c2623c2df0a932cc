"""One conversation with the legacy backend in a browser's place: its cookies, redirects and forms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from urllib.parse import urljoin

from mtls_gateway.clock import Clock
from mtls_gateway.errors import LegacyUnavailable, LegacyUnreachable
from mtls_gateway.signin.form_page import Form, FormPage, read_refresh
from mtls_gateway.signin.legacy_cookies import LegacyCookies
from mtls_gateway.signin.legacy_view import LegacyView
from mtls_gateway.signin.ports import Caller, LegacyCookie, LegacyHttp, LegacyResponse

_FORM = "application/x-www-form-urlencoded"


class Reply(NamedTuple):
    """One answer of the backend, read."""

    #: The request's: where the answer stands, for references in it and as the next Referer.
    target: str
    method: str
    status: int
    location: str
    page: FormPage
    #: Names of the cookies that it set, deletions left out.
    cookies: frozenset[str]
    #: Where a browser goes on at once, absolute; None: it stays.
    leads_to: str | None


class LegacyDialogue:
    """Requests of one caller, with the cookies that they bring. Not for two at a time.

    All go to one backend, the first of ``backends`` that takes a connection: what the first answer began lives there.
    """

    __slots__ = ("_backends", "_caller", "_http", "_maximum_octets", "_view", "backend", "cookies")

    def __init__(
        self,
        http: LegacyHttp,
        view: LegacyView,
        clock: Clock,
        caller: Caller,
        *,
        backends: Sequence[str],
        maximum_octets: int,
        cookies: tuple[LegacyCookie, ...] = (),
    ) -> None:
        """``backends`` are addresses, tried in order."""
        self._http = http
        self._view = view
        self._caller = caller
        self._maximum_octets = maximum_octets
        self._backends = backends
        #: The address of the one that has answered; "": none has yet.
        self.backend = ""
        self.cookies = LegacyCookies(clock, cookies)

    async def get(self, target: str, referer: str = "") -> Reply:
        """GET ``target``.

        Raises:
            LegacyUnavailable: no answer, not in time, too long.
        """
        return await self._exchange("GET", target, referer, None)

    async def post(self, target: str, referer: str, body: bytes) -> Reply:
        """POST ``body``, urlencoded, to ``target``; raises as :meth:`get`."""
        return await self._exchange("POST", target, referer, body)

    async def send(self, form: Form, referer: str) -> Reply:
        """Send a form of the page at ``referer``.

        Raises:
            LegacyUnavailable: as :meth:`get`; or it leads out of the backend, or is not urlencoded.
        """
        target = self._view.target(form.action, form.codec)
        if target is None:
            raise LegacyUnavailable(f"the form at {referer} leads out of the legacy backend; nothing was sent")
        if form.method == "GET":
            return await self.get(target.partition("?")[0] + "?" + form.encoded().decode("ascii"), referer)
        if form.enctype == "multipart/form-data":
            raise LegacyUnavailable(f"the form at {referer} is multipart/form-data, which is not supported")
        return await self.post(target, referer, form.encoded())

    async def follow(self, reply: Reply, limit: int, body: bytes | None = None) -> AsyncIterator[Reply]:
        """The answers that ``reply`` leads to, at most ``limit``, within the backend only.

        ``body`` is what ``reply`` answered, sent again on 307 and 308.

        Raises:
            LegacyUnavailable: as :meth:`get`; or more redirects than ``limit``.
        """
        left = limit
        while reply.leads_to is not None:
            target = self._view.target(reply.leads_to)
            if target is None:
                return
            if left == 0:
                raise LegacyUnavailable(f"more than {limit} redirects from {reply.target}; see legacy.login.redirects")
            left -= 1
            if reply.status in (307, 308) and reply.method == "POST" and body is not None:
                reply = await self.post(target, reply.target, body)
            else:
                reply = await self.get(target, reply.target)
            yield reply

    async def _exchange(self, method: str, target: str, referer: str, body: bytes | None) -> Reply:
        path = target.partition("?")[0]
        response = await self._ask(method, target, referer, body)
        fields: dict[str, str] = {}
        taken: set[str] = set()
        for name, value in response.headers:
            lowered = name.lower()
            fields.setdefault(lowered, value)
            if lowered == "set-cookie":
                kept = self.cookies.take(value, path)
                taken |= {kept} if kept is not None else set()
        address = self._view.base + target
        page = FormPage(response.body, fields.get("content-type", ""), address)
        location = fields.get("location", "")
        leads_to: str | None
        if 300 <= response.status < 400:
            leads_to = _join(address, location) if location and response.status != 304 else None
        else:
            leads_to = read_refresh(fields["refresh"], address) if "refresh" in fields else page.refresh()
        return Reply(target, method, response.status, location, page, frozenset(taken), leads_to)

    async def _ask(self, method: str, target: str, referer: str, body: bytes | None) -> LegacyResponse:
        cookies = self.cookies.header(target.partition("?")[0])
        said = "all are out"
        for backend in (self.backend,) if self.backend else self._backends:
            view = self._view.of(backend)
            headers = view.headers(self._caller, referer, sends=body is not None)
            if body is not None:
                headers.append(("Content-Type", _FORM))
            if cookies:
                headers.append(("Cookie", cookies))
            try:
                response = await self._http.exchange(
                    backend, method, target, headers, body, maximum_octets=self._maximum_octets
                )
            except LegacyUnreachable as error:
                said = str(error)
            else:
                self.backend, self._view = backend, view
                return response
        raise LegacyUnreachable(f"no legacy backend takes connections: {said}")


def _join(base: str, reference: str) -> str | None:
    try:
        return urljoin(base, reference)
    except ValueError:
        return None
