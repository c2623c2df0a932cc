"""Write files so that they are whole or not there, and keys so that nobody else can read them."""

from __future__ import annotations

import os
from pathlib import Path

from mtls_gateway.errors import StateError

PRIVATE = 0o600
PUBLIC = 0o644


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put ``content`` in the place of whatever ``path`` was, in one step that a reader cannot see half of.

    Raises:
        StateError: it cannot be written; what was there is still there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StateError(f"{path} cannot be written: {error.strerror}") from error
