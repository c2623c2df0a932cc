"""What an issuing CA's key can do, wherever it lies: sign a digest. Its parts are ``key_file`` and ``key_pkcs11``.

``cryptography``'s builders would also sign with any object that says it is an ``EllipticCurvePrivateKey``. But they
build and sign in one step, and here what is signed is written down in between.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import SignatureAlgorithmOID

from mtls_gateway.errors import GatewayError
from mtls_gateway.issuance.signer import der

#: An issuing CA signs for years: more than the 2,048 bits that users' keys may have.
_LEAST_RSA_BITS = 3_072

CaPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class KeyUnavailable(GatewayError):
    """The key cannot be read, or does not sign now; says which and what to do."""


class IssuerKey(Protocol):
    """The private key of a CA; used by one thread at a time."""

    @property
    def public_key(self) -> CaPublicKey:
        """Its public half."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """The signature of a digest made with :attr:`Algorithm.hash`, as X.509 has it.

        Raises:
            KeyUnavailable: it does not sign now.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How a CA signs; given by its key."""

    hash: hashes.HashAlgorithm
    #: DER of its AlgorithmIdentifier.
    identifier: bytes

    def digest(self) -> hashes.Hash:
        """A new computation of a digest."""
        return hashes.Hash(self.hash)

    def digest_of(self, octets: bytes) -> bytes:
        """The digest of ``octets``."""
        computation = self.digest()
        computation.update(octets)
        return computation.finalize()


_ECDSA_256 = Algorithm(hashes.SHA256(), der.sequence(der.object_identifier(SignatureAlgorithmOID.ECDSA_WITH_SHA256)))
_ECDSA_384 = Algorithm(hashes.SHA384(), der.sequence(der.object_identifier(SignatureAlgorithmOID.ECDSA_WITH_SHA384)))
_RSA_256 = Algorithm(
    hashes.SHA256(), der.sequence(der.object_identifier(SignatureAlgorithmOID.RSA_WITH_SHA256), der.NULL)
)


def algorithm_of(key: object) -> Algorithm:
    """How the owner of a public key signs.

    Raises:
        ValueError: a CA may not have such a key; says which it may.
    """
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return _ECDSA_256
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return _ECDSA_384
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return _RSA_256
    raise ValueError(f"a CA's key is on P-256 or P-384, or RSA of at least {_LEAST_RSA_BITS} bits")


def is_signature(key: CaPublicKey, signature: bytes, digest: bytes) -> bool:
    """Whether ``signature`` is the key's over ``digest``."""
    prehashed = Prehashed(algorithm_of(key).hash)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), prehashed)
        else:
            key.verify(signature, digest, ec.ECDSA(prehashed))
    except InvalidSignature:
        return False
    return True


def fits(key: IssuerKey, public_key: CaPublicKey) -> bool:
    """Whether ``key`` is the private half of ``public_key``: told by a signature, as no file and no label can.

    What is signed begins with a word that no certificate or CRL can begin with.

    Raises:
        KeyUnavailable: it does not sign.
    """
    if key.public_key != public_key:
        return False
    digest = algorithm_of(public_key).digest_of(b"mtls-gateway: does this key fit? " + secrets.token_bytes(32))
    return is_signature(public_key, key.sign(digest), digest)
