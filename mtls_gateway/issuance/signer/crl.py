"""A full CRL (RFC 5280, section 5), of millions of entries without holding them: they go to a file as they come.

Its issuingDistributionPoint is left out: it covers everything that its issuer has issued.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509

from mtls_gateway.errors import SignerRefused
from mtls_gateway.issuance.orders import RevokedEntry
from mtls_gateway.issuance.signer import der
from mtls_gateway.issuance.signer.issuing import IssuingCa
from mtls_gateway.issuance.signer.listed import Comparison
from mtls_gateway.model import MAXIMUM_SERIAL

_VERSION_2 = der.integer(1)
_EXTENSIONS = 0
#: What one read or one frame of the finished CRL has.
_PIECE = 256 * 1024
_SKEW = 60

#: Encoded crlEntryExtensions by reason; "unspecified" is left out (RFC 5280, section 5.3.1).
_REASONS = {
    reason.value: b""
    if reason is x509.ReasonFlags.unspecified
    else der.sequence(der.extension(x509.CRLReason(reason), critical=False))
    for reason in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}
_date = lru_cache(4_096)(der.time)


@dataclass(frozen=True, slots=True)
class CrlLimits:
    """What the bank has chosen; times in seconds."""

    backdating: float
    longest: float
    entries: int


@dataclass(frozen=True, slots=True)
class CrlHead:
    """A CRL but for its entries; times are whole POSIX seconds."""

    issuer: str
    number: int
    this_update: int
    next_update: int


def check_head(head: CrlHead, issuer: IssuingCa, limits: CrlLimits, now: float) -> None:
    """Hold what is said of a CRL against the rules; ``now`` is POSIX seconds. Its number is the journal's to compare.

    Raises:
        SignerRefused: names the rule.
    """
    if not 0 < head.number < 1 << 63:
        raise SignerRefused("crl_number", "a CRL's number is positive and less than 2^63")
    if head.this_update < now - limits.backdating:
        raise SignerRefused("begins_too_early", f"it begins more than {limits.backdating:g} seconds ago")
    if head.this_update > now + _SKEW:
        raise SignerRefused("begins_in_the_future", "it begins in the future; compare the clocks")
    if not 0 < head.next_update - head.this_update <= limits.longest:
        raise SignerRefused("crl_validity", f"its next update comes within {limits.longest:g} seconds after this one")
    if head.this_update < issuer.begins:
        raise SignerRefused("outlives_issuer", f"it is older than its issuer {issuer.name}")


class CrlDraft:
    """A CRL while its entries come in. Not for several threads at once."""

    def __init__(
        self,
        head: CrlHead,
        issuer: IssuingCa,
        limits: CrlLimits,
        directory: Path,
        comparison: Comparison | None = None,
    ) -> None:
        """Its entries go to a file without a name in ``directory``, and into ``comparison`` with the last list."""
        self.head = head
        self.issuer = issuer
        self._comparison = comparison
        self._limits = limits
        self._spool = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed by close()
        self._length = 0
        self._entries = 0
        self._last_serial = 0
        self._before = self._after = b""

    def close(self) -> None:
        """Give the file back."""
        self._spool.close()

    @property
    def entries(self) -> int:
        """How many have come in."""
        return self._entries

    def add(self, entries: Sequence[RevokedEntry]) -> None:
        """Take the next entries.

        Raises:
            SignerRefused: names the rule: they do not come by rising serials, are too many, or one is none.
        """
        if self._entries + len(entries) > self._limits.entries:
            raise SignerRefused("crl_too_many_entries", f"a CRL has at most {self._limits.entries} entries")
        pieces: list[bytes] = []
        last, latest = self._last_serial, self.head.this_update + _SKEW
        for serial, at, reason in entries:
            if not last < serial <= MAXIMUM_SERIAL:
                cause = (
                    "serials are positive, come in rising order and none twice"
                    if serial <= last
                    else "a serial is too long"
                )
                raise SignerRefused("crl_serial", cause)
            if not 0 <= at <= latest:
                raise SignerRefused("crl_entry", "a certificate was revoked before the CRL begins")
            last = serial
            pieces.append(der.sequence(der.integer(serial), _date(int(at)), _REASONS[reason]))
        octets = b"".join(pieces)
        self._spool.write(octets)
        if self._comparison is not None:
            self._comparison.take([(serial, at) for serial, at, _ in entries])
        self._length += len(octets)
        self._entries += len(entries)
        self._last_serial = last

    def digest(self) -> bytes:
        """All entries have come: the digest that is to be signed."""
        if self._comparison is not None:
            self._comparison.finish()
        superior = self.issuer.superior
        body_before = b"".join(
            (
                _VERSION_2,
                superior.algorithm.identifier,
                superior.subject.public_bytes(),
                der.time(self.head.this_update),
                der.time(self.head.next_update),
                # An empty list is left out (RFC 5280, section 5.1.2.6).
                der.sequence_header(self._length) if self._length else b"",
            )
        )
        identifier = x509.AuthorityKeyIdentifier(superior.key_identifier, None, None)
        extensions = der.sequence(
            der.extension(identifier, critical=False), der.extension(x509.CRLNumber(self.head.number), critical=False)
        )
        self._after = der.explicit(_EXTENSIONS, extensions)
        self._before = der.sequence_header(len(body_before) + self._length + len(self._after)) + body_before
        computation = superior.algorithm.digest()
        for piece in self._to_be_signed():
            computation.update(piece)
        return computation.finalize()

    def finished(self, signature: bytes) -> Iterator[bytes]:
        """DER of the CRL, in pieces, once :meth:`digest` was taken and signed."""
        end = self.issuer.superior.algorithm.identifier + der.bit_string(signature)
        yield der.sequence_header(len(self._before) + self._length + len(self._after) + len(end))
        yield from self._to_be_signed()
        yield end

    def _to_be_signed(self) -> Iterator[bytes]:
        yield self._before
        self._spool.seek(0)
        while piece := self._spool.read(_PIECE):
            yield piece
        yield self._after
