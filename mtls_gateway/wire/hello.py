"""Which host does a client want? Read from its ClientHello before any TLS object exists.

The server name is peeked at (``MSG_PEEK``), so that each connection is given the TLS context of its
site from the start and no context is ever exchanged half way. That closes a class of holes: with a
server-name callback, TLS 1.3 has already accepted a ticket when the callback runs, and a session of
the public host could resume on the certificate host (CVE-2025-23419); and an exception in such a
callback has let connections through (CVE-2026-27448).

Sources: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0
_TWO, _TWO_TWICE = struct.Struct(">H"), struct.Struct(">HH")
_CONTROLS = bytes(range(0x21)) + b"\x7f"

#: A ClientHello that does not end within so many octets is refused (post-quantum shares need about 1,800).
MAXIMUM_HELLO = 16_384
#: Records that a ClientHello may be spread over; one is usual, and thousands of a single octet are an attack.
_RECORDS = 16


class HelloRefused(Exception):
    """The first octets are not a ClientHello that can be served; ``reason`` is a metric label."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Incomplete:
    """More is needed: at least ``octets`` in all."""

    octets: int


@dataclass(frozen=True, slots=True)
class Hello:
    """A whole ClientHello; ``server_name`` is lower-case ASCII without a trailing dot, None when absent."""

    server_name: str | None


def read_hello(data: bytes) -> Hello | Incomplete:
    """Read a ClientHello that may be spread over several records.

    Raises:
        HelloRefused: not TLS, malformed, or longer than :data:`MAXIMUM_HELLO`.
    """
    whole_in_one = _in_one_record(data)
    if whole_in_one is not None:
        return Hello(_server_name(whole_in_one))
    message = bytearray()
    position = 0
    for _ in range(_RECORDS):
        if len(data) < position + 5:
            return _incomplete(position + 5)
        if data[position] != _HANDSHAKE_RECORD or data[position + 1] != 3:
            raise HelloRefused("not_tls")
        length = int.from_bytes(data[position + 3 : position + 5], "big")
        if length == 0 or length > 16_384:
            raise HelloRefused("malformed")
        end = position + 5 + length
        if len(data) < end:
            return _incomplete(end)
        message += data[position + 5 : end]
        position = end
        if message[0] != _CLIENT_HELLO:
            raise HelloRefused("malformed")
        if len(message) >= 4:
            whole = 4 + int.from_bytes(message[1:4], "big")
            if whole > MAXIMUM_HELLO:
                raise HelloRefused("oversized")
            if len(message) >= whole:
                return Hello(_server_name(bytes(message[4:whole])))
    raise HelloRefused("malformed")


def _in_one_record(data: bytes) -> bytes | None:
    """The body of a hello that is all of ``data``, in one record, as nearly every one is; None: look closer."""
    size = len(data) - 9
    if (
        0 < size <= MAXIMUM_HELLO - 4
        and data[:2] == b"\x16\x03"
        and _TWO.unpack_from(data, 3)[0] == size + 4
        and data[5] == _CLIENT_HELLO
        and int.from_bytes(data[6:9], "big") == size
    ):
        return data[9:]
    return None


def _incomplete(octets: int) -> Incomplete:
    if octets > MAXIMUM_HELLO + 64:
        raise HelloRefused("oversized")
    return Incomplete(octets)


def _server_name(body: bytes) -> str | None:
    """The host name in the extensions of a ClientHello's body."""
    try:
        position = 34  # legacy_version, random
        position += 1 + body[position]  # legacy_session_id
        position += 2 + int.from_bytes(body[position : position + 2], "big")  # cipher_suites
        position += 1 + body[position]  # legacy_compression_methods
    except IndexError:
        raise HelloRefused("malformed") from None
    if position == len(body):
        return None
    end = position + 2 + int.from_bytes(body[position : position + 2], "big")
    position += 2
    if end != len(body):
        raise HelloRefused("malformed")
    found: str | None = None
    read_two = _TWO_TWICE.unpack_from
    while position < end:
        if position + 4 > end:
            raise HelloRefused("malformed")
        kind, size = read_two(body, position)
        position += 4
        if position + size > end:
            raise HelloRefused("malformed")
        if kind == _SERVER_NAME:
            if found is not None:
                raise HelloRefused("malformed")
            found = _one_host_name(body[position : position + size])
        position += size
    return found


def _one_host_name(extension: bytes) -> str:
    """RFC 6066, section 3: a list that holds exactly one name, in ASCII, without a trailing dot."""
    size = int.from_bytes(extension[3:5], "big")
    if (
        len(extension) < 6
        or int.from_bytes(extension[:2], "big") != len(extension) - 2
        or extension[2] != _HOST_NAME
        or size != len(extension) - 5
    ):
        raise HelloRefused("malformed")
    name = extension[5:]
    if not name.isascii() or name.endswith(b".") or name.translate(None, _CONTROLS) != name:
        raise HelloRefused("malformed")
    return name.decode("ascii").lower()
