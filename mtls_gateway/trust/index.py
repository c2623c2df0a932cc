"""One compiled revocation list: a sorted file that every worker maps into memory.

OpenSSL's look-up in a CRL is linear: with a million entries nginx falls from 880 handshakes a second to 28.
Here a look-up is a binary search over 20-octet records in a mapped file: it costs the same few microseconds
whatever the size, and its pages belong to the kernel, once for all workers.

File: magic, length of the header (4 octets), header (JSON), SHA-256 of all that, records (20 octets each, sorted,
big-endian). The header holds SHA-256 of the records.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from operator import eq
from pathlib import Path
from typing import Any

from mtls_gateway.errors import TrustMaterialError
from mtls_gateway.trust.scope import Scope

_MAGIC = b"MTLSGWR2"
_HEAD = len(_MAGIC) + 4
_DIGEST = 32
#: Octets of a record: the longest serial that there is.
RECORD = 20
_HEADER_LIMIT = 65_536
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """What an index was compiled from."""

    authority: str
    issuer: str
    #: Where the CRLs came from, the full one first.
    sources: tuple[str, ...]
    #: SHA-256 of the CRLs' DER encodings, in the same order.
    digests: tuple[str, ...]
    #: The keys that signed them: SHA-256 of each SubjectPublicKeyInfo, in the same order.
    signers: tuple[str, ...]
    number: int
    #: Of the newest delta; None: without one.
    delta_number: int | None
    this_update: int
    #: The earlier of the full one's and its deltas'.
    next_update: int
    count: int
    points: tuple[str, ...]
    users_only: bool
    authorities_only: bool
    #: SHA-256 of the records.
    records: str

    @property
    def scope(self) -> Scope:
        """Which certificates it speaks of."""
        return Scope(frozenset(self.points), self.users_only, self.authorities_only)


class RevocationIndex:
    """One compiled index, mapped; immutable. The file stays open until the last reference is gone."""

    __slots__ = ("_map", "_start", "header", "name", "path", "scope")

    def __init__(self, path: Path) -> None:
        """Map ``path`` and check everything but its records.

        Raises:
            TrustMaterialError: it is missing, cut off, damaged, or not such a file.
        """
        self.name = path.name
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise TrustMaterialError(str(path), f"cannot be mapped: {error}", "index") from error
        # A look-up jumps: reading ahead would only fill memory with its neighbours.
        self._map.madvise(mmap.MADV_RANDOM)
        length = int.from_bytes(self._map[len(_MAGIC) : _HEAD], "big")
        if self._map[: len(_MAGIC)] != _MAGIC or length > _HEADER_LIMIT:
            raise TrustMaterialError(str(path), "is no revocation index", "index")
        end = _HEAD + length
        if hashlib.sha256(self._map[:end]).digest() != self._map[end : end + _DIGEST]:
            raise TrustMaterialError(str(path), "has a damaged header", "index")
        try:
            self.header = _read_header(json.loads(self._map[_HEAD:end]))
        except (ValueError, TypeError, KeyError) as error:
            raise TrustMaterialError(str(path), f"has a broken header: {error}", "index") from error
        self._start = end + _DIGEST
        if len(self._map) != self._start + self.header.count * RECORD:
            raise TrustMaterialError(str(path), "is cut off", "index")
        self.scope = self.header.scope

    def __contains__(self, serial: int) -> bool:
        try:
            wanted = record_of(serial)
        except OverflowError:
            return False
        data, start = self._map, self._start
        low, high = 0, self.header.count
        while low < high:
            middle = (low + high) // 2
            place = start + middle * RECORD
            if data[place : place + RECORD] < wanted:
                low = middle + 1
            else:
                high = middle
        place = start + low * RECORD
        return low < self.header.count and data[place : place + RECORD] == wanted

    def check_records(self) -> None:
        """Read all records once and compare them with what was written.

        They are read, not mapped: mapped pages would count as this process's memory.

        Raises:
            TrustMaterialError: they are damaged.
        """
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                file.seek(self._start)
                while piece := file.read(_PIECE):
                    digest.update(piece)
        except OSError as error:
            raise TrustMaterialError(str(self.path), f"cannot be read: {error.strerror}", "index") from error
        if digest.hexdigest() != self.header.records:
            raise TrustMaterialError(str(self.path), "has damaged records", "index")


def _read_header(fields: dict[str, Any]) -> IndexHeader:
    lists = {name: tuple(str(one) for one in fields[name]) for name in ("sources", "digests", "signers", "points")}
    numbers = {name: int(fields[name]) for name in ("number", "this_update", "next_update", "count")}
    return IndexHeader(**{**fields, **lists, **numbers})


def record_of(serial: int) -> bytes:
    """A serial, not negative and of at most 20 octets, as it stands in an index."""
    return serial.to_bytes(RECORD, "big")


def write_index(directory: Path, header: IndexHeader, records: Iterable[bytes]) -> Path:
    """Write an index under a name of its own; it is whole or not there.

    ``records`` come in any order and may come twice. ``header.count`` and ``header.records`` are filled in here.
    Raises ``OSError``.
    """
    ordered = sorted(records)
    if any(map(eq, ordered, islice(ordered, 1, None))):
        ordered = list(dict.fromkeys(ordered))
    content = b"".join(ordered)
    fields = asdict(header)
    fields["count"] = len(ordered)
    fields["records"] = hashlib.sha256(content).hexdigest()
    encoded = json.dumps(fields, sort_keys=True).encode()
    if len(encoded) > _HEADER_LIMIT:
        raise TrustMaterialError(header.sources[0], "names too many distribution points", "unsupported_scope")
    octets = _MAGIC + len(encoded).to_bytes(4, "big") + encoded
    digest = hashlib.sha256(octets)
    path = directory / f"{header.authority}-{digest.hexdigest()[:24]}.index"
    write_atomically(path, octets + digest.digest() + content)
    return path


def write_atomically(path: Path, octets: bytes) -> None:
    """Replace ``path``; a reader sees the old or the new, and what was written survives a power cut."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
