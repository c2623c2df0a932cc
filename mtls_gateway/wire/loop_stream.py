"""The loop's own transports as a :class:`~mtls_gateway.wire.stream.Stream`: for backends with TLS of their own."""

from __future__ import annotations

import asyncio
from typing import Any

from mtls_gateway.wire.stream import Buffer, Receiver, Stream


class LoopStream(Stream):
    """See the module."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Any) -> None:
        #: An ``asyncio.Transport``; uvloop's are no subclasses.
        self._transport = transport

    def fileno(self) -> int:
        """The socket's descriptor."""
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return descriptor

    def write(self, data: Buffer) -> None:
        """Send ``data``."""
        self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        """Octets that the socket has not taken yet."""
        octets: int = self._transport.get_write_buffer_size()
        return octets

    def is_reading(self) -> bool:
        """Whether the receiver is told what comes."""
        return bool(self._transport.is_reading())

    def pause_reading(self) -> None:
        """Stop calling ``data_received``."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Call ``data_received`` again when there is data."""
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return bool(self._transport.is_closing())

    def close(self) -> None:
        """Send what is queued, then end it in order."""
        self._transport.close()

    def abort(self) -> None:
        """End it at once; what is queued is lost."""
        self._transport.abort()


class LoopReceiver(asyncio.Protocol):
    """Passes on what the loop tells."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._receiver.connection_made(LoopStream(transport))

    def data_received(self, data: bytes) -> None:
        """Octets have come."""
        self._receiver.data_received(data)

    def eof_received(self) -> bool:
        """The other side has finished speaking."""
        return self._receiver.eof_received()

    def pause_writing(self) -> None:
        """More was written than the other side takes."""
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        self._receiver.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended."""
        self._receiver.connection_lost(error)
