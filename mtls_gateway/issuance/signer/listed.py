"""What an issuer's last CRL listed: the next one may leave out only what has ended.

Who could order a CRL without a revoked certificate would bring it back to life: a portal that was taken over, and
just as well a database that was restored from an older backup. So the signer keeps the serials of the last list
itself and holds each new one against them.

One file for each issuer, ``ISSUER.listed``: a header, records by rising serials, a digest over both. Where it is
missing, the next list is taken as it is, and the log says so.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from mtls_gateway.errors import GatewayError

_LOG = logging.getLogger(__name__)
_HEADER = struct.Struct(">16sQQ")
_MAGIC = b"mtls-gw listed 1"
#: Serial (RFC 5280, section 4.1.2.2: at most 20 octets), and when it was revoked, POSIX seconds.
_RECORD = struct.Struct(">20sd")
_DIGEST = 32
#: Records that are read at once.
_AT_ONCE = 8_192

Entry = tuple[int, float]


class ListUnusable(GatewayError):
    """The file is not what was written: nothing is compared, and no CRL is signed."""


def listed_file(directory: Path, issuer: str) -> Path:
    """Where an issuer's last list lies."""
    return directory / f"{issuer}.listed"


class Comparison:
    """A new list beside the last one, while its entries come in by rising serials. Not for several threads at once."""

    def __init__(self, directory: Path, issuer: str) -> None:
        """Open the last list and check it.

        Raises:
            ListUnusable: it is broken; says what to do.
            OSError: it cannot be read, or the new one not be written.
        """
        self._path = listed_file(directory, issuer)
        self._spool = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed by close()
        self._count = 0
        self._last: BinaryIO | None = None
        with suppress(FileNotFoundError):
            self._last = self._path.open("rb")
        #: The last list's number; 0: there is none.
        self.number = 0
        self._before: Iterator[Entry] = iter(())
        self._left_out = bytearray()
        try:
            if self._last is not None:
                self.number, count = _checked(self._last, self._path)
                self._before = _records(self._last, count)
        except BaseException:
            self.close()
            raise
        self._next = next(self._before, None)

    def close(self) -> None:
        """Give the files back."""
        self._spool.close()
        if self._last is not None:
            self._last.close()

    def take(self, entries: list[Entry]) -> None:
        """The next entries of the new list, (serial, revoked at)."""
        before = self._next
        for serial, _ in entries:
            while before is not None and before[0] <= serial:
                if before[0] < serial:
                    self._leave_out(before)
                before = next(self._before, None)
        self._next = before
        self._spool.write(b"".join(_RECORD.pack(serial.to_bytes(20), at) for serial, at in entries))
        self._count += len(entries)

    def finish(self) -> None:
        """There are no more: what the last list has beyond them is left out."""
        while self._next is not None:
            self._leave_out(self._next)
            self._next = next(self._before, None)

    def left_out(self) -> Iterator[Entry]:
        """What the last list has and the new one has not."""
        for serial, at in _RECORD.iter_unpack(self._left_out):
            yield int.from_bytes(serial), at

    def is_of_the_last(self) -> bool:
        """Whether the list that was compared with is still the last one."""
        try:
            with self._path.open("rb") as now:
                return _header(now, self._path)[0] == self.number
        except FileNotFoundError:
            return self.number == 0

    def keep(self, number: int) -> None:
        """Put the new list in the last one's place; ``number`` is its CRL's.

        Raises:
            OSError: the last one stays.
        """
        if self.number == 0 and number > 1:
            _LOG.warning("%s was not there: CRL %d was not compared with the one before it", self._path, number)
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        digest = hashlib.sha256()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            header = _HEADER.pack(_MAGIC, number, self._count)
            digest.update(header)
            file.write(header)
            self._spool.seek(0)
            while piece := self._spool.read(_RECORD.size * _AT_ONCE):
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _leave_out(self, entry: Entry) -> None:
        self._left_out += _RECORD.pack(entry[0].to_bytes(20), entry[1])


def _header(file: BinaryIO, path: Path) -> tuple[int, int]:
    octets = file.read(_HEADER.size)
    if len(octets) < _HEADER.size or not octets.startswith(_MAGIC):
        raise _broken(path)
    _, number, count = cast("tuple[bytes, int, int]", _HEADER.unpack(octets))
    return number, count


def _checked(file: BinaryIO, path: Path) -> tuple[int, int]:
    """Number and count, once the digest was found to be right; the file stands at its first record."""
    number, count = _header(file, path)
    end = _HEADER.size + count * _RECORD.size
    if os.fstat(file.fileno()).st_size != end + _DIGEST:
        raise _broken(path)
    file.seek(0)
    digest, left = hashlib.sha256(), end
    while left:
        piece = file.read(min(left, _RECORD.size * _AT_ONCE))
        if not piece:
            raise _broken(path)
        digest.update(piece)
        left -= len(piece)
    if file.read(_DIGEST) != digest.digest():
        raise _broken(path)
    file.seek(_HEADER.size)
    return number, count


def _records(file: BinaryIO, count: int) -> Iterator[Entry]:
    while count:
        piece = file.read(_RECORD.size * min(count, _AT_ONCE))
        count -= len(piece) // _RECORD.size
        for serial, at in _RECORD.iter_unpack(piece):
            yield int.from_bytes(serial), at


def _broken(path: Path) -> ListUnusable:
    return ListUnusable(
        f"{path} is not what was written: put back a copy of it, or remove it once the last CRL was found to list all"
        " that it should"
    )
