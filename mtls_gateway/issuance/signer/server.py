"""The signer's socket: who may ask, frames in, answers out. What is asked for is the desk's to judge."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mtls_gateway import metrics
from mtls_gateway.errors import SignerRefused, SignerUnavailable
from mtls_gateway.issuance import signer_frames as frames
from mtls_gateway.issuance.signer.batches import Batches
from mtls_gateway.issuance.signer.crl import CrlDraft, CrlHead
from mtls_gateway.issuance.signer.desk import Desk, count_crl
from mtls_gateway.issuance.signer.listed import Comparison, ListUnusable
from mtls_gateway.issuance.signer_frames import Garbled, Kind

_LOG = logging.getLogger(__name__)
#: struct ucred of SO_PEERCRED (unix(7)): process, user and group.
_CREDENTIALS = struct.Struct("3i")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Times in seconds."""

    #: User numbers whose processes may give orders.
    users: frozenset[int]
    connections: int
    timeout: float
    idle: float
    #: Where drafts of CRLs lie.
    directory: Path


class SignerServer:
    """Serves a :class:`Desk` on a listening socket."""

    def __init__(self, desk: Desk, settings: ServerSettings) -> None:
        self._desk = desk
        self._settings = settings
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._batches = Batches(desk.sign_certificates, self._executor)
        self._conversations: set[asyncio.Task[None]] = set()
        #: Those that are in the middle of an order.
        self._busy: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, listening: socket.socket) -> AsyncIterator[None]:
        """Serve while the context is open; leaving it finishes the orders under way."""
        server = await asyncio.start_unix_server(self._accept, sock=listening, limit=frames.LARGEST * 2)
        try:
            yield
        finally:
            server.close()
            for conversation in self._conversations - self._busy:
                conversation.cancel()
            if self._conversations:
                await asyncio.wait(self._conversations, timeout=self._settings.timeout)
            for conversation in self._conversations:
                conversation.cancel()
            await asyncio.gather(*self._conversations, return_exceptions=True)
            self._executor.shutdown()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refusal = self._why_not(writer)
        if refusal is not None:
            _LOG.warning("a connection was refused: %s", refusal)
            writer.close()
            return
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    def _why_not(self, writer: asyncio.StreamWriter) -> str | None:
        if len(self._conversations) >= self._settings.connections:
            metrics.LIMIT_REFUSALS.labels("signer_connections").inc()
            return f"there are {len(self._conversations)} already"
        packed = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        process, user, _ = _CREDENTIALS.unpack(packed)
        if user not in self._settings.users:
            metrics.SIGNER_REFUSALS.labels("peer").inc()
            return f"process {process} runs as user {user}, who may not give orders"
        return None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # this runs in one
        idle, timeout = self._settings.idle, self._settings.timeout
        try:
            while (heard := await frames.read_frame(reader, idle=idle, within=timeout)) is not None:
                self._busy.add(task)
                try:
                    await self._answer(*heard, reader, writer)
                finally:
                    self._busy.discard(task)
        except Garbled as error:
            metrics.SIGNER_REFUSALS.labels("garbled").inc()
            _LOG.warning("a connection was closed after %s", error)
        except (ConnectionError, TimeoutError):
            pass  # whoever asked is gone; the order is in the journal
        except Exception:
            _LOG.exception("a connection was closed after an internal error")
        finally:
            with suppress(ConnectionError):
                writer.close()

    async def _answer(
        self, kind: Kind, content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if kind is Kind.CRL:
            await self._sign_crl(content, reader, writer)
            return
        if kind is Kind.CERTIFICATE:
            order = frames.read_certificate_order(content)
            outcome = await self._batches.carry_out(order)
            writer.write(frames.frame(Kind.SIGNED, outcome) if isinstance(outcome, bytes) else _refusal(outcome))
        elif kind is Kind.DESCRIBE:
            try:
                issuers = await self._at_the_desk(self._desk.describe)
                writer.write(frames.frame(Kind.ISSUERS, frames.write_issuers(issuers)))
            except SignerUnavailable as error:
                writer.write(_refusal(error))
        else:
            raise Garbled(f"a {kind.name} out of turn")
        await self._drain(writer)

    async def _sign_crl(self, content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.perf_counter()
        read = frames.read_crl_head(content)
        head = CrlHead(read.issuer, read.number, read.this_update, read.next_update)
        try:
            issuer = await self._at_the_desk(lambda: self._desk.begin_crl(head))
            comparison = await asyncio.to_thread(Comparison, self._settings.directory, issuer.name)
        except (SignerRefused, SignerUnavailable, ListUnusable, OSError) as error:
            await self._refuse_crl(writer, error, began)
            return
        try:
            draft = CrlDraft(head, issuer, self._desk.limits, self._settings.directory, comparison)
        except OSError as error:
            comparison.close()
            await self._refuse_crl(writer, error, began)
            return
        try:
            writer.write(frames.frame(Kind.GO_ON))
            await self._drain(writer)
            refusal = await self._draft(draft, reader)
            if refusal is not None:
                await self._refuse_crl(writer, refusal, began)
                return
            try:
                digest = await asyncio.to_thread(draft.digest)
                signature = await self._at_the_desk(lambda: self._desk.sign_crl(head, issuer, digest, comparison))
            except (SignerRefused, SignerUnavailable, OSError) as error:
                await self._refuse_crl(writer, error, began)
                return
            count_crl(signature, time.perf_counter() - began)
            for piece in draft.finished(signature):
                writer.write(frames.frame(Kind.PART, piece))
                await self._drain(writer)
            writer.write(frames.frame(Kind.END))
            await self._drain(writer)
        finally:
            draft.close()
            comparison.close()

    async def _draft(self, draft: CrlDraft, reader: asyncio.StreamReader) -> SignerRefused | OSError | None:
        """Take the entries to their end; what is wrong with them is said only then, where the client listens."""
        refusal: SignerRefused | OSError | None = None
        timeout = self._settings.timeout
        left = self._desk.limits.entries
        while (heard := await frames.read_frame(reader, idle=timeout, within=timeout)) is not None:
            kind, content = heard
            if kind is Kind.END:
                return refusal
            if kind is not Kind.ENTRIES:
                raise Garbled(f"a {kind.name} among the entries of a CRL")
            entries = frames.read_entries(content)
            left -= max(len(entries), 1)
            if left < -self._desk.limits.entries:
                raise Garbled("entries of a CRL without end")
            if refusal is None:
                try:
                    await asyncio.to_thread(draft.add, entries)
                except (SignerRefused, OSError) as error:
                    refusal = error
        raise Garbled("a CRL's order that breaks off")

    async def _refuse_crl(self, writer: asyncio.StreamWriter, error: Exception, began: float) -> None:
        if isinstance(error, OSError | ListUnusable):
            _LOG.error("a CRL cannot be drafted: %s", error)
        said = (
            error if isinstance(error, SignerRefused | SignerUnavailable) else SignerUnavailable("see the signer's log")
        )
        count_crl(said, time.perf_counter() - began)
        writer.write(_refusal(said))
        await self._drain(writer)

    async def _at_the_desk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._settings.timeout):
            await writer.drain()


def _refusal(error: SignerRefused | SignerUnavailable) -> bytes:
    if isinstance(error, SignerRefused):
        return frames.frame(Kind.REFUSED, frames.write_refusal(error.cause, error.rule))
    return frames.frame(Kind.WAIT, frames.write_refusal(str(error)))
