"""What the legacy backend sees of a request that the portal makes in a browser's place.

It must believe itself unchanged: the name, scheme, Origin and Referer are those of ``legacy.seen``, the
same that ``wire`` gives to the requests it forwards.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from mtls_gateway.config import Host, Seen
from mtls_gateway.signin.ports import Caller

#: Left alone when a reference is made ready for a request line; anything else is percent-encoded.
_SAFE = "!$%&'()*+,-./:;=?@_~[]"


class LegacyView:
    """How one site looks from the legacy backend; made once."""

    __slots__ = (
        "_backends",
        "_forwarded_host",
        "_forwarded_port",
        "_host",
        "_origin",
        "_own",
        "_seen",
        "_site",
        "base",
    )

    def __init__(self, site: Host, seen: Seen, backends: tuple[str, ...]) -> None:
        self._site = site
        self._backends = backends
        addresses = [urlsplit(backend).netloc for backend in backends]
        self._host = {"public": site.authority, "backend": addresses[0]}.get(seen.host, seen.host)
        #: What addresses of the backend's pages are resolved against.
        self.base = f"{seen.scheme}://{self._host}"
        self._own = {name.lower() for name in (self._host, site.authority, site.name, *addresses)}
        self._origin = {"rewrite": self.base, "pass": site.origin, "remove": ""}[seen.origin]
        self._seen = seen
        self._forwarded_host = site.authority
        self._forwarded_port = str(site.browser_port)

    def of(self, backend: str) -> LegacyView:
        """How it looks from that one of the backends: itself, unless each is called by its own address."""
        if self._seen.host != "backend" or backend == self._backends[0]:
            return self
        others = (one for one in self._backends if one != backend)
        return LegacyView(self._site, self._seen, (backend, *others))

    def target(self, url: str, codec: str = "utf-8") -> str | None:
        """The request target of an absolute address of the backend's; None: it leads elsewhere."""
        try:
            parts = urlsplit(url)
            netloc = parts.netloc.lower()
        except ValueError:
            return None
        if parts.scheme.lower() not in ("http", "https") or netloc not in self._own:
            return None
        path = quote(parts.path or "/", safe=_SAFE)
        # The query is encoded as the page was (URL Living Standard, "query state").
        query = quote(parts.query.encode(codec, "xmlcharrefreplace"), safe=_SAFE)
        return f"{path}?{query}" if query else path

    def headers(self, caller: Caller, referer: str, *, sends: bool) -> list[tuple[str, str]]:
        """The headers of a request; ``referer`` is the target of the page before it, "" when there is none.

        ``sends``: the request has a body, and so a browser would name its origin.
        """
        headers = [
            ("Host", self._host),
            ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", caller.accept_language or "ja,en;q=0.5"),
        ]
        if caller.user_agent:
            headers.append(("User-Agent", caller.user_agent))
        if self._origin:
            if sends:
                headers.append(("Origin", self._origin))
            if referer:
                headers.append(("Referer", self._origin + referer))
        if self._seen.forwarded_headers:
            headers += self._forwarded(caller)
        return headers

    def _forwarded(self, caller: Caller) -> list[tuple[str, str]]:
        address = caller.address or "unknown"
        node = f'"[{address}]"' if ":" in address else address
        return [
            *([("X-Forwarded-For", address)] if caller.address else []),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", self._forwarded_host),
            ("X-Forwarded-Port", self._forwarded_port),
            ("Forwarded", f'for={node};host="{self._forwarded_host}";proto=https'),
        ]
