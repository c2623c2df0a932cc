"""A stream as an ``asyncio.StreamReader``: for a health check, which asks once and waits for the answer."""

from __future__ import annotations

import asyncio

from mtls_gateway.wire.stream import Receiver, Stream


class Conversation(Receiver):
    """Gives what comes to ``reader``, and keeps the transport that it was given."""

    __slots__ = ("_reader", "transport")

    transport: Stream

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def connection_made(self, stream: Stream) -> None:
        """Take the transport."""
        self.transport = stream

    def data_received(self, data: bytes) -> None:
        """Part of the answer."""
        self._reader.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        """The answer's end, whether it is whole or not."""
        if error is None:
            self._reader.feed_eof()
        else:
            self._reader.set_exception(error)
