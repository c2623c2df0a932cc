"""A connection as those see it who use it: a stream that octets are written to, and a receiver that is told what comes.

The interface is asyncio's of transports and protocols, with the same names, but not its classes: a class of asyncio's
cannot be compiled, and these two are called several times for each request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

Buffer = bytes | bytearray | memoryview


class Stream(ABC):
    """What octets are written to."""

    __slots__ = ()

    @abstractmethod
    def fileno(self) -> int:
        """The socket's descriptor."""

    @abstractmethod
    def write(self, data: Buffer) -> None:
        """Send ``data``, now as far as the socket takes it, the rest when it takes more."""

    @abstractmethod
    def get_write_buffer_size(self) -> int:
        """Octets that the socket has not taken yet."""

    @abstractmethod
    def is_reading(self) -> bool:
        """Whether the receiver is told what comes."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Stop calling ``data_received``."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Call ``data_received`` again when there is data."""

    @abstractmethod
    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""

    @abstractmethod
    def close(self) -> None:
        """Send what is queued, then end it in order."""

    @abstractmethod
    def abort(self) -> None:
        """End it at once; what is queued is lost."""


class Receiver(ABC):
    """Who is told what happens to a stream: ``connection_made`` first and once, ``connection_lost`` last and once."""

    __slots__ = ()

    @abstractmethod
    def connection_made(self, stream: Stream) -> None:
        """It is there."""

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Octets have come."""

    def eof_received(self) -> bool:
        """The other side has finished speaking; False: close ours as well."""
        return False

    def pause_writing(self) -> None:  # noqa: B027  # who writes little need not hear of it
        """More was written than the other side takes."""

    def resume_writing(self) -> None:  # noqa: B027
        """There is room again."""

    @abstractmethod
    def connection_lost(self, error: Exception | None) -> None:
        """It has ended; None: in order, or by our own will."""


class Nobody(Receiver):
    """Whom a stream tells that has ended."""

    __slots__ = ()

    def connection_made(self, stream: Stream) -> None:
        """Nobody is there to hear."""

    def data_received(self, data: bytes) -> None:
        """Nobody is there to hear."""

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody is there to hear."""
