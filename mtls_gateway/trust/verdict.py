"""The verdict: ``Accepted`` or ``Refused(code)``. Only this module makes an ``Accepted``.

A verdict holds for a *generation* of revocation lists and until ``good_until``, the first moment at which
anything that it rests on ends: the certificate, a CA of its path, a list that must not be stale. Whoever
keeps a verdict compares the two on every use; that is all that a request pays.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from mtls_gateway.model import CertificateId, Code, PeerCertificate
from mtls_gateway.trust.bundle import Bundle
from mtls_gateway.trust.chain import Examined, Examiner, Rejected
from mtls_gateway.trust.revocation import Revocation
from mtls_gateway.trust.status import Status

_LOG = logging.getLogger(__name__)
#: When no path is good: of several causes, the one that says most comes first.
_TELLING = (Code.CERTIFICATE_REVOKED, Code.REVOCATION_UNKNOWN, Code.ISSUER_UNKNOWN)
#: Certificates whose examination is kept: at about 2 KB each.
_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """A certificate that is good now."""

    certificate: CertificateId
    subject: str
    #: POSIX seconds; the last good second of the certificate.
    not_after: int
    #: POSIX seconds; the first moment at which the verdict holds no longer.
    good_until: float
    generation: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A certificate that is not good now, and what its page says of it."""

    code: Code
    certificate: CertificateId | None = None
    subject: str = ""
    not_before: int | None = None
    not_after: int | None = None


class Judge:
    """Judges client certificates for one worker. Synchronous; touches memory only."""

    __slots__ = ("_bundle", "_examined", "_examiner", "_revocation")

    def __init__(self, bundle: Bundle, revocation: Revocation) -> None:
        self._bundle = bundle
        self._examiner = Examiner(bundle)
        self._revocation = revocation
        #: The oldest first. A plain dict would go over all that were ever put out to find it.
        self._examined: OrderedDict[bytes, Examined | Rejected] = OrderedDict()

    @property
    def revocation(self) -> Revocation:
        """The lists in force."""
        return self._revocation

    @property
    def generation(self) -> int:
        """Which revocation lists are in force; a verdict of another generation must be asked for again."""
        return self._revocation.generation

    def take(self, revocation: Revocation) -> None:
        """Put newer revocation lists in force: every verdict of an older generation ends."""
        self._revocation = revocation

    def revoked_among(self, certificates: Iterable[CertificateId]) -> list[CertificateId]:
        """Those of ``certificates`` that the lists in force revoke."""
        return [certificate for certificate in certificates if self._revocation.is_revoked(certificate)]

    def judge(self, peer: PeerCertificate, now: float) -> Accepted | Refused:
        """Is ``peer`` good at ``now`` (POSIX seconds)? Nothing is raised: what goes wrong refuses."""
        try:
            return self._judge(peer, now)
        except Exception:
            _LOG.exception("a certificate was refused because its judgement failed")
            return Refused(Code.CERTIFICATE_MALFORMED)

    def _judge(self, peer: PeerCertificate, now: float) -> Accepted | Refused:
        examined = self._examined.get(peer.fingerprint)
        if examined is None:
            examined = self._examiner.examine(peer.der)
            if len(self._examined) >= _KEPT:
                self._examined.popitem(last=False)
            self._examined[peer.fingerprint] = examined
        if isinstance(examined, Rejected):
            return Refused(examined.code, subject=examined.subject, not_after=examined.not_after)
        if now < examined.not_before:
            return _refuse(examined, Code.CERTIFICATE_NOT_YET_VALID)
        if now >= examined.not_after + 1:
            return _refuse(examined, Code.CERTIFICATE_EXPIRED)
        status = Status(self._bundle, self._revocation, now)
        along = [
            status.along(path, examined.identifier.serial, examined.distribution_points) for path in examined.paths
        ]
        good = [until for until in along if not isinstance(until, Code)]
        if not good:
            return _refuse(examined, min((code for code in along if isinstance(code, Code)), key=_TELLING.index))
        return Accepted(
            certificate=examined.identifier,
            subject=examined.subject,
            not_after=examined.not_after,
            good_until=min(float(examined.not_after + 1), max(good)),
            generation=self._revocation.generation,
        )


def _refuse(examined: Examined, code: Code) -> Refused:
    return Refused(code, examined.identifier, examined.subject, examined.not_before, examined.not_after)
