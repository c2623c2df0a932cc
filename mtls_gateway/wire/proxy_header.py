"""The PROXY protocol's header, version 2: whose connection it is that a balancer hands on.

Source: HAProxy's specification, ``proxy-protocol.txt``, section 2.2. Only octets come in here; who may send them is
:mod:`mtls_gateway.wire.balanced`'s. Version 1, text without a length or a checksum, is not read.
"""

from __future__ import annotations

import ipaddress

#: Section 2.2: what no other protocol begins with.
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
#: Signature, version and command, family and transport, and the length of what follows.
FIXED_OCTETS = 16
_LOCAL, _PROXY = 0x20, 0x21
_TCP_OVER_IPV4, _TCP_OVER_IPV6 = 0x11, 0x21
#: Two addresses and two ports.
_IPV4_OCTETS, _IPV6_OCTETS = 12, 36
#: Section 2.2.4.
_CHECKSUM_TYPE = 0x03
_CHECKSUM_OCTETS = 4


class HeaderRefused(Exception):
    """These octets are no header that can be believed; ``reason`` is a metric label."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def check_beginning(begun: bytes) -> None:
    """Refuse at the first octet that is not a header's; ``begun`` may be any part of its beginning.

    Raises:
        HeaderRefused: no version 2 of the protocol, e.g. a ClientHello without a header, or version 1.
    """
    if begun[: len(SIGNATURE)] != SIGNATURE[: len(begun)]:
        raise HeaderRefused("no_header")
    if len(begun) > len(SIGNATURE) and begun[len(SIGNATURE)] not in (_LOCAL, _PROXY):
        raise HeaderRefused("version")


def octets_of(fixed: bytes, limit: int) -> int:
    """How long the whole header is, by its first :data:`FIXED_OCTETS`.

    Raises:
        HeaderRefused: more than ``limit`` octets.
    """
    whole = FIXED_OCTETS + int.from_bytes(fixed[14:16], "big")
    if whole > limit:
        raise HeaderRefused("oversized")
    return whole


def read_header(header: bytes) -> tuple[str, int] | None:
    """The client's address and port, by a whole header; None: the balancer speaks for itself (LOCAL, a health check).

    An address that was mapped into IPv6 (RFC 4291, section 2.5.5.2) is an IPv4 address again, so that a client has one
    whichever way it came.

    Raises:
        HeaderRefused: malformed, not TCP over IP, or another checksum than it says.
    """
    check_beginning(header)
    if len(header) < FIXED_OCTETS or len(header) != FIXED_OCTETS + int.from_bytes(header[14:16], "big"):
        raise HeaderRefused("malformed")
    if header[12] == _LOCAL:
        # "The receiver must … discard the protocol block including the family."
        return None
    family = header[13]
    if family == _TCP_OVER_IPV4:
        end = FIXED_OCTETS + _IPV4_OCTETS
    elif family == _TCP_OVER_IPV6:
        end = FIXED_OCTETS + _IPV6_OCTETS
    else:
        # Unknown, datagrams, unix sockets: there is no address to go by, and the balancer's would be a wrong one.
        raise HeaderRefused("family")
    if len(header) < end:
        raise HeaderRefused("malformed")
    _check_extensions(header, end)
    if family == _TCP_OVER_IPV4:
        address = str(ipaddress.IPv4Address(header[16:20]))
        return address, int.from_bytes(header[24:26], "big")
    wide = ipaddress.IPv6Address(header[16:32])
    return str(wide.ipv4_mapped or wide), int.from_bytes(header[48:50], "big")


def _check_extensions(header: bytes, position: int) -> None:
    """Go through the TLVs, which are all skipped but for the checksum, once at most."""
    checked = False
    while position < len(header):
        value = position + 3
        end = value + int.from_bytes(header[position + 1 : value], "big")
        if end > len(header) or value > len(header):
            raise HeaderRefused("malformed")
        if header[position] == _CHECKSUM_TYPE:
            if checked or end - value != _CHECKSUM_OCTETS:
                raise HeaderRefused("malformed")
            checked = True
            if crc32c(header[:value] + bytes(_CHECKSUM_OCTETS) + header[end:]) != int.from_bytes(
                header[value:end], "big"
            ):
                raise HeaderRefused("checksum")
        position = end


def _table() -> tuple[int, ...]:
    """Of CRC-32C, polynomial 0x1EDC6F41, reflected (RFC 3720, appendix B.4)."""
    found = []
    for octet in range(256):
        for _ in range(8):
            octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)  # noqa: PLW2901  # that is what becomes of it
        found.append(octet)
    return tuple(found)


_TABLE = _table()


def crc32c(octets: bytes) -> int:
    """The CRC-32C of ``octets``."""
    table = _TABLE
    value = 0xFFFFFFFF
    for octet in octets:
        value = table[(value ^ octet) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
