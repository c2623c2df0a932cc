"""What is refused for a while after a reissue (clause D.6).

Whoever has talked the bank into a new certificate is to find that money does not move before the customer has had a
chance to notice. Paths are read as those of the guarded login are, in every way that a server could read them: what
could be a named path is refused, and so is what cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterable

from mtls_gateway.config import CoolingOffRule
from mtls_gateway.model import User
from mtls_gateway.signin.guard import Guard, Place
from mtls_gateway.wire.gate import RequestHead


def is_cooling_off(user: User, now: float) -> bool:
    """Whether the rules hold for the user at ``now`` (POSIX seconds); at the moment when it ends they do not."""
    return user.cooling_off_until is not None and now < user.cooling_off_until


class CoolingOff:
    """The rules of one configuration."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[CoolingOffRule]) -> None:
        self._rules = tuple(
            (frozenset(method.encode() for method in rule.methods), Guard(rule.paths)) for rule in rules
        )

    def names(self, head: RequestHead) -> bool:
        """Whether a rule names this request. Headers that would make another method of it are not forwarded."""
        # To a server HEAD is a GET whose answer is cut short.
        sent = {head.method, b"GET"} if head.method == b"HEAD" else {head.method}
        return any(
            (not methods or not methods.isdisjoint(sent)) and guard.place_of(head.target) is not Place.LEGACY
            for methods, guard in self._rules
        )
