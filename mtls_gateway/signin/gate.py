"""Who may pass: the gate that ``wire`` asks, built of everything else in this room.

Answers, in order (what comes first wins):

=====================================================  ==============================================
the changes feed has been silent for too long          503
the path cannot be read in one way                     400
the bank has closed the service                        the page of the closure's code; 503 where none is wanted
a page of the portal                                   forwarded to it, with what is known
certificate host, no good and registered certificate   the page of the refusal's code
the legacy backend's own login, by path or parameter   the page ``legacy_login_guarded``
a live session, the legacy backend's sign-out          the portal's sign-out
a live session, within the cooling-off after a         the page ``cooling_off``; 403 where no page is wanted
reissue, and what its rules name
a live session                                         forwarded to the legacy backend; where a form's fields may
                                                       be the login, once it was read: 415 if it cannot be
a public path                                          forwarded without the legacy session's cookies
another certificate's session, or one that may no      the page of the code; 403 where no page is wanted
longer be used
no session                                             certificate host: to the password page;
                                                       public host: the sign-in page; a form that is posted is
                                                       lost, and led there too; 401 where no page is wanted
=====================================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

from mtls_gateway import metrics
from mtls_gateway.clock import Clock
from mtls_gateway.config import Configuration, Host
from mtls_gateway.model import PeerCertificate, Site
from mtls_gateway.signin.another_certificate import PROBE
from mtls_gateway.signin.browsers import BrowserTable
from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.cooling_off import CoolingOff
from mtls_gateway.signin.guard import Guard
from mtls_gateway.signin.knowledge import Knowledge
from mtls_gateway.signin.seal import NoSessionSeal, PortalSeal
from mtls_gateway.signin.shown import Shown
from mtls_gateway.signin.token import Token, Tokens
from mtls_gateway.signin.visitor import Admitted, Visitor
from mtls_gateway.trust.verdict import Judge
from mtls_gateway.wire.gate import Peer


class Gate:
    """``wire.gate.Gate`` for one worker."""

    def __init__(
        self, configuration: Configuration, judge: Judge, knowledge: Knowledge, secret: bytes, clock: Clock
    ) -> None:
        """``secret`` is the instance secret, see ``signin.instance_secret``."""
        legacy = configuration.legacy
        self.judge = judge
        self.knowledge = knowledge
        self.clock = clock
        self.seen = legacy.seen
        self.prefix = configuration.pages.prefix
        self.static = f"{self.prefix}static/".encode()
        self.probe = f"{self.prefix}{PROBE}".encode()
        self.guard = Guard(
            legacy.guarded,
            public=legacy.public_paths,
            sign_out=legacy.sign_out.watched if legacy.sign_out is not None else (),
            prefix=self.prefix,
        )
        self.cooling_off = CoolingOff(configuration.cooling_off.rules)
        self.browsers = BrowserTable(configuration.browsers)
        self.portal_seal = PortalSeal()
        self.no_session_seal = NoSessionSeal(CookieNames(legacy.session_cookies, configuration.sessions.cookie))
        self.backends = legacy.backends
        #: Addresses of backends for a new session, the best first; the composition root knows whom to ask.
        self.preferred_backends: Callable[[], tuple[str, ...]] = lambda: legacy.backends
        self._hosts = {Site.PUBLIC: configuration.public, Site.CERTIFICATE: configuration.certificate}
        self._tokens = Tokens(secret)
        self._cookie = configuration.sessions.cookie.encode("ascii")
        self._shown: WeakValueDictionary[bytes, Shown] = WeakValueDictionary()
        #: Requests admitted in the steady state, and all others by site and verdict, since they were last added up.
        self._admitted = {site: Admitted() for site in Site}
        self._verdicts: dict[tuple[Site, str], int] = {}

    def recognise(self, der: bytes) -> PeerCertificate:
        """The certificate of this encoding: one and the same for all open connections that have shown it."""
        certificate = PeerCertificate(der)
        shown = self._shown.get(certificate.fingerprint)
        return certificate if shown is None else shown.peer

    def greet(self, peer: Peer) -> Visitor:
        """A new connection has finished its handshake."""
        shown = None if peer.certificate is None else self._shown_by(peer.certificate)
        return Visitor(self, peer, shown, self._admitted[peer.site])

    def must_ask_again(self, address: str) -> bool:
        """Whether a peer at ``address`` has lately asked to choose another certificate."""
        return self.knowledge.unwanted.must_ask_again(address)

    def must_show_one(self, address: str) -> bool:
        """Whether that peer asked after it had shown no certificate."""
        return self.knowledge.unwanted.is_unwanted(address, None)

    def is_unwanted(self, address: str, certificate: PeerCertificate) -> bool:
        """Whether that peer asked to choose another certificate than this one."""
        return self.knowledge.unwanted.is_unwanted(address, certificate)

    def host(self, site: Site) -> Host:
        """The host of a site."""
        return self._hosts[site]

    def token(self, cookies: bytes) -> Token | None:
        """The session token in a ``Cookie`` header; None: there is none of this instance's, or more than one."""
        if self._cookie not in cookies:
            return None
        found = []
        for pair in cookies.split(b";"):
            name, _, value = pair.strip(b" \t").partition(b"=")
            if name == self._cookie:
                found.append(value)
        # No browser has two cookies of a __Host- name: somebody else put one there.
        return self._tokens.read(found[0]) if len(found) == 1 else None

    def shown(self) -> list[Shown]:
        """The certificates that open connections have shown."""
        return list(self._shown.values())

    def count(self, site: Site, verdict: str) -> None:
        """Count a request outside the steady state."""
        key = (site, verdict)
        self._verdicts[key] = self._verdicts.get(key, 0) + 1

    def add_up(self) -> None:
        """Bring ``mtls_gateway_admissions_total`` up to date; once a second."""
        for site, admitted in self._admitted.items():
            if admitted.count:
                self._verdicts[site, "admitted"] = self._verdicts.get((site, "admitted"), 0) + admitted.count
                admitted.count = 0
        verdicts, self._verdicts = self._verdicts, {}
        for (site, verdict), count in verdicts.items():
            metrics.ADMISSIONS.labels(site.value, verdict).inc(count)

    def _shown_by(self, certificate: PeerCertificate) -> Shown:
        shown = self._shown.get(certificate.fingerprint)
        if shown is None:
            shown = self._shown[certificate.fingerprint] = Shown(certificate)
        return shown
