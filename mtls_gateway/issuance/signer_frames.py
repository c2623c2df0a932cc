"""What the signer and its clients say to each other over the unix socket.

Frames: four octets of length, one of kind, the content; never more than :data:`LARGEST`. One conversation after the
other on a connection, begun by the client::

    DESCRIBE                                 → ISSUERS | WAIT
    CERTIFICATE  order                       → SIGNED der | REFUSED | WAIT
    CRL          head without entries        → GO_ON | REFUSED | WAIT
        ENTRIES  packed, as often as needed
        END                                  → PART der, as often as needed, END | REFUSED | WAIT

Orders and answers are JSON, entries 29 octets each. There is nothing else: no frame carries octets to be signed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtls_gateway.issuance.orders import IntendedCertificate, Issuer, Reason, RevokedEntry

#: Octets of a frame's content.
LARGEST = 256 * 1024
_HEADER = struct.Struct(">IB")
#: Serial, time of revocation, reason.
_ENTRY = struct.Struct(">20sQB")
#: Entries of one frame.
ENTRIES_PER_FRAME = 2_048
_REASONS: tuple[Reason, ...] = get_args(Reason)
_NUMBER_OF = {reason: number for number, reason in enumerate(_REASONS)}


class Kind(IntEnum):
    """What a frame is."""

    DESCRIBE = 1
    CERTIFICATE = 2
    CRL = 3
    ENTRIES = 4
    END = 5
    ISSUERS = 16
    SIGNED = 17
    GO_ON = 18
    PART = 19
    REFUSED = 20
    WAIT = 21


class Garbled(Exception):
    """What came in is not of this protocol; the connection is of no more use."""


def frame(kind: Kind, content: bytes = b"") -> bytes:
    """One frame.

    Raises:
        ValueError: the content is too long.
    """
    if len(content) > LARGEST:
        raise ValueError(f"a frame has at most {LARGEST} octets, not {len(content)}")
    return _HEADER.pack(len(content), kind) + content


async def read_frame(reader: asyncio.StreamReader, *, idle: float, within: float) -> tuple[Kind, bytes] | None:
    """The next frame; None: the other side has ended in order, or said nothing for ``idle`` seconds.

    ``within`` seconds are what the rest of a frame may take once it has begun.

    Raises:
        Garbled: it is too long, of no known kind, or breaks off.
    """
    try:
        first = await asyncio.wait_for(reader.read(1), idle)
    except TimeoutError:
        return None
    if not first:
        return None
    try:
        async with asyncio.timeout(within):
            length, number = _HEADER.unpack(first + await reader.readexactly(_HEADER.size - 1))
            if length > LARGEST:
                raise Garbled(f"a frame of {length} octets")
            return Kind(number), await reader.readexactly(length)
    except ValueError as error:
        raise Garbled(f"a frame of kind {number}") from error
    except (TimeoutError, asyncio.IncompleteReadError) as error:
        raise Garbled("a frame that breaks off") from error


# --- orders -------------------------------------------------------------------------------------
class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


#: Longer than any name that is allowed, so that its own rule refuses it.
_Text = Annotated[str, Field(max_length=1_024)]
#: Whole POSIX seconds, to the end of the year 9999.
_Seconds = Annotated[int, Field(ge=0, le=253_402_300_799)]


class _CertificateOrder(_Message):
    serial: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
    user_id: _Text
    common_name: _Text
    organisation: _Text
    not_before: _Seconds
    not_after: _Seconds
    public_key: Annotated[str, Field(max_length=8_192)]


class CrlMessage(_Message):
    """The head of a CRL's order."""

    issuer: _Text
    number: Annotated[int, Field(ge=0)]
    this_update: _Seconds
    next_update: _Seconds


def write_certificate_order(order: IntendedCertificate) -> bytes:
    """An order for a certificate.

    Raises:
        ValueError: it is none, whatever the rules.
    """
    if order.serial < 0:
        raise ValueError("a serial is not negative")
    return _json(
        {
            "serial": format(order.serial, "x"),
            "user_id": order.user_id,
            "common_name": order.common_name,
            "organisation": order.organisation,
            "not_before": int(order.not_before),
            "not_after": int(order.not_after),
            "public_key": base64.b64encode(order.public_key).decode(),
        }
    )


