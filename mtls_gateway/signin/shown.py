"""A certificate that open connections have shown, and what ``trust`` last said of it.

Shared by all connections that show the same one: judged once for all, and found again when a
revocation list arrives.
"""

from __future__ import annotations

from mtls_gateway.model import CertificateId, Code, PeerCertificate
from mtls_gateway.trust.verdict import Accepted, Judge, Refused


class Shown:
    """One certificate; possession was proven, nothing more."""

    __slots__ = ("__weakref__", "accepted_as", "peer", "verdict")

    def __init__(self, peer: PeerCertificate) -> None:
        self.peer = peer
        #: What was said last, for pages; None: nothing yet. Only :meth:`judge` knows whether it still holds.
        self.verdict: Accepted | Refused | None = None
        #: What connections may have been admitted with, whatever was said of it since.
        self.accepted_as: CertificateId | None = None

    def judge(self, judge: Judge, now: float) -> Accepted | Code:
        """What ``trust`` says at ``now`` (POSIX seconds), asked anew only when it may have changed its mind."""
        verdict = self.verdict
        if isinstance(verdict, Accepted) and verdict.generation == judge.generation and now < verdict.good_until:
            return verdict
        self.verdict = verdict = judge.judge(self.peer, now)
        if isinstance(verdict, Accepted):
            self.accepted_as = verdict.certificate
            return verdict
        return verdict.code
