"""CRLs of any length, written as DER directly: a builder that copies its list at each entry never ends at a million."""

from __future__ import annotations

import datetime
import random

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_SEQUENCE = 0x30
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def _element(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _length(len(content)) + content


def _integer(value: int) -> bytes:
    return _element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _time(moment: datetime.datetime) -> bytes:
    return _element(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())


def _extensions(issuer: x509.Certificate, number: int) -> bytes:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]  # the CAs here are EC
    return _element(
        0xA0,
        _element(
            _SEQUENCE,
            _element(_SEQUENCE, bytes.fromhex("0603551d23") + _element(0x04, authority.public_bytes()))
            + _element(_SEQUENCE, bytes.fromhex("0603551d14") + _element(0x04, _integer(number))),
        ),
    )


def write_crl(
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    *,
    entries: int,
    number: int,
    revoked: tuple[int, ...] = (),
) -> bytes:
    """A complete CRL (RFC 5280, section 5), DER: ``entries`` random serials of 16 octets, then ``revoked``.

    Valid for a day from an hour ago. The same entries each time, so that runs can be compared.
    """
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    issued = _time(now - datetime.timedelta(hours=1))
    source = random.Random(entries)
    listed = bytearray()
    for _ in range(entries):
        # 0x40: positive and never with a leading zero, so that every entry has the same size.
        serial = b"\x40" + source.randbytes(15)
        listed += b"\x30\x21\x02\x10" + serial + issued
    for serial_number in revoked:
        listed += _element(_SEQUENCE, _integer(serial_number) + issued)
    to_be_signed = _element(
        _SEQUENCE,
        _integer(1)
        + _ECDSA_WITH_SHA256
        + issuer.subject.public_bytes()
        + _time(now)
        + _time(now + datetime.timedelta(days=1))
        + (_element(_SEQUENCE, bytes(listed)) if listed else b"")
        + _extensions(issuer, number),
    )
    signature = key.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    return _element(_SEQUENCE, to_be_signed + _ECDSA_WITH_SHA256 + _element(0x03, b"\0" + signature))
