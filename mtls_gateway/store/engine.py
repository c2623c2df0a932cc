"""The database's connections: readers and writers over whichever database the address names.

Two pools over one address. Readers run single statements outside any transaction, and may not write; a statement is
its own consistent snapshot. Writers run in a transaction and come one after another, on any database and from any
process, so that what they read there is still true when they commit. What differs from one database to another is
an :class:`Engine`: ``sqlite`` or ``postgres``. Tables, migrations and queries are the same.

Open it after the fork: connections and their threads do not survive one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Select, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from mtls_gateway.clock import Clock
from mtls_gateway.errors import ConfigurationError, StateError, StoreUnavailable

if TYPE_CHECKING:
    from mtls_gateway.store.postgres import PostgresEngine
    from mtls_gateway.store.sqlite import SqliteEngine


#: Under this name each connection that writes knows the key of the audit log, see ``audit``.
AUDIT_KEY = "audit_key"
#: What SQLAlchemy and the drivers raise. ``LookupError``: a word in a column that this version does not know.
_FAILURES = (SQLAlchemyError, sqlite3.Error, OSError, LookupError, TimeoutError)


class Engine(Protocol):
    """One kind of database. Its methods may raise what its driver raises."""

    #: For errors: the database as an operator knows it, without a password.
    place: str
    readers: AsyncEngine
    writers: AsyncEngine
    #: Begins a transaction that sees the database as it is at its first statement.
    begin_snapshot: str

    async def look(self) -> None:
        """Before each use: see to it that it is still the database that was opened."""
        ...

    async def poll(self, statement: Select[Any], parameters: Mapping[str, int]) -> Sequence[tuple[Any, ...]]:
        """A reading statement that is asked many times a second, on a connection of its own.

        Raises:
            FellBehind: another database stands in its place since the poll before.
        """
        ...

    async def wait(self, seconds: float) -> None:
        """Return when something may have been written, at the latest after about ``seconds``."""
        ...

    def explain(self, error: BaseException) -> str:
        """One line for an operator: what is wrong, and what to do."""
        ...

    async def close(self) -> None:
        """Give every connection back; the next use opens new ones."""
        ...


class Database:
    """Readers and writers of one database, whose failures are all :class:`StoreUnavailable`."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        busy_timeout: float = 5.0,
        create: bool = False,
        audit_key: bytes = bytes(32),
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: ``sqlite:///absolute/path`` or ``postgresql://user@host:port/name?passfile=…&sslmode=…``, as libpq.
            clock: what rows are dated with.
            busy_timeout: the seconds a writer waits for the others.
            create: make the SQLite file if it is not there.
            audit_key: chains the audit log; every process of the gateway gives the same.

        Raises:
            ConfigurationError: ``url`` is not the address of a database that is supported.
            StoreUnavailable: the file is not there and ``create`` is false, or it cannot be made.
        """
        self.clock = clock
        self.audit_key = audit_key
        self._engine: Engine = open_engine(url, busy_timeout, create=create)
        event.listen(self._engine.writers.sync_engine, "connect", self._hand_over_key)

    def _hand_over_key(self, _: object, entry: ConnectionPoolEntry) -> None:
        entry.info[AUDIT_KEY] = self.audit_key

    @asynccontextmanager
    async def reading(self, operation: str) -> AsyncIterator[AsyncConnection]:
        """A connection for single statements that read; ``operation`` labels the metric.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        try:
            await self._engine.look()
            async with self._engine.readers.connect() as connection:
                yield connection
        except _FAILURES as error:
            raise self._unavailable(operation, error) from error

    @asynccontextmanager
    async def writing(self, operation: str, *, conflict: str | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end of the block, rolled back when the block raises.

        Args:
            operation: labels the metric.
            conflict: what a violated constraint means here, in one line.

        Raises:
            StateError: a constraint was violated, and ``conflict`` says what that means.
            StoreUnavailable: the database did not answer; nothing of the block was done.
        """
        try:
            await self._engine.look()
            async with self._engine.writers.begin() as connection:
                yield connection
        except IntegrityError as error:
            if conflict is None:
                raise self._unavailable(operation, error) from error
            raise StateError(conflict) from error
        except _FAILURES as error:
            raise self._unavailable(operation, error) from error

    @asynccontextmanager
    async def at_one_moment(self, operation: str) -> AsyncIterator[AsyncConnection]:
        """A connection whose statements all see the database as it is at the first of them; writers go on.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        try:
            await self._engine.look()
            async with self._engine.readers.connect() as connection:
                # Readers are on autocommit: said in words, as both databases understand them.
                await connection.exec_driver_sql(self._engine.begin_snapshot)
                try:
                    yield connection
                finally:
                    await connection.exec_driver_sql("ROLLBACK")
        except _FAILURES as error:
            raise self._unavailable(operation, error) from error

    async def poll(
        self, operation: str, statement: Select[Any], parameters: Mapping[str, int]
    ) -> Sequence[tuple[Any, ...]]:
        """A reading statement that is asked many times a second.

        Raises:
            StoreUnavailable: the database did not answer; the next poll opens a new connection.
            FellBehind: another database stands in its place since the poll before, e.g. a backup.
        """
        try:
            await self._engine.look()
            return await self._engine.poll(statement, parameters)
        except (*_FAILURES, ValueError) as error:  # ValueError: what aiosqlite says of a closed connection
            raise self._unavailable(operation, error) from error

    async def wait(self, seconds: float) -> None:
        """Return when something may have been written, at the latest after about ``seconds``; never raises."""
        await self._engine.wait(seconds)

    async def close(self) -> None:
        """Give every connection back to the system."""
        await self._engine.close()

    def _unavailable(self, operation: str, error: BaseException) -> StoreUnavailable:
        from mtls_gateway import metrics  # see ``ending``

        metrics.STORE_FAILURES.labels(operation.replace(" ", "_")).inc()
        cause = self._engine.explain(error)
        return StoreUnavailable(f"database {self._engine.place}: {cause} (while it was asked to {operation})")


def open_engine(url: str, busy_timeout: float, *, create: bool = False) -> SqliteEngine | PostgresEngine:
    """The engine that ``url`` names; nothing is connected yet.

    Raises:
        ConfigurationError: ``url`` is not the address of a database that is supported.
        StoreUnavailable: the file is not there and ``create`` is false, or it cannot be made.
    """
    try:
        address = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "configuration", "store.url", f"{url!r} is not a database's address; {_SUPPORTED}"
        ) from None
    match address.drivername.partition("+")[0]:
        case "sqlite":
            from mtls_gateway.store.sqlite import SqliteEngine

            return SqliteEngine(address, busy_timeout=busy_timeout, create=create)
        case "postgresql":
            from mtls_gateway.store.postgres import PostgresEngine

            return PostgresEngine(address, busy_timeout=busy_timeout, patient=create)
        case other:
            raise ConfigurationError("configuration", "store.url", f"{other!r} is not supported; {_SUPPORTED}")


_SUPPORTED = "give sqlite:///absolute/path or postgresql://USER@HOST:PORT/NAME"
