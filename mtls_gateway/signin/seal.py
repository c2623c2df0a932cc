"""The legacy session's cookies between browser and backend: bound to the gateway's session.

The browser gets ``JSESSIONID=value.tag``, where the tag is keyed with the gateway's session; the backend gets
``JSESSIONID=value``. A legacy session stolen from, or planted by, anyone else is worth nothing in
another gateway session, and every worker opens what any worker sealed (clauses A.6, B.1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from mtls_gateway.signin.cookie_names import BOUND, PASS, CookieNames

_TAG_OCTETS = 16
#: 16 octets in base64url without padding.
_TAG_LENGTH = 22
#: Octets that no parser of the ``Cookie`` header takes for the end of a value (RFC 6265, section 4.1.1).
_PLAIN = bytes(set(range(0x21, 0x7F)) - set(b'",;\\'))
#: So many seals that do not fit are looked at in one header: nobody has that many by accident.
_FORGED = 16
_SAME_SITE = {b"lax": b"Lax", b"strict": b"Strict", b"none": b"None"}
#: Attributes that are passed on as the backend wrote them; ``Domain`` is not: cookies stay on the host that set them.
_KEPT = {b"path": b"Path", b"expires": b"Expires", b"max-age": b"Max-Age", b"priority": b"Priority"}
_CONTROLS = bytes(range(0x20)) + b"\x7f"


def _tag(key: bytes, name: bytes, value: bytes) -> bytes:
    # A cookie's name holds no "=", so that name and value cannot run into each other.
    digest = hashlib.blake2b(b"%b=%b" % (name, value), digest_size=_TAG_OCTETS, key=key).digest()
    return base64.urlsafe_b64encode(digest)[:_TAG_LENGTH]


class SessionSeal:
    """``wire.gate.CookieSeal`` for one gateway session."""

    __slots__ = ("_key", "_names", "_opened", "_sealed")

    def __init__(self, names: CookieNames, key: bytes) -> None:
        self._names = names
        self._key = key
        #: A browser sends the same Cookie header for ever: the last one, and what it was opened to.
        self._sealed = b""
        self._opened = b""

    def open_header(self, cookies: bytes) -> bytes:
        """The ``Cookie`` value for the backend: sealed ones opened, forged ones and the gateway's own dropped."""
        if cookies == self._sealed:
            return self._opened
        self._opened = opened = _for_backend(self._names, cookies, self._key)
        self._sealed = cookies
        return opened

    def seal_header(self, set_cookie: bytes) -> bytes:
        """A backend's ``Set-Cookie`` value, hardened, and sealed where it carries the legacy session."""
        return _for_browser(self._names, set_cookie, self._key)


class NoSessionSeal:
    """For requests that need no session: the legacy session's cookies pass in neither direction."""

    __slots__ = ("_names",)

    def __init__(self, names: CookieNames) -> None:
        self._names = names

    def open_header(self, cookies: bytes) -> bytes:
        """The ``Cookie`` value for the backend, without the legacy session and the gateway's own."""
        return _for_backend(self._names, cookies, None)

    def seal_header(self, set_cookie: bytes) -> bytes:
        """A backend's ``Set-Cookie`` value, hardened; empty where it carries a legacy session."""
        return _for_browser(self._names, set_cookie, None)


class PortalSeal:
    """For the portal, which is part of the gateway: everything passes."""

    __slots__ = ()

    def open_header(self, cookies: bytes) -> bytes:
        """The ``Cookie`` value as it came."""
        return cookies

    def seal_header(self, set_cookie: bytes) -> bytes:
        """The ``Set-Cookie`` value as it came."""
        return set_cookie


def _for_backend(names: CookieNames, cookies: bytes, key: bytes | None) -> bytes:
    kept = []
    taken: list[bytes] = []
    known = names.known
    forged = 0
    for part in cookies.split(b";"):
        pair = part.strip(b" \t")
        name, _, value = pair.partition(b"=")
        fate = known.get(name)
        if fate is None:
            fate = names.decide(name)
        if fate is PASS:
            if not pair.translate(None, _PLAIN) or not names.speaks_of_bound(pair):
                kept.append(pair)
        elif fate is BOUND and key is not None and value[-_TAG_LENGTH - 1 : -_TAG_LENGTH] == b".":
            plain = value[: -_TAG_LENGTH - 1]
            if forged >= _FORGED or not hmac.compare_digest(value[-_TAG_LENGTH:], _tag(key, name, plain)):
                forged += 1
                continue
            alike = names.canonical(name)
            # Of two that were both sealed here the first wins: browsers put the longer path first (RFC 6265, 5.4).
            if alike not in taken:
                taken.append(alike)
                kept.append(b"%b=%b" % (name, plain))
    return b"; ".join(kept)


def _for_browser(names: CookieNames, set_cookie: bytes, key: bytes | None) -> bytes:
    if set_cookie.translate(None, _CONTROLS) != set_cookie:
        return b""
    pair, *attributes = set_cookie.split(b";")
    name, equals, value = pair.partition(b"=")
    name, value = name.strip(b" "), value.strip(b" ")
    # A cookie without a name reaches the next server as whatever its value says (RFC 6265bis, section 5.7).
    if not equals or not name:
        return b""
    fate = names.known.get(name) or names.decide(name)
    bound = fate is BOUND
    if fate is not PASS and (not bound or key is None):
        return b""
    if bound and key is not None:
        value = b"%b.%b" % (value, _tag(key, name, value))
    fields = [b"%b=%b" % (name, value)]
    same_site = b""
    http_only = bound
    partitioned = False
    for attribute in attributes:
        key_, _, setting = attribute.partition(b"=")
        word, setting = key_.strip(b" ").lower(), setting.strip(b" ")
        if word in _KEPT:
            if word != b"path" or setting.startswith(b"/"):
                fields.append(b"%b=%b" % (_KEPT[word], setting))
        elif word == b"samesite":
            same_site = _SAME_SITE.get(setting.lower(), b"")
        elif word == b"httponly":
            http_only = True
        elif word == b"partitioned":
            partitioned = True
    fields.append(b"Secure")
    if http_only:
        fields.append(b"HttpOnly")
    fields.append(b"SameSite=" + (same_site or b"Lax"))
    if partitioned:
        fields.append(b"Partitioned")
    return b"; ".join(fields)
