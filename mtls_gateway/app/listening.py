"""What the master listens on, for all of its processes.

The sockets outlive every process that accepts on them: a process that is killed or replaced leaves nobody standing at
a closed door, and what has not been accepted waits for its successor.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn import sock

from mtls_gateway.config import Configuration
from mtls_gateway.errors import ConfigurationError

_LOG = logging.getLogger(__name__)
#: A gateway that has just ended may still hold an address: tries, and seconds between two.
_TRIES = 5
_BETWEEN_TRIES = 1.0


def addresses(configuration: Configuration) -> list[str]:
    """All of them, as gunicorn's ``bind`` wants them; each once."""
    endpoints = (*configuration.public.listen, *configuration.certificate.listen, configuration.operations.listen)
    return [*dict.fromkeys(endpoints), f"unix:{configuration.portal_socket}"]


def address_of(listening: socket.socket) -> str:
    """What a socket listens on: ADDRESS:PORT, or the path of a unix socket."""
    name = listening.getsockname()
    if listening.family is socket.AF_UNIX:
        return str(name)
    host = f"[{name[0]}]" if listening.family is socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"


def listen(settings: Any, log: Any, configuration: Configuration, path: Path, present: Sequence[Any]) -> list[Any]:
    """Gunicorn's sockets for ``settings.address``: those of ``present`` where they listen on it, else new ones.

    ``configuration`` was read from ``path``.

    Raises:
        ConfigurationError: an address cannot be listened on; nothing was opened.
    """
    kept = {listener.cfg_addr: listener for listener in present}
    opened: list[Any] = []
    made: list[Any] = []
    try:
        for address in settings.address:
            listener = kept.get(address)
            if listener is None:
                listener = _open(address, settings, log)
                made.append(listener)
            opened.append(listener)
    except OSError as error:
        for listener in made:
            listener.close()
        cause = f"{_printed(address)} cannot be listened on: {error.strerror or error}"
        raise ConfigurationError(str(path), _key_of(address, configuration), cause) from error
    return opened


def close_and_remove(listeners: Sequence[Any]) -> None:
    """Close them for good; a unix socket goes with its file, where nobody has removed that yet."""
    for listener in listeners:
        if listener.sock.family is socket.AF_UNIX:
            # On a disk that cannot be written it stays; whoever starts next puts its own in its place.
            with suppress(OSError):
                Path(address_of(listener.sock)).unlink()
        listener.close()


def adopt(descriptors: Sequence[int], settings: Any, log: Any) -> list[Any]:
    """Gunicorn's sockets for those that this process was born with: another master's, or systemd's."""
    adopted = []
    for descriptor in descriptors:
        with socket.socket(fileno=os.dup(descriptor)) as examined:
            name = examined.getsockname()
        address = name if isinstance(name, str) else name[:2]
        adopted.append(_kind_of(address)(address, settings, log, fd=descriptor))
    return adopted


def _kind_of(address: Any) -> Any:
    if isinstance(address, str):
        return sock.UnixSocket
    return sock.TCP6Socket if ":" in address[0] else sock.TCPSocket


def _open(address: Any, settings: Any, log: Any) -> Any:
    kind = _kind_of(address)
    left = _TRIES
    while True:
        left -= 1
        bound = socket.socket(kind.FAMILY, socket.SOCK_STREAM)
        try:
            _bind(bound, address, settings)
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE or not left:
                raise
            _LOG.warning("%s is still in use", _printed(address))
            time.sleep(_BETWEEN_TRIES)
        else:
            return kind(address, settings, log, fd=bound.detach())


def _bind(bound: socket.socket, address: Any, settings: Any) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not isinstance(address, str):
        bound.bind(address)
        return
    path = Path(address)
    # Of a master that was killed.
    path.unlink(missing_ok=True)
    before = os.umask(settings.umask)
    try:
        bound.bind(address)
    finally:
        os.umask(before)
    os.chown(path, settings.uid, settings.gid)


def _printed(address: Any) -> str:
    if isinstance(address, str):
        return address
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _key_of(address: Any, configuration: Configuration) -> str:
    if isinstance(address, str):
        return "state"
    for key, endpoints in (("public", configuration.public.listen), ("certificate", configuration.certificate.listen)):
        if _printed(address) in endpoints:
            return f"{key}.listen"
    return "operations.listen"
