"""Certificates and lists that no library makes: taken apart, altered and signed again."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
SEQUENCE, INTEGER, BIT_STRING = 0x30, 0x02, 0x03
VERSION, EXTENSIONS = 0xA0, 0xA3
#: sha256WithRSAEncryption and sha1WithRSAEncryption, as they stand in an AlgorithmIdentifier.
_SHA_256, _SHA_1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")


def encoded(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def content(element: bytes) -> bytes:
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def elements(octets: bytes) -> list[bytes]:
    """The elements that follow each other in ``octets``."""
    found = []
    while octets:
        extra = octets[1] & 0x7F if octets[1] & 0x80 else 0
        length = int.from_bytes(octets[2 : 2 + extra], "big") if extra else octets[1]
        end = 2 + extra + length
        found.append(octets[:end])
        octets = octets[end:]
    return found


def signed_again(
    der: bytes, key: Key, alter: Callable[[list[bytes]], list[bytes]], digest: hashes.HashAlgorithm | None = None
) -> bytes:
    """``der``, a certificate or a CRL, with other fields in what is signed."""
    signed, algorithm, _ = elements(content(der))
    signed = encoded(SEQUENCE, b"".join(alter(elements(content(signed)))))
    digest = digest or hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, padding.PKCS1v15(), digest)
    else:
        signature = key.sign(signed, ec.ECDSA(digest))
    return encoded(SEQUENCE, signed + algorithm + encoded(BIT_STRING, b"\0" + signature))


def with_sha_1(der: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """The same, signed over SHA-1."""
    return signed_again(der.replace(_SHA_256, _SHA_1), key, lambda fields: fields, hashes.SHA1())


def with_serial(der: bytes, key: Key, octets: bytes) -> bytes:
    """The same certificate, its serial encoded as ``octets`` whatever they are."""
    return signed_again(der, key, lambda fields: [fields[0], encoded(INTEGER, octets), *fields[2:]])


def of_version_1(der: bytes, key: Key) -> bytes:
    """The same certificate without version and extensions."""
    return signed_again(der, key, lambda fields: [field for field in fields if field[0] not in (VERSION, EXTENSIONS)])
