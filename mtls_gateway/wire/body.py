"""Where a body ends: by its length, by chunks, or by the end of the connection.

A decoder is fed what arrives and gives the body's octets; it keeps nothing but a few octets of framing.
``excess`` is what came after the body: the next request's head on the client's side, and on a
backend's side a reason never to use that connection again.

Source: RFC 9112, sections 6 and 7.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

#: ``Seventeen`` hexadecimal digits would be more than 2**64.
_SIZE_DIGITS = 16
#: Chunk extensions are ignored as RFC 9112, 7.1.1 asks, but only so long; a size line is otherwise hostile.
_SIZE_LINE = 256
_TRAILERS = 8_192
_HEX = frozenset(b"0123456789abcdefABCDEF")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
#: RFC 9112, section 7.1.1, without the white space that it calls bad.
_EXTENSIONS = re.compile(rb"%b(?:=(?:%b|\"[ !#-\[\]-~]*\"))?(?:;%b(?:=(?:%b|\"[ !#-\[\]-~]*\"))?)*" % ((_TOKEN,) * 4))
_TRAILER = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % _TOKEN)


class BadBody(Exception):
    """The framing is broken; ``reason`` is a metric label."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Decoder(ABC):
    """What every kind of framing does."""

    __slots__ = ("done", "excess")

    def __init__(self) -> None:
        #: The whole body was given.
        self.done = False
        #: What came after it.
        self.excess = b""

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Body octets in ``data``.

        Raises:
            BadBody: the framing is broken.
        """

    @abstractmethod
    def end(self) -> None:
        """The connection has ended.

        Raises:
            BadBody: the body is not whole.
        """


class NoBody(Decoder):
    """Nothing follows the head."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.done = True

    def feed(self, data: bytes) -> bytes:
        """Nothing of ``data`` is body."""
        self.excess += data
        return b""

    def end(self) -> None:
        """It was whole from the start."""


class FixedBody(Decoder):
    """``Content-Length`` octets."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self.left = length
        self.done = length == 0

    def feed(self, data: bytes) -> bytes:
        """Body octets in ``data``."""
        octets = len(data)
        if octets <= self.left:
            self.left -= octets
            if not self.left:
                self.done = True
            return data
        body = data[: self.left]
        self.excess += data[self.left :]
        self.left = 0
        self.done = True
        return body

    def end(self) -> None:
        """Raise unless every octet has come."""
        if not self.done:
            raise BadBody("truncated")


class UntilClose(Decoder):
    """All that comes until the connection ends (responses only)."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Everything is body."""
        return data

    def end(self) -> None:
        """The end of the connection is the end of the body."""
        self.done = True


class ChunkedBody(Decoder):
    """``Transfer-Encoding: chunked``: strict about line ends and sizes; trailers are read and dropped."""

    __slots__ = ("_left", "_line", "_step", "_trailers")

    def __init__(self) -> None:
        super().__init__()
        self._line = b""
        self._left = 0
        self._trailers = 0
        # A function, not a bound method: that would make a circle, and circles wait for the garbage collector.
        self._step = ChunkedBody._size

    def feed(self, data: bytes) -> bytes:
        """Body octets in ``data``."""
        if self.done:
            self.excess += data
            return b""
        if self._line:
            data = self._line + data
            self._line = b""
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not self._has_ended():
            reached = self._step(self, data, position, pieces)
            if reached < 0:
                self._line = data[position:]
                break
            position = reached
        if self._has_ended():
            self.excess += data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> None:
        """Raise unless the last chunk and the trailers have come."""
        if not self.done:
            raise BadBody("truncated")

    def _has_ended(self) -> bool:
        return self.done

    def _size(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = _line_end(data, position, _SIZE_LINE, "chunk_size")
        if end < 0:
            return -1
        size, separator, extension = data[position:end].partition(b";")
        if separator and not _EXTENSIONS.fullmatch(extension):
            raise BadBody("chunk_extension")
        if not size or len(size) > _SIZE_DIGITS or not _HEX.issuperset(size):
            raise BadBody("chunk_size")
        self._left = int(size, 16)
        self._step = ChunkedBody._data if self._left else ChunkedBody._trailer
        return end + 2

    def _data(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = min(position + self._left, len(data))
        pieces.append(data[position:end])
        self._left -= end - position
        if not self._left:
            self._step = ChunkedBody._data_end
        return end

    def _data_end(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        if data[position] != 0x0D:
            raise BadBody("chunk_end")
        if len(data) - position < 2:
            return -1
        if data[position + 1] != 0x0A:
            raise BadBody("chunk_end")
        self._step = ChunkedBody._size
        return position + 2

    def _trailer(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        end = _line_end(data, position, _TRAILERS, "trailers")
        if end < 0:
            return -1
        if end == position:
            self.done = True
            return end + 2
        self._trailers += end - position
        line = data[position:end]
        if self._trailers > _TRAILERS or not _TRAILER.fullmatch(line):
            raise BadBody("trailers")
        return end + 2


def _line_end(data: bytes, position: int, limit: int, reason: str) -> int:
    """Where the line ends in CRLF; -1 when it has not come yet. A bare CR or LF is refused."""
    line_feed = data.find(b"\n", position, position + limit + 2)
    if line_feed < 0:
        if len(data) - position > limit:
            raise BadBody(reason)
        return -1
    if line_feed == position or data[line_feed - 1] != 0x0D or data.find(b"\r", position, line_feed) != line_feed - 1:
        raise BadBody("line_end")
    return line_feed - 1
