"""Keys and certificate signing requests, good ones and all kinds of bad ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtls_gateway.issuance.csr import KeyRequest, read_request

Extension = tuple[x509.ExtensionType, bool]


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def csr(
    key: Any = None,
    *,
    extensions: Iterable[Extension] = (),
    digest: hashes.SHA256 | hashes.SHA384 | None = None,
    name: str = "x",
) -> bytes:
    """DER of a request for ``key``, or for a new one."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key or new_key(), digest or hashes.SHA256()).public_bytes(Encoding.DER)


def key_request(key: Any = None) -> KeyRequest:
    return read_request(csr(key), keys=("P-256",), maximum_octets=16_384)


def altered(der: bytes, alter: Callable[[bytearray], object]) -> bytes:
    """The octets, after ``alter`` has done something to them."""
    changed = bytearray(der)
    alter(changed)
    return bytes(changed)
