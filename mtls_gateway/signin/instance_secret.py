"""The instance secret: 32 random octets in a file of mode 0600, shared by the gateway's processes.

Session tokens are tagged with it, legacy cookies sealed and encrypted, and enrolment codes digested, with keys
derived from it. Replacing the file ends every session, and no enrolment code that is out is known any more.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path

from mtls_gateway.errors import ConfigurationError

SECRET_OCTETS = 32


def load_instance_secret(path: Path) -> bytes:
    """Read the secret, making it first when there is none.

    Several processes may do this at once: the file appears whole or not at all, and all read the same.

    Raises:
        ConfigurationError: the file cannot be read or made, others may read it, or its length is wrong.
    """
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        raise ConfigurationError(str(path), "", f"the instance secret cannot be read: {error.strerror}") from error


def _make(path: Path) -> None:
    # Written under a name of its own and then linked: link() never replaces, and nobody reads half a secret.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_OCTETS))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(str(path), "", "the instance secret is no regular file; remove it")
        if status.st_mode & 0o077:
            raise ConfigurationError(str(path), "", "others may read the instance secret; set its mode to 0600")
        secret = file.read(SECRET_OCTETS + 1)
    if len(secret) != SECRET_OCTETS:
        cause = f"the instance secret has not {SECRET_OCTETS} octets; remove the file to have a new one made"
        raise ConfigurationError(str(path), "", cause)
    return secret


def derive(secret: bytes, purpose: str) -> bytes:
    """A key of 32 octets for one purpose: keys of different purposes tell nothing of each other.

    Raises:
        ValueError: ``secret`` is not an instance secret.
    """
    if len(secret) != SECRET_OCTETS:
        raise ValueError(f"an instance secret has {SECRET_OCTETS} octets")
    return hmac.digest(secret, f"mtls-gateway {purpose}".encode(), "sha256")
