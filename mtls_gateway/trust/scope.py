"""Which certificates of its issuer a CRL speaks of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """An ``issuingDistributionPoint`` (RFC 5280, section 5.2.5), as far as it is supported."""

    #: Distribution points by URI; empty: all.
    points: frozenset[str] = frozenset()
    users_only: bool = False
    authorities_only: bool = False

    def covers(self, points: frozenset[str], *, authority: bool) -> bool:
        """Whether a certificate that names ``points`` is spoken of."""
        if (self.users_only and authority) or (self.authorities_only and not authority):
            return False
        return not self.points or bool(self.points & points)

    def overlaps(self, other: Scope) -> bool:
        """Whether some certificate may be spoken of by both."""
        if (self.users_only and other.authorities_only) or (self.authorities_only and other.users_only):
            return False
        return not self.points or not other.points or bool(self.points & other.points)
