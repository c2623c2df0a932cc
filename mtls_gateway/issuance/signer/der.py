"""The few pieces of DER (ITU-T X.690) that certificates and CRLs are assembled from.

Names, keys and extension values are encoded by ``cryptography``. What is left is how they are put together: it must
be had before it is signed, so that it can be written down first, and a CRL of a million entries must not be held as
objects.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509

_INTEGER, _BIT_STRING, _OCTET_STRING, _NULL, _OID = 0x02, 0x03, 0x04, 0x05, 0x06
_ENUMERATED, _UTC_TIME, _GENERALIZED_TIME, _SEQUENCE = 0x0A, 0x17, 0x18, 0x30
#: RFC 5280, section 4.1.2.5: dates through 2049 are UTCTime, later ones GeneralizedTime.
_FIRST_GENERALIZED_YEAR = 2050

NULL = bytes([_NULL, 0])


def header(tag: int, length: int) -> bytes:
    """Tag and length of something of ``length`` octets."""
    if length < 0x80:
        return bytes([tag, length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets


def _element(tag: int, content: bytes) -> bytes:
    return header(tag, len(content)) + content


def sequence(*elements: bytes) -> bytes:
    """SEQUENCE of encoded elements."""
    return _element(_SEQUENCE, b"".join(elements))


def sequence_header(length: int) -> bytes:
    """The beginning of a SEQUENCE whose content has ``length`` octets and is written elsewhere."""
    return header(_SEQUENCE, length)


def integer(number: int) -> bytes:
    """INTEGER, not negative."""
    return _element(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def enumerated(number: int) -> bytes:
    """ENUMERATED, less than 128."""
    return _element(_ENUMERATED, bytes([number]))


def octet_string(content: bytes) -> bytes:
    """OCTET STRING."""
    return _element(_OCTET_STRING, content)


def bit_string(content: bytes) -> bytes:
    """BIT STRING of whole octets."""
    return _element(_BIT_STRING, b"\x00" + content)


def explicit(number: int, content: bytes) -> bytes:
    """Context-specific, constructed tag ``number`` around an encoded element."""
    return _element(0xA0 | number, content)


def boolean_true() -> bytes:
    """BOOLEAN TRUE; FALSE is a default in X.509 and left out."""
    return b"\x01\x01\xff"


@lru_cache(256)
def object_identifier(oid: x509.ObjectIdentifier) -> bytes:
    """OBJECT IDENTIFIER."""
    first, second, *rest = (int(part) for part in oid.dotted_string.split("."))
    content = bytearray()
    for part in (first * 40 + second, *rest):
        groups = [part & 0x7F]
        while part := part >> 7:
            groups.append(0x80 | part & 0x7F)
        content += bytes(reversed(groups))
    return _element(_OID, bytes(content))


def time(seconds: int) -> bytes:
    """Time, of POSIX seconds (RFC 5280, section 4.1.2.5)."""
    moment = datetime.fromtimestamp(seconds, UTC)
    if moment.year < _FIRST_GENERALIZED_YEAR:
        return _element(_UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return _element(_GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


def extension(value: x509.ExtensionType, *, critical: bool) -> bytes:
    """Extension (RFC 5280, section 4.1)."""
    encoded = octet_string(value.public_bytes())
    return sequence(object_identifier(value.oid), *([boolean_true()] if critical else []), encoded)
