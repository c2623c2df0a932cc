"""Where a passphrase or a PIN comes from: never from the command line, the environment or the configuration itself."""

from __future__ import annotations

import getpass
import os
import stat
from pathlib import Path

from mtls_gateway.errors import UsageError
from mtls_gateway.issuance.signer.key import KeyUnavailable

_LONGEST = 1_024


class Secrets:
    """Reads secrets from their sources; the same descriptor only once."""

    def __init__(self, *, may_prompt: bool) -> None:
        self._may_prompt = may_prompt
        self._read: dict[str, bytes] = {}

    @classmethod
    def known(cls, secrets: dict[str, bytes]) -> Secrets:
        """Those that were had before, by their sources."""
        made = cls(may_prompt=False)
        made._read.update(secrets)
        return made

    def get_new(self, source: str, what: str) -> bytes:
        """As :meth:`get`; at a prompt it is typed twice.

        Raises:
            UsageError: as :meth:`get`, or the second time was different.
            KeyUnavailable: as :meth:`get`.
        """
        secret = self._fetch(source, what)
        if source == "prompt" and self._fetch(source, f"{what}, again") != secret:
            raise UsageError("that was not the same; nothing was made")
        return secret

    def get(self, source: str, what: str) -> bytes:
        """The secret that ``source`` holds, without the line end; ``what`` it is, for a prompt.

        ``credential:NAME`` is a file of that name in ``$CREDENTIALS_DIRECTORY``, which systemd makes for this service
        alone.

        Raises:
            UsageError: it cannot be had, is empty, or longer than 1,024 octets.
            KeyUnavailable: its file can be read by others.
        """
        if source not in self._read:
            self._read[source] = self._fetch(source, what)
        return self._read[source]

    def _fetch(self, source: str, what: str) -> bytes:
        kind, _, rest = source.partition(":")
        if kind == "credential":
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if directory is None:
                how = f"LoadCredentialEncrypted={rest}:FILE in its unit"
                raise UsageError(f"{source}: this process was not given credentials by systemd; {how}")
            secret = read_private(Path(directory) / rest)
        elif kind == "file":
            secret = read_private(Path(rest))
        elif kind == "fd":
            secret = _read_descriptor(int(rest))
        elif self._may_prompt:
            secret = getpass.getpass(f"{what}: ").encode()
        else:
            raise UsageError(f"the {what} cannot be asked for here: there is no terminal")
        secret = secret.rstrip(b"\r\n")
        if not secret or len(secret) > _LONGEST:
            raise UsageError(f"{source} is empty or longer than {_LONGEST} octets; it should hold the {what}")
        return secret


def _read_descriptor(number: int) -> bytes:
    try:
        with os.fdopen(number, "rb") as file:
            return file.read(_LONGEST + 2)
    except OSError as error:
        raise UsageError(
            f"fd:{number} cannot be read: {error.strerror}; open it for this process: {number}<FILE"
        ) from error


def read_private(path: Path) -> bytes:
    """The content of a file that nobody else may read.

    Raises:
        KeyUnavailable: it cannot be read, is no file, is another user's, or others may read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeyUnavailable(f"{path} is no file")
            if os.geteuid() != 0 and status.st_uid not in (0, os.geteuid()):
                raise KeyUnavailable(f"{path} belongs to another user; run: chown {os.geteuid()} {path}")
            if status.st_mode & 0o077:
                raise KeyUnavailable(f"{path} may be read by others; run: chmod 0600 {path}")
            return file.read(1 << 20)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be read: {error.strerror}") from error
