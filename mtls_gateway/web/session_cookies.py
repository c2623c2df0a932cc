"""The cookies that a sign-in gives to the browser: the session's, and the legacy session's sealed to it."""

from __future__ import annotations

from aiohttp import web

from mtls_gateway.config import Legacy, Sessions
from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.ports import LegacySession
from mtls_gateway.signin.seal import SessionSeal
from mtls_gateway.signin.token import Token, Tokens

_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Lax"


class SessionCookies:
    """Sets, reads and takes away what a session leaves in the browser."""

    def __init__(self, sessions: Sessions, legacy: Legacy, tokens: Tokens) -> None:
        self._name = sessions.cookie
        self._names = CookieNames(legacy.session_cookies, sessions.cookie)
        self._tokens = tokens

    def presented(self, request: web.Request) -> bytes | None:
        """The digest of the session that the browser shows; None: none of ours."""
        value = request.cookies.get(self._name)
        token = self._tokens.read(value.encode()) if value else None
        return token.digest if token is not None else None

    def give(self, response: web.StreamResponse, token: Token, legacy: LegacySession) -> None:
        """Add the cookies of a session that was just opened; they end with the browser."""
        response.headers.add("Set-Cookie", f"{self._name}={token.text}; {_ATTRIBUTES}")
        seal = SessionSeal(self._names, token.seal_key)
        for cookie in legacy.cookies:
            set_cookie = f"{cookie.name}={cookie.value}; {cookie.attributes}".encode("utf-8", "replace")
            sealed = seal.seal_header(set_cookie)
            if sealed:
                response.headers.add("Set-Cookie", sealed.decode("utf-8", "replace"))

    def take_away(self, response: web.StreamResponse) -> None:
        """Remove the session's cookie; without it the sealed ones open nothing."""
        response.headers.add("Set-Cookie", f"{self._name}=; Max-Age=0; {_ATTRIBUTES}")
