"""The one header in which a worker tells the portal what it knows of a request.

``wire`` strips the name from what clients send, in every spelling, and only workers reach the portal's
socket: so the portal may believe it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mtls_gateway.model import CertificateId, Closure, Site, print_serial
from mtls_gateway.signin.shown import Shown
from mtls_gateway.wire.gate import Header

NAME = b"Gateway-Context"


@dataclass(frozen=True, slots=True)
class Context:
    """What the portal is told."""

    site: Site
    address: str
    #: ``admitted`` or a refusal's code.
    verdict: str
    #: The connection's certificate, good or not; None: none was shown.
    shown: Shown | None = None
    user_id: str | None = None
    #: ``live``, ``pending``, ``session_ended`` or ``session_other_certificate``; None: none of this host's was shown.
    session: str | None = None
    browser_supported: bool = True
    #: What closes the service to everybody; None: it is open.
    closure: Closure | None = None
    #: Addresses of the legacy backends that a session may be opened at, the best first; None: any.
    backends: tuple[str, ...] | None = None

    def header(self) -> Header:
        """The header: compact JSON in ASCII, so that no name in it can end the line."""
        verdict = None if self.shown is None else self.shown.verdict
        told: dict[str, object] = {
            "site": self.site.value,
            "address": self.address,
            "verdict": self.verdict,
            "certificate": self._certificate(),
            "user": self.user_id,
            "not_after": None if verdict is None else verdict.not_after,
            "session": self.session,
            "browser": None if self.browser_supported else "unsupported",
        }
        if self.backends is not None:
            told["backends"] = self.backends
        if self.closure is not None:
            told["closure"] = {
                "ends": self.closure.ends,
                "note_ja": self.closure.note_ja,
                "note_en": self.closure.note_en,
            }
        return NAME, json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode("ascii")

    def _certificate(self) -> dict[str, str] | None:
        if self.shown is None:
            return None
        verdict = self.shown.verdict
        # One that cannot be read has neither issuer nor serial, but can still be told from another.
        named = (verdict and verdict.certificate) or CertificateId("", 0)
        return {
            "issuer": named.issuer,
            "serial": print_serial(named.serial),
            "fingerprint": self.shown.peer.fingerprint.hex(),
            "subject": verdict.subject if verdict else "",
        }
