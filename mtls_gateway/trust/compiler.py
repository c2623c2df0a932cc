"""From the CRLs of an authority to its indexes: the checks that compare, and the last good one kept.

Runs where it may take seconds: see ``compile_process``. A list that cannot be used leaves the index in force that was
compiled from its source last; the other lists of the authority are taken all the same (clause C.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtls_gateway.config import Crl
from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.trust.authority import BundledAuthority
from mtls_gateway.trust.crl import CheckedCrl, check_crl
from mtls_gateway.trust.entries import revoked_records
from mtls_gateway.trust.index import IndexHeader, RevocationIndex, write_index

Grouped = list[tuple[CheckedCrl, list[CheckedCrl]]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A list that was not taken."""

    error: TrustMaterialError
    #: What was compiled from its source before stays in force; False: nothing in force speaks for it.
    kept: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """What is to be in force for an authority."""

    #: File names of its indexes; empty: none of its lists could be used, ever.
    files: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def check_all(authority: BundledAuthority, fetched: Mapping[str, bytes], now: float) -> list[CheckedCrl]:
    """Check each CRL of an authority alone; ``fetched`` has the octets by source.

    Raises:
        TrustMaterialError: the first that cannot be used.
    """
    return [_check(authority, settings, fetched[settings.source], now) for settings in authority.settings.crls]


def _check(authority: BundledAuthority, settings: Crl, octets: bytes, now: float) -> CheckedCrl:
    crl = check_crl(octets, settings.source, authority, now)
    if settings.delta and crl.base_number is None:
        raise TrustMaterialError(settings.source, "is a full CRL, but delta = true is configured", "not_a_delta")
    if not settings.delta and crl.base_number is not None:
        raise TrustMaterialError(settings.source, "is a delta CRL; configure it with delta = true", "unasked_delta")
    return crl


def group(crls: Sequence[CheckedCrl]) -> Grouped:
    """Each full CRL with the deltas that belong to it (RFC 5280, section 5.2.4).

    Raises:
        TrustMaterialError: a delta has no base that it may be added to, or two full ones speak of the same.
    """
    grouped, errors = _group(crls)
    if errors:
        raise errors[0]
    return grouped


def _group(crls: Iterable[CheckedCrl]) -> tuple[Grouped, list[TrustMaterialError]]:
    grouped: Grouped = []
    errors = []
    # Full ones first, in whatever order they are configured.
    for crl in sorted(crls, key=lambda one: one.base_number is not None):
        if crl.base_number is None:
            if any(crl.scope == other.scope for other, _ in grouped):
                cause = "speaks of the same certificates as another CRL of its authority"
                errors.append(TrustMaterialError(crl.source, cause, "same_scope"))
            else:
                grouped.append((crl, []))
            continue
        # What completes a list is signed with the same key (RFC 5280, section 6.3.3, (c)).
        found = [(base, deltas) for base, deltas in grouped if base.scope == crl.scope and base.signer == crl.signer]
        if found and crl.base_number <= found[0][0].number:
            base, deltas = found[0]
            # The CA has published a newer full one since: the delta has nothing to add.
            if base.number <= crl.number:
                deltas.append(crl)
        else:
            cause = f"follows base {crl.base_number}, which the full CRL at hand does not reach"
            errors.append(TrustMaterialError(crl.source, cause, "delta_without_base"))
    return grouped, errors


