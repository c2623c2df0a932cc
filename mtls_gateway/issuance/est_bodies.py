"""What EST clients and servers say to each other (RFC 7030, as RFC 8951 clears it up): octets in, octets out.

A body is base64 of DER. What is received may have lines of any length. No form that is sent is read by all: OpenSSL and
libest need lines, strongSwan's ``pki`` before 5.9.11 reads no line break.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

CERTIFICATES: Final = "application/pkcs7-mime"
CERTS_ONLY: Final = "application/pkcs7-mime; smime-type=certs-only"
ATTRIBUTES: Final = "application/csrattrs"
REQUEST: Final = "application/pkcs10"

_LINE: Final = 64
#: RFC 7617, section 2: neither may have control characters.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SPACE: Final = re.compile(rb"\s+")

#: DER of what a client is to use for each kind of key: the type of the attribute that describes it, its value, and the
#: OID of the signature. ``id-ecPublicKey`` has the curve's OID, ``rsaEncryption`` the bits (RFC 7030, section 4.5.2).
_EC: Final = bytes.fromhex("06072a8648ce3d0201")
_RSA: Final = bytes.fromhex("06092a864886f70d010101")
_KEYS: Final = {
    "P-256": (_EC, "06082a8648ce3d030107", "06082a8648ce3d040302"),
    "P-384": (_EC, "06052b81040022", "06082a8648ce3d040303"),
    "RSA-2048": (_RSA, "02020800", "06092a864886f70d01010b"),
    "RSA-3072": (_RSA, "02020c00", "06092a864886f70d01010b"),
    "RSA-4096": (_RSA, "02021000", "06092a864886f70d01010b"),
}


class UnreadableBody(Exception):
    """An answer is not what RFC 7030 says."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """User ID and password of HTTP Basic authentication."""

    user_id: str
    password: str = field(repr=False)


def encode(der: bytes, *, lines: bool = True) -> bytes:
    """The body that carries ``der``, in lines of 64 symbols or as it comes (RFC 8951, section 3.1, allows both)."""
    text = base64.b64encode(der)
    if not lines:
        return text
    return b"".join(text[start : start + _LINE] + b"\r\n" for start in range(0, len(text), _LINE))


def certs_only(certificates: Sequence[bytes]) -> bytes:
    """A certs-only PKCS#7 message (RFC 5652), DER, of certificates in DER.

    In which order they lie in it says nothing: DER sorts a SET by its encoding.
    """
    loaded = [x509.load_der_x509_certificate(der) for der in certificates]
    return pkcs7.serialize_certificates(loaded, Encoding.DER)


def read_certs_only(body: bytes) -> list[x509.Certificate]:
    """The certificates in a body, base64 or DER.

    Raises:
        UnreadableBody: it is no certs-only message.
    """
    try:
        der = body if body[:1] == b"\x30" else base64.b64decode(_SPACE.sub(b"", body), validate=True)
        return pkcs7.load_der_pkcs7_certificates(der)
    except (binascii.Error, ValueError, TypeError) as error:
        raise UnreadableBody("no certs-only PKCS#7 message") from error


def csr_attributes(kind: str) -> bytes:
    """The ``CsrAttrs`` (RFC 7030, section 4.5.2), DER, that ask for a key of ``kind``, as settings name it."""
    key, value, signature = _KEYS[kind]
    attribute = _tagged(0x30, key + _tagged(0x31, bytes.fromhex(value)))
    return _tagged(0x30, attribute + bytes.fromhex(signature))


def basic(credentials: Credentials) -> str:
    """The ``Authorization`` header (RFC 7617)."""
    text = f"{credentials.user_id}:{credentials.password}"
    return "Basic " + base64.b64encode(text.encode("utf-8")).decode("ascii")


def read_basic(header: str, *, longest: int) -> Credentials | None:
    """The credentials in an ``Authorization`` header; None: there are none that could be anybody's.

    ``longest`` is the most characters that the user ID, and the password, may have.
    """
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "basic" or len(token) > 8 * longest + 16:
        return None
    try:
        text = base64.b64decode(token.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    user_id, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text) or max(len(user_id), len(password)) > longest:
        return None
    return Credentials(user_id, password)


def _tagged(tag: int, content: bytes) -> bytes:
    if len(content) > 127:
        raise ValueError("too long for one octet of length")
    return bytes((tag, len(content))) + content
