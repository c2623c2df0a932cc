"""Where a backend is, and how a connection to it is made: over a unix socket, plainly, or with TLS of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from mtls_gateway.clock import Clock
from mtls_gateway.wire.loop_stream import LoopReceiver
from mtls_gateway.wire.names import Addresses, Name
from mtls_gateway.wire.plain_transport import PlainTransport
from mtls_gateway.wire.readiness import Readiness
from mtls_gateway.wire.stream import Receiver


class Unresolved(OSError):
    """The backend's name has no address, or nobody could say which."""


class Destination:
    """One backend's URL; ``moved`` is called when its name has other addresses than before."""

    __slots__ = ("_context", "_host", "_name", "_path")

    def __init__(self, url: str, clock: Clock, moved: Callable[[], None], *, refresh: float, keep: float) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._host = parts.hostname or ""
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        self._name: Name | None = None
        if parts.scheme != "unix":
            port = parts.port or (80 if self._context is None else 443)
            self._name = Name(self._host, port, clock, moved, refresh=refresh, keep=keep)

    def look_again(self) -> None:
        """Have the resolver asked again when its answer is no longer fresh; does not wait."""
        if self._name is not None:
            self._name.look_again()

    async def connect(self, make: Callable[[], Receiver], readiness: Readiness) -> None:
        """Make a connection for the receiver that ``make`` makes.

        Raises:
            Unresolved: the name has no address.
            OSError: none of its addresses takes a connection.
        """
        loop = asyncio.get_running_loop()
        if self._name is None:
            connected = await _reach(loop, socket.AF_UNIX, self._path)
        else:
            connected = await _reach_one(loop, await _addresses(self._name))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            PlainTransport(loop, readiness, connected, make()).start()
            return
        try:
            # With TLS of its own the loop's transport will do.
            made = LoopReceiver(make())
            await loop.create_connection(lambda: made, ssl=self._context, sock=connected, server_hostname=self._host)
        except BaseException:
            connected.close()
            raise


async def _addresses(name: Name) -> Addresses:
    try:
        return await name.addresses()
    except TimeoutError:
        raise
    except OSError as error:
        raise Unresolved(str(error)) from error


async def _reach_one(loop: asyncio.AbstractEventLoop, addresses: Addresses) -> socket.socket:
    """The first of a name's addresses that takes a connection; raises what the last one said."""
    for family, address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return await _reach(loop, family, address)
    return await _reach(loop, *addresses[-1])


async def _reach(loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, address: Any) -> socket.socket:
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        await loop.sock_connect(connected, address)
    except BaseException:
        connected.close()
        raise
    return connected
