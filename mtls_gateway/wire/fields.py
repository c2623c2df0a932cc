"""What becomes of each request header, decided by its name alone.

A name is looked up once per spelling and remembered: browsers send the same few names for ever. Only
names of letters, digits and hyphens are forwarded: ``X_User_ID`` and ``x.user.id`` reach many backends
as the same variable as ``X-User-ID`` does (clause B.2), and nothing that a browser sends needs them.
"""

from __future__ import annotations

from enum import IntEnum


class Fate(IntEnum):
    """What the rebuilt request does with a header."""

    PASS = 0
    DROP = 1
    HOST = 2
    COOKIE = 3
    CONNECTION = 4
    LENGTH = 5
    ENCODING = 6
    UPGRADE = 7
    EXPECT = 8
    ORIGIN = 9
    REFERER = 10
    ACCEPT = 11
    USER_AGENT = 12
    #: WebSocket handshake headers: they pass only with an upgrade that passes.
    WEBSOCKET = 13


_FATES = {
    b"host": Fate.HOST,
    b"cookie": Fate.COOKIE,
    b"connection": Fate.CONNECTION,
    b"content-length": Fate.LENGTH,
    b"transfer-encoding": Fate.ENCODING,
    b"upgrade": Fate.UPGRADE,
    b"expect": Fate.EXPECT,
    b"origin": Fate.ORIGIN,
    b"referer": Fate.REFERER,
    b"accept": Fate.ACCEPT,
    b"user-agent": Fate.USER_AGENT,
    # Hop by hop (RFC 9110, section 7.6.1); ``Proxy-…`` is among the prefixes below.
    b"keep-alive": Fate.DROP,
    b"te": Fate.DROP,
    b"trailer": Fate.DROP,
    b"http2-settings": Fate.DROP,
    # Early data stays off, so this can only be a pretence (RFC 8470).
    b"early-data": Fate.DROP,
}

#: Names by which some backend or framework takes a client's word for who it is, whence it comes, or what it asked for.
_SPOOFABLE = frozenset(
    {
        b"authorization-user",
        b"base-url",
        b"cdn-loop",
        b"client-ip",
        b"client-verified",
        b"fastly-client-ip",
        b"forwarded",
        b"front-end-https",
        b"ns-client-ip",
        b"original-url",
        b"request-uri",
        b"script-name",
        b"true-client-ip",
        b"user-id",
        b"via",
        b"x-arr-clientcert",
        b"x-arr-ssl",
        b"x-client-dn",
        b"x-client-ip",
        b"x-client-s-dn",
        b"x-client-verify",
        b"x-cluster-client-ip",
        b"x-forwarded",
        b"x-host",
        b"x-http-host-override",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-proxyuser-ip",
        b"x-real-ip",
        b"x-rewrite-url",
        b"x-script-name",
        b"x-sendfile-type",
        b"x-url-scheme",
        b"x-user",
        b"x-userid",
        b"x-username",
        b"x-scheme",
    }
)
_SPOOFABLE_PREFIXES = (
    b"cf-",
    b"client-cert",
    b"gateway-",
    b"iv-",  # IBM WebSEAL
    b"oam-",
    b"proxy-",  # WebLogic's Proxy-Remote-User among them
    b"remote-",
    b"sm-",  # SiteMinder
    b"ssl-",
    b"wl-proxy-",  # WebLogic
    b"x-accel-",
    b"x-amzn-",
    b"x-auth-",
    b"x-authenticated-",
    b"x-client-cert",
    b"x-envoy-",
    b"x-forward-",
    b"x-forwarded-",
    b"x-goog-",
    b"x-ms-client-principal",
    b"x-original-",
    b"x-remote-",
    b"x-ssl-",
    b"x-tls-",
    b"x-user-",
    b"x-webauth-",
)
_NAME = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-")
_REMEMBERED = 4_096
#: Octets; without it one stranger could have 128 MB remembered.
_LONGEST_REMEMBERED = 64


class Fates:
    """The fate of header names, remembered by spelling; bounded, as spellings come from outside."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        #: Spelling to fate; looked into directly on the path of a request.
        self.known: dict[bytes, Fate] = {}

    def decide(self, name: bytes) -> Fate:
        """The fate of ``name``, which was not known yet."""
        fate = fate_of(name)
        if len(self.known) < _REMEMBERED and len(name) <= _LONGEST_REMEMBERED:
            self.known[name] = fate
        return fate


def fate_of(name: bytes) -> Fate:
    """The fate of a header ``name`` in any spelling."""
    lowered = name.lower()
    found = _FATES.get(lowered)
    if found is not None:
        return found
    if lowered.startswith(b"sec-websocket-"):
        return Fate.WEBSOCKET
    if not _NAME.issuperset(lowered) or lowered in _SPOOFABLE or lowered.startswith(_SPOOFABLE_PREFIXES):
        return Fate.DROP
    return Fate.PASS
