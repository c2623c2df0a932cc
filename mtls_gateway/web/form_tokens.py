"""Forms that only our own pages can send (cross-site request forgery, CWE-352).

A form carries HMAC(key, binding cookie, certificate, site, purpose): another site can neither read the cookie
nor the page, a token taken from one browser or certificate is worth nothing in another. What browsers
say of a request's origin is checked besides, when they say it.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from urllib.parse import parse_qsl

from aiohttp import web

from mtls_gateway.signin.instance_secret import derive
from mtls_gateway.web.context import Context

COOKIE = "__Host-ib-form"
FIELD = "form_token"
_BINDING = re.compile(r"[A-Za-z0-9_-]{32}\Z")
_MEDIA = "application/x-www-form-urlencoded"
#: The longest field that a page of ours sends is the password or the path to go to next.
_MAXIMUM_OCTETS = 16_384
_MAXIMUM_FIELDS = 12


class FormTokens:
    """Makes and checks the tokens of one instance."""

    def __init__(self, secret: bytes) -> None:
        self._key = derive(secret, "portal form token")

    def binding(self, cookie: str | None) -> tuple[str, bool]:
        """The value to bind to, and whether the cookie must be set to it."""
        if cookie is not None and _BINDING.match(cookie):
            return cookie, False
        return secrets.token_urlsafe(24), True

    def make(self, binding: str, context: Context, purpose: str) -> str:
        """The token of a form."""
        fingerprint = context.certificate.fingerprint if context.certificate is not None else ""
        message = "\n".join((binding, fingerprint, context.site.value, purpose)).encode()
        return base64.urlsafe_b64encode(hmac.digest(self._key, message, "sha256")).decode().rstrip("=")

    def fits(self, shown: str, cookie: str | None, context: Context, purpose: str) -> bool:
        """Whether a form that came with that cookie is ours."""
        if cookie is None or not _BINDING.match(cookie):
            return False
        return hmac.compare_digest(shown.encode(), self.make(cookie, context, purpose).encode())


def is_own_origin(request: web.Request, origin: str) -> bool:
    """Whether a browser that says where a request comes from says: from ``origin`` itself."""
    if any(said != origin for said in request.headers.getall("Origin", [])):
        return False
    return all(said in ("same-origin", "none") for said in request.headers.getall("Sec-Fetch-Site", []))


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        web.HTTPException: 413 too long, 415 not urlencoded, 400 malformed or a field twice.
    """
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _MEDIA:
        raise web.HTTPUnsupportedMediaType
    if (request.content_length or 0) > _MAXIMUM_OCTETS:
        raise web.HTTPRequestEntityTooLarge(_MAXIMUM_OCTETS, request.content_length or 0)
    body = await request.read()
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MAXIMUM_FIELDS,
        )
    except ValueError:
        raise web.HTTPBadRequest from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise web.HTTPBadRequest
    return fields
