"""What every answer of the portal goes through: the context before it, the language, the headers after it.

A handler that raises never shows what it raised: the store being away is the page ``unavailable``, anything
else the page 500, and the log has the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware
from jinja2 import Environment, PackageLoader, StrictUndefined

from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, Host
from mtls_gateway.errors import StoreUnavailable
from mtls_gateway.model import Code, Site
from mtls_gateway.web import form_tokens
from mtls_gateway.web.context import HEADER, Context, ContextError, read_context
from mtls_gateway.web.form_tokens import FormTokens
from mtls_gateway.web.stylesheet import StyleSheet, read_style_sheet
from mtls_gateway.web.texts import Texts, choose_language, other_language, print_day, print_moment, read_texts

_LOG = logging.getLogger(__name__)

LANGUAGE_COOKIE = "__Host-ib-lang"
_YEAR = 31_536_000
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Lax"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_environment() -> Environment:
    """Templates: everything escaped, nothing undefined."""
    return Environment(
        loader=PackageLoader("mtls_gateway.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, understood."""

    request: web.Request
    context: Context
    language: str
    host: Host
    #: What the forms of the answer are bound to.
    binding: str


_VISIT = web.RequestKey("visit", Visit)


def visit_of(request: web.Request) -> Visit:
    """What the front made of a request."""
    return request[_VISIT]


