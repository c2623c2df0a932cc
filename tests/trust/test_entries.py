"""What is taken from a list's DER at once is what the library reads there, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.model import MAXIMUM_SERIAL
from mtls_gateway.trust.crl import CheckedCrl
from mtls_gateway.trust.entries import plain_records, read_entries, revoked_records, revoked_serials
from mtls_gateway.trust.index import record_of
from mtls_gateway.trust.scope import Scope
from tests.trust.altered_der import INTEGER, SEQUENCE, content, elements, encoded
from tests.trust.authority_maker import NOW, Ca, Extension, moment, name_of

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
ROOT = Ca.root("root")
TODAY, LATER = moment(NOW), datetime(2055, 1, 1, tzinfo=UTC)
#: Of every length that a library makes.
SERIALS = [1, 127, *(1 << bits for bits in range(7, 159)), (1 << 159) - 1]
REASONS = list(x509.ReasonFlags)
PLAIN_REASONS = [reason for reason in REASONS if reason is not x509.ReasonFlags.remove_from_crl]
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.9"), b"\5\0")


def entry(serial: int, at: datetime = TODAY, extensions: Sequence[Extension] = ()) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.build()


def der_of(entries: Sequence[x509.RevokedCertificate]) -> bytes:
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=list(entries))
    builder = builder.issuer_name(name_of("root")).last_update(TODAY).next_update(TODAY)
    signed = builder.add_extension(x509.CRLNumber(1), False).sign(ROOT.key, hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


def with_serial(octets: bytes) -> bytes:
    """A list with an entry whose serial is encoded as ``octets``, whatever they are, and another one."""
    signed, *rest = elements(content(der_of([entry(1), entry(2)])))
    fields = elements(content(signed))
    # version, algorithm, issuer, thisUpdate, nextUpdate, entries, extensions
    first, second = elements(content(fields[5]))
    first = encoded(SEQUENCE, encoded(INTEGER, octets) + elements(content(first))[1])
    fields[5] = encoded(SEQUENCE, first + second)
    return encoded(SEQUENCE, encoded(SEQUENCE, b"".join(fields)) + b"".join(rest))


def checked(der: bytes, base_number: int | None = None) -> CheckedCrl:
    """As if its signature had been looked at."""
    crl = x509.load_der_x509_crl(der)
    return CheckedCrl("list", crl, der, "", "", 1, base_number, NOW, NOW, Scope())


def outcome(read: Callable[[], set[bytes]]) -> set[bytes] | str:
    """The records, or the reason of the refusal."""
    try:
        return read()
    except TrustMaterialError as refused:
        return refused.reason


def same_as_the_library(der: bytes, base_number: int | None = None) -> bool:
    """Whether the list is one at all; what is read of it must be what the library reads."""
    try:
        one = checked(der, base_number)
    except (ValueError, x509.InvalidVersion):
        return False
    assert outcome(lambda: set(revoked_records(one, ()))) == outcome(lambda: read_entries(one, set()))
    return True


@pytest.mark.parametrize("at", [TODAY, LATER], ids=["UTCTime", "GeneralizedTime"])
def test_every_length_and_every_reason_is_read_at_once(at: datetime) -> None:
    entries = [entry(serial, at) for serial in SERIALS]
    entries += [entry(serial, at, [(x509.CRLReason(reason), False)]) for reason in PLAIN_REASONS for serial in SERIALS]
    der = der_of(entries)
    assert set(plain_records(der) or ()) == set(map(record_of, SERIALS))
    assert revoked_serials(checked(der), ()) == set(SERIALS)
    assert same_as_the_library(der)


@pytest.mark.parametrize("serial", [1 << 159, MAXIMUM_SERIAL])
def test_a_serial_of_twenty_octets_whose_highest_bit_is_set_is_read_at_once(serial: int) -> None:
    der = with_serial(b"\0" + record_of(serial))
    assert plain_records(der) == [record_of(serial), record_of(2)]
    assert same_as_the_library(der)


@pytest.mark.parametrize("octets", [b"\x01" + bytes(20), b"\xff", b"\x80" + bytes(19)])
def test_a_serial_that_no_certificate_can_have_is_left_to_the_library(octets: bytes) -> None:
    der = with_serial(octets)
    assert plain_records(der) is None
    assert same_as_the_library(der)
    assert outcome(lambda: set(revoked_records(checked(der), ()))) == "malformed"


def test_the_serial_zero_is_read_as_the_library_reads_it() -> None:
    der = with_serial(b"\0")
    assert plain_records(der) == [record_of(0), record_of(2)]
    assert same_as_the_library(der)


def test_a_list_without_entries_has_none() -> None:
    assert plain_records(der_of([])) == []


OTHER_SHAPES: dict[str, Sequence[Extension]] = {
    "removed": [(x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)],
    "a critical reason": [(x509.CRLReason(x509.ReasonFlags.key_compromise), True)],
    "since when it was lost": [(x509.InvalidityDate(datetime(2026, 1, 1)), False)],
    "an unknown extension": [(UNKNOWN, False)],
    "an unknown critical extension": [(UNKNOWN, True)],
    "another issuer": [(x509.CertificateIssuer([x509.DirectoryName(name_of("other"))]), True)],
    "two extensions": [
        (x509.CRLReason(x509.ReasonFlags.superseded), False),
        (x509.InvalidityDate(datetime(2026, 1, 1)), False),
    ],
}


@pytest.mark.parametrize("kind", OTHER_SHAPES)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_entry_of_another_shape_has_the_library_read_the_list(kind: str, place: int) -> None:
    entries = [entry(1), entry(2)]
    entries.insert(place, entry(3, TODAY, OTHER_SHAPES[kind]))
    der = der_of(entries)
    assert plain_records(der) is None
    assert same_as_the_library(der)
    assert same_as_the_library(der, base_number=1)


SMALL = der_of(
    [entry(0x42), entry(1 << 127, TODAY, [(x509.CRLReason(x509.ReasonFlags.superseded), False)]), entry(5, LATER)]
)


def test_whichever_octet_is_altered_it_reads_what_the_library_reads() -> None:
    taken = refused = 0
    for place in range(len(SMALL)):
        for mask in range(1, 256):
            altered = bytearray(SMALL)
            altered[place] ^= mask
            if same_as_the_library(bytes(altered)):
                taken += 1
            else:
                refused += 1
    assert taken > 1_000, "nothing was compared"
    assert refused > 1_000, "nothing was malformed"


ENTRIES = st.builds(
    entry,
    st.integers(1, (1 << 159) - 1),
    st.sampled_from([TODAY, LATER]),
    st.sampled_from([(), *OTHER_SHAPES.values(), *([(x509.CRLReason(reason), False)] for reason in PLAIN_REASONS)]),
)


@given(entries=st.lists(ENTRIES, max_size=6), base_number=st.none() | st.just(1))
def test_whatever_the_entries_it_reads_what_the_library_reads(
    entries: list[x509.RevokedCertificate], base_number: int | None
) -> None:
    assert same_as_the_library(der_of(entries), base_number)


@given(place=st.integers(0, len(SMALL)), cut=st.integers(0, 40), put=st.binary(max_size=40))
def test_whatever_is_cut_out_and_put_in_it_reads_what_the_library_reads(place: int, cut: int, put: bytes) -> None:
    altered = SMALL[:place] + put + SMALL[place + cut :]
    # Where it is a list at all; one that is as it was must be.
    assert same_as_the_library(altered) or altered != SMALL
