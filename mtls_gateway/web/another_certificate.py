"""Choose another certificate: make the browser ask again (clause A.2).

Chromium forgets its choice for a host, which may be to show none, when a handshake there ends in a certificate
alert. So every worker is told that this address does not want this choice any more, and the connection is closed
(``wish``); a page on the public host, which needs no certificate, has the browser fetch a picture from the
certificate host (``wait``): on connections that are still open the workers send it on to a new one, and there it
is alerted, where nobody sees it; then the workers are told that this is over, so that choosing the same
certificate again is no error, and the browser is led back (``go_back``).
"""

from __future__ import annotations

import asyncio
import secrets

from aiohttp import web

from mtls_gateway.clock import Clock
from mtls_gateway.model import Site
from mtls_gateway.signin.another_certificate import NO_CERTIFICATE, PROBE
from mtls_gateway.signin.lockout import AddressThrottle
from mtls_gateway.signin.ports import UserStore
from mtls_gateway.web.context import CLOSE
from mtls_gateway.web.form_tokens import is_own_origin
from mtls_gateway.web.front import Front, visit_of

#: Seconds until the waiting page goes on by itself; browsers count from when the picture has come or failed.
_WAIT = 1
#: Workers ask for news once in ``store.poll`` seconds; after so many times all have heard.
_POLLS = 3
#: Times in a minute that an address is written down: nobody has signed in here, and every line is kept for days.
_WRITTEN = 30
#: The smallest GIF there is: what the browser is made to fetch.
DOT = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")


class AnotherCertificate:
    """The wish on the certificate host, the rest on the public host."""

    def __init__(self, front: Front, users: UserStore, clock: Clock) -> None:
        self._front = front
        self._users = users
        self._throttle = AddressThrottle(_WRITTEN, clock)

    async def wish(self, request: web.Request) -> web.StreamResponse:
        """GET or POST on the certificate host."""
        visit = visit_of(request)
        if visit.context.site is not Site.CERTIFICATE:
            return self._front.redirect(self._front.at(Site.PUBLIC, ""))
        if not is_own_origin(request, visit.host.origin):
            return self._front.error_page(visit, 403)
        shown = visit.context.certificate
        unwanted = NO_CERTIFICATE if shown is None else bytes.fromhex(shown.fingerprint)
        await self._tell_all(unwanted, visit.context.address)
        response = self._front.redirect(self._front.at(Site.PUBLIC, "choosing"))
        response.headers.add(*CLOSE)
        return response

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """GET on the public host: lead back to the certificate host, by way of one alert."""
        visit = visit_of(request)
        front = self._front
        if visit.context.site is not Site.PUBLIC:
            return front.redirect(front.at(Site.PUBLIC, "choosing"))
        onward = front.at(Site.PUBLIC, "chosen")
        dot = front.at(Site.CERTIFICATE, f"{PROBE}?{secrets.token_hex(4)}")
        values = {"onward": onward, "dot": dot, "refresh": f"{_WAIT}; url={onward}"}
        return front.page(visit, "choosing.html", values, images=front.configuration.certificate.origin)

    async def go_back(self, request: web.Request) -> web.StreamResponse:
        """GET on the public host: the browser has been alerted; let it choose."""
        visit = visit_of(request)
        if visit.context.site is Site.PUBLIC:
            await self._tell_all(b"", visit.context.address)
        return self._front.redirect(self._front.at(Site.CERTIFICATE, "password"))

    async def _tell_all(self, unwanted: bytes, address: str) -> None:
        """Return once every worker has heard; an address that asks all the time is not listened to."""
        if not self._throttle.admit(address):
            await self._users.ask_again(unwanted, address)
        await asyncio.sleep(_POLLS * self._front.configuration.store.poll)

    async def dot(self, request: web.Request) -> web.StreamResponse:
        """GET the picture that makes the handshake; never kept."""
        return web.Response(body=DOT, content_type="image/gif")
