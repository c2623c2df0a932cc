"""Whether a key has signed a CRL.

Over the octets as they came. The library's own ``is_signature_valid`` makes them anew from what it has parsed, which
for a large list takes many times as long as the hash over them.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from mtls_gateway.trust.der import SEQUENCE, content_of


def is_signed_by(crl: x509.CertificateRevocationList, der: bytes, key: object) -> bool:
    """Whether ``key`` has signed ``crl``, whose encoding is ``der``."""
    signed, inner, outer = _parts(der)
    # What was signed must say itself how (RFC 5280, section 5.1.1.2).
    if inner != outer:
        return False
    try:
        parameters = crl.signature_algorithm_parameters
        if isinstance(key, rsa.RSAPublicKey) and isinstance(parameters, padding.PKCS1v15 | padding.PSS):
            if crl.signature_hash_algorithm is None:
                return False
            key.verify(crl.signature, signed, parameters, crl.signature_hash_algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
            key.verify(crl.signature, signed, parameters)
        elif (
            isinstance(key, ed25519.Ed25519PublicKey) and crl.signature_algorithm_oid == SignatureAlgorithmOID.ED25519
        ) or (isinstance(key, ed448.Ed448PublicKey) and crl.signature_algorithm_oid == SignatureAlgorithmOID.ED448):
            key.verify(crl.signature, signed)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _parts(der: bytes) -> tuple[bytes, bytes, bytes]:
    """What is signed, the algorithm that it names, and the one that stands beside the signature."""
    begin, _ = content_of(der, 0)
    place, end = content_of(der, begin)
    if der[place] != SEQUENCE:
        # A version stands first, unless it is the oldest.
        _, place = content_of(der, place)
    _, inner_end = content_of(der, place)
    _, outer_end = content_of(der, end)
    return der[begin:end], der[place:inner_end], der[end:outer_end]
