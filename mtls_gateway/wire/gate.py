"""What ``wire`` asks before it forwards a request, and what it may be answered.

``wire`` makes a :class:`Peer` once per connection and asks the gate for a :class:`Visitor`; the
visitor is asked for an :class:`Admission` for each request. In the steady state the answer is
immediate; only where the store must be asked it is awaitable. Whatever the visitor raises refuses
the request with 500: nothing is forwarded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mtls_gateway.model import PeerCertificate, Site
from mtls_gateway.wire.share import Share

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Peer:
    """One client connection after its handshake: what was proven, nothing more."""

    site: Site
    address: str
    port: int
    #: Possession was proven; *not* trusted. None: none was asked for, or none was given.
    certificate: PeerCertificate | None
    tls_version: str
    cipher: str
    resumed: bool


class RequestHead:
    """One request's head after every refusal of ``wire.head`` was passed.

    ``target`` is in origin-form (starts with ``/``). ``headers`` are those that may be forwarded, in order,
    names as sent. ``cookies`` are the values of every ``Cookie`` header, joined.
    """

    __slots__ = (
        "body",
        "cookies",
        "expects_continue",
        "headers",
        "http_1_0",
        "keep_alive",
        "length",
        "method",
        "origin",
        "referer",
        "target",
        "upgrade",
        "user_agent",
        "wants_html",
        "written",
    )

    method: bytes
    target: bytes
    headers: list[Header]
    cookies: bytes
    user_agent: bytes
    #: The Accept header admits text/html, i.e. a person is likely to look at the answer.
    wants_html: bool
    #: Body length: 0 none, > 0 octets, -1 chunked.
    length: int
    keep_alive: bool
    #: ``b"websocket"`` when the client asks for it properly, else b"".
    upgrade: bytes
    expects_continue: bool
    http_1_0: bool
    #: ``headers`` as lines of a message where they are known as such already, else None.
    written: bytes | None
    #: The whole body without its framing, once it was :class:`Unread`; set only for a head whose ``length`` is not 0.
    body: bytes | None
    #: As sent, b"" when absent; how they are forwarded is ``config.Seen.origin``'s.
    origin: bytes
    referer: bytes


class CookieSeal(Protocol):
    """Binds the legacy session's cookies to the gateway's session (see ``signin.seal``)."""

    def open_header(self, cookies: bytes) -> bytes:
        """The ``Cookie`` value for the backend: sealed ones opened, forged ones and the gateway's own dropped."""
        ...

    def seal_header(self, set_cookie: bytes) -> bytes:
        """A backend's ``Set-Cookie`` value as the browser gets it: sealed where it carries the legacy session."""
        ...


class Route(str, Enum):
    """Where an admitted request goes."""

    LEGACY = "legacy"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class Forward:
    """Let it pass.

    ``until`` (POSIX seconds) is when this admission ends by itself: the certificate's or session's last
    second. A transfer or tunnel under way is cut then, and whenever one of ``bound`` is cut.
    """

    route: Route
    seal: CookieSeal
    #: Added after every header that could be taken for them was stripped.
    headers: tuple[Header, ...] = ()
    bound: tuple[Hashable, ...] = ()
    until: float = float("inf")
    #: Replaces the request's target (the portal only).
    target: bytes | None = None
    #: For the access log and metrics: ``admitted`` or a refusal's code.
    verdict: str = "admitted"
    #: Held against ``limits.backend_connections_per_session``; None: no session, or not the legacy backend.
    share: Share | None = None
    #: The address of the backend that the session lives on; "": none.
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Do not let it pass: show this page of the portal instead (GET ``target``, with ``headers``)."""

    target: bytes
    headers: tuple[Header, ...]
    verdict: str
    close: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """Do not let it pass: 303 to ``location``; ``close``: on another connection than this."""

    location: bytes
    verdict: str
    close: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not let it pass, and answer with the built-in page of ``status``."""

    status: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Unread:
    """It depends on what is sent: collect the body, up to ``limits.guarded_body_octets``, and ask again.

    Only for a request that has one, and whose ``head.body`` is None.
    """

    verdict: str = "unread"


Admission = Forward | Page | Redirect | Refuse | Unread


class Visitor(Protocol):
    """One connection's side of the gate."""

    def admit(self, head: RequestHead) -> Admission | Awaitable[Admission]:
        """May this request pass?

        What is awaitable is cancelled when the client leaves first: shield what others wait for too.
        """
        ...


class Gate(Protocol):
    """Made by ``signin``, given to ``wire`` by the composition root."""

    def recognise(self, der: bytes) -> PeerCertificate:
        """The certificate of this encoding: one and the same for all open connections that have shown it."""
        ...

    def greet(self, peer: Peer) -> Visitor:
        """A new connection has finished its handshake."""
        ...

    def must_ask_again(self, address: str) -> bool:
        """Whether a peer at ``address`` has lately asked to choose another certificate.

        Its next handshakes at the certificate host then use a context that resumes nothing and
        ends in a certificate alert for a certificate that :meth:`is_unwanted`.
        """
        ...

    def must_show_one(self, address: str) -> bool:
        """Whether that peer asked after it had shown no certificate: showing none is answered with an alert too."""
        ...

    def is_unwanted(self, address: str, certificate: PeerCertificate) -> bool:
        """Whether that peer asked to choose another certificate than this one."""
        ...
