"""A CA key in a file: PKCS#8, PEM, encrypted. It is in this process's memory as long as it lives."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mtls_gateway.config import PemKey
from mtls_gateway.issuance.signer.key import CaPublicKey, KeyUnavailable, algorithm_of
from mtls_gateway.issuance.signer.secret import Secrets, read_private

CaPrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class FileKey:
    """A key from a file."""

    def __init__(self, key: CaPrivateKey) -> None:
        self._key = key
        self._public_key = key.public_key()
        self._prehashed = Prehashed(algorithm_of(self._public_key).hash)

    @property
    def public_key(self) -> CaPublicKey:
        """Its public half."""
        return self._public_key

    def sign(self, digest: bytes) -> bytes:
        """The signature of ``digest``."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(digest, padding.PKCS1v15(), self._prehashed)
        return self._key.sign(digest, ec.ECDSA(self._prehashed))

    def close(self) -> None:
        """Nothing to let go of: the memory goes with the process."""


def open_file_key(settings: PemKey, secrets: Secrets) -> FileKey:
    """Read the key.

    Raises:
        KeyUnavailable: it cannot be read, others can read it, it is encrypted or not against the settings, the
            passphrase is wrong, or a CA may not have such a key.
        UsageError: the passphrase cannot be had.
    """
    octets = read_private(settings.file)
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE" in octets
    if encrypted and settings.unencrypted:
        raise KeyUnavailable(f"{settings.file} is encrypted; give its passphrase instead of unencrypted = true")
    if not encrypted and not settings.unencrypted:
        how = f"openssl pkcs8 -topk8 -v2 aes-256-cbc -in {settings.file}"
        raise KeyUnavailable(f"{settings.file} is no encrypted PKCS#8 key in PEM; encrypt it: {how}")
    passphrase = (
        None if settings.passphrase is None else secrets.get(settings.passphrase, f"passphrase of {settings.file}")
    )
    try:
        key = load_pem_private_key(octets, passphrase)
    except (ValueError, TypeError) as error:
        cause = "cannot be decrypted; is the passphrase right?" if encrypted else "is no private key in PEM"
        raise KeyUnavailable(f"{settings.file} {cause}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise KeyUnavailable(f"{settings.file}: a CA's key is of an elliptic curve or RSA")
    try:
        return FileKey(key)
    except ValueError as error:
        raise KeyUnavailable(f"{settings.file}: {error}") from error


def encrypted_pem(key: CaPrivateKey, passphrase: bytes) -> bytes:
    """A key as it is kept."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