def compile_authority(
    authority: BundledAuthority,
    fetched: Mapping[str, bytes],
    previous: Sequence[RevocationIndex],
    directory: Path,
    now: float,
) -> Compiled:
    """Check what was fetched, compare it with ``previous``, compile it. Nothing in force is touched.

    A source that is not in ``fetched`` could not be fetched: what was compiled from it stays. An index whose CRLs have
    not changed is not compiled again.
    """
    errors: list[TrustMaterialError] = []
    checked = []
    for settings in authority.settings.crls:
        if settings.source in fetched:
            try:
                checked.append(_check(authority, settings, fetched[settings.source], now))
            except TrustMaterialError as error:
                errors.append(error)
    grouped, misfits = _group(checked)
    errors += misfits
    in_force = {base.scope for base, _ in grouped}
    missing = {crl.source for crl in authority.settings.crls if crl.source not in fetched}
    failed = missing | {error.source for error in errors}
    others = [old for old in previous if old.scope not in in_force]
    # What a source gave last still speaks when it gives nothing good now. The rest gives way to lists of other scopes.
    kept = [old for old in others if old.header.sources[0] in failed]
    gone = [old for old in others if old not in kept]
    names = []
    for base, deltas in grouped:
        old = next((index for index in previous if index.scope == base.scope), None)
        try:
            names.append(_compile(authority, base, deltas, old, gone, directory))
        except TrustMaterialError as error:
            errors.append(error)
            if old is not None:
                names.append(old.name)
                continue
            in_force.discard(base.scope)
            kept += gone
            gone = []
    names += [old.name for old in kept]
    in_force |= {old.scope for old in kept}
    spoken_for = {source for old in previous if old.scope in in_force for source in old.header.sources}
    return Compiled(tuple(sorted(names)), tuple(Refusal(error, error.source in spoken_for) for error in errors))


def _compile(
    authority: BundledAuthority,
    base: CheckedCrl,
    deltas: Sequence[CheckedCrl],
    old: RevocationIndex | None,
    gone: Sequence[RevocationIndex],
    directory: Path,
) -> str:
    crls = (base, *deltas)
    header = IndexHeader(
        authority=authority.name,
        issuer=authority.issuer_name,
        sources=tuple(crl.source for crl in crls),
        digests=tuple(crl.digest for crl in crls),
        signers=tuple(crl.signer for crl in crls),
        number=base.number,
        delta_number=max((delta.number for delta in deltas), default=None),
        this_update=max(crl.this_update for crl in crls),
        next_update=min(crl.next_update for crl in crls),
        count=0,
        points=tuple(sorted(base.scope.points)),
        users_only=base.scope.users_only,
        authorities_only=base.scope.authorities_only,
        records="",
    )
    if old is not None:
        if _is_the_same(old.header, header):
            return old.name
        refuse_rollback(old.header, base, deltas)
    else:
        refuse_older_scope([index.header for index in gone], base)
    try:
        return write_index(directory, header, revoked_records(base, deltas)).name
    except OSError as error:
        raise TrustMaterialError(base.source, f"{directory} cannot be written: {error.strerror}", "disk") from error


def _is_the_same(old: IndexHeader, new: IndexHeader) -> bool:
    return (old.issuer, old.sources, old.digests, old.signers) == (new.issuer, new.sources, new.digests, new.signers)


def refuse_rollback(old: IndexHeader, base: CheckedCrl, deltas: Sequence[CheckedCrl]) -> None:
    """A number never goes back, and one number is one list: else a revoked certificate could be let in again.

    Raises:
        TrustMaterialError: with reason ``rolled_back``.
    """
    if base.number < old.number:
        cause = f"has the number {base.number}, but {old.number} is in force"
        raise TrustMaterialError(base.source, cause, "rolled_back")
    if base.number == old.number and base.digest != old.digests[0] and base.this_update <= old.this_update:
        cause = f"has the number {base.number} of the list in force, but other contents and no later date"
        raise TrustMaterialError(base.source, cause, "rolled_back")
    if old.delta_number is None:
        return
    newest = max(deltas, key=lambda delta: delta.number, default=base)
    if newest.number < old.delta_number:
        cause = f"reaches number {newest.number} with its deltas, but {old.delta_number} is in force"
        raise TrustMaterialError(newest.source, cause, "rolled_back")
    if newest.number == old.delta_number and newest.digest not in old.digests and newest.this_update < old.this_update:
        cause = f"has the number {newest.number} of the list in force, but an earlier date"
        raise TrustMaterialError(newest.source, cause, "rolled_back")


def refuse_older_scope(in_force: Iterable[IndexHeader], base: CheckedCrl) -> None:
    """A list whose scope is new must not be older than those in force that it takes the place of.

    Numbers cannot tell: they grow within a scope only (RFC 5280, section 5.2.3). Their dates can.

    Raises:
        TrustMaterialError: with reason ``rolled_back``.
    """
    for old in in_force:
        if base.this_update < old.this_update:
            cause = "speaks of other certificates than the list in force, and is older than that"
            raise TrustMaterialError(base.source, cause, "rolled_back")
