"""What one page lets another do a little later, in the same browser: a signed note, good for a short while."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping

from mtls_gateway.clock import Clock
from mtls_gateway.signin.instance_secret import derive

_LONGEST = 1_024


class Tickets:
    """Makes and reads the tickets of one instance; they hold no secrets, and are worth nothing in another browser."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._key = derive(secret, "portal ticket")
        self._clock = clock

    def make(self, binding: str, purpose: str, facts: Mapping[str, str | float | None], *, seconds: float) -> str:
        """A ticket for the browser that has the binding cookie ``binding``, see ``form_tokens``."""
        note = {"purpose": purpose, "until": self._clock.now() + seconds, "facts": dict(facts)}
        text = base64.urlsafe_b64encode(json.dumps(note, separators=(",", ":")).encode()).decode()
        return f"{text}.{self._tag(binding, text)}"

    def read(self, ticket: str, binding: str, purpose: str) -> Mapping[str, str | float | None] | None:
        """Its facts; None: it is over, another browser's, or for something else."""
        text, _, tag = ticket.partition(".")
        if len(ticket) > _LONGEST or not hmac.compare_digest(tag.encode(), self._tag(binding, text).encode()):
            return None
        try:
            note = json.loads(base64.urlsafe_b64decode(text))
        except (binascii.Error, ValueError):
            return None
        if note["purpose"] != purpose or self._clock.now() >= note["until"]:
            return None
        facts: Mapping[str, str | float | None] = note["facts"]
        return facts

    def _tag(self, binding: str, text: str) -> str:
        digest = hmac.digest(self._key, f"{binding}\n{text}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
