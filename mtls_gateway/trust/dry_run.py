"""What a CRL would do, before it does it (clause C.2): "would cut N signed-in users"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtls_gateway.model import CertificateId
from mtls_gateway.trust.authority import BundledAuthority
from mtls_gateway.trust.compiler import refuse_older_scope, refuse_rollback
from mtls_gateway.trust.crl import check_crl
from mtls_gateway.trust.entries import revoked_serials
from mtls_gateway.trust.index import RevocationIndex


@dataclass(frozen=True, slots=True)
class Holder:
    """A registered certificate of the CRL's issuer."""

    certificate: CertificateId
    user_id: str
    signed_in: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What taking the CRL would do."""

    number: int
    entries: int
    this_update: int
    next_update: int
    #: It would be stale from the start.
    stale: bool
    #: Holders whose certificate it revokes.
    revoked: tuple[Holder, ...]

    @property
    def cut(self) -> tuple[Holder, ...]:
        """Those of them that are signed in now."""
        return tuple(holder for holder in self.revoked if holder.signed_in)


def forecast(
    octets: bytes,
    source: str,
    authority: BundledAuthority,
    in_force: Sequence[RevocationIndex],
    holders: Iterable[Holder],
    now: float,
) -> Forecast:
    """Check a full CRL as the feed would, and say whom it would refuse; nothing is changed.

    Raises:
        TrustMaterialError: it would not be taken; says why.
    """
    base = check_crl(octets, source, authority, now)
    same = next((index.header for index in in_force if index.scope == base.scope), None)
    if same is not None:
        refuse_rollback(same, base, ())
    else:
        # Which lists it would take the place of is not known here: those that it overlaps, at least.
        refuse_older_scope([index.header for index in in_force if index.scope.overlaps(base.scope)], base)
    serials = revoked_serials(base, ())
    revoked = tuple(
        holder
        for holder in holders
        if holder.certificate.issuer == authority.issuer_name and holder.certificate.serial in serials
    )
    return Forecast(
        number=base.number,
        entries=len(serials),
        this_update=base.this_update,
        next_update=base.next_update,
        stale=now >= base.next_update,
        revoked=revoked,
    )
