"""What a checked CRL revokes, as the records of an index.

The library reads entries one by one and makes objects of each, which is most of what a large list costs. Entries of
the plain shapes, which are nearly all there are, are taken from the DER at once instead; where a list has a single
entry of another shape, all of it is read by the library. The library has parsed every entry before
(``crl.check_crl``): what is malformed does not come here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable

from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.model import MAXIMUM_SERIAL
from mtls_gateway.trust.crl import CheckedCrl
from mtls_gateway.trust.der import GENERALIZED_TIME, SEQUENCE, UTC_TIME, content_of
from mtls_gateway.trust.index import RECORD, record_of

_UNDERSTOOD = frozenset({CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE})
#: Octets of a serial that is an index's record, and of one whose highest bit is set: it has a zero before it.
_LONGEST = RECORD + 1
#: crlEntryExtensions with a reasonCode that is not critical and not removeFromCRL (RFC 5280, section 5.3.1).
_REASON = bytes.fromhex("300c300a0603551d1504030a01")
_REASONS = rb"[\x00-\x06\x09\x0a]"


def revoked_records(base: CheckedCrl, deltas: Iterable[CheckedCrl]) -> Collection[bytes]:
    """The record of every revoked serial of a full CRL and the deltas that follow it, in the order of their numbers.

    In any order; a serial that a list names twice may be there twice.

    Raises:
        TrustMaterialError: an entry has a critical extension that is not known, or a serial of over 20 octets.
    """
    following = sorted(deltas, key=lambda delta: delta.number)
    plain = plain_records(base.der)
    if not following and plain is not None:
        return plain
    records = read_entries(base, set()) if plain is None else set(plain)
    for delta in following:
        plain = plain_records(delta.der)
        if plain is None:
            read_entries(delta, records)
        else:
            records.update(plain)
    return records


def revoked_serials(base: CheckedCrl, deltas: Iterable[CheckedCrl]) -> set[int]:
    """The same as numbers.

    Raises:
        TrustMaterialError: as :func:`revoked_records`.
    """
    return {int.from_bytes(record, "big") for record in revoked_records(base, deltas)}


def plain_records(der: bytes) -> list[bytes] | None:
    """The records of a CRL that the library has parsed; None: it has an entry of another than the plain shapes."""
    start, end = _place_of_entries(der)
    entries = _plain_entry().findall(der, start, end)
    # What is between two matches would be missing here.
    if sum(map(len, entries)) != end - start:
        return None
    return [entry[4 : 4 + entry[3]][-RECORD:].rjust(RECORD, b"\0") for entry in entries]


@functools.cache
def _plain_entry() -> re.Pattern[bytes]:
    """SEQUENCE of serial, revocation date and nothing else, or a reason that is not removeFromCRL.

    Each length stands beside the one that it must agree with, so that nothing is matched that DER would divide in
    another way.
    """
    shapes = []
    # The usual lengths first: they are tried in this order.
    for octets in (*range(16, _LONGEST + 1), *range(15, 0, -1)):
        # Not negative; of 21 octets the first is zero.
        serial = rb"\x00.{20}" if octets == _LONGEST else rb"[\x00-\x7f].{%d}" % (octets - 1)
        for tag, digits in ((UTC_TIME, 12), (GENERALIZED_TIME, 14)):
            date = rb"\x%02x\x%02x[0-9]{%d}Z" % (tag, digits + 1, digits)
            for reason, more in ((b"", 0), (re.escape(_REASON) + _REASONS, len(_REASON) + 1)):
                length = 2 + octets + 2 + digits + 1 + more
                shapes.append(rb"\x%02x\x02\x%02x" % (length, octets) + serial + date + reason)
    return re.compile(rb"\x30(?:%s)" % b"|".join(shapes), re.DOTALL)


def _place_of_entries(der: bytes) -> tuple[int, int]:
    """Where the content of ``revokedCertificates`` begins and ends: the first SEQUENCE after thisUpdate."""
    place, _ = content_of(der, 0)
    place, end = content_of(der, place)
    dated = False
    while place < end:
        start, stop = content_of(der, place)
        if dated and der[place] == SEQUENCE:
            return start, stop
        dated = dated or der[place] in (UTC_TIME, GENERALIZED_TIME)
        place = stop
    return end, end


def read_entries(checked: CheckedCrl, records: set[bytes]) -> set[bytes]:
    """Add to ``records`` what the list revokes, and take away what it removes; the library reads each entry.

    Raises:
        TrustMaterialError: as :func:`revoked_records`.
    """
    try:
        for entry in checked.crl:
            serial = entry.serial_number
            if not 0 <= serial <= MAXIMUM_SERIAL:
                raise TrustMaterialError(checked.source, "has a serial of more than 20 octets", "malformed")
            if _is_removed(checked, entry):
                records.discard(record_of(serial))
            else:
                records.add(record_of(serial))
    except TrustMaterialError:
        raise
    except Exception as error:  # entries are parsed one by one, by a library that raises several kinds
        raise TrustMaterialError(checked.source, f"has an entry that cannot be read: {error}", "malformed") from error
    return records


def _is_removed(checked: CheckedCrl, entry: x509.RevokedCertificate) -> bool:
    """Whether the entry of a delta takes the serial off the full CRL (RFC 5280, section 5.2.4)."""
    removed = False
    for extension in entry.extensions:
        if extension.oid == CRLEntryExtensionOID.CERTIFICATE_ISSUER:
            raise TrustMaterialError(
                checked.source, "has entries of another issuer: not supported", "unsupported_scope"
            )
        if extension.critical and extension.oid not in _UNDERSTOOD:
            cause = f"has a critical entry extension that is not known: {extension.oid.dotted_string}"
            raise TrustMaterialError(checked.source, cause, "unknown_extension")
        value = extension.value
        if isinstance(value, x509.CRLReason) and value.reason is x509.ReasonFlags.remove_from_crl:
            removed = True
    if removed and checked.base_number is None:
        raise TrustMaterialError(checked.source, "removes an entry though it is no delta", "malformed")
    return removed
