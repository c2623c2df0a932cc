"""Heart-beats that need no disk.

Gunicorn lets each worker touch a file, and the master looks at its time. On a disk that has turned read-only the touch
fails: every worker would end within a second, and none could be started in its place, though all of them could go on
serving whoever is signed in. So the file is one in memory.
"""

from __future__ import annotations

import os
import time
from typing import Any

from gunicorn.workers import base


class Heartbeat:
    """In the place of gunicorn's ``WorkerTmp``: made by the master before the fork, shared with the worker."""

    def __init__(self, settings: Any) -> None:
        """``settings``: gunicorn's; the worker may run as another user than the master."""
        descriptor = os.memfd_create("heartbeat", os.MFD_CLOEXEC)
        # Closed once, whoever asks for it how often: a number that was closed may be another's by then.
        self._file = os.fdopen(descriptor, "w+b", 0)
        if settings.uid != os.geteuid() or settings.gid != os.getegid():
            # A time of one's own choice may be set by the owner only.
            os.fchown(descriptor, settings.uid, settings.gid)

    def notify(self) -> None:
        """Beat."""
        now = time.monotonic()
        os.utime(self._file.fileno(), (now, now))

    def last_update(self) -> float:
        """Monotonic seconds of the last beat; before the first one a time since 1970."""
        return os.fstat(self._file.fileno()).st_mtime

    def fileno(self) -> int:
        """The descriptor, which the worker keeps when it closes others."""
        return self._file.fileno()

    def close(self) -> None:
        """Of a worker that has ended."""
        self._file.close()


def beat_in_memory() -> None:
    """Have gunicorn's workers beat so from now on."""
    base.WorkerTmp = Heartbeat  # type: ignore[assignment, attr-defined]  # the library offers no other place
