"""Sockets that systemd has opened and passes on (socket activation, sd_listen_fds(3)); deploy/systemd has the unit.

systemd keeps them open while the service is restarted or dead: who connects meanwhile waits rather than being refused.
They are told apart by what they listen on. One that the configuration does not name is refused: systemd would let
connections in there that nobody ever accepts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from mtls_gateway.app.listening import address_of
from mtls_gateway.config import Configuration
from mtls_gateway.errors import ConfigurationError

#: The first descriptor; the others follow it.
_FIRST: Final = 3
_KEY: Final = "public.listen"


class Passed(NamedTuple):
    """A socket that systemd has passed."""

    descriptor: int
    #: ``FileDescriptorName=``, or the unit's name.
    name: str


def passed_sockets() -> list[Passed]:
    """What was passed to this process; what it starts is told nothing of it."""
    count, process, names = (os.environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    given = names.split(":") if names else []
    return [Passed(_FIRST + place, given[place] if place < len(given) else "unknown") for place in range(int(count))]


def endpoints_of(passed: Iterable[Passed], configuration: Configuration, path: Path) -> list[str]:
    """What they listen on, in their order; ``configuration`` was read from ``path``.

    Raises:
        ConfigurationError: one is no listening TCP socket, or the configuration does not name it; says what to do.
    """
    found = []
    for descriptor, name in passed:
        found.append(_endpoint_of(descriptor, name, path))
        require_named(found[-1:], configuration, path, name)
    return found


def require_named(endpoints: Collection[str], configuration: Configuration, path: Path, name: str = "") -> None:
    """Whatever systemd keeps open must be accepted on.

    Raises:
        ConfigurationError: the configuration, which was read from ``path``, does not name one; says what to do.
    """
    named = {*configuration.public.listen, *configuration.certificate.listen, configuration.operations.listen}
    for endpoint in endpoints:
        if endpoint not in named:
            which = f"systemd passes a socket on {endpoint}" + (f" ({name})" if name else "")
            how = "name it here, or mend ListenStream= of the socket unit and restart that"
            raise ConfigurationError(str(path), _KEY, f"{which}, where nothing listens: {how}")


def _endpoint_of(descriptor: int, name: str, path: Path) -> str:
    # A copy is looked at: what is passed stays as it is.
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as examined:
        is_stream = examined.type is socket.SOCK_STREAM and examined.family in (socket.AF_INET, socket.AF_INET6)
        if is_stream and examined.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return address_of(examined)
    what = f"systemd passes something else than a listening TCP socket ({name})"
    how = "only ListenStream=ADDRESS:PORT, without Accept=yes, can be served"
    raise ConfigurationError(str(path), _KEY, f"{what}: {how}")
