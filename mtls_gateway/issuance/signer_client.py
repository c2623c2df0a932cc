"""The signer, as portal and clerk reach it: over its unix socket, within a time, with one error for all failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance import signer_frames as frames
from mtls_gateway.issuance.orders import CrlOrder, IntendedCertificate, Issuer, RevokedEntry
from mtls_gateway.issuance.signer_frames import Garbled, Kind

#: Connections that wait for the next order; more are closed after use.
_KEPT = 16
#: Orders of this process that are under way at once; the others wait for their turn.
_AT_ONCE = 32
#: Seconds between two looks for a signer that is not there.
_LOOK_AGAIN = 0.05


@dataclass(slots=True)
class _Connection:
    """A connection, made when it is first needed."""

    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    #: Between two conversations.
    at_rest: bool = True

    async def send(self, octets: bytes) -> None:
        """Send, and wait until the other side keeps up."""
        if self.streams is None:
            raise _Ended
        self.streams[1].write(octets)
        await self.streams[1].drain()

    async def hear(self, within: float) -> tuple[Kind, bytes]:
        """The next frame."""
        if self.streams is None:
            raise _Ended
        heard = await frames.read_frame(self.streams[0], idle=within, within=within)
        if heard is None:
            raise _Ended
        return heard

    async def close(self) -> None:
        """Close it, if it was made."""
        streams, self.streams = self.streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


class SignerClient:
    """Fulfils :class:`~mtls_gateway.issuance.orders.Signer`.

    While the signer is started anew, orders wait for a while and are given again, which is safe.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0, crl_timeout: float = 120.0, patience: float = 3.0) -> None:
        """``timeout`` and ``crl_timeout`` are seconds that an order may take altogether.

        ``patience`` is for how many of them a signer that is not there is looked for.
        """
        self._path = path
        self._timeout = timeout
        self._crl_timeout = crl_timeout
        self._patience = patience
        self._kept: list[_Connection] = []
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Close the connections that wait."""
        while self._kept:
            await self._kept.pop().close()

    async def describe(self) -> tuple[Issuer, ...]:
        """The issuers, the active one first.

        Raises:
            SignerUnavailable: it does not answer.
        """
        async with self._conversation(self._timeout) as connection:
            return frames.read_issuers(await self._begin(connection, Kind.DESCRIBE, b"", Kind.ISSUERS))

    async def sign_certificate(self, intended: IntendedCertificate) -> bytes:
        """DER of the certificate, signed by the active issuer.

        Raises:
            SignerUnavailable: it does not answer, or asks to wait; the same order again is always safe.
            SignerRefused: the order breaks a rule.
        """
        try:
            order = frames.write_certificate_order(intended)
        except (ValueError, OverflowError) as error:
            raise SignerRefused("order", str(error)) from error
        async with self._conversation(self._timeout) as connection:
            return await self._begin(connection, Kind.CERTIFICATE, order, Kind.SIGNED)

    async def sign_crl(self, order: CrlOrder) -> bytes:
        """DER of the CRL.

        Raises:
            SignerUnavailable: it does not answer, or asks to wait; the same order again is always safe.
            SignerRefused: the order breaks a rule.
        """
        head = frames.write_crl_head(order.issuer, order.number, order.this_update, order.next_update)
        async with self._conversation(self._crl_timeout) as connection:
            await self._begin(connection, Kind.CRL, head, Kind.GO_ON)
            async for packed in _packed(order.entries):
                await connection.send(frames.frame(Kind.ENTRIES, packed))
            await connection.send(frames.frame(Kind.END))
            parts: list[bytes] = []
            while (heard := await connection.hear(self._crl_timeout))[0] is Kind.PART:
                parts.append(heard[1])
            _require(connection, heard, Kind.END)
            return b"".join(parts)

    async def _begin(self, connection: _Connection, kind: Kind, content: bytes, answer: Kind) -> bytes:
        """Say something to the signer and hear its answer; where it is not there, look for it again and again."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience
        while True:
            try:
                if connection.streams is None:
                    connection.streams = await asyncio.open_unix_connection(str(self._path), limit=frames.LARGEST * 2)
                connection.at_rest = False
                await connection.send(frames.frame(kind, content))
                heard = await connection.hear(self._timeout)
                break
            except (OSError, _Ended):
                await connection.close()
                if clock() >= until:
                    raise
            await asyncio.sleep(_LOOK_AGAIN)
        _require(connection, heard, answer)
        return heard[1]

    @contextlib.asynccontextmanager
    async def _conversation(self, within: float) -> AsyncIterator[_Connection]:
        """A connection for one order; whatever fails on it is one error."""
        connection = _Connection()
        try:
            async with asyncio.timeout(within), self._turns:
                connection = self._kept.pop() if self._kept else connection
                yield connection
        except TimeoutError as error:
            raise SignerUnavailable(f"the signer at {self._path} has not answered in {within:g} seconds") from error
        except (OSError, Garbled, _Ended) as error:
            cause = "is it running? mtls-gateway signer"
            raise SignerUnavailable(f"the signer at {self._path} does not answer: {cause}") from error
        finally:
            await self._put_away(connection)

    async def _put_away(self, connection: _Connection) -> None:
        if connection.streams is None or not connection.at_rest or len(self._kept) >= _KEPT:
            await connection.close()
        else:
            self._kept.append(connection)


class _Ended(Exception):
    """The signer has closed the connection."""


def _require(connection: _Connection, heard: tuple[Kind, bytes], wanted: Kind) -> None:
    kind, content = heard
    if kind is wanted:
        connection.at_rest = wanted is not Kind.GO_ON
        return
    if kind in (Kind.REFUSED, Kind.WAIT):
        rule, cause = frames.read_refusal(content)
        connection.at_rest = True
        if kind is Kind.REFUSED:
            raise SignerRefused(rule, cause)
        raise SignerUnavailable(cause)
    raise Garbled(f"a {kind.name} instead of a {wanted.name}")


async def _packed(entries: Iterable[RevokedEntry] | AsyncIterable[RevokedEntry]) -> AsyncIterator[bytes]:
    """The entries, packed for as many frames as it takes."""
    gathered: list[RevokedEntry] = []
    if isinstance(entries, Sequence):
        entries = await asyncio.to_thread(sorted, entries)
    async for entry in _each(entries):
        gathered.append(entry)
        if len(gathered) == frames.ENTRIES_PER_FRAME:
            yield _pack(gathered)
            gathered.clear()
    if gathered:
        yield _pack(gathered)


async def _each(entries: Iterable[RevokedEntry] | AsyncIterable[RevokedEntry]) -> AsyncIterator[RevokedEntry]:
    if isinstance(entries, AsyncIterable):
        async for entry in entries:
            yield entry
    else:
        for entry in entries:
            yield entry


def _pack(entries: Sequence[RevokedEntry]) -> bytes:
    try:
        return frames.write_entries(entries)
    except ValueError as error:
        raise SignerRefused("crl_entry", str(error)) from error
