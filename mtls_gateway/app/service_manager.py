"""What the master tells systemd (``Type=notify``, sd_notify(3)); nothing where it was not started by it.

The watchdog is the master's own heart: it beats each time that the master has looked after its workers, and the master
replaces a worker that hangs. So a service that systemd believes alive has somebody who looks after it.

systemd listens to one process only (``NotifyAccess=main``). At an upgrade the old master says which that is from now
on, and is silent from then on; the new one is silent until then.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Final

#: Where systemd listens: the name of the variable.
ADDRESS: Final = "NOTIFY_SOCKET"
#: Seconds that the manager may take to read; nobody waits for it for longer.
_PATIENCE = 1.0


def tell_alive() -> None:
    """``WatchdogSec=`` begins anew; not waited for: the next beat comes soon."""
    _tell("WATCHDOG=1", patience=0.0)


def tell_reloading(status: str = "loading a new generation") -> None:
    """A new generation, or program, is being loaded; :func:`tell_ready` ends this."""
    _tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS={status}")


def tell_ready(status: str) -> None:
    """All is well; ``status`` is the line that ``systemctl status`` shows."""
    # A line feed would begin another assignment.
    _tell(f"READY=1\nSTATUS={' '.join(status.split())}")


def tell_stopping() -> None:
    """The master ends its workers."""
    _tell("STOPPING=1\nSTATUS=draining")


def hand_to(pid: int) -> str | None:
    """The service is another process's from now on; returns what :func:`speak_to` needs to be heard again."""
    _tell(f"MAINPID={pid}")
    return os.environ.pop(ADDRESS, None)


def speak_to(address: str | None) -> None:
    """Be the one whom systemd listens to."""
    if address is not None:
        os.environ[ADDRESS] = address
        _tell(f"MAINPID={os.getpid()}")


def _tell(state: str, *, patience: float = _PATIENCE) -> None:
    address = os.environ.get(ADDRESS)
    if not address:
        return
    # A manager that is ill keeps nobody from work: what it does not take is not said.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
        notifying.settimeout(patience)
        notifying.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        notifying.sendall(state.encode())