class Front:
    """Renders pages, and is the one middleware."""

    def __init__(self, configuration: Configuration, clock: Clock, tokens: FormTokens) -> None:
        self.configuration = configuration
        self.clock = clock
        self.tokens = tokens
        self.style: StyleSheet = read_style_sheet()
        self.texts: Mapping[str, Texts] = read_texts()
        self._environment = make_environment()
        self.prefix = configuration.pages.prefix
        own = f"'self' {configuration.public.origin} {configuration.certificate.origin}"
        # Browsers hold form-action against the redirects after a form too: hence both hosts.
        self._policy = (
            "default-src 'none'; style-src 'self'; img-src {images}; "
            f"form-action {own}; frame-ancestors 'none'; base-uri 'none'"
        )

    # --- addresses ------------------------------------------------------------------------------

    def here(self, name: str) -> str:
        """The path of a page of the portal."""
        return self.prefix + name

    def at(self, site: Site, name: str) -> str:
        """The absolute address of a page on a host."""
        host = self.configuration.public if site is Site.PUBLIC else self.configuration.certificate
        return host.origin + self.prefix + name

    # --- pages ----------------------------------------------------------------------------------

    def page(
        self,
        visit: Visit,
        template: str,
        values: Mapping[str, object] | None = None,
        *,
        status: int = 200,
        images: str = "'self'",
    ) -> web.Response:
        """A page in the visit's language; ``images`` is the policy's ``img-src``."""
        pages = self.configuration.pages
        beside = other_language(visit.language)
        common = {
            "t": self.texts[visit.language],
            "beside": self.texts[beside],
            "lang": visit.language,
            "beside_lang": beside,
            "beside_url": str(visit.request.rel_url.update_query(lang=beside).with_fragment(None)),
            "bank": pages.bank_name_ja if visit.language == "ja" else pages.bank_name_en,
            "service": pages.service_name_ja if visit.language == "ja" else pages.service_name_en,
            "help_desk": pages.help_desk_ja if visit.language == "ja" else pages.help_desk_en,
            "beside_help_desk": pages.help_desk_en if visit.language == "ja" else pages.help_desk_ja,
            "style": self.here(f"static/{self.style.name}"),
            "home": self.at(Site.PUBLIC, ""),
            "refresh": None,
            "browsers": self.configuration.browsers,
            "advise": visit.context.browser == "unsupported" and self.configuration.browsers.mode == "advise",
            "token": lambda purpose: self.tokens.make(visit.binding, visit.context, purpose),
            "moment": lambda moment: print_moment(moment, self.texts[visit.language]),
            "day": lambda moment: print_day(moment, self.texts[visit.language]),
            "here": self.here,
            "at_public": lambda name: self.at(Site.PUBLIC, name),
            "at_certificate": lambda name: self.at(Site.CERTIFICATE, name),
        }
        text = self._environment.get_template(template).render(common | dict(values or {}))
        response = web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
        response.headers["Content-Language"] = visit.language
        response.headers["Content-Security-Policy"] = self._policy.format(images=images)
        return response

    def error_page(self, visit: Visit, status: int) -> web.Response:
        """The page of an HTTP status."""
        key = str(status) if str(status) in self.texts["ja"]["errors"] else "500"
        return self.page(visit, "error.html", {"status": key}, status=status)

    def unavailable(self, visit: Visit) -> web.Response:
        """The page for when the store does not answer."""
        return self.page(
            visit,
            "refused.html",
            {
                "code": Code.UNAVAILABLE.value,
                "at": self.clock.now(),
                "until": None,
                "serial": None,
                "actions": (),
                "another": None,
                "notes": {"ja": None, "en": None},
            },
            status=503,
        )

    def redirect(self, location: str) -> web.Response:
        """303: go on with a GET."""
        return web.Response(status=303, headers={"Location": location})

    def is_ours(self, visit: Visit, form: Mapping[str, str], purpose: str) -> bool:
        """Whether a posted form came from a page of ours, in this browser, with this certificate."""
        cookie = visit.request.cookies.get(form_tokens.COOKIE)
        return form_tokens.is_own_origin(visit.request, visit.host.origin) and self.tokens.fits(
            form.get(form_tokens.FIELD, ""), cookie, visit.context, purpose
        )

    # --- the middleware -------------------------------------------------------------------------

    @property
    def middleware(self) -> Middleware:
        """For ``web.Application``."""

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answer(request, handler)

        return answer

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(self.here("static/")):
            # What is the same for all needs no context.
            response = await _or_its_status(handler, request)
            return self._harden(response)
        try:
            context = read_context(request.headers.getall(HEADER, []))
        except ContextError as error:
            _LOG.error("a request was refused: %s", error)
            return self._harden(web.Response(status=500))
        visit, new_binding = self._visit(request, context)
        request[_VISIT] = visit
        response = await self._guarded(visit, handler)
        if new_binding and response.content_type == "text/html":
            response.headers.add("Set-Cookie", f"{form_tokens.COOKIE}={visit.binding}; {_ATTRIBUTES}")
        if request.query.get("lang") == visit.language:
            cookie = f"{LANGUAGE_COOKIE}={visit.language}; Max-Age={_YEAR}; {_ATTRIBUTES}"
            response.headers.add("Set-Cookie", cookie)
        return self._harden(response)

    def _visit(self, request: web.Request, context: Context) -> tuple[Visit, bool]:
        language = choose_language(
            request.query.get("lang"),
            request.cookies.get(LANGUAGE_COOKIE),
            request.headers.get("Accept-Language", ""),
        )
        configuration = self.configuration
        host = configuration.public if context.site is Site.PUBLIC else configuration.certificate
        binding, is_new = self.tokens.binding(request.cookies.get(form_tokens.COOKIE))
        return Visit(request, context, language, host, binding), is_new

    async def _guarded(self, visit: Visit, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(visit.request)
        except web.HTTPException as error:
            return self.error_page(visit, error.status)
        except StoreUnavailable as error:
            _LOG.error("a page could not be shown: %s", error)
            return self.unavailable(visit)
        except Exception:
            _LOG.exception("a page could not be shown: %s", visit.request.path)
            return self.error_page(visit, 500)

    def _harden(self, response: web.StreamResponse) -> web.StreamResponse:
        headers = response.headers
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Content-Security-Policy", self._policy.format(images="'none'"))
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        # With no-referrer browsers would send "Origin: null" with our own forms.
        headers["Referrer-Policy"] = "same-origin"
        headers["Strict-Transport-Security"] = f"max-age={_YEAR}"
        return response


async def _or_its_status(handler: Handler, request: web.Request) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return web.Response(status=error.status)
