"""Is one certificate of a path revoked, as far as the lists in force can say? (RFC 5280, section 6.3.3)"""

from __future__ import annotations

from dataclasses import dataclass

from mtls_gateway.model import CertificateId, Code
from mtls_gateway.trust.authority import BundledAuthority
from mtls_gateway.trust.bundle import Bundle, same_anchor
from mtls_gateway.trust.index import RevocationIndex
from mtls_gateway.trust.paths import Path
from mtls_gateway.trust.revocation import Revocation

NEVER = float("inf")
_NOT_NOW = float("-inf")


@dataclass(frozen=True, slots=True)
class Status:
    """What the lists of one generation say at one moment; POSIX seconds."""

    bundle: Bundle
    revocation: Revocation
    now: float

    def along(
        self,
        path: Path,
        serial: int,
        points: frozenset[str],
        *,
        is_authority: bool = False,
        believed: frozenset[str] = frozenset(),
    ) -> float | Code:
        """Until when a path is good for the certificate below it, or why it is not.

        ``serial``, ``points`` and ``is_authority`` are that certificate's; for ``believed`` see below.
        """
        good_until = NEVER
        for authority in path:
            if not authority.begins <= self.now < authority.ends:
                return Code.ISSUER_UNKNOWN
            status = self._of(authority, path[-1], serial, points, is_authority, believed)
            if isinstance(status, Code):
                return status
            good_until = min(good_until, authority.ends, status)
            serial, points, is_authority = authority.certificate.serial_number, authority.points, True
        return good_until

    def _of(
        self,
        issuer: BundledAuthority,
        anchor: BundledAuthority,
        serial: int,
        points: frozenset[str],
        is_authority: bool,
        believed: frozenset[str],
    ) -> float | Code:
        if self.revocation.is_revoked(CertificateId(issuer.issuer_name, serial)):
            return Code.CERTIFICATE_REVOKED
        settings = issuer.settings
        if settings.revocation == "none":
            return NEVER
        good_until, covered = NEVER, False
        for index in self.revocation.of(issuer.name):
            if index.header.issuer != issuer.issuer_name or not index.scope.covers(points, authority=is_authority):
                continue
            covered = True
            good_until = min(good_until, self._signed_until(index, issuer, anchor, believed))
            if settings.stale != "accept":
                stale = float(index.header.next_update) + (settings.grace if settings.stale == "grace" else 0.0)
                good_until = min(good_until, stale)
        if not covered or self.now >= good_until:
            return Code.REVOCATION_UNKNOWN
        return good_until

    def _signed_until(
        self, index: RevocationIndex, issuer: BundledAuthority, anchor: BundledAuthority, believed: frozenset[str]
    ) -> float:
        """Until when those who signed a list may sign for ``issuer``; minus infinity: they may not now.

        The issuer's own key may, because it is judged as part of the path. Another key of the CA needs a path of its
        own to the same anchor. A key that is being looked at is ``believed``, else a list that it has signed over its
        own certificate could never be used; that it is revoked has been looked for all the same.
        """
        good_until = NEVER
        for key in index.header.signers:
            if key == issuer.key_digest or key in believed:
                continue
            ways = self.bundle.ways_of_signer(issuer, key)
            good = [self._way_until(way, believed | {key}) for way in ways if same_anchor(way[-1], anchor)]
            good_until = min(good_until, max(good, default=_NOT_NOW))
        return good_until

    def _way_until(self, way: Path, believed: frozenset[str]) -> float:
        signer = way[0]
        if not signer.begins <= self.now < signer.ends:
            return _NOT_NOW
        if signer.anchor:
            return signer.ends
        serial, points = signer.certificate.serial_number, signer.points
        status = self.along(way[1:], serial, points, is_authority=True, believed=believed)
        return _NOT_NOW if isinstance(status, Code) else min(signer.ends, status)
