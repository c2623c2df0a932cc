"""Whose connection it is that a balancer hands on: read exactly, or refused."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_gateway.wire.proxy_header import (
    FIXED_OCTETS,
    SIGNATURE,
    HeaderRefused,
    check_beginning,
    crc32c,
    octets_of,
    read_header,
)

CLIENT = ipaddress.ip_address("203.0.113.77")
GATEWAY = ipaddress.ip_address("192.0.2.1")
WIDE = ipaddress.ip_address("2001:db8::77")


def header(
    family: int = 0x11, block: bytes | None = None, *, command: int = 0x21, extensions: bytes = b"", length: int = -1
) -> bytes:
    if block is None:
        block = CLIENT.packed + GATEWAY.packed + bytes((200, 1, 1, 187))
    rest = block + extensions
    return SIGNATURE + bytes((command, family)) + (len(rest) if length < 0 else length).to_bytes(2, "big") + rest


def extension(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def with_checksum(extensions: bytes = b"", *, after: bytes = b"") -> bytes:
    blank = header(extensions=extensions + extension(3, bytes(4)) + after)
    end = len(blank) - len(after)
    return blank[: end - 4] + crc32c(blank).to_bytes(4, "big") + blank[end:]


def refusal(octets: bytes) -> str:
    with pytest.raises(HeaderRefused) as caught:
        read_header(octets)
    return caught.value.reason


def test_an_ipv4_client_is_named() -> None:
    assert read_header(header()) == ("203.0.113.77", 51_201)


def test_an_ipv6_client_is_named() -> None:
    block = WIDE.packed + ipaddress.ip_address("2001:db8::1").packed + bytes((0, 80, 1, 187))
    assert read_header(header(0x21, block)) == ("2001:db8::77", 80)


def test_a_client_has_one_address_whichever_way_it_came() -> None:
    mapped = ipaddress.ip_address("::ffff:203.0.113.77").packed
    assert read_header(header(0x21, mapped * 2 + bytes(4))) == ("203.0.113.77", 0)


def test_a_balancer_that_speaks_for_itself_is_not_taken_for_anybody_whatever_else_it_says() -> None:
    assert read_header(header(0x00, b"", command=0x20)) is None
    assert read_header(header(0x11, command=0x20)) is None
    assert read_header(header(0x31, bytes(40), command=0x20)) is None


@pytest.mark.parametrize(
    "family", [0x00, 0x12, 0x22, 0x31, 0x32, 0x10, 0x20, 0x41, 0xFF], ids=lambda family: f"0x{family:02x}"
)
def test_a_client_without_an_address_of_tcp_over_ip_is_refused(family: int) -> None:
    assert refusal(header(family, bytes(216))) == "family"


@pytest.mark.parametrize("command", [0x00, 0x01, 0x10, 0x11, 0x22, 0x2F, 0x30, 0x31])
def test_another_version_or_command_is_refused(command: int) -> None:
    assert refusal(header(command=command)) == "version"


@pytest.mark.parametrize(
    "octets",
    [
        b"PROXY TCP4 203.0.113.77 192.0.2.1 51201 443\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\x00\r\nQUIT\r",
    ],
    ids=["version 1", "a ClientHello", "HTTP", "nearly"],
)
def test_what_is_no_header_is_refused_at_its_first_wrong_octet(octets: bytes) -> None:
    wrong = next(place for place, octet in enumerate(octets) if octet != SIGNATURE[place])
    check_beginning(octets[:wrong])
    with pytest.raises(HeaderRefused, match="no_header"):
        check_beginning(octets[: wrong + 1])


def test_addresses_that_are_not_all_there_are_refused() -> None:
    for octets in range(12):
        assert refusal(header(0x11, bytes(octets))) == "malformed"
    for octets in range(36):
        assert refusal(header(0x21, bytes(octets))) == "malformed"


def test_more_or_less_than_was_announced_is_refused() -> None:
    assert refusal(header() + b"\x16") == "malformed"
    assert refusal(header()[:-1]) == "malformed"
    assert refusal(header()[:14]) == "malformed"


def test_a_header_has_a_limit() -> None:
    assert octets_of(header()[:FIXED_OCTETS], 28) == 28
    with pytest.raises(HeaderRefused, match="oversized"):
        octets_of(header()[:FIXED_OCTETS], 27)
    with pytest.raises(HeaderRefused, match="oversized"):
        octets_of(header(length=65_535)[:FIXED_OCTETS], 4_096)


def test_what_else_the_balancer_tells_is_skipped() -> None:
    told = extension(0x01, b"h2") + extension(0x02, b"bank.example.jp") + extension(0x04, b"") + extension(0xEA, b"vpc")
    assert read_header(header(extensions=told)) == ("203.0.113.77", 51_201)


@pytest.mark.parametrize("torn", [b"\x04", b"\x04\x00", b"\x04\x00\x01", b"\x04\xff\xff\x00"])
def test_what_else_the_balancer_tells_must_be_whole(torn: bytes) -> None:
    assert refusal(header(extensions=torn)) == "malformed"


def test_the_checksum_is_crc_32c() -> None:
    # The check value of the catalogue of CRCs, and RFC 3720, appendix B.4.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_a_checksum_that_is_right_passes_wherever_it_stands() -> None:
    other = extension(0x04, bytes(100))
    for octets in (with_checksum(), with_checksum(other), with_checksum(after=other)):
        assert read_header(octets) == ("203.0.113.77", 51_201)


@given(st.integers(0, 8 * len(with_checksum()) - 1))
def test_no_bit_can_be_turned_over_under_a_checksum(bit: int) -> None:
    octets = bytearray(with_checksum())
    octets[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(HeaderRefused):
        # Without the checksum's own type, or with LOCAL, nothing is held against it; nobody is named wrongly then.
        assert read_header(bytes(octets)) in (None, ("203.0.113.77", 51_201))


def test_a_checksum_counts_once_and_is_of_four_octets() -> None:
    assert refusal(header(extensions=extension(3, bytes(3)))) == "malformed"
    assert refusal(header(extensions=extension(3, bytes(4)))) == "checksum"
    right = with_checksum()
    assert refusal(header(extensions=right[28:] + right[28:])) in ("malformed", "checksum")


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(octets: bytes) -> None:
    for begun in (octets, SIGNATURE + octets, SIGNATURE + b"\x21\x11" + octets, header(extensions=octets)):
        try:
            check_beginning(begun)
            if len(begun) >= FIXED_OCTETS:
                octets_of(begun, 4_096)
            found = read_header(begun)
        except HeaderRefused as refused:
            assert refused.reason in {"no_header", "version", "malformed", "family", "checksum", "oversized"}
        else:
            assert found is None or ipaddress.ip_address(found[0])


@given(st.ip_addresses(), st.integers(0, 65_535), st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=40))))
def test_every_address_comes_through_with_whatever_is_told_besides(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, told: list[tuple[int, bytes]]
) -> None:
    block = address.packed * 2 + port.to_bytes(2, "big") + bytes(2)
    extensions = b"".join(extension(kind, value) for kind, value in told)
    found = read_header(header(0x11 if address.version == 4 else 0x21, block, extensions=extensions))
    assert found is not None
    named = ipaddress.ip_address(found[0])
    mapped = getattr(address, "ipv4_mapped", None)
    assert (named, found[1]) == (mapped or address, port)
