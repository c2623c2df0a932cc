"""Two faces: what the backend sees of the browser's request, and the browser of the backend's answer.

The request that is forwarded is built anew from what was parsed (clause B.3); nothing of the received
octets is passed on as it stood. Redirects and cookies come back under the public name (clause B.1).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from mtls_gateway.config import Host, Seen
from mtls_gateway.wire.answer import AnswerHead
from mtls_gateway.wire.gate import CookieSeal, Forward, Header, Page, RequestHead
from mtls_gateway.wire.refusal import REASONS

_BEFORE_THE_URL_IN_REFRESH = re.compile(rb"(?i)[\d.]+\s*[;,]\s*(?:url\s*=\s*)?[\"']?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Face:
    """How one site and one backend look to each other; made once, used for every request."""

    __slots__ = ("_foreign", "_host", "_origin", "_seen", "_seen_origin", "_site_authority", "_site_origin")

    def __init__(self, site: Host, seen: Seen, backend: str) -> None:
        netloc = urlsplit(backend).netloc
        host = {"public": site.authority, "backend": netloc}.get(seen.host, seen.host)
        self._seen = seen
        self._host = host.encode()
        self._seen_origin = f"{seen.scheme}://{host}".encode()
        self._site_authority = site.authority.encode()
        self._site_origin = site.origin.encode()
        self._origin = seen.origin
        #: Authorities by which the backend may speak of itself in a redirect.
        self._foreign = {name.lower().encode() for name in (host, netloc, site.authority, site.name)}
        port = _DEFAULT_PORTS.get(urlsplit(backend).scheme)
        if port is not None:
            # The same address with its default port spelled out, or left out.
            self._foreign.add(netloc.lower().removesuffix(f":{port}").encode())
            self._foreign.add(f"{netloc.lower().removesuffix(f':{port}')}:{port}".encode())

    def request(self, head: RequestHead, admission: Forward | Page) -> bytes:
        """The request as the backend gets it, body not included."""
        if isinstance(admission, Page):
            return self._page_request(head, admission)
        written = head.written
        fields = [b"%b: %b\r\n" % pair for pair in head.headers] if written is None else [written]
        if head.cookies:
            cookies = admission.seal.open_header(head.cookies)
            if cookies:
                fields.append(b"Cookie: %b\r\n" % cookies)
        if head.origin or head.referer:
            self._add_provenance(head, fields)
        if admission.headers:
            added = b"".join([b"%b: %b\r\n" % pair for pair in admission.headers])
            if added.count(b"\n") != len(admission.headers) or added.count(b"\r") != len(admission.headers):
                raise ValueError("a header of the gateway's has more than one line")
            fields.append(added)
        if head.length:
            fields.append(
                b"Transfer-Encoding: chunked\r\n" if head.length < 0 else b"Content-Length: %d\r\n" % head.length
            )
        elif head.method not in (b"GET", b"HEAD"):
            fields.append(b"Content-Length: 0\r\n")
        if head.upgrade:
            fields.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade)
        target = head.target if admission.target is None else admission.target
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (head.method, target, self._host, b"".join(fields))

    def _add_provenance(self, head: RequestHead, fields: list[bytes]) -> None:
        if self._origin == "remove":
            return
        origin, referer = head.origin, head.referer
        if self._origin == "rewrite":
            # Only the gateway's own origin is translated: a foreign one stays foreign, and the backend's check holds.
            if origin == self._site_origin:
                origin = self._seen_origin
            if referer == self._site_origin or referer.startswith(self._site_origin + b"/"):
                referer = self._seen_origin + referer[len(self._site_origin) :]
        if origin:
            fields.append(b"Origin: %b\r\n" % origin)
        if referer:
            fields.append(b"Referer: %b\r\n" % referer)

    def _page_request(self, head: RequestHead, page: Page) -> bytes:
        """The request for a page of the portal that is shown instead."""
        fields = [b"%b: %b\r\n" % pair for pair in head.headers if pair[0].lower() in _FOR_A_PAGE]
        if head.cookies:
            fields.append(b"Cookie: %b\r\n" % head.cookies)
        fields += [b"%b: %b\r\n" % pair for pair in page.headers]
        method = b"HEAD" if head.method == b"HEAD" else b"GET"
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, page.target, self._host, b"".join(fields))

    def location(self, url: bytes) -> bytes:
        """A URL of the backend's under the site's name; a foreign one as it is."""
        lowered = url[:8].lower()
        if lowered.startswith((b"http://", b"https://")):
            start = url.index(b"//") + 2
        elif url.startswith(b"//"):
            start = 2
        else:
            return url
        end = len(url)
        for mark in (b"/", b"?", b"#", b'"', b"'"):
            found = url.find(mark, start)
            if found >= 0:
                end = min(end, found)
        if url[start:end].lower() not in self._foreign:
            return url
        return self._site_origin + url[end:]

    def _relocated(self, field: Header) -> Header:
        name, value = field
        if name.lower() != b"refresh":
            return name, self.location(value)
        match = _BEFORE_THE_URL_IN_REFRESH.match(value)
        return field if match is None else (name, match[0] + self.location(value[match.end() :]))

    def answer(self, head: AnswerHead, seal: CookieSeal, framing: bytes) -> bytes:
        """The answer's head as the browser gets it; ``framing`` is its length or encoding, and ``Connection``."""
        written = head.written
        fields = [b"%b: %b\r\n" % pair for pair in head.fields] if written is None else [written]
        if head.location:
            fields += [b"%b: %b\r\n" % self._relocated(pair) for pair in head.location]
        for cookie in head.cookies:
            sealed = seal.seal_header(cookie)
            if sealed:
                fields.append(b"Set-Cookie: %b\r\n" % sealed)
        phrase = head.phrase or REASONS.get(head.status, b"")
        return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (head.status, phrase, b"".join(fields), framing)


_FOR_A_PAGE = frozenset({b"accept", b"accept-language", b"user-agent", b"sec-fetch-site", b"sec-fetch-mode"})


def built_in_answer(status: int, page: bytes, *, close: bool, with_body: bool = True, extra: bytes = b"") -> bytes:
    """An answer of the gateway's own that needs no other process."""
    return b"HTTP/1.1 %d %b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n%b%b%b\r\n%b" % (
        status,
        REASONS[status],
        len(page),
        _PAGE_HEADERS,
        extra,
        b"Connection: close\r\n" if close else b"",
        page if with_body else b"",
    )


_PAGE_HEADERS = (
    b"Cache-Control: no-store\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Referrer-Policy: no-referrer\r\n"
    b"X-Frame-Options: DENY\r\n"
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
    b"base-uri 'none'\r\n"
)