def read_certificate_order(content: bytes) -> IntendedCertificate:
    """The other direction.

    Raises:
        Garbled: it is none.
    """
    try:
        read = _CertificateOrder.model_validate_json(content)
        public_key = base64.b64decode(read.public_key, validate=True)
    except (ValidationError, binascii.Error) as error:
        raise Garbled("an order for a certificate that is none") from error
    return IntendedCertificate(
        serial=int(read.serial, 16),
        user_id=read.user_id,
        common_name=read.common_name,
        organisation=read.organisation,
        not_before=float(read.not_before),
        not_after=float(read.not_after),
        public_key=public_key,
    )


def write_crl_head(issuer: str, number: int, this_update: float, next_update: float) -> bytes:
    """The head of a CRL's order."""
    return _json({"issuer": issuer, "number": number, "this_update": int(this_update), "next_update": int(next_update)})


def read_crl_head(content: bytes) -> CrlMessage:
    """The other direction.

    Raises:
        Garbled: it is none.
    """
    try:
        return CrlMessage.model_validate_json(content)
    except ValidationError as error:
        raise Garbled("an order for a CRL that is none") from error


def write_entries(entries: Iterable[RevokedEntry]) -> bytes:
    """Entries of a CRL, packed.

    Raises:
        ValueError: a serial, a time or a reason is none.
    """
    try:
        return b"".join(
            _ENTRY.pack(entry.serial.to_bytes(20, "big"), int(entry.at), _NUMBER_OF[entry.reason]) for entry in entries
        )
    except (OverflowError, struct.error, KeyError) as error:
        raise ValueError(f"an entry of a CRL that is none: {error}") from error


def read_entries(content: bytes) -> Sequence[RevokedEntry]:
    """The other direction.

    Raises:
        Garbled: they are none.
    """
    try:
        return [
            RevokedEntry(int.from_bytes(serial, "big"), at, _REASONS[reason])
            for serial, at, reason in _ENTRY.iter_unpack(content)
        ]
    except (struct.error, IndexError) as error:
        raise Garbled("entries of a CRL that are none") from error


# --- answers ------------------------------------------------------------------------------------
def write_issuers(issuers: Iterable[Issuer]) -> bytes:
    """What the signer says of itself."""
    return _json(
        [
            {
                "name": one.name,
                "active": one.active,
                "subject": one.subject,
                "certificate": base64.b64encode(one.certificate).decode(),
                "chain": [base64.b64encode(superior).decode() for superior in one.chain],
                "crl_url": one.crl_url,
                "crl_number": one.crl_number,
            }
            for one in issuers
        ]
    )


def read_issuers(content: bytes) -> tuple[Issuer, ...]:
    """The other direction.

    Raises:
        Garbled: it is none.
    """
    try:
        read = json.loads(content)
        if not isinstance(read, list) or not read:
            raise ValueError("no issuers")
        return tuple(
            Issuer(
                name=str(one["name"]),
                active=one["active"] is True,
                subject=str(one["subject"]),
                certificate=base64.b64decode(one["certificate"], validate=True),
                chain=tuple(base64.b64decode(superior, validate=True) for superior in one["chain"]),
                crl_url=str(one["crl_url"]),
                crl_number=int(one["crl_number"]),
            )
            for one in read
        )
    except (ValueError, TypeError, KeyError) as error:
        raise Garbled("a description that is none") from error


def write_refusal(cause: str, rule: str = "") -> bytes:
    """Why not."""
    return _json({"rule": rule, "cause": cause})


def read_refusal(content: bytes) -> tuple[str, str]:
    """The rule and the cause.

    Raises:
        Garbled: it is none.
    """
    try:
        read = json.loads(content)
        return str(read["rule"]), str(read["cause"])
    except (ValueError, TypeError, KeyError) as error:
        raise Garbled("a refusal that is none") from error


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
