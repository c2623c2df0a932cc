"""Ports that a process which is about to be started can listen on."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

_CHANCE = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment.

    They are none that the system gives to outgoing connections: between now and their use one of those could take one.
    """
    with ExitStack() as stack:
        free: list[int] = []
        while len(free) < count:
            probe = stack.enter_context(socket.socket())
            port = _CHANCE.randrange(10_000, 32_768)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                free.append(port)
        return free
