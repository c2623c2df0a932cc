"""Where the parts of a DER encoding lie, which the library has parsed before: its lengths are true."""

from __future__ import annotations

SEQUENCE, UTC_TIME, GENERALIZED_TIME = 0x30, 0x17, 0x18


def content_of(der: bytes, place: int) -> tuple[int, int]:
    """Where the content of the element at ``place`` begins and ends; there the next element begins."""
    length, start = der[place + 1], place + 2
    if length & 0x80:
        octets = length & 0x7F
        length, start = int.from_bytes(der[start : start + octets], "big"), start + octets
    return start, start + length
