"""What has come of the last upgrade, for whoever has asked for one: ``state/run/upgrade.json``, and the asking."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from mtls_gateway.config import Configuration
from mtls_gateway.errors import StateError

_LOG = logging.getLogger(__name__)
_LOOK_EVERY: Final = 0.1
#: Part of what gunicorn calls its master.
_TITLE: Final = b"master [mtls-gateway]"
#: Beyond the time that the new program has: to be asked, and to end where it must be ended. Seconds.
_BEYOND: Final = 60.0


@dataclass(frozen=True, slots=True)
class UpgradeOutcome:
    """Written by the master that goes on."""

    outcome: Literal["taken", "refused"]
    #: The master now, and its version.
    master: int
    version: str
    #: One line; for ``refused`` why.
    said: str

    def write(self, configuration: Configuration) -> None:
        """Put it in the place of the last one; a disk that is full keeps nobody from serving."""
        file = _file(configuration)
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
            draft.replace(file)
        except OSError as error:
            _LOG.error("%s: %s", file, error.strerror)


def ask_for_upgrade(configuration: Configuration) -> UpgradeOutcome:
    """Have the running master replaced by the program that is installed now; returns when it is, or is not to be.

    Raises:
        StateError: no master runs here, it may not be asked, or does not answer.
    """
    pid_file = configuration.state / "run" / "master.pid"
    before = _identity(configuration)
    master = _master(pid_file)
    if master is None:
        raise StateError(f"{pid_file} names no running master; start it with: mtls-gateway serve")
    try:
        os.kill(master, signal.SIGUSR2)
    except OSError as error:
        raise StateError(
            f"the master (pid {master}) cannot be asked: {error.strerror}; run this as its user"
        ) from error
    until = time.monotonic() + configuration.operations.upgrade_timeout + configuration.timeouts.drain + _BEYOND
    while time.monotonic() < until:
        if _identity(configuration) != before:
            return UpgradeOutcome(**json.loads(_file(configuration).read_text(encoding="utf-8")))
        if _master(pid_file) is None:
            break
        time.sleep(_LOOK_EVERY)
    raise StateError(f"the master (pid {master}) has not answered; its log says what it does")


def _file(configuration: Configuration) -> Path:
    return configuration.state / "run" / "upgrade.json"


def _identity(configuration: Configuration) -> tuple[int, int] | None:
    try:
        found = _file(configuration).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _master(pid_file: Path) -> int | None:
    """The master that the file names. Not whatever else may have its number by now: a signal would end that."""
    try:
        pid = int(pid_file.read_text())
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if _TITLE in title else None
