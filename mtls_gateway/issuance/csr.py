"""A certificate signing request (PKCS#10, RFC 2986) and what is asked of it.

Only the key is taken from it, and the proof that the client holds it: subject and extensions are decided here. A
subject is ignored, as EST clients must put one; an extension that asks for more than a user's certificate has
is refused rather than left out, so that nobody believes to have got it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

Reason = Literal["csr_malformed", "csr_wrong_signature", "csr_weak_key", "csr_extension_refused", "request_too_large"]

_PEM = re.compile(rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----(.+?)-----END (?:NEW )?CERTIFICATE REQUEST-----", re.S)
_SPACE = re.compile(rb"\s+")
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384"}
_EXPONENT = 65_537
#: What SHA-1 and MD5 prove is not proven.
_DIGESTS = frozenset({"sha256", "sha384", "sha512"})


class RequestRefused(Exception):
    """The request cannot be met whoever sends it; ``reason`` is a stable code of the pages and of EST."""

    def __init__(self, reason: Reason, cause: str) -> None:
        self.reason: Reason = reason
        super().__init__(cause)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key that a client has proven to hold; made by :func:`read_request` only."""

    #: SubjectPublicKeyInfo, DER.
    public_key: bytes
    #: As settings name it, e.g. ``P-256``.
    kind: str


def read_request(body: bytes, *, keys: Collection[str], maximum_octets: int) -> KeyRequest:
    """Read a request as clients send it: base64 in lines of any length (RFC 8951), PEM, or DER.

    Args:
        body: what was sent.
        keys: the kinds of key that are taken, as in ``Issuance.keys``.
        maximum_octets: longer bodies are refused unread.

    Raises:
        RequestRefused: it is too long, no PKCS#10, its signature is wrong, its key is weak or of another kind, or it
            asks for an extension that users' certificates do not have.
    """
    if len(body) > maximum_octets:
        raise RequestRefused("request_too_large", f"a request has at most {maximum_octets} octets")
    der = _decode(body)
    try:
        request = x509.load_der_x509_csr(der)
        if request.public_bytes(Encoding.DER) != der:
            raise RequestRefused("csr_malformed", "there is something behind the request, or it is not DER")
        public_key = request.public_key()
        digest = request.signature_hash_algorithm
        signed_well = request.is_signature_valid
    except UnsupportedAlgorithm as error:
        raise RequestRefused("csr_weak_key", f"its key or signature is of a kind that is not taken: {error}") from error
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise RequestRefused("csr_malformed", "it is no PKCS#10 certificate signing request") from error
    kind = _kind(public_key)
    if kind not in keys:
        raise RequestRefused("csr_weak_key", f"its key is {kind}; make one of these: {', '.join(keys)}")
    if digest is None or digest.name not in _DIGESTS:
        raise RequestRefused("csr_weak_key", "it is signed with a digest that proves nothing; sign it with SHA-256")
    if not signed_well:
        raise RequestRefused("csr_wrong_signature", "its signature is not that of its key")
    _refuse_extensions(request)
    return KeyRequest(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), kind)


def _decode(body: bytes) -> bytes:
    if body[:1] == b"\x30":
        return body
    found = _PEM.search(body)
    text = _SPACE.sub(b"", body if found is None else found[1])
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise RequestRefused("csr_malformed", "it is neither base64 nor PEM nor DER") from error


def _kind(public_key: object) -> str:
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _CURVES.get(public_key.curve.name, public_key.curve.name)
    if isinstance(public_key, rsa.RSAPublicKey):
        if public_key.public_numbers().e != _EXPONENT:
            return "RSA with an unusual exponent"
        return f"RSA-{public_key.key_size}"
    return type(public_key).__name__.removesuffix("PublicKey")


def _refuse_extensions(request: x509.CertificateSigningRequest) -> None:
    """Those that say what the certificate will say anyway may stand there."""
    try:
        asked = request.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise RequestRefused("csr_malformed", "its extensions cannot be read") from error
    for extension in asked:
        if not _is_harmless(extension):
            raise RequestRefused(
                "csr_extension_refused",
                f"it asks for the extension {extension.oid.dotted_string}, which users' certificates do not have",
            )


def _is_harmless(extension: x509.Extension[x509.ExtensionType]) -> bool:
    value = extension.value
    match value:
        case x509.BasicConstraints():
            return not value.ca
        case x509.KeyUsage():
            return not (value.key_cert_sign or value.crl_sign)
        case x509.ExtendedKeyUsage():
            return set(value) <= {ExtendedKeyUsageOID.CLIENT_AUTH}
        case _:
            return extension.oid == ExtensionOID.SUBJECT_KEY_IDENTIFIER
