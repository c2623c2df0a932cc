"""Which keys and signatures are too weak to stand for money."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

_MINIMUM_RSA_BITS = 2_048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES = (hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512)


def weakness_of_key(key: object) -> str | None:
    """What is wrong with a public key; None: nothing (CA/Browser Forum Baseline Requirements, section 6.1.5)."""
    if isinstance(key, rsa.RSAPublicKey):
        return None if key.key_size >= _MINIMUM_RSA_BITS else f"its RSA key has only {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None if isinstance(key.curve, _CURVES) else f"its key is on the curve {key.curve.name}"
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return None
    return "its key is of a kind that is not supported"


def weakness_of_signature(signed: x509.Certificate | x509.CertificateRevocationList) -> str | None:
    """What is wrong with the hash that was signed; None: nothing. MD5 and SHA-1 collide at will."""
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "it is signed with an algorithm that is not supported"
    if algorithm is None or isinstance(algorithm, _HASHES):
        return None
    return f"it is signed over {algorithm.name}"


def is_signed_with(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer``'s name is the one that ``certificate`` names, and its key has signed it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
